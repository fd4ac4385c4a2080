"""Subjects and where they lie in; their records at home, and nowhere else, out: the steps of a move, each of which may
be the last before a crash.

| step | the journal says | the pin says        | a crash after it leaves                                         |
|------|------------------|---------------------|-----------------------------------------------------------------|
| 1    | noted            | as before           | nothing                                                         |
| 2    | noted            | moving from A, to B | reads at A, writes refused; the next run goes on                |
| 3    | copied, digest   | the same            | a copy at B, which the next run knows by its digest             |
| 4    | verified         | the same            | the same                                                        |
| 5    | verified         | home B              | both hold it, B serves; the next run deletes at A, copies never |
| 6    | done             | home B              | nothing                                                         |

A home is a subject's and not a store's, so that the records of all stores move before the pin turns. What changed at A
while it was copied is copied once more; what is at B with other bytes, and is no copy of ours, is a conflict: the pin
goes back, nothing is deleted, and somebody is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from residency.errors import RecordConflict
from residency.model import Pin
from residency.storage.parcels import Parcel, Parcels

__all__ = ["Going", "Leg", "MoveHomes", "MoveJournal", "Moved", "Mover", "State", "Step"]

_ROUNDS: Final = 5  # how often a batch is copied anew because somebody still wrote, before it is left for later


class State(StrEnum):
    """How far the move of a subject has come. `conflict`: the target has other bytes, the subject stayed; `late`: the
    source has what was never copied, and the target was used since."""

    # A crash leaves the state before; `copied` is written before the copy, so that it is known for ours.

    NOTED = "noted"
    COPIED = "copied"
    VERIFIED = "verified"
    DONE = "done"
    CONFLICT = "conflict"
    LATE = "late"


_BEGUN: Final = (State.COPIED, State.VERIFIED)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the journal: a subject (keyed digest, never the id), from where to where (places), how far, and by
    store the digest of what was last copied; `records` = how many those were."""

    subject: str
    source: str
    target: str
    state: State
    copies: Mapping[str, str] = field(default_factory=dict)
    records: int = 0


