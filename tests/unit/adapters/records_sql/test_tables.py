"""Rows go to another server as they are, whatever drivers make of their types, and to nobody who was not asked for."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from residency.adapters.records_sql import SqlRecords
from residency.adapters.sink_sql import SqlSink
from residency.policy.parsed_storage import RecordDoc
from tests.rows import places_of
from tests.world import SG, VN

pytestmark = pytest.mark.anyio
DOCS = [RecordDoc("person", "owner", None, frozenset({"personal"}))]
TABLE = """
CREATE TABLE person (
  id text PRIMARY KEY, owner text NOT NULL, a jsonb, b json, c interval, d numeric, e inet, f int[], g jsonb[],
  h tstzrange, i bit varying, j money, k double precision, l timestamptz, m time, n uuid
)
"""  # fmt: skip
ROW = r"""
INSERT INTO person VALUES (
  '1', 'an', NULL, '{"b": 1.10,  "a": null}', '1 month 2 days', 1.10, '10.0.0.1/24', '{1,NULL,3}',
  ARRAY['1.10', 'null', NULL]::jsonb[], '[2026-01-01 00:00+07, 2026-02-01 00:00+07)', B'0101', 12.34, 0.1 + 0.2,
  '2026-01-01 00:00:00.123456+07', '23:59:59.999999', '6f9619ff-8b86-d011-b42d-00c04fc964ff'
), (
  '2', 'an', 'null', 'null', '-3 days', 'NaN', '::1', '{}', '{}', 'empty', '', '-1', 'Infinity', NULL, NULL, NULL
), (
  '3', 'an', '12345678901234567890.123456789', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL,
  NULL
)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_row_of_postgresql_is_the_same_row_on_the_other_server(
    tmp_path: Path, request: pytest.FixtureRequest, driver: str
) -> None:
    places = places_of(driver, tmp_path, request)
    for place in places.values():
        place.query(TABLE)
    places["sg"].query(ROW)
    async with AsyncExitStack() as stack:
        found = []
        for name, region in (("sg", SG), ("vn", VN)):
            sink = SqlSink(f"people-{name}", region, places[name].url)
            stack.push_async_callback(sink.aclose)
            await sink.start()
            found.append(SqlRecords(sink.name, sink.engine, DOCS))
        source, target = found
        held = [record async for record in source.read(("an",))]
        assert await target.write(held) == 3
        assert await target.write(held) == 0
        assert [record.value async for record in target.read(("an",))] == [record.value for record in held]
        whole = "SELECT person::text FROM person ORDER BY id"
        assert places["vn"].query(whole) == places["sg"].query(whole)
        assert await source.delete(held) == 3


@pytest.mark.needs("postgres")
async def test_rows_that_drivers_take_for_equal_are_told_apart(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place = places_of("asyncpg", tmp_path, request)["sg"]
    place.query("CREATE TABLE person (id text PRIMARY KEY, owner text, a jsonb, c interval)")
    sink = SqlSink("people-sg", SG, place.url)
    await sink.start()
    records = SqlRecords(sink.name, sink.engine, DOCS)
    told = set()
    place.query("INSERT INTO person VALUES ('1', 'an')")
    changes = ["a = 'null'", "a = '1.10', c = '1 month'", "a = '1.1'", "c = '30 days'", "a = NULL, c = NULL"]
    for change in changes:
        place.query("UPDATE person SET " + change)  # noqa: S608 - ours, above
        told |= {record.digest async for record in records.read(("an",))}
    await sink.aclose()
    assert len(told) == 5


async def test_a_column_that_does_not_tell_capitals_hands_nobody_s_rows_to_another(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.executescript(
            "CREATE TABLE person (id TEXT PRIMARY KEY, owner TEXT COLLATE NOCASE);"
            "INSERT INTO person VALUES ('1', 'an'), ('2', 'AN'), ('3', 'An');"
        )
    sink = SqlSink("people-vn", VN, f"sqlite:///{tmp_path}/x.db")
    await sink.start()
    records = SqlRecords(sink.name, sink.engine, DOCS)
    assert await records.subjects() == ("AN", "An", "an")
    for who, key in (("an", "1"), ("AN", "2")):
        assert [record.key async for record in records.read((who,))] == [f'{{"id":"{key}"}}']
    await sink.aclose()
