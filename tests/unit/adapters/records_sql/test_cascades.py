"""What a database deletes by itself: known by its foreign keys, and no record goes with another that way."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from residency.adapters.records_sql import Spared, SqlRecords
from residency.adapters.records_sql.cascades import Cascade, cascades
from residency.adapters.sink_sql import SqlSink
from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.parcels import RecordParcels
from residency.storage.records import Record
from residency.wiring.records import legs_of
from tests.world import SG

pytestmark = pytest.mark.anyio
PEOPLE = RecordDoc("people", "id", None, frozenset({"personal"}))
LETTERS = RecordDoc("letters", "author", None, frozenset({"content"}))
TABLES = """
CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE letters (
  id INTEGER PRIMARY KEY, author TEXT REFERENCES people, answers INT REFERENCES Letters (id) ON DELETE CASCADE
);
"""
ROWS = "INSERT INTO people VALUES ('an', 'An'), ('bo', 'Bo'); INSERT INTO letters VALUES (1, 'an', NULL), (2, 'bo', 1);"


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy knows no other."""
    return "asyncio"


def made(folder: Path, *statements: str) -> SqlSink:
    path = folder / "people.db"
    connection = sqlite3.connect(path)
    connection.executescript("".join(statements))
    connection.close()
    return SqlSink("people-sg", SG, f"sqlite:///{path}")


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[SqlSink]:
    made_one = made(tmp_path, TABLES, ROWS)
    yield made_one
    await made_one.aclose()


def records(sink: SqlSink, *docs: RecordDoc, spared: Spared = Spared.NAMED) -> SqlRecords:
    return SqlRecords(sink.name, sink.engine, docs or (PEOPLE, LETTERS), spared)


async def left(sink: SqlSink, table: str = "letters") -> Sequence[object]:
    async with sink.engine.connect() as connection:
        return (await connection.execute(sa.text(f"SELECT id FROM {table} ORDER BY 1"))).scalars().all()  # noqa: S608


async def test_foreign_keys_that_delete_or_change_are_told_of_each_table(tmp_path: Path) -> None:
    sink = made(
        tmp_path,
        "CREATE TABLE people (a INT, b INT, PRIMARY KEY (b, a));"
        "CREATE TABLE one (x INT, y INT, FOREIGN KEY (y, x) REFERENCES people ON DELETE SET NULL);"
        'CREATE TABLE "t w" (z INT REFERENCES PEOPLE (a) ON DELETE CASCADE, q INT REFERENCES people (b));',
    )
    async with sink.engine.connect() as connection:
        found = await connection.run_sync(cascades, ["people"])
        assert await connection.run_sync(cascades, []) == {}
    assert found == {
        "people": (
            Cascade("one", None, None, ("y", "x"), ("b", "a"), False),
            Cascade("t w", None, None, ("z",), ("a",), True),
        )
    }
    await sink.aclose()


@pytest.mark.parametrize("spared", [Spared.NAMED, Spared.ALL])
async def test_a_record_with_which_the_database_would_delete_somebody_elses_stays(
    sink: SqlSink, spared: Spared
) -> None:
    there = records(sink, spared=spared)
    one = [record async for record in there.read({"an"})]
    with pytest.raises(SinkUnavailable, match="refers to a record"):
        await there.delete(one)
    assert await left(sink) == [1, 2]
    both = [record async for record in there.read({"an", "bo"})]
    await there.delete(both)
    assert (await left(sink), await left(sink, "people")) == ([], []), "together they go"


async def test_a_copy_that_is_withdrawn_goes_whatever_goes_with_it(sink: SqlSink) -> None:
    there = records(sink, spared=Spared.NOTHING)
    assert await there.delete([record async for record in there.read({"an"})]) == 2
    assert await left(sink) == []


async def test_of_a_batch_those_go_with_whom_nobody_elses_records_go(sink: SqlSink) -> None:
    parcels = RecordParcels(records(sink, spared=Spared.ALL))
    async with sink.engine.begin() as connection:
        await connection.execute(sa.text("INSERT INTO people VALUES ('cy', 'Cy'), ('di', 'Di')"))
    wanted = dict(await parcels.tally({"an", "cy", "di"}))
    assert await parcels.clear(wanted) == {"cy", "di"}
    assert (await left(sink), await left(sink, "people")) == ([1, 2], ["an", "bo"])


async def test_what_no_records_name_is_lost_by_no_move_and_goes_with_who_is_erased(tmp_path: Path) -> None:
    badges = "CREATE TABLE badges (id INT, person TEXT REFERENCES people (id) ON DELETE CASCADE);"
    sink = made(tmp_path, TABLES, ROWS, badges, "INSERT INTO badges VALUES (7, 'bo');")
    with pytest.raises(UsageError, match="rows of table 'badges' change or go with rows of 'people'"):
        await legs_of(sink, sink, (PEOPLE, LETTERS))
    moving, erasing = records(sink, spared=Spared.ALL), records(sink)
    his = [record async for record in moving.read({"bo"})]
    with pytest.raises(SinkUnavailable, match="refers to a record"):
        await moving.delete(his)
    assert await left(sink, "badges") == [7]
    assert await erasing.delete(his) == 2
    assert await left(sink, "badges") == []
    await sink.aclose()


async def test_a_newer_row_does_not_go_with_an_older_one_that_is_deleted(sink: SqlSink) -> None:
    there = records(sink)
    both = [record async for record in there.read({"an", "bo"})]
    async with sink.engine.begin() as connection:
        await connection.execute(sa.text("INSERT INTO people VALUES ('cy', 'Cy')"))
        await connection.execute(sa.text("UPDATE letters SET author = 'cy' WHERE id = 2"))
    with pytest.raises(SinkUnavailable):
        await there.delete(both)
    assert await left(sink) == [1, 2]


async def test_rows_without_a_key_cannot_be_told_apart_and_are_not_taken_for_one(tmp_path: Path) -> None:
    sink = made(
        tmp_path,
        "CREATE TABLE people (id TEXT, number INT, text TEXT, PRIMARY KEY (id, number));"
        "INSERT INTO people VALUES ('an', NULL, 'one'), ('an', NULL, 'two');",
    )
    with pytest.raises(SinkUnavailable, match="'people-sg': table 'people' has a row with NULL in its key"):
        [record async for record in records(sink, PEOPLE).read({"an"})]
    await sink.aclose()


async def test_a_constraint_that_is_looked_at_where_the_transaction_ends_is_a_conflict_too(tmp_path: Path) -> None:
    sink = made(
        tmp_path,
        "CREATE TABLE people (id TEXT PRIMARY KEY, boss TEXT REFERENCES people DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO people VALUES ('an', NULL);",
    )
    row = Record("people", '{"id":"bo"}', "bo", frozenset(), b'{"boss":"secret","id":"bo"}')
    with pytest.raises(RecordConflict, match="people-sg") as told:
        await records(sink, PEOPLE).write([row])
    assert "secret" not in str(told.value)
    assert await left(sink, "people") == ["an"]
    await sink.aclose()
