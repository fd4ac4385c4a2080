"""Parsed documents in; a Policy whose `decide` is total, out.

Time is cut into slices: between two neighbouring boundaries (laws, rules, filings, stop orders) nothing changes, so a
slice holds its own tables and its own memo of decisions. When `now` leaves the slice or the facts move, a new slice
takes the old one's place in one assignment; no lock is taken, and a request that still holds the old slice decides by
what it started with. Findings get small numbers, and one packed integer names a decision:
finding, activity and the bits of the evidence that some rule mentions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final

from residency.model import (
    NEUTRAL,
    Activity,
    Decision,
    Effect,
    FactSet,
    Finding,
    Reason,
    RuleRef,
    Sink,
    SinkVerdict,
)
from residency.model.place import within
from residency.policy.activities import ActivityTable
from residency.policy.parsed import DeploymentDoc, LawDoc, RegisterDoc, RuleDoc
from residency.policy.tables import ActivityTables, anchor_tests, build_tables
from residency.policy.validator import select_laws, validate
from residency.policy.verdict import Applied, Outcome, judge, order_sinks, survivors

__all__ = ["MEMO", "Policy", "compile_policy"]

MEMO: Final = 65_536
_FOREVER: Final = 1 << 63


def compile_policy(
    deployment: DeploymentDoc,
    laws: Sequence[LawDoc],
    registers: Sequence[RegisterDoc],
    digest: str,
    *,
    base: str = ".",
    sources: tuple[tuple[str, bytes], ...] = (),
) -> Policy:
    """Compile one deployment. Of `laws` those are taken that `deployment.laws` names; `digest` names the files.

    Raises:
        PolicyError: with every problem that shows only where documents meet.
    """
    chosen = select_laws(deployment, laws)
    validate(deployment, chosen, registers)
    facts = FactSet(
        epoch=0,
        filings=tuple(f for register in registers for f in register.filings),
        stop_orders=tuple(o for register in registers for o in register.stop_orders),
    )
    return Policy(deployment, chosen, facts, digest, base, sources)


class Policy:
    """A compiled policy. Immutable but for its memo.

    `digest` names the files it came from, `sources` holds them as (name, bytes), `base` is the folder that relative
    paths of the deployment start from.
    """

    __slots__ = (
        "_bits", "_index", "_mentioned", "_refs", "_sinks", "_slice",
        "activities", "base", "deployment", "digest", "facts", "laws", "sources",
    )  # fmt: skip

    def __init__(
        self,
        deployment: DeploymentDoc,
        laws: tuple[LawDoc, ...],
        facts: FactSet,
        digest: str,
        base: str,
        sources: tuple[tuple[str, bytes], ...],
    ) -> None:
        self.deployment = deployment
        self.laws = laws
        self.facts = facts
        self.digest = digest
        self.base = base
        self.sources = sources
        self.activities = ActivityTable(deployment.activities, deployment.exempt)
        self._refs = {rule.id: ref for law in laws for rule, ref in _references(law, deployment.modes)}
        self._mentioned = frozenset(
            token for law in laws for rule in law.rules for clause in rule.duty.require for token in clause
        )
        self._bits = {token: 1 << bit for bit, token in enumerate(sorted(self._mentioned))}
        self._sinks = {
            store: tuple(deployment.sinks[name].sink for name in names) for store, names in deployment.stores.items()
        }
        # Activities are found by identity: the table hands out these very objects. 0 is the unclassified route.
        self._index = {id(activity): number for number, activity in enumerate(deployment.activities, start=1)}
        self._slice = _Slice(self, facts, 0)

    def rule(self, rule_id: str) -> RuleRef | None:
        """How a rule of this policy is cited, None where there is no such rule."""
        return self._refs.get(rule_id)

    def boundaries(self, facts: FactSet | None = None) -> tuple[int, ...]:
        """The instants (microseconds) at which a decision may change, in order."""
        return _boundaries(self.laws, self.facts if facts is None else facts)

    def decide(
        self, activity: Activity | None, finding: Finding, evidence: frozenset[str], facts: FactSet, now: int
    ) -> Decision:
        """What may happen to this person's data in this activity at `now` (microseconds). Total: it never raises."""
        now_slice = self._slice
        if not (now_slice.start <= now < now_slice.end and (facts is now_slice.facts or facts == now_slice.facts)):
            now_slice = self._slice = _Slice(self, facts, now)
        number = 0
        if activity is not None:
            known = self._index.get(id(activity))
            if known is None or self.deployment.activities[known - 1] is not activity:
                return self._foreign(now_slice, activity, finding, evidence)
            number = known
        mask = now_slice.mask
        for token in evidence:
            mask |= self._bits.get(token, 0)
        key = (now_slice.number(finding) * (len(self._index) + 1) + number) << len(self._bits) | mask
        decision = now_slice.memo.get(key)
        if decision is None:
            decision = now_slice.decide(number, finding, evidence)
            if len(now_slice.memo) >= MEMO:
                now_slice.memo.clear()
            now_slice.memo[key] = decision
        return decision

    def _foreign(self, now_slice: _Slice, activity: Activity, finding: Finding, evidence: frozenset[str]) -> Decision:
        """An activity that is not one of the table's objects: an equal one, or one made by hand for a question."""
        for number, own in enumerate(self.deployment.activities, start=1):
            if own == activity:
                return now_slice.decide(number, finding, evidence)
        return now_slice.judge(now_slice.tables_of(activity), finding, evidence)


