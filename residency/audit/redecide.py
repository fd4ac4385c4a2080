"""Shapes and values of a log's entries in, in its order; their decisions made again and counted, out.

What an entry tells of its decision is its shape, but for two instants. A policy decides alike between two boundaries of
time, so all entries of one shape whose instants lie between the same boundaries are decided again by deciding one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, NamedTuple

from residency.audit.continuity import TOLERANCE, Odd, Oddity
from residency.audit.entry import Entry
from residency.audit.entry_reader import Shape, Values
from residency.audit.recall import Beside, Recall
from residency.errors import EntryError, VerificationError
from residency.policy.recorded import Recorded, When
from residency.policy.replay import Gap, Replayed, Replayer

__all__ = ["Redecide", "Wrong"]

_TOGETHER: Final = 1 << 14  # entries, before they are decided
_SHOWN: Final = 20
_DAY: Final = 86_400_000_000
_Group = list[tuple[int, Values]]


class Wrong(NamedTuple):
    """A decision that its policy does not give: its number in the log, the fields, and what each should say."""

    number: int
    fields: tuple[str, ...]
    expected: tuple[str, ...]


class Redecide:
    """Feed it every bundle with `take`, then call `finish`. Memory is bounded."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer
        self._recall = Recall()
        # What waits to be decided: entries in parts as they came, and what is asked of all of them together.
        self._parts: list[tuple[int, Sequence[Shape], Sequence[Values]]] = []
        self._counts: Counter[Shape] = Counter()
        self._slots: set[bytes] = set()
        self._decided: list[int] = []
        self._requested: list[int] = []
        self._known: dict[tuple[Shape, str | None], Recorded | Beside] = {}
        self.right = 0
        """Decisions that came out as recorded."""
        self.wrongs = 0
        self.wrong: list[Wrong] = []
        """The first decisions that did not."""
        self.gaps: Counter[Gap] = Counter()
        self.beside: Counter[str] = Counter()
        """Entries that tell of no decision, by what they are."""
        self.apart = Oddity()
        """Decisions on another time than they were recorded at: what was in force then may not have been in force."""
        self.undecided = Oddity()
        """Acts, permits and passes of routes that are not exempt, with no decision behind them."""
        self.unregistered = Oddity()
        """Facts that are not those of the registers of the policy that they came with."""
        self._seen: dict[tuple[str | None, str | None], bool] = {}  # (policy, facts or exempt route), and what of it

    @property
    def decisions(self) -> int:
        """Recorded decisions of policies, replayed or not."""
        return self.right + self.wrongs + sum(self.gaps.values())

    @property
    def nothing_known(self) -> bool:
        """Whether there are decisions, and the policy of none of them is archived."""
        return 0 < self.decisions == self.gaps[Gap.POLICY_MISSING]

    @property
    def replayed(self) -> int:
        """Decisions that could be made again."""
        return self.right + self.wrongs

    def take(self, start: int, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        """Take in the next entries, of which the first is number `start` of the log. Raises: VerificationError."""
        first = 0
        for at in [at for at, shape in enumerate(shapes) if shape.kind == "system"]:
            self._add(start + first, shapes[first:at], values[first:at])
            # From here on this slot may mean other facts by an epoch.
            self._decide()
            self._take_system(start + at, shapes[at].build(values[at]))
            first = at + 1
        self._add(start + first, shapes[first:], values[first:])
        if self._counts.total() >= _TOGETHER:
            self._decide()

    def finish(self) -> None:
        """Say that the log ends here. Raises: VerificationError."""
        self._decide()

    def _add(self, start: int, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        """Keep these until they are decided, and what is asked of all of them together."""
        if not shapes:
            return
        self._parts.append((start, shapes, values))
        self._counts.update(shapes)
        self._slots.update([held[shape.at_own].partition(b".")[0] for shape, held in zip(shapes, values, strict=True)])
        asked = [held[shape.at_requested] for shape, held in zip(shapes, values, strict=True) if shape.at_requested]
        self._requested.extend(_span(list(map(int, asked))))
        decided = _span([int(held[1]) for shape, held in zip(shapes, values, strict=True) if shape.decides])
        self._decided.extend(decided)
        if not decided:
            return
        first, last = _span([int(held[0]) for shape, held in zip(shapes, values, strict=True) if shape.decides])
        if last - decided[0] > TOLERANCE or decided[1] - first > TOLERANCE:
            self._compare_times(start, shapes, values)

    def _take_system(self, index: int, entry: Entry) -> None:
        self._recalled(entry, index)
        if entry.facts is not None and self._differs(self._replayer.registered, entry.policy, entry.facts):
            self.unregistered.add(Odd(index, entry.id, 0))
        self.beside[Beside.SYSTEM] += 1

    def _decide(self) -> None:
        """Decide what waits: a shape at once where all of its entries come out alike and well, else part by part."""
        slots = [int(slot) for slot in self._slots]
        apart = {shape for shape, number in self._counts.items() if not self._all_alike(shape, number, slots)}
        if apart:
            groups: dict[tuple[Shape, bytes], _Group] = {}
            for start, shapes, values in self._parts:
                for index, shape, held in zip(count(start), shapes, values):
                    if shape in apart:
                        groups.setdefault((shape, held[shape.at_own].partition(b".")[0]), []).append((index, held))
            for (shape, _), group in groups.items():
                self._decide_group(shape, group)
        self._parts.clear()
        self._counts.clear()
        self._slots.clear()
        self._decided.clear()
        self._requested.clear()

    def _all_alike(self, shape: Shape, number: int, slots: Sequence[int]) -> bool:
        """Count all entries of this shape that wait, where they need not be looked at one by one: whichever of these
        slots each is of, and whenever between the first and the last that wait it was decided."""
        answers = set()
        for facts in {self._recall.facts(slot, shape.entry.epoch) for slot in slots}:
            taken = self._known.get((shape, facts))
            if taken is None:
                if len(self._known) >= _TOGETHER:
                    self._known.clear()
                try:
                    taken = self._known[shape, facts] = self._recall.read(shape.entry, facts)
                except EntryError:
                    return False  # and is told with its number then
            if isinstance(taken, Beside):
                if taken is Beside.UNDECIDED or (taken is Beside.EXEMPT and self._unexempt(shape.entry)):
                    return False
                self.beside[taken] += number
                return True
            (now, until), (asked, asked_until) = _span(self._decided), _span(self._requested) or (None, None)
            if not shape.at_requested:
                asked = asked_until = None
            collected = shape.entry.collected
            first, last = When(now, asked, collected), When(until, asked_until, collected)
            answer = self._replayer.replay_between(taken, first, last)
            if answer is None or answer.wrong:
                return False
            answers.add(answer.gap)
        if len(answers) != 1:
            return False
        self._tell(Replayed(gap=answers.pop()), number)
        return True

    def _differs(self, ask: Callable[[str, str], bool | None], policy: str | None, of: str) -> bool:
        known = self._seen.get((policy, of))
        if known is None:
            if len(self._seen) >= _TOGETHER:
                self._seen.clear()
            known = self._seen[policy, of] = policy is not None and ask(policy, of) is False
        return known

    def _decide_group(self, shape: Shape, group: _Group) -> None:
        index, held = group[0]
        entry = shape.build(held)
        taken = self._recalled(entry, index)
        if isinstance(taken, Beside):
            self.beside[taken] += len(group)
            if taken is Beside.UNDECIDED or (taken is Beside.EXEMPT and self._unexempt(entry)):
                for number, values in group:
                    self.undecided.add(Odd(number, values[shape.at_own].decode(), 0))
            return
        recorded, when = taken
        answer = self._replayer.replay_between(recorded, *_ends(shape, group, when))
        if answer is not None:
            self._tell(answer, len(group), group)
            return
        for each in group:
            at = _ends(shape, [each], when)[0]
            self._tell(self._replayer.replay(recorded, at), 1, [each])

    def _unexempt(self, entry: Entry) -> bool:
        return self._differs(self._replayer.exempts, entry.policy, entry.activity or "")

    def _compare_times(self, start: int, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        """An act is decided as it begins. What is told at a request's end may have been decided at its beginning."""
        for index, shape, held in zip(count(start), shapes, values):
            if shape.decides:
                late = int(held[0]) - int(held[1])
                if late > (TOLERANCE if shape.begins else _DAY) or -late > TOLERANCE:
                    self.apart.add(Odd(index, held[shape.at_own].decode(), abs(late)))

    def _recalled(self, entry: Entry, index: int) -> tuple[Recorded, When] | Beside:
        try:
            return self._recall.take(entry)
        except EntryError as error:
            raise VerificationError(f"entry {index}: {error}") from None

    def _tell(self, answer: Replayed, number: int, group: _Group | None = None) -> None:
        if answer.gap is not None:
            self.gaps[answer.gap] += number
        elif answer.wrong:
            self.wrongs += number
            told = [Wrong(index, answer.wrong, answer.expected) for index, _ in group or ()]
            self.wrong = sorted([*self.wrong, *told])[:_SHOWN]
        else:
            self.right += number


def _span(times: Sequence[int]) -> tuple[int, ...]:
    """The first and the last of these instants; nothing where there is none."""
    return (min(times), max(times)) if times else ()


def _ends(shape: Shape, group: _Group, when: When) -> tuple[When, When]:
    """The earliest and the latest instants of a group, of which `when` is one."""
    # The reader's shapes have times of one length, which sort as text; an entry of another time is a shape of its own.
    decided = [held[1] for _, held in group]
    first, last = int(min(decided)), int(max(decided))
    if when.requested is None:
        return When(first, None, when.collected), When(last, None, when.collected)
    asked = [held[shape.at_requested] for _, held in group]
    return When(first, int(min(asked)), when.collected), When(last, int(max(asked)), when.collected)
