"""Two PostgreSQL of other habits make one digest of the same rows, and another as soon as a value differs."""

from __future__ import annotations

import datetime as dt
import json

import anyio
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from residency.adapters.records_sql.copying import PostgresParcels
from residency.adapters.records_sql.records import Spared, SqlRecords
from residency.errors import SinkUnavailable, UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.lasting import is_lasting
from residency.storage.parcels import Parcels, RecordParcels
from tests.postgres import PASSWORD, USER, Pair, Postgres

pytestmark = pytest.mark.needs("postgres")

letters = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6) | st.sampled_from(
    ["\\N", "\\", "a\tb", "a\nb", "\r", '"', "(,)", "", " ", "'", "NULL", "é", "e\u0301"]
)
days = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)).map(str)
instants = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 1, 1)).map(str)
whole = st.integers(-(2**63), 2**63 - 1)
# By column: its type and texts that become its values.
COLUMNS: dict[str, tuple[str, st.SearchStrategy[str]]] = {
    "a_text": ("text", letters),
    "a_char": ("char(6)", letters.map(lambda text: text[:6])),
    "an_int": ("bigint", whole.map(str)),
    "a_number": ("numeric", st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str) | st.just("NaN")),
    "a_float": ("float8", st.floats(width=64).map(repr) | st.sampled_from(["0.1", "0.10000000000000002", "-0", "0"])),
    "a_real": ("float4", st.floats(width=32).map(repr)),
    "a_bool": ("boolean", st.booleans().map(str)),
    "bytes": ("bytea", st.binary(max_size=5).map(lambda value: "\\x" + value.hex())),
    "a_day": ("date", days),
    "a_time": ("time", st.times().map(str)),
    "a_stamp": ("timestamp", instants),
    "an_instant": ("timestamptz", instants.map(lambda text: text + "+07")),
    "an_interval": ("interval", st.tuples(st.integers(-99, 99), st.integers(-99, 99), st.integers(-9999, 9999)).map(
        lambda parts: f"{parts[0]} months {parts[1]} days {parts[2]} milliseconds")),
    "a_uuid": ("uuid", st.uuids().map(str)),
    "a_jsonb": ("jsonb", st.recursive(st.none() | st.booleans() | st.integers() | letters, st.lists).map(json.dumps)),
    "a_json": ("json", st.lists(st.integers() | st.booleans(), max_size=3).map(json.dumps)),
    "a_list": ("text[]", st.lists(letters.filter(lambda text: '"' not in text and "\\" not in text), max_size=3).map(
        lambda texts: "{" + ",".join(f'"{text}"' for text in texts) + "}")),
    "money": ("money", st.integers(-(10**9), 10**9).map(lambda cents: f"{cents / 100:.2f}")),
    "a_range": ("int4range", st.tuples(st.integers(0, 9), st.integers(10, 19)).map(
        lambda ends: f"[{ends[0]},{ends[1]})")),
    "a_net": ("inet", st.ip_addresses().map(str)),
}  # fmt: skip
TABLE = (
    f"CREATE TABLE people (id text PRIMARY KEY, {', '.join(f'{name} {kind}' for name, (kind, _) in COLUMNS.items())})"
)
HABITS = {
    "datestyle": "German", "intervalstyle": "iso_8601", "timezone": "Asia/Ho_Chi_Minh", "extra_float_digits": "-9",
    "bytea_output": "escape", "lc_monetary": "C.UTF-8",
}  # fmt: skip
DOCS = (RecordDoc("people", "id", None, frozenset({"personal"})),)
values = st.sampled_from(sorted(COLUMNS)).flatmap(
    lambda name: st.tuples(st.just(name), st.none() | COLUMNS[name][1], st.none() | COLUMNS[name][1])
)


@pytest.fixture
def names(postgres: Pair) -> tuple[str, str]:
    """A database each; the second has habits of its own."""
    there, here = postgres.sg.database(), postgres.vn.database()
    postgres.sg.query(TABLE, there)
    postgres.vn.query(TABLE, here)
    for habit, value in HABITS.items():
        postgres.vn.query(f"ALTER DATABASE {here} SET {habit} = '{value}'")
    return there, here


def fill(server: Postgres, name: str, rows: list[tuple[str, str, str | None]]) -> None:
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        connection.execute("SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; TRUNCATE people")
        for key, column, value in rows:
            into = sql.SQL("INSERT INTO people (id, {}) VALUES (%s, %s::text::{})")
            kind = sql.SQL(COLUMNS[column][0])
            connection.execute(into.format(sql.Identifier(column), kind), (key, value))


