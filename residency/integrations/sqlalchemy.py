"""A store's name in, drop-ins for SQLAlchemy's session makers out: sessions that open where the data must lie.

    from residency import sql
    Session = sql.async_sessionmaker("people")

    async with Session.begin() as session:      # inside a request
        session.add(Person(id=sql.uuid7_key(), …))

Which sink, and whether at all, is asked of `current()` at the session's first use. Models and migrations stay the
app's own, but for one thing: primary keys must be unique across the store's sinks (`default=sql.uuid7_key`, or a
`sql.ranged_sequence`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import MetaData, Sequence
from sqlalchemy import orm as sa_orm
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext import asyncio as sa_asyncio
from sqlalchemy.ext.asyncio import AsyncSession

from residency.adapters.clock_system import SystemClock
from residency.adapters.entropy_system import SystemEntropy
from residency.adapters.session_sql import RoutedSession, check_keys, is_ranged, ranged_sequence, sequence_ddl
from residency.adapters.sink_sql import SqlSink
from residency.errors import SinkUnavailable, UsageError
from residency.storage.keys import KeyMaker
from residency.storage.stores import Stores

__all__ = [
    "RoutedSession",
    "async_sessionmaker",
    "check_keys",
    "create_all",
    "create_in",
    "ranged_sequence",
    "row_sinks",
    "sequence_ddl",
    "sessionmaker",
    "uuid7_key",
]

# A column's default is called where no runtime is at hand, and in scripts that have none.
_keys = KeyMaker(SystemClock(), SystemEntropy())


def async_sessionmaker(
    store: str, *, sink: str | None = None, expire_on_commit: bool = False, **kw: Any
) -> sa_asyncio.async_sessionmaker[AsyncSession]:
    """SQLAlchemy's `async_sessionmaker`, with a store's name in the engine's place. `kw` go to each session.

    `sink` asks for one of the store's sinks by name: it is that one or a refusal, never another in its place.

    Its sessions raise NoDecision outside a request, Refused where the decision forbids the act, UsageError where they
    are used for two subjects or change data in an activity declared `read`.
    """
    return sa_asyncio.async_sessionmaker(
        expire_on_commit=expire_on_commit, sync_session_class=RoutedSession, store=store, sink=sink, **kw
    )


def sessionmaker(
    store: str, *, sink: str | None = None, expire_on_commit: bool = False, **kw: Any
) -> sa_orm.sessionmaker[RoutedSession]:
    """SQLAlchemy's `sessionmaker`, for sync endpoints that run in a thread pool. All else as `async_sessionmaker`."""
    return sa_orm.sessionmaker(
        class_=RoutedSession, expire_on_commit=expire_on_commit, store=store, sink=sink, blocking=True, **kw
    )


def uuid7_key() -> str:
    """A new primary key, unique across sinks and growing with time: 36 characters, for a String column's default."""
    return _keys.new_key()


async def create_all(metadata: MetaData, stores: Stores, store: str) -> None:
    """Create the tables of `metadata` that are missing, in every sink of `store`: set-up, outside any request.

    Raises: UnknownStore, SinkUnavailable, UsageError where a sink holds no rows or a table's key counts up by itself
    in each of several sinks.
    """
    for sink in row_sinks(metadata, stores, store):
        await create_in(metadata, sink)


def row_sinks(metadata: MetaData, stores: Stores, store: str) -> tuple[SqlSink, ...]:
    """The sinks of `store`, where they take `metadata`. Raises: as `create_all`."""
    sinks = stores.sinks_of(store)
    check_keys(metadata.sorted_tables, store, [sink.name for sink in sinks])
    rows = tuple(sink for sink in sinks if isinstance(sink, SqlSink))
    for sink in sinks:
        if sink not in rows:
            raise UsageError(f"sink {sink.name!r} of store {store!r} holds no rows")
    return rows


async def create_in(metadata: MetaData, sink: SqlSink) -> None:
    """Create what is missing of `metadata` in one sink, all of it or nothing. Raises: SinkUnavailable, UsageError."""
    sequences = {each.default for table in metadata.sorted_tables for each in table.columns}
    try:
        async with sink.engine.begin() as connection:
            for sequence in sequences:
                if isinstance(sequence, Sequence) and is_ranged(sequence):
                    await connection.exec_driver_sql(sequence_ddl(sequence, sink.name))
            await connection.run_sync(metadata.create_all)
    except SQLAlchemyError as error:
        raise SinkUnavailable(f"tables cannot be made in sink {sink.name!r}") from error
