"""A policy in; rules that never have a say here and why, activities that no law speaks of, answers that matter, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from residency.model import Decision, Effect, FactSet
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc, LawDoc, RuleDoc
from residency.policy.prove_people import People
from residency.policy.prove_reports import Report, report
from residency.policy.reference_rules import own_purpose
from residency.policy.rulebook import Rulebook

__all__ = ["reading_reports", "rule_reports"]

_Outcome = tuple[Effect, str | None, tuple[str, ...]]


def rule_reports(policy: Policy, now: int) -> Iterator[Report]:
    """Rules that never decide, rules of low confidence that bind, and activities that no law speaks of."""
    deployment, laws = policy.deployment, policy.laws
    book = Rulebook(deployment, laws)
    speaking = [_speaking(policy, book, number) for number in range(len(deployment.activities))]
    ended = _ended(book, now)
    for index, bits in enumerate(speaking):
        if not bits & book.there & ~ended and laws:
            activity = deployment.activities[index]
            message = f"activity `{activity.name}`: no rule of any law in use speaks of it: everything is permitted"
            yield report(
                deployment.source, ("activities", index), "warning", "no_law", message, activities=[activity.name]
            )
    never: dict[str, list[str]] = {}
    operated = Rulebook(deployment, tuple(_bare(law) for law in laws))
    instants = (now, *(edge for edge in policy.boundaries() if edge > now))
    for number, (law, rule) in enumerate(book.rules):
        bit = 1 << number
        if why := _never(policy, rule, bit, (book, operated), speaking, instants, ended):
            never.setdefault(why, []).append(rule.id)
            continue
        if rule.confidence == "low" and deployment.mode_of(rule, now) == "enforce":
            message = (
                f"rule `{rule.id}` binds with low confidence: have it checked, or say `modes: {{{rule.id}: warn}}`"
            )
            yield report(law.source, (*rule.path, "confidence"), "warning", "low_confidence", message, rules=[rule.id])
        if by := _always_overridden(policy, book, number, speaking, instants):
            message = f"rule `{rule.id}` never decides here: `{by}` overrides it wherever it speaks"
            yield report(law.source, rule.path, "note", "never", message, rules=[rule.id])
    for why, names in sorted(never.items()):
        shown = f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        count = "1 rule never decides" if len(names) == 1 else f"{len(names)} rules never decide"
        yield report(deployment.source, ("laws",), "note", "never", f"{count} here ({why}): {shown}", rules=names)


def reading_reports(policy: Policy, now: int) -> Iterator[Report]:
    """Open questions of the laws whose other answers would change what is decided at `now` (microseconds)."""
    people = People(policy.deployment, policy.laws)
    options: dict[str, dict[str, None]] = {}
    for law in policy.laws:
        for question, reading in law.readings.items():
            options.setdefault(question, {}).update(dict.fromkeys(reading.options))
    for question, answers in options.items():
        asking = [law for law in policy.laws if question in law.readings]
        law = asking[0]
        chosen = policy.deployment.readings.get(question, law.readings[question].default)
        places = sorted({each.jurisdiction for each in asking})
        before = _outcomes(policy, people, places, now)
        for answer in answers:
            if answer == chosen:
                continue
            other = _read(policy, {**policy.deployment.readings, question: answer})
            after = _outcomes(other, people, places, now)
            changed = [key for key in before if before[key] != after[key]]
            if changed:
                names = tuple(dict.fromkeys(name for name, _, _ in changed))
                was, becomes = before[changed[0]], after[changed[0]]
                message = (
                    f"reading `{question}` is `{chosen}` here; as `{answer}` it would decide otherwise of "
                    f"`{names[0]}`{f' and {len(names) - 1} more' if len(names) > 1 else ''}: "
                    f"{_told(was)} becomes {_told(becomes)}"
                )
                yield report(law.source, ("readings", question), "note", "reading", message, activities=names)


def _read(policy: Policy, readings: dict[str, str]) -> Policy:
    deployment: DeploymentDoc = replace(policy.deployment, readings=readings)
    return Policy(deployment, policy.laws, policy.facts, policy.digest, policy.base, ())


def _outcomes(policy: Policy, people: People, places: Sequence[str], now: int) -> dict[tuple[str, str, bool], _Outcome]:
    """What is decided of each activity under each law, with and without everything proven."""
    asked = frozenset(
        token for law in policy.laws for rule in law.rules for clause in (*rule.duty.require, rule.unless)
        for token in clause if not token.startswith(("filing:", "contract:", "portal:"))
    )  # fmt: skip
    table = policy.table(policy.facts, now)
    return {
        (activity.name, place, proven): _outcome(
            table.decide(activity, people.covered((place,)), own_purpose(asked, activity) if proven else frozenset())
        )
        for activity in policy.deployment.activities
        for place in places
        for proven in (False, True)
    }


def _outcome(decision: Decision) -> _Outcome:
    permitted = tuple(v.sink.name for v in decision.sinks if v.effect is Effect.PERMIT)
    return decision.effect, None if decision.reason is None else decision.reason.value, permitted


def _told(outcome: _Outcome) -> str:
    effect, reason, sinks = outcome
    at = f" at {', '.join(sinks)}" if sinks else ""
    return f"{effect.word}{f' ({reason})' if reason else ''}{at}"


def _speaking(policy: Policy, book: Rulebook, number: int) -> int:
    """The rules that are about an activity, whenever and whoever; escalations count as up."""
    activity = policy.deployment.activities[number]
    data = book.data(activity)
    raised = FactSet(0, escalated=frozenset(e.id for law in policy.laws for e in law.escalations))
    for law in policy.laws:
        if law.escalations:
            data |= book.escalated(activity, raised, _during(law))
    return book.concerning(activity) & data


def _during(law: LawDoc) -> int:
    return law.span.start if law.span.start is not None else (law.span.end - 1 if law.span.end is not None else 0)


def _ended(book: Rulebook, now: int) -> int:
    found = 0
    for number, (law, rule) in enumerate(book.rules):
        ends = [span.end for span in (law.span, rule.span) if span.end is not None]
        # Read at the time of collection, a rule that has ended may still be about data of its time.
        if rule.clock != "collection" and ends and min(ends) <= now:
            found |= 1 << number
    return found


def _never(
    policy: Policy,
    rule: RuleDoc,
    bit: int,
    books: tuple[Rulebook, Rulebook],
    speaking: Sequence[int],
    instants: Sequence[int],
    ended: int,
) -> str:
    """Why a rule never decides in this deployment, in words; "" where it may."""
    book, operated = books
    deployment = policy.deployment
    modes = {deployment.mode_of(rule, at) for at in instants}
    if bit & ended:
        return "time is over"
    if not bit & book.there:
        return "another reading holds here"
    if modes == {"off"}:
        return "mode off"
    if deployment.activities and not bit & operated.concerning(deployment.activities[0]):
        return "not about this operator"
    if not any(bit & bits for bits in speaking):
        return "no activity does what is asked about"
    if rule.sink is not None:
        mine = [a for a, bits in zip(deployment.activities, speaking, strict=True) if bit & bits]
        sinks = {name for activity in mine for name in deployment.sinks_of(activity)}
        if not any(bit & book.about(deployment.sinks[name].sink) for name in sinks):
            return "no activity uses such a sink"
    if rule.trigger is not None and not any(o.kind == rule.trigger.order for o in policy.facts.orders):
        return "the register has no such order"
    return "only observed" if "enforce" not in modes else ""


def _always_overridden(
    policy: Policy, book: Rulebook, number: int, speaking: Sequence[int], instants: Sequence[int]
) -> str | None:
    """A rule that overrides this one wherever and whenever it speaks, None where none surely does."""
    _, rule = book.rules[number]
    for other, (law, by) in enumerate(book.rules):
        if rule.id not in by.overrides or by.unless or by.trigger or by.transitions or by.sink is not None:
            continue
        if law.jurisdiction != book.rules[number][0].jurisdiction or by.excluded_by is not rule.excluded_by:
            continue
        same_time = (law.span, by.span, by.clock) == (book.rules[number][0].span, rule.span, rule.clock)
        binds = all(policy.deployment.mode_of(by, at) == "enforce" for at in instants)
        exempt = any(by.id in e.rules for e in policy.facts.exemptions)
        everywhere = all(bits >> other & 1 for bits in speaking if bits >> number & 1)
        if same_time and binds and not exempt and everywhere and by.anchors >= rule.anchors and book.there >> other & 1:
            return by.id
    return None


def _bare(law: LawDoc) -> LawDoc:
    """The law with rules that test the operator alone."""
    bare = {"operations": None, "actions": None, "purposes": None, "bases": None, "ai": None}
    return replace(law, rules=tuple(replace(rule, **bare) for rule in law.rules))  # type: ignore[arg-type]  # all may be None
