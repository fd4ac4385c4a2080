"""A sink and what a deployment says of its store's records in; the sink's records and parcels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from residency.enforcement.ports import ObjectSink, SinkPort
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.handle import WITHOUT_ACT
from residency.storage.parcels import Parcels, RecordParcels
from residency.storage.records import Records
from residency.storage.stores import RowSink, Stores
from residency.wiring.marks import MarkedStores

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["engine_of", "legs_of", "moving_records", "obstacles_of", "records_of", "stores_over"]


def stores_over(sinks: Mapping[str, SinkPort], stores: Mapping[str, tuple[str, ...]]) -> Stores:
    """The stores of these sinks, with sessions where a sink holds rows; sinks' marks are read. Raises: UsageError."""
    if not any(isinstance(sink, RowSink) for sink in sinks.values()):
        return MarkedStores(sinks, stores)
    from residency.adapters.session_sql import open_session  # a sink of rows is there, so the extra is

    return MarkedStores(sinks, stores, sessions=open_session)


def engine_of(sink: RowSink, *, read_only: bool = False) -> AsyncEngine:
    """The engine of a sink of rows for our own workers, which have no act. Raises: SinkUnavailable."""
    from sqlalchemy.ext.asyncio import AsyncEngine  # a sink of rows is there, so the extra is

    return AsyncEngine(sink.bind(read_only=read_only, blocking=False).execution_options(**{WITHOUT_ACT: True}))


def records_of(sink: SinkPort, docs: Sequence[RecordDoc], *, ending: bool = False, moving: bool = False) -> Records:
    """The records of a sink of rows or of objects; `ending` and `moving` = they are deleted because their terms end, or
    because they lie elsewhere: what a database then deletes or changes by itself is spared.

    Raises: UsageError for another kind, or a pattern that is none.
    """
    # Imported here: drivers are optional, and most commands need neither.
    if isinstance(sink, RowSink):
        from residency.adapters.records_sql import Spared, SqlRecords

        spared = Spared.ALL if moving else Spared.NAMED if ending else Spared.NOTHING
        return SqlRecords(sink.name, engine_of(sink), docs, spared)
    if isinstance(sink, ObjectSink):
        from residency.adapters.records_objects import ObjectRecords

        return ObjectRecords(sink, docs)
    raise UsageError(f"sink {sink.name!r} holds neither rows nor objects, so that it has no records")


async def moving_records(sink: SinkPort, docs: Sequence[RecordDoc]) -> Records:
    """The records of a sink as a move takes them. Raises: UsageError, also where rows that nobody tells of would go or
    change with them; SinkUnavailable."""
    records = records_of(sink, docs, moving=True)
    if isinstance(sink, RowSink):
        from residency.adapters.records_sql import SqlRecords

        if isinstance(records, SqlRecords):
            await records.check_movable()
    return records


async def obstacles_of(source: SinkPort, target: SinkPort, docs: Sequence[RecordDoc]) -> list[str]:
    """What stands against a move from one sink to the other by foreign keys of tables. Raises: SinkUnavailable."""
    if not (isinstance(source, RowSink) and isinstance(target, RowSink)):
        return []
    from residency.adapters.records_sql import SqlRecords

    here, there = (SqlRecords(sink.name, engine_of(sink), docs) for sink in (source, target))
    return await here.obstacles(there)


async def legs_of(source: SinkPort, target: SinkPort, docs: Sequence[RecordDoc]) -> tuple[Parcels, Parcels]:
    """How records go from one sink to another: by COPY where both are PostgreSQL and their tables are the same.

    Raises: UsageError, SinkUnavailable.
    """
    if isinstance(source, RowSink) and isinstance(target, RowSink):
        engines = [engine_of(each) for each in (source, target)]
        if all(engine.url.drivername == "postgresql+asyncpg" for engine in engines):
            from residency.adapters.records_sql.copying import PostgresParcels

            ends = [
                PostgresParcels(sink.name, engine, docs) for sink, engine in zip((source, target), engines, strict=True)
            ]
            if await ends[0].layout() == await ends[1].layout():
                return ends[0], ends[1]
    return RecordParcels(await moving_records(source, docs)), RecordParcels(await moving_records(target, docs))
