"""A policy in; what its laws ask together that this deployment cannot give, by activity and law, out.

People are asked about who prove everything, and an operator that has filed everything: what is refused then is refused
always. One law at a time first, then all laws at once for duties that cannot all be met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from residency.model import NEUTRAL, Activity, Bound, Conflict, Decision, Duty, Effect, Reason, join
from residency.policy.compiler import Policy
from residency.policy.parsed import RuleDoc
from residency.policy.parsed_reading import READER
from residency.policy.prove_people import People
from residency.policy.prove_reports import Report, report
from residency.policy.reference_rules import Question, mode, own_purpose, speaks, stands
from residency.policy.terms import moment

__all__ = ["duty_reports"]

_OPERATORS: Final = ("filing:", "contract:", "portal:")
_OF_SINKS: Final = frozenset(
    {Reason.ONLY_IN_COUNTRY, Reason.NOT_HOME, Reason.NO_SINK, Reason.SINK_UNFIT, Reason.STOP_ORDER}
)

_AT_HOME: Final = "give its store a sink at home, and let a copy go abroad (`copies:`): copies are treated"
_ANSWERED: Final = "run an instance at home, and hand people over to it (`hand_over:`)"


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing found, but for the activities it is so in."""

    place: str
    kind: str
    text: str
    rules: tuple[str, ...]


def duty_reports(policy: Policy, now: int) -> Iterator[Report]:
    """Activities that nobody under a law may use, those that wait for a filing, and laws that cannot both be met; logs
    that a law wants kept and the deployment has no place for, and places for which there is no law."""
    people = People(policy.deployment, policy.laws)
    for place in sorted(policy.deployment.audit.detail.keys() - people.places):
        message = f"no law in use is one of {place}: nothing of a person is kept there but pins"
        yield report(policy.deployment.source, ("audit", "detail", place), "warning", "detail_of_no_law", message)
    asked = frozenset(
        token for law in policy.laws for rule in law.rules for clause in (*rule.duty.require, rule.unless)
        for token in clause
    )  # fmt: skip
    region = policy.deployment.regions.get(policy.deployment.audit.region or "")
    here = frozenset[str]() if region is None else frozenset({READER + region.place})
    first: dict[_Finding, int] = {}
    where: dict[_Finding, dict[str, int]] = {}
    for at, places in _moments(policy, now):
        table = policy.table(policy.facts, at)
        persons = {place: people.covered((place,)) for place in places}
        everyone = people.covered(people.places)
        for index, activity in enumerate(policy.deployment.activities):
            everything = own_purpose(asked, activity)
            own = frozenset(token for token in everything if not token.startswith(_OPERATORS))
            for place, person in persons.items():
                decision = table.decide(activity, person, everything)
                alone = (*_alone(place, decision),) or (*_unfiled(place, table.decide(activity, person, own)),)
                if here and decision.effect is Effect.PERMIT:
                    alone += (*_unread(place, table.decide(activity, person, everything | here)),)
                for found in (*alone, *_unlogged(policy, place, decision)):
                    first.setdefault(found, at)
                    where.setdefault(found, {})[activity.name] = index
            together = table.decide(activity, everyone, everything)
            if together.duty.conflicts or any(v.reason is Reason.CONFLICT for v in together.sinks):
                for found in _together(policy, activity, together, at):
                    first.setdefault(found, at)
                    where.setdefault(found, {})[activity.name] = index
    for found, at in first.items():
        names = tuple(where[found])
        when = "" if at == now else f", from {moment(at)[:10]} on"
        level = "note" if found.kind == "filing_missing" else "warning"
        message = f"{_named(names)}{when}: {found.text}{f' ({_listed(found.rules)})' if found.rules else ''}"
        path = ("activities", where[found][names[0]])
        yield report(
            policy.deployment.source, path, level, found.kind, message, rules=found.rules, activities=names
        )  # fmt: skip


def _moments(policy: Policy, now: int) -> Iterator[tuple[int, frozenset[str]]]:
    """The instants at which to look, with the places whose laws change there."""
    every = frozenset(law.jurisdiction for law in policy.laws)
    changes: dict[int, set[str]] = {}
    for law in policy.laws:
        for rule in law.rules:
            edges = [law.span.start, law.span.end, rule.span.start, rule.span.end, *(t.until for t in rule.transitions)]
            edges += [at for at, _ in (*rule.mode_from, *policy.deployment.modes_from.get(rule.id, ()))]
            for edge in edges:
                if edge is not None:
                    changes.setdefault(edge, set()).add(law.jurisdiction)
    yield now, every
    for edge in policy.boundaries():
        if edge > now:
            yield edge, frozenset(changes.get(edge, every))


