"""Checked deployment and register files in; the frozen values of `parsed` out. Dates become microseconds here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from residency.model import (
    Activity,
    Anchor,
    Event,
    Exemption,
    Filing,
    FilingResult,
    Operation,
    Operator,
    Order,
    Presume,
    Region,
    StopOrder,
    SubjectSource,
)
from residency.policy import documents as files
from residency.policy.build_audit import audit
from residency.policy.build_law import detectors, musts
from residency.policy.build_signals import pins, signals
from residency.policy.build_storage import copies, hand_over, location, locators, records, sink
from residency.policy.detect import detected
from residency.policy.parsed import (
    DeploymentDoc,
    RegisterDoc,
    Source,
)
from residency.policy.times import instant

__all__ = ["deployment", "register"]

_UTC: Final = "+00:00"  # a deployment is not of one place: its days are those of UTC
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


def deployment(model: files.DeploymentFile, source: Source) -> DeploymentDoc:
    """A deployment file as a value. Names that refer to each other have been checked before."""
    regions = {name: Region(name, region.country) for name, region in model.regions.items()}
    activities = tuple(_activity(a, model) for a in model.activities)
    operator = model.operator
    return DeploymentDoc(
        name=model.name,
        mode=model.mode,
        operator=Operator(
            frozenset(operator.established_in),
            frozenset(operator.roles),
            frozenset(operator.service_lines),
            operator.public_body,
            frozenset(operator.sectors),
            operator.size,
            operator.critical,
        ),
        laws=() if model.laws == ["none"] else tuple(model.laws),
        laws_from=tuple(model.laws_from or ()),
        registers=tuple(model.registers),
        presume=_presume(model.presume),
        regions=regions,
        sinks={name: sink(name, s, regions) for name, s in model.sinks.items()},
        stores={name: tuple(sinks) for name, sinks in model.stores.items()},
        activities=activities,
        conflicts_presumed=model.presume.conflicts == "as_silent",
        exempt=tuple(_route(route) for route in model.exempt),
        http={a.name: file.http for a, file in zip(activities, model.activities, strict=True) if file.http is not None},
        unclassified=model.unclassified,
        modes={rule: mode.mode for rule, modes in model.modes.items() for mode in modes if mode.from_ is None},
        modes_from={
            rule: tuple(sorted((instant(mode.from_, _UTC), mode.mode) for mode in modes if mode.from_ is not None))
            for rule, modes in model.modes.items()
            if any(mode.from_ is not None for mode in modes)
        },
        law_digests=dict(model.law_digests),
        framework=model.framework,
        readings=dict(model.readings),
        strict_clocks=model.clocks == "strict",
        readers=model.readers,
        offices=tuple((place, tuple(ranges)) for place, ranges in model.offices.items()),
        must=musts(model.must, ("must",)),
        detectors=detectors(model.detectors),
        signals=signals(model.signals),
        copies=copies(model.copies),
        records=records(model.records),
        locators=locators(model.locators),
        hand_over=hand_over(model.hand_over),
        location=location(model.location),
        audit=audit(model.audit, model.name),
        keys_folder=model.keys.folder if model.keys is not None else "./residency-data/keys",
        pins=pins(model.pins),
        metrics=model.metrics,
        assume=None if model.dev is None else model.dev.assume,
        source=source,
    )


def _route(text: str) -> tuple[str, str]:
    method, path = text.split(" ", 1)
    return method, path


def _activity(activity: files.ActivityFile, model: files.DeploymentFile) -> Activity:
    method, path = _route(activity.route)
    kind, _, name = activity.subject.partition(".")
    # A method that says nothing (ANY, WS, CONNECT) may do anything: the strictest reading is a write.
    operation = activity.operation or _OPERATIONS.get(method, Operation.WRITE)
    return Activity(
        name=activity.name or activity.route,
        method=method,
        path=path,
        subject=SubjectSource(kind, name),
        data=frozenset(activity.data).union(*_carried(activity, model)),
        operation=Operation(operation),
        purpose=activity.purpose,
        basis=activity.basis,
        stores=_stores(activity, model),
        ai=tuple(sorted((key, _word(value)) for key, value in activity.ai.items())),
        raw_paths=activity.paths == "raw",
        actions=frozenset(activity.action),
        fields=frozenset(activity.fields),
        media=frozenset(activity.media),
        since=None if activity.since is None else instant(activity.since, _UTC),
    )


def _stores(activity: files.ActivityFile, model: files.DeploymentFile) -> tuple[str, ...]:
    """The stores that it names, and the services that it calls as far as they are stores."""
    called = [activity.http] if activity.http is not None and activity.http in model.stores else []
    return tuple(dict.fromkeys((*activity.store, *called)))


def _word(value: str | bool) -> str:
    return value if isinstance(value, str) else "true" if value else "false"


def _carried(activity: files.ActivityFile, model: files.DeploymentFile) -> Iterator[Iterable[str]]:
    """The categories that the activity's fields bring: those declared, and those that a detector of ours finds."""
    for name in activity.fields:
        yield model.fields.get(name, ())
    for detector in model.detectors:
        if detected(detector.fields, detector.media or (), activity.fields, activity.media):
            yield (detector.data,)


def _presume(presume: files.Presume) -> tuple[tuple[Anchor, Presume], ...]:
    return (
        (Anchor.TERRITORY, Presume(presume.territory or "covered")),
        (Anchor.CITIZENSHIP, Presume(presume.citizenship or "as_residence")),
        (Anchor.RESIDENCE, Presume(presume.residence or "as_territory")),
        (Anchor.COLLECTION, Presume(presume.collection or "as_territory")),
    )


def register(model: files.RegisterFile, source: Source) -> RegisterDoc:
    """A register file as a value. A day stands for its first instant in the register's time zone."""

    def at(text: str) -> int:
        return instant(text, model.time_zone)

    def maybe(text: str | None) -> int | None:
        return None if text is None else at(text)

    def only(names: list[str] | None) -> frozenset[str] | None:
        return None if names is None else frozenset(names)

    return RegisterDoc(
        name=model.name,
        filings=tuple(
            Filing(
                f.kind,
                f.number,
                at(f.date),
                FilingResult(f.result),
                maybe(f.expires),
                tuple(sorted((at(change.date), FilingResult(change.result)) for change in f.history)),
                only(f.sinks),
                maybe(f.next_update),
                f.sha256 or "",
            )
            for f in model.filings
        ),
        stop_orders=tuple(StopOrder(o.number, o.sink, at(o.since), maybe(o.lifted)) for o in model.stop_orders),
        orders=tuple(Order(o.kind, o.number, at(o.date), maybe(o.lifted)) for o in model.orders),
        exemptions=tuple(
            Exemption(
                e.number,
                frozenset(e.rules),
                e.approved_by,
                e.ground,
                at(e.from_),
                instant(e.expires, model.time_zone, days=1),
                only(e.activities),
                only(e.sinks),
            )
            for e in model.exemptions
        ),
        events=tuple(Event(e.kind, e.jurisdiction, at(e.date)) for e in model.events),
        source=source,
    )
