"""A policy in; for each of its invariants (`must:`) whether it holds from now on, with the case where it does not, out.

What is gone through: every slice of time from now on, every class of data that its number of subjects may raise, each
activity that is meant, the people of `prove_people`, and what they may prove. All else is settled by the direction in
which it works, for duties only tighten: evidence that no overriding rule is lifted by is given; terms that may still
run do; of the laws only those cover that must. An act is permitted where the decision permits the activity and, where
it has a store, the sink. Every refutation is a decision of the policy itself.

What a proof leans on: the register as it stands (filings, exemptions, orders), and that nobody but the register gives
`filing:`, `contract:` and `portal:`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from residency.model import Activity, Decision, Effect, FactSet, Finding, Sink
from residency.policy.compiler import Policy
from residency.policy.parsed import Must, Source
from residency.policy.prove_conditions import (
    about_activity,
    about_person,
    about_sink,
    categories,
    of_sinks,
)
from residency.policy.prove_plan import Plans

__all__ = ["BOUND", "Case", "Proof", "prove"]

BOUND: Final = 400_000
"""Decisions that are gone through for one invariant at most."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question that is permitted and must not be. `at` in microseconds; `sink` None = the activity itself.

    `escalated`, `requested` and `collected` (microseconds) are as in `Policy.decide`, and usually empty.
    """

    activity: Activity
    sink: Sink | None
    finding: Finding
    evidence: frozenset[str]
    at: int
    escalated: frozenset[str] = frozenset()
    requested: int | None = None
    collected: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What became of one invariant, which `source` has at `must.path`.

    `holds` None = not proved, `why` says so in words. `cases` are the decisions that were made; `counter` and the
    `others` (one for each further activity) permit what must not be. `rules` are those that refused, most often first;
    `meant` are the decisions that the invariant was about: 0 = it holds because nothing is meant.
    """

    must: Must
    source: Source
    holds: bool | None
    cases: int
    meant: int
    rules: tuple[str, ...] = ()
    counter: Case | None = None
    others: tuple[Case, ...] = ()
    why: str = ""


def prove(
    policy: Policy, now: int, *, bound: int = BOUND, progress: Callable[[str], None] | None = None
) -> tuple[Proof, ...]:
    """Prove or refute every invariant of the deployment and its laws, from `now` (microseconds) on.

    `progress` is called with what is being proved.
    """
    prover = _Prover(policy, now, bound)
    found = []
    for must, source in _musts(policy):
        if progress is not None:
            progress(f"proving {must.id}")
        found.append(prover.prove(must, source))
    return tuple(found)


def _musts(policy: Policy) -> Iterator[tuple[Must, Source]]:
    for must in policy.deployment.must:
        yield must, policy.deployment.source
    for law in policy.laws:
        for must in law.must:
            yield must, law.source


