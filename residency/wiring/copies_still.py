"""A runtime in; while something else is done with a person's records, no copy of them made, and none left over, out.

Who erases takes the lease of every outbox first: what a copier had read would else come to lie abroad after it was
erased there. Afterwards nothing is copied again, for home has no more what could be.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import anyio

from residency.adapters.copies_worker import StoreCopies
from residency.enforcement.ports import SinkPort
from residency.errors import SinkUnavailable
from residency.policy.parsed_storage import RecordDoc
from residency.storage.copied import Key, originals
from residency.storage.copies import Copier
from residency.storage.misplaced import Place
from residency.storage.parcels import Parcels, RecordParcels
from residency.wiring.copies import Running, copied_in, stores_of
from residency.wiring.records import legs_of, moving_records, records_of

__all__ = ["CopiesTrace", "legs_between", "no_copying", "place_of"]

_LEASE: Final = 30.0  # seconds
_PATIENCE: Final = 90.0
_AGAIN: Final = 0.25


class CopiesTrace:
    """What outboxes and ledgers hold of a subject. `look` before the records go, for they tell the keys."""

    def __init__(self, stores: Sequence[StoreCopies]) -> None:
        self._stores = tuple(stores)
        self._keys: dict[tuple[str, str], set[Key]] = {}
        self.name = "outbox"

    async def look(self, subject: str) -> None:
        """Note the keys of all records of a subject (id) in the homes. Copies of what these have no more are noted in
        outboxes, and no sink abroad is asked for anybody here. Raises: SinkUnavailable."""
        for store in self._stores:
            keys: set[Key] = set()
            for copier in store.copiers:
                keys |= {(record.name, record.key) async for record in copier.records.read((subject,))}
            for copier in store.copiers:
                self._keys[store.store, copier.home.name] = keys

    async def forget(self, subject: str, digest: str) -> int:
        """Remove what is left of those that home has no more; how many copies and notes. Raises: Unavailable."""
        count = 0
        for store in self._stores:
            for copier in store.copiers:
                count += await copier.settle(self._keys.get((store.store, copier.home.name), set()))
        return count


@asynccontextmanager
async def no_copying(runtime: Running) -> AsyncIterator[CopiesTrace]:
    """While inside no copy is made by anybody. Raises: SinkUnavailable where a worker does not let go in time."""
    wanted = runtime.deployment.copies and runtime.deployment.mode != "observe"
    stores = stores_of(runtime, everywhere=True) if wanted else []
    copiers = [copier for store in stores for copier in store.copiers]
    holder = f"still-{os.getpid()}-{runtime.entropy.token(8).hex()}"
    try:
        for copier in copiers:
            await _take(copier, holder)
        async with anyio.create_task_group() as group:
            group.start_soon(_keep, copiers, holder)
            try:
                yield CopiesTrace(stores)
            finally:
                group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_LEASE):
            for copier in copiers:
                await copier.outbox.leave(holder)


async def _take(copier: Copier, holder: str) -> None:
    with anyio.move_on_after(_PATIENCE):
        while not await copier.outbox.lease(holder, _LEASE):  # noqa: ASYNC110 - another process has it
            await anyio.sleep(_AGAIN)
        return
    raise SinkUnavailable(f"sink {copier.home.name!r}: a worker that makes copies does not let go of its outbox")


async def _keep(copiers: Sequence[Copier], holder: str) -> None:
    while True:
        await anyio.sleep(_LEASE / 3)
        for copier in copiers:
            if not await copier.outbox.lease(holder, _LEASE):
                raise SinkUnavailable(f"sink {copier.home.name!r}: its outbox was taken by another worker meanwhile")


def place_of(runtime: Running, store: str, sink: SinkPort, docs: tuple[RecordDoc, ...]) -> Place:
    """Where people's records may lie wrong: copies of ours are where they are meant to be. Raises: UsageError."""
    copied = copied_in(runtime.deployment, runtime.stores, store, sink.name)
    records = records_of(sink, docs) if copied is None else originals(copied)
    return Place(store, runtime.deployment.sinks[sink.name].sink, records, docs)


async def legs_between(runtime: Running, store: str, source: SinkPort, target: SinkPort) -> tuple[Parcels, Parcels]:
    """As `legs_of`; where one of the two gets copies, they are no part of what is moved from there, and what is moved
    there takes their place. Raises: UsageError, SinkUnavailable."""
    docs = runtime.deployment.records[store]
    if not any(copied_in(runtime.deployment, runtime.stores, store, each.name) for each in (source, target)):
        return await legs_of(source, target, docs)
    made = []
    for sink in (source, target):
        records = await moving_records(sink, docs)
        copied = copied_in(runtime.deployment, runtime.stores, store, sink.name, records)
        made.append(RecordParcels(records if copied is None else originals(copied)))
    return made[0], made[1]
