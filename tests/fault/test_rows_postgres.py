"""Routed sessions on real PostgreSQL when something is wrong with it, or tries to go around them.

No error text and no traceback tells a password, an address, a port or a parameter.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from residency.adapters.sink_sql import SqlSink
from residency.errors import SinkUnavailable, UsageError
from residency.integrations.sqlalchemy import async_sessionmaker, create_all, sessionmaker
from residency.storage.statements import goes_around
from tests.postgres import PASSWORD, Pair, Postgres, new_server
from tests.rows import BACKENDS, Base, Person, Place, Rows, Session, opened, places_of
from tests.servers import Proxy
from tests.world import SINGAPORE, VN

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]
SECRET = "a secret name"


@pytest.fixture(params=BACKENDS[1:])
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the drivers that sessions on the event loop use."""
    return str(request.param)


@pytest.fixture
async def world(request: pytest.FixtureRequest, driver: str, tmp_path: Path) -> AsyncIterator[Rows]:
    """A world whose tables are made."""
    async with opened(Rows(tmp_path, places_of(driver, tmp_path, request))) as made:
        yield made


def told(error: BaseException) -> str:
    """All that a log would hold of an error."""
    return "".join(traceback.format_exception(error, chain=True)) + str(error) + repr(error)


def says_nothing(error: BaseException, *more: object) -> None:
    """Nothing that is nobody's business is in an error or its traceback."""
    # Lines of source that a traceback quotes are not what is looked for.
    said = "\n".join(line for line in told(error).splitlines() if not line.startswith("    "))
    for secret in (PASSWORD, SECRET, "127.0.0", *map(str, more)):
        assert secret not in said


# -- what only reads --------------------------------------------------------------------------------------------

WRITERS = [
    "INSERT INTO person VALUES ('1', 'x')",
    "WITH q AS (INSERT INTO person VALUES ('1', 'x') RETURNING id) SELECT * FROM q",
    "EXPLAIN ANALYZE INSERT INTO person VALUES ('1', 'x')",
    "SELECT write_one()",
    "DO $$ BEGIN PERFORM write_one(); END $$",
    "DO $$ BEGIN EXECUTE 'SET LOCAL transaction_read_only = off'; PERFORM write_one(); END $$",
    "CALL write_one_more()",
    "SELECT nextval('counter')",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "COPY person FROM STDIN",
    "CREATE TABLE more (x TEXT)",
    "TRUNCATE person CASCADE",
    "SELECT * FROM person FOR UPDATE",
    "PREPARE q AS INSERT INTO person VALUES ('1', 'x')",
]


@pytest.mark.parametrize("statement", WRITERS)
async def test_nothing_that_a_read_only_act_does_is_there_afterwards(world: Rows, statement: str) -> None:
    query = world.places["vn"].query
    query("CREATE FUNCTION write_one() RETURNS void LANGUAGE sql AS $$ INSERT INTO person VALUES ('1', 'x') $$")
    query("CREATE PROCEDURE write_one_more() LANGUAGE sql AS $$ INSERT INTO person VALUES ('1', 'x') $$")
    query("CREATE SEQUENCE counter")
    with world.request("GET"):
        async with Session() as session:
            try:
                await session.execute(text(statement))
                await session.execute(text("EXECUTE q" if statement.startswith("PREPARE") else WRITERS[0]))
            except (SQLAlchemyError, UsageError):
                pass
            with pytest.raises((SQLAlchemyError, UsageError)):
                await session.execute(text(WRITERS[0]))
            await session.commit() if session.is_active else await session.rollback()
    assert world.names("vn") == []
    left = query("SELECT (SELECT count(*) FROM pg_largeobject_metadata), last_value, is_called FROM counter")
    assert left == [(0, 1, False)]
    assert query("SELECT to_regclass('more')") == [(None,)]
    assert [word for _, word in world.acts()] == ["committed"]


