"""A checked law file in; a LawDoc out. Dates become microseconds, durations months, names of lists what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from residency.model import (
    Anchor,
    Bound,
    Calendar,
    Clause,
    Deadline,
    Duty,
    Effect,
    Operation,
    Protection,
    Retention,
    Term,
    Trust,
)
from residency.model.place import normal
from residency.policy import documents_law as files
from residency.policy.parsed import (
    Detector,
    Escalation,
    Grace,
    LawDoc,
    Must,
    OperatorTest,
    Reading,
    RuleDoc,
    SinkTest,
    Source,
    Span,
    Transition,
    Trigger,
)
from residency.policy.times import instant, offset_minutes

__all__ = ["detectors", "law", "musts", "term"]

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def law(model: files.LawFile, name: str, source: Source, sha256: str = "") -> LawDoc:
    """A law file as a value; `sha256` (hex) is of its bytes."""
    return LawDoc(
        name=name,
        jurisdiction=model.jurisdiction,
        instrument=model.instrument,
        title=model.title or model.instrument,
        title_vi=model.title_vi or "",
        span=_span(model.in_force, model.time_zone),
        confidence=model.checked.confidence,
        checked=model.checked.date,
        rules=tuple(_rule(model, rule, ("rules", index)) for index, rule in enumerate(model.rules)),
        source=source,
        extends=model.extends,
        dropped=tuple((entry.rule, entry.why) for entry in model.drop),
        number=model.number or "",
        link=model.link or "",
        replaced_by=model.replaced_by or "",
        note=model.note or "",
        not_covered=tuple(model.not_covered),
        calendar=_calendar(model),
        readings={
            question: Reading(reading.text, tuple(reading.options), reading.default)
            for question, reading in model.readings.items()
        },
        escalations=tuple(_escalation(model, entry) for entry in model.escalations),
        detectors=detectors(model.detectors),
        must=musts(model.must, ("must",)),
        sha256=sha256,
    )


def _calendar(model: files.LawFile) -> Calendar:
    offset = offset_minutes(model.time_zone)
    days = model.working_days
    if days is None:
        return Calendar(offset)
    return Calendar(
        offset,
        Calendar().weekend if days.weekend is None else frozenset(_WEEKDAYS.index(day) for day in days.weekend),
        frozenset(date.fromisoformat(day) for day in days.holidays),
    )


def _span(span: files.Span | None, offset: str) -> Span:
    if span is None:
        return Span()
    # `to` names the last day in force, so the span ends where the next day begins.
    return Span(instant(span.from_, offset), None if span.to is None else instant(span.to, offset, days=1))


def _rule(model: files.LawFile, rule: files.Rule, path: tuple[str | int, ...]) -> RuleDoc:
    applies = rule.applies
    data = _categories(applies.data, model.categories)
    zone = model.time_zone
    return RuleDoc(
        id=rule.id,
        article=rule.article,
        text=rule.text,
        text_vi=rule.text_vi or "",
        source=" ".join(rule.source) if rule.source is not None else model.checked.source,
        confidence=rule.confidence or model.checked.confidence,
        checked=rule.checked or model.checked.date,
        mode=rule.mode,
        span=_span(rule.in_force, zone),
        anchors=frozenset(Anchor(a) for a in applies.anchor),
        data=data,
        operations=None if applies.operation is None else frozenset(Operation(o) for o in applies.operation),
        operator=_operator(applies.operator or files.OperatorTest()),
        sink=_sink_test(applies.sink, model.places),
        duty=_duty(rule.duty, data, model.jurisdiction),
        overrides=frozenset(rule.overrides),
        path=path,
        link=rule.link or model.link or "",
        fine=rule.fine or "",
        note=rule.note or "",
        mode_from=tuple(sorted((instant(entry.from_, zone), entry.mode) for entry in rule.mode_from)),
        clock=rule.clock,
        transitions=tuple(
            Transition(
                instant(entry.until, zone, days=1),
                None if entry.in_use_before is None else instant(entry.in_use_before, zone),
                _set(entry.sector),
            )
            for entry in rule.transitions
        ),
        trigger=None
        if rule.trigger is None
        else Trigger(rule.trigger.order, None if rule.trigger.after is None else term(rule.trigger.after)),
        reading=tuple(sorted((rule.reading or {}).items())),
        excluded_by=None if applies.excluded_by is None else Trust[applies.excluded_by.upper()],
        actions=_set(applies.action),
        purposes=_set(applies.purpose),
        bases=_set(applies.basis),
        ai=None if applies.ai is None else tuple(sorted((key, _answers(value)) for key, value in applies.ai.items())),
        unless=frozenset(_token(token, model.jurisdiction) for token in applies.unless or ()),
        graces=tuple(
            Grace(_grace_token(clause.after, clause.within, model.jurisdiction), clause.after, term(clause.within))
            for clause in rule.duty.require
            if clause.after is not None and clause.within is not None
        ),
    )


def _answers(value: list[str] | bool) -> frozenset[str]:
    return frozenset({"true" if value else "false"} if isinstance(value, bool) else value)


def _set(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _categories(words: Sequence[str] | None, named: Mapping[str, Sequence[str]]) -> frozenset[str] | None:
    """Categories with the law's own names replaced by what they stand for."""
    return None if words is None else frozenset(c for word in words for c in named.get(word, (word,)))


