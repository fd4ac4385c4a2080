"""Checked pydantic models in; the frozen values of `parsed` out. Dates become microseconds here, durations months."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

from residency.model import (
    Activity,
    Anchor,
    Bound,
    Duty,
    Effect,
    Filing,
    FilingResult,
    Operation,
    Operator,
    Presume,
    Protection,
    Region,
    Retention,
    Sink,
    StopOrder,
    SubjectSource,
)
from residency.model.place import normal
from residency.policy import documents as files
from residency.policy.build_signals import microseconds, pins, signals
from residency.policy.parsed import (
    AuditDoc,
    DeploymentDoc,
    LawDoc,
    OperatorTest,
    RegisterDoc,
    RuleDoc,
    SinkDoc,
    SinkTest,
    Source,
    Span,
)
from residency.policy.parsed_signals import Secret
from residency.policy.words import DATE

__all__ = ["deployment", "instant", "law", "parse_date", "register"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_OPERATIONS: Final = {
    "GET": Operation.READ,
    "HEAD": Operation.READ,
    "OPTIONS": Operation.READ,
    "TRACE": Operation.READ,
    "QUERY": Operation.READ,
    "POST": Operation.WRITE,
    "PUT": Operation.WRITE,
    "PATCH": Operation.WRITE,
    "DELETE": Operation.ERASE,
}


def parse_date(text: str) -> date | None:
    """The calendar day that `text` (YYYY-MM-DD) names, None where there is none."""
    if DATE.fullmatch(text) is None or not text.isascii():
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def instant(text: str, offset: str, *, days: int = 0) -> int:
    """The first microsecond (UTC) of the day `text`, plus `days`, on clocks that stand at `offset` ("+07:00").

    Raises:
        ValueError: where `text` is no day or lies past the calendar.
    """
    day = parse_date(text)
    if day is None:
        raise ValueError("not a day")
    sign = -1 if offset[0] == "-" else 1
    zone = timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6])))
    # Shift as a difference: the first and the last day of the calendar have no neighbour to shift into.
    naive = datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH
    return (naive + timedelta(days=days) - (zone.utcoffset(None) or timedelta())) // _MICROSECOND


def law(model: files.LawFile, name: str, source: Source) -> LawDoc:
    """A law file as a value."""
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
    )


def _span(span: files.Span | None, offset: str) -> Span:
    if span is None:
        return Span()
    # `to` names the last day in force, so the span ends where the next day begins.
    return Span(instant(span.from_, offset), None if span.to is None else instant(span.to, offset, days=1))


def _rule(model: files.LawFile, rule: files.Rule, path: tuple[str | int, ...]) -> RuleDoc:
    applies = rule.applies
    operator = applies.operator or files.OperatorTest()
    return RuleDoc(
        id=rule.id,
        article=rule.article,
        text=rule.text,
        text_vi=rule.text_vi or "",
        source=" ".join(rule.source) if rule.source is not None else model.checked.source,
        confidence=rule.confidence or model.checked.confidence,
        checked=rule.checked or model.checked.date,
        mode=rule.mode,
        span=_span(rule.in_force, model.time_zone),
        anchors=frozenset(Anchor(a) for a in applies.anchor),
        data=_set(applies.data),
        operations=None if applies.operation is None else frozenset(Operation(o) for o in applies.operation),
        operator=OperatorTest(
            established_in=_set(operator.established_in),
            not_established_in=_set(operator.not_established_in),
            role=_set(operator.role),
            service_line=_set(operator.service_line),
            public_body=operator.public_body,
        ),
        sink=_sink_test(applies.sink),
        duty=_duty(rule.duty, applies.data),
        overrides=frozenset(rule.overrides),
        path=path,
    )


def _set(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _sink_test(test: files.SinkTest | None) -> SinkTest | None:
    if test is None:
        return None
    if test.in_ is not None:
        return SinkTest("in", test.in_)
    return SinkTest("abroad" if test.abroad is not None else "provider_abroad")


def _duty(duty: files.Duty, data: list[str] | None) -> Duty:
    return Duty(
        copies=frozenset(duty.copies or ()),
        first_write=frozenset(duty.first_write or ()),
        only=None if duty.only is None else normal(frozenset(duty.only)),
        require=frozenset(frozenset(clause) for clause in duty.require),
        retain=frozenset(r for entry in duty.retain for r in _retentions(entry, data)),
        protect=frozenset(Protection(p.field, p.direction, p.transform, p.effect) for p in duty.protect),
        log=frozenset(duty.log),
        label=frozenset(duty.label),
        effect=Effect[duty.effect.upper()],
    )


def _retentions(entry: files.Retain, data: list[str] | None) -> list[Retention]:
    """A retention without `data` holds for each category that its rule is about; "*" where that is any."""
    text = str(entry.at_most if entry.at_least is None else entry.at_least)
    amount, unit = text.split(" ")
    months = int(amount) * {"d": 0, "m": 1, "y": 12}[unit[0]]
    days = int(amount) if unit[0] == "d" else 0
    bound = Bound.AT_LEAST if entry.at_least is not None else Bound.AT_MOST
    categories = [entry.data] if entry.data is not None else data or ["*"]
    return [Retention(category, bound, months, days, entry.from_) for category in categories]


def deployment(model: files.DeploymentFile, source: Source) -> DeploymentDoc:
    """A deployment file as a value. Names that refer to each other have been checked before."""
    regions = {name: Region(name, region.country) for name, region in model.regions.items()}
    activities = tuple(_activity(a) for a in model.activities)
    operator = model.operator
    return DeploymentDoc(
        name=model.name,
        mode=model.mode,
        operator=Operator(
            frozenset(operator.established_in),
            frozenset(operator.roles),
            frozenset(operator.service_lines),
            operator.public_body,
        ),
        laws=() if model.laws == ["none"] else tuple(model.laws),
        laws_from=tuple(model.laws_from or ()),
        registers=tuple(model.registers),
        presume=_presume(model.presume),
        regions=regions,
        sinks={
            name: SinkDoc(Sink(name, s.region, regions[s.region].place, s.provider, s.keys, s.encrypted), Secret(s.url))
            for name, s in model.sinks.items()
        },
        stores={name: tuple(sinks) for name, sinks in model.stores.items()},
        activities=activities,
        conflicts_presumed=model.presume.conflicts == "as_silent",
        exempt=tuple(_route(route) for route in model.exempt),
        http={a.name: file.http for a, file in zip(activities, model.activities, strict=True) if file.http is not None},
        unclassified=model.unclassified,
        modes=dict(model.modes),
        signals=signals(model.signals),
        audit=_audit(model),
        keys_folder=model.keys.folder if model.keys is not None else "./residency-data/keys",
        pins=pins(model.pins),
        metrics=model.metrics,
        assume=None if model.dev is None else model.dev.assume,
        source=source,
    )


def _route(text: str) -> tuple[str, str]:
    method, path = text.split(" ", 1)
    return method, path


def _activity(activity: files.ActivityFile) -> Activity:
    method, path = _route(activity.route)
    kind, _, name = activity.subject.partition(".")
    # A method that says nothing (ANY, WS, CONNECT) may do anything: the strictest reading is a write.
    operation = activity.operation or _OPERATIONS.get(method, Operation.WRITE)
    return Activity(
        name=activity.name or activity.route,
        method=method,
        path=path,
        subject=SubjectSource(kind, name),
        data=frozenset(activity.data),
        operation=Operation(operation),
        purpose=activity.purpose,
        basis=activity.basis,
        store=activity.store,
        ai=tuple(sorted(activity.ai.items())),
        raw_paths=activity.paths == "raw",
    )


def _presume(presume: files.Presume) -> tuple[tuple[Anchor, Presume], ...]:
    return (
        (Anchor.TERRITORY, Presume(presume.territory or "covered")),
        (Anchor.CITIZENSHIP, Presume(presume.citizenship or "as_residence")),
        (Anchor.RESIDENCE, Presume(presume.residence or "as_territory")),
        (Anchor.COLLECTION, Presume(presume.collection or "as_territory")),
    )


def _audit(model: files.DeploymentFile) -> AuditDoc:
    return AuditDoc(
        folder=model.audit.folder,
        origin=model.audit.origin or model.name,
        detail=dict(model.audit.detail),
        publish_every=microseconds(model.audit.publish_every),
    )


def register(model: files.RegisterFile, source: Source) -> RegisterDoc:
    """A register file as a value. A day stands for its first instant in the register's time zone."""

    def at(text: str | None) -> int | None:
        return None if text is None else instant(text, model.time_zone)

    return RegisterDoc(
        name=model.name,
        filings=tuple(
            Filing(f.kind, f.number, instant(f.date, model.time_zone), FilingResult(f.result), at(f.expires))
            for f in model.filings
        ),
        stop_orders=tuple(
            StopOrder(o.number, o.sink, instant(o.since, model.time_zone), at(o.lifted)) for o in model.stop_orders
        ),
        source=source,
    )
