"""The times that count in; what they alone settle of a policy, whatever the facts: a window, out.

A rule's dates are read by its own clock, its mode by the clock on the wall. How a rule is cited follows from its mode,
so citations belong here too, and outlive the slices that facts cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from residency.model import RuleRef
from residency.policy.bits import chosen
from residency.policy.parsed import LawDoc, RuleDoc, Span
from residency.policy.rulebook import Rulebook

__all__ = ["Times", "Window", "edges", "reference"]

_BOUND: Final = 65_536


@dataclass(frozen=True, slots=True)
class Times:
    """The times (microseconds) that rules are read at by their clocks; `collected` None = not known."""

    now: int
    requested: int
    collected: int | None

    def by(self, clock: str) -> int:
        """The time that a clock shows; that of the evaluation where nobody knows when the data was collected."""
        at = self.now if clock == "evaluation" else self.requested if clock == "request" else self.collected
        return self.now if at is None else at


class Window:
    """The rules that are there between two boundaries, those of them that bind, and how each is cited.

    `plain` cites the rules with the modes that they have at first.
    """

    __slots__ = ("_cited", "_general", "enforced", "present", "refs")

    def __init__(self, book: Rulebook, plain: Sequence[RuleRef], times: Times) -> None:
        modes = dict(book.modes)
        words = {number: book.deployment.mode_of(book.rules[number][1], times.now) for number in book.dated}
        for number, mode in words.items():
            modes[mode] = modes.get(mode, 0) | 1 << number
        self.enforced: Final = modes.get("enforce", 0)
        self.present: Final = _in_force(book, times) & book.there & ~modes.get("off", 0)
        refs = list(plain)
        for number, mode in words.items():
            refs[number] = replace(refs[number], mode=mode)
        self.refs: Final = tuple(refs)
        self._general = book.general
        self._cited: dict[int, tuple[RuleRef, ...]] = {}

    def cite(self, rules: int, *, mixed: bool = False) -> tuple[RuleRef, ...]:
        """The citations of rules: those about the activity first, or `mixed` in the order of the laws."""
        if not rules:
            return ()
        general = rules & self._general
        if not mixed and general and general != rules:
            return self.cite(general) + self.cite(rules ^ general)
        cited = self._cited.get(rules)
        if cited is None:
            if len(self._cited) >= _BOUND:
                self._cited = {}
            cited = self._cited[rules] = tuple(chosen(self.refs, rules))
        return cited


def edges(book: Rulebook) -> Iterator[int | None]:
    """The instants (microseconds) at which time alone may change an answer; None where something is open."""
    for law in book.laws:  # a law without a rule may still have escalations
        yield from (law.span.start, law.span.end)
    for _, span, _ in book.spans:
        yield from (span.start, span.end)
    for transitions, _ in book.transitions:
        yield from (transition.until for transition in transitions)
    for number in book.dated:
        rule = book.rules[number][1]
        for at, _ in (*rule.mode_from, *book.deployment.modes_from.get(rule.id, ())):
            yield at


def _in_force(book: Rulebook, times: Times) -> int:
    found = 0
    for (law, rule, clock), bits in book.spans.items():
        at = times.by(clock)
        # The data may be of any time until now: a rule that has begun may be about it, even where it has ended.
        since = clock == "collection" and times.collected is None
        if _begun(law, at) and _begun(rule, at) if since else law.holds(at) and rule.holds(at):
            found |= bits
    return found


def _begun(span: Span, now: int) -> bool:
    return span.start is None or span.start <= now


def reference(law: LawDoc, rule: RuleDoc, mode: str) -> RuleRef:
    """How a rule is cited while its mode is `mode`."""
    return RuleRef(
        id=rule.id,
        jurisdiction=law.jurisdiction,
        instrument=law.instrument,
        article=rule.article,
        source=rule.source,
        confidence=rule.confidence,
        mode=mode,
        text=rule.text,
        text_vi=rule.text_vi,
        link=rule.link,
        fine=rule.fine,
    )
