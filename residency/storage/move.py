"""Subjects and where they lie in; their records at home, and nowhere else, out: the steps of a move, each of which may
be the last before a crash.

| step | the journal says | the pin says        | a crash after it leaves                                         |
|------|------------------|---------------------|-----------------------------------------------------------------|
| 1    | copied, digest   | as before           | a copy at B, or a part of one; the next run knows it as ours    |
| 2    | verified, digest | as before           | a copy at B, which the next run knows by its digest             |
| 3    | verified         | moving from A, to B | the same; reads at A, writes wait; the next run goes on         |
| 4    | verified         | home B              | both hold it, B serves; the next run deletes at A, copies never |
| 5    | done             | home B              | nothing                                                         |

All of a batch is copied ahead, while everybody is served as ever. Then pins move, few at a time, and what changed since
is copied once more: for so long, and no longer, these few cannot write. Where copies of ours lie at the target, theirs
are gone from there before anything is compared, and none is on its way: one would pass for a record, or a record for
one. A home is a subject's and not a store's, so that the records of all stores move before the pin turns. What is at B
with other bytes, and is no copy of ours, is a conflict: the pin goes back, nothing is deleted, and somebody is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from residency.model import Pin
from residency.storage.moves import BEGUN, Going, Leg, Moved, MoveHomes, MoveJournal, State, Step
from residency.storage.moves_carried import Carrying
from residency.storage.moves_compared import equal
from residency.storage.parcels import NOTHING

__all__ = ["Going", "Leg", "MoveHomes", "MoveJournal", "Moved", "Mover", "State", "Step"]

_ROUNDS: Final = 6  # how often a batch is copied anew because somebody still wrote, before it is left for later
_SLICE: Final = 250  # subjects whose pins move together, to begin with; then as many as fit the window
_SMALLEST: Final = 100  # fewer take as long: what counts then is how far away the servers are


async def _alone() -> None:
    """Nobody else moves."""


class Mover:
    """Moves subjects batch by batch. `wait` sleeps (seconds): `drain`, at most, for writers that had begun before a pin
    moved, `linger` for readers that had begun before it turned. `clock` (seconds) measures how long pins are moving:
    as many move together as are home again within `window`, beside what is waited for. `hold` is called before each
    change, and raises where this mover is no longer the one."""

    __slots__ = (
        "_carrying",
        "_clock",
        "_drain",
        "_hold",
        "_homes",
        "_journal",
        "_linger",
        "_slice",
        "_wait",
        "_why",
        "_window",
    )

    def __init__(
        self,
        homes: MoveHomes,
        journal: MoveJournal,
        wait: Callable[[float], Awaitable[None]],
        *,
        drain: float = 0.0,
        linger: float = 0.0,
        why: str = "move",
        window: float = 0.2,
        clock: Callable[[], float] = lambda: 0.0,
        hold: Callable[[], Awaitable[None]] = _alone,
    ) -> None:
        self._homes = homes
        self._journal = journal
        self._wait = wait
        self._drain = drain
        self._linger = linger
        self._why = why
        self._window = window
        self._clock = clock
        self._slice = _SLICE
        self._hold = hold
        self._carrying = Carrying(journal, hold)

    def fitting(self, size: int, most: int) -> int:
        """How many subjects, of `most`, carry about `size` bytes, by what those before had; few while nobody knows."""
        return self._carrying.fitting(size, most)

    async def move(self, legs: Sequence[Leg], source: str, target: str, batch: Sequence[Going]) -> Moved:
        """Bring these subjects' records from place `source` to place `target`, as far as that goes now.

        Raises: SinkUnavailable, PinsUnavailable, JournalFull, JournalFailed; then the next run goes on from there.
        """
        steps = dict(await self._journal.steps(source, target, [each.digest for each in batch]))
        ids = {each.digest: each.id for each in batch}
        unknown = [each for each in batch if each.digest not in steps or steps[each.digest].state is State.NOTED]
        conflict = await self._sweep(legs, source, target, unknown)
        # What lies here of who lives there, and is known for ours, was left behind: home is newer, nothing is copied.
        resting = [each.digest for each in unknown if _rests(each, target)]
        steps |= await self._journal.left(source, resting)
        home = {each.digest for each in batch if _has_turned(each, steps.get(each.digest), target)} - conflict
        rest = [each for each in batch if each.digest not in home and each.digest not in conflict]
        for each in rest:
            steps.setdefault(each.digest, Step(each.digest, source, target, State.NOTED))
        ahead = {each.digest: each.id for each in rest if each.pin is None or each.pin.home == source}
        sure, waits = await self._ahead(legs, ahead, steps)
        if waits:  # they are served where they lie, and their pins never turned; who has none is not taken for new
            await self._stay(legs, {each: ahead[each] for each in waits}, {}, (), steps)
            unpinned = [
                each.first for each in rest if each.digest in waits and each.pin is None and each.first is not None
            ]
            await self._hold()
            await self._homes.arrive([replace(each, home=source) for each in unpinned], self._why)
            rest = [each for each in rest if each.digest not in waits]
        pins = {each.digest: each.pin for each in batch if each.pin is not None}
        at = 0
        while at < len(rest):
            # Where no writer is waited for, nobody is served, and no window is to be kept.
            part = rest[at : at + self._slice] if self._drain > 0 else rest
            at += len(part)
            turned, against, arrived = await self._turn(legs, source, target, part, steps, sure)
            home |= turned
            conflict |= {each for each, key in against.items() if key is None}
            waits |= {each: key for each, key in against.items() if key is not None}
            pins |= arrived
        if home:
            await self._wait(self._linger)
        gone, redo, late = await self._carrying.clear(legs, {each: ids[each] for each in sorted(home)}, steps)
        if redo:
            # Before the pin: a run after a crash in between finds them as it found them now.
            await self._hold()
            await self._homes.leave([pins[each] for each in sorted(redo) if each in pins], target, source, self._why)
        await self._journal.put(
            [replace(steps[digest], state=State.DONE) for digest in sorted(gone)]
            + [replace(steps[digest], state=State.LATE) for digest in sorted(late)]
        )
        stuck = frozenset(conflict | late)
        records = sum(steps[digest].records for digest in gone)
        waits |= dict.fromkeys(home - gone - redo - late)  # others refer to what they left
        return Moved(frozenset(gone), stuck, frozenset(ids) - gone - stuck, records, waits)

    async def _sweep(self, legs: Sequence[Leg], source: str, target: str, batch: Sequence[Going]) -> set[str]:
        """Remove what earlier moves left at `target` of those who live at `source`: who comes back finds nothing old
        there. Those of whom somebody must judge first."""
        living = {each.digest: each.id for each in batch if each.pin and (each.pin.moving or each.pin.home) == source}
        left = dict(await self._journal.left(target, living))
        if not left:
            return set()
        # Of who was home there and is not any more, a part of what was copied may be all that there is.
        left = {
            each: replace(step, marks={}) if step.state is State.LATE and step.target == target else step
            for each, step in left.items()
        }
        back = [Leg(leg.store, leg.target, leg.source) for leg in legs]
        gone, redo, late = await self._carrying.clear(back, {each: living[each] for each in sorted(left)}, left)
        await self._journal.put([replace(left[each], state=State.DONE) for each in sorted(gone)])
        return redo | late

    async def _ahead(
        self, legs: Sequence[Leg], ids: Mapping[str, str], steps: dict[str, Step]
    ) -> tuple[set[str], dict[str, str | None]]:
        """Copy these while they are served where they lie; those of whom all is at the target, and those whose records
        refer to what is not there, with the foreign key. Who writes there before their pin moves, because they have
        none, changes what was copied: from then on that is the newer."""
        against = await self._carrying.ship(legs, ids, steps)
        lacking: dict[str, str | None] = {each: key for each, key in against.items() if key is not None}
        sure = ids.keys() - lacking.keys()
        for leg in legs:
            there = await leg.target.tally([ids[each] for each in sure])
            sure = {each for each in sure if there.get(ids[each], NOTHING) == steps[each].copies.get(leg.store)}
        await self._verified(sure, steps)
        return sure, lacking

    async def _verified(self, subjects: Collection[str], steps: dict[str, Step]) -> None:
        new = [each for each in sorted(subjects) if steps[each].state is not State.VERIFIED]
        for each in new:
            steps[each] = replace(steps[each], state=State.VERIFIED)
        await self._journal.put([steps[each] for each in new])

    async def _turn(
        self,
        legs: Sequence[Leg],
        source: str,
        target: str,
        part: Sequence[Going],
        steps: dict[str, Step],
        sure: Collection[str],
    ) -> tuple[set[str], Mapping[str, str | None], Mapping[str, Pin]]:
        """(those who are home now, those against whom something stands there as `Carrying.ship` tells, the pins that
        turned): the one time in which they cannot write."""
        ids = {each.digest: each.id for each in part}
        pins = await self._leave(part, steps, source, target)
        resting = {digest for digest, pin in pins.items() if pin.moving is None}
        if len(resting) < len(pins) and not all([await leg.source.settled(self._drain) for leg in legs]):
            await self._wait(self._drain)
        if arriving := {ids[digest]: digest for digest in pins if digest not in resting}:
            await self._hold()
            for leg in legs:
                sure = set(sure) - {arriving[each] for each in await leg.clear_copies(arriving)}
        begun = self._clock()
        for digest in pins:
            if digest in resting or steps[digest].state not in BEGUN:
                steps[digest] = Step(digest, source, target, State.NOTED)
        copied, conflict = await self._copy(legs, {each: ids[each] for each in pins}, steps, resting, sure)
        if conflict:
            await self._stay(legs, {each: ids[each] for each in conflict}, pins, resting, steps)
        going = [pins[digest] for digest in sorted(copied) if digest not in resting]
        await self._hold()
        arrived = await self._homes.arrive(going, self._why) if going else {}
        self._fit(len(part), self._clock() - begun)
        return {digest for digest in copied if digest in resting or digest in arrived}, conflict, arrived

    def _fit(self, subjects: int, took: float) -> None:
        """Let as many move together from now on as fit the window."""
        if took > self._window:
            self._slice = max(_SMALLEST, subjects // 2, int(subjects * self._window / took))
        elif subjects == self._slice:
            self._slice += subjects // 4 + 1

    async def _leave(
        self, part: Sequence[Going], steps: Mapping[str, Step], source: str, target: str
    ) -> dict[str, Pin]:
        """The pins under which these are copied: moving, but for those who live at `target` already."""
        fresh = [each.digest for each in part if steps[each.digest].state not in BEGUN]
        await self._journal.put([Step(digest, source, target, State.NOTED) for digest in fresh])
        pins: dict[str, Pin] = {}
        leaving: list[Pin] = []
        for each in part:
            pin = each.pin
            if pin is not None and pin.home == target and pin.moving in (None, source):
                pins[each.digest] = pin  # a run before this one has said so; or they live there, and left things behind
            elif pin is not None and pin.moving is None and pin.home == source:
                leaving.append(pin)  # who lives in a third place is moved from there first
            elif pin is None and each.first is not None:
                leaving.append(each.first)
        if leaving:
            await self._hold()
            pins |= await self._homes.leave(leaving, target, source, self._why)
        return pins

    async def _copy(
        self,
        legs: Sequence[Leg],
        ids: Mapping[str, str],
        steps: dict[str, Step],
        resting: Collection[str],
        sure: Collection[str],
    ) -> tuple[set[str], dict[str, str | None]]:
        """(those that are copied and verified, those that cannot be, as `Carrying.ship` tells); `steps` are kept up to
        date. Of those who are `sure` the target has what was copied."""
        done: set[str] = set()
        conflict: dict[str, str | None] = {}
        for left in range(_ROUNDS, 0, -1):
            begun = {
                each: ids[each]
                for each in ids
                if each not in done and each not in conflict and steps[each].state in BEGUN
            }
            same = await equal(legs, begun, steps, sure)
            await self._verified(same, steps)
            done |= same
            again = {each: ids[each] for each in ids if each not in done and each not in conflict}
            if not again or left == 1:
                break
            conflict |= await self._carrying.ship(legs, again, steps, resting)
            sure = ()
        return done, conflict

    async def _stay(
        self,
        legs: Sequence[Leg],
        ids: Mapping[str, str],
        pins: Mapping[str, Pin],
        resting: Collection[str],
        steps: Mapping[str, Step],
    ) -> None:
        """Those that cannot be moved lie where they lay, and their pins, where there are some, say so again; no copy of
        ours is left."""
        back = [each for each in sorted(ids) if each not in resting]
        turned = [pins[each] for each in back if each in pins]
        for leg in legs:
            copies = {each: copy for each in back if (copy := steps[each].copies.get(leg.store)) is not None}
            await self._carrying.withdraw(
                leg, ids, {each: copy for each, copy in copies.items() if copy != NOTHING}, steps
            )
        # Without digests: nothing of these may ever pass for a copy that was verified.
        stuck = [replace(steps[each], state=State.CONFLICT, copies={}, records=0, marks={}) for each in sorted(ids)]
        await self._journal.put(stuck)
        if turned:
            await self._hold()
            await self._homes.stay(turned, self._why)


def _has_turned(going: Going, step: Step | None, target: str) -> bool:
    """Whether the pin turned before: from then on the home is newer than what is left behind, and nothing is copied."""
    if step is None or not _rests(going, target):
        return False
    # One of another move, which `left` told, says that this is ours, whether or not the pin turned then.
    return step.target != target or step.state in (State.VERIFIED, State.LATE)


def _rests(going: Going, place: str) -> bool:
    return going.pin is not None and going.pin.moving is None and going.pin.home == place
