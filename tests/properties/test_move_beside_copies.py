"""A mover, a copier, who withdraws, and the app, all at once: whoever is served between two calls of another, and
whichever call fails, all that a person has is at their home, and what is abroad is a copy of it and passes for one.

Each call of a port is a place where another may go on, before it and after it; which one does is drawn.
"""

from __future__ import annotations

import random
import types
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from residency.errors import SinkUnavailable
from residency.model import Pin, SubjectId
from residency.storage.copied import originals
from residency.storage.move import Going, Leg, Mover
from residency.storage.moves import never_copied
from residency.storage.parcels import Cargo, RecordParcels
from residency.storage.records import Record
from residency.storage.withdrawal import withdraw
from tests.copies_memory import PLACES, CopiesWorld, run
from tests.move_world import Homes, Journal, Plug

SINKS = {place: sink for sink, place in PLACES.items()}
CALLS = {
    "records": ("get", "write", "replace", "delete", "subjects"),
    "marks": ("read", "write", "forget"),
    "outbox": ("take", "done", "hold"),
}
TRIES = 200


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let another go on."""
    yield


class Together:
    """One person, and all who do something with their records. `faults` = the share of calls of a sink that fail."""

    def __init__(self, seed: int, faults: float) -> None:
        self.chance = random.Random(seed)
        self.faults = faults
        self.switching = False
        self.world = CopiesWorld()
        self.who, self.covered = self.chance.choice((("carol", False), ("an", True)))
        self.home = self.chance.choice(sorted(SINKS))
        run(self.world.settle(self.who, self.home, covered=self.covered))
        self.model = {f"{self.who}{number}": f"v{number}".encode() for number in "123"}
        for key, value in self.model.items():
            self.world.write(SINKS[self.home], self.who, key, value)
        self.digest = self.world.deployed.point.digest(SubjectId(self.who))
        self.rounds = 0  # of who works for a home
        self.still = 0  # of movers who want none to begin
        self.stuck: str | None = None
        for records in self.world.at.values():
            self._watch(records, CALLS["records"])
            records.write = self._named(records.write)  # type: ignore[method-assign]
            records.read = self._reading(records.read)  # type: ignore[method-assign]
        for marks in (self.world.ledger, *self.world.marks.values()):
            self._watch(marks, CALLS["marks"])
        for outbox in self.world.outboxes.values():
            self._watch(outbox, CALLS["outbox"])

    def _watch(self, port: object, names: Collection[str]) -> None:
        for name in names:
            setattr(port, name, self._switched(getattr(port, name)))

    def _switched(self, call: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        async def switched(*args: Any, **named: Any) -> Any:
            if not self.switching:
                return await call(*args, **named)
            await turn()
            drawn = self.chance.random()
            if drawn < self.faults:
                raise SinkUnavailable("before it")
            answer = await call(*args, **named)
            await turn()
            if drawn > 1 - self.faults:
                raise SinkUnavailable("after it")
            return answer

        return switched

    def _named(self, write: Callable[..., Coroutine[Any, Any, int]]) -> Any:
        async def named(records: Sequence[Record]) -> int:
            """What data a record is, sinks know by their tables; a move does not tell."""
            return await write([replace(record, data=frozenset({"personal"})) for record in records])

        return named

    def _reading(self, read: Callable[..., AsyncIterator[Record]]) -> Any:
        async def reading(subjects: Collection[str]) -> AsyncIterator[Record]:
            if self.switching:
                await turn()
            found = [record async for record in read(subjects)]
            if self.switching:
                await turn()
            for record in found:
                yield record

        return reading

    # -- who is at work ------------------------------------------------------------------------------------------

    async def moves(self) -> None:
        """To one place, or from place to place."""
        mover = Mover(Switching(self.world.deployed.pins, Plug()), Journal(Plug()), lambda seconds: self._turned())
        ends = {place: End(self, place) for place in SINKS}
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            here, self.home = self.home, self.chance.choice([place for place in SINKS if place != self.home])
            clear = ends["SG"].clear_copies if self.home == "SG" else never_copied
            for _ in range(TRIES):
                pin = await self.world.deployed.pins.get(self.digest)
                going = Going(self.who, self.digest, pin, None)
                try:
                    leg = Leg("people", ends[here], ends[self.home], clear)
                    if self.digest in (await mover.move([leg], here, self.home, [going])).home:
                        break
                except SinkUnavailable:
                    continue
            else:
                self.stuck = f"{here} to {self.home}"
                return

    async def _turned(self) -> None:
        await turn()

    async def copies(self) -> None:
        """Copiers look at their outboxes, unless a mover has them."""
        for _ in range(40):
            for copier in self.world.copiers.values():
                with suppress(SinkUnavailable):
                    async with self.working():
                        await copier.once(limit=5)
            self.world.deployed.clock.advance(self.chance.choice((0, 500_000, 2_000_000)))
            await turn()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """At work for a home, once no mover wants it."""
        while self.still:
            await turn()
        self.rounds += 1
        try:
            yield
        finally:
            self.rounds -= 1

    async def walks(self) -> None:
        """Copies whose permission has ended go."""
        for _ in range(self.chance.choice((0, 0, 3))):
            try:
                await withdraw(
                    self.world.target, self.world.homes, self.world.deciding, page=2, alone=lambda home: self.working()
                )
            except SinkUnavailable:
                await turn()

    async def writes(self) -> None:
        """The app keeps, changes and deletes while the person is not moving: a commit is one moment."""
        for number in range(100):
            await turn()
            if self.chance.random() > 0.08:
                continue
            pin = self.pin()
            if pin.moving is not None:
                continue
            key = f"{self.who}{self.chance.choice('123456789')}"
            value = f"n{number}".encode() if self.chance.random() < 0.7 else None
            if value is not None:
                self.model[key] = value
            elif self.model.pop(key, None) is None:
                continue
            self.world.write(SINKS[pin.home], self.who, key, value)

    def all_at_once(self) -> None:
        """Each in a context of its own, until all have ended."""
        tasks = {"moves": self.moves(), "copies": self.copies(), "walks": self.walks(), "writes": self.writes()}
        self.switching = True
        while tasks:
            name = self.chance.choice(sorted(tasks))
            for _ in range(self.chance.choice((1, 1, 2, 3, 8, 20))):
                try:
                    tasks[name].send(None)
                except StopIteration:
                    del tasks[name]
                    break
        self.switching = False

    def in_the_end(self) -> None:
        """Left alone, copiers and who withdraws come to the end of it."""
        for _ in range(12):
            self.world.deployed.clock.advance(700_000_000)
            run(self.world.copy())
            run(self.world.walk())

    # -- what there is -------------------------------------------------------------------------------------------

    def pin(self) -> Pin:
        """The person's pin, just now."""
        was, self.switching = self.switching, False
        found = run(self.world.deployed.pins.get(self.digest))
        self.switching = was
        assert found is not None
        return found

    def lies(self, place: str) -> dict[str, bytes | None]:
        """All that they have at a place."""
        return self.world.lies(SINKS[place], self.who)

    def originals(self) -> set[str]:
        """The keys of what is theirs in SG, and no copy."""

        async def look() -> set[str]:
            return {record.key async for record in originals(self.world.copied).read([self.who])}

        return run(look())


