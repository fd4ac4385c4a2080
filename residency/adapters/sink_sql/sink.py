"""A database URL in, a sink of rows out: the port, and the four engines behind it, each made at first use.

Acts that only read get engines of their own, whose connections the database itself keeps from writing. So a route that
is declared `read` cannot change a row by any statement, however it is spelled. Messages name the sink and never the URL
or a statement's parameters.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
from sqlalchemy import URL, Engine, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from residency.adapters.sink_sql import marks as marking
from residency.adapters.sink_sql.engines import async_engine, blocking_engine
from residency.adapters.sink_sql.gates import gate
from residency.adapters.sink_sql.members import Ways
from residency.adapters.sink_sql.places import Place, place_of
from residency.errors import SinkUnavailable
from residency.model import Region
from residency.storage.handle import WITHOUT_ACT
from residency.storage.location import Which
from residency.storage.marks import Mark

__all__ = ["SqlSink"]


class SqlSink:
    """The `SinkPort` port over one database, with `engine` for acts that change and `bind` for the others."""

    __slots__ = ("_asynchronous", "_blocking", "_lock", "_name", "_pid", "_place", "_region", "_ways", "loop")

    def __init__(
        self,
        name: str,
        region: Region,
        url: str,
        *,
        base: Path | None = None,
        members: Sequence[str] = (),
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """`url` as SQLAlchemy writes it, with an async driver; `sqlite+aiosqlite:///path` is the embedded one.

        Its query may hold `pool_size` (of each pool, usually 5), `max_overflow` (10), `pool_timeout` and
        `connect_timeout` (10 seconds each). A relative path of a SQLite file counts from `base` (None = the working
        folder). `members` are further URLs of the same database, standbys of it that may become the primary.
        `elsewhere` = whether a new connection may not be used for the address that it leads to, None = each may.

        Raises: SinkUnavailable for a URL that cannot be used.
        """
        self._name = name
        self._region = region
        self._ways = Ways(name, [place_of(name, each, base) for each in (url, *members)], elsewhere=elsewhere)
        self._place = self._ways.places[0]
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop that this was started on, which serves."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._asynchronous: dict[bool, AsyncEngine] = {}
        self._blocking: dict[bool, Engine] = {}

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
        """The engine for set-up, our own workers, and acts by hand."""
        return self._async_engine(read_only=False).execution_options(**{WITHOUT_ACT: True})

    @property
    def in_clear(self) -> bool:
        """Whether what goes to it may be read on the way."""
        return any(place.in_clear for place in self._ways.places)

    @property
    def blocking_url(self) -> URL:
        """Where the database is, for a program of yours that blocks; with its password, so for no eyes."""
        return self._place.blocking

    @property
    def blocking_arguments(self) -> dict[str, Any]:
        """What such a program's driver is told besides."""
        return {} if self._place.sqlite else self._place.arguments("psycopg")

    def bind(self, *, read_only: bool, blocking: bool) -> Engine:
        """The engine a session uses: kept from writing if `read_only`, with a driver that blocks if `blocking`.

        A statement on it that is no session's raises UsageError before it is sent, in any thread. What has no act takes
        it with the execution option `WITHOUT_ACT`. Raises: SinkUnavailable where the driver is not installed.
        """
        if blocking:
            return self._blocking_engine(read_only)
        if self._pid == os.getpid() and (known := self._asynchronous.get(read_only)) is not None:
            return known.sync_engine  # each unit of work asks
        return self._async_engine(read_only).sync_engine

    def connected(self, make: Callable[[Place], DBAPIConnection]) -> DBAPIConnection:
        """A driver's connection for who makes their own (Django), judged, and to the member that takes writes, as those
        of the engines are; `make` makes one to a place. Raises: SinkUnavailable, what `make` raises."""
        return self._ways.first(make)

    async def start(self) -> None:
        """Open the database, making the file where it is SQLite's. Raises: SinkUnavailable."""
        self.loop = asyncio.get_running_loop()
        if self._place.sqlite:
            try:
                await anyio.to_thread.run_sync(_make_file, Path(self._place.url.database or ""))
            except OSError:
                raise SinkUnavailable(f"sink {self._name!r} cannot be opened") from None
        await self.ping()

    async def ping(self) -> None:
        """Raise SinkUnavailable unless the sink can take a write now."""
        sqlite = self._place.sqlite
        try:
            async with self.engine.connect() as connection:
                # It is rolled back. For SQLite it begins with BEGIN IMMEDIATE, which takes the write lock; elsewhere a
                # standby says so.
                answer = await connection.execute(text("SELECT 1" if sqlite else "SHOW transaction_read_only"))
                if not sqlite and answer.scalar_one() != "off":
                    raise SinkUnavailable(f"sink {self._name!r} takes no writes")
        except (SQLAlchemyError, sqlite3.Error, OSError):
            raise SinkUnavailable(f"sink {self._name!r} cannot be reached") from None

    async def which(self) -> Which:
        """What the database says of its server; nothing for a file. Raises: SinkUnavailable."""
        if self._place.sqlite:
            return Which()
        try:
            engine = self._async_engine(read_only=True).execution_options(**{WITHOUT_ACT: True})
            return await marking.which(engine)
        except (SQLAlchemyError, OSError):
            raise SinkUnavailable(f"sink {self._name!r} does not say which server it is") from None

    async def marks(self) -> tuple[Mark, ...]:
        """Which sink the database says that it is. Raises: SinkUnavailable."""
        try:
            return await marking.read(self._async_engine(read_only=True).execution_options(**{WITHOUT_ACT: True}))
        except (SQLAlchemyError, sqlite3.Error, OSError):
            raise SinkUnavailable(f"sink {self._name!r} does not say which sink it is") from None

    async def put_marks(self, marks: Sequence[Mark]) -> None:
        """Have the database say so. Raises: SinkUnavailable."""
        try:
            await marking.write(self.engine, marks)
        except (SQLAlchemyError, sqlite3.Error, OSError):
            raise SinkUnavailable(f"sink {self._name!r} takes no mark: may its user make a table?") from None

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
                engine = async_engine(self._name, self._ways, read_only=read_only)
                gate(engine.sync_engine, self._name, read_only=read_only)
                self._asynchronous[read_only] = engine
            return engine

    def _blocking_engine(self, read_only: bool) -> Engine:
        self._own()
        with self._lock:
            engine = self._blocking.get(read_only)
            if engine is None:
                engine = blocking_engine(self._name, self._ways, read_only=read_only)
                gate(engine, self._name, read_only=read_only)
                self._blocking[read_only] = engine
            return engine


def _make_file(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600, exist_ok=True)
