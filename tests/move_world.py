"""In: nothing. Out: what a move needs in memory (pins, homes, a journal that lasts), and the plug pulled at any call.

A `Plug` counts every call that changes something anywhere, and pulls at the one it was told: from then on each call
raises, as for a process that is gone. What had been changed stays, as on disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from residency.adapters.pins_memory import PinsMemory
from residency.adapters.records_memory import RecordsMemory
from residency.errors import RecordConflict, StaleVersion
from residency.jurisdiction.pins import arrived, leaving
from residency.model import Pin
from residency.storage.locator import Located, LocatorMemory, Locators, record_key
from residency.storage.move import Going, Leg, Moved, Mover, State, Step
from residency.storage.parcels import RecordParcels
from residency.storage.parcels_located import located_ends
from residency.storage.records import Record

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to, which waits for nothing but what is in memory: without an event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    raise AssertionError("it waits for something")


class PulledError(BaseException):
    """The process is gone: nothing may catch this and go on."""


class Plug:
    """Pulls at the `at`-th change from now; None = never."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.calls = 0

    def __call__(self) -> None:
        """One change is about to be made."""
        if self.at is None:
            return
        self.calls += 1
        if self.calls >= self.at:
            raise PulledError


class PluggedRecords(RecordsMemory):
    """Records each of whose changes may be the last: `write` and `delete` of many stop between two, as a store of
    objects; `whole` = as a database: all or none."""

    def __init__(self, sink: str, plug: Plug, *, whole: bool = True) -> None:
        super().__init__(sink)
        self._plug = plug
        self._whole = whole

    async def write(self, records: Sequence[Record]) -> int:
        """As the port says, or one by one once nothing stands against them; the plug may go before it or after."""
        self._plug()
        if self._whole:
            done = await super().write(records)
            self._plug()
            return done
        self.refuse(records)
        done = 0
        for record in records:
            done += await super().write([record])
            self._plug()
        return done

    def refuse(self, records: Sequence[Record]) -> None:
        """Raises: RecordConflict where something else is here."""
        for record in records:
            if (there := self.held.get((record.name, record.key))) is not None and there.value != record.value:
                raise RecordConflict("something else is here")

    async def delete(self, records: Sequence[Record]) -> int:
        """One by one, or all or none."""
        if self._whole:
            self._plug()
            done = await super().delete(records)
            self._plug()
            return done
        gone = 0
        for record in records:
            self._plug()
            gone += await super().delete([record])
        self._plug()
        return gone

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """As the port says."""
        self._plug()
        async for record in super().read(subjects):
            yield record


class PluggedLocator(LocatorMemory):
    """A locator each of whose changes may be the last."""

    def __init__(self, place: str, plug: Plug) -> None:
        super().__init__(place)
        self._plug = plug

    async def note(self, located: Sequence[Located]) -> int:
        """As the port says; the plug may go before it or after."""
        self._plug()
        done = await super().note(located)
        self._plug()
        return done

    async def forget(self, keys: Sequence[str]) -> int:
        """As the port says; the plug may go before it or after."""
        self._plug()
        done = await super().forget(keys)
        self._plug()
        return done


