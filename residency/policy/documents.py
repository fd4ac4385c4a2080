"""The shape of the three kinds of policy file, for pydantic: plain values in, checked models and JSON Schema out.

Used at the border only: `parser` turns these models into the frozen values of `parsed`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from residency.policy.documents_signals import Pins, Signals, Strict
from residency.policy.words import (
    ONE_OR_MANY,
    Anchors,
    Categories,
    Category,
    Confidence,
    Date,
    Duration,
    Event,
    Interval,
    Mode,
    Name,
    Offset,
    Operations,
    Place,
    Places,
    Plain,
    Role,
    Route,
    RuleId,
    ServiceLine,
    Subject,
    Token,
    UrlPath,
    Words,
)

__all__ = ["DOCUMENTS", "DeploymentFile", "LawFile", "RegisterFile", "Strict", "json_schema"]


class Span(Strict):
    """`to` is the last day in force."""

    from_: Date = Field(alias="from")
    to: Date | None = None


class Checked(Strict):
    """When, how surely and from which source a law was read."""

    date: Date
    confidence: Confidence
    source: Plain


class OperatorTest(Strict):
    """What a rule asks of the operator; all that is written must match."""

    established_in: Places | None = None
    not_established_in: Places | None = None
    role: Annotated[list[Role], *ONE_OR_MANY, Field(min_length=1)] | None = None
    service_line: Annotated[list[ServiceLine], *ONE_OR_MANY, Field(min_length=1)] | None = None
    public_body: bool | None = None


class SinkTest(Strict):
    """Which sinks a rule is about: exactly one of these keys."""

    abroad: Literal[True] | None = None
    provider_abroad: Literal[True] | None = None
    in_: Place | None = Field(default=None, alias="in")


class Applies(Strict):
    """When a rule speaks: any of the anchors, and all else that is written."""

    anchor: Annotated[list[Anchors], *ONE_OR_MANY, Field(min_length=1)]
    data: Categories | None = None
    operation: Annotated[list[Operations], *ONE_OR_MANY, Field(min_length=1)] | None = None
    operator: OperatorTest | None = None
    sink: SinkTest | None = None


class Retain(Strict):
    """Keep at least or at most so long, from an event on."""

    at_least: Duration | None = None
    at_most: Duration | None = None
    data: Category | None = None
    from_: Event = Field(alias="from")


class Protect(Strict):
    """Treat one field in one direction."""

    field: Plain
    direction: Literal["in", "out", "rest"]
    transform: Literal["drop", "mask", "tokenise", "hash", "encrypt", "refuse"]
    effect: Literal["deidentified", "pseudonym", "protected"] = "protected"


class Duty(Strict):
    """What a rule asks."""

    copies: Places | None = None
    first_write: Places | None = None
    only: Places | None = None
    require: list[Annotated[list[Token], *ONE_OR_MANY]] = Field(default_factory=list)
    retain: list[Retain] = Field(default_factory=list)
    protect: list[Protect] = Field(default_factory=list)
    log: list[Plain] = Field(default_factory=list)
    label: list[Plain] = Field(default_factory=list)
    effect: Literal["permit", "hold", "deny"] = "permit"


class Rule(Strict):
    """One rule with its article, dates and sources."""

    id: RuleId
    article: Plain
    text: Plain
    text_vi: Plain | None = None
    source: Words | None = None
    confidence: Confidence | None = None
    checked: Date | None = None
    mode: Mode = "enforce"
    in_force: Span | None = None
    applies: Applies
    duty: Duty
    overrides: list[RuleId] = Field(default_factory=list)
    note: Plain | None = None


class LawFile(Strict):
    """One instrument, its rules, each with article, dates, source and confidence."""

    residency: Literal[1]
    kind: Literal["law"]
    jurisdiction: Place
    instrument: Plain
    title: Plain | None = None
    title_vi: Plain | None = None
    time_zone: Offset = "+00:00"
    in_force: Span
    checked: Checked
    note: Plain | None = None
    rules: Annotated[list[Rule], Field(min_length=1)]


class Operator(Strict):
    """Who runs the API."""

    established_in: Places
    roles: list[Role] = Field(default_factory=list)
    service_lines: list[ServiceLine] = Field(default_factory=list)
    public_body: bool = False


class RegionFile(Strict):
    """Where bytes rest."""

    country: Place


class SinkFile(Strict):
    """One physical backend."""

    region: Plain
    provider: Place
    keys: Place
    encrypted: bool
    url: Plain


class Presume(Strict):
    """What a silent anchor is taken for."""

    territory: Literal["covered", "not_covered"] | None = None
    citizenship: Literal["covered", "not_covered", "as_residence", "as_territory"] | None = None
    residence: Literal["covered", "not_covered", "as_territory"] | None = None
    collection: Literal["covered", "not_covered", "as_residence", "as_territory"] | None = None
    conflicts: Literal["covered", "as_silent"] = "covered"


class ActivityFile(Strict):
    """What one route does."""

    route: Route
    name: Plain | None = None
    subject: Subject
    data: Categories
    operation: Operations | None = None
    purpose: Plain | None = None
    basis: Plain | None = None
    store: Plain | None = None
    http: Plain | None = None
    ai: dict[str, Plain] = Field(default_factory=dict)
    paths: Literal["raw", "strict"] = "strict"


class Audit(Strict):
    """Where the audit trail lies."""

    folder: Plain = "./residency-data/audit"
    origin: Plain | None = None
    detail: dict[Place, Plain] = Field(default_factory=dict)
    publish_every: Interval = "1 s"


class Folder(Strict):
    """A folder, relative to this file."""

    folder: Plain


class Dev(Strict):
    """For development on loopback only."""

    assume: Place


class DeploymentFile(Strict):
    """Who we are, where sinks lie, what routes do, which laws are in force here."""

    residency: Literal[1]
    kind: Literal["deployment"]
    name: Name
    mode: Literal["enforce", "observe"]
    operator: Operator
    laws: Words
    laws_from: Words | None = None
    registers: list[Plain] = Field(default_factory=list)
    presume: Presume = Field(default_factory=Presume)
    regions: dict[Name, RegionFile] = Field(default_factory=dict)
    sinks: dict[Name, SinkFile] = Field(default_factory=dict)
    stores: dict[Name, Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)]] = Field(default_factory=dict)
    signals: Signals = Field(default_factory=Signals)
    exempt: list[Route] = Field(default_factory=list)
    unclassified: Literal["deny", "permit"] = "deny"
    activities: list[ActivityFile] = Field(default_factory=list)
    modes: dict[RuleId, Mode] = Field(default_factory=dict)
    audit: Audit = Field(default_factory=Audit)
    keys: Folder | None = None
    pins: Pins | None = None
    metrics: UrlPath | None = None
    dev: Dev | None = None


class FilingFile(Strict):
    """One filing; a day stands for its first instant."""

    kind: Name
    number: Plain
    date: Date
    result: Literal["filed", "passed", "failed", "suspended"]
    expires: Date | None = None


class StopOrderFile(Strict):
    """An order to stop using a sink; "*" is every sink abroad."""

    number: Plain
    sink: Plain
    since: Date
    lifted: Date | None = None


class RegisterFile(Strict):
    """Compliance's records: filings and stop orders."""

    residency: Literal[1]
    kind: Literal["register"]
    name: Name
    time_zone: Offset = "+00:00"
    filings: list[FilingFile] = Field(default_factory=list)
    stop_orders: list[StopOrderFile] = Field(default_factory=list)


DOCUMENTS: Final[dict[str, type[Strict]]] = {"law": LawFile, "deployment": DeploymentFile, "register": RegisterFile}


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kind of file, for editors."""
    schema = DOCUMENTS[kind].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"residency {kind} file"}
