"""A question and one rule in; whether the rule stands, covers the person and speaks of the activity, out.

The first third of the oracle: each test of a rule in the order of ADR 0014's table, each by itself. A question carries
everything that may be asked about, so that every function here reads as one sentence of that text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from residency.model import Activity, Anchor, FactSet, Finding, Operator, Sink, State, deadline
from residency.model.data import category_within
from residency.model.place import within
from residency.policy.parsed import DeploymentDoc, Detector, LawDoc, OperatorTest, RuleDoc

__all__ = ["Question", "Ruling", "about", "anchor_covers", "mode", "own_purpose", "speaks", "stands"]

Ruling = tuple[LawDoc, RuleDoc]
_TRUTH = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True)
class Question:
    """One call of `decide`: the documents, the person, the facts and the times (microseconds)."""

    deployment: DeploymentDoc
    laws: Sequence[LawDoc]
    activity: Activity | None
    finding: Finding
    evidence: frozenset[str]
    facts: FactSet
    now: int
    requested: int | None
    collected: int | None


def stands(law: LawDoc, rule: RuleDoc, asked: Question) -> bool:
    """Whether a rule is there at all: its dates, its trigger, its reading, and a mode other than off."""
    return (
        _in_time(law, rule, asked)
        and _triggered(law, rule, asked)
        and mode(rule, asked) != "off"
        and all(_answer(law, question, asked) == answer for question, answer in rule.reading)
    )


def mode(rule: RuleDoc, asked: Question) -> str:
    """The mode of a rule now: the deployment's dated word, else its undated, else the law's dated, else its own."""
    theirs = [word for start, word in asked.deployment.modes_from.get(rule.id, ()) if start <= asked.now]
    own = [word for start, word in rule.mode_from if start <= asked.now]
    if theirs:
        return theirs[-1]
    if rule.id in asked.deployment.modes:
        return asked.deployment.modes[rule.id]
    return own[-1] if own else rule.mode


def anchor_covers(law: LawDoc, rule: RuleDoc, anchor: Anchor, asked: Question) -> bool:
    """Whether one anchor of a rule counts the person as covered."""
    if rule.excluded_by is None:
        return asked.finding.covered(law.jurisdiction, anchor)
    excluded = asked.finding.state(law.jurisdiction, anchor) is State.EXCLUDED
    trust = asked.finding.anchor(anchor).trust
    return not (excluded and trust is not None and trust >= rule.excluded_by)


def speaks(law: LawDoc, rule: RuleDoc, asked: Question) -> bool:
    """Whether a standing rule is about the activity and the person, sinks and `unless` aside."""
    activity = asked.activity
    if activity is None:
        return False
    return (
        any(anchor_covers(law, rule, anchor, asked) for anchor in rule.anchors)
        and _about_data(law, rule, activity, asked)
        and (rule.operations is None or activity.operation in rule.operations)
        and (rule.actions is None or not rule.actions.isdisjoint(activity.actions))
        and (rule.purposes is None or activity.purpose is None or activity.purpose in rule.purposes)
        and (rule.bases is None or activity.basis is None or activity.basis in rule.bases)
        and (rule.ai is None or _about_ai(rule.ai, dict(activity.ai)))
        and _about_operator(rule.operator, asked.deployment.operator)
        and not _waits(rule, activity, asked)
    )


def about(law: LawDoc, rule: RuleDoc, sink: Sink) -> bool:
    """Whether a rule is about a sink; one that tests no sinks is about all."""
    test = rule.sink
    if test is None:
        return True
    for kind in {test.kind, *test.also}:
        match kind:
            case "abroad" if within(sink.place, law.jurisdiction):
                return False
            case "provider_abroad" if within(sink.provider, law.jurisdiction):
                return False
            case "keys_abroad" if within(sink.keys, law.jurisdiction):
                return False
            case "in" if not within(sink.place, test.place):
                return False
    return (
        (test.places is None or any(within(sink.place, place) for place in test.places))
        and (test.outside is None or not any(within(sink.place, place) for place in test.outside))
        and (test.scopes is None or sink.scope in test.scopes)
        and (test.encrypted is None or sink.encrypted == test.encrypted)
    )


def own_purpose(tokens: frozenset[str], activity: Activity | None) -> frozenset[str]:
    """Tokens with `consent:{purpose}` read as the consent to the activity's purpose, where it states one."""
    if activity is None or activity.purpose is None:
        return tokens
    return frozenset(f"consent:{activity.purpose}" if t == "consent:{purpose}" else t for t in tokens)


