"""People are moved between two PostgreSQL by the command while others write: what was acknowledged is there."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.moving import COMMAND, between_postgres
from tests.postgres import Pair

pytestmark = pytest.mark.needs("postgres")
TABLES = """
CREATE TYPE mood AS ENUM ('fine', 'so');
CREATE TABLE people (
  id bigint PRIMARY KEY, name text, moods mood[], more jsonb, made timestamptz DEFAULT now(),
  shout text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE TABLE letters (person bigint REFERENCES people (id), number int, body bytea, PRIMARY KEY (person, number));
"""
FILL = """
INSERT INTO people
SELECT n, E'tab\\tline\\n\\\\N ' || n, '{fine,so}', '{"a": [1, null]}' FROM generate_series(1, 300) n;
INSERT INTO letters SELECT n, k, '\\x00ff5c' FROM generate_series(1, 300) n, generate_series(1, 3) k;
"""
ALL = "SELECT p::text, l::text FROM people p JOIN letters l ON l.person = p.id ORDER BY p.id, l.number"


def move(folder: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run([*COMMAND, "--json", *more], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_rows_of_every_type_are_home_byte_for_byte_and_a_late_writer_loses_nothing(
    postgres: Pair, tmp_path: Path
) -> None:
    names = between_postgres(postgres, tmp_path, TABLES, FILL, times=", times: {creation: made}")
    code, told, error = move(tmp_path, "--find")
    assert (code, error) == (1, "")
    found = told["sinks"][0]
    assert (found["wrong"], found["records_by_category"]) == (300, {"content": 900, "personal": 300})
    assert (tmp_path / "audit").exists() is False

    acknowledged = []
    late = "UPDATE letters SET body = 'late' WHERE number = 2 AND person = {} RETURNING person"

    def write() -> None:
        # An app of before that knows of no pins: its transactions end while the first batches are copied.
        for person in range(1, 301, 3):
            acknowledged.extend(postgres.sg.query(late.format(person), names[0]))

    writer = threading.Thread(target=write)
    writer.start()
    move(tmp_path, "--go", "--batch", "40", "--drain", "0", "--linger", "0.2")
    writer.join()
    code, told, error = move(tmp_path, "--go", "--drain", "0", "--linger", "0")
    home = sum("6c617465" in letter for _, letter in postgres.vn.query(ALL, names[1]))
    left = postgres.sg.query("SELECT count(*) FROM letters WHERE body = 'late'", names[0])[0][0]
    assert home + left == len(acknowledged), "each of them is at home, or still there to be judged"
    if not told["conflicts"]:
        assert (code, told["on_their_way"], left, error) == (0, 0, 0, "")
        assert len(postgres.vn.query(ALL, names[1])) == 900
        assert postgres.sg.query("SELECT count(*) FROM people", names[0]) == [(0,)]
