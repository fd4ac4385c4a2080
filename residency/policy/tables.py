"""Rules, activities and one slice of time in; for each activity the partial tables that say which rules apply, out.

What an activity and the operator fix is decided when the table is made; what remains open per (activity, law) is
whether the law's place covers the person under each anchor that its rules test. Those bits index the table, whose
cells are filled on first use: a full product over all laws would have millions of cells an activity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from residency.model import Activity, Anchor, Finding, Operator, RuleRef, Sink
from residency.model.data import expand
from residency.model.place import within
from residency.policy.parsed import LawDoc, OperatorTest, RuleDoc, SinkTest
from residency.policy.verdict import Applied

__all__ = ["MAX_CELLS", "ActivityTables", "Cell", "LawTable", "anchor_tests", "build_tables", "cells", "concerns"]

MAX_CELLS: Final = 4096


@dataclass(frozen=True, slots=True)
class Cell:
    """The rules that apply under one answer to all tests: binding, binding per sink (by position), only observed."""

    binding: tuple[Applied, ...]
    per_sink: tuple[tuple[Applied, ...], ...]
    observed: tuple[RuleRef, ...]


@dataclass(slots=True)
class LawTable:
    """One law's partial table for one activity. `tests` are the anchors asked; bit i of an index answers test i."""

    place: str
    tests: tuple[Anchor, ...]
    rules: tuple[_Row, ...]
    sinks: int
    filled: dict[int, Cell] = field(default_factory=dict)

    def cell(self, finding: Finding) -> Cell:
        """The cell of a finding."""
        index = 0
        for bit, anchor in enumerate(self.tests):
            if finding.covered(self.place, anchor):
                index |= 1 << bit
        cell = self.filled.get(index)
        if cell is None:
            cell = self.filled[index] = self._fill(index)
        return cell

    def _fill(self, index: int) -> Cell:
        rows = [row for row in self.rules if row.tests & index]
        binding = [row for row in rows if row.applied.ref.mode == "enforce"]
        return Cell(
            tuple(row.applied for row in binding if row.sinks is None),
            tuple(
                tuple(row.applied for row in binding if row.sinks is not None and position in row.sinks)
                for position in range(self.sinks)
            ),
            # A rule about sinks spoke only if it is about a sink that could be used here.
            tuple(row.applied.ref for row in rows if row.applied.ref.mode != "enforce" and row.sinks != frozenset()),
        )


@dataclass(frozen=True, slots=True)
class _Row:
    """A rule that an activity can meet: the bits of which one must be set, and the sinks it is about (None = all)."""

    applied: Applied
    tests: int
    sinks: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class ActivityTables:
    """All tables of one activity, in the order of the laws."""

    activity: Activity
    sinks: tuple[Sink, ...]
    laws: tuple[LawTable, ...]


def build_tables(
    activity: Activity, sinks: Sequence[Sink], laws: Sequence[LawDoc], refs: dict[str, RuleRef], operator: Operator
) -> ActivityTables:
    """The tables of one activity under `laws`, which hold only what is in force."""
    tables = []
    for law in laws:
        rules = [rule for rule in law.rules if concerns(rule, activity, operator)]
        if not rules:
            continue
        tests = anchor_tests(rules)
        rows = tuple(
            _Row(
                Applied(refs[rule.id], rule.duty, rule.overrides),
                sum(1 << tests.index(anchor) for anchor in rule.anchors),
                None
                if rule.sink is None
                else frozenset(i for i, s in enumerate(sinks) if _about(rule.sink, s, law.jurisdiction)),
            )
            for rule in rules
        )
        tables.append(LawTable(law.jurisdiction, tests, rows, len(sinks)))
    return ActivityTables(activity, tuple(sinks), tuple(tables))


def anchor_tests(rules: Iterable[RuleDoc]) -> tuple[Anchor, ...]:
    """The anchors that the rules ask about, in the order of the enumeration."""
    asked = frozenset[Anchor]().union(*(rule.anchors for rule in rules))
    return tuple(anchor for anchor in Anchor if anchor in asked)


def cells(activity: Activity, laws: Iterable[LawDoc], operator: Operator) -> dict[str, int]:
    """How many cells each law's table for this activity may have, dates left aside."""
    counts = {}
    for law in laws:
        rules = [rule for rule in law.rules if concerns(rule, activity, operator)]
        if rules:
            counts[law.name] = 1 << len(anchor_tests(rules))
    return counts


def concerns(rule: RuleDoc, activity: Activity, operator: Operator) -> bool:
    """Whether a rule speaks of this activity and this operator at all."""
    return (
        (rule.data is None or bool(rule.data & expand(activity.data)))
        and (rule.operations is None or activity.operation in rule.operations)
        and _matches(rule.operator, operator)
    )


def _matches(test: OperatorTest, operator: Operator) -> bool:
    def established(places: frozenset[str]) -> bool:
        return any(within(e, p) for e in operator.established_in for p in places)

    return (
        (test.established_in is None or established(test.established_in))
        and (test.not_established_in is None or not established(test.not_established_in))
        and (test.role is None or bool(test.role & operator.roles))
        and (test.service_line is None or bool(test.service_line & operator.service_lines))
        and (test.public_body is None or test.public_body == operator.public_body)
    )


def _about(test: SinkTest, sink: Sink, place: str) -> bool:
    match test.kind:
        case "abroad":
            return not within(sink.place, place)
        case "provider_abroad":
            return not within(sink.provider, place)
        case _:
            return within(sink.place, test.place)
