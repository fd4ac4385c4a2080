"""Shapes and values of a log's entries in, in its order; contradictions, open intents and what is odd of its time out.

Two kinds of answers. What *contradicts* is refused: per worker slot the numbers run from 0 without a gap, an outcome
names an intent of the log and tells of the same act, and each intent has at most one. What is *odd* is told: a clock
that went backwards within a slot, a long silence, times that cannot be, an act that began long ago and has no outcome.
A log can be odd and honest.

The rules on numbers and pairs are those of `audit.pairs`, asked of a bundle at once; a property holds the two together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, repeat
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
    """One worker slot: the id that must come next, those after it, and the time of its newest entry."""

    __slots__ = ("due", "ids", "last")

    def __init__(self, number: int) -> None:
        self.ids: Iterator[bytes] = map(b"%d.%d".__mod__, zip(repeat(number), count()))
        self.due = next(self.ids)
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
        if self.first is None or self.newest is None:
            self.first = self.newest = int(values[0][0])
        self._shapes.update(shapes)
        if len(self._shapes) > _SHAPES:
            self._kinds = self.kinds
        intents, early = self._open, self._early
        newest, gap_at = self.newest, self.newest + self._max_gap
        earliest = self.first - TOLERANCE
        slot = _NO_SLOT
        for index, shape, held in zip(count(start), shapes, values):
            own = held[shape.at_own]
            if own != slot.due:
                slot = self._slot_of(own, index)
            slot.due = next(slot.ids)
            at = int(held[0])
            if slot.last is not None and at < slot.last:
                self.steps_back.add(Odd(index, own.decode(), slot.last - at))
            slot.last = at
            if at > newest:
                if at > gap_at:
                    self.gaps.add(Odd(index, own.decode(), at - newest))
                newest, gap_at = at, at + self._max_gap
            elif at < earliest:
                self.before_first.add(Odd(index, own.decode(), self.first - at))
            if shape.at_of:
                of = held[shape.at_of]
                begun = intents.pop(of, None)
                if begun is None:
                    self._await(of, index, shape, held)
                elif (begun[1], shape) not in self._one_act:
                    self._must_be_one_act(begun, (index, shape, held))
            elif shape.kind == "intent":
                if early and own in early:
                    self._must_be_one_act((index, shape, held), early.pop(own))
                else:
                    intents[own] = index, shape, held
        self.newest = newest
        if newest > self._ahead:
            self._count_ahead(start, shapes, values)

    def finish(self) -> None:
        """Say that the log ends here. Raises: VerificationError where an outcome has no intent of its own."""
        for of, (index, _, _) in self._early.items():
            raise VerificationError(
                f"entry {index} is an outcome of {of.decode('latin-1')}, which has one already or is no intent"
            )

    def _slot_of(self, own: bytes, index: int) -> _Slot:
        try:
            number, _ = parse_entry_id(own.decode("latin-1"))
        except EntryError as error:
            raise VerificationError(f"entry {index}: {error}") from None
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot(number)
        if own != slot.due:
            raise VerificationError(f"entry {index} is {own.decode()}, where {slot.due.decode()} was to come")
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

    def _count_ahead(self, start: int, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        for index, shape, held in zip(count(start), shapes, values):
            at = int(held[0])
            if at > self._ahead:
                self.ahead.add(Odd(index, held[shape.at_own].decode(), at - self._ahead + TOLERANCE))


_NO_SLOT: Final = _Slot(0)
_NO_SLOT.due = b""
