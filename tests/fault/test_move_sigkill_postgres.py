"""`residency move --go` between two PostgreSQL is killed with SIGKILL, often, then runs to its end."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.postgres import Pair
from tests.world import write_deployment

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
DEPLOYMENT = """
sinks:
  sg: {{region: sg, provider: SG, keys: SG, encrypted: true, url: "{sg}"}}
  vn: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "{vn}"}}
stores: {{people: [sg, vn]}}
records:
  people:
    people: {{subject: id, data: [personal]}}
    letters: {{via: {{person: people}}, data: [content]}}
audit: {{folder: ./audit}}
keys: {{folder: ./keys}}
pins: {{url: "sqlite:///./pins.db"}}
activities:
  - {{route: "POST /people", subject: app, data: [personal], store: people}}
"""
MOVE = ("-c", "import sys; from residency.cli import main; sys.exit(main())", "move", "test.yaml", "--go", "--json")
QUICK = ("--batch", "100", "--drain", "0.2", "--linger", "0.1")


def test_killed_again_and_again_every_row_is_somewhere_and_then_home_once(postgres: Pair, tmp_path: Path) -> None:
    names = postgres.sg.database(), postgres.vn.database()
    postgres.sg.query(TABLES + FILL.format(people=PEOPLE), names[0])
    postgres.vn.query(TABLES, names[1])
    urls = {"sg": postgres.sg.url("asyncpg", names[0]), "vn": postgres.vn.url("asyncpg", names[1])}
    write_deployment(tmp_path, DEPLOYMENT.format(**urls), replace=[("territory: not_covered", "territory: covered")])

    def rows(server: int, table: str) -> set[tuple[object, ...]]:
        there = (postgres.sg, postgres.vn)[server]
        return set(there.query(f"SELECT * FROM {table}", names[server]))  # noqa: S608 - a constant of below

    before = {table: rows(0, table) for table in ("people", "letters")}
    chance = random.Random(20261122)
    kills = 0
    while kills < 8:
        begun, journal = time.time(), tmp_path / "audit" / "move.db-wal"
        process = subprocess.Popen([sys.executable, *MOVE, *QUICK], cwd=tmp_path, stdout=subprocess.DEVNULL)
        while process.poll() is None and not (journal.exists() and journal.stat().st_mtime > begun):
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.5))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        for table, held in before.items():
            assert rows(0, table) | rows(1, table) == held, "whatever is in neither place is lost"
    done = subprocess.run([sys.executable, *MOVE, *QUICK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kills > 0
    told = json.loads(done.stdout)
    assert (told["conflicts"], told["on_their_way"]) == (0, 0)
    for table, held in before.items():
        assert (rows(0, table), rows(1, table)) == (set(), held)
