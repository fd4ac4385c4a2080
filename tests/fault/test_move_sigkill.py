"""`residency move --go` is killed with SIGKILL at any moment, in real files, often, then runs to its end."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.moving import COMMAND, between_files, killed

PEOPLE = 600
FILL = """
import sys, anyio
from residency.bootstrap import build
async def main():
    runtime = build("test.yaml", reload=False)
    sink = runtime.stores.sinks_of("uploads")[0]
    await sink.start()
    for number in range(0, int(sys.argv[1]), 10):
        await sink.put(f"users/p{number}/cv", b"cv of %d" % number)
anyio.run(main)
"""
MOVE = (*COMMAND, "--go", "--json", "--batch", "10", "--drain", "0", "--linger", "0")


def rows(folder: Path, place: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """People and letters in one place."""
    with closing(sqlite3.connect(folder / f"{place}.db", timeout=30)) as database:
        return (
            database.execute("SELECT * FROM people ORDER BY id").fetchall(),
            database.execute("SELECT * FROM letters ORDER BY id").fetchall(),
        )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_again_and_again_everybody_is_home_once_and_nothing_is_left(tmp_path: Path) -> None:
    between_files(tmp_path)
    for place in ("sg", "vn"):
        with closing(sqlite3.connect(tmp_path / f"{place}.db")) as database:
            database.executescript(
                "CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT);"
                "CREATE TABLE letters (id TEXT PRIMARY KEY, person TEXT REFERENCES people (id), text TEXT);"
            )
    with closing(sqlite3.connect(tmp_path / "sg.db")) as database, database:
        for number in range(PEOPLE):
            database.execute("INSERT INTO people VALUES (?, ?)", (f"p{number}", f"name {number}"))
            for letter in range(3):
                database.execute("INSERT INTO letters VALUES (?, ?, 'x')", (f"{number}-{letter}", f"p{number}"))
    subprocess.run([sys.executable, "-c", FILL, str(PEOPLE)], cwd=tmp_path, check=True)
    before = rows(tmp_path, "sg")
    chance = random.Random(20261122)
    kills = 0
    while kills < 25 and killed(tmp_path, MOVE, chance, 0.6):
        kills += 1
        # Whatever is in neither place is lost.
        here, there = rows(tmp_path, "sg"), rows(tmp_path, "vn")
        assert {*here[0], *there[0]} == set(before[0])
        assert {*here[1], *there[1]} == set(before[1])
    done = subprocess.run(MOVE, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kills > 0
    assert rows(tmp_path, "sg") == ([], [])
    assert rows(tmp_path, "vn") == before
    assert json.loads(done.stdout)["conflicts"] == 0
    left = [file for file in (tmp_path / "files-sg").rglob("*") if file.is_file() and b"cv of" in file.read_bytes()]
    home = [file for file in (tmp_path / "files-vn").rglob("*") if file.is_file() and b"cv of" in file.read_bytes()]
    assert (len(left), len(home)) == (0, PEOPLE // 10)
    with closing(sqlite3.connect(tmp_path / "pins.db")) as database:
        assert database.execute(
            "SELECT home, moving, count(*) FROM pin WHERE policy <> '' GROUP BY 1, 2"
        ).fetchall() == [("VN", None, PEOPLE)]
