"""What was decided before: a question's very objects in, the decision remembered for them out.

`Era` is the time under one set of facts, `Here` one slice of it. Findings are known by identity first and by value
second, so that equal ones share a `Known`; under that lie the evidence and the activity. All of it is bounded: past
`MEMO` entries a slice forgets everything and begins anew.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from residency.model import Decision, FactSet, Finding
from residency.policy.compiled import Compiled
from residency.policy.slices import Covering, Slice, Times

__all__ = ["MEMO", "Era", "Here", "Known"]

MEMO: Final = 65_536
_SLICES: Final = 64
_FOREVER: Final = 1 << 63


class Known:
    """What is known of one finding: what it comes to, and the decisions by evidence and activity's name."""

    __slots__ = ("by_evidence", "by_given", "covering", "held")

    def __init__(self, covering: Covering) -> None:
        self.covering: Final = covering
        self.by_evidence: dict[frozenset[str], dict[str | None, Decision]] = {}
        self.by_given: dict[int, Decision] = {}
        # The objects that this is known by: held, so that their ids stay their own.
        self.held: list[Finding] = []


class Here:
    """One slice: from `start` until just before `end` (microseconds)."""

    __slots__ = ("_compiled", "_left", "_values", "end", "facts", "known", "slice", "start")

    def __init__(self, compiled: Compiled, facts: FactSet, start: int, end: int, times: Times) -> None:
        self._compiled = compiled
        self.start: Final = start
        self.end: Final = end
        self.facts = facts
        self.slice: Final = Slice(compiled, facts, times)
        self._forget()

    def _forget(self) -> None:
        self._left = MEMO
        self._values: dict[Finding, Known] = {}
        self.known: dict[int, Known] = {}

    def of(self, finding: Finding) -> Known:
        """What is known of a finding, by its value; from now on by this object too."""
        known = self._values.get(finding)
        if known is None:
            known = self._values.setdefault(finding, Known(self.slice.covering(finding)))
        if id(finding) not in self.known:
            self._left -= 1
            if self._left <= 0:
                self._forget()
            known.held.append(finding)
            self.known[id(finding)] = known
        return known

    def decide(self, known: Known, number: int, finding: Finding, evidence: frozenset[str]) -> Decision:
        """The decision on the deployment's activity of that number, or where it is 0 on a route that none names."""
        row = self._compiled.row(number) if number else None
        said = self._compiled.tokens.said(evidence, "" if row is None else row.purpose)
        key = said * (len(self._compiled.deployment.activities) + 1) + number
        decision = known.by_given.get(key)
        if decision is None:
            if row is None:
                decision = self.slice.unclassified(known.covering, finding, evidence)
            else:
                decision = self.slice.decide(row, known.covering, finding, evidence)
            self._left -= 2
            if self._left <= 0:
                self._forget()
            known.by_given[key] = decision
        named = known.by_evidence.get(evidence)
        if named is None:
            self._left -= 1
            named = known.by_evidence[evidence] = {}
        named[None if row is None else row.activity.name] = decision
        return decision


class Era:
    """The time under one set of facts, cut at its boundaries."""

    __slots__ = ("_compiled", "_edges", "_slices", "facts")

    def __init__(self, compiled: Compiled, facts: FactSet) -> None:
        self._compiled = compiled
        self._edges = compiled.boundaries(facts)
        self._slices: dict[tuple[int, int, int], Here] = {}
        self.facts: Final = facts

    def at(self, now: int, requested: int, collected: int | None) -> Here:
        """The slice in which these times (microseconds) lie."""
        edges = self._edges
        at = bisect_right(edges, now)
        key = at, bisect_right(edges, requested), -1 if collected is None else bisect_right(edges, collected)
        here = self._slices.get(key)
        if here is None:
            if len(self._slices) >= _SLICES:
                self._slices = {}
            # Past all boundaries, and before them, a slice has no end: it takes in any `now` however far.
            start = edges[at - 1] if at else min(now, -_FOREVER)
            end = edges[at] if at < len(edges) else max(now + 1, _FOREVER)
            here = Here(self._compiled, self.facts, start, end, Times(now, requested, collected))
            self._slices[key] = here
        return here
