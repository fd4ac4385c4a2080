"""Engines of a sink: how their transactions begin, and what a driver raises, told as what it is."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy import exc as sa_exc

from residency.adapters.sink_sql.engines import async_engine, blocking_engine
from residency.adapters.sink_sql.members import Ways
from residency.adapters.sink_sql.places import place_of
from residency.errors import SinkUnavailable


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # SQLAlchemy's async engines run on asyncio alone


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.InterfaceError("connection to people-db.example is closed"),
        sa_exc.InternalError("SHOW x", {}, Exception("people-db.example: another operation is in progress")),
        RuntimeError("people-db.example"),
    ],
)
def test_a_connection_cut_while_it_is_set_up_cannot_be_reached(tmp_path: Path, error: Exception) -> None:
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite:///{tmp_path}/vn.db", tmp_path)])
    engine = blocking_engine("people-vn", ways, read_only=False)

    def cut(*_: object) -> None:
        raise error

    event.listen(engine, "connect", cut)
    with pytest.raises(SinkUnavailable, match=r"^sink 'people-vn' cannot be reached$") as told:
        engine.connect()
    assert told.value.__cause__ is None
    event.remove(engine, "connect", cut)
    with engine.connect() as connection:
        connection.rollback()
    engine.dispose()


def test_a_mistake_in_the_use_of_sqlalchemy_stays_one(tmp_path: Path) -> None:
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite:///{tmp_path}/vn.db", tmp_path)])
    engine = blocking_engine("people-vn", ways, read_only=False)

    def mistake(*_: object) -> None:
        raise sa_exc.InvalidRequestError("a mistake")

    event.listen(engine, "connect", mistake)
    with pytest.raises(sa_exc.InvalidRequestError):
        engine.connect()
    engine.dispose()


@pytest.mark.anyio
@pytest.mark.parametrize("read_only", [False, True])
async def test_a_transaction_on_sqlite_begins_by_itself_and_one_that_changes_with_the_write_lock(
    tmp_path: Path, read_only: bool
) -> None:
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite+aiosqlite:///{tmp_path}/vn.db", tmp_path)])
    another = sqlite3.connect(tmp_path / "vn.db", isolation_level=None, timeout=0)
    blocking = blocking_engine("people-vn", ways, read_only=read_only)
    asynchronous = async_engine("people-vn", ways, read_only=read_only)

    def is_locked() -> bool:
        try:
            another.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        another.execute("ROLLBACK")
        return False

    with blocking.connect() as connection:
        cursor = connection.execute(text("SELECT 1")).cursor
        assert cursor.connection.in_transaction
        assert is_locked() is not read_only
    async with asynchronous.connect() as opened:
        await opened.execute(text("SELECT 1"))
        assert is_locked() is not read_only
    assert not is_locked()
    another.close()
    blocking.dispose()
    await asynchronous.dispose()


@pytest.mark.anyio
async def test_a_file_that_another_holds_for_too_long_is_told_by_the_sinks_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_sql.engines._BUSY_MS", 20)
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite+aiosqlite:///{tmp_path}/vn.db", tmp_path)])
    blocking = blocking_engine("people-vn", ways, read_only=False)
    asynchronous = async_engine("people-vn", ways, read_only=False)
    # The first connection turns the file to WAL, which needs the lock, too.
    with blocking.connect() as connection:
        connection.execute(text("SELECT 1"))
    async with asynchronous.connect() as opened:
        await opened.execute(text("SELECT 1"))
    another = sqlite3.connect(tmp_path / "vn.db", isolation_level=None)
    another.execute("BEGIN IMMEDIATE")
    told = r"^sink 'people-vn' cannot be read or written$"
    with pytest.raises(SinkUnavailable, match=told), blocking.connect() as connection:
        connection.execute(text("SELECT 1"))
    with pytest.raises(SinkUnavailable, match=told):
        async with asynchronous.connect() as opened:
            await opened.execute(text("SELECT 1"))
    another.execute("ROLLBACK")
    async with asynchronous.connect() as opened:
        await opened.execute(text("SELECT 1"))
    another.close()
    blocking.dispose()
    await asynchronous.dispose()


def test_what_a_pool_logs_stands_under_its_librarys_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    caplog.set_level("INFO", "sqlalchemy")
    ways = Ways("people-vn", [place_of("people-vn", f"sqlite+aiosqlite:///{tmp_path}/vn.db", tmp_path)])
    engine = blocking_engine("people-vn", ways, read_only=False)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    pools = [record.name for record in caplog.records if "ool" in record.getMessage()]
    assert pools
    assert not [name for name in pools if not name.startswith("sqlalchemy.")]
