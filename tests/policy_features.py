"""The words of the language, each as the change that takes it out of a world: where that changes what is decided, the
word decided something. By this a generator is judged: a word that never decides is not tested by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any, Final

from residency.model import PLAIN, Decision, Effect, Reason
from residency.policy.parsed import OperatorTest, RuleDoc, SinkTest, Span
from tests.policy_worlds import Asked, World, mapped, with_clauses

__all__ = ["OUTCOMES", "WORDS", "apart"]

Change = Callable[[World, Asked], tuple[World, Asked]]


def apart(a: Decision, b: Decision) -> bool:
    """Whether two decisions differ in more than the evidence that they list."""
    return replace(a, evidence=frozenset()) != replace(b, evidence=frozenset())


def _rule(**values: Any) -> Change:
    return lambda world, asked: (replace(world, laws=mapped(world.laws, lambda r: replace(r, **values))), asked)


def _operator(name: str) -> Change:
    def change(rule: RuleDoc) -> RuleDoc:
        return replace(rule, operator=replace(rule.operator, **{name: None}))

    return lambda world, asked: (replace(world, laws=mapped(world.laws, change)), asked)


def _sink(**values: Any) -> Change:
    def change(rule: RuleDoc) -> RuleDoc:
        return rule if rule.sink is None else replace(rule, sink=replace(rule.sink, **values))

    return lambda world, asked: (replace(world, laws=mapped(world.laws, change)), asked)


def _kind(kind: str) -> Change:
    def change(rule: RuleDoc) -> RuleDoc:
        return replace(rule, sink=SinkTest("any")) if rule.sink is not None and rule.sink.kind == kind else rule

    return lambda world, asked: (replace(world, laws=mapped(world.laws, change)), asked)


def _tokens(start: str) -> Change:
    def change(rule: RuleDoc) -> RuleDoc:
        return with_clauses(rule, lambda clause: frozenset(t for t in clause if not t.startswith(start)) or clause)

    return lambda world, asked: (replace(world, laws=mapped(world.laws, change)), asked)


def _duty(**values: Any) -> Change:
    def change(rule: RuleDoc) -> RuleDoc:
        return replace(rule, duty=replace(rule.duty, **values))

    return lambda world, asked: (replace(world, laws=mapped(world.laws, change)), asked)


def _law(**values: Any) -> Change:
    return lambda world, asked: (replace(world, laws=tuple(replace(law, **values) for law in world.laws)), asked)


def _deployment(**values: Any) -> Change:
    return lambda world, asked: (replace(world, deployment=replace(world.deployment, **values)), asked)


def _facts(**values: Any) -> Change:
    return lambda world, asked: (world, replace(asked, facts=replace(asked.facts, **values)))


def _each(name: str, **values: Any) -> Change:
    def change(world: World, asked: Asked) -> tuple[World, Asked]:
        records: Any = {name: tuple(replace(record, **values) for record in getattr(asked.facts, name))}
        return world, replace(asked, facts=replace(asked.facts, **records))

    return change


def _asked(**values: Any) -> Change:
    return lambda world, asked: (world, replace(asked, **values))


def _operator_words() -> Iterable[tuple[str, Change]]:
    for field in fields(OperatorTest):
        yield f"operator.{field.name}", _operator(field.name)


WORDS: Final[dict[str, Change]] = {
    "in_force of a rule": _rule(span=Span()),
    "in_force of a law": _law(span=Span()),
    "clock": _rule(clock="evaluation"),
    "requested": _asked(requested=None),
    "collected": _asked(collected=None),
    "trigger": _rule(trigger=None),
    "orders": _facts(orders=()),
    "lifted orders": _each("orders", lifted=None),
    "transitions": _rule(transitions=()),
    "mode": _rule(mode="enforce"),
    "mode_from": _rule(mode_from=()),
    "modes": _deployment(modes={}),
    "modes by date": _deployment(modes_from={}),
    "reading": _rule(reading=()),
    "readings of the deployment": _deployment(readings={}),
    "excluded_by": _rule(excluded_by=None),
    "unless": _rule(unless=frozenset()),
    "data": _rule(data=None),
    "operation": _rule(operations=None),
    "action": _rule(actions=None),
    "purpose": _rule(purposes=None),
    "basis": _rule(bases=None),
    "ai": _rule(ai=None),
    **dict(_operator_words()),
    **{kind: _kind(kind) for kind in ("abroad", "provider_abroad", "keys_abroad", "in")},
    "several kinds of sink at once": _sink(also=frozenset()),
    "sink in": _sink(places=None),
    "sink not_in": _sink(outside=None),
    "sink scope": _sink(scopes=None),
    "sink encrypted": _sink(encrypted=None),
    "overrides": _rule(overrides=frozenset()),
    "calendar": _law(calendar=PLAIN),
    "escalations": _law(escalations=()),
    "escalated": _facts(escalated=frozenset()),
    "detectors": _law(detectors=()),
    "terms": _tokens("clock:"),
    "events": _facts(events=()),
    "strict clocks": _deployment(strict_clocks=False),
    "filings": _facts(filings=()),
    "filings bounded to sinks": _each("filings", sinks=None),
    "history of filings": _each("filings", changes=()),
    "exemptions": _facts(exemptions=()),
    "exemptions by activity": _each("exemptions", activities=None),
    "exemptions by sink": _each("exemptions", sinks=None),
    "stop orders": _facts(stop_orders=()),
    "copies": _duty(copies=frozenset()),
    "first_write": _duty(first_write=frozenset()),
    "only": _duty(only=None),
    "protect": _duty(protect=frozenset()),
    "deadlines": _duty(deadlines=frozenset()),
    "retain": _duty(retain=frozenset()),
    "effect": _duty(effect=Effect.PERMIT),
    "presume": lambda world, asked: (
        world,
        replace(asked, finding=replace(asked.finding, presume=type(asked.finding)().presume)),
    ),
    "conflicts presumed": lambda world, asked: (
        world,
        replace(asked, finding=replace(asked.finding, conflicts_presumed=False)),
    ),
    **{
        f"clauses on {kind}": _tokens(f"{kind}:")
        for kind in ("filing", "contract", "portal", "identity", "age", "basis", "ai", "known", "sink", "consent")
    },
    "consent to the purpose": _tokens("consent:{purpose}"),
}
"""Each word with the change that takes it away; `mode` and the like are set to what a file leaves out."""

_REASONS: Final = (
    Reason.LAW_FORBIDS, Reason.CONFLICT, Reason.STOP_ORDER, Reason.ONLY_IN_COUNTRY, Reason.NOT_HOME, Reason.SINK_UNFIT,
    Reason.FILING_MISSING, Reason.CONSENT_MISSING, Reason.IDENTITY_MISSING, Reason.HOLD,
)  # fmt: skip

OUTCOMES: Final[dict[str, Callable[[Decision], bool]]] = {
    **{f"activity {r.value}": (lambda d, r=r: d.reason is r) for r in (*_REASONS, Reason.NO_SINK)},  # type: ignore[misc]
    **{f"sink {r.value}": (lambda d, r=r: any(v.reason is r for v in d.sinks)) for r in _REASONS},  # type: ignore[misc]
    "unclassified permitted": lambda d: d.activity is None and d.effect is Effect.PERMIT,
    "permitted with sinks": lambda d: d.effect is Effect.PERMIT and bool(d.sinks),
    "one sink permitted, another not": lambda d: len({v.effect for v in d.sinks}) > 1,
    "a term leaned on": lambda d: any(c.deadline is not None for c in d.clocks),
    "a term not started": lambda d: any(c.deadline is None for c in d.clocks),
    "a term leaned on at a sink alone": lambda d: not d.clocks and any(v.clocks for v in d.sinks),
    "an exemption of the activity": lambda d: bool(d.exemptions),
    "an exemption of a sink": lambda d: any(v.exemptions for v in d.sinks),
    "an exempted rule that was only observed": lambda d: any(r.mode != "enforce" for r in d.exempted),
    "outranked": lambda d: bool(d.outranked),
    "observed": lambda d: bool(d.observed),
    "presumed": lambda d: bool(d.presumed),
    "three jurisdictions": lambda d: len(d.jurisdictions) >= 3,
}
"""What a decision may come to."""