class _Slice:
    """Everything that holds between two boundaries under one set of facts."""

    __slots__ = (
        "_by_identity", "_by_value", "_laws", "_numbers", "_policy", "_tables",
        "end", "facts", "given", "mask", "memo", "start", "stopped",
    )  # fmt: skip

    def __init__(self, policy: Policy, facts: FactSet, now: int) -> None:
        edges = _boundaries(policy.laws, facts)
        self._policy = policy
        self.facts = facts
        self.start = max((edge for edge in edges if edge <= now), default=-_FOREVER)
        self.end = min((edge for edge in edges if edge > now), default=_FOREVER)
        # Past the calendar of microseconds no boundary lies: such a `now` is the slice's own.
        if not self.start <= now < self.end:
            self.start, self.end = min(self.start, now), max(self.end, now + 1)
        self._laws = tuple(
            replace(law, rules=tuple(rule for rule in law.rules if rule.span.holds(now)))
            for law in policy.laws
            if law.span.holds(now)
        )
        self.given = facts.tokens(now) & policy._mentioned
        self.stopped = facts.stopped(now)
        self.mask = sum(policy._bits[token] for token in self.given)
        self.memo: dict[int, Decision] = {}
        self._tables: dict[int, ActivityTables] = {}
        self._by_value: dict[Finding, int] = {}
        self._by_identity: dict[int, tuple[Finding, int]] = {}
        self._numbers = count()

    def number(self, finding: Finding) -> int:
        """A small number for a finding; equal findings get the same one for as long as it is remembered."""
        held = self._by_identity.get(id(finding))
        # The entry keeps its finding alive, so an equal id is the same object.
        if held is not None and held[0] is finding:
            return held[1]
        if len(self._by_value) >= MEMO or len(self._by_identity) >= MEMO:
            self._by_value = {}
            self._by_identity = {}
        # Numbers are never given twice, not even when two threads meet here: a memo key stays unambiguous.
        number = self._by_value.setdefault(finding, next(self._numbers))
        self._by_identity[id(finding)] = (finding, number)
        return number

    def tables_of(self, activity: Activity) -> ActivityTables:
        """Fresh tables of any activity."""
        policy = self._policy
        sinks = policy._sinks.get(activity.store, ()) if activity.store is not None else ()
        return build_tables(activity, sinks, self._laws, policy._refs, policy.deployment.operator)

    def decide(self, number: int, finding: Finding, evidence: frozenset[str]) -> Decision:
        """The decision on the activity of that number, not memoised."""
        if number == 0:
            return self._unclassified(finding, evidence)
        tables = self._tables.get(number)
        if tables is None:
            tables = self._tables[number] = self.tables_of(self._policy.deployment.activities[number - 1])
        return self.judge(tables, finding, evidence)

    def judge(self, tables: ActivityTables, finding: Finding, evidence: frozenset[str]) -> Decision:
        """The decision by an activity's tables."""
        given = self.given | (evidence & self._policy._mentioned)
        jurisdictions, presumed = self.covering(finding)
        found = [law.cell(finding) for law in tables.laws]
        applying = [rule for cell in found for rule in cell.binding]
        removed = frozenset[str]().union(*(rule.overrides for rule in applying))
        binding = survivors(applying)
        activity = tables.activity
        outcome = judge(binding, given, fallback=binding)
        verdicts: list[tuple[Sink, Outcome]] = []
        for position, sink in enumerate(tables.sinks):
            about = survivors([rule for cell in found for rule in cell.per_sink[position]], removed)
            verdicts.append((sink, self._sink(sink, binding, about, given, activity, jurisdictions)))
        sinks = order_sinks(verdicts)
        final = _with_sinks(outcome, sinks)
        return Decision(
            activity=activity,
            effect=final.effect,
            mode=self._policy.deployment.mode,
            reason=final.reason,
            duty=final.duty,
            sinks=sinks,
            rules=final.rules,
            observed=tuple(ref for cell in found for ref in cell.observed),
            jurisdictions=jurisdictions,
            presumed=presumed,
            finding=finding,
            evidence=given,
            policy=self._policy.digest,
            epoch=self.facts.epoch,
            unmet=final.unmet,
        )

    def _sink(
        self,
        sink: Sink,
        binding: list[Applied],
        about: list[Applied],
        given: frozenset[str],
        activity: Activity,
        jurisdictions: tuple[str, ...],
    ) -> Outcome:
        abroad = any(not within(sink.place, place) for place in jurisdictions)
        return judge(
            [*binding, *about],
            given,
            fallback=about,
            sink=sink,
            operation=activity.operation,
            stopped=sink.name in self.stopped or ("*" in self.stopped and abroad),
        )

    def _unclassified(self, finding: Finding, evidence: frozenset[str]) -> Decision:
        jurisdictions, presumed = self.covering(finding)
        permitted = self._policy.deployment.unclassified == "permit"
        return Decision(
            activity=None,
            effect=Effect.PERMIT if permitted else Effect.DENY,
            mode=self._policy.deployment.mode,
            reason=None if permitted else Reason.UNCLASSIFIED_ROUTE,
            duty=NEUTRAL,
            sinks=(),
            rules=(),
            observed=(),
            jurisdictions=jurisdictions,
            presumed=presumed,
            finding=finding,
            evidence=self.given | (evidence & self._policy._mentioned),
            policy=self._policy.digest,
            epoch=self.facts.epoch,
        )

    def covering(self, finding: Finding) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(places whose laws in force cover the person, anchors of them that a presumption decided)."""
        places: set[str] = set()
        presumed: set[str] = set()
        for law in self._laws:
            for anchor in anchor_tests(law.rules):
                covered, by_presumption = finding.covered_how(law.jurisdiction, anchor)
                if covered:
                    places.add(law.jurisdiction)
                    if by_presumption:
                        presumed.add(f"{law.jurisdiction}:{anchor.value}")
        return tuple(sorted(places)), tuple(sorted(presumed))


def _with_sinks(outcome: Outcome, sinks: tuple[SinkVerdict, ...]) -> Outcome:
    """The activity's outcome once its store has spoken: where every sink is refused, so is the activity."""
    if outcome.effect is Effect.DENY or not sinks or sinks[0].effect is Effect.PERMIT:
        return outcome
    rules = tuple(dict.fromkeys(ref for verdict in sinks for ref in verdict.rules))
    unmet = tuple(sorted({clause for verdict in sinks for clause in verdict.unmet}, key=sorted))
    common = len({verdict.reason for verdict in sinks}) == 1
    effect, reason = (sinks[0].effect, sinks[0].reason) if common else (Effect.DENY, Reason.NO_SINK)
    return replace(outcome, effect=effect, reason=reason, rules=rules, unmet=unmet)


def _references(law: LawDoc, modes: Mapping[str, str]) -> Iterable[tuple[RuleDoc, RuleRef]]:
    for rule in law.rules:
        yield (
            rule,
            RuleRef(
                id=rule.id,
                jurisdiction=law.jurisdiction,
                instrument=law.instrument,
                article=rule.article,
                source=rule.source,
                confidence=rule.confidence,
                mode=modes.get(rule.id, rule.mode),
                text=rule.text,
                text_vi=rule.text_vi,
            ),
        )


def _boundaries(laws: Iterable[LawDoc], facts: FactSet) -> tuple[int, ...]:
    edges: set[int | None] = set()
    for law in laws:
        edges |= {law.span.start, law.span.end}
        for rule in law.rules:
            edges |= {rule.span.start, rule.span.end}
    for filing in facts.filings:
        edges |= {filing.date, filing.expires}
    for order in facts.stop_orders:
        edges |= {order.since, order.lifted}
    return tuple(sorted(edge for edge in edges if edge is not None))
