"""What moving a batch asks of databases and of files: so and so many times a batch, however many people are in it.

No time is measured: what is counted is statements, rows that come back, and transactions.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import asyncpg  # type: ignore[import-untyped]
import pytest

from residency.adapters.move_journal import MoveJournalSqlite
from residency.bootstrap import build
from residency.cli.move_places import places_of
from residency.cli.move_run import Movement
from tests.moving import between_postgres
from tests.postgres import Pair

pytestmark = pytest.mark.needs("postgres")
TABLES = """
CREATE TABLE people (id text PRIMARY KEY, name text, made timestamptz DEFAULT '2026-01-02');
CREATE TABLE letters (id uuid PRIMARY KEY, person text REFERENCES people (id), body text);
CREATE INDEX ON letters (person);
"""
FILL = """
INSERT INTO people SELECT 'person-' || n, 'Nguyen Van ' || n FROM generate_series(1, {people}) n;
INSERT INTO letters SELECT gen_random_uuid(), 'person-' || n, 'x'
FROM generate_series(1, {people}) n, generate_series(1, 4) k;
"""
BATCHES = 2
ONCE = 4  # a run, before the first batch: what foreign keys refer to
STATEMENTS = 45  # a batch: settings and transactions, what is copied, compared three times, deleted
ROWS = 5  # a person: a digest when copied, at home, before the pin turned, and one a table when deleted
TRANSACTIONS = 12  # a batch: journal, pins and locators


class Asked:
    """What was asked while a move was on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = False
        self.counts: Counter[str] = Counter()
        connection = asyncpg.connection.Connection
        for name in ("fetch", "execute", "fetchval", "fetchrow", "_copy_in", "copy_from_query"):
            monkeypatch.setattr(connection, name, self._watched(getattr(connection, name)))
        asked, connect = self, sqlite3.connect

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *more: Any) -> sqlite3.Cursor:
                word = sql.split(maxsplit=1)[0].upper()
                if word == "COMMIT" or (word in {"INSERT", "UPDATE", "DELETE"} and not self.in_transaction):
                    asked.counts["transactions"] += asked.on
                return super().execute(sql, *more)

        monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, factory=Watched, **more))

    def _watched(self, method: Any) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            told = await method(*args, **more)
            if self.on:
                self.counts["statements"] += 1
                self.counts["rows"] += len(told) if isinstance(told, list) else 0
            return told

        return call


async def moved(folder: Path, people: int, asked: Asked) -> int:
    runtime = build(folder / "test.yaml", reload=False)
    journal = MoveJournalSqlite(folder / "move.db")
    await runtime.start()
    try:
        movement = Movement(runtime, journal, batch=people // BATCHES, drain=0, linger=0)
        asked.on = True
        return (await movement.run(places_of(runtime), {})).records
    finally:
        asked.on = False
        journal.close()
        await runtime.aclose()


def test_a_batch_costs_as_many_questions_and_transactions_however_many_are_in_it(
    postgres: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.storage.moves_carried._FIRST", 200)  # else the first batches are small
    for seconds in ("_BEAT", "_STALE"):  # a mover says every few seconds that it lives, which would be counted, too
        monkeypatch.setattr(f"residency.storage.mover_lease.{seconds}", 3600.0)
    asked = Asked(monkeypatch)
    found = []
    for people in (40, 400):
        folder = tmp_path / str(people)
        folder.mkdir()
        between_postgres(postgres, folder, TABLES, FILL.format(people=people), times=", times: {creation: made}")
        asked.counts.clear()
        assert anyio.run(moved, folder, people, asked) == people * 5
        assert asked.counts["rows"] <= people * ROWS + 200, "the rest is what tables are looked up by"
        assert asked.counts["statements"] <= ONCE + BATCHES * STATEMENTS
        assert asked.counts["transactions"] <= BATCHES * TRANSACTIONS
        found.append((asked.counts["transactions"], asked.counts["statements"]))
    assert found[0] == found[1]
