"""Ways past a routed session, tried over each database and driver: what was found open once, and is shut."""

from __future__ import annotations

import enum
import socket
import traceback
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio.to_thread
import pytest
from sqlalchemy import Engine, Enum, Numeric, String, Uuid, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from residency.adapters.sink_sql import SqlSink
from residency.errors import UsageError
from residency.integrations.sqlalchemy import uuid7_key
from tests.rows import BACKENDS, Rows, Session, opened, places_of
from tests.services import SG_HOST
from tests.world import SINGAPORE, VN

if TYPE_CHECKING:
    from tests.postgres import Pair

pytestmark = pytest.mark.anyio
SECRET = "Nguyễn Văn Kín"


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


@pytest.mark.parametrize("end", ["COMMIT", "END; SELECT 1", "/* */ commit"])
async def test_an_engine_that_was_kept_commits_nothing_by_a_statement(world: Rows, end: str) -> None:
    with world.request(who="tan", address=SINGAPORE):
        async with Session.begin() as session:
            session.add(Typed(id="tan"))
            await session.flush()
            bound = session.get_bind()
            assert isinstance(bound, Engine)
            kept = AsyncEngine(bound)
    with world.request(who="an"):
        async with kept.connect() as connection:
            await connection.execute(insert(Typed).values(id="an"))
            with pytest.raises(UsageError, match="takes no statement that ends a transaction"):
                await connection.exec_driver_sql(end)
    assert world.places["sg"].query("SELECT id FROM typed") == [("tan",)]


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
        blocking = sink.bind(read_only=True, blocking=True)

        def ask() -> Any:
            with blocking.connect() as beside:
                return beside.execute(query).one()

        assert (await anyio.to_thread.run_sync(ask))[0] == here.address
        await sink.aclose()
        elsewhere.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