def differs(server: Postgres, column: str, one: str | None, other: str | None) -> bool:
    kind = "text" if column == "a_json" else COLUMNS[column][0]
    with psycopg.connect(server.dsn("postgres")) as connection:
        connection.execute("SET datestyle = 'ISO, YMD'")
        query = sql.SQL("SELECT %s::text::{0} IS DISTINCT FROM %s::text::{0}").format(sql.SQL(kind))
        return bool(connection.execute(query, (one, other)).fetchone()[0])  # type: ignore[index]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=st.lists(values, min_size=1, max_size=20))
def test_servers_agree_on_what_is_the_same_and_on_what_is_not(
    postgres: Pair, names: tuple[str, str], rows: list[tuple[str, str | None, str | None]]
) -> None:
    ones = [(f"p{n}", column, one) for n, (column, one, _) in enumerate(rows)]
    fill(postgres.sg, names[0], ones)
    fill(postgres.vn, names[1], [(f"p{n}", column, other) for n, (column, _, other) in enumerate(rows)])
    ids = [key for key, _, _ in ones]

    async def compare() -> None:
        urls = (postgres.sg.url("asyncpg", names[0]), postgres.vn.url("asyncpg", names[1]))
        engines = [create_async_engine(url, poolclass=NullPool) for url in urls]
        source, target = (PostgresParcels("x", engine, DOCS) for engine in engines)
        here, there = await source.tally(ids), await target.tally(ids)
        assert set(here) == set(there) == set(ids)
        for (column, one, other), key in zip(rows, ids, strict=True):
            if one == other:
                assert here[key] == there[key], f"{column}: {one!r} is the same everywhere"
            elif differs(postgres.sg, column, one, other):
                assert here[key] != there[key], f"{column}: {one!r} is not {other!r}"
        assert await target.clear(there) == set(ids)
        cargo = await source.load(ids)
        await target.put(cargo)
        assert await target.tally(ids) == cargo.digests == here, "what was copied is what was there"

    anyio.run(compare)


def test_of_a_column_that_does_not_tell_capitals_each_persons_rows_are_their_own(postgres: Pair) -> None:
    name = postgres.sg.database()
    postgres.sg.query(
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
        "CREATE TABLE people (id text COLLATE nocase, part int, PRIMARY KEY (id, part));"
        "INSERT INTO people VALUES ('an', 1), ('AN', 2)",
        name,
    )

    async def compare() -> None:
        engine = create_async_engine(postgres.sg.url("asyncpg", name), poolclass=NullPool)
        parcels = PostgresParcels("x", engine, DOCS)
        cargo = await parcels.load(["an"])
        assert (set(cargo.digests), cargo.counts) == ({"an"}, {"an": 1})
        assert set((await parcels.take(["an"])).pieces) == {"an"}
        assert await parcels.clear(cargo.digests) == {"an"}
        await engine.dispose()

    anyio.run(compare)
    assert postgres.sg.query("SELECT id FROM people", name) == [("AN",)]