@dataclass(frozen=True, slots=True)
class Going:
    """A subject to be moved: its id, its keyed digest, its pin as it was read, and what a first pin remembers."""

    id: str
    digest: str
    pin: Pin | None
    first: Pin | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """One store's part of a move: from which sink to which."""

    store: str
    source: Parcels
    target: Parcels


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a batch: subjects (digests) that are home, in conflict, or to be tried again."""

    home: frozenset[str]
    conflict: frozenset[str]
    again: frozenset[str]
    records: int


class MoveJournal(Protocol):
    """What a move has done so far. It holds keyed digests, no ids. Raises: PinsUnavailable where it cannot be had."""

    async def steps(self, source: str, target: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """What is noted of these subjects."""

    async def put(self, steps: Sequence[Step]) -> None:
        """Note these, all or none, so that they survive a power cut."""


class MoveHomes(Protocol):
    """Pins, changed many at once, each an act with its entries. All answer the pins that are now in force; a subject
    that is missing in the answer was changed by somebody else meanwhile."""

    async def leave(self, pins: Sequence[Pin], target: str, source: str, why: str) -> Mapping[str, Pin]:
        """Say of each that it moves from `source` to `target`; one of version 0 is the subject's first."""

    async def arrive(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """Say of each that its data lies at its home."""

    async def stay(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """Say of each that its data lies where it was."""


class Mover:
    """Moves subjects batch by batch. `wait` sleeps (seconds): `drain` for writers that had begun before a pin moved,
    `linger` for readers that had begun before it turned."""

    __slots__ = ("_drain", "_homes", "_journal", "_linger", "_wait", "_why")

    def __init__(
        self,
        homes: MoveHomes,
        journal: MoveJournal,
        wait: Callable[[float], Awaitable[None]],
        *,
        drain: float = 0.0,
        linger: float = 0.0,
        why: str = "move",
    ) -> None:
        self._homes = homes
        self._journal = journal
        self._wait = wait
        self._drain = drain
        self._linger = linger
        self._why = why

    async def move(self, legs: Sequence[Leg], source: str, target: str, batch: Sequence[Going]) -> Moved:
        """Bring these subjects' records from place `source` to place `target`, as far as that goes now.

        Raises: SinkUnavailable, PinsUnavailable, JournalFull, JournalFailed; then the next run goes on from there.
        """
        known = await self._journal.steps(source, target, [each.digest for each in batch])
        ids = {each.digest: each.id for each in batch}
        turned = {each.digest for each in batch if _has_turned(each, known.get(each.digest), target)}
        pins = await self._leave([each for each in batch if each.digest not in turned], known, source, target)
        resting = frozenset(digest for digest, pin in pins.items() if pin.moving is None)
        if pins and len(resting) < len(pins):
            await self._wait(self._drain)
        fresh = {}
        for digest in pins:
            step = known.get(digest)
            begun = step is not None and step.state in _BEGUN and digest not in resting
            fresh[digest] = step if step is not None and begun else Step(digest, source, target, State.NOTED)
        steps = {digest: known[digest] for digest in turned} | fresh
        copied, conflict = await self._copy(legs, {each: ids[each] for each in pins}, steps, resting)
        if conflict:
            await self._stay(legs, {each: ids[each] for each in conflict}, pins, resting, steps)
        going = [pins[digest] for digest in sorted(copied) if digest not in resting]
        arrived = await self._homes.arrive(going, self._why) if going else {}
        home = turned | {digest for digest in copied if digest in resting or digest in arrived}
        if home:
            await self._wait(self._linger)
        found, clean, redo, late = await self._judge(legs, {each: ids[each] for each in home}, steps)
        gone = await self._delete(legs, found, {each: ids[each] for each in clean})
        again = {each.digest: each.pin for each in batch if each.digest in redo and each.pin is not None} | {
            digest: pin for digest, pin in arrived.items() if digest in redo
        }
        if again:
            # Before the pin: a run after a crash in between finds them as it found them now.
            await self._homes.leave(list(again.values()), target, source, self._why)
        await self._journal.put(
            [_at(steps[digest], State.DONE) for digest in sorted(gone)]
            + [_at(steps[digest], State.LATE) for digest in sorted(late)]
        )
        stuck = frozenset(conflict | late)
        return Moved(gone, stuck, frozenset(ids) - gone - stuck, sum(steps[digest].records for digest in gone))

    async def _leave(
        self, batch: Sequence[Going], known: Mapping[str, Step], source: str, target: str
    ) -> dict[str, Pin]:
        """The pins under which these are copied: moving, but for those who live at `target` already."""
        await self._journal.put(
            [Step(each.digest, source, target, State.NOTED) for each in batch if each.digest not in known]
        )
        pins: dict[str, Pin] = {}
        leaving: list[Pin] = []
        for each in batch:
            pin = each.pin
            if pin is not None and pin.home == target and pin.moving in (None, source):
                pins[each.digest] = pin  # a run before this one has said so; or they live there, and left things behind
            elif pin is not None and pin.moving is None and pin.home == source:
                leaving.append(pin)  # who lives in a third place is moved from there first
            elif pin is None and each.first is not None:
                leaving.append(each.first)
        if leaving:
            pins |= await self._homes.leave(leaving, target, source, self._why)
        return pins

    async def _copy(
        self, legs: Sequence[Leg], ids: Mapping[str, str], steps: dict[str, Step], resting: Collection[str]
    ) -> tuple[dict[str, Step], set[str]]:
        """(the steps of those that are copied and verified, those that cannot be); `steps` are kept up to date."""
        done: dict[str, Step] = {}
        conflict: set[str] = set()
        for _ in range(_ROUNDS):
            left = [digest for digest in ids if digest not in done and digest not in conflict]
            if not left:
                break
            taken = {leg.store: await leg.source.take([ids[each] for each in left]) for leg in legs}
            for leg in legs:
                await self._forget_copies(
                    leg, taken[leg.store], {each: ids[each] for each in left if each not in resting}, steps
                )
            for digest in left:
                copies = {store: parcel.digest(ids[digest]) for store, parcel in taken.items()}
                records = sum(len(parcel.pieces.get(ids[digest], ())) for parcel in taken.values())
                old = steps[digest]
                steps[digest] = Step(digest, old.source, old.target, State.COPIED, copies, records)
            # Before the copy: a run after a crash is to know it for ours.
            await self._journal.put([steps[digest] for digest in left])
            for leg in legs:
                conflict |= await _put(leg, taken[leg.store], {each: ids[each] for each in left})
            equal = set(left) - conflict
            for leg in legs:
                subjects = [ids[each] for each in equal]
                there, now = await leg.target.take(subjects), await leg.source.take(subjects)
                equal = {
                    each for each in equal if _same(taken[leg.store], now, ids[each]) and there.holds(now, ids[each])
                }
            verified = [_at(steps[digest], State.VERIFIED) for digest in sorted(equal)]
            await self._journal.put(verified)
            done |= {step.subject: step for step in verified}
        return done, conflict

    async def _forget_copies(self, leg: Leg, taken: Parcel, ids: Mapping[str, str], steps: Mapping[str, Step]) -> None:
        """Remove at the target what we copied there before and what is no longer so at the source."""
        old = {each: copy for each in ids if (copy := steps[each].copies.get(leg.store)) is not None}
        changed = [ids[each] for each, copy in old.items() if copy != taken.digest(ids[each])]
        if not changed:
            return
        there = await leg.target.take(changed)
        ours = [
            ids[each] for each, copy in old.items() if ids[each] in there.pieces and there.digest(ids[each]) == copy
        ]
        await leg.target.remove(there.of([each for each in ours if each in changed]))

    async def _stay(
        self,
        legs: Sequence[Leg],
        ids: Mapping[str, str],
        pins: Mapping[str, Pin],
        resting: Collection[str],
        steps: Mapping[str, Step],
    ) -> None:
        """Those that cannot be moved lie where they lay, and their pins say so again; no copy of ours is left."""
        back = [each for each in sorted(ids) if each not in resting]
        for leg in legs:
            there = await leg.target.take([ids[each] for each in back])
            ours = [ids[each] for each in back if there.digest(ids[each]) == steps[each].copies.get(leg.store)]
            await leg.target.remove(there.of(ours))
        # Without digests: nothing of these may ever pass for a copy that was verified.
        stuck = [replace(steps[each], state=State.CONFLICT, copies={}, records=0) for each in sorted(ids)]
        await self._journal.put(stuck)
        if back:
            await self._homes.stay([pins[each] for each in back], self._why)

    async def _judge(
        self, legs: Sequence[Leg], ids: Mapping[str, str], steps: Mapping[str, Step]
    ) -> tuple[dict[str, Parcel], set[str], set[str], set[str]]:
        """(by store what may be deleted, those of whom that is all, those who are to be copied once more for a writer
        came late, those of whom somebody must judge)."""
        found: dict[str, Parcel] = {}
        clean, redo = set(ids), set(ids)
        for leg in legs:
            found[leg.store] = now = await leg.source.take(list(ids.values()))
            other = [each for each in ids if now.digest(ids[each]) != steps[each].copies.get(leg.store)]
            there = await leg.target.take([ids[each] for each in other]) if other else Parcel({})
            # A deletion that a crash cut short left some of what was copied, and the target has them all.
            late = {each for each in other if not there.holds(now, ids[each])}
            clean -= late
            redo -= {
                each
                for each in late
                if there.digest(ids[each]) != steps[each].copies.get(leg.store)
                or not _keys(there, ids[each]) <= _keys(now, ids[each])
            }
        redo -= clean
        gone = [ids[each] for each in clean]
        return {store: now.of(gone) for store, now in found.items()}, clean, redo, set(ids) - clean - redo

    async def _delete(self, legs: Sequence[Leg], found: Mapping[str, Parcel], ids: Mapping[str, str]) -> frozenset[str]:
        """Those of whom nothing is left at the source."""
        left: set[str] = set()
        for leg in legs:
            if not await leg.source.remove(found[leg.store]):
                after = await leg.source.take(list(ids.values()))
                left |= {digest for digest, subject in ids.items() if after.pieces.get(subject)}
        return frozenset(ids) - left


def _has_turned(going: Going, step: Step | None, target: str) -> bool:
    """Whether the pin turned before: from then on the home is newer than what is left behind, and nothing is copied."""
    pin = going.pin
    if step is None or pin is None or pin.moving is not None or pin.home != target:
        return False
    return step.state in (State.VERIFIED, State.LATE)


def _at(step: Step, state: State) -> Step:
    return Step(step.subject, step.source, step.target, state, step.copies, step.records)


def _keys(parcel: Parcel, subject: str) -> set[tuple[str, str]]:
    return {(name, key) for name, key, _ in parcel.pieces.get(subject, ())}


def _same(before: Parcel, now: Parcel, subject: str) -> bool:
    return before.pieces.get(subject) == now.pieces.get(subject)


async def _put(leg: Leg, parcel: Parcel, ids: Mapping[str, str]) -> set[str]:
    """Put all of it, or, where something stands against that, subject by subject; those it stands against."""
    try:
        await leg.target.put(parcel)
        return set()
    except RecordConflict:
        pass
    conflict = set()
    for digest, subject in ids.items():
        try:
            await leg.target.put(parcel.of([subject]))
        except RecordConflict:
            conflict.add(digest)
    return conflict
