"""One decision in; what we saw, whose law and why, which rules, where data goes and what is missing, out.

Pure: the signals that led to the finding are given in. `Explanation` is the same story as a mapping for programs and
as lines for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from residency.jurisdiction.account import Heard, account
from residency.model import (
    Anchor,
    AnchorFinding,
    Decision,
    Duty,
    Effect,
    Finding,
    Pin,
    Retention,
    RuleRef,
    Signal,
    SinkVerdict,
)
from residency.policy.compiler import Policy

__all__ = ["Explanation", "explain", "foreseen_conflicts"]

_EFFECTS: Final = {Effect.PERMIT: "permitted", Effect.HOLD: "held", Effect.DENY: "refused"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision told: `data` holds plain JSON values, `lines` are sentences for a terminal."""

    data: dict[str, Any]
    lines: tuple[str, ...]


def explain(
    decision: Decision,
    signals: Sequence[Signal] = (),
    *,
    pin: Pin | None = None,
    client: Mapping[str, str | None] | None = None,
    route: str = "",
    at: str = "",
) -> Explanation:
    """Tell a decision. `signals` and `pin` led to its finding; `client` (address, strategy, network, problem), `route`
    and `at` are shown as given."""
    heard = account(signals, pin)
    data = {
        "route": route,
        "at": at,
        "activity": None if decision.activity is None else decision.activity.name,
        "effect": decision.effect.word,
        "reason": None if decision.reason is None else decision.reason.value,
        "mode": decision.mode,
        "client": None if client is None else dict(client),
        "signals": [_signal(s) for s in signals],
        "heard": [{**_signal(h.signal), "voice": h.voice.value, "because": h.because} for h in heard],
        "pin": None if pin is None else {"home": pin.home, "set_by": pin.set_by, "version": pin.version},
        "anchors": {anchor.value: _found(decision.finding, anchor) for anchor in Anchor},
        "jurisdictions": [
            {"place": place, "anchors": _anchors(decision.finding, place)} for place in decision.jurisdictions
        ],
        "rules": [_rule(r) for r in decision.rules],
        "observed": [_rule(r) for r in decision.observed],
        "sinks": [_sink(v) for v in decision.sinks],
        "missing": [sorted(clause) for clause in decision.unmet],
        "evidence": sorted(decision.evidence),
        "duty": _duty(decision.duty),
        "policy": decision.policy,
    }
    return Explanation(data, tuple(_lines(decision, heard, pin, client, route, at)))


def foreseen_conflicts(policy: Policy, now: int) -> tuple[str, ...]:
    """Conflicts that a person under every law of the policy would meet, from `now` (microseconds) on."""
    places = frozenset(law.jurisdiction for law in policy.laws)
    found: dict[str, None] = {}
    for instant in (now, *(edge for edge in policy.boundaries() if edge > now)):
        for activity in policy.deployment.activities:
            decision = policy.decide(activity, _everywhere(places), frozenset(), policy.facts, instant)
            if decision.duty.conflicts:
                what = ", ".join(sorted(conflict.value for conflict in decision.duty.conflicts))
                found[f"activity `{activity.name}`: {what} ({', '.join(r.id for r in decision.rules)})"] = None
    return tuple(found)


def _everywhere(places: frozenset[str]) -> Finding:
    anchor = AnchorFinding(established=places)
    return Finding(anchor, anchor, anchor, anchor)


def _signal(signal: Signal) -> dict[str, str]:
    return {
        "anchor": signal.anchor.value,
        "place": signal.place,
        "trust": signal.trust.name.lower(),
        "source": signal.source,
    }


def _found(finding: Finding, anchor: Anchor) -> dict[str, Any]:
    found = finding.anchor(anchor)
    return {
        "established": sorted(found.established),
        "contested": sorted(found.contested),
        "trust": None if found.trust is None else found.trust.name.lower(),
        "presume": dict(finding.presume)[anchor].value,
    }


def _anchors(finding: Finding, place: str) -> list[dict[str, Any]]:
    """Every anchor under which `place`'s law covers the person, and how that is known."""
    told = []
    for anchor in Anchor:
        covered, presumed = finding.covered_how(place, anchor)
        if covered:
            told.append({"anchor": anchor.value, "state": finding.state(place, anchor).value, "presumed": presumed})
    return told


def _rule(rule: RuleRef) -> dict[str, str]:
    return {
        "id": rule.id,
        "jurisdiction": rule.jurisdiction,
        "citation": rule.citation,
        "source": rule.source,
        "confidence": rule.confidence,
        "mode": rule.mode,
        "text": rule.text,
        "text_vi": rule.text_vi,
    }


def _sink(verdict: SinkVerdict) -> dict[str, Any]:
    return {
        "sink": verdict.sink.name,
        "region": verdict.sink.region,
        "place": verdict.sink.place,
        "effect": verdict.effect.word,
        "reason": None if verdict.reason is None else verdict.reason.value,
        "rules": [rule.id for rule in verdict.rules],
        "citations": [rule.citation for rule in verdict.rules],
        "missing": [sorted(clause) for clause in verdict.unmet],
    }


