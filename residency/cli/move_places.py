"""A deployment's runtime in; where its people's records lie, where they should, and how a move tells of it, out."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio

from residency.adapters.keys_files import KeysFiles
from residency.bootstrap import Residency
from residency.cli.upkeep import look_first, must_be_home
from residency.enforcement.ports import ObjectSink, SinkPort
from residency.errors import KeysUnavailable, UsageError
from residency.model import Pin, Signal
from residency.storage.misplaced import Exposure, Homing, Place
from residency.storage.misplaced_jobs import JobsLeft, jobs_left
from residency.storage.moves import Leg
from residency.storage.parcels_located import located_ends
from residency.storage.queues import QueueSink
from residency.storage.stores import RowSink
from residency.wiring.copies_still import legs_between, place_of
from residency.wiring.records import obstacles_of

__all__ = [
    "Known",
    "Ways",
    "exposed",
    "few_collections",
    "journal_of",
    "looking",
    "not_covered",
    "obstacles",
    "places_of",
    "primary_sinks",
    "waiting",
]

PinOf = Callable[[str], Awaitable[Pin | None]]
Known = Mapping[str, tuple[Signal, ...]]


def places_of(runtime: Residency, only: Collection[str] = ()) -> list[Place]:
    """Every primary sink of the stores whose `records` the deployment tells, or of those in `only`.

    Raises: UsageError for a store that is not there or of which nothing is told, SinkUnavailable as `primary_sinks`.
    """
    deployment = runtime.deployment
    for store in only:
        if store not in deployment.records:
            raise UsageError(f"`records` of the deployment tells nothing of a store {store!r}")
    return [
        place_of(runtime, store, sink, docs)
        for store, docs in deployment.records.items()
        if not only or store in only
        for sink in primary_sinks(runtime, store)
    ]


def not_covered(runtime: Residency) -> list[str]:
    """Stores in several countries of whose records nothing is told: what lies there is neither found nor moved."""
    return [
        store
        for store in runtime.stores.names
        if store not in runtime.deployment.records
        and len({sink.region.place for sink in primary_sinks(runtime, store)}) > 1
    ]


async def obstacles(runtime: Residency, found: Collection[Exposure]) -> list[str]:
    """What stands against bringing home who lies wrong, by foreign keys of tables. Raises: SinkUnavailable."""
    told: list[str] = []
    for each in found:
        sinks = {sink.name: sink for sink in primary_sinks(runtime, each.store)}
        for sink in sinks.values():
            if sink.region.place in each.to and sink.name != each.sink:
                docs = runtime.deployment.records[each.store]
                told += [line for line in await obstacles_of(sinks[each.sink], sink, docs) if line not in told]
    return told


def primary_sinks(runtime: Residency, store: str) -> list[SinkPort]:
    """The sinks of a store in which its records lie first. Raises: SinkUnavailable where it has records, and one of
    these sinks may not be used."""
    found: list[SinkPort] = [
        sink
        for sink in runtime.stores.sinks_of(store)
        if isinstance(sink, RowSink | ObjectSink) and runtime.deployment.sinks[sink.name].sink.scope == "primary"
    ]
    for sink in found if store in runtime.deployment.records else ():
        must_be_home(runtime, sink.name)
    return found


class Ways:
    """From which sinks to which the records of all stores go, by the places of both ends; `tell` is told of foreign
    keys that stand against a move between them."""

    def __init__(self, runtime: Residency, tell: Callable[[str], object]) -> None:
        self._runtime = runtime
        self._tell = tell
        self._known: dict[tuple[str, str], list[Leg]] = {}

    async def between(self, source: str, target: str) -> list[Leg]:
        """The legs of a move. Raises: UsageError where a store has a sink at one end alone, SinkUnavailable."""
        known = self._known.get((source, target))
        if known is None:
            known, runtime = [], self._runtime
            for store, docs in runtime.deployment.records.items():
                sinks = primary_sinks(runtime, store)
                there = [sink for sink in sinks if sink.region.place == target]
                for sink in [sink for sink in sinks if sink.region.place == source]:
                    if not there:
                        if len(sinks) == 1:
                            continue  # all of the store lies in its one sink, whoever's it is
                        raise UsageError(f"store {store!r} has a sink in {source} and none in {target}")
                    ends, clear = await legs_between(runtime, store, sink, there[0])
                    ends = located_ends(store, ends, (source, target), runtime.stores.locators)
                    known.append(Leg(f"{store}/{sink.name}", *ends, clear))
                    for line in await obstacles_of(sink, there[0], docs):
                        self._tell(line)
            self._known[source, target] = known  # whole, or not at all
        return known


@asynccontextmanager
async def looking(runtime: Residency) -> AsyncIterator[tuple[PinOf, Callable[[str], str]]]:
    """While inside, sinks are started and pins can be read; nothing is recorded. Raises: Unavailable of any kind."""

    async def no_pin(_: str) -> Pin | None:
        return None

    try:
        await look_first(runtime)
        await runtime.stores.start()
        try:
            KeysFiles(runtime.path(runtime.deployment.keys_folder)).secret("subjects")
        except KeysUnavailable:
            yield no_pin, lambda subject: subject  # no key was ever made, so that there are no pins
            return
        async with runtime.reading_pins() as (pins, digest):

            async def pin_of(subject: str) -> Pin | None:
                pin, sure = pins.peek(subject)
                return pin if sure else await pins.get(subject)

            yield pin_of, digest
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.stores.aclose()


@contextmanager
def few_collections() -> Iterator[None]:
    """While inside, garbage is looked for seldom: a batch is a hundred thousand small tuples, all of them in use."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def waiting(
    runtime: Residency, homing: Homing, pin_of: PinOf, digest: Callable[[str], str], known: Known
) -> list[JobsLeft]:
    """Jobs that wait where their subject does not live, of every store of queues. Raises: Unavailable of any kind."""
    deployment, found = runtime.deployment, []
    places = {each.sink.place for each in deployment.sinks.values()}
    for store in runtime.stores.names:
        for sink in runtime.stores.sinks_of(store):
            if isinstance(sink, QueueSink):
                found += await jobs_left(deployment.name, store, sink, places, homing, pin_of, digest, known)
    return found


def journal_of(runtime: Residency) -> Path:
    """Where the journal of moves lies: beside the log."""
    return runtime.path(runtime.deployment.audit.folder) / "move.db"


def exposed(found: Exposure) -> dict[str, object]:
    """What lies wrong in one sink, for a program."""
    return {
        "store": found.store,
        "sink": found.sink,
        "subjects": found.subjects,
        "wrong": found.wrong,
        "nowhere": found.nowhere,
        "to": dict(found.to),
        "records_by_category": dict(found.records),
        "rules": dict(found.laws),
        "since": found.since,
    }
