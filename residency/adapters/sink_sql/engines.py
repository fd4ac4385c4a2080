"""A place in, SQLAlchemy engines for it out, with what each connection of theirs must be.

Acts that only read get engines of their own. The database itself keeps their connections from writing, and whatever a
statement did nevertheless is rolled back: PostgreSQL 15 lets a read-only transaction write large objects, and be told
to become another.

A COMMIT that was sent is waited for even where the task is cancelled meanwhile: who knows how it ended can say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import anyio
from sqlalchemy import Engine, create_engine, event
from sqlalchemy import exc as sa_exc
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from residency.adapters.sink_sql.errors import met, translator, unreachable
from residency.adapters.sink_sql.guarded import guarded
from residency.adapters.sink_sql.members import Ways
from residency.adapters.sink_sql.places import Place
from residency.errors import ResidencyError, SinkUnavailable, UsageError
from residency.storage.lasting import lasting

__all__ = ["async_engine", "blocking_engine"]

_BUSY_MS: Final = 5000
_COMMIT_WAIT: Final = 10.0  # seconds that a cancelled task still waits for the answer to its COMMIT


def async_engine(sink: str, ways: Ways, *, read_only: bool) -> AsyncEngine:
    """An engine whose driver works on the event loop. Raises: SinkUnavailable where the driver is not installed."""
    place = ways.places[0]
    driver = place.url.drivername.partition("+")[2]
    try:
        engine = create_async_engine(place.url, poolclass=_pool(sink, AsyncAdaptedQueuePool), **_options(place, driver))
    except (ImportError, NoSuchModuleError):
        raise _lacks(sink, driver) from None
    sync = engine.sync_engine
    _attend(sink, sync, ways, read_only)
    if not read_only:
        setattr(sync.dialect, "do_commit", _commit_to_the_end)  # noqa: B010 - this engine's own dialect
    return engine


def blocking_engine(sink: str, ways: Ways, *, read_only: bool) -> Engine:
    """An engine whose driver blocks its thread. Raises: as `async_engine`."""
    place = ways.places[0]
    driver = place.blocking.drivername.partition("+")[2]
    try:
        engine = create_engine(place.blocking, poolclass=_pool(sink, QueuePool), **_options(place, driver))
    except (ImportError, NoSuchModuleError):
        raise _lacks(sink, driver) from None
    _attend(sink, engine, ways, read_only)
    return engine


def _options(place: Place, driver: str) -> dict[str, Any]:
    return {
        "hide_parameters": True,
        "pool_size": place.pool_size,
        "max_overflow": place.max_overflow,
        "pool_timeout": place.pool_timeout,
        "connect_args": place.arguments(driver),
    }


def _lacks(sink: str, driver: str) -> SinkUnavailable:
    return lasting(SinkUnavailable(f"sink {sink!r} needs a driver that is not installed: pip install {driver}"))


def _pool(sink: str, kind: type[QueuePool]) -> type[QueuePool]:
    class Bounded(kind):  # type: ignore[valid-type,misc]  # one of two classes, known only when called
        # Its log lines are the library's, under the library's name.
        _sqla_logger_namespace = f"{kind.__module__}.{kind.__name__}"

        def connect(self) -> PoolProxiedConnection:
            try:
                return self._connected()
            except SinkUnavailable as error:
                met(error)
                raise

        def _connected(self) -> PoolProxiedConnection:
            try:
                return guarded(super().connect())
            except sa_exc.TimeoutError:
                raise SinkUnavailable(f"sink {sink!r} has no connection free: its pool is exhausted") from None
            except sa_exc.DBAPIError as error:
                raise unreachable(sink, error.orig or error) from None
            except (ResidencyError, sa_exc.SQLAlchemyError):
                raise
            except Exception as error:  # noqa: BLE001 - the driver's own, of a connection cut while it was set up
                raise unreachable(sink, error) from None

    return Bounded


def _attend(sink: str, engine: Engine, ways: Ways, read_only: bool) -> None:
    place = ways.places[0]

    def connect(dialect: Dialect, record: object, arguments: list[Any], named: dict[str, Any]) -> DBAPIConnection:
        # Drivers raise what they like here (OSError, their own, asyncio's), with hosts, users and ports in it.
        try:
            return ways.connect(dialect, arguments, named)
        except ResidencyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no connection
            raise unreachable(sink, error) from None

    def options(target: object, said: dict[str, Any]) -> None:
        # Either would make each statement final at once, or a connection that reads one that writes.
        if str(said.get("isolation_level", "")).upper() == "AUTOCOMMIT" or "postgresql_readonly" in said:
            raise UsageError(f"an engine of sink {sink!r} takes neither autocommit nor postgresql_readonly")

    def two_phases(*_: object, **__: object) -> None:
        # The second may come in any connection, long after the act that it is of has told what became of it.
        raise UsageError(f"sink {sink!r} takes no two-phase commit")

    for phase in ("begin", "prepare", "commit", "rollback", "recover"):
        setattr(engine.dialect, f"do_{phase}_twophase", two_phases)  # this engine's own dialect
    event.listen(engine, "set_connection_execution_options", options)
    event.listen(engine, "set_engine_execution_options", options)
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", translator(sink, read_only=read_only))
    if read_only:
        engine.dialect.do_commit = engine.dialect.do_rollback  # type: ignore[method-assign]  # there is nothing to keep
    if place.sqlite:
        event.listen(engine, "connect", _set_up_read_only if read_only else _set_up)
        setattr(engine.dialect, "do_begin", _begin if read_only else _begin_immediate)  # noqa: B010 - its own dialect
    elif read_only:
        # From then on its transactions begin with BEGIN READ ONLY, at no cost.
        dialect: Any = engine.dialect  # PostgreSQL's
        event.listen(engine, "connect", lambda connection, record: dialect.set_readonly(connection, True))


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


def _begin(connection: PoolProxiedConnection) -> None:
    _say(connection, "BEGIN")


def _begin_immediate(connection: PoolProxiedConnection) -> None:
    # A transaction that reads first and then writes fails at once if another wrote in between, whatever the busy
    # timeout; one that takes the write lock from the start waits its turn.
    _say(connection, "BEGIN IMMEDIATE")


def _say(connection: PoolProxiedConnection, words: str) -> None:
    """Tell the driver itself: by a cursor of SQLAlchemy's it would be three ways to its thread, and so it is one."""
    driver: Any = connection.dbapi_connection
    if hasattr(driver, "run_async"):
        driver.run_async(lambda aiosqlite: aiosqlite.execute_fetchall(words))
    else:
        driver.execute(words)


def _commit_to_the_end(connection: Any) -> None:
    await_only(_to_the_end(greenlet_spawn(connection.commit)))


async def _to_the_end(commit: Coroutine[Any, Any, None]) -> None:
    """Run `commit`; a cancellation meanwhile is delivered once it is known how it ended."""
    task = asyncio.ensure_future(commit)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        if task.cancelled():
            raise
        with anyio.CancelScope(shield=True):
            done, _ = await asyncio.wait({task}, timeout=_COMMIT_WAIT)
        if not done:
            task.cancel()
            raise  # what became of it is unknown, and so its intent stays open
        task.result()
        # Committed: the caller may say so, and is cancelled at the next point where it waits.
        _again(cancelled)


def _again(cancelled: asyncio.CancelledError) -> None:
    """Cancel this task once more for a cancellation that it has just been told, counted once."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel(*cancelled.args)