def _duty(duty: Duty) -> dict[str, Any]:
    return {
        "copies": sorted(duty.copies),
        "first_write": sorted(duty.first_write),
        "only": None if duty.only is None else sorted(duty.only),
        "require": sorted(sorted(clause) for clause in duty.require),
        "retain": [_retention(r) for r in sorted(duty.retain)],
        "protect": [[p.field, p.direction, p.transform, p.effect] for p in sorted(duty.protect)],
        "log": sorted(duty.log),
        "label": sorted(duty.label),
        "conflicts": sorted(conflict.value for conflict in duty.conflicts),
    }


def _retention(retention: Retention) -> str:
    parts = [f"{retention.months} months"] if retention.months else []
    parts += [f"{retention.days} days"] if retention.days or not parts else []
    return f"{retention.category} {retention.bound.value} {' '.join(parts)} from {retention.start}"


def _lines(
    decision: Decision,
    heard: Sequence[Heard],
    pin: Pin | None,
    client: Mapping[str, str | None] | None,
    route: str,
    at: str,
) -> Iterable[str]:
    name = route or (decision.activity.name if decision.activity is not None else "the request")
    why = "" if decision.reason is None else f" ({decision.reason.value})"
    yield f"{name}: {_EFFECTS[decision.effect]}{why}" + (f", at {at}" if at else "")
    if decision.mode == "observe":
        yield "  The deployment only observes: this is recorded and does not bind."
    if decision.activity is None:
        yield "  No activity names this route."
    yield "What we saw"
    if client is not None:
        network = f", a {client['network']} network" if client.get("network") else ""
        yield f"  client address: {client.get('address') or 'undetermined'} (strategy {client['strategy']}{network})"
    if pin is not None:
        yield f"  pin: home {pin.home}, set by {pin.set_by}, version {pin.version}"
    yield from (f"  {_said(h)}" for h in heard if not h.discarded)
    if all(h.discarded for h in heard):
        yield "  No signal speaks; presumptions decide."
    if any(h.discarded for h in heard):
        yield "What was discarded, and why"
        yield from (f"  {_said(h)}" for h in heard if h.discarded)
    yield "Anchors"
    for anchor in Anchor:
        yield f"  {anchor.value}: {_state(decision.finding, anchor)}"
    yield "Whose law, and why"
    for place in decision.jurisdictions:
        anchors = ", ".join(
            f"{a['anchor']} {'presumed' if a['presumed'] else a['state']}" for a in _anchors(decision.finding, place)
        )
        yield f"  {place}: {anchors}"
    if not decision.jurisdictions:
        yield "  No law of this deployment covers the person."
    if decision.rules:
        yield "Rules that refused" if decision.reason is not None else "Rules that applied"
        yield from _cited(decision.rules)
    if decision.observed:
        yield "Rules that only observed"
        yield from _cited(decision.observed)
    if decision.sinks:
        yield "Where data goes"
        for verdict in decision.sinks:
            because = "" if verdict.reason is None else f" ({verdict.reason.value})"
            cited = "; ".join(r.citation for r in verdict.rules) if verdict.reason is not None else ""
            sink = verdict.sink
            yield f"  {sink.name} in {sink.place}: {_EFFECTS[verdict.effect]}{because}{' by ' if cited else ''}{cited}"
    if decision.unmet:
        yield "What is missing"
        yield from (f"  {_any_of(clause)}" for clause in decision.unmet)
    # What a sink asks is not missing where the activity is permitted and another sink takes the data.
    lacking = [(v.sink.name, clause) for v in decision.sinks for clause in v.unmet if clause not in decision.unmet]
    if lacking:
        yield "What another sink would need"
        yield from (f"  {name}: {_any_of(clause)}" for name, clause in lacking)
    yield from _must(decision.duty)


def _said(heard: Heard) -> str:
    signal = heard.signal
    return f"{signal.anchor}: {signal.place} ({signal.trust.name.lower()}, by {signal.source}): {heard.because}"


def _state(finding: Finding, anchor: Anchor) -> str:
    found = finding.anchor(anchor)
    if found.silent:
        return f"silent, presumed {dict(finding.presume)[anchor].value.replace('_', ' ')}"
    told = [f"{', '.join(sorted(found.established))} established"] if found.established else []
    told += [f"{', '.join(sorted(found.contested))} undetermined"] if found.contested else []
    trust = "" if found.trust is None else f" ({found.trust.name.lower()})"
    return "; ".join(told) + trust


def _any_of(clause: frozenset[str]) -> str:
    return " or ".join(sorted(clause)) if clause else "nothing can satisfy this: it is forbidden"


def _cited(rules: Iterable[RuleRef]) -> Iterable[str]:
    for rule in rules:
        yield f"  {rule.id}: {rule.citation} [{rule.source}; confidence {rule.confidence}]"
        if rule.text:
            yield f"    {rule.text}"


def _must(duty: Duty) -> Iterable[str]:
    told = [
        *(f"a copy in {place}" for place in sorted(duty.copies)),
        *(f"first recorded in {place}" for place in sorted(duty.first_write)),
        *([f"rest only in {', '.join(sorted(duty.only)) or 'no place at all'}"] if duty.only is not None else []),
        *(f"keep {_retention(r).replace('_', ' ')}" for r in sorted(duty.retain)),
        *([f"log {', '.join(sorted(duty.log))}"] if duty.log else []),
        *([f"label {', '.join(sorted(duty.label))}"] if duty.label else []),
    ]
    if told:
        yield "What must happen"
        yield from (f"  {line}" for line in told)