def _moment(rule: RuleDoc, asked: Question) -> int:
    """The instant that a rule's dates are read at."""
    if rule.clock == "request" and asked.requested is not None:
        return asked.requested
    if rule.clock == "collection" and asked.collected is not None:
        return asked.collected
    return asked.now


def _in_time(law: LawDoc, rule: RuleDoc, asked: Question) -> bool:
    moment = _moment(rule, asked)
    for span in (law.span, rule.span):
        begun = span.start is None or span.start <= moment
        ended = span.end is not None and span.end <= moment
        # Collected at an unknown time: the data may be of the time before the end.
        if not begun or (ended and not (rule.clock == "collection" and asked.collected is None)):
            return False
    return True


def _triggered(law: LawDoc, rule: RuleDoc, asked: Question) -> bool:
    if rule.trigger is None:
        return True
    for order in asked.facts.orders:
        after = rule.trigger.after
        begins = order.date if after is None else deadline(order.date, after, law.calendar)
        lifted = order.lifted is not None and order.lifted <= asked.now
        if order.kind == rule.trigger.order and begins <= asked.now and not lifted:
            return True
    return False


def _answer(law: LawDoc, question: str, asked: Question) -> str | None:
    if question in asked.deployment.readings:
        return asked.deployment.readings[question]
    return law.readings[question].default if question in law.readings else None


def _waits(rule: RuleDoc, activity: Activity, asked: Question) -> bool:
    for transition in rule.transitions:
        before, sectors = transition.in_use_before, transition.sectors
        in_use = before is None or (activity.since is not None and activity.since < before)
        of_sector = sectors is None or not sectors.isdisjoint(asked.deployment.operator.sectors)
        if in_use and of_sector and _moment(rule, asked) < transition.until:
            return True
    return False


def _about_data(law: LawDoc, rule: RuleDoc, activity: Activity, asked: Question) -> bool:
    if rule.data is None:
        return True
    seen = _categories(law, activity)
    for other in asked.laws:
        if other.jurisdiction == law.jurisdiction and other.span.holds(asked.now):
            there = _categories(other, activity)
            seen |= {e.becomes for e in other.escalations if e.id in asked.facts.escalated and _meets(there, e.data)}
    return _meets(seen, rule.data)


def _categories(law: LawDoc, activity: Activity) -> frozenset[str]:
    """The activity's categories, and those that detectors of a law find."""
    return activity.data | {d.data for d in law.detectors if _detects(d, activity)}


def _detects(detector: Detector, activity: Activity) -> bool:
    if detector.media & activity.media:
        return True
    return any(fnmatchcase(f.casefold(), glob.casefold()) for f in activity.fields for glob in detector.fields)


def _meets(categories: frozenset[str], wanted: frozenset[str]) -> bool:
    return any(category_within(category, want) for category in categories for want in wanted)


def _about_ai(asked: tuple[tuple[str, frozenset[str]], ...], system: dict[str, str]) -> bool:
    if not system:
        return False
    for key, answers in asked:
        if key in system:
            if system[key] not in answers:
                return False
        elif answers <= _TRUTH and "false" not in answers:
            return False
    return True


def _about_operator(asked: OperatorTest, operator: Operator) -> bool:
    homes = operator.established_in
    if asked.established_in is not None and not any(within(h, p) for h in homes for p in asked.established_in):
        return False
    if asked.not_established_in is not None and any(within(h, p) for h in homes for p in asked.not_established_in):
        return False
    if asked.role is not None and not asked.role & operator.roles:
        return False
    if asked.service_line is not None and not asked.service_line & operator.service_lines:
        return False
    if asked.sector is not None and not asked.sector & operator.sectors:
        return False
    if asked.size is not None and operator.size is not None and operator.size not in asked.size:
        return False
    if asked.critical is not None and asked.critical != operator.critical:
        return False
    return asked.public_body is None or asked.public_body == operator.public_body
