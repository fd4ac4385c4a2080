"""People are erased while others, and they themselves, are being moved: the move lets it in, and nobody comes back."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.moving import COMMAND, COVERED
from tests.world import write_deployment

PEOPLE = 300
DEPLOYMENT = """
sinks:
  rows-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  rows-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
stores: {people: [rows-sg, rows-vn]}
records: {people: {people: {subject: id, data: [personal]}}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
ERASE = "import sys; from residency.cli import main; sys.exit(main())"


def people(folder: Path, place: str) -> list[str]:
    with closing(sqlite3.connect(folder / f"{place}.db", timeout=30)) as database:
        return [row[0] for row in database.execute("SELECT id FROM people ORDER BY id")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_erasure_waits_for_a_batch_and_not_for_the_move_and_who_was_erased_stays_so(tmp_path: Path) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT, replace=[COVERED])
    for place in ("sg", "vn"):
        with closing(sqlite3.connect(tmp_path / f"{place}.db")) as database:
            database.execute("CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT)")
    with closing(sqlite3.connect(tmp_path / "sg.db")) as database, database:
        database.executemany("INSERT INTO people VALUES (?, 'N')", [(f"p{number:03}",) for number in range(PEOPLE)])
    slow = [*COMMAND, "--go", "--json", "--batch", "5", "--drain", "0", "--linger", "0", "--rate", "10"]
    mover = subprocess.Popen(slow, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 60
        while len(people(tmp_path, "vn")) < 10:
            assert mover.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        home = set(people(tmp_path, "vn"))
        erased = [min(home), min(set(people(tmp_path, "sg")) - home)]
        for who in erased:
            command = [sys.executable, "-c", ERASE, "erase", str(file), "--subject-file", "-", "--go"]
            done = subprocess.run(command, cwd=tmp_path, input=who, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert mover.poll() is None, "it is not waited for to its end"
            assert who not in people(tmp_path, "sg") + people(tmp_path, "vn")
        output, errors = mover.communicate(timeout=240)
    finally:
        mover.kill()
        mover.wait()
    assert mover.returncode == 0, output + errors
    assert "somebody is to be erased" in errors
    assert people(tmp_path, "sg") == []
    assert people(tmp_path, "vn") == sorted({f"p{number:03}" for number in range(PEOPLE)} - set(erased))
    with closing(sqlite3.connect(tmp_path / "pins.db")) as database:
        assert database.execute("SELECT count(*) FROM pin WHERE policy <> ''").fetchone() == (PEOPLE - 2,)
