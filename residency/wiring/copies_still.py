"""A runtime in; while something else is done with a person's records, no copy of them made, and none left over, out.

Who erases takes the lease of every outbox first: what a copier had read would else come to lie abroad after it was
erased there. Afterwards nothing is copied again, for home has no more what could be. So does who moves people to where
copies go, while records are put there.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from residency.adapters.copies_worker import StoreCopies
from residency.enforcement.ports import SinkPort
from residency.policy.parsed_storage import RecordDoc
from residency.storage.copied import Key, Originals, originals
from residency.storage.misplaced import Place
from residency.storage.moves import ClearCopies, never_copied
from residency.storage.parcels import Cargo, Parcels, RecordParcels
from residency.storage.still import still
from residency.storage.withdrawal import Alone
from residency.wiring.copies import Running, copied_in, homes_of, outbox_of, stores_of
from residency.wiring.records import legs_of, moving_records, records_of

__all__ = ["CopiesTrace", "alone_in", "legs_between", "no_copying", "place_of"]


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
    homes = [(copier.home.name, copier.outbox) for store in stores for copier in store.copiers]
    async with still(homes, _holder(runtime)):
        yield CopiesTrace(stores)


def alone_in(runtime: Running) -> Alone:
    """What lets nobody copy from a home, nor move people to where its copies go, while copies are withdrawn."""
    return lambda home: still([(home.sink.name, home.kept.outbox)], _holder(runtime))


def _holder(runtime: Running) -> str:
    return f"still-{os.getpid()}-{runtime.entropy.token(8).hex()}"


def place_of(runtime: Running, store: str, sink: SinkPort, docs: tuple[RecordDoc, ...]) -> Place:
    """Where people's records may lie wrong: copies of ours are where they are meant to be. Raises: UsageError."""
    copied = copied_in(runtime.deployment, runtime.stores, store, sink.name)
    records = records_of(sink, docs) if copied is None else originals(copied)
    return Place(store, runtime.deployment.sinks[sink.name].sink, records, docs)


class _WhereCopiesGo(RecordParcels):
    """The end of a move in a sink that gets copies, which are no part of what is there. Nobody makes any while records
    are put, nor while the last copies go: what a copier looked for before, and puts after, would pass for a record."""

    __slots__ = ("_alone", "_originals")

    def __init__(self, records: Originals, alone: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        super().__init__(records)
        self._originals = records
        self._alone = alone

    async def put(self, cargo: Cargo) -> None:
        """As the port says."""
        async with self._alone():
            await super().put(cargo)

    async def clear_copies(self, subjects: Collection[str]) -> frozenset[str]:
        """As `Leg` has it. Raises: SinkUnavailable."""
        async with self._alone():
            return await self._originals.clear_copies(subjects)


async def legs_between(
    runtime: Running, store: str, source: SinkPort, target: SinkPort
) -> tuple[tuple[Parcels, Parcels], ClearCopies]:
    """As `legs_of`, and a `Leg`'s `clear_copies`; where one of the two gets copies, they are no part of what is moved
    from there, and what is moved there takes their place. Raises: UsageError, SinkUnavailable."""
    deployment, stores = runtime.deployment, runtime.stores
    docs = deployment.records[store]
    if not any(copied_in(deployment, stores, store, each.name) for each in (source, target)):
        return await legs_of(source, target, docs), never_copied
    sinks = {sink.name: sink for sink in stores.sinks_of(store)}
    homes = [(name, outbox_of(store, sinks[name], docs, runtime.clock)) for name in homes_of(deployment, store)]

    def alone() -> AbstractAsyncContextManager[None]:
        return still(homes, _holder(runtime), needed=source.name)

    made, clear = list[Parcels](), never_copied
    for sink in (source, target):
        records = await moving_records(sink, docs)
        copied = copied_in(deployment, stores, store, sink.name, records)
        end = RecordParcels(records) if copied is None else _WhereCopiesGo(originals(copied), alone)
        if sink is target and isinstance(end, _WhereCopiesGo):
            clear = end.clear_copies
        made.append(end)
    return (made[0], made[1]), clear