class _Prover:
    def __init__(self, policy: Policy, now: int, bound: int) -> None:
        self._policy = policy
        self._bound = bound
        self._instants = (now, *(edge for edge in policy.boundaries() if edge > now))
        self._requested = _readings(policy, "request")
        self._collected = _readings(policy, "collection")
        self._plans = Plans(policy, self._instants, bound)

    def prove(self, must: Must, source: Source) -> Proof:
        """One invariant."""
        plans, why = self._plans.of(must)
        times = sum(len(self._times(at)) for at in self._instants)
        count = times * sum(len(plan.questions) * len(plan.raised) for plan in plans)
        if why or count > self._bound:
            why = why or f"{count} combinations, over the bound of {self._bound}"
            return Proof(must, source, None, 0, 0, why=why)
        found: dict[str, Case] = {}
        rules: Counter[str] = Counter()
        cases = meant = 0
        facts = self._policy.facts
        # Facts outermost, then time: a slice is built once for all that is asked of it.
        for raised in sorted({r for plan in plans for r in plan.raised}, key=lambda r: (len(r), sorted(r))):
            here = facts if not raised else replace(facts, escalated=facts.escalated | raised)
            for at in self._instants:
                of_now = [p for p in plans if raised in p.raised and p.activity.name not in found]
                for requested, collected in self._times(at) if of_now else ():
                    for plan in of_now:
                        if plan.activity.name in found or not self._means(must, plan.activity, here, at):
                            continue
                        for finding, evidence in plan.questions:
                            decision = self._policy.table(here, at, requested, collected).decide(
                                plan.activity, finding, evidence
                            )
                            cases += 1
                            if not about_person(must, decision.jurisdictions):
                                continue
                            meant += 1
                            permitted = _permitted(must, decision, rules)
                            if permitted is not None:
                                case = Case(
                                    plan.activity, *permitted, finding, evidence, at, raised, requested, collected
                                )
                                found[plan.activity.name] = self._plainest(must, case)
                                break
        counter, *others = found.values() or [None]
        holds: bool | None = counter is None
        if holds and self._policy.deployment.unclassified == "permit" and not of_sinks(must):
            holds, why = None, "`unclassified: permit` lets through what no activity names, and nothing decides on it"
        deciding = tuple(name for name, _ in rules.most_common())
        return Proof(must, source, holds, cases, meant, deciding, counter, tuple(o for o in others if o), why)

    def _means(self, must: Must, activity: Activity, facts: FactSet, at: int) -> bool:
        return about_activity(must, activity, categories(self._policy.laws, activity, facts.escalated, at))

    def _times(self, at: int) -> list[tuple[int | None, int | None]]:
        return [
            (requested, collected)
            for requested in (None, *(r for r in self._requested if r <= at))
            for collected in (None, *(c for c in self._collected if c <= at))
        ]

    def _plainest(self, must: Must, case: Case) -> Case:
        """The case without the evidence that it does not need."""
        facts = replace(self._policy.facts, escalated=self._policy.facts.escalated | case.escalated)
        table = self._policy.table(
            facts if case.escalated else self._policy.facts, case.at, case.requested, case.collected
        )
        for token in sorted(case.evidence):
            evidence = case.evidence - {token}
            decision = table.decide(case.activity, case.finding, evidence)
            if about_person(must, decision.jurisdictions) and _permits(decision, case.sink):
                case = replace(case, evidence=evidence)
        return case


def _permits(decision: Decision, sink: Sink | None) -> bool:
    if decision.effect is not Effect.PERMIT or sink is None:
        return decision.effect is Effect.PERMIT
    verdict = decision.sink(sink.name)
    return verdict is not None and verdict.effect is Effect.PERMIT


def _permitted(must: Must, decision: Decision, rules: Counter[str]) -> tuple[Sink | None] | None:
    """The sink at which the decision permits what must not be, (None,) where there is none to ask; None = nowhere.

    `rules` counts those that refuse.
    """
    if not decision.sinks:
        if decision.effect is Effect.PERMIT:
            return (None,)
        rules.update(rule.id for rule in decision.rules)
        return None
    for verdict in decision.sinks:
        if about_sink(must, verdict.sink):
            if decision.effect is Effect.PERMIT and verdict.effect is Effect.PERMIT:
                return (verdict.sink,)
            refusing = verdict if verdict.effect is not Effect.PERMIT else decision
            rules.update(rule.id for rule in refusing.rules)
    if decision.effect is Effect.PERMIT and not of_sinks(must):
        return (None,)  # it goes on without its cache
    return None


def _readings(policy: Policy, clock: str) -> tuple[int, ...]:
    """The times (microseconds) to try for a clock: one in each stretch between the dates of the rules read by it."""
    edges: set[int] = set()
    for law in policy.laws:
        for rule in law.rules:
            if rule.clock == clock:
                for span in (law.span, rule.span):
                    edges |= {edge for edge in (span.start, span.end) if edge is not None}
                edges |= {transition.until for transition in rule.transitions}
    return tuple(sorted({min(edges) - 1, *edges})) if edges else ()
