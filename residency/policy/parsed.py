"""Parsed policy files as frozen values: LawDoc, DeploymentDoc, RegisterDoc. No text and no pydantic past this point."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from residency.model import (
    Activity,
    Anchor,
    Event,
    Exemption,
    Filing,
    Operation,
    Operator,
    Order,
    Presume,
    Region,
    Sink,
    StopOrder,
)
from residency.policy.parsed_audit import AuditDoc
from residency.policy.parsed_law import (
    Detector,
    Escalation,
    Grace,
    LawDoc,
    Must,
    OperatorTest,
    Reading,
    RuleDoc,
    SinkTest,
    Span,
    Transition,
    Trigger,
)
from residency.policy.parsed_signals import PinsDoc, Secret, SignalsDoc
from residency.policy.parsed_source import Source
from residency.policy.parsed_storage import CopiesDoc, HandOverDoc, LocationDoc, RecordDoc, SinkDoc

__all__ = [
    "AuditDoc",
    "DeploymentDoc",
    "Detector",
    "Escalation",
    "Grace",
    "LawDoc",
    "Must",
    "OperatorTest",
    "Reading",
    "RegisterDoc",
    "RuleDoc",
    "SinkDoc",
    "SinkTest",
    "Source",
    "Span",
    "Transition",
    "Trigger",
    "hand_over_name",
    "locator_name",
]


def locator_name(place: str) -> str:
    """What the locator of a place is told by. No sink's name has a slash."""
    return f"locators/{place}"


def hand_over_name(place: str) -> str:
    """What the instance that serves a place's people is told by. No sink's name has a slash."""
    return f"hand_over/{place}"


@dataclass(frozen=True, slots=True)
class DeploymentDoc:
    """One deployment. `laws` are names or globs, empty only where the file says `laws: none`; paths are as written."""

    name: str
    mode: str
    operator: Operator
    laws: tuple[str, ...]
    laws_from: tuple[str, ...]
    registers: tuple[str, ...]
    presume: tuple[tuple[Anchor, Presume], ...]
    regions: Mapping[str, Region]
    sinks: Mapping[str, SinkDoc]
    stores: Mapping[str, tuple[str, ...]]
    activities: tuple[Activity, ...]
    conflicts_presumed: bool = False  # presume: {conflicts: as_silent}
    exempt: tuple[tuple[str, str], ...] = ()
    http: Mapping[str, str] = field(default_factory=dict)
    unclassified: str = "deny"
    modes: Mapping[str, str] = field(default_factory=dict)
    modes_from: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """Modes by date: from these instants (microseconds) on. Before the first, the rule's own."""
    law_digests: Mapping[str, str] = field(default_factory=dict)
    framework: str | None = None
    readings: Mapping[str, str] = field(default_factory=dict)
    strict_clocks: bool = False
    readers: str = "decide"
    """Whether rules about sinks are asked of places abroad where data is read, too; `record` = it is noted alone."""
    offices: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Places of ranges of addresses that nobody else knows the place of: from there somebody of ours reads."""
    must: tuple[Must, ...] = ()
    detectors: tuple[Detector, ...] = ()
    signals: SignalsDoc = field(default_factory=SignalsDoc)
    copies: Mapping[str, CopiesDoc] = field(default_factory=dict)
    """Copies that the app wants, by store, where the decision permits."""
    records: Mapping[str, tuple[RecordDoc, ...]] = field(default_factory=dict)
    locators: Mapping[str, Secret] = field(default_factory=dict)
    """Where the locator of a place lies; of a place that is not named: beside the pins."""
    hand_over: Mapping[str, HandOverDoc] = field(default_factory=dict)
    location: LocationDoc = field(default_factory=LocationDoc)
    audit: AuditDoc = field(default_factory=AuditDoc)
    keys_folder: str = "./residency-data/keys"
    pins: PinsDoc = field(default_factory=lambda: PinsDoc(Secret("sqlite:///./residency-data/pins.db")))
    metrics: str | None = None
    assume: str | None = None  # dev: {assume: VN}
    source: Source = field(compare=False, repr=False, default_factory=lambda: Source(""))

    def keepers(self) -> dict[str, tuple[str, Secret]]:
        """What gets something of people beside the sinks, and where the file says that it lies: by the name that it is
        told by, which no sink can have, its place and its URL. Locators and pins have digests, and the instances that
        people are handed over to whole requests. A locator lies where its sinks do."""
        found = {locator_name(place): (place, url) for place, url in self.locators.items()}
        found |= {hand_over_name(place): (place, Secret(home.url)) for place, home in self.hand_over.items()}
        if self.pins.region is not None:
            found["pins/url"] = self.regions[self.pins.region].place, self.pins.url
        return found

    def sinks_of(self, activity: Activity) -> dict[str, str]:
        """The sinks of all stores that an activity uses, in the order of the file; each with the first that has it."""
        found: dict[str, str] = {}
        for store in activity.stores:
            for name in self.stores.get(store, ()):
                found.setdefault(name, store)
        return found

    def records_at(self, store: str, sinks: Collection[str]) -> tuple[RecordDoc, ...]:
        """What `records:` tell of a store's sinks: its own, and of other stores that have one of these, whose tables
        lie there, too. Each table once: as who says whose its rows are has it, and of these the store itself."""
        own = self.records.get(store, ())
        others = [
            docs
            for name, docs in self.records.items()
            if name != store and any(sink in sinks for sink in self.stores.get(name, ()))
        ]
        if not others:
            return own
        every = [doc for docs in (*others, own) for doc in docs]
        return tuple({doc.name: doc for doc in sorted(every, key=lambda doc: bool(doc.subject or doc.via))}.values())

    def needs(self, activity: Activity) -> tuple[frozenset[str], ...]:
        """The sinks of each store that an activity cannot do without: it may go on only where each of these has one
        that may take the data, so that nothing is done by halves. A cache it can do without."""
        found = (self.stores.get(store, ()) for store in activity.stores)
        return tuple(
            frozenset(names) for names in found if any(self.sinks[name].sink.scope != "cache" for name in names)
        )

    def goes_out(self, activity: Activity, sink: Sink) -> bool:
        """Whether an activity sends data to a sink. Erasing sends none, and reading only what it caches, asks the
        service that it calls, or shows where it is read."""
        if activity.operation is Operation.READ:
            called = self.stores.get(self.http.get(activity.name, ""), ())
            return sink.scope in ("cache", "reader") or sink.name in called
        return activity.operation is not Operation.ERASE

    def mode_of(self, rule: RuleDoc, now: int) -> str:
        """The mode of a rule at `now` (microseconds): the deployment's word for it, else the rule's own."""
        own = self.modes.get(rule.id)
        mode = rule.mode if own is None else own
        for at, later in (*(rule.mode_from if own is None else ()), *self.modes_from.get(rule.id, ())):
            if at <= now:
                mode = later
        return mode


@dataclass(frozen=True, slots=True)
class RegisterDoc:
    """Compliance's records: filings, orders, exemptions, events, stop orders."""

    name: str
    filings: tuple[Filing, ...] = ()
    stop_orders: tuple[StopOrder, ...] = ()
    orders: tuple[Order, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    events: tuple[Event, ...] = ()
    source: Source = field(compare=False, repr=False, default_factory=lambda: Source(""))
