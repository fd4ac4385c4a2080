"""An invariant and one policy in; for each activity that is meant, the people and proofs to go through, out.

Which evidence and which raised classes of data have to be tried in every way, and which settle themselves because they
can only tighten, is said here; which people, in `prove_people`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from residency.model import Activity, Effect, Finding
from residency.model.data import expand
from residency.model.place import within
from residency.policy.bits import bits_of
from residency.policy.compiler import Policy
from residency.policy.parsed import Must, RuleDoc
from residency.policy.prove_conditions import (
    about_activity,
    about_sink,
    categories,
    detected_by,
    jurisdictions_of,
    of_sinks,
)
from residency.policy.prove_people import People, Watch
from residency.policy.rulebook import Rulebook

__all__ = ["Plan", "Plans"]

_RAISED: Final = 64
_KINDS: Final = ("identity:", "age:", "consent:", "subject:")
"""What a person may prove. The rest is of the operator, the activity, the sink or the time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is gone through for one activity: people with what they prove, and what may be raised."""

    activity: Activity
    questions: tuple[tuple[Finding, frozenset[str]], ...]
    raised: tuple[frozenset[str], ...]


class Plans:
    """What is to be gone through for the invariants of one policy, at `instants` (microseconds)."""

    def __init__(self, policy: Policy, instants: Sequence[int], bound: int) -> None:
        self._policy = policy
        self._instants = instants
        self._bound = bound
        self._people = People(policy.deployment, policy.laws)
        self._book = Rulebook(policy.deployment, policy.laws)
        enforced = [
            number
            for number, (_, rule) in enumerate(self._book.rules)
            if any(policy.deployment.mode_of(rule, at) == "enforce" for at in self._instants)
        ]
        self._enforced = bits_of(enforced)
        self._asked = frozenset(
            token
            for _, rule in self._book.rules
            for clause in (*rule.duty.require, rule.unless)
            for token in clause
            if token.startswith(_KINDS)
        )
        self._watching: dict[tuple[str, str | None], Watch] = {}

    def of(self, must: Must) -> tuple[list[Plan], str]:
        """(the plans of the activities that are meant, why not all could be planned)."""
        deployment = self._policy.deployment
        plans: list[Plan] = []
        for activity in deployment.activities:
            names = deployment.sinks_of(activity)
            if not names and of_sinks(must):
                continue
            if names and not any(about_sink(must, deployment.sinks[name].sink) for name in names):
                continue
            questions: dict[tuple[Finding, frozenset[str]], None] = {}
            places = jurisdictions_of(must, self._people.places)
            watches = [self._watch(activity, place) for place in ((None,) if places is None else places)]
            raised = self._raised(must, activity, watches)
            if raised is None:
                return [], f"the escalations that activity `{activity.name}` meets are too many to go through"
            for watch in watches if raised else ():
                people = self._people.under(watch)
                if isinstance(people, int):
                    return [], f"{people} kinds of people meet in activity `{activity.name}`, too many to go through"
                proofs = self._evidence(activity, watch)
                if len(people) * len(proofs) > self._bound:
                    return [], f"{len(people) * len(proofs)} combinations, over the bound of {self._bound}"
                questions.update(dict.fromkeys((person, evidence) for person in people for evidence in proofs))
            if questions:
                plans.append(Plan(activity, tuple(questions), raised))
        return plans, ""

    def _watch(self, activity: Activity, place: str | None) -> Watch:
        """The place, and the rules whose speaking may take a tightening rule of a watched place away."""
        if place is None:
            return Watch(None)
        watch = self._watching.get((activity.name, place))
        if watch is not None:
            return watch
        book = self._book
        data = book.data(activity)
        for law in self._policy.laws:
            if law.escalations:  # of its jurisdiction any rule may come to be about the activity
                data |= book.of_place(law.jurisdiction)
        may = book.concerning(activity) & book.there & data & self._enforced
        watched = {place}
        overriding: set[str] = set()
        while True:
            watched |= {p for p in self._people.places if any(within(w, p) for w in watched)}
            watched |= self._open_with(watched)
            more = {}
            for law, rule in book.rules:
                if not rule.overrides or rule.id in overriding or not may >> book.numbers[rule.id] & 1:
                    continue
                targets = [book.rules[book.numbers[name]] for name in rule.overrides if name in book.numbers]
                if any(
                    may >> book.numbers[target.id] & 1 and of.jurisdiction in watched and _tightens(target)
                    for of, target in targets
                ):
                    more[rule.id] = (law, rule)
            if not more:
                break
            overriding |= more.keys()
            watched |= {law.jurisdiction for law, _ in more.values()}
            watched |= {
                token.rpartition(".")[2] for _, rule in more.values() for token in rule.unless if token[:6] == "known:"
            } & self._people.places
        watch = self._watching[activity.name, place] = Watch(place, tuple(sorted(overriding)))
        return watch

    def _open_with(self, watched: set[str]) -> set[str]:
        """Places whose rules hold, too, of whom a rule of a watched place holds though that place does not cover them.

        A rule that only trust of so much takes a person out of holds of everybody who is known by less, be they covered
        or not. By less, nobody is taken out of another place's rule that asks for as much or more.
        """
        lifted = [
            (law.jurisdiction, rule.excluded_by) for law, rule in self._book.rules if rule.excluded_by is not None
        ]
        least = min((trust for place, trust in lifted if place in watched), default=None)
        return set() if least is None else {place for place, trust in lifted if trust >= least}

    def _evidence(self, activity: Activity, watch: Watch) -> list[frozenset[str]]:
        """What a person may prove: everything, but each way of what lifts an overriding rule."""
        lifting = [self._book.rules[self._book.numbers[name]][1].unless for name in watch.overriding]
        both = _own(frozenset(t for unless in lifting for t in unless if t.startswith(_KINDS)), activity)
        always = _own(self._asked, activity) - both
        if 1 << len(both) > self._bound:
            return [always] * (self._bound + 1)
        return [always.union(some) for size in range(len(both), -1, -1) for some in combinations(sorted(both), size)]

    def _raised(self, must: Must, activity: Activity, watches: Sequence[Watch]) -> tuple[frozenset[str], ...] | None:
        """Which escalations may be up, as far as it matters; None = too many."""
        laws = self._policy.laws
        # Escalations to one class for one place do the same: together, they are up wherever one of them is.
        alike: dict[tuple[str, str], set[str]] = {}
        for law in laws:
            there = expand(activity.data | detected_by(law, activity))
            for escalation in law.escalations:
                if not escalation.data.isdisjoint(there):
                    alike.setdefault((law.jurisdiction, escalation.becomes), set()).add(escalation.id)
        groups = [frozenset(ids) for _, ids in sorted(alike.items())]
        nothing = frozenset[str]()
        if not any(watch.overriding for watch in watches):
            # More of them only tighten, but one may make the data what the invariant is about.
            tried = [nothing] if self._about(must, activity, nothing) else groups
        elif 1 << len(groups) > _RAISED:
            return None
        else:
            tried = [nothing.union(*some) for size in range(len(groups) + 1) for some in combinations(groups, size)]
        return tuple(raised for raised in tried if self._about(must, activity, raised))

    def _about(self, must: Must, activity: Activity, raised: frozenset[str]) -> bool:
        """Whether the activity is meant at some time while these escalations are up."""
        return any(
            about_activity(must, activity, categories(self._policy.laws, activity, raised, at))
            for at in (self._instants if raised else self._instants[:1])
        )


def _tightens(rule: RuleDoc) -> bool:
    """Whether a rule can refuse anything, alone or with others."""
    duty = rule.duty
    return (
        bool(duty.copies or duty.first_write or duty.only is not None or duty.require or duty.protect)
        or duty.effect is not Effect.PERMIT
    )


def _own(tokens: frozenset[str], activity: Activity) -> frozenset[str]:
    """Tokens as the activity has them: `consent:{purpose}` is the consent to what it states, and else to nothing."""
    purpose = set() if activity.purpose is None else {f"consent:{activity.purpose}"}
    return tokens - {"consent:{purpose}"} | purpose if "consent:{purpose}" in tokens else tokens
