"""A recorded decision and the policies in; whether it was rightly made, and what a candidate would decide, out.

Three questions, answered in this order and never one for another:

1. Can it be decided again? What the log does not hold is counted with its reason, and never taken for "the same".
2. Does the policy that it names decide it so? Where it does not, the record or the program is wrong.
3. Would the candidate decide it otherwise? Then in what, and by which rules.

Nothing is compared with the entry's words but the answer to 2: the candidate's decision is held against the decision
that the recorded policy gives today, field by field.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from residency.errors import PathError
from residency.model import Activity, Decision, FactSet, Finding
from residency.policy.activities import parse_template, shape
from residency.policy.compiler import Policy
from residency.policy.parsed_reading import READER
from residency.policy.recorded import Change, Recorded, When, compare, exempted, wrong

__all__ = ["Gap", "Replayed", "Replayer", "decide_again"]

_BOUND: Final = 1 << 16
# Evidence of the person. All other tokens follow from the policy, its register, the finding and the time.
_PERSONAL: Final = ("identity:", "age:", "consent:", "subject:", READER)
_TO_THE_PURPOSE: Final = "consent:{purpose}"
# Events are noted and escalations come up while requests are served; of the rest nobody tells but a register.
_REGISTERED: Final = ("filings", "stop_orders", "orders", "exemptions")


class Gap(StrEnum):
    """Why a recorded decision cannot be decided again."""

    POLICY_MISSING = "its policy is not archived"
    POLICY_UNREADABLE = "its archived policy cannot be read"
    FACTS_UNKNOWN = "the facts of its epoch are not archived"
    ACTIVITY_TWICE = "its policy gives two activities that name"
    ROUTE_NOT_RECORDED = "no activity named its route, and routes that nobody named are not recorded"
    EVIDENCE_NOT_RECORDED = "the candidate asks for evidence that was not recorded"
    COLLECTION_NOT_RECORDED = "the candidate asks more exactly when the data was collected than was recorded"


@dataclass(frozen=True, slots=True)
class Replayed:
    """The answers on one recorded decision: the gap that hinders, else the fields that its own policy gives otherwise,
    else the change. `expected` are words, what each of the wrong fields should say; `unrecorded` the tokens that a gap
    is about; `decision` is what its policy gives."""

    gap: Gap | None = None
    wrong: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    change: Change | None = None
    unrecorded: tuple[str, ...] = ()
    decision: Decision | None = None


class Replayer:
    """Decides recorded decisions again, and by a candidate where there is one.

    `policies` answers digests with policies, with None where there is none and with a text where it cannot be read;
    `facts` answers digests of facts. Both are asked once for each digest. `at` (microseconds) has the candidate decide
    as on that day instead of the instant that was recorded.
    """

    def __init__(
        self,
        policies: Callable[[str], Policy | str | None],
        facts: Callable[[str], FactSet | None],
        candidate: Policy | None = None,
        *,
        at: int | None = None,
    ) -> None:
        self._policies = policies
        self._facts = facts
        self._candidate = candidate
        self._at = at
        self._archived: dict[str, Policy | str | None] = {}
        self._sides: dict[tuple[str, str | None], _Sides | Gap] = {}
        self._known: dict[tuple[object, ...], tuple[Recorded, Replayed]] = {}

    def replay(self, recorded: Recorded, when: When) -> Replayed:
        """The answers on one decision, made on those instants; a probe where the very same `recorded` was asked about
        before and no boundary lies between."""
        sides = self._sides_of(recorded)
        if isinstance(sides, Gap):
            return Replayed(sides)
        key = (id(recorded), *sides.slices(when))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _BOUND:
                self._known.clear()
            known = self._known[key] = (recorded, sides.replay(recorded, when))  # held, so that its id stays its own
        return known[1]

    def replay_between(self, recorded: Recorded, first: When, last: When) -> Replayed | None:
        """The one answer on a decision whenever it was made from `first` to `last`, which say the same of collection;
        None where a boundary of either policy lies between."""
        sides = self._sides_of(recorded)
        if not isinstance(sides, Gap) and sides.slices(first) != sides.slices(last):
            return None
        return self.replay(recorded, first)

    def exempts(self, digest: str, route: str) -> bool | None:
        """Whether the policy of that digest lets `route` ("GET /healthz") pass undecided; None = not known."""
        policy = self._policy(digest)
        return route in {" ".join(each) for each in policy.deployment.exempt} if isinstance(policy, Policy) else None

    def registered(self, digest: str, facts: str) -> bool | None:
        """Whether the facts of that digest hold what the registers of the policy of that digest do, and nothing of the
        kinds that only a register brings; None where either is not known."""
        policy, held = self._policy(digest), self._facts(facts)
        if not isinstance(policy, Policy) or held is None:
            return None
        return all(set(getattr(policy.facts, kind)) == set(getattr(held, kind)) for kind in _REGISTERED)

    def _policy(self, digest: str) -> Policy | str | None:
        if digest not in self._archived:
            self._archived[digest] = self._policies(digest)
        return self._archived[digest]

    def _sides_of(self, recorded: Recorded) -> _Sides | Gap:
        key = (recorded.policy, recorded.facts)
        sides = self._sides.get(key)
        if sides is None:
            sides = self._sides[key] = self._open(*key)
        return sides

    def _open(self, digest: str, facts_digest: str | None) -> _Sides | Gap:
        policy = self._policy(digest)
        if policy is None:
            return Gap.POLICY_MISSING
        if isinstance(policy, str):
            return Gap.POLICY_UNREADABLE
        facts = None if facts_digest is None else self._facts(facts_digest)
        if facts is None:
            return Gap.FACTS_UNKNOWN
        return _Sides(policy, facts, self._candidate, self._at)


def decide_again(policy: Policy, recorded: Recorded, facts: FactSet, when: When) -> Decision | None:
    """The decision of `policy` on a recorded question; None where it names no such activity, or two.

    The version of a bundle is told by the record alone: archives have the digest.
    """
    activity = None
    if recorded.activity is not None:
        activity = _by_name(policy).get(recorded.activity)
        if activity is None:
            return None
    evidence = recorded.all_evidence if recorded.all_evidence is not None else _personal(recorded.evidence)
    decision = _decide(policy, activity, recorded.finding, evidence, facts, _exact(when))
    return replace(decision, policy_version=recorded.policy_version if policy.digest == recorded.policy else 0)


class _Sides:
    """One recorded policy under one set of facts, and the candidate beside it."""

    def __init__(self, policy: Policy, facts: FactSet, candidate: Policy | None, at: int | None) -> None:
        self._before = policy
        self._facts = facts
        self._edges = policy.boundaries(facts)
        self._named = _by_name(policy)
        self._after = candidate
        self._at = at
        if candidate is None:
            return
        self._new_facts = _facts_for(candidate, policy, facts)
        self._new_edges = candidate.boundaries(self._new_facts)
        self._counterpart: dict[str, tuple[Activity | None, str | None]] = {}
        self._same_routes = _routes(policy) == _routes(candidate)
        self._unrecorded = _asked(candidate) - _asked(policy)

    def slices(self, when: When) -> tuple[object, ...]:
        """Which slices of time these instants lie in, on both sides."""
        now, requested, collected, exactly = when
        times = (now, now if requested is None else requested)
        own = [bisect_right(self._edges, at) for at in times]
        since = None if exactly is None else bisect_right(self._before.collection_edges, exactly)
        if self._after is None:
            return (collected, since, *own)
        new = [bisect_right(self._new_edges, at) for at in (times if self._at is None else (self._at, self._at))]
        return (
            collected, since, *own, *new,
            None if exactly is None else bisect_right(self._after.collection_edges, exactly),
        )  # fmt: skip

    def replay(self, recorded: Recorded, when: When) -> Replayed:
        """As `Replayer.replay`, computed."""
        activity = None
        if recorded.activity is not None:
            if recorded.activity not in self._named:
                return Replayed(wrong=("activity",), expected=("one of the policy's",))
            activity = self._named[recorded.activity]
            if activity is None:
                return Replayed(Gap.ACTIVITY_TWICE)
        given = _personal(recorded.evidence)
        before = _decide(self._before, activity, recorded.finding, given, self._facts, _exact(when))
        if recorded.sink is not None and before.sink(recorded.sink) is None:
            sinks = " or ".join(verdict.sink.name for verdict in before.sinks)
            return Replayed(wrong=("sink",), expected=(sinks or "null",), decision=before)
        found = wrong(recorded, before)
        collected = self._before.collected_since(_exact(when).collected)
        if collected != when.collected:
            found["collected"] = collected
        strategy = self._before.deployment.signals.client_address.strategy
        if recorded.done is not None and recorded.done[1] != strategy:
            found["strategy"] = strategy
        if found or self._after is None:
            return Replayed(wrong=tuple(found), expected=tuple(map(_words, found.values())), decision=before)
        return self._compared(self._after, recorded, when, given, before)

    def _compared(
        self, candidate: Policy, recorded: Recorded, when: When, given: frozenset[str], before: Decision
    ) -> Replayed:
        if recorded.activity is None or before.activity is None:
            if not self._same_routes:
                return Replayed(Gap.ROUTE_NOT_RECORDED, decision=before)
            counterpart: Activity | None = None
        else:
            found = self._counterpart.get(recorded.activity)
            if found is None:
                found = self._counterpart[recorded.activity] = _counterpart(candidate, before.activity)
            counterpart, exempt = found
            if exempt is not None:
                return Replayed(change=exempted(before, recorded.sink), decision=before)
        at = self._as_of(candidate, when)
        if at is None:
            return Replayed(Gap.COLLECTION_NOT_RECORDED, decision=before)

        def by(evidence: frozenset[str]) -> Change | None:
            after = _decide(candidate, counterpart, recorded.finding, evidence, self._new_facts, at)
            return compare(before, after, recorded.sink)

        unknown = self._unrecorded if recorded.all_evidence is None else frozenset[str]()
        change = by(given | (recorded.all_evidence or frozenset()))
        # More evidence never refuses more, so where all of it and none of it come to the same, so does what there was.
        if unknown and by(given | unknown) != change:
            return Replayed(Gap.EVIDENCE_NOT_RECORDED, unrecorded=tuple(sorted(unknown)), decision=before)
        return Replayed(change=change, decision=before)

    def _as_of(self, candidate: Policy, when: When) -> When | None:
        """The instants that the candidate decides on; None where what was recorded of one does not settle it."""
        now, requested = (when.now, when.requested) if self._at is None else (self._at, None)
        edges = candidate.collection_edges
        if when.collected is None or when.exactly is not None or not edges:
            return When(now, requested, when.collected if when.exactly is None else when.exactly)
        # Recorded is a span of time, from one edge of the recorded policy to the next.
        own = self._before.collection_edges
        at = bisect_right(own, when.collected)
        first = bisect_right(edges, own[at - 1]) if at else 0
        last = bisect_left(edges, own[at]) if at < len(own) else len(edges)
        return When(now, requested, edges[first - 1] if first else edges[0] - 1) if first == last else None


def _facts_for(candidate: Policy, policy: Policy, then: FactSet) -> FactSet:
    """The facts that a candidate decides on: its own register, and what had come up beside the recorded policy's (stop
    orders, first events of terms, escalations). A register that was not changed leaves the facts as they were."""
    old, new = replace(policy.facts, epoch=0), replace(candidate.facts, epoch=0)
    if old == new:
        return then
    came_up: dict[str, Any] = {}
    for name in (each.name for each in fields(FactSet) if each.name != "epoch"):
        was, is_now, brought = getattr(old, name), getattr(then, name), getattr(new, name)
        added = [each for each in is_now if each not in was and each not in brought]
        came_up[name] = frozenset((*brought, *added)) if isinstance(brought, frozenset) else (*brought, *added)
    return FactSet(then.epoch, **came_up)


def _decide(
    policy: Policy, activity: Activity | None, finding: Finding, evidence: frozenset[str], facts: FactSet, when: When
) -> Decision:
    deployment = policy.deployment
    finding = replace(finding, presume=deployment.presume, conflicts_presumed=deployment.conflicts_presumed)
    return policy.decide(activity, finding, evidence, facts, when.now, when.requested, when.collected)


def _exact(when: When) -> When:
    """The same with the exact time of collection, where it is known."""
    return When(when.now, when.requested, when.collected if when.exactly is None else when.exactly)


def _words(value: object) -> str:
    """What an entry should say, as it would be written but for the quotes."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "null" if value is None else str(value)