class Homes:
    """`MoveHomes` over pins in memory, one by one, so that the plug may go between two."""

    def __init__(self, pins: PinsMemory, plug: Plug) -> None:
        self._pins = pins
        self._plug = plug

    async def leave(self, pins: Sequence[Pin], target: str, source: str, why: str) -> Mapping[str, Pin]:
        """As the port says."""
        return await self._put([leaving(pin, target, source, policy="p", at=1) for pin in pins])

    async def arrive(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """As the port says."""
        return await self._put([arrived(pin, policy="p", at=1) for pin in pins])

    async def stay(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """As the port says."""
        return await self.arrive([replace(pin, home=pin.moving or pin.home) for pin in pins], why)

    async def _put(self, pins: Sequence[Pin]) -> dict[str, Pin]:
        put = {}
        for pin in pins:
            self._plug()
            try:
                await self._pins.put(pin)
                put[pin.subject] = pin
            except StaleVersion:
                continue
        self._plug()
        return put


class Journal:
    """`MoveJournal` in a dict that outlives who is killed."""

    def __init__(self, plug: Plug) -> None:
        self.held: dict[tuple[str, str, str], Step] = {}
        self._plug = plug

    async def steps(self, source: str, target: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """As the port says."""
        return {each: self.held[key] for each in subjects if (key := (source, target, each)) in self.held}

    async def left(self, place: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """As the port says."""
        ours = [step for step in self.held.values() if step.state in (State.COPIED, State.VERIFIED, State.LATE)]
        to = {step.subject: step for step in ours if step.target == place and step.subject in subjects}
        return to | {step.subject: step for step in ours if step.source == place and step.subject in subjects}

    async def put(self, steps: Sequence[Step]) -> None:
        """As the port says: all or none."""
        self._plug()
        self.held |= {(step.source, step.target, step.subject): step for step in steps}
        self._plug()


def digest(subject: str) -> str:
    """What pins know a subject by here."""
    return f"{subject:0>64}"


class MoveWorld:
    """Two places with a sink each in two stores, people whose records lie in SG, and a mover that can be killed."""

    def __init__(self, stores: Sequence[str] = ("people", "uploads")) -> None:
        self.plug = Plug()
        self.pins = PinsMemory()
        self.homes = Homes(self.pins, self.plug)
        self.journal = Journal(self.plug)
        self.at = {
            place: {store: PluggedRecords(f"{store}-{place}", self.plug, whole=store == "people") for store in stores}
            for place in ("SG", "VN")
        }
        self.locators = Locators({place: PluggedLocator(place, self.plug) for place in self.at}, digest)
        self.stores = tuple(stores)
        self.writers: list[tuple[str, str, str, bytes | None]] = []
        self.goes: RecordsMemory | None = None

    def put(self, place: str, store: str, subject: str, key: str, value: bytes | None) -> None:
        """What a writer that has its commit does; None = delete."""
        held = self.at[place][store].held
        at, self.plug.at = self.plug.at, None  # it is another process that writes
        if value is None:
            held.pop((store, key), None)
            run(self.locators.forget(store, place, [(store, record_key(key))]))
        else:
            run(self.locators.note(store, place, [(store, record_key(key), digest(subject))]))
            held[store, key] = Record(store, key, subject, frozenset(), value)
        self.plug.at = at

    def noted(self, store: str, key: str) -> dict[str, str]:
        """By place, whose a record is by what its locator says."""
        known = {
            place: run(locator.owners([self.locators.key(store, store, record_key(key))]))[0]
            for place, locator in self.locators.by_place.items()
        }
        return {place: whose for place, whose in known.items() if whose is not None}

    def lies(self, place: str, subject: str) -> dict[tuple[str, str], bytes | None]:
        """What a subject has at a place, by store and key."""
        return {
            (store, key): record.value
            for store, records in self.at[place].items()
            for (_, key), record in records.held.items()
            if record.subject == subject
        }

    async def pin(self, subject: str) -> Pin | None:
        """A subject's pin."""
        return await self.pins.get(digest(subject))

    async def drained(self, _: float) -> None:
        """Writers that had begun before the pin moved come to their end while the mover waits, and a sink goes away."""
        writers, self.writers = self.writers, []
        for subject, store, key, value in writers:
            self.put("SG", store, subject, key, value)
        if self.goes is not None:
            self.goes.away = True

    def ends(self, store: str) -> tuple[RecordParcels, RecordParcels]:
        """Where a store's records come from, and where they go."""
        return RecordParcels(self.at["SG"][store]), RecordParcels(self.at["VN"][store])

    async def run(self, subjects: Sequence[str]) -> Moved:
        """One batch. Raises: PulledError."""
        mover = Mover(self.homes, self.journal, self.drained)
        legs = [
            Leg(store, *located_ends(store, self.ends(store), ("SG", "VN"), self.locators)) for store in self.stores
        ]
        batch = []
        for subject in subjects:
            known = digest(subject)
            first = Pin(known, "VN", (), "a" * 32, "move", "p", 1, 0)
            batch.append(Going(subject, known, await self.pins.get(known), first))
        return await mover.move(legs, "SG", "VN", batch)
