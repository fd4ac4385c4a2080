"""A database URL in, a sink of rows out: SQLAlchemy engines for acts that read, acts that change, and set-up.

Acts that only read get engines of their own, whose connections the database itself keeps from writing. So a route that
is declared `read` cannot change a row by any statement, however it is spelled. Messages name the sink and never the URL
or a statement's parameters.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from residency.enforcement.context import current
from residency.errors import NoDecision, ResidencyError, SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.handle import SESSION

__all__ = ["SqlSink"]

# URL driver -> driver that blocks its thread, for sync sessions.
_BLOCKING: Final = {
    "sqlite+aiosqlite": "sqlite+pysqlite",
    "postgresql+asyncpg": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_EXPECTED: Final = ", ".join(f"{driver}://…" for driver in _BLOCKING) + ", file://… or memory:"
_BUSY_MS: Final = 5000
# Primary result codes of SQLite that speak of the file or its locks, not of the statement (sqlite.org/rescode.html).
_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)


class SqlSink:
    """The `SinkPort` port over one database, with `engine` for acts that change and `bind` for the others."""

    __slots__ = ("_asynchronous", "_blocking", "_lock", "_name", "_pid", "_region", "_url")

    def __init__(self, name: str, region: Region, url: str, *, base: Path | None = None) -> None:
        """`url` as SQLAlchemy writes it, with an async driver; `sqlite+aiosqlite:///path` is the embedded one.

        A relative path of a SQLite file counts from `base` (None = the working folder).

        Raises: SinkUnavailable for a URL that cannot be used.
        """
        self._name = name
        self._region = region
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._asynchronous: dict[bool, AsyncEngine] = {}
        self._blocking: dict[bool, Engine] = {}
        try:
            self._url = make_url(url)
        except (ArgumentError, ValueError):
            raise SinkUnavailable(f"sink {name!r} has a URL that cannot be read: expected {_EXPECTED}") from None
        if self._url.drivername == "sqlite":
            self._url = self._url.set(drivername="sqlite+aiosqlite")
        if self._url.drivername not in _BLOCKING:
            raise SinkUnavailable(f"sink {name!r} has a URL whose driver is not known here: expected {_EXPECTED}")
        if self._sqlite and self._url.database in (None, "", ":memory:"):
            raise SinkUnavailable(f"sink {name!r} is an in-memory database, which rests nowhere: give it a file")
        if self._sqlite and base is not None:
            self._url = self._url.set(database=str(base / (self._url.database or "")))

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest."""
        return self._region

    @property
    def engine(self) -> AsyncEngine:
        """The engine for acts that change data, and for set-up."""
        return self._async_engine(read_only=False)

    def bind(self, *, read_only: bool, blocking: bool) -> Engine:
        """The engine a session uses: kept from writing if `read_only`, with a driver that blocks if `blocking`.

        Raises: SinkUnavailable where the driver is not installed.
        """
        return self._blocking_engine(read_only) if blocking else self._async_engine(read_only).sync_engine

    async def start(self) -> None:
        """Open the database, making the file where it is SQLite's. Raises: SinkUnavailable."""
        if self._sqlite:
            try:
                await anyio.to_thread.run_sync(_make_file, Path(self._url.database or ""))
            except OSError:
                raise SinkUnavailable(f"sink {self._name!r} cannot be opened") from None
        await self.ping()

    async def ping(self) -> None:
        """Raise SinkUnavailable unless the sink can take a write now."""
        try:
            async with self.engine.connect() as connection:
                # It is rolled back. For SQLite it begins with BEGIN IMMEDIATE, which takes the write lock; elsewhere a
                # standby says so.
                answer = await connection.execute(text("SELECT 1" if self._sqlite else "SHOW transaction_read_only"))
                if not self._sqlite and answer.scalar_one() != "off":
                    raise SinkUnavailable(f"sink {self._name!r} takes no writes")
        except (SQLAlchemyError, sqlite3.Error, OSError):
            raise SinkUnavailable(f"sink {self._name!r} cannot be reached") from None

    async def aclose(self) -> None:
        """Close every pooled connection; idempotent."""
        self._own()
        with self._lock:
            engines = list(self._asynchronous.values())
            blocking = list(self._blocking.values())
            self._asynchronous = {}
            self._blocking = {}
        for engine in engines:
            await engine.dispose()
        for each in blocking:
            each.dispose()

    @property
    def _sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _own(self) -> None:
        # Connections and the threads that drive them do not survive a fork; a child leaves its parent's alone.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._lock = threading.Lock()
            self._asynchronous = {}
            self._blocking = {}

    def _async_engine(self, read_only: bool) -> AsyncEngine:
        self._own()
        with self._lock:
            engine = self._asynchronous.get(read_only)
            if engine is None:
                try:
                    engine = create_async_engine(self._url, hide_parameters=True)
                except (ImportError, NoSuchModuleError):
                    raise self._lacks(self._url.drivername) from None
                self._attend(engine.sync_engine, read_only)
                self._asynchronous[read_only] = engine
            return engine

    def _lacks(self, drivername: str) -> SinkUnavailable:
        driver = drivername.partition("+")[2]
        return SinkUnavailable(f"sink {self._name!r} needs a driver that is not installed: pip install {driver}")

    def _blocking_engine(self, read_only: bool) -> Engine:
        self._own()
        with self._lock:
            engine = self._blocking.get(read_only)
            if engine is None:
                try:
                    engine = create_engine(
                        self._url.set(drivername=_BLOCKING[self._url.drivername]), hide_parameters=True
                    )
                except (ImportError, NoSuchModuleError):
                    raise self._lacks(_BLOCKING[self._url.drivername]) from None
                self._attend(engine, read_only)
                self._blocking[read_only] = engine
            return engine

    def _attend(self, engine: Engine, read_only: bool) -> None:
        event.listen(engine, "handle_error", self._translate(read_only))
        if not read_only:
            event.listen(engine, "commit", self._commit_by_an_act)
        if not self._sqlite:
            if read_only:
                event.listen(engine, "begin", _read_only_transaction)
            return
        event.listen(engine, "connect", _set_up_read_only if read_only else _set_up)
        event.listen(engine, "begin", _begin if read_only else _begin_immediate)

    def _commit_by_an_act(self, connection: Connection) -> None:
        # An engine that was kept, or taken out of a session, would write for one person what was decided for another.
        if SESSION in connection.info:
            return  # the session knows its act
        try:
            acting = current().changes(self._name)
        except NoDecision:
            return  # set-up, outside any request
        if not acting:
            raise UsageError(f"inside a request only a routed session or a confirmed act writes to sink {self._name!r}")

    def _translate(self, read_only: bool) -> Any:
        """A listener that turns the driver's errors about the database into our own, which name the sink only."""

        def translate(context: ExceptionContext) -> ResidencyError | None:
            # SQLite tells by its code, PostgreSQL by its SQLSTATE 25006 (read_only_sql_transaction).
            code = getattr(context.original_exception, "sqlite_errorcode", None)
            primary = code & 0xFF if isinstance(code, int) else None
            refused = (
                primary == sqlite3.SQLITE_READONLY or getattr(context.original_exception, "sqlstate", "") == "25006"
            )
            if refused and read_only:
                return UsageError(f"a statement on sink {self._name!r} changes data, but the act only reads")
            if refused or primary in _AWAY or context.is_disconnect:
                return SinkUnavailable(f"sink {self._name!r} cannot be read or written")
            return None

        return translate


def _make_file(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600, exist_ok=True)


def _set_up(connection: Any, record: object) -> None:
    # The driver's own BEGIN comes only before a change and never before a read; we say BEGIN ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a commit that was told survives a power cut
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def _set_up_read_only(connection: Any, record: object) -> None:
    _set_up(connection, record)
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA query_only = ON")
    finally:
        cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and then writes fails at once if another wrote in between, whatever the busy
    # timeout; one that takes the write lock from the start waits its turn.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _read_only_transaction(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
