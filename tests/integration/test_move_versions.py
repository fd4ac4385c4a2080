"""What was copied is known by the versions of its rows, and whatever happened to them since is seen all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine

from residency.adapters.records_sql.copying import PostgresParcels
from residency.errors import SinkUnavailable
from residency.policy.parsed_storage import RecordDoc
from tests.postgres import Pair

pytestmark = pytest.mark.needs("postgres")
DOCS = (
    RecordDoc("people", "id", None, frozenset({"personal"})),
    RecordDoc("odd \"'Letters", None, ("per son", "people"), frozenset({"content"})),
)
TABLES = """
CREATE TYPE mood AS ENUM ('fine', 'so');
CREATE TABLE people (id text PRIMARY KEY, name text, mood mood DEFAULT 'fine');
CREATE TABLE "odd ""'Letters" (
  id int PRIMARY KEY, "per son" text REFERENCES people (id), body text, "int erval" interval DEFAULT '1 mon 2 days'
);
CREATE INDEX ON "odd ""'Letters" ("per son");
CREATE VIEW letters AS SELECT id, "per son" AS person, body FROM "odd ""'Letters";
CREATE TABLE noted (at int);
"""
FILL = """
TRUNCATE people, "odd ""'Letters";
INSERT INTO people (id, name) VALUES ('an', 'An'), ('binh', 'Binh'), ('chi', 'Chi');
INSERT INTO letters SELECT n, (ARRAY['an', 'binh', 'chi'])[1 + n % 3], 'letter ' || n FROM generate_series(1, 12) n;
"""
IDS = ["an", "binh", "chi", "nobody"]
RENAME = (
    "ALTER TYPE mood RENAME VALUE 'fine' TO 'well'"  # what no version tells: who still says the same made no digest
)

# Statements that may happen to rows at any time, each in a transaction of its own.
HAPPENS = {
    "nothing": "SELECT 1",
    "a value": "UPDATE letters SET body = 'other' WHERE id = 4",
    "a value of the key's row, with no index touched": "UPDATE people SET name = 'Other' WHERE id = 'binh'",
    "the same value": "UPDATE letters SET body = body WHERE id = 4",
    "there and back": "UPDATE letters SET body = 'x' WHERE id = 5; UPDATE letters SET body = 'letter 5' WHERE id = 5",
    "a row gone": "DELETE FROM letters WHERE id = 4",
    "a row more": "INSERT INTO letters VALUES (100, 'an', 'new') ON CONFLICT DO NOTHING",
    "another in its place": "DELETE FROM letters WHERE id = 4; INSERT INTO letters VALUES (4, 'binh', 'again')",
    "another where it lay": """DELETE FROM letters WHERE id = 4; VACUUM "odd ""'Letters"; """
    "INSERT INTO letters VALUES (4, 'binh', 'again')",
    "the same again": "DELETE FROM letters WHERE id = 7; INSERT INTO letters VALUES (7, 'binh', 'letter 7')",
    "somebody else's now": "UPDATE letters SET person = 'chi' WHERE id = 4",
    "two changed over": "UPDATE letters SET person = CASE person WHEN 'an' THEN 'chi' ELSE 'an' END WHERE id IN (2, 3)",
    "a lock": 'BEGIN; SELECT FROM people FOR UPDATE; SELECT FROM "odd ""\'Letters" FOR SHARE; COMMIT',
    "taken back": "BEGIN; UPDATE letters SET body = 'never'; DELETE FROM letters; ROLLBACK",
    "half taken back": "BEGIN; SAVEPOINT a; UPDATE letters SET body = 'never'; ROLLBACK TO a; "
    "UPDATE letters SET body = 'half' WHERE id = 6; COMMIT",
    "many": "UPDATE letters SET body = body || '.' WHERE person = 'chi'",
    "a transaction of others": "INSERT INTO noted VALUES (1)",
    "frozen": 'VACUUM FREEZE people; VACUUM FREEZE "odd ""\'Letters"',
    "vacuumed": 'VACUUM people; VACUUM "odd ""\'Letters"',
    "written anew": 'VACUUM FULL people; VACUUM FULL "odd ""\'Letters"',
    "sorted anew": 'CLUSTER "odd ""\'Letters" USING "odd ""\'Letters_per son_idx"',
    "analyzed": "ANALYZE people",
}
HARMLESS = {"nothing", "a lock", "taken back", "a transaction of others", "frozen", "vacuumed", "analyzed"}
SAME_ALL_THE_SAME = HARMLESS | {"the same value", "there and back", "the same again", "written anew", "sorted anew"}


@pytest.fixture(scope="module")
def name(postgres: Pair) -> str:
    name = postgres.sg.database()
    postgres.sg.query(TABLES, name)
    return name


def happen(postgres: Pair, name: str, what: str) -> None:
    with psycopg.connect(postgres.sg.dsn(name), autocommit=True) as connection:
        for statement in HAPPENS.get(what, what).split("; "):
            connection.execute(statement.encode())


def on(postgres: Pair, name: str, work: Callable[[PostgresParcels, PostgresParcels], Awaitable[None]]) -> None:
    """Do `work` with parcels that remember, and with others of the same sink that have seen nothing."""

    async def go() -> None:
        engine = create_async_engine(postgres.sg.url("asyncpg", name))
        try:
            await work(PostgresParcels("x", engine, DOCS), PostgresParcels("x", engine, DOCS))
        finally:
            await engine.dispose()

    happen(postgres, name, FILL)
    anyio.run(go)


def left(postgres: Pair, name: str) -> set[str]:
    rows = postgres.sg.query("SELECT id FROM people UNION SELECT person FROM letters", name)
    return {row[0] for row in rows}


@pytest.mark.parametrize("what", HAPPENS)
def test_whatever_happens_between_is_seen_and_nothing_of_it_is_deleted(postgres: Pair, name: str, what: str) -> None:
    async def work(parcels: PostgresParcels, fresh: PostgresParcels) -> None:
        copied = (await parcels.load(IDS)).digests
        happen(postgres, name, what)
        now = await fresh.tally(IDS)
        assert (now == copied) is (what in SAME_ALL_THE_SAME), "the statement does what it says"
        if what in HARMLESS:
            happen(postgres, name, RENAME)
            try:
                assert await parcels.tally(IDS) == copied, "no value was read again"
            finally:
                happen(postgres, name, "ALTER TYPE mood RENAME VALUE 'well' TO 'fine'")
        same = {each for each in copied if now.get(each) == copied[each]}
        assert await parcels.clear(copied) == same
        assert left(postgres, name) == set(now) - same
        assert await fresh.tally(IDS) == {each: digest for each, digest in now.items() if each not in same}

    on(postgres, name, work)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    before=st.lists(st.sampled_from(sorted(HAPPENS)), max_size=2),
    between=st.lists(st.sampled_from(sorted(HAPPENS)), max_size=4),
    after=st.lists(st.sampled_from(sorted(HAPPENS)), max_size=3),
)
def test_versions_never_say_what_digests_would_not(
    postgres: Pair, name: str, before: list[str], between: list[str], after: list[str]
) -> None:
    async def work(parcels: PostgresParcels, fresh: PostgresParcels) -> None:
        for what in before:
            happen(postgres, name, what)
        copied = (await parcels.load(IDS)).digests
        for what in between:
            happen(postgres, name, what)
        now = await fresh.tally(IDS)
        assert await parcels.tally(IDS) == now
        for what in after:
            happen(postgres, name, what)
        last = await fresh.tally(IDS)
        gone = {each for each in copied if last.get(each) == copied[each]}
        assert await parcels.clear(copied) == gone
        assert await fresh.tally(IDS) == {each: digest for each, digest in last.items() if each not in gone}

    on(postgres, name, work)


def test_a_row_that_lies_where_another_lay_is_not_taken_for_it(postgres: Pair, name: str) -> None:
    places = """SELECT ctid FROM "odd ""'Letters" WHERE id = 4"""

    async def work(parcels: PostgresParcels, fresh: PostgresParcels) -> None:
        place = postgres.sg.query(places, name)
        copied = (await parcels.load(IDS)).digests
        happen(postgres, name, "another where it lay")
        assert postgres.sg.query(places, name) == place
        assert await parcels.tally(IDS) == await fresh.tally(IDS) != copied

    on(postgres, name, work)


@pytest.mark.parametrize(
    ("statement", "stays"),
    [
        ("UPDATE letters SET body = 'late' WHERE id = 4", True),
        ("UPDATE people SET name = 'Late' WHERE id = 'binh'", True),
        ("SELECT FROM people WHERE id = 'binh' FOR SHARE", False),
    ],
)
def test_a_deletion_that_waits_for_a_writer_sees_what_that_wrote(
    postgres: Pair, name: str, statement: str, stays: bool
) -> None:
    def end(writer: psycopg.Connection[tuple[object, ...]]) -> None:
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        until = time.monotonic() + 30
        while postgres.sg.query(waits, name) != [(1,)] and time.monotonic() < until:
            time.sleep(0.01)
        writer.commit()

    async def work(parcels: PostgresParcels, fresh: PostgresParcels) -> None:
        copied = (await parcels.load(IDS)).digests
        with psycopg.connect(postgres.sg.dsn(name)) as writer:
            writer.execute(statement.encode())
            ending = threading.Thread(target=end, args=(writer,))
            ending.start()
            gone = await parcels.clear(copied)
            ending.join()
        assert gone == ({"an", "chi"} if stays else {"an", "binh", "chi"})
        assert left(postgres, name) == ({"binh"} if stays else set())

    on(postgres, name, work)


def test_of_a_connection_that_was_lost_since_nothing_is_believed(postgres: Pair, name: str) -> None:
    async def work(parcels: PostgresParcels, fresh: PostgresParcels) -> None:
        copied = (await parcels.load(IDS)).digests
        await parcels._engine.dispose()
        happen(postgres, name, RENAME)
        try:
            assert await parcels.tally(IDS) == await fresh.tally(IDS) != copied
        finally:
            happen(postgres, name, "ALTER TYPE mood RENAME VALUE 'well' TO 'fine'")

    on(postgres, name, work)


@pytest.mark.parametrize(
    "tables",
    [
        "CREATE TABLE people (id text PRIMARY KEY, mood mood) PARTITION BY HASH (id);"
        "CREATE TABLE a PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE b PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 1);",
        "CREATE TABLE people (id text PRIMARY KEY, mood mood); CREATE TABLE children () INHERITS (people);",
    ],
)
def test_of_tables_whose_places_are_not_their_own_digests_are_made(postgres: Pair, tables: str) -> None:
    name = postgres.sg.database()
    postgres.sg.query("CREATE TYPE mood AS ENUM ('fine');" + tables, name)
    postgres.sg.query("INSERT INTO people VALUES ('an', 'fine'), ('binh', 'fine'), ('chi', 'fine')", name)

    async def go() -> None:
        engine = create_async_engine(postgres.sg.url("asyncpg", name))
        parcels = PostgresParcels("x", engine, DOCS[:1])
        copied = (await parcels.load(IDS)).digests
        assert await parcels.tally(IDS) == copied
        happen(postgres, name, RENAME)
        assert not set((await parcels.tally(IDS)).values()) & set(copied.values())
        assert await parcels.clear(copied) == frozenset()
        assert await parcels.clear(await parcels.tally(IDS)) == {"an", "binh", "chi"}
        await engine.dispose()

    anyio.run(go)


def test_rows_of_two_people_that_refer_to_each_other_go_together_though_one_was_touched(postgres: Pair) -> None:
    name = postgres.sg.database()
    postgres.sg.query(
        "CREATE TABLE people (id text PRIMARY KEY, friend text REFERENCES people (id), name text);"
        "INSERT INTO people VALUES ('an', NULL, ''), ('binh', 'an', '');"
        "UPDATE people SET friend = 'binh' WHERE id = 'an'",
        name,
    )

    async def go() -> None:
        engine = create_async_engine(postgres.sg.url("asyncpg", name))
        parcels = PostgresParcels("x", engine, DOCS[:1])
        copied = (await parcels.load(IDS)).digests
        happen(postgres, name, "UPDATE people SET name = name WHERE id = 'an'")
        assert await parcels.tally(IDS) == copied
        assert await parcels.clear(copied) == {"an", "binh"}
        await engine.dispose()

    anyio.run(go)
    assert postgres.sg.query("SELECT count(*) FROM people", name) == [(0,)]


CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_connections_that_were_cut_while_nobody_used_them_are_not_given_to_every_next_try(
    postgres: Pair, name: str
) -> None:
    async def work(parcels: PostgresParcels, fresh: PostgresParcels) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(parcels.layout)
        await anyio.to_thread.run_sync(happen, postgres, name, CUT)
        with anyio.fail_after(20):
            while True:
                with suppress(SinkUnavailable):  # one that the driver has not heard of yet
                    await parcels.layout()
                    return
                await anyio.sleep(0.05)

    on(postgres, name, work)