def _operator(test: files.OperatorTest) -> OperatorTest:
    return OperatorTest(
        established_in=_set(test.established_in),
        not_established_in=_set(test.not_established_in),
        role=_set(test.role),
        service_line=_set(test.service_line),
        public_body=test.public_body,
        sector=_set(test.sector),
        size=_set(test.size),
        critical=test.critical,
    )


def _sink_test(test: files.SinkTest | None, named: Mapping[str, Sequence[str]]) -> SinkTest | None:
    if test is None:
        return None
    kinds = [
        kind
        for kind, asked in (
            ("abroad", test.abroad),
            ("provider_abroad", test.provider_abroad),
            ("keys_abroad", test.keys_abroad),
        )
        if asked
    ]
    return SinkTest(
        kinds[0] if kinds else "any",
        places=_places(test.in_, named),
        outside=_places(test.not_in, named),
        scopes=_set(test.scope),
        encrypted=test.encrypted,
        also=frozenset(kinds[1:]),
    )


def _places(words: Sequence[str] | None, named: Mapping[str, Sequence[str]]) -> frozenset[str] | None:
    return None if words is None else frozenset(p for word in words for p in named.get(word, (word,)))


def _grace_token(event: str, within: str, place: str) -> str:
    return f"clock:{event}.{place}/{within.replace(' ', '-')}"


def _token(token: str, place: str) -> str:
    """`known:` asks about an anchor under the law's own place."""
    return f"{token}.{place}" if token.startswith("known:") else token


def _clause(clause: files.Clause, place: str) -> Clause:
    tokens = {_token(token, place) for token in clause.any}
    # A running term is one more way to meet the clause, so the join stays a union of sets.
    if clause.after is not None and clause.within is not None:
        tokens.add(_grace_token(clause.after, clause.within, place))
    return frozenset(tokens)


def _duty(duty: files.Duty, data: Iterable[str] | None, place: str) -> Duty:
    return Duty(
        copies=frozenset(duty.copies or ()),
        first_write=frozenset(duty.first_write or ()),
        only=None if duty.only is None else normal(frozenset(duty.only)),
        require=frozenset(_clause(clause, place) for clause in duty.require),
        retain=frozenset(r for entry in duty.retain for r in _retentions(entry, data)),
        protect=frozenset(Protection(p.field, p.direction, p.transform, p.effect) for p in duty.protect),
        log=frozenset(duty.log),
        label=frozenset(duty.label),
        effect=Effect[duty.effect.upper()],
        deadlines=frozenset(Deadline(d.task, term(d.within), d.from_, place) for d in duty.deadlines),
    )


def _retentions(entry: files.Retain, data: Iterable[str] | None) -> list[Retention]:
    """A retention without `data` holds for each category that its rule is about; "*" where that is any."""
    text = str(entry.at_most if entry.at_least is None else entry.at_least)
    bound = Bound.AT_LEAST if entry.at_least is not None else Bound.AT_MOST
    kept = Term() if text == "lifetime" else term(text)
    categories = [entry.data] if entry.data is not None else sorted(data or ["*"])
    return [
        Retention(category, bound, kept.months, kept.days, entry.from_, text == "lifetime", entry.scope or "")
        for category in categories
    ]


def term(text: str) -> Term:
    """A duration or term as written ("24 months", "15 working days") as a value."""
    amount, *unit = text.split(" ")
    number = int(amount)
    match unit[-1][0]:
        case "h":
            return Term(hours=number)
        case "m":
            return Term(months=number)
        case "y":
            return Term(months=12 * number)
        case _:
            return Term(days=number, working=len(unit) == 2)


def _escalation(model: files.LawFile, entry: files.Escalation) -> Escalation:
    return Escalation(
        id=entry.id,
        article=entry.article,
        data=_categories(entry.data, model.categories) or frozenset(),
        subjects=entry.subjects,
        becomes=entry.becomes,
        falls_below=entry.falls_below or entry.subjects,
        per=entry.per,
        confidence=entry.confidence or model.checked.confidence,
    )


def detectors(entries: Iterable[files.Detector]) -> tuple[Detector, ...]:
    """Detectors as values."""
    return tuple(Detector(d.data, tuple(d.fields), frozenset(d.media or ()), d.validator, d.score) for d in entries)


def musts(entries: Iterable[files.Must], at: tuple[str | int, ...]) -> tuple[Must, ...]:
    """Invariants as values; their keys and words were checked before."""
    return tuple(
        Must(
            entry.id or f"must.{number + 1}",
            tuple(sorted(_condition(key, value) for key, value in entry.never.items())),
            entry.why or "",
            (*at, number),
        )
        for number, entry in enumerate(entries)
    )


def _condition(key: str, value: Any) -> tuple[str, bool, frozenset[str]]:
    """`VN` and `[VN, LA]` ask for one of these; `not VN` and `{not: [VN, LA]}` for none of them."""
    negated = isinstance(value, dict)
    words = value["not"] if negated else value
    if isinstance(words, bool):
        words = "true" if words else "false"
    listed = [words] if isinstance(words, str) else list(words)
    if not negated and len(listed) == 1 and listed[0].startswith("not "):
        negated, listed = True, [listed[0][4:]]
    return key, negated, frozenset(listed)
