"""Ways past a routed session, tried over each database and driver: what was found open once, and is shut."""

from __future__ import annotations

import asyncio
import enum
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio.to_thread
import pytest
from sqlalchemy import Connection, Engine, Enum, Numeric, String, Uuid, event, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm import Session as PlainSession
from sqlalchemy.util import greenlet_spawn

from residency.adapters.sink_sql import SqlSink
from residency.errors import NoDecision, UsageError
from residency.integrations.sqlalchemy import sessionmaker, uuid7_key
from residency.storage.handle import WITHOUT_ACT
from tests.rows import BACKENDS, Rows, Session, opened, places_of
from tests.services import SG_HOST
from tests.world import SINGAPORE, VN

if TYPE_CHECKING:
    from tests.postgres import Pair

pytestmark = pytest.mark.anyio
SECRET = "Nguyễn Văn Kín"


def watched(engine: Engine) -> list[str]:
    """What will have gone to the database by `engine`: this listener is behind those that refuse."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *told: sent.append(told[2]))
    return sent


async def nothing_goes(kept: AsyncEngine) -> None:
    """Neither a row, nor a question about one, nor a savepoint."""
    for statement in (insert(Typed).values(id="an"), select(Typed).where(Typed.id == "an")):
        with pytest.raises(UsageError, match="taken out of a routed session sends nothing to sink 'people-sg'"):
            async with kept.begin() as connection:
                await connection.execute(statement)
    async with kept.connect() as connection:
        with pytest.raises(UsageError, match="sends nothing"):
            await connection.begin_nested()


async def in_thread(run: str, work: Callable[[], None]) -> None:
    """Do it in a thread; but for the last, in one that knows of no request."""
    if run == "executor":
        await asyncio.get_running_loop().run_in_executor(None, work)
    elif run == "thread":
        thread = threading.Thread(target=work)
        thread.start()
        await anyio.to_thread.run_sync(thread.join)
    else:
        await asyncio.to_thread(work)


class Base(DeclarativeBase):
    """These tests' models."""


class Colour(enum.Enum):
    """An enumeration that the app keeps to."""

    red = "red"


class Typed(Base):
    """A row whose values Python reads before the database does."""

    __tablename__ = "typed"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    number: Mapped[UUID | None] = mapped_column(Uuid)
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour, validate_strings=True))
    amount: Mapped[Decimal | None] = mapped_column(Numeric)


@pytest.fixture(params=BACKENDS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rows]:
    """A world whose tables are made."""
    async with opened(Rows(tmp_path, places_of(request.param, tmp_path, request)), Base.metadata) as made:
        yield made


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_engine_that_was_kept_sends_nothing_whoever_asks(world: Rows, method: str) -> None:
    with world.request(method, who="tan", address=SINGAPORE):
        async with Session() as session:
            await session.scalars(select(Typed))
            bound = session.get_bind()
            taken = (await session.connection()).engine
    assert isinstance(bound, Engine)
    sent = watched(bound)
    for kept in (AsyncEngine(bound), taken):
        with world.request(who="tan", address=SINGAPORE):
            await nothing_goes(kept)
        with world.request(who="an"):
            await nothing_goes(kept)
        await nothing_goes(kept)
    assert sent == []
    assert world.places["sg"].query("SELECT id FROM typed") == []


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_driver_s_own_connection_is_handed_to_nobody(world: Rows, method: str) -> None:
    refused = pytest.raises(UsageError, match="a driver's own connection")
    with world.request(method, who="tan", address=SINGAPORE):
        async with Session() as session:
            await session.scalars(select(Typed))
            bound, connection = session.get_bind(), await session.connection()
            raw = await connection.get_raw_connection()
            for name in ("dbapi_connection", "driver_connection", "cursor", "commit", "rollback", "run_async"):
                with refused:
                    getattr(raw, name)()
            with refused:
                await session.run_sync(lambda sync: sync.connection().connection.cursor())
    assert isinstance(bound, Engine)
    for make in (bound.raw_connection, bound.pool.connect, bound.execution_options(stream_results=True).raw_connection):
        raw = await greenlet_spawn(make)
        for name in ("cursor", "driver_connection", "commit"):
            with refused:
                getattr(raw, name)()
        for call in (raw.cursor, lambda: raw.driver_connection):  # noqa: B023 - called here
            with refused:
                await greenlet_spawn(call)
        await greenlet_spawn(raw.close)
    assert world.places["sg"].query("SELECT id FROM typed") == []


async def test_what_is_committed_in_two_phases_is_refused_at_the_first(world: Rows) -> None:
    with world.request(who="an"):
        async with Session() as session:
            bound = session.get_bind()
            session.sync_session.twophase = True
            with pytest.raises(UsageError, match="'people-vn' takes no two-phase commit"):
                await session.execute(insert(Typed).values(id="an"))
            await session.rollback()
        assert isinstance(bound, Engine)
        async with AsyncEngine(bound).connect() as kept:
            for phase in (
                Connection.begin_twophase,
                lambda connection: connection.commit_prepared("x", recover=True),
                lambda connection: connection.rollback_prepared("x", recover=True),
            ):
                with pytest.raises(UsageError, match="takes no two-phase commit"):
                    await kept.run_sync(phase)
    assert world.places["vn"].query("SELECT id FROM typed") == []


