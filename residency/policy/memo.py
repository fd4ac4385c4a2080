"""What was decided before: a question's very objects in, the decision remembered for them out.

`Era` is the time under one set of facts, `Table` one slice of it. Findings are known by identity first and by value
second, so that equal ones share a `Known`; under that lie the evidence and the activity. All of it is bounded: past
`MEMO` entries a slice forgets everything and begins anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from residency.model import Activity, Decision, FactSet, Finding
from residency.policy.compiled import Compiled, Covering
from residency.policy.parsed_reading import readers_of
from residency.policy.slices import Slice
from residency.policy.windows import Times

__all__ = ["MEMO", "Era", "Known", "Table"]

MEMO: Final = 65_536
_TABLES: Final = 64
_FOREVER: Final = 1 << 255


class Known:
    """What is known of one finding: what it comes to, and the decisions by evidence and activity's name."""

    __slots__ = ("by_evidence", "by_given", "covering", "held")

    def __init__(self, covering: Covering) -> None:
        self.covering: Final = covering
        self.by_evidence: dict[frozenset[str], dict[str | None, Decision]] = {}
        self.by_given: dict[object, Decision] = {}
        # The objects that this is known by: held, so that their ids stay their own.
        self.held: list[Finding] = []


class Table:
    """The decisions of one slice: from `start` until just before `end` (microseconds) under one set of facts."""

    __slots__ = ("_compiled", "_index", "_left", "_values", "end", "facts", "known", "slice", "start")

    def __init__(
        self, compiled: Compiled, index: Mapping[int, int], facts: FactSet, start: int, end: int, times: Times
    ) -> None:
        self._compiled = compiled
        self._index = index
        self.start: Final = start
        self.end: Final = end
        self.facts: Final = facts
        self.slice: Final = Slice(compiled, facts, times)
        self._forget()

    def _forget(self) -> None:
        self._left = MEMO
        self._values: dict[Finding, Known] = {}
        self.known: dict[int, Known] = {}

    def decide(self, activity: Activity | None, finding: Finding, evidence: frozenset[str]) -> Decision:
        """The decision on an activity, None = a route that nobody named."""
        try:
            decision = self.known[id(finding)].by_evidence[evidence][None if activity is None else activity.name]
        except KeyError:
            pass
        else:
            if decision.activity is activity:
                return decision
        return self.look(activity, finding, evidence)

    def look(self, activity: Activity | None, finding: Finding, evidence: frozenset[str]) -> Decision:
        """As `decide`, for what is not known by these very objects; from now on it is."""
        known = self._of(finding)
        number = 0
        if activity is not None:
            own = self._compiled.deployment.activities
            number = self._index.get(id(activity), 0)
            if number == 0 or own[number - 1] is not activity:
                number = next((n for n, equal in enumerate(own, start=1) if equal == activity), 0)
                if number == 0:
                    return self.slice.decide(self._compiled.row_of(0, activity), known.covering, finding, evidence)
        return self._answer(known, number, finding, evidence)

    def _of(self, finding: Finding) -> Known:
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

    def _answer(self, known: Known, number: int, finding: Finding, evidence: frozenset[str]) -> Decision:
        row = self._compiled.row(number) if number else None
        said = self._compiled.tokens.said(evidence, None if row is None else row.purpose)
        # Evidence that differs in what no rule mentions is one question.
        key: object = said * (len(self._compiled.deployment.activities) + 1) + number
        read = readers_of(evidence)
        if read:
            key = (key, read)
        decision = known.by_given.get(key)
        if decision is None:
            if row is None:
                decision = self.slice.unclassified(known.covering, finding, evidence)
            else:
                decision = self.slice.decide(row, known.covering, finding, evidence)
            self._left -= 1
            known.by_given[key] = decision
        self._left -= 1
        if self._left <= 0:
            self._forget()
        known.by_evidence.setdefault(evidence, {})[None if row is None else row.activity.name] = decision
        return decision


class Era:
    """The time under one set of facts, cut at its boundaries."""

    __slots__ = ("_compiled", "_edges", "_index", "_tables", "facts")

    def __init__(self, compiled: Compiled, index: Mapping[int, int], facts: FactSet) -> None:
        self._compiled = compiled
        self._index = index
        self._edges = compiled.boundaries(facts)
        self._tables: dict[tuple[int, int, int], Table] = {}
        self.facts: Final = facts

    def at(self, now: int, requested: int, collected: int | None) -> Table:
        """The slice in which these times (microseconds) lie."""
        edges = self._edges
        at = bisect_right(edges, now)
        key = at, bisect_right(edges, requested), -1 if collected is None else bisect_right(edges, collected)
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= _TABLES:
                self._tables = {}
            # Past all boundaries, and before them, a slice has no end: it takes in any `now` however far.
            start = edges[at - 1] if at else min(now, -_FOREVER)
            end = edges[at] if at < len(edges) else max(now + 1, _FOREVER)
            table = Table(self._compiled, self._index, self.facts, start, end, Times(now, requested, collected))
            self._tables[key] = table
        return table