async def test_a_connection_that_was_told_to_write_by_its_driver_still_leaves_nothing(
    world: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_sql.guarded._OURS", "")  # as if there were a way to it
    with world.request("GET"):
        async with Session() as session:
            connection = await session.connection()
            await connection.execute(text("SHOW transaction_read_only"))  # asyncpg begins with the first statement
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.execute("RESET transaction_read_only")
            await session.execute(text(WRITERS[0]))
            await session.commit()
    assert world.names("vn") == []


async def test_a_large_object_that_a_read_only_act_wrote_is_not_there_afterwards(world: Rows) -> None:
    # PostgreSQL 15 lets it: only the rollback at the end takes it back.
    with world.request("GET"):
        async with Session() as session:
            await session.execute(text("SELECT lo_from_bytea(0, 'x')"))
            await session.commit()

        def in_a_thread() -> None:
            with sessionmaker("people")() as blocking:
                blocking.execute(text("SELECT lo_from_bytea(0, 'x')"))
                with pytest.raises(UsageError, match="only reads"):
                    blocking.execute(text(WRITERS[0]))
                blocking.rollback()
                blocking.execute(text("SELECT lo_from_bytea(0, 'x')"))
                blocking.commit()

        await anyio.to_thread.run_sync(in_a_thread)
    assert world.places["vn"].query("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]
    assert [word for _, word in world.acts()] == ["committed"] * 3


# -- ways around ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN COMMIT; END $$",
        "CALL commit_here()",
        "SELECT E'\\';'; COMMIT",
        "/* /* */ */ COMMIT",
        "SELECT 1; COMMIT; BEGIN",
        "PREPARE TRANSACTION 'later'",
        "COMMIT PREPARED 'later'",
        "COPY person TO PROGRAM 'cat > /tmp/leak'",
        "COPY person TO '/tmp/leak'",
    ],
)
async def test_no_statement_commits_or_leaks_behind_the_sessions_back(world: Rows, statement: str) -> None:
    world.places["vn"].query("CREATE PROCEDURE commit_here() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
    with world.request():
        async with Session() as session:
            await session.execute(text(WRITERS[0]))
            with pytest.raises((UsageError, DBAPIError)):
                await session.execute(text(statement))
            await session.rollback()
    assert world.names("vn") == []
    assert world.acts() == [("people-vn", "rolled_back")]
    assert world.places["vn"].query("SELECT count(*) FROM pg_prepared_xacts") == [(0,)]


async def test_neither_autocommit_nor_two_phases_nor_a_writing_mode_can_be_had(world: Rows) -> None:
    with pytest.raises(UsageError, match="two-phase"):
        async_sessionmaker("people", twophase=True)()
    for method, options in (
        ("POST", {"isolation_level": "AUTOCOMMIT"}),
        ("GET", {"isolation_level": "AUTOCOMMIT"}),
        ("GET", {"postgresql_readonly": False}),
    ):
        with world.request(method):
            async with Session() as session:
                with pytest.raises(UsageError, match="takes neither"):
                    await session.connection(execution_options=options)
            async with Session() as session:
                connection = await session.connection()
                with pytest.raises((UsageError, InvalidRequestError)):
                    await connection.execution_options(**options)
                with pytest.raises(UsageError, match="takes neither"):
                    connection.engine.execution_options(**options)
    assert world.names("vn") == []
    assert {word for _, word in world.acts()} <= {"committed", "rolled_back"}


async def test_a_stricter_isolation_is_the_apps_own_affair(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
            assert await session.scalar(text("SHOW transaction_isolation")) == "serializable"
            session.add(Person(name="An"))
            await session.commit()
    assert world.names("vn") == ["An"]


PIECES = ["COMMIT", "BEGIN", "SELECT 1", "--", "/*", "*/", "\n", "\r", "'", "E'", '"', "$$", "$a$", ";", " ", "x", "\\"]


@given(st.lists(st.sampled_from(PIECES), max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_ends_a_transaction_of_postgresql_was_found_before(postgres: Pair, pieces: list[str]) -> None:
    statement = "".join(pieces)
    with psycopg.connect(postgres.vn.dsn("postgres"), autocommit=True) as connection:
        connection.execute("BEGIN")
        before = connection.execute("SELECT pg_current_xact_id()").fetchone()
        try:
            connection.execute(statement.encode())
            after = connection.execute("SELECT pg_current_xact_id()").fetchone()
        except psycopg.Error:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                return
            after = None
        assert before == after or goes_around(statement)


# -- a database that is not as it should be -----------------------------------------------------------------------


async def _fails(url: str) -> SinkUnavailable:
    sink = SqlSink("people-vn", VN, url)
    try:
        with pytest.raises(SinkUnavailable, match="'people-vn'") as caught:
            await sink.start()
        return caught.value
    finally:
        await sink.aclose()


async def test_wrong_credentials_and_names_are_told_by_the_sinks_name(postgres: Pair, driver: str) -> None:
    server = postgres.vn
    database = server.emptied()
    for url, word in (
        (server.url(driver, database, password="wrong-password"), "credentials"),
        (server.url(driver, "no_such_place"), "no database"),
        (server.url(driver, database).replace(str(server.port), "1"), "reached"),
        (server.url(driver, database).replace(server.address, "no-such-host.invalid"), "reached"),
    ):
        error = await _fails(url)
        if driver == "asyncpg":  # libpq does not tell why
            assert word in str(error)
        says_nothing(error, "wrong-password", "no_such_place", "no-such-host", server.port)


async def test_a_session_on_a_database_that_is_away_is_refused_in_the_same_words(
    postgres: Pair, driver: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    places = places_of(driver, tmp_path, request)
    places["vn"] = Place(postgres.vn.url(driver, "emptied", password="wrong-password"), places["vn"].query)
    world = Rows(tmp_path, places)
    with world.request():
        async with Session() as session:
            with pytest.raises(SinkUnavailable, match="people-vn") as caught:
                await session.execute(select(Person))
        says_nothing(caught.value, "wrong-password")
        with pytest.raises(SinkUnavailable, match="people-vn"):
            await anyio.to_thread.run_sync(_count)
    assert world.acts() == [("people-vn", "rolled_back")] * 2
    await world.stores.aclose()


def _count() -> int:
    with sessionmaker("people")() as session:
        return session.scalar(select(func.count()).select_from(Person)) or 0


async def test_a_sink_without_the_tables_is_named(world: Rows) -> None:
    world.places["vn"].query("DROP TABLE note, person")
    with world.request():
        async with Session() as session:
            with pytest.raises(SinkUnavailable, match=r"people-vn.*no such table"):
                await session.execute(select(Person))
    with world.request():
        async with Session() as session:
            session.add(Person(name=SECRET))
            with pytest.raises(SinkUnavailable, match=r"people-vn.*no such table") as caught:
                await session.commit()
    says_nothing(caught.value)


async def test_an_exhausted_pool_is_waited_for_so_long_and_no_longer(
    postgres: Pair, driver: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    places = places_of(driver, tmp_path, request)
    options = "?pool_size=1&max_overflow=0&pool_timeout=1"
    places["vn"] = Place(places["vn"].url + options, places["vn"].query)
    world = Rows(tmp_path, places)
    await create_all(Base.metadata, world.stores, "people")
    with world.request():
        async with Session() as holder:
            await holder.execute(select(Person))
            async with Session() as session:
                with anyio.fail_after(20), pytest.raises(SinkUnavailable, match=r"people-vn.*exhausted") as caught:
                    await session.execute(select(Person))
            says_nothing(caught.value)
        async with Session() as session:
            await session.execute(select(Person))
    await world.stores.aclose()


@pytest.mark.parametrize(
    "statement",
    [
        insert(Person).values(id="1", name=SECRET),
        text("SELECT CAST(:value AS integer)").bindparams(value=SECRET),
        text("INSERT INTO person VALUES ('2', NULL), (repeat('x', 40), :value)").bindparams(value=SECRET),
        text("DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'a secret ' || 'name', HINT = 'a secret ' || 'name'; END $$"),
        text("SELECT * FROM person WHERE id = to_char(now(), :value)::date::text").bindparams(value=SECRET),
    ],
    ids=["unique", "cast", "not null", "raised", "date"],
)
async def test_no_error_quotes_a_value(world: Rows, statement: Any) -> None:
    with world.request():
        async with Session.begin() as session:
            session.add(Person(id="1", name=SECRET))
        async with Session() as session:
            with pytest.raises(DBAPIError) as caught:
                await session.execute(statement)
    says_nothing(caught.value)
    assert "people-vn" in told(caught.value)


async def test_which_constraint_it_was_is_still_told(world: Rows) -> None:
    with world.request():
        async with Session() as session:
            session.add_all([Person(name=SECRET), Person(name=SECRET)])
            with pytest.raises(IntegrityError, match=r"person_name_key.*23505") as caught:
                await session.commit()
    assert getattr(caught.value.orig, "sqlstate", None) == "23505"
    says_nothing(caught.value)


# -- servers that go away -----------------------------------------------------------------------------------------


@pytest.fixture
def proxy(postgres: Pair) -> Iterator[Proxy]:
    """A proxy before the server in Vietnam."""
    made = Proxy(postgres.vn.port, postgres.vn.address)
    yield made
    made.close()


@pytest.fixture
async def behind(
    request: pytest.FixtureRequest, postgres: Pair, proxy: Proxy, driver: str, tmp_path: Path
) -> AsyncIterator[Rows]:
    """A world whose sink in Vietnam lies behind `proxy`, its tables made and its connections warm."""
    places = places_of(driver, tmp_path, request)
    places["vn"] = Place(postgres.vn.url(driver, "emptied", port=proxy.port), places["vn"].query)
    made = Rows(tmp_path, places)
    await create_all(Base.metadata, made.stores, "people")
    yield made
    proxy.holds = lambda said: False
    await made.stores.aclose()


def _committing(said: bytes) -> bool:
    return b"COMMIT" in said


async def _within(limit: asyncio.Timeout, work: Coroutine[Any, Any, None]) -> None:
    async with limit:
        await work


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not holds():  # noqa: ASYNC110 - what holds is another process's
            await anyio.sleep(0.01)


async def test_a_database_gone_in_the_middle_of_commit_leaves_an_open_intent(behind: Rows, proxy: Proxy) -> None:
    proxy.holds = _committing

    async def cut() -> None:
        await _until(lambda: behind.names("vn") == ["An"])  # committed, but nobody has told us
        proxy.cut()

    with behind.request():
        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            async with Session() as session:
                session.add(Person(name="An"))
                with pytest.raises(SinkUnavailable, match="people-vn") as caught:
                    await session.commit()
    says_nothing(caught.value, proxy.port)
    assert behind.names("vn") == ["An"]
    assert behind.acts() == [("people-vn", None)]


async def test_a_database_gone_before_commit_is_a_rollback_and_the_next_act_finds_a_new_connection(
    behind: Rows, proxy: Proxy
) -> None:
    with behind.request():
        async with Session() as session:
            session.add(Person(name="An"))
            await session.flush()
            proxy.cut()
            await anyio.sleep(0.1)
            with pytest.raises(SinkUnavailable, match="people-vn") as caught:
                await session.execute(select(Person))
            says_nothing(caught.value, proxy.port)
            await session.rollback()
        async with Session.begin() as session:
            session.add(Person(name="Binh"))
    assert behind.names("vn") == ["Binh"]
    assert behind.acts() == [("people-vn", "rolled_back"), ("people-vn", "committed")]


@pytest.mark.parametrize("how", ["task", "scope", "timeout"])
async def test_who_is_cancelled_while_commit_is_under_way_says_what_became_of_it(
    behind: Rows, proxy: Proxy, how: str
) -> None:
    proxy.holds = _committing
    after: list[str] = []

    async def work() -> None:
        async with Session() as session:
            session.add(Person(name="An"))
            await session.commit()
            await asyncio.sleep(0)
            after.append("went on")

    async def once_sent(cancel: Callable[[], object]) -> None:
        await _until(lambda: behind.names("vn") == ["An"])
        cancel()
        await anyio.sleep(0.2)
        proxy.holds = lambda said: False

    with behind.request():
        if how == "task":
            task = asyncio.create_task(work())
            await once_sent(task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelling() == 1
        elif how == "scope":
            with anyio.CancelScope() as scope:
                freeing = asyncio.create_task(once_sent(scope.cancel))
                await work()
            assert scope.cancelled_caught
            await freeing
        else:
            limit = asyncio.timeout(None)
            freeing = asyncio.create_task(once_sent(lambda: limit.reschedule(0)))
            with pytest.raises(TimeoutError):
                await _within(limit, work())
            await freeing
    assert after == []
    assert behind.acts() == [("people-vn", "committed")]
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


async def test_who_is_cancelled_before_commit_has_written_nothing(behind: Rows, proxy: Proxy) -> None:
    sent: list[bytes] = []

    def inserting(said: bytes) -> bool:
        if b"INSERT" in said:
            sent.append(said)
        return b"INSERT" in said

    proxy.holds = inserting

    async def once_sent(scope: anyio.CancelScope) -> None:
        await _until(lambda: bool(sent))
        scope.cancel()
        await anyio.sleep(0.2)  # asyncpg waits for the answer that it gave up
        proxy.holds = lambda said: False

    with behind.request():
        with anyio.CancelScope() as scope:
            freeing = asyncio.create_task(once_sent(scope))
            async with Session() as session:
                session.add(Person(name="An"))
                await session.commit()
        assert scope.cancelled_caught
        await freeing
    assert behind.names("vn") == []
    assert behind.acts() == [("people-vn", "rolled_back")]


async def test_a_commit_whose_answer_never_comes_is_given_up_and_its_intent_stays_open(
    behind: Rows, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_sql.engines._COMMIT_WAIT", 0.2)
    proxy.holds = _committing

    async def once_sent(scope: anyio.CancelScope) -> None:
        await _until(lambda: behind.names("vn") == ["An"])
        scope.cancel()

    with behind.request():
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            cancelling = asyncio.create_task(once_sent(scope))
            async with Session() as session:
                session.add(Person(name="An"))
                await session.commit()
        assert scope.cancelled_caught
        await cancelling
    assert behind.acts() == [("people-vn", None)]
    proxy.cut()


@pytest.mark.slow
async def test_a_server_that_is_killed_and_started_anew_is_used_again(driver: str, tmp_path: Path) -> None:
    with new_server("127.0.0.4") as server:
        server.make().start()
        world = _one_server(server, driver, tmp_path)
        await world.stores.start()
        await create_all(Base.metadata, world.stores, "people")
        server.stop()
        with world.request():
            async with Session() as session:
                with pytest.raises(SinkUnavailable, match="people-vn"):
                    await session.execute(select(Person))
            server.start()
            async with Session.begin() as session:
                session.add(Person(name="An"))
        assert world.names("vn") == ["An"]
        await world.stores.aclose()


@pytest.mark.slow
async def test_a_standby_takes_no_writes_and_says_so(driver: str, tmp_path: Path) -> None:
    with new_server("127.0.0.4") as primary, new_server("127.0.0.5") as standby:
        primary.make()
        with (primary.data / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all 127.0.0.0/8 md5\n")
        primary.start()
        writing = _one_server(primary, driver, tmp_path)
        await create_all(Base.metadata, writing.stores, "people")
        await writing.stores.aclose()
        standby.standby_of(primary).start()
        (tmp_path / "standby").mkdir()
        world = _one_server(standby, driver, tmp_path / "standby")
        with pytest.raises(SinkUnavailable, match=r"people-vn.*takes no writes"):
            await world.stores.ping()
        with world.request():
            async with Session() as session:
                session.add(Person(name=SECRET))
                with pytest.raises(SinkUnavailable, match=r"people-vn.*takes no writes") as caught:
                    await session.commit()
                await session.rollback()
        says_nothing(caught.value)
        with world.request("GET"):
            async with Session() as session:
                assert await session.scalar(select(func.count()).select_from(Person)) == 0
        assert world.acts() == [("people-vn", "rolled_back"), ("people-vn", "committed")]
        await world.stores.aclose()


async def _fill(session: AsyncSession) -> None:
    rows = "SELECT gen_random_uuid()::text, repeat(md5(random()::text), 200) FROM generate_series(1, 200)"
    for _ in range(40):
        await session.execute(text("INSERT INTO person " + rows))


def _open_to_all(folder: Path) -> None:
    """PostgreSQL runs as a user of its own, who must reach what lies in `folder`."""
    for each in (folder, *folder.parents):
        if "pytest-" in str(each):
            each.chmod(0o755)


@pytest.mark.slow
@pytest.mark.needs("tmpfs")
async def test_a_full_disk_is_the_sinks_failure_and_nothing_is_written(
    driver: str, tmp_path: Path, tmpfs: Callable[[str], Path]
) -> None:
    _open_to_all(tmp_path)
    disk = tmpfs("90m")
    with new_server("127.0.0.4", disk) as server:
        server.make().start(min_wal_size="32MB", max_wal_size="32MB")
        world = _one_server(server, driver, tmp_path)
        await create_all(Base.metadata, world.stores, "people")
        with (disk / "filler").open("wb") as filler:
            try:
                while True:
                    filler.write(bytes(65536))
                    filler.flush()
            except OSError:
                pass
            with world.request():
                async with Session() as session:
                    with pytest.raises(SinkUnavailable, match="people-vn") as caught:
                        await _fill(session)
                    await session.rollback()
            says_nothing(caught.value)
        (disk / "filler").unlink()
        assert world.acts() == [("people-vn", "rolled_back")]
        await world.stores.aclose()


def _one_server(server: Postgres, driver: str, folder: Path) -> Rows:
    """A world with both sinks on one server, of which the one in Vietnam is of interest."""
    places = {}
    for name in ("vn", "sg"):
        if (name,) not in server.query("SELECT datname FROM pg_database"):
            server.query(f"CREATE DATABASE {name}")
        query = lambda statement, at=name: server.query(statement, at)  # noqa: E731
        places[name] = Place(server.url(driver, name), query)
    return Rows(folder, places)


async def test_a_read_from_elsewhere_goes_home_on_two_servers(world: Rows) -> None:
    with world.request():
        async with Session.begin() as session:
            session.add(Person(name="An"))
    with world.request("GET", address=SINGAPORE):
        async with Session() as session:
            assert await session.scalar(select(Person.name)) == "An"
    assert (world.names("vn"), world.names("sg")) == (["An"], [])
