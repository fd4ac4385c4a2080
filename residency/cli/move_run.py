"""A deployment's runtime in; its people's records found where they lie, and brought home, out.

`residency move` and `residency pin move` share it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import typer

from residency.adapters.move_journal import MoveJournalSqlite
from residency.bootstrap import Residency
from residency.cli.move_places import Known, Ways, not_covered
from residency.cli.patience import patient
from residency.errors import ResidencyError, UsageError
from residency.jurisdiction.pins import Remembered, remember
from residency.model import Anchor, Pin, Trust
from residency.storage import under_way
from residency.storage.homes_known import make_known
from residency.storage.misplaced import Homing, Lying, Place, survey
from residency.storage.move import Going, Leg, Moved, Mover, State, Step
from residency.storage.mover_lease import MoverLease
from residency.storage.traces import Wiped, forget_moved

__all__ = ["Movement", "Outcome"]

_PASSES: Final = 5
_BYTES: Final = 1 << 24  # that a batch carries, four times over in memory
_PAGE: Final = 20_000
_TOGETHER: Final = 4  # batches under way at a time
_LOOK: Final = 1.0  # seconds after which who waits for a rate looks whether somebody waits for the move
# A subject whose pin somebody else changed is tried again at once: until they are home they cannot write.
_TRIES: Final = 4


@dataclass(slots=True)
class Outcome:
    """What a run did. `conflict` are subjects whose records stand against what their home has, `again` those who are
    still on their way, `pinned` those who lay where they should and whose home was remembered. `waits` = of `again`,
    those for whom records of others have to come or to go first, and the foreign key where that is known."""

    subjects: int = 0
    records: int = 0
    pinned: int = 0
    nowhere: int = 0
    conflict: set[str] = field(default_factory=set)
    again: int = 0
    waits: dict[str, str | None] = field(default_factory=dict)


class Movement:
    """Moves on an open runtime. `rate` = records a second at most, 0 = as fast as it goes."""

    def __init__(
        self,
        runtime: Residency,
        journal: MoveJournalSqlite,
        *,
        rate: int = 0,
        batch: int = 500,
        drain: float = 1.5,
        linger: float = 2.0,
        why: str = "to home",
        told: Callable[[Outcome], object] = lambda outcome: None,
    ) -> None:
        self._runtime = runtime
        self._point = runtime.point
        self._journal = journal
        self._rate = rate
        self._batch = batch
        self._told = told
        self._why = why
        homes = self._point.homes
        self._lease = MoverLease(
            homes.pins,
            self._point.perception.digest,
            journal.holder(homes.new_alias()),
            f"{socket.gethostname()}, process {os.getpid()}",
            next(iter(runtime.deployment.sinks.values())).sink.place,
        )
        self._mover = Mover(
            homes,
            journal,
            anyio.sleep,
            drain=drain,
            linger=linger,
            why=why,
            clock=anyio.current_time,
            hold=self._lease.hold,
        )
        self._ways = Ways(runtime, _tell)
        self._digest = self._point.perception.digest
        self._seen: dict[str, set[str]] = {}
        self._home: dict[str, set[str]] = {}
        self._left: dict[str, set[str]] = {}
        self._known: dict[str, Remembered] = {}
        self._waiting: frozenset[str] = frozenset()

    def homing(self) -> Homing:
        """Where people's data should lie by what holds now."""
        runtime = self._runtime
        return Homing(runtime.policy, list(runtime.deployment.records), runtime.facts.current(), runtime.clock.now())

    async def run(self, places: Sequence[Place], known: Known) -> Outcome:
        """Bring home all who lie in one of `places` and should not. A sink that is away for a moment is waited for.
        Raises: Unavailable of any kind; the next run goes on from there. UsageError while another mover is at work."""
        async with self._lease.held(_tell):
            return await self._run(places, known)

    async def _run(self, places: Sequence[Place], known: Known) -> Outcome:
        outcome = Outcome()
        await self._pass(places, known, outcome)
        whole = {place.store for place in places} == set(self._runtime.deployment.records)
        left = outcome.again or outcome.nowhere or outcome.conflict or not_covered(self._runtime)
        if whole and not left and await make_known(self._point.homes, self._digest, places[0].sink.place):
            await self._pass(places, known, outcome)  # who signed up meanwhile; from now on nobody begins elsewhere
        if whole:
            await patient(self._finish)
        await self._arrived()
        return outcome

    async def _pass(self, places: Sequence[Place], known: Known, outcome: Outcome) -> None:
        passes = 0
        while passes < _PASSES:
            outcome.again = outcome.nowhere = 0
            self._waiting = frozenset(outcome.waits)
            outcome.waits.clear()
            before = outcome.subjects
            for place in places:
                told = outcome.again, outcome.nowhere

                async def look(place: Place = place, told: tuple[int, int] = told) -> None:
                    outcome.again, outcome.nowhere = told
                    fetch, home = self._point.homes.fetch, self._home.get(place.sink.place, frozenset[str]())
                    async for _, lying in survey(place, self.homing(), fetch, self._digest, known, home):
                        await self._page(place, lying, outcome)
                        if self._lease.asked:
                            return

                await patient(look)
                if self._lease.asked:
                    break
            if self._lease.asked:
                # Somebody may be erased now. Of whom was seen so far nothing is kept, or they would come back.
                await self._lease.give_way(_tell)
                continue
            passes += 1
            if outcome.again == 0 or (outcome.subjects == before and outcome.waits.keys() <= self._waiting):
                break

    async def one(self, subject: str, target: str) -> Moved:
        """Bring one subject's records to the place `target`. Raises: as `run`, UsageError where there is no pin."""
        async with self._lease.held(_tell):
            return await self._one(subject, target)

    async def _one(self, subject: str, target: str) -> Moved:
        digest = self._digest(subject)
        pin = await self._point.homes.fetch(digest)
        if pin is None:
            raise UsageError("the subject has no pin to move")
        source = pin.moving or pin.home
        legs = await patient(lambda: self._ways.between(source, target))
        await under_way.set_out(self._point.homes, self._digest, source, target)
        moved = await self._moved(legs, source, target, [Going(subject, digest, pin)])
        for _ in range(_PASSES):
            if moved.again:
                going = Going(subject, digest, await self._point.homes.fetch(digest))
                moved = await self._moved(legs, source, target, [going])
        self._left.setdefault(source, set()).update(moved.home)
        await patient(self._forget)
        await self._arrived()
        return moved

    async def _page(self, place: Place, lying: Sequence[Lying], outcome: Outcome) -> None:
        here = place.sink.place
        self._seen.setdefault(here, set()).update(each.digest for each in lying)
        new = [each for each in lying if each.pin is None and each.home == here]
        if new:
            # A run that was killed may have copied somebody ahead: then this is not where their data lies yet.
            copied = {step.subject for step in await self._journal.unfinished() if step.target == here}
            new = [each for each in new if each.digest not in copied]
        homes = self._point.homes
        told: dict[int, Remembered] = {}
        for each in lying:  # most are found alike, by one finding
            if id(each.finding) not in told:
                told[id(each.finding)] = remember(each.finding)
        for at in range(0, len(new), self._batch):
            part = [homes.unpinned(each.digest, here, told[id(each.finding)]) for each in new[at : at + self._batch]]
            outcome.pinned += len(await homes.arrive(part, self._why))
            self._told(outcome)
        outcome.nowhere += sum(each.home is None for each in lying)
        self._known |= {each.digest: told[id(each.finding)] for each in lying if each.home != here}
        for target in sorted({each.home for each in lying if each.home not in (None, here)} - {None}, key=str):
            if self._lease.asked:
                return
            going = [
                Going(
                    each.id,
                    each.digest,
                    self._knowing(each.digest, each.pin),
                    homes.unpinned(each.digest, here, told[id(each.finding)]) if each.pin is None else None,
                )
                # In the order in which pins lie in their file: a batch changes a few pages, and not all of them.
                for each in sorted(lying, key=lambda each: each.digest)
                if each.home == target and each.digest not in outcome.conflict
            ]
            await self._move(here, str(target), going, outcome)

    async def _move(self, source: str, target: str, going: Sequence[Going], outcome: Outcome) -> None:
        legs = await self._ways.between(source, target)
        if going:
            await under_way.set_out(self._point.homes, self._digest, source, target)
        # Who waited for others of other batches comes with them this time, after all those who may be waited for: a
        # circle of foreign keys goes as one, or not at all.
        apart = [each for each in going if each.digest not in self._waiting]
        at_once = [each for each in going if each.digest in self._waiting]
        await self._batches(legs, (source, target), outcome, apart, (_BYTES, self._batch), _TOGETHER)
        await self._batches(legs, (source, target), outcome, at_once, (_BYTES * _TOGETHER, len(at_once)), 1)
        await patient(self._forget)

    async def _batches(
        self,
        legs: Sequence[Leg],
        way: tuple[str, str],
        outcome: Outcome,
        going: Sequence[Going],
        most: tuple[int, int],
        workers: int,
    ) -> None:
        """Move these in batches of `most` bytes, and as many subjects, `workers` of them under way at a time."""
        source, target = way
        failed: list[ResidencyError] = []
        begun = 0

        def parts() -> Iterator[Sequence[Going]]:
            nonlocal begun
            while begun < len(going):
                size = self._mover.fitting(*most)
                begun += size
                yield going[begun - size : begun]

        def stopping() -> bool:
            return self._lease.asked or bool(failed)

        async def work() -> None:
            for part in parts():
                if stopping():
                    return
                started = anyio.current_time()
                try:
                    records = await self._bring(legs, source, target, part, outcome)
                except ResidencyError as error:
                    # The others end what they have in hand: who is on their way just now could not write else.
                    failed.append(error)
                    return
                if self._rate > 0:
                    rest = records * workers / self._rate - (anyio.current_time() - started)
                    while rest > 0 and not stopping():
                        await anyio.sleep(min(rest, _LOOK))
                        rest -= _LOOK

        # A batch waits most of its time: for writers and readers, for databases, for the disk.
        try:
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    group.start_soon(work)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # what the others came to is as after a crash
        if failed:
            raise failed[0]

    async def _bring(
        self, legs: Sequence[Leg], source: str, target: str, part: Sequence[Going], outcome: Outcome
    ) -> int:
        """Move these, as far as that goes now; how many records."""
        moved = await self._moved(legs, source, target, part)
        self._count(outcome, moved, source, target)
        records, waiting = moved.records, frozenset[str]()
        for _ in range(_TRIES):
            now = moved.again - moved.waits.keys()  # the others wait for what another batch brings or takes
            if not now:
                break
            waiting |= moved.again - now
            left = [await self._again(each) for each in part if each.digest in now]
            moved = await self._moved(legs, source, target, left)
            self._count(outcome, moved, source, target)
            records += moved.records
        outcome.again += len(waiting | moved.again)
        self._told(outcome)
        return records

    async def _moved(self, legs: Sequence[Leg], source: str, target: str, batch: Sequence[Going]) -> Moved:
        """As the mover does it; where a sink was away, with the pins that it had turned by then."""
        tried = False

        async def go() -> Moved:
            nonlocal batch, tried
            if tried:
                batch = [await self._again(each) for each in batch]
            tried = True
            return await self._mover.move(legs, source, target, batch)

        return await patient(go)

    async def _again(self, going: Going) -> Going:
        """The same with the pin of now."""
        return replace(going, pin=self._knowing(going.digest, await self._point.homes.fetch(going.digest)))

    def _knowing(self, digest: str, pin: Pin | None) -> Pin | None:
        """A pin that also remembers what moves its subject, where it remembers nothing of that kind: whoever decides
        later, and is told of no more than the pin, would else take them for somebody whom the law does not cover."""
        if pin is None:
            return None
        kinds = {anchor for anchor, _, trust in pin.anchors if trust is not Trust.HINT}
        hints = {(anchor, place) for anchor, place, trust in pin.anchors if trust is Trust.HINT}
        told = self._known.get(digest, ())
        more = tuple(each for each in told if each[0] not in kinds and each[:2] not in hints)
        order = list(Anchor)
        anchors = tuple(sorted(pin.anchors + more, key=lambda each: (order.index(each[0]), each[1])))
        return replace(pin, anchors=anchors) if more else pin

    def _count(self, outcome: Outcome, moved: Moved, source: str, target: str) -> None:
        outcome.subjects += len(moved.home)
        outcome.records += moved.records
        outcome.conflict |= moved.conflict
        outcome.waits.update(moved.waits)
        self._home.setdefault(target, set()).update(moved.home)
        self._left.setdefault(source, set()).update(moved.home)

    async def _arrived(self) -> None:
        """Where nobody's data lies in two places any more, lists need not look for it."""
        late = any(state is State.LATE for _, _, state, _, _ in self._journal.totals())
        if not late and not await self._journal.unfinished():
            await under_way.end(self._point.homes, self._digest)

    async def _forget(self) -> None:
        """What caches and sessions hold of those who left, under the home that they had: nobody would look for it."""
        for store in self._runtime.stores.names:
            for sink in self._runtime.stores.sinks_of(store):
                if isinstance(sink, Wiped):
                    for place, digests in self._left.items():
                        await forget_moved(self._runtime.deployment.name, store, sink, place, digests)
        self._left.clear()

    async def _finish(self) -> None:
        """Those whom a run before this one had under way, and of whom nothing is left where they were."""
        done: list[Step] = []
        ahead: dict[tuple[str, str], list[Step]] = {}
        for step in await self._journal.unfinished():
            if step.subject in self._seen.get(step.source, ()):
                continue
            pin = await self._point.homes.fetch(step.subject)
            if pin is not None and (pin.home, pin.moving) == (step.target, step.source):
                await self._lease.hold()
                await self._point.homes.arrive([pin], self._why)
            elif pin is None or pin.home != step.target:
                ahead.setdefault((step.source, step.target), []).append(step)
                continue
            done.append(replace(step, state=State.DONE))
        for (source, target), steps in ahead.items():
            done += await self._withdraw(
                await self._ways.between(source, target), {step.subject: step for step in steps}
            )
        await self._journal.put(done)

    async def _withdraw(self, legs: Sequence[Leg], steps: Mapping[str, Step]) -> list[Step]:
        """Remove what was copied ahead of people who have gone since: nobody would ever look for it. How far they are
        now."""
        late: set[str] = set()
        for leg in legs:
            after, found = "", dict[str, str]()
            while page := await leg.target.subjects(after=after, limit=_PAGE):
                after = page[-1]
                for each in page:
                    step = steps.get(self._digest(each))
                    if step is None:
                        continue
                    if step.state is State.VERIFIED:
                        # Gone of their own, or what is here is all there is, and their pin was lost.
                        late.add(step.subject)
                    elif (copy := step.copies.get(leg.store)) is not None:
                        found[each] = copy
            await self._lease.hold()
            await leg.target.clear(found)
        return [replace(each, state=State.LATE if each.subject in late else State.DONE) for each in steps.values()]


def _tell(text: str) -> None:
    typer.echo(text, err=True)