def test_rows_that_nobody_tells_of_are_not_deleted_with_others(postgres: Pair) -> None:
    name = postgres.sg.database()
    postgres.sg.query(
        "CREATE TABLE people (id text PRIMARY KEY);"
        "CREATE TABLE badges (id int PRIMARY KEY, person text REFERENCES people (id) ON DELETE CASCADE)",
        name,
    )

    async def look() -> None:
        engine = create_async_engine(postgres.sg.url("asyncpg", name), poolclass=NullPool)
        with pytest.raises(UsageError, match="'badges'"):
            await PostgresParcels("x", engine, DOCS).layout()
        named = (*DOCS, RecordDoc("badges", None, ("person", "people"), frozenset({"personal"})))
        assert set(await PostgresParcels("x", engine, named).layout()) == {"people", "badges"}

    anyio.run(look)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_what_somebody_else_wrote_does_not_go_with_a_person_who_moves(postgres: Pair, driver: str) -> None:
    name = postgres.sg.database()
    postgres.sg.query(
        "CREATE TABLE people (id text PRIMARY KEY);"
        "CREATE TABLE posts (id int PRIMARY KEY, author text REFERENCES people (id) ON DELETE CASCADE,"
        ' answers int REFERENCES posts (id) ON DELETE CASCADE, "see" int REFERENCES posts (id) ON DELETE SET NULL);'
        "INSERT INTO people SELECT 'p' || n FROM generate_series(1, 6) n;"
        "INSERT INTO posts VALUES (1, 'p1', NULL, NULL), (2, 'p2', 1, NULL), (3, 'p3', NULL, NULL),"
        " (4, 'p4', NULL, 3), (5, 'p5', NULL, 5), (6, 'p5', 5, NULL)",
        name,
    )
    docs = (*DOCS, RecordDoc("posts", "author", None, frozenset({"content"})))

    async def clear() -> None:
        engine = create_async_engine(postgres.sg.url(driver, name), poolclass=NullPool)
        parcels: Parcels = RecordParcels(SqlRecords("x", engine, docs, Spared.ALL))
        if driver == "asyncpg":
            parcels = PostgresParcels("x", engine, docs)
        wanted = dict(await parcels.tally([f"p{n}" for n in range(1, 7)]))
        alone = {each: wanted[each] for each in ("p1", "p3", "p5", "p6")}
        assert await parcels.clear(alone) == {"p5", "p6"}
        assert postgres.sg.query("SELECT id, answers, see FROM posts ORDER BY 1", name) == [
            (1, None, None), (2, 1, None), (3, None, None), (4, None, 3)
        ]  # fmt: skip
        del wanted["p5"], wanted["p6"]
        assert await parcels.clear(wanted) == wanted.keys(), "with those who wrote it they go"

    anyio.run(clear)
    assert postgres.sg.query("SELECT count(*) FROM people", name) == [(0,)]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_rows_that_are_hidden_from_this_user_are_an_error_and_not_left_behind(postgres: Pair, driver: str) -> None:
    name = postgres.sg.database()
    role = f"mover_{driver}"
    postgres.sg.query("CREATE TABLE people (id text PRIMARY KEY); INSERT INTO people VALUES ('an'), ('bo')", name)
    postgres.sg.query(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT ALL ON people TO {role}", name)
    postgres.sg.query(f"CREATE POLICY one ON people TO {role} USING (id = 'an')", name)
    url = postgres.sg.url(driver, name).replace(f"{USER}:", f"{role}:", 1)

    async def read() -> None:
        engine = create_async_engine(url, poolclass=NullPool)
        before = SqlRecords("x", engine, DOCS)
        assert await before.subjects() == ("an", "bo")
        parcels = PostgresParcels("x", engine, DOCS)
        if driver == "asyncpg":
            assert len(await parcels.tally({"an", "bo"})) == 2
        postgres.sg.query("ALTER TABLE people ENABLE ROW LEVEL SECURITY", name)
        with pytest.raises(SinkUnavailable, match="row-level security hides rows of table 'people'"):
            await SqlRecords("x", engine, DOCS).subjects()
        if driver == "asyncpg":
            with pytest.raises(SinkUnavailable):
                await parcels.tally({"an", "bo"})

    anyio.run(read)


def test_a_day_that_a_driver_cannot_read_is_told_as_the_sinks(postgres: Pair) -> None:
    name = postgres.sg.database()
    postgres.sg.query(
        "CREATE TABLE people (id text PRIMARY KEY, a date); INSERT INTO people VALUES ('an', '0044-03-15 BC')", name
    )

    async def read(driver: str) -> None:
        engine = create_async_engine(postgres.sg.url(driver, name), poolclass=NullPool)
        with pytest.raises(SinkUnavailable, match="'x' cannot be read or written as records") as told:
            [each async for each in SqlRecords("x", engine, DOCS).read({"an"})]
        assert is_lasting(told.value)

    for driver in ("asyncpg", "psycopg"):
        anyio.run(read, driver)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_what_a_row_only_names_the_number_of_is_not_left_behind_in_silence(postgres: Pair, driver: str) -> None:
    name = postgres.sg.database()
    postgres.sg.query("CREATE DOMAIN lo AS oid; CREATE TABLE people (id text PRIMARY KEY, face lo)", name)

    async def look() -> None:
        engine = create_async_engine(postgres.sg.url(driver, name), poolclass=NullPool)
        await SqlRecords("x", engine, DOCS).check_movable()
        postgres.sg.query("SELECT lo_from_bytea(0, 'a face')", name)
        with pytest.raises(UsageError, match="'face' of table 'people' may name large objects"):
            await SqlRecords("x", engine, DOCS).check_movable()

    anyio.run(look)


def test_what_a_table_that_inherits_has_more_is_lost_by_no_move_and_partitions_have_no_more(postgres: Pair) -> None:
    name = postgres.sg.database()
    postgres.sg.query("CREATE TABLE people (id text PRIMARY KEY) PARTITION BY LIST (id)", name)
    postgres.sg.query("CREATE TABLE an PARTITION OF people FOR VALUES IN ('an')", name)

    async def look() -> None:
        engine = create_async_engine(postgres.sg.url("asyncpg", name), poolclass=NullPool)
        await SqlRecords("x", engine, DOCS).check_movable()
        postgres.sg.query("DROP TABLE people; CREATE TABLE people (id text PRIMARY KEY)", name)
        await SqlRecords("x", engine, DOCS).check_movable()
        postgres.sg.query("CREATE TABLE staff (badge text) INHERITS (people)", name)
        with pytest.raises(UsageError, match="rows of table 'staff', which inherits from 'people'"):
            await SqlRecords("x", engine, DOCS).check_movable()

    anyio.run(look)
