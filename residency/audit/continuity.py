"""Shapes and values of a log's entries in, in its order; contradictions, open intents and what is odd of its time out.

Two kinds of answers. What *contradicts* is refused: per worker slot the numbers run from 0 without a gap, an outcome
names an intent of the log and tells of the same act, and each intent has at most one. What is *odd* is told: a clock
that went backwards within a slot, a long silence, times that cannot be, an act that began long ago and has no outcome.
A log can be odd and honest.

The rules on numbers and pairs are those of `audit.pairs`, asked of a bundle at once; a property holds the two together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, count, repeat
from operator import lt, ne
from typing import Final

from residency.audit.entry import Entry, parse_entry_id
from residency.audit.entry_reader import Shape, Values
from residency.audit.pairs import must_be_one_act
from residency.errors import EntryError, VerificationError

__all__ = ["TOLERANCE", "Continuity", "Odd", "Oddity"]

TOLERANCE: Final = 60_000_000
"""Microseconds that clocks of two machines may differ, and that an act may take, before anybody is told."""
_WAITING_LIMIT: Final = 10_000
_SHOWN: Final = 20
_SHAPES: Final = 4096
_ID: Final = b"%d.%d".__mod__


@dataclass(frozen=True, slots=True)
class Odd:
    """One odd thing: the number of the entry that shows it, that entry's id, and by how many microseconds."""

    index: int
    id: str
    by: int


class Oddity:
    """All odd things of one kind: how many, the largest, and the first of them one by one."""

    __slots__ = ("count", "first", "largest")

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Odd] = []
        self.largest: Odd | None = None

    def add(self, odd: Odd) -> None:
        """Take in one more."""
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(odd)
        if self.largest is None or odd.by > self.largest.by:
            self.largest = odd


