"""A store's name in, drop-ins for SQLAlchemy's session makers out: sessions that open where the data must lie.

    from residency import sql
    Session = sql.async_sessionmaker("people")

    async with Session.begin() as session:      # inside a request
        session.add(Person(id=sql.uuid7_key(), …))

Which sink, and whether at all, is asked of `current()` at the session's first use. Models and migrations stay the
app's own, but for one thing: primary keys must be unique across the store's sinks (`default=sql.uuid7_key`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer, MetaData
from sqlalchemy import orm as sa_orm
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext import asyncio as sa_asyncio
from sqlalchemy.ext.asyncio import AsyncSession

from residency.adapters.clock_system import SystemClock
from residency.adapters.entropy_system import SystemEntropy
from residency.adapters.session_sql import RoutedSession
from residency.adapters.sink_sql import SqlSink
from residency.errors import SinkUnavailable, UsageError
from residency.storage.keys import KeyMaker
from residency.storage.stores import Stores

__all__ = ["RoutedSession", "async_sessionmaker", "create_all", "sessionmaker", "uuid7_key"]

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
    sinks = stores.sinks_of(store)
    if len(sinks) > 1:
        _check_keys(metadata, store)
    for sink in sinks:
        if not isinstance(sink, SqlSink):
            raise UsageError(f"sink {sink.name!r} of store {store!r} holds no rows")
        try:
            async with sink.engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
        except SQLAlchemyError as error:
            raise SinkUnavailable(f"tables cannot be made in sink {sink.name!r}") from error


def _check_keys(metadata: MetaData, store: str) -> None:
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None and isinstance(column.type, Integer):
            raise UsageError(
                f"table {table.name!r} counts its key {column.name!r} up in each sink of store {store!r}, so two "
                "people would share a key: use a String column with default=sql.uuid7_key"
            )
