"""Cases of policy tests and the policy they are about in; what each was decided and where that is not as expected, out.

Pure: what lies outside of a policy (what the network says of an address, the sink that an act would use) is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from residency.errors import PathError, PolicyError, Problem
from residency.jurisdiction.resolve import resolve
from residency.model import (
    Activity,
    Clause,
    Clock,
    Deadline,
    Decision,
    Duty,
    Effect,
    FactSet,
    Protection,
    Reason,
    Retention,
    RuleRef,
    Signal,
    SinkVerdict,
    Term,
)
from residency.policy.casefile import Case, CaseFile, Expected, Some
from residency.policy.compiler import Policy
from residency.policy.problems import nearest
from residency.signals.identity import OWN_NAMES, identity

__all__ = ["Failure", "Outcome", "check_names", "cited", "decided_rules", "run_case"]

_DUTY: Final = "duties."
_CLOCK: Final = "clock:"
_RULES: Final = ("rules", "observed", "outranked", "exempted")


@dataclass(frozen=True, slots=True)
class Failure:
    """One expectation that does not hold, in words; `rules` are those that explain it."""

    what: str
    expected: str
    got: str
    rules: tuple[RuleRef, ...] = ()

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one case came to. `decision` is None where none was made: an exempt route, or a path that reads two ways."""

    case: Case
    activity: Activity | None
    decision: Decision | None
    failures: tuple[Failure, ...]

    @property
    def holds(self) -> bool:
        """Whether all is as expected."""
        return not self.failures


def check_names(file: CaseFile, policy: Policy) -> None:
    """Check what the cases call by name: activities, sinks, rules, escalations.

    Raises:
        PolicyError: with every name that the policy does not know, for what is misspelt could never fail.
    """
    rules = [rule.id for law in policy.laws for rule in law.rules]
    sinks = list(policy.deployment.sinks)
    problems: list[Problem] = []
    for case in file.cases:
        known: list[tuple[str, Iterable[str], list[str], tuple[str | int, ...]]] = [
            ("activity", [case.activity] if case.activity else [], [a.name for a in policy.deployment.activities], ()),
            ("escalation", case.facts.escalated, [e.id for law in policy.laws for e in law.escalations], ()),
            ("rule", (r for e in case.facts.exemptions for r in e.rules), rules, ("exemptions",)),
            ("sink", _sinks(case), sinks, ()),
            ("sink", [case.expect.first] if case.expect.first else [], sinks, ("expect", "first")),
            ("sink", case.expect.refused, sinks, ("expect", "refused")),
        ]
        for name, some in case.expect.several.items():
            if name in _RULES:
                known.append(("rule", some.named, rules, ("expect", name)))
            elif name == "permitted":
                known.append(("sink", some.named, sinks, ("expect", name)))
        for name, refused in case.expect.refused.items():
            if refused.rules is not None:
                known.append(("rule", refused.rules.named, rules, ("expect", "refused", name)))
        for what, words, there, path in known:
            problems += [
                file.source.problem((*case.path, *path), f"unknown {what} `{word}`{nearest(word, there)}")
                for word in sorted(words)
                if word not in there
            ]
    if problems:
        raise PolicyError(tuple(problems))


def _sinks(case: Case) -> Iterator[str]:
    for filing in case.facts.filings:
        yield from filing.sinks or ()
    for exemption in case.facts.exemptions:
        yield from exemption.sinks or ()
    yield from (stop.sink for stop in case.facts.stop_orders if stop.sink != "*")


