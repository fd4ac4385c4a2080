"""Two operators begin a move of the same stores from two machines: one goes on, the other is told of it, and waits."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.moving import COMMAND, COVERED
from tests.world import write_deployment

PEOPLE = 40
DEPLOYMENT = """
sinks:
  rows-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///../sg.db"}
  rows-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///../vn.db"}
stores: {people: [rows-sg, rows-vn]}
records: {people: {people: {subject: id, data: [personal]}}}
audit: {folder: ./audit}
keys: {folder: ../keys}
pins: {url: "sqlite:///../pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
MOVE = (*COMMAND, "--go", "--json", "--batch", "10", "--linger", "0")


def people(folder: Path, place: str) -> list[str]:
    with closing(sqlite3.connect(folder / f"{place}.db", timeout=30)) as database:
        return [row[0] for row in database.execute("SELECT id FROM people ORDER BY id")]


def moving(folder: Path) -> int:
    """How many pins say that their data is on its way."""
    if not (folder / "pins.db").exists():
        return 0
    with closing(sqlite3.connect(folder / "pins.db", timeout=30)) as database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'pin'").fetchone() is None:
            return 0
        return int(database.execute("SELECT count(*) FROM pin WHERE moving = 'SG' AND policy <> ''").fetchone()[0])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_mover_is_refused_while_the_first_lives_and_takes_over_once_it_has_died(tmp_path: Path) -> None:
    machines = [tmp_path / "one", tmp_path / "two"]
    for machine in machines:
        machine.mkdir()
        write_deployment(machine, DEPLOYMENT, replace=[COVERED])
    for place in ("sg", "vn"):
        with closing(sqlite3.connect(tmp_path / f"{place}.db")) as database:
            database.execute("CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT)")
    with closing(sqlite3.connect(tmp_path / "sg.db")) as database, database:
        database.executemany("INSERT INTO people VALUES (?, 'N')", [(f"p{number:02}",) for number in range(PEOPLE)])
    everybody = people(tmp_path, "sg")

    # Rows of SQLite have no transactions to look at: it waits all of `--drain` for writers who had begun.
    first = subprocess.Popen([*MOVE, "--drain", "600"], cwd=machines[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 60
        while moving(tmp_path) == 0:
            assert first.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        command = [*MOVE, "--drain", "0"]
        second = subprocess.run(command, cwd=machines[1], capture_output=True, text=True, check=False)
        assert second.returncode == 2, second.stdout + second.stderr
        assert f"another move is on: {socket.gethostname()}, process {first.pid}" in second.stderr
        assert first.poll() is None, "who lives is not disturbed"
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()

    done = subprocess.run(command, cwd=machines[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it has ended without a word" in done.stderr
    assert json.loads(done.stdout)["conflicts"] == 0
    assert (people(tmp_path, "sg"), people(tmp_path, "vn")) == ([], everybody)
