"""A parsed law as frozen values: what its rules ask of whom, and from when to when.

Instants are microseconds since the epoch, UTC. A span holds from `start` on and until just before `end`; None is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from residency.model import PLAIN, Anchor, Calendar, Duty, Operation, Term, Trust
from residency.policy.parsed_source import Source

__all__ = [
    "Detector",
    "Escalation",
    "Grace",
    "LawDoc",
    "Must",
    "OperatorTest",
    "Reading",
    "RuleDoc",
    "SinkTest",
    "Span",
    "Transition",
    "Trigger",
]


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