def run_case(
    case: Case,
    policy: Policy,
    network: Callable[[str], tuple[Signal, ...]],
    goes_to: Callable[[Decision], str | None],
) -> Outcome:
    """Decide one case and judge it. `network` tells what an address says, `goes_to` the sink that a first act uses."""
    activity = None
    if case.route is not None:
        try:
            match = policy.activities.match(*case.route)
        except PathError:
            return Outcome(case, None, None, tuple(_plain(case.expect, "deny", Reason.PATH_AMBIGUOUS.value)))
        if match.exempt:
            return Outcome(case, None, None, tuple(_plain(case.expect, "exempt", None)))
        activity = match.activity
    else:
        activity = next(a for a in policy.deployment.activities if a.name == case.activity)
    said = identity(case.claims, OWN_NAMES, verified=case.verified, source="test")
    signals = (*case.signals, *said.signals, *(() if case.address is None else network(case.address)))
    deployment = policy.deployment
    finding = resolve(signals, None, deployment.presume, conflicts_presumed=deployment.conflicts_presumed)
    facts = case.facts if case.alone else _beside(policy.facts, case.facts)
    decision = policy.decide(
        activity, finding, case.evidence | said.evidence, facts, case.now, case.requested, case.collected
    )
    return Outcome(case, activity, decision, tuple(_judged(case.expect, decision, policy, goes_to)))


def cited(decision: Decision) -> tuple[RuleRef, ...]:
    """The rules that decided, each once: of the activity; where it is permitted, also those at its sinks."""
    at_sinks = decision.sinks if decision.effect is Effect.PERMIT else ()
    found = (*decision.rules, *(rule for verdict in at_sinks for rule in verdict.rules))
    return tuple({rule.id: rule for rule in found}.values())


def decided_rules(decision: Decision) -> frozenset[str]:
    """Ids of the rules that a test has seen at work: decided, or spoke in a mode that does not bind."""
    return frozenset(rule.id for rule in (*cited(decision), *decision.observed))


def _beside(own: FactSet, more: FactSet) -> FactSet:
    return FactSet(
        own.epoch,
        own.filings + more.filings,
        own.stop_orders + more.stop_orders,
        own.orders + more.orders,
        own.exemptions + more.exemptions,
        own.events + more.events,
        own.escalated | more.escalated,
    )


def _plain(expect: Expected, effect: str, reason: str | None) -> Iterator[Failure]:
    """How a request is judged that no rule was asked about."""
    if expect.effect is not None and expect.effect != effect:
        yield Failure("effect", expect.effect, effect)
    if expect.reason is not None and expect.reason != reason:
        yield Failure("reason", expect.reason, reason or "none")
    for name in (*expect.several, *expect.refused, *(["first"] if expect.first is not None else [])):
        yield Failure(name, "a decision", f"none: the request is {reason or effect} before any rule")


def _judged(
    expect: Expected, decision: Decision, policy: Policy, goes_to: Callable[[Decision], str | None]
) -> Iterator[Failure]:
    reason = None if decision.reason is None else decision.reason.value
    if expect.effect is not None and expect.effect != decision.effect.word:
        why = decision.effect.word if reason is None else f"{decision.effect.word} ({reason})"
        yield Failure("effect", expect.effect, why, decision.rules if reason is not None else ())
    if expect.reason is not None and expect.reason != reason:
        yield Failure("reason", expect.reason, reason or "none", decision.rules if reason is not None else ())
    if expect.first is not None and (got := goes_to(decision)) != expect.first:
        verdict = decision.sink(expect.first)
        yield Failure("first", expect.first, got or "no sink", () if verdict is None else verdict.rules)
    for name, refused in expect.refused.items():
        verdict = decision.sink(name)
        if verdict is None:
            yield Failure(f"refused.{name}", "a refusal", "no verdict: the activity's store has no such sink")
        elif verdict.effect is Effect.PERMIT:
            yield Failure(f"refused.{name}", refused.reason or "a refusal", "permit", verdict.rules)
        else:
            why = "none" if verdict.reason is None else verdict.reason.value
            if refused.reason is not None and refused.reason != why:
                yield Failure(f"refused.{name}.reason", refused.reason, why, verdict.rules)
            ids = {rule.id for rule in verdict.rules}
            yield from _compared(f"refused.{name}.rules", refused.rules, ids, policy)
            yield from _compared(f"refused.{name}.unmet", refused.unmet, _clauses(verdict.unmet), None)
    found = dict(_several(decision))
    for name, some in expect.several.items():
        yield from _compared(name, some, found[name], policy if name in _RULES else None, decision.sinks)