def _alone(place: str, decision: Decision) -> Iterator[_Finding]:
    """What refuses somebody under one law who proves everything, with all filings there."""
    reason = decision.reason
    if decision.effect is Effect.PERMIT or reason is None:
        return
    rules = tuple(rule.id for rule in decision.rules)
    law = f"the law of {place}"
    if reason is Reason.LAW_FORBIDS:
        yield _Finding(place, "forbidden", f"{law} forbids it to everybody it covers", rules)
    elif reason is Reason.CONFLICT:
        return  # told of all laws together
    elif reason is Reason.CANNOT_BE_TREATED and not _out(decision):
        text = f"{law} wants fields treated where they come in or rest, and nothing here does it: it is refused"
        yield _Finding(place, "untreated", text, rules)
    elif reason is Reason.CANNOT_BE_TREATED:
        sinks = ", ".join(f"{v.sink.name} in {v.sink.place}" for v in decision.sinks if v.reason is reason)
        text = f"{law} lets it go to {sinks} only with fields treated{_out(decision)}, and what an app writes or sends"
        yield _Finding(place, "untreated", f"{text} is not: {_AT_HOME}", rules)
    elif reason in _OF_SINKS:
        served = {v.store for v in decision.sinks if v.effect is Effect.PERMIT}
        lacking = [v for v in decision.sinks if v.store not in served] or decision.sinks
        sinks = ", ".join(f"{v.sink.name} in {v.sink.place}" for v in lacking)
        unmet = {" or ".join(sorted(clause)) for v in lacking for clause in v.unmet}
        want = f": {'; '.join(sorted(unmet))}" if unmet else _wanted(decision.duty)
        yield _Finding(place, "no_sink", f"no sink of its store ({sinks}) can meet {law}{want}", rules)
    elif reason is Reason.HOLD:
        yield _Finding(place, "held", f"{law} holds it for everybody it covers", rules)
    else:
        needs = "; ".join(" or ".join(sorted(clause)) for clause in decision.unmet)
        yield _Finding(place, "unmeetable", f"{law} asks what nothing here can prove: {needs}", rules)


def _unread(place: str, decision: Decision) -> Iterator[_Finding]:
    """What nobody under one law has read where this instance runs, of what is permitted where it rests."""
    if decision.reason is Reason.CANNOT_BE_TREATED:
        rules = tuple(rule.id for rule in decision.rules)
        text = f"the law of {place} lets it be read where this runs (`audit.region`) only with fields treated"
        yield _Finding(place, "untreated", f"{text}{_out(decision)}, and it is not: {_ANSWERED}", rules)


def _out(decision: Decision) -> str:
    duties = (decision.duty, *(v.duty for v in decision.sinks if v.reason is Reason.CANNOT_BE_TREATED))
    asked = {each for duty in duties for each in duty.protect if each.direction == "out"}
    return f" ({', '.join(f'{each.transform} `{each.field}`' for each in sorted(asked))})" if asked else ""


def _unfiled(place: str, decision: Decision) -> Iterator[_Finding]:
    if decision.effect is not Effect.PERMIT and decision.reason in (Reason.FILING_MISSING, Reason.NO_SINK):
        clauses = [c for c in decision.unmet if any(token.startswith(_OPERATORS) for token in c)]
        needs = "; ".join(" or ".join(sorted(clause)) for clause in clauses)
        if needs:
            rules = tuple(rule.id for rule in decision.rules)
            text = f"refused under the law of {place} until the register has {needs}"
            yield _Finding(place, "filing_missing", text, rules)


def _unlogged(policy: Policy, place: str, decision: Decision) -> Iterator[_Finding]:
    """What a law wants kept of whoever acts, and nothing here keeps."""
    if place in policy.deployment.audit.detail:
        return
    asked = {each for each in decision.duty.retain if each.category == "log" and each.bound is Bound.AT_LEAST}
    speak = {ref.id for ref in decision.rules}
    rules = tuple(
        rule.id
        for law in policy.laws
        if law.jurisdiction == place
        for rule in law.rules
        if rule.id in speak and asked.intersection(rule.duty.retain)
    )
    if rules:
        text = f"the law of {place} wants logs kept, and `audit.detail` has no {place}: account and address go unkept"
        yield _Finding(place, "log_not_kept", text, rules)


def _together(policy: Policy, activity: Activity, decision: Decision, at: int) -> Iterator[_Finding]:
    """The smallest sets of rules that cannot all be met, one for each conflict."""
    question = Question(
        policy.deployment, policy.laws, activity, decision.finding, frozenset(), policy.facts, at, None, None
    )
    removed = {rule.id for rule in (*decision.outranked, *decision.exempted)}
    speaking = [
        rule
        for law in policy.laws
        for rule in law.rules
        if rule.sink is None
        and rule.id not in removed
        and stands(law, rule, question)
        and mode(rule, question) == "enforce"
        and speaks(law, rule, question)
    ]
    told = {ref.id for verdict in decision.sinks if verdict.reason is Reason.CONFLICT for ref in verdict.rules}
    about_sinks = [rule for law in policy.laws for rule in law.rules if rule.id in told and rule.sink is not None]
    for rules in (speaking, [*speaking, *about_sinks] if about_sinks else []):
        for conflict in sorted(_joined(rules).conflicts):
            smallest = _smallest(rules, conflict)
            names = tuple(rule.id for rule in smallest)
            text = f"laws that cannot both be met: {conflict.value}"
            yield _Finding("", "conflict", text, names)


def _smallest(rules: Sequence[RuleDoc], conflict: Conflict) -> list[RuleDoc]:
    """The rules without those that the conflict does not need."""
    kept = list(rules)
    for rule in rules:
        less = [other for other in kept if other is not rule]
        if conflict in _joined(less).conflicts:
            kept = less
    return kept


def _joined(rules: Iterable[RuleDoc]) -> Duty:
    duty = NEUTRAL
    for rule in rules:
        duty = join(duty, rule.duty)
    return duty


def _wanted(duty: Duty) -> str:
    words = []
    if duty.only is not None:
        words.append(f"only {' or '.join(sorted(duty.only))}")
    if duty.copies:
        words.append(f"a copy in {', '.join(sorted(duty.copies))}")
    if duty.first_write:
        words.append(f"first written in {', '.join(sorted(duty.first_write))}")
    return f": {'; '.join(words)}" if words else ""


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return f"activity {shown}" if len(names) == 1 else f"activities {shown}{_more(len(names) - 3)}"


def _listed(rules: Sequence[str]) -> str:
    return f"{', '.join(rules[:6])}{_more(len(rules) - 6)}"


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
