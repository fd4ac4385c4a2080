"""A database's engine in; the marks that say which sink it is out, or put into it. One table, a row for each mark.

A server of PostgreSQL says which one it is besides, marked or not: by the microsecond that it was started in. The
identifier of its cluster would not do: one that was once restored from another's backup has the same.
And it says who follows it, to a user that may read `pg_stat_replication`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from residency.storage.location import Which
from residency.storage.marks import TABLE, Mark, from_text

__all__ = ["read", "which", "write"]

_WHICH = sa.text(
    "SELECT extract(epoch FROM pg_postmaster_start_time())::text || ' ' || oid "
    "FROM pg_database WHERE datname = current_database()"
)
_FOLLOWERS = sa.text("SELECT DISTINCT host(client_addr) FROM pg_stat_replication WHERE client_addr IS NOT NULL")
_REACHED = sa.text("SELECT host(inet_server_addr()) WHERE inet_server_addr() IS NOT NULL")  # None of a unix socket

_table = sa.Table(
    TABLE,
    sa.MetaData(),
    sa.Column("sink", sa.Text, primary_key=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("stores", sa.Text, nullable=False),
)


async def read(engine: AsyncEngine) -> tuple[Mark, ...]:
    """The marks, none where there is no such table. Raises: SinkUnavailable, SQLAlchemyError."""
    async with engine.connect() as connection:
        if not await _is_there(connection):
            return ()
        rows = await connection.execute(sa.select(_table).order_by(_table.c.sink))
        told = [{**row, "stores": _stores(row["stores"])} for row in rows.mappings()]
    return from_text(json.dumps(told).encode())


async def which(engine: AsyncEngine) -> Which:
    """Which database of which running server it is, and who follows that, as far as our user may see it.

    Raises: SinkUnavailable, SQLAlchemyError.
    """
    async with engine.connect() as connection:
        word = (await connection.execute(_WHICH)).scalar_one()
        followers = (await connection.execute(_FOLLOWERS)).scalars()
        reached = (await connection.execute(_REACHED)).scalars()
        return Which(frozenset({f"postgresql {word}"}), tuple(map(str, followers)), tuple(map(str, reached)))


async def write(engine: AsyncEngine, marks: Sequence[Mark]) -> None:
    """Put these marks in the place of all that are there, in one transaction. Raises: as `read`."""
    async with engine.begin() as connection:
        if not await _is_there(connection):
            await connection.run_sync(_table.create)
        await connection.execute(sa.delete(_table))
        rows = [
            {"sink": mark.sink, "region": mark.region, "place": mark.place, "stores": json.dumps(mark.stores)}
            for mark in marks
        ]
        if rows:
            await connection.execute(sa.insert(_table), rows)


async def _is_there(connection: AsyncConnection) -> bool:
    return bool(await connection.run_sync(lambda sync: sa.inspect(sync).has_table(TABLE)))


def _stores(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