def _several(decision: Decision) -> Iterator[tuple[str, set[str]]]:
    yield "permitted", {verdict.sink.name for verdict in decision.sinks if verdict.effect is Effect.PERMIT}
    yield "rules", {rule.id for rule in cited(decision)}
    for name in ("observed", "outranked", "exempted"):
        yield name, {rule.id for rule in getattr(decision, name)}
    yield "exemptions", {*decision.exemptions, *(n for verdict in decision.sinks for n in verdict.exemptions)}
    clocks = (*decision.clocks, *(clock for verdict in decision.sinks for clock in verdict.clocks))
    yield "clocks", {_clock(clock) for clock in clocks}
    yield "unmet", _clauses(decision.unmet)
    yield "jurisdictions", set(decision.jurisdictions)
    yield "presumed", set(decision.presumed)
    yield from ((f"{_DUTY}{slot}", words) for slot, words in duty_words(decision.duty).items())


def duty_words(duty: Duty) -> dict[str, set[str]]:
    """The slots of a duty in the words that tests use."""
    return {
        "copies": set(duty.copies),
        "first_write": set(duty.first_write),
        "only": {"anywhere"} if duty.only is None else set(duty.only),
        "require": _clauses(duty.require),
        "retain": {_retention(each) for each in duty.retain},
        "protect": {_protection(each) for each in duty.protect},
        "log": set(duty.log),
        "label": set(duty.label),
        "deadlines": {_deadline(each) for each in duty.deadlines},
    }


def _clauses(clauses: Iterable[Clause]) -> set[str]:
    """Clauses in words; the running term of one is left aside, for `clocks` tells of it."""
    plain = ({token for token in clause if not token.startswith(_CLOCK)} or clause for clause in clauses)
    return {" or ".join(sorted(clause)) or "forbidden" for clause in plain}


def _clock(clock: Clock) -> str:
    return clock.token.removeprefix(_CLOCK)


def _retention(each: Retention) -> str:
    length = "lifetime" if each.lifetime else _term(Term(each.months, each.days))
    scope = f" in {each.scope}" if each.scope else ""
    return f"{each.category} {each.bound.value} {length} from {each.start}{scope}"


def _protection(each: Protection) -> str:
    return f"{each.field} {each.direction} {each.transform}"


def _deadline(each: Deadline) -> str:
    return f"{each.task} within {_term(each.term)} from {each.event}"


def _term(term: Term) -> str:
    days = "working days" if term.working else "days"
    parts = ((term.months, "months"), (term.days, days), (term.hours, "hours"))
    return " ".join(f"{number} {word}" for number, word in parts if number) or f"0 {days}"


def _compared(
    what: str, some: Some | None, got: set[str], policy: Policy | None, sinks: tuple[SinkVerdict, ...] = ()
) -> Iterator[Failure]:
    """Where several are not those expected: what is missing, what is too much. With a `policy` they are rules."""
    if some is None:
        return
    missing = (some.includes | (some.exactly or frozenset())) - got
    more = (some.excludes & got) | (frozenset() if some.exactly is None else got - some.exactly)
    if not missing and not more:
        return
    parts = [f"without {_listed(missing, got)}"] if missing else []
    parts += [f"with {', '.join(sorted(more))}"] if more else []
    rules: tuple[RuleRef, ...] = ()
    if policy is not None:
        rules = tuple(rule for word in sorted(missing | more) if (rule := policy.rule(word)) is not None)
    elif what == "permitted":
        rules = tuple({r.id: r for v in sinks if v.sink.name in missing for r in v.rules}.values())
    wanted = some.exactly if some.exactly is not None else some.includes - some.excludes
    expected = ", ".join(sorted(wanted)) or "none"
    if some.exactly is None and some.excludes:
        expected += f", not {', '.join(sorted(some.excludes))}"
    yield Failure(what, expected, "; ".join(parts), rules)


def _listed(missing: frozenset[str], got: set[str]) -> str:
    """The missing words, each with the nearest of those that are there."""
    return ", ".join(f"{word}{nearest(word, got)}" for word in sorted(missing))
