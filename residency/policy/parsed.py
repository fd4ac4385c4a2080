"""Parsed policy files as frozen values: LawDoc, DeploymentDoc, RegisterDoc. No text and no pydantic past this point.

Instants are microseconds since the epoch, UTC. A span holds from `start` on and until just before `end`; None is open.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from residency.errors import Problem
from residency.model import (
    PLAIN,
    Activity,
    Anchor,
    Calendar,
    Duty,
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
    Term,
    Trust,
)
from residency.policy.parsed_audit import AuditDoc
from residency.policy.parsed_signals import PinsDoc, Secret, SignalsDoc
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
    "locator_name",
]


@dataclass(frozen=True, slots=True)
class Source:
    """The file a document came from, and the line and column (from 1) of each path in it.

    `expanded` has the text, as written, of what `${VAR}` was put into.
    """

    file: str
    values: Mapping[tuple[str | int, ...], tuple[int, int]] = field(default_factory=dict, repr=False)
    expanded: Mapping[tuple[str | int, ...], str] = field(default_factory=dict, repr=False)

    def as_written(self, path: tuple[str | int, ...], text: str) -> str:
        """`text`, the value at `path`, as the file has it: what a variable expands to may be a secret."""
        return self.expanded.get(path, self.expanded.get(path[:-1], text))

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A Problem at `path`, or at the nearest thing above it that the file has."""
        while path and path not in self.values:
            path = path[:-1]
        line, column = self.values.get(path, (1, 1))
        return Problem(self.file, line, column, message)


@dataclass(frozen=True, slots=True)
class Span:
    """When something is in force: `start` <= now < `end`, in microseconds; None is open."""

    start: int | None = None
    end: int | None = None

    def holds(self, now: int) -> bool:
        """Whether `now` (microseconds) lies in the span."""
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)


@dataclass(frozen=True, slots=True)
class OperatorTest:
    """What a rule asks of the operator; a field left None asks nothing, and all that ask must match."""

    established_in: frozenset[str] | None = None
    not_established_in: frozenset[str] | None = None
    role: frozenset[str] | None = None
    service_line: frozenset[str] | None = None
    public_body: bool | None = None
    sector: frozenset[str] | None = None
    size: frozenset[str] | None = None
    critical: bool | None = None


@dataclass(frozen=True, slots=True)
class SinkTest:
    """Which sinks a rule is about; all must match.

    `kind` is `abroad`, `provider_abroad`, `keys_abroad`, `in` (the one `place`) or `any`. `places`: in one of these;
    `outside`: in none of these; `scopes`, `encrypted`: as the sink says of itself. None asks nothing.
    """

    kind: str
    place: str = ""
    places: frozenset[str] | None = None
    outside: frozenset[str] | None = None
    scopes: frozenset[str] | None = None
    encrypted: bool | None = None
    also: frozenset[str] = frozenset()
    """Further kinds, where a rule writes several."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A rule does not speak before `until` for activities in use before `in_use_before` and operators of a sector.

    Instants in microseconds. What is not known of an activity or operator is no reason to wait.
    """

    until: int
    in_use_before: int | None = None
    sectors: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """A rule speaks only once an order of this kind stands, and the time that it leaves has run out."""

    order: str
    after: Term | None = None


@dataclass(frozen=True, slots=True)
class Grace:
    """The running term of a clause: its token counts as given until `term` after the first `event` has run out."""

    token: str
    event: str
    term: Term


@dataclass(frozen=True, slots=True)
class RuleDoc:
    """One rule of a law. What it tests: None (or empty) asks nothing. `sink` None = a rule about the activity itself.

    `mode_from` are later modes by their instants; `clock` names the time that `span` is read at: `evaluation`,
    `request` or `collection`. `reading` is the (question, answer) under which the rule is there at all; `excluded_by`
    the least trust by which a person is taken out of it; `unless` the evidence that does the same. `graces` are the
    terms of its clauses.
    """

    id: str
    article: str
    text: str
    text_vi: str
    source: str
    confidence: str
    checked: str
    mode: str
    span: Span
    anchors: frozenset[Anchor]
    duty: Duty
    data: frozenset[str] | None = None
    operations: frozenset[Operation] | None = None
    operator: OperatorTest = OperatorTest()
    sink: SinkTest | None = None
    overrides: frozenset[str] = frozenset()
    path: tuple[str | int, ...] = ()
    link: str = ""
    fine: str = ""
    note: str = ""
    mode_from: tuple[tuple[int, str], ...] = ()
    clock: str = "evaluation"
    transitions: tuple[Transition, ...] = ()
    trigger: Trigger | None = None
    reading: tuple[tuple[str, str], ...] = ()
    excluded_by: Trust | None = None
    actions: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    bases: frozenset[str] | None = None
    ai: tuple[tuple[str, frozenset[str]], ...] | None = None
    unless: frozenset[str] = frozenset()
    graces: tuple[Grace, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """An open question of a law: how it may be read, and how it is where the deployment says nothing."""

    text: str
    options: tuple[str, ...]
    default: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """From `subjects` on, data of one of the categories `data` is also of `becomes`, until below `falls_below`."""

    id: str
    article: str
    data: frozenset[str]
    subjects: int
    becomes: str
    falls_below: int
    per: str
    confidence: str


@dataclass(frozen=True, slots=True)
class Detector:
    """Data of category `data` is there where a field's name (a glob) or a kind of media is among these.

    `validator` and `score` say what a value must pass, and how surely (1 to 100), where values are looked at.
    """

    data: str
    fields: tuple[str, ...] = ()
    media: frozenset[str] = frozenset()
    validator: str | None = None
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Must:
    """What may never be permitted: all of (key, negated, values) at once, as (`sink.country`, True, {"VN"})."""

    id: str
    never: tuple[tuple[str, bool, frozenset[str]], ...]
    why: str
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class LawDoc:
    """One instrument. `name` is how deployments call it ("vn/decree-333-2026"), `sha256` (hex) is of its file.

    `extends` names the law that this file is an overlay of: its rules replace those of the same id or come beside
    them, and `dropped` (rule, why) are taken out.
    """

    name: str
    jurisdiction: str
    instrument: str
    title: str
    title_vi: str
    span: Span
    confidence: str
    checked: str
    rules: tuple[RuleDoc, ...]
    source: Source = field(compare=False, repr=False, default_factory=lambda: Source(""))
    extends: str | None = None
    dropped: tuple[tuple[str, str], ...] = ()
    number: str = ""
    link: str = ""
    replaced_by: str = ""
    note: str = ""
    not_covered: tuple[str, ...] = ()
    calendar: Calendar = PLAIN
    readings: Mapping[str, Reading] = field(default_factory=dict)
    escalations: tuple[Escalation, ...] = ()
    detectors: tuple[Detector, ...] = ()
    must: tuple[Must, ...] = ()
    sha256: str = ""


def locator_name(place: str) -> str:
    """What the locator of a place is told by. No sink's name has a slash."""
    return f"locators/{place}"


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
        """What holds digests of people beside the sinks, and where the file says that it lies: by the name that it is
        told by, which no sink can have, its place and its URL. A locator lies where its sinks do."""
        found = {locator_name(place): (place, url) for place, url in self.locators.items()}
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
