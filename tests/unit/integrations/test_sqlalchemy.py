"""Session makers and set-up: what is refused before a database is asked, and what only SQLite's files can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Column as PlainColumn
from sqlalchemy import Integer, MetaData, Table, func, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from residency.errors import SinkUnavailable, UnknownStore, UsageError
from residency.integrations.sqlalchemy import async_sessionmaker, create_all, uuid7_key
from tests.rows import Base, Person, Rows, Session, opened, places_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the SQL driver runs on."""
    return "asyncio"


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rows]:
    """A world whose tables are made."""
    async with opened(Rows(tmp_path, places_of("sqlite", tmp_path, request))) as made:
        yield made


async def test_a_store_of_objects_gives_no_session(world: Rows) -> None:
    with world.request("POST", "/uploads"):
        async with async_sessionmaker("uploads")() as session:
            with pytest.raises(UsageError, match="holds no rows"):
                await session.execute(text("SELECT 1"))
    assert world.acts() == [("objects", "failed")]


async def test_a_bind_of_the_apps_own_is_refused_everywhere(world: Rows, tmp_path: Path) -> None:
    other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/elsewhere.db")
    with pytest.raises(UsageError, match="bind"):
        async_sessionmaker("people", bind=other)()
    with world.request():
        async with Session() as session:
            with pytest.raises(UsageError, match="bind"):
                await session.execute(select(Person), bind_arguments={"bind": other.sync_engine})
            with pytest.raises(UsageError, match="bind"):
                await session.connection(bind_arguments={"bind": other.sync_engine})
    await other.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        " /* so */ -- and so\n end transaction",
        "rollback",
        "BEGIN IMMEDIATE",
        "SELECT 1; COMMIT",
        "ATTACH DATABASE 'sg.db' AS elsewhere",
        "VACUUM INTO 'sg.db'",
        "SET TRANSACTION READ WRITE",
        "SET LOCAL transaction_read_only = off",
    ],
)
async def test_no_statement_ends_a_transaction_or_reaches_another_sink_behind_the_sessions_back(
    world: Rows, statement: str
) -> None:
    with world.request():
        async with Session() as session:
            await session.execute(text("INSERT INTO person VALUES ('1', 'An; commit')"))
            with pytest.raises(UsageError, match="ends its transaction or reaches another"):
                await session.execute(text(statement))
            await session.rollback()
    assert world.names("vn") == world.names("sg") == []
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_a_connection_that_reads_cannot_be_told_to_write(world: Rows) -> None:
    with world.request("GET"):
        async with Session() as session:
            await session.scalar(select(func.count()).select_from(Person))
            with pytest.raises(UsageError, match="takes no statement"):
                await session.execute(text("PRAGMA query_only = OFF"))
    assert world.names("vn") == []


async def test_tables_are_made_in_every_sink_and_a_key_that_counts_up_is_refused(world: Rows) -> None:
    counting = MetaData()
    Table("t", counting, PlainColumn("id", Integer, primary_key=True))
    with pytest.raises(UsageError, match="counts its key"):
        await create_all(counting, world.stores, "people")
    with pytest.raises(UnknownStore):
        await create_all(Base.metadata, world.stores, "nothing")
    with pytest.raises(UsageError, match="no rows"):
        await create_all(Base.metadata, world.stores, "uploads")


async def test_a_sink_that_went_away_is_named_and_its_url_is_not(world: Rows, tmp_path: Path) -> None:
    await world.stores.aclose()
    (tmp_path / "vn.db").write_bytes(b"this is no database, and it is long enough to be looked at" * 50)
    with world.request():
        async with Session() as session:
            with pytest.raises(SinkUnavailable) as caught:
                await session.execute(select(Person))
    assert "people-vn" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert world.acts() == [("people-vn", "rolled_back")]


async def test_keys_are_unique_and_grow() -> None:
    keys = [uuid7_key() for _ in range(100)]
    assert keys == sorted(set(keys))
