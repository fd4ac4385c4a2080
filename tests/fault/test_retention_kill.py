"""A run of retention that is killed with SIGKILL wherever it is: the next one ends it, and floors hold throughout."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from residency.cli.retention import retention_app
from tests.upkeep_world import acts, change, days_ago, rows, run, world

PEOPLE = 3000
COVERED = ("presume: {territory: not_covered}", "presume: {territory: covered}")


def left(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "old.db")) as db:
        return int(db.execute("SELECT count(*) FROM person").fetchone()[0])


@pytest.mark.slow
def test_a_run_that_is_killed_is_ended_by_the_next_and_deletes_nothing_twice_or_too_early(tmp_path: Path) -> None:
    policy = world(tmp_path, replace=[COVERED])
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        old, new = days_ago(40), days_ago(2)
        people = ((f"p{number:05}", "somebody", old if number % 2 else new) for number in range(PEOPLE))
        db.executemany("INSERT INTO person VALUES (?, ?, ?)", people)
        db.commit()
    for number in range(PEOPLE):
        if number % 100 == 0:  # accounts that are not closed: a floor without an end
            change(tmp_path, "old", "INSERT INTO account VALUES (?, ?, NULL)", 1000 + number, f"p{number:05}")
    command = [
        str(Path(sys.executable).with_name("residency")),
        "retention",
        "run",
        str(policy),
        "--go",
        "--rate",
        "1500",
    ]
    kills = 0
    for fewer in (1, 600, 1200):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while left(tmp_path) > PEOPLE + 2 - fewer and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2
    code, output = run(retention_app, "run", str(policy), "--go", "--json")
    assert code == 0
    (copy,) = [each for each in json.loads(output)["copies"] if each["sink"] == "old"]
    assert copy["subjects"] < PEOPLE  # it went on where the others were
    assert rows(tmp_path, "old", "person") == [f"p{number:05}" for number in range(0, PEOPLE, 2)]
    assert len(rows(tmp_path, "old", "account", "owner")) == PEOPLE // 100 + 2
    # Nothing was done that has no intent; at most one act of each killed run was left open.
    assert sum(ended is None for _, _, ended in acts(tmp_path)) <= kills
    assert json.loads(run(retention_app, "run", str(policy), "--json")[1])["copies"][2]["past"] == {}
