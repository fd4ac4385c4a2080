"""`residency move --go` between two PostgreSQL is killed with SIGKILL, often, then runs to its end."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.moving import COMMAND, between_postgres, killed
from tests.postgres import Pair

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.slow, pytest.mark.timeout(600)]
PEOPLE = 3000
TABLES = """
CREATE TABLE people (id bigint PRIMARY KEY, name text);
CREATE TABLE letters (id uuid PRIMARY KEY, person bigint REFERENCES people (id), body text);
CREATE INDEX ON letters (person);
"""
FILL = """
INSERT INTO people SELECT n, 'name ' || n FROM generate_series(1, {people}) n;
INSERT INTO letters SELECT gen_random_uuid(), n, 'x' FROM generate_series(1, {people}) n, generate_series(1, 3) k;
"""
MOVE = (*COMMAND, "--go", "--json", "--batch", "100", "--drain", "0.2", "--linger", "0.1")


def test_killed_again_and_again_every_row_is_somewhere_and_then_home_once(postgres: Pair, tmp_path: Path) -> None:
    names = between_postgres(postgres, tmp_path, TABLES, FILL.format(people=PEOPLE))

    def rows(server: int, table: str) -> set[tuple[object, ...]]:
        there = (postgres.sg, postgres.vn)[server]
        return set(there.query(f"SELECT * FROM {table}", names[server]))  # noqa: S608 - a constant of below

    before = {table: rows(0, table) for table in ("people", "letters")}
    chance = random.Random(20261122)
    kills = 0
    while kills < 8 and killed(tmp_path, MOVE, chance, 0.5):
        kills += 1
        for table, held in before.items():
            assert rows(0, table) | rows(1, table) == held, "whatever is in neither place is lost"
    done = subprocess.run(MOVE, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kills > 0
    told = json.loads(done.stdout)
    assert (told["conflicts"], told["on_their_way"]) == (0, 0)
    for table, held in before.items():
        assert (rows(0, table), rows(1, table)) == (set(), held)
