"""Parsed policy files as frozen values: LawDoc, DeploymentDoc, RegisterDoc. No text and no pydantic past this point.

Instants are microseconds since the epoch, UTC. A span holds from `start` on and until just before `end`; None is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from residency.errors import Problem
from residency.model import Activity, Anchor, Duty, Filing, Operation, Operator, Presume, Region, Sink, StopOrder
from residency.policy.parsed_signals import PinsDoc, Secret, SignalsDoc

__all__ = [
    "AuditDoc",
    "DeploymentDoc",
    "LawDoc",
    "OperatorTest",
    "RegisterDoc",
    "RuleDoc",
    "SinkDoc",
    "SinkTest",
    "Source",
    "Span",
]


@dataclass(frozen=True, slots=True)
class Source:
    """The file a document came from, and the line and column (from 1) of each path in it."""

    file: str
    values: Mapping[tuple[str | int, ...], tuple[int, int]] = field(default_factory=dict, repr=False)

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


@dataclass(frozen=True, slots=True)
class SinkTest:
    """Which sinks a rule is about: kind `abroad`, `provider_abroad` or `in`; `place` only for `in`."""

    kind: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class RuleDoc:
    """One rule of a law. `data` and `operations` None = any; `sink` None = a rule about the activity itself."""

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


@dataclass(frozen=True, slots=True)
class LawDoc:
    """One instrument. `name` is how deployments call it ("vn/decree-333-2026")."""

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


@dataclass(frozen=True, slots=True)
class SinkDoc:
    """A sink as the decision sees it, and the secret that connects to it."""

    sink: Sink
    url: Secret


@dataclass(frozen=True, slots=True)
class AuditDoc:
    """`folder` and the folders of `detail` (by place) are paths as written; `publish_every` is in microseconds."""

    folder: str = "./residency-data/audit"
    origin: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    publish_every: int = 1_000_000


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
    signals: SignalsDoc = field(default_factory=SignalsDoc)
    audit: AuditDoc = AuditDoc()
    keys_folder: str = "./residency-data/keys"
    pins: PinsDoc = field(default_factory=lambda: PinsDoc(Secret("sqlite:///./residency-data/pins.db")))
    metrics: str | None = None
    assume: str | None = None  # dev: {assume: VN}
    source: Source = field(compare=False, repr=False, default_factory=lambda: Source(""))


@dataclass(frozen=True, slots=True)
class RegisterDoc:
    """Compliance's records: filings and stop orders."""

    name: str
    filings: tuple[Filing, ...] = ()
    stop_orders: tuple[StopOrder, ...] = ()
    source: Source = field(compare=False, repr=False, default_factory=lambda: Source(""))