class Switching(Homes):
    """Pins that others read before they turn, and after."""

    async def _put(self, pins: Sequence[Pin]) -> dict[str, Pin]:
        await turn()
        done = await super()._put(pins)
        await turn()
        return done


class End(RecordParcels):
    """An end of a move; while records are put into the sink that gets copies, none are made."""

    def __init__(self, together: Together, place: str) -> None:
        records = together.world.at[SINKS[place]]
        self._all = originals(together.world.copied)
        super().__init__(self._all if place == "SG" else records)
        self._together, self._place = together, place

    async def put(self, cargo: Cargo) -> None:
        """As the port says."""
        if self._place != "SG":
            await super().put(cargo)
            return
        async with self:
            await super().put(cargo)

    async def clear_copies(self, subjects: Collection[str]) -> frozenset[str]:
        """As `Leg` has it."""
        async with self:
            return await self._all.clear_copies(subjects)

    async def __aenter__(self) -> None:
        self._together.still += 1
        while self._together.rounds:
            await turn()

    async def __aexit__(self, *_: object) -> None:
        self._together.still -= 1


@given(seed=st.integers(0, 1 << 32), faults=st.sampled_from([0.0, 0.03, 0.1]))
@settings(max_examples=400, deadline=None)
def test_whoever_goes_on_between_two_calls_nothing_is_lost_and_nothing_passes_for_what_it_is_not(
    seed: int, faults: float
) -> None:
    here = Together(seed, faults)
    here.all_at_once()
    assert here.stuck is None
    here.in_the_end()
    pin = here.pin()
    assert (pin.home, pin.moving) == (here.home, None)
    assert here.lies(pin.home) == here.model
    for place in {"VN", "JP"} - {pin.home}:
        assert here.lies(place) == {}, place
    if pin.home == "SG":
        assert here.originals() == here.model.keys(), "an original passes for a copy"
        return
    allowed = not here.covered or pin.home == "VN"
    assert here.lies("SG") == (here.model if allowed else {})
    assert here.originals() == set(), "what was moved away was left behind"
