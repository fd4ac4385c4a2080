"""One decision in; what we saw, whose law and why, which rules, where data goes and what is missing, out.

Pure: the signals that led to the finding are given in. `Explanation` is the same story as a mapping for programs, as
lines for a terminal and as a page in Markdown, in English or Vietnamese.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from residency.jurisdiction.account import account
from residency.jurisdiction.found import finding_words
from residency.model import (
    Anchor,
    Clock,
    Decision,
    Duty,
    Finding,
    Pin,
    Reason,
    Retention,
    RuleRef,
    Signal,
    SinkVerdict,
)
from residency.policy.explain_page import Story, page_of, ways_to_meet
from residency.policy.explain_render import Page, lines, markdown
from residency.policy.explain_words import Language, say
from residency.policy.uncarried import Gap

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision told: `data` holds plain JSON values, the rest is for people."""

    data: dict[str, Any]
    story: Story

    def page(self, language: Language = "en") -> Page:
        """The story as a page of sections."""
        return page_of(self.story, language)

    @property
    def lines(self) -> tuple[str, ...]:
        """The page in English, as lines for a terminal."""
        return tuple(lines(self.page()))

    def markdown(self, language: Language = "en") -> str:
        """The page as Markdown."""
        return markdown(self.page(language))


def explain(
    decision: Decision,
    signals: Sequence[Signal] | None = (),
    *,
    pin: Pin | None = None,
    client: Mapping[str, str | None] | None = None,
    route: str = "",
    at: str = "",
    caller: str | None = None,
    goes_to: str | None = None,
    entry: int | None = None,
    undone: Sequence[Gap] = (),
) -> Explanation:
    """Tell a decision. `signals` and `pin` led to its finding; None = the finding was given as it is. `client`
    (address, strategy, network, problem), `route` and `at` are shown as given; the rest is as in `Story`. `undone` is
    what `residency.policy.uncarried` answers of the decision."""
    heard = None if signals is None else account(signals, pin)
    story = Story(decision, heard, pin, client, route, at, caller, goes_to, entry, tuple(undone))
    data = {
        "route": route,
        "at": at,
        "entry": entry,
        "activity": None if decision.activity is None else decision.activity.name,
        "effect": decision.effect.word,
        "reason": None if decision.reason is None else decision.reason.value,
        "mode": decision.mode,
        "client": None if client is None else dict(client),
        "caller": None if caller is None else say(caller, "en"),
        "signals": None if signals is None else [_signal(s) for s in signals],
        "heard": None
        if heard is None
        else [{**_signal(h.signal), "voice": h.voice.value, "because": h.because} for h in heard],
        "pin": None if pin is None else {"home": pin.home, "set_by": pin.set_by, "version": pin.version},
        "finding": list(finding_words(decision.finding)),
        "anchors": {anchor.value: _found(decision.finding, anchor) for anchor in Anchor},
        "jurisdictions": [
            {"place": place, "anchors": _anchors(decision.finding, place)} for place in decision.jurisdictions
        ],
        "rules": [_rule(r) for r in decision.rules],
        "outranked": [_rule(r) for r in decision.outranked],
        "exempted": [_rule(r) for r in decision.exempted],
        "exemptions": list(decision.exemptions),
        "observed": [_rule(r) for r in decision.observed],
        "sinks": [_sink(v) for v in decision.sinks],
        "goes_to": goes_to,
        "missing": [sorted(ways_to_meet(clause)) for clause in decision.unmet],
        "evidence": sorted(decision.evidence),
        "clocks": [_clock(clock) for clock in decision.clocks],
        "duty": _duty(decision.duty),
        "undone": [{"duty": gap.slot, "what": list(gap.what), "why": gap.why()} for gap in undone],
        "policy": decision.policy,
        "policy_version": decision.policy_version,
    }
    return Explanation(data, story)


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
        "link": rule.link,
        "fine": rule.fine,
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
        "missing": [sorted(ways_to_meet(clause)) for clause in verdict.unmet],
        "untreated": _out(verdict.duty) if verdict.reason is Reason.CANNOT_BE_TREATED else [],
        "clocks": [_clock(clock) for clock in verdict.clocks],
        "exemptions": list(verdict.exemptions),
        "duty": _duty(verdict.duty),
    }


def _out(duty: Duty) -> list[list[str]]:
    """What must be done to which field before it goes out."""
    return [[each.field, each.transform] for each in sorted(duty.protect) if each.direction == "out"]


def _clock(clock: Clock) -> dict[str, Any]:
    return {"token": clock.token, "event": clock.event, "place": clock.place, "deadline": clock.deadline}


def _duty(duty: Duty) -> dict[str, Any]:
    return {
        "copies": sorted(duty.copies),
        "first_write": sorted(duty.first_write),
        "only": None if duty.only is None else sorted(duty.only),
        "require": sorted(sorted(ways_to_meet(clause)) for clause in duty.require),
        "retain": [_retention(r) for r in sorted(duty.retain)],
        "protect": [[p.field, p.direction, p.transform, p.effect] for p in sorted(duty.protect)],
        "log": sorted(duty.log),
        "label": sorted(duty.label),
        "deadlines": [
            {"task": d.task, "within": asdict(d.term), "from": d.event, "place": d.place}
            for d in sorted(duty.deadlines)
        ],
        "conflicts": sorted(conflict.value for conflict in duty.conflicts),
    }


def _retention(retention: Retention) -> str:
    if retention.lifetime:
        return f"{retention.category} {retention.bound.value} lifetime{_of_scope(retention)}"
    parts = [f"{retention.months} months"] if retention.months else []
    parts += [f"{retention.days} days"] if retention.days or not parts else []
    return (
        f"{retention.category} {retention.bound.value} {' '.join(parts)} from {retention.start}{_of_scope(retention)}"
    )


def _of_scope(retention: Retention) -> str:
    return f" in {retention.scope}" if retention.scope else ""
