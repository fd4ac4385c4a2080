"""What the tests of one policy came to in; which rules and which pairs of activity and law none of them met, out.

Counted are rules that could have spoken of some activity of the deployment on a day that the tests ask about: a rule
for state agencies, or of a decree that ended years ago, is no hole in the tests of a social network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from residency.model import Activity, FactSet, RuleRef
from residency.policy.caserun import Outcome, decided_rules
from residency.policy.compiler import Policy
from residency.policy.parsed import LawDoc, RuleDoc
from residency.policy.rulebook import Rulebook

__all__ = ["Coverage", "covered"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Rules and cells (activity, law) that could be met, and those that no test met, in the order of the laws."""

    rules: int
    unmet: tuple[RuleRef, ...]
    cells: int
    unmet_cells: tuple[tuple[str, str], ...]

    @property
    def rule_share(self) -> float:
        """The share of rules that decided some test, from 0 to 1."""
        return 1.0 if self.rules == 0 else 1 - len(self.unmet) / self.rules

    @property
    def cell_share(self) -> float:
        """The share of cells that some test met, from 0 to 1."""
        return 1.0 if self.cells == 0 else 1 - len(self.unmet_cells) / self.cells


def covered(policy: Policy, outcomes: Sequence[Outcome]) -> Coverage:
    """What these tests of one policy leave out."""
    decisions = [(o.activity, o.decision, o.case) for o in outcomes if o.decision is not None]
    days = {day for _, _, case in decisions for day in (case.now, case.requested, case.collected) if day is not None}
    book = Rulebook(policy.deployment, policy.laws)
    law_of = {rule.id: law for law, rule in book.rules}
    could: dict[str, None] = {}
    cells: dict[tuple[str, str], None] = {}
    standing = [(law, rule) for law, rule in book.rules if _stands(policy, law, rule, days)]
    for activity in policy.deployment.activities:
        bits = _speaking(policy, book, activity, days)
        for law, rule in standing:
            if bits >> book.numbers[rule.id] & 1:
                could[rule.id] = None
                cells[activity.name, law.name] = None
    met: set[str] = set()
    met_cells: set[tuple[str, str]] = set()
    for asked, decision, _ in decisions:
        seen = decided_rules(decision)
        met |= seen
        if asked is not None:
            met_cells |= {(asked.name, law_of[rule].name) for rule in seen if rule in law_of}
    unmet = (policy.rule(rule.id) for _, rule in standing if rule.id in could and rule.id not in met)
    return Coverage(
        rules=len(could),
        unmet=tuple(rule for rule in unmet if rule is not None),
        cells=len(cells),
        unmet_cells=tuple(sorted(cell for cell in cells if cell not in met_cells)),
    )


def _speaking(policy: Policy, book: Rulebook, activity: Activity, days: Iterable[int]) -> int:
    """The rules, as bits, that speak of the activity whoever asks; those about sinks, of a sink of its store."""
    up = FactSet(0, escalated=frozenset(e.id for law in book.laws for e in law.escalations))
    data = book.data(activity)
    for day in days:
        data |= book.escalated(activity, up, day)
    sinks = book.general
    for name in policy.deployment.sinks_of(activity):
        sinks |= book.about(policy.deployment.sinks[name].sink)
    return book.concerning(activity) & book.there & data & sinks


def _stands(policy: Policy, law: LawDoc, rule: RuleDoc, days: Iterable[int]) -> bool:
    """Whether a rule is there on one of the days; of data collected earlier it may speak after its end."""
    for day in days:
        begun = all(span.start is None or span.start <= day for span in (law.span, rule.span))
        there = begun if rule.clock == "collection" else law.span.holds(day) and rule.span.holds(day)
        if there and policy.deployment.mode_of(rule, day) != "off":
            return True
    return False