def _personal(evidence: Iterable[str]) -> frozenset[str]:
    return frozenset(token for token in evidence if token.startswith(_PERSONAL))


def _by_name(policy: Policy) -> dict[str, Activity | None]:
    """The activities by the names that entries call them; None for a name that two of them have."""
    named: dict[str, Activity | None] = {}
    for activity in policy.deployment.activities:
        named[activity.name] = None if activity.name in named else activity
    return named


def _routes(policy: Policy) -> frozenset[tuple[object, ...]]:
    """Which requests are named at all; what their parameters are called says nothing of that."""
    deployment = policy.deployment
    taken = [(a.method, shape(parse_template(a.path)), a.raw_paths) for a in deployment.activities]
    return frozenset([*taken, *((method, shape(parse_template(path))) for method, path in deployment.exempt)])


def _asked(policy: Policy) -> frozenset[str]:
    """Every token of a person's evidence that some rule asks for."""
    rules = [rule for law in policy.laws for rule in law.rules]
    asked = {token for rule in rules for clause in (*rule.duty.require, rule.unless) for token in clause}
    if _TO_THE_PURPOSE in asked:
        asked |= {f"consent:{activity.purpose}" for activity in policy.deployment.activities if activity.purpose}
        asked.discard(_TO_THE_PURPOSE)
    return _personal(asked)


def _counterpart(candidate: Policy, activity: Activity) -> tuple[Activity | None, str | None]:
    """(the candidate's activity for the requests of `activity`, the exempt route that takes them instead)."""
    for own in candidate.deployment.activities:
        if (own.method, own.path) == (activity.method, activity.path):
            return own, None
    # A parameter stands for any segment, so any segment stands for it.
    sample = "/".join("x" if part.startswith("{") else part for part in activity.path.split("/"))
    try:
        match = candidate.activities.match(activity.method, sample, None)
    except PathError:
        return None, None
    return match.activity, match.exempt
