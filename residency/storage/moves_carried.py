"""Subjects and both ends of their way in; their records copied, copies taken back, and what was copied deleted where it
lay, out: what a move does with bytes, each step noted in its journal before it is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from residency.errors import RecordConflict
from residency.storage.moves import BEGUN, Leg, MoveJournal, State, Step
from residency.storage.moves_compared import judge
from residency.storage.parcels import NOTHING, LackingError, Parcel

__all__ = ["Carrying"]

_TRIES: Final = 3
_FIRST: Final = 20  # subjects of a batch, while nobody knows how much people have: a hundred pictures, say


class Carrying:
    """Copies and deletes for a mover. `hold` is called before each change, and raises where it is no longer the one."""

    __slots__ = ("_bytes", "_hold", "_ids", "_journal")

    def __init__(self, journal: MoveJournal, hold: Callable[[], Awaitable[None]]) -> None:
        self._journal = journal
        self._hold = hold
        self._bytes = 0
        self._ids = 0

    def fitting(self, size: int, most: int) -> int:
        """How many subjects, of `most`, carry about `size` bytes, by what those before had; few while nobody knows."""
        if self._ids == 0:
            return min(most, _FIRST)
        return max(1, min(most, size * self._ids // max(self._bytes, 1)))

    async def ship(
        self,
        legs: Sequence[Leg],
        ids: Mapping[str, str],
        steps: dict[str, Step],
        resting: Collection[str] = frozenset(),
    ) -> dict[str, str | None]:
        """Copy all that these have now; those against whom something stands at the target, with the foreign key by
        which their records refer to what is not there, None = something else. `steps` are kept up to date."""
        if not ids:
            return {}
        cargos = [(leg, await leg.source.load(list(ids.values()))) for leg in legs]
        self._ids += len(ids)
        self._bytes += sum(cargo.size for _, cargo in cargos)
        stays = set[str]()
        for leg, cargo in cargos:
            # What we copied before, and what is no longer so at the source.
            old = {
                each: copy
                for each in ids
                if each not in resting and (copy := steps[each].copies.get(leg.store)) is not None
                and copy not in (cargo.digest(ids[each]), NOTHING)
            }  # fmt: skip
            stays |= await self.withdraw(leg, ids, old, steps)
        if stays:  # what was deleted since at the source would be there again with what is put beside it
            return dict.fromkeys(stays) | await self.ship(legs, _but(ids, stays), steps, resting)
        for each, subject in ids.items():
            copies = {leg.store: cargo.digest(subject) for leg, cargo in cargos}
            records = sum(cargo.counts.get(subject, 0) for _, cargo in cargos)
            marks = {leg.store: cargo.marks[subject] for leg, cargo in cargos if subject in cargo.marks}
            steps[each] = replace(steps[each], state=State.COPIED, copies=copies, records=records, marks=marks)
        # Before the copy: a run after a crash is to know it for ours.
        await self._journal.put([steps[digest] for digest in ids])
        try:
            for leg, cargo in cargos:
                if cargo.digests:
                    await self._hold()
                    await leg.target.put(cargo)
            return {}
        except LackingError as lack:
            conflict: dict[str, str | None] = {
                each: lack.subjects[ids[each]] for each in ids if ids[each] in lack.subjects
            }
            parts = [[each for each in ids if each not in conflict]]
        except RecordConflict:
            if len(ids) == 1:
                return dict.fromkeys(ids)
            conflict, them, half = {}, list(ids), len(ids) // 2
            parts = [them[:half], them[half:]]
        for part in parts:
            conflict |= await self.ship(legs, {digest: ids[digest] for digest in part}, steps, resting)
        return conflict

    async def withdraw(
        self, leg: Leg, ids: Mapping[str, str], copies: Mapping[str, str], steps: Mapping[str, Step]
    ) -> set[str]:
        """Remove from the target what was copied there before, all or the part that a crash left, and nothing else;
        those of whom it is there still, because the sink refuses, again and again, to delete it."""
        if not copies:
            return set()
        await self._hold()
        gone = await leg.target.clear({ids[each]: copy for each, copy in copies.items()})
        left = [each for each in copies if ids[each] not in gone]
        for _ in range(_TRIES):
            found = await leg.target.take([ids[each] for each in left])
            told = {each: found.digest(ids[each]) for each in left}
            left = [
                each
                for each in left
                if told[each] != NOTHING
                and (told[each] == copies[each] or _is_part(steps[each], leg.store, found, ids[each]))
            ]
            if not left:
                break
            await self._hold()
            gone = await leg.target.clear({ids[each]: told[each] for each in left})
            left = [each for each in left if ids[each] not in gone]
        return set(left)

    async def clear(
        self, legs: Sequence[Leg], ids: Mapping[str, str], steps: Mapping[str, Step]
    ) -> tuple[set[str], set[str], set[str]]:
        """(those of whom nothing is left at the source, those who are to be copied once more for a writer came late,
        those of whom somebody must judge)."""
        gone = set(ids)
        if len(legs) > 1:  # of whom one store has something new, all of the others stays too
            for leg in legs:
                now = await leg.source.tally([ids[each] for each in gone])
                gone = {each for each in gone if now.get(ids[each], NOTHING) == steps[each].copies.get(leg.store)}
        for leg in legs:
            wanted = {ids[each]: steps[each].copies.get(leg.store, NOTHING) for each in sorted(gone)}
            await self._hold()
            cleared = await leg.source.clear(wanted) if wanted else frozenset()
            gone = {each for each in gone if ids[each] in cleared}
        left = {each: ids[each] for each in ids if each not in gone}
        if not left:
            return gone, set(), set()
        found, clean, redo, late = await judge(legs, left, steps)
        for leg in legs:
            wanted = {ids[each]: found[leg.store].digest(ids[each]) for each in sorted(clean)}
            await self._hold()
            cleared = await leg.source.clear(wanted) if wanted else frozenset()
            clean = {each for each in clean if ids[each] in cleared}
        return gone | clean, redo, late


def _is_part(step: Step, store: str, found: Parcel, subject: str) -> bool:
    """Whether what there is of a subject (id) is a part of a copy of ours that a crash left."""
    return step.state in BEGUN and store in step.marks and step.marked(store, found, subject)


def _but(ids: Mapping[str, str], those: Collection[str]) -> dict[str, str]:
    return {each: subject for each, subject in ids.items() if each not in those}
