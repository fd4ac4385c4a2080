"""Shapes and values of a log's entries in, in its order; their decisions made again and counted, out.

What an entry tells of its decision is its shape, but for two instants. A policy decides alike between two boundaries of
time, so all entries of one shape whose instants lie between the same boundaries are decided again by deciding one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from residency.audit.continuity import TOLERANCE, Odd, Oddity
from residency.audit.entry import Entry
from residency.audit.entry_reader import Shape, Values
from residency.audit.recall import Beside, Recall
from residency.errors import EntryError, VerificationError
from residency.policy.recorded import Recorded, When
from residency.policy.replay import Gap, Replayed, Replayer

__all__ = ["Redecide"]

_TOGETHER: Final = 1 << 14  # entries, before they are decided
_SHOWN: Final = 20
_DAY: Final = 86_400_000_000
_Group = list[tuple[int, Values]]


class Redecide:
    """Feed it every bundle with `take`, then call `finish`. Memory is bounded."""

    def __init__(self, replayer: Replayer) -> None:
        self._replayer = replayer
        self._recall = Recall()
        self._groups: dict[tuple[Shape, bytes], _Group] = {}
        self._waiting = 0
        self.right = 0
        """Decisions that came out as recorded."""
        self.wrongs = 0
        self.wrong: list[tuple[int, tuple[str, ...]]] = []
        """(number in the log, fields) of the first decisions that did not."""
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
    def replayed(self) -> int:
        """Decisions that could be made again."""
        return self.right + self.wrongs

    def take(self, start: int, shapes: Sequence[Shape], values: Sequence[Values]) -> None:
        """Take in the next entries, of which the first is number `start` of the log. Raises: VerificationError."""
        groups = self._groups
        for index, shape, held in zip(count(start), shapes, values):
            if shape.kind == "system":
                # From here on this slot may mean other facts by an epoch.
                self._decide()
                entry = shape.build(held)
                self._recalled(entry, index)
                if entry.facts is not None and self._differs(self._replayer.registered, entry.policy, entry.facts):
                    self.unregistered.add(Odd(index, entry.id, 0))
                self.beside[Beside.SYSTEM] += 1
                continue
            key = shape, held[shape.at_own].partition(b".")[0]
            group = groups.get(key)
            if group is None:
                group = groups[key] = []
            group.append((index, held))
        self._waiting += len(shapes)
        if self._waiting >= _TOGETHER:
            self._decide()

    def finish(self) -> None:
        """Say that the log ends here. Raises: VerificationError."""
        self._decide()

    def _decide(self) -> None:
        for (shape, _), group in self._groups.items():
            index, held = group[0]
            entry = shape.build(held)
            taken = self._recalled(entry, index)
            if isinstance(taken, Beside):
                self.beside[taken] += len(group)
                if taken is Beside.UNDECIDED or (
                    taken is Beside.EXEMPT and self._differs(self._replayer.exempts, entry.policy, entry.activity or "")
                ):
                    for number, values in group:
                        self.undecided.add(Odd(number, values[shape.at_own].decode(), 0))
                continue
            recorded, when = taken
            self._compare_times(shape, group)
            answer = self._replayer.replay_between(recorded, *_ends(shape, group, when))
            if answer is not None:
                self._tell(answer, group)
                continue
            for each in group:
                at = _ends(shape, [each], when)[0]
                self._tell(self._replayer.replay(recorded, at), [each])
        self._groups.clear()
        self._waiting = 0

    def _differs(self, ask: Callable[[str, str], bool | None], policy: str | None, of: str) -> bool:
        known = self._seen.get((policy, of))
        if known is None:
            if len(self._seen) >= _TOGETHER:
                self._seen.clear()
            known = self._seen[policy, of] = policy is not None and ask(policy, of) is False
        return known

    def _compare_times(self, shape: Shape, group: _Group) -> None:
        """An act is decided as it begins. What is told at a request's end may have been decided at its beginning."""
        before = TOLERANCE if shape.kind == "intent" else _DAY
        place = shape.names.index("decided")
        at = [held[0] for _, held in group]
        decided = [held[place] for _, held in group]
        if int(max(at)) - int(min(decided)) <= before and int(max(decided)) - int(min(at)) <= TOLERANCE:
            return
        for index, held in group:
            late = int(held[0]) - int(held[place])
            if late > before or -late > TOLERANCE:
                self.apart.add(Odd(index, held[shape.at_own].decode(), abs(late)))

    def _recalled(self, entry: Entry, index: int) -> tuple[Recorded, When] | Beside:
        try:
            return self._recall.take(entry)
        except EntryError as error:
            raise VerificationError(f"entry {index}: {error}") from None

    def _tell(self, answer: Replayed, group: _Group) -> None:
        if answer.gap is not None:
            self.gaps[answer.gap] += len(group)
        elif answer.wrong:
            self.wrongs += len(group)
            self.wrong = sorted([*self.wrong, *((index, answer.wrong) for index, _ in group)])[:_SHOWN]
        else:
            self.right += len(group)


def _ends(shape: Shape, group: _Group, when: When) -> tuple[When, When]:
    """The earliest and the latest instants of a group, of which `when` is one."""
    # The reader's shapes have times of one length, which sort as text; an entry of another time is a shape of its own.
    decided = [held[shape.names.index("decided")] for _, held in group]
    first, last = int(min(decided)), int(max(decided))
    if when.requested is None:
        return When(first, None, when.collected), When(last, None, when.collected)
    asked = [held[shape.names.index("requested")] for _, held in group]
    return When(first, int(min(asked)), when.collected), When(last, int(max(asked)), when.collected)