class _Slot:
    """One worker slot: the number that must come next, and the time of its newest entry."""

    __slots__ = ("following", "last", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.following = 0
        self.last: int | None = None


class Continuity:
    """Feed it every bundle with `take`, then call `finish`. Memory grows with open intents and slots only.

    `now` and `max_gap` are microseconds: entries later than `now` (and the tolerance) are odd, and so is a time of more
    than `max_gap` in which no slot recorded anything.
    """

    def __init__(self, now: int, max_gap: int) -> None:
        self._ahead = now + TOLERANCE
        self._max_gap = max_gap
        self._slots: dict[int, _Slot] = {}
        self._open: dict[bytes, tuple[int, Shape, Values]] = {}
        # Slots are integrated one after the other, so an outcome from another slot may come before its intent.
        self._early: dict[bytes, tuple[int, Shape, Values]] = {}
        self._one_act: set[tuple[Shape, Shape]] = set()
        self._shapes: Counter[Shape] = Counter()
        self._kinds: Counter[str] = Counter()
        self.first: int | None = None
        """The time of entry 0."""
        self.newest: int | None = None
        """The latest time of an entry."""
        self.steps_back = Oddity()
        """Times that lie before that of the entry before them in the same slot."""
        self.gaps = Oddity()
        self.ahead = Oddity()
        """Entries of a time that has not come yet."""
        self.before_first = Oddity()
        """Entries of a time before the log's first entry."""

    @property
    def open(self) -> tuple[tuple[int, Entry], ...]:
        """(index, intent) of every intent without an outcome so far, in log order."""
        return tuple((index, shape.build(values)) for index, shape, values in self._open.values())

    @property
    def kinds(self) -> Counter[str]:
        """Entries by their kind."""
        for shape, number in self._shapes.items():
            self._kinds[shape.kind] += number
        self._shapes.clear()
        return self._kinds

    def take(self, start: int, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        """Take in the next entries, of which the first is number `start` of the log. Raises: VerificationError."""
        if not shapes:
            return
        self._shapes.update(shapes)
        if len(self._shapes) > _SHAPES:
            self._kinds = self.kinds
        ats = [int(held[0]) for held in values]
        owns = [held[shape.at_own] for shape, held in zip(shapes, values, strict=True)]
        self._take_numbers(start, owns, ats)
        self._take_times(start, owns, ats)
        intents, early = self._open, self._early
        for index, own, shape, held in zip(count(start), owns, shapes, values):
            if shape.at_of:
                begun = intents.pop(held[shape.at_of], None)
                if begun is None:
                    self._await(held[shape.at_of], index, shape, held)
                elif (begun[1], shape) not in self._one_act:
                    self._must_be_one_act(begun, (index, shape, held))
            elif shape.begins:
                if early and own in early:
                    self._must_be_one_act((index, shape, held), early.pop(own))
                else:
                    intents[own] = index, shape, held

    def _take_numbers(self, start: int, owns: list[bytes], ats: list[int]) -> None:
        """Ask of each run of entries of one slot that its numbers go on, and its times."""
        first = 0
        while first < len(owns):
            slot = self._slot_of(owns[first], start + first)
            due = map(_ID, zip(repeat(slot.number), count(slot.following)))
            after = first + next(compress(count(), map(ne, owns[first:], due)), len(owns) - first)
            slot.following += after - first
            run = ats[first:after]
            if (slot.last is not None and run[0] < slot.last) or any(map(lt, run[1:], run)):
                self._count_back(start + first, owns[first:after], run, slot.last)
            slot.last = run[-1]
            first = after

    def _take_times(self, start: int, owns: list[bytes], ats: list[int]) -> None:
        """Look for times that are odd, in one go where none is."""
        if self.first is None or self.newest is None:
            self.first = self.newest = ats[0]
        latest = max(ats)
        if latest > self.newest + self._max_gap or latest > self._ahead or min(ats) < self.first - TOLERANCE:
            self._count_odd(start, owns, ats, self.first, self.newest)
        self.newest = max(latest, self.newest)

    def finish(self) -> None:
        """Say that the log ends here. Raises: VerificationError where an outcome has no intent of its own."""
        for of, (index, _, _) in self._early.items():
            raise VerificationError(
                f"entry {index} is an outcome of {of.decode('latin-1')}, which has one already or is no intent"
            )

    def _slot_of(self, own: bytes, index: int) -> _Slot:
        try:
            number, seq = parse_entry_id(own.decode("latin-1"))
        except EntryError as error:
            raise VerificationError(f"entry {index}: {error}") from None
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot(number)
        if seq != slot.following:
            raise VerificationError(f"entry {index} is {own.decode()}, where {number}.{slot.following} was to come")
        return slot

    def _must_be_one_act(self, intent: tuple[int, Shape, Values], outcome: tuple[int, Shape, Values]) -> None:
        must_be_one_act(intent[1].build(intent[2]), outcome[1].build(outcome[2]), outcome[0])
        if len(self._one_act) >= _SHAPES:
            self._one_act.clear()
        self._one_act.add((intent[1], outcome[1]))

    def _await(self, of: bytes, index: int, shape: Shape, values: Values) -> None:
        try:
            parse_entry_id(of.decode("latin-1"))
        except EntryError as error:
            raise VerificationError(f"entry {index}: {error}") from None
        if of in self._early or len(self._early) >= _WAITING_LIMIT:
            raise VerificationError(f"entry {index} is an outcome of {of.decode()}, which has one or is no intent")
        self._early[of] = index, shape, values

    def _count_back(self, start: int, owns: list[bytes], run: list[int], last: int | None) -> None:
        for index, own, at in zip(count(start), owns, run):
            if last is not None and at < last:
                self.steps_back.add(Odd(index, own.decode(), last - at))
            last = at

    def _count_odd(self, start: int, owns: list[bytes], ats: list[int], first: int, newest: int) -> None:
        for index, own, at in zip(count(start), owns, ats):
            if at > newest:
                if at > newest + self._max_gap:
                    self.gaps.add(Odd(index, own.decode(), at - newest))
                newest = at
            elif at < first - TOLERANCE:
                self.before_first.add(Odd(index, own.decode(), first - at))
            if at > self._ahead:
                self.ahead.add(Odd(index, own.decode(), at - self._ahead + TOLERANCE))