@pytest.mark.parametrize("run", ["executor", "thread", "with its context"])
async def test_an_engine_that_was_kept_sends_nothing_in_any_thread(world: Rows, run: str) -> None:
    kept: list[Engine | Connection] = []

    def keep() -> None:
        with sessionmaker("people").begin() as session:
            session.add(Typed(id="tan"))
            kept.extend((session.get_bind(), session.connection()))

    with world.request(who="tan", address=SINGAPORE):
        await asyncio.to_thread(keep)
    engine, connection = kept
    assert isinstance(engine, Engine)
    assert isinstance(connection, Connection)
    sent = watched(engine)
    failed: list[BaseException] = []

    def use() -> None:
        for bind in (engine, connection.engine):
            try:
                with bind.begin() as begun:
                    begun.execute(insert(Typed).values(id="an"))
            except UsageError as error:
                failed.append(error)

    with world.request(who="an"):
        await in_thread(run, use)
    assert ["people-sg" in str(each) for each in failed] == [True, True]
    assert sent == []
    assert world.places["sg"].query("SELECT id FROM typed") == [("tan",)]


async def test_a_connection_of_a_session_sends_nothing_in_a_thread_without_its_decision(world: Rows) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        with sessionmaker("people").begin() as session:
            connection = session.connection()
            sent = watched(session.get_bind())

            def use() -> None:
                try:
                    connection.execute(insert(Typed).values(id="an"))
                except UsageError as error:
                    failed.append(error)

            beside = threading.Thread(target=use)
            beside.start()
            beside.join()
            assert sent == []

    with world.request(who="tan", address=SINGAPORE):
        await asyncio.to_thread(work)
    assert [type(each) for each in failed] == [NoDecision]


async def test_a_hook_of_the_apps_own_sends_for_the_session_that_it_serves(world: Rows) -> None:
    """Such hooks set a variable for row security; one of SQLAlchemy's `Session` is called for ours, too."""
    told: list[object] = []

    def hook(session: object, transaction: object, connection: Connection) -> None:
        told.append(connection.execute(text("SELECT 1")).scalar_one())

    event.listen(PlainSession, "after_begin", hook)
    try:
        with world.request(who="an"):
            async with Session.begin() as session:
                session.add(Typed(id="an"))
    finally:
        event.remove(PlainSession, "after_begin", hook)
    assert told == [1]
    assert world.places["vn"].query("SELECT id FROM typed") == [("an",)]


@pytest.mark.parametrize("end", ["COMMIT", "END; SELECT 1", "/* */ commit"])
async def test_an_engine_for_set_up_commits_nothing_by_a_statement_in_a_request(world: Rows, end: str) -> None:
    with world.request(who="an"):
        async with world.sg.engine.connect() as connection:
            await connection.execute(insert(Typed).values(id="an"))
            with pytest.raises(UsageError, match="takes no statement that ends a transaction"):
                await connection.exec_driver_sql(end)
    assert world.places["sg"].query("SELECT id FROM typed") == []


@pytest.mark.parametrize("column", ["number", "colour", "amount"])
async def test_a_value_that_cannot_be_sent_stands_in_no_error(world: Rows, column: str) -> None:
    values: dict[str, Any] = {column: SECRET}
    with world.request(who="an"):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - each driver has its own
            async with Session.begin() as session:
                session.add(Typed(**values))
        told = "".join(traceback.format_exception(raised.value))
    assert "typed" in told
    assert SECRET not in told


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_where_a_database_is_its_url_says_and_not_the_environment(
    postgres: Pair, driver: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """libpq takes PGHOSTADDR before the host of a URL: every person's rows would go there."""
    here = postgres.vn
    sink = SqlSink("people-vn", VN, here.url(driver, here.emptied()))
    elsewhere = socket.create_server((SG_HOST, here.port))
    (tmp_path / "services").write_text(f"[abroad]\nhostaddr={SG_HOST}\n")
    monkeypatch.setenv("PGHOSTADDR", SG_HOST)
    monkeypatch.setenv("PGOPTIONS", "-c search_path=nowhere")
    monkeypatch.setenv("PGSERVICE", "abroad")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    query = text("SELECT host(inet_server_addr()), current_setting('search_path')")
    with elsewhere:
        await sink.start()
        async with sink.engine.connect() as connection:
            assert (await connection.execute(query)).one() == (here.address, '"$user", public')
        blocking = sink.bind(read_only=True, blocking=True).execution_options(**{WITHOUT_ACT: True})

        def ask() -> Any:
            with blocking.connect() as beside:
                return beside.execute(query).one()

        assert (await anyio.to_thread.run_sync(ask))[0] == here.address
        await sink.aclose()
        elsewhere.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
