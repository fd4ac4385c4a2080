"""The shape of the kinds of policy file, for pydantic: plain values in, checked models and JSON Schema out.

Used at the border only: `parser` turns these models into the frozen values of `parsed`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from residency.policy.documents_audit import Audit
from residency.policy.documents_law import Detector, LawFile, Must
from residency.policy.documents_signals import Pins, Signals, Strict
from residency.policy.documents_storage import Copies, HandOvers, Location, Locators, Offices, Records, SinkFile
from residency.policy.documents_tests import TestFile
from residency.policy.words import (
    BARE_MODE,
    ONE_OR_MANY,
    Categories,
    Date,
    Digest,
    Framework,
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
    Size,
    Subject,
    UrlPath,
    Word,
    Words,
)

Result = Literal["filed", "passed", "failed", "suspended"]

__all__ = ["DOCUMENTS", "DeploymentFile", "LawFile", "RegisterFile", "Strict", "TestFile", "json_schema"]


class Operator(Strict):
    """Who runs the API."""

    established_in: Places
    roles: list[Role] = Field(default_factory=list)
    service_lines: list[ServiceLine] = Field(default_factory=list)
    sectors: list[Word] = Field(default_factory=list)
    size: Size | None = None
    public_body: bool = False
    critical: bool = False


class RegionFile(Strict):
    """Where bytes rest."""

    country: Place


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
    store: Annotated[list[Plain], *ONE_OR_MANY] = Field(default_factory=list)
    http: Plain | None = None
    ai: dict[str, Plain | bool] = Field(default_factory=dict)
    action: Annotated[list[Word], *ONE_OR_MANY] = Field(default_factory=list)
    fields: list[Plain] = Field(default_factory=list)
    media: Annotated[list[Word], *ONE_OR_MANY] = Field(default_factory=list)
    since: Date | None = None
    paths: Literal["raw", "strict"] = "strict"


class Folder(Strict):
    """A folder, relative to this file."""

    folder: Plain


class Dev(Strict):
    """For development on loopback only."""

    assume: Place


class ModeFrom(Strict):
    """A rule's mode from a day on; one without a day, or a bare word, holds always."""

    from_: Date | None = Field(default=None, alias="from")
    mode: Mode


class DeploymentFile(Strict):
    """Who we are, where sinks lie, what routes do, which laws are in force here."""

    residency: Literal[1]
    kind: Literal["deployment"]
    name: Name
    mode: Literal["enforce", "observe"]
    operator: Operator
    laws: Words
    laws_from: Words | None = None
    law_digests: dict[str, Digest] = Field(default_factory=dict)
    framework: Framework | None = None
    readings: dict[Word, Word] = Field(default_factory=dict)
    clocks: Literal["run", "strict"] = "run"
    readers: Literal["decide", "record"] = "decide"
    offices: Offices = Field(default_factory=dict)
    must: list[Must] = Field(default_factory=list)
    fields: dict[str, Categories] = Field(default_factory=dict)
    detectors: list[Detector] = Field(default_factory=list)
    registers: list[Plain] = Field(default_factory=list)
    presume: Presume = Field(default_factory=Presume)
    regions: dict[Name, RegionFile] = Field(default_factory=dict)
    sinks: dict[Name, SinkFile] = Field(default_factory=dict)
    stores: dict[Name, Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)]] = Field(default_factory=dict)
    copies: Copies = Field(default_factory=dict)
    records: Records = Field(default_factory=dict)
    locators: Locators = Field(default_factory=dict)
    hand_over: HandOvers = Field(default_factory=dict)
    location: Location = Field(default_factory=Location)
    signals: Signals = Field(default_factory=Signals)
    exempt: list[Route] = Field(default_factory=list)
    unclassified: Literal["deny", "permit"] = "deny"
    activities: list[ActivityFile] = Field(default_factory=list)
    modes: dict[RuleId, Annotated[list[Annotated[ModeFrom, BARE_MODE]], *ONE_OR_MANY, Field(min_length=1)]] = Field(
        default_factory=dict
    )
    audit: Audit = Field(default_factory=Audit)
    keys: Folder | None = None
    pins: Pins | None = None
    metrics: UrlPath | None = None
    dev: Dev | None = None


class FilingChange(Strict):
    """A later result."""

    date: Date
    result: Result


class FilingFile(Strict):
    """One filing; a day stands for its first instant."""

    kind: Word
    number: Plain
    date: Date
    result: Result
    history: list[FilingChange] = Field(default_factory=list)
    expires: Date | None = None
    next_update: Date | None = None
    sinks: list[Plain] | None = None
    sha256: Digest | None = None
    note: Plain | None = None


class StopOrderFile(Strict):
    """An order to stop using a sink; "*" is every sink abroad."""

    number: Plain
    sink: Plain
    since: Date
    lifted: Date | None = None


class OrderFile(Strict):
    """An authority's decision that puts rules in force."""

    kind: Word
    number: Plain
    date: Date
    lifted: Date | None = None


class ExemptionFile(Strict):
    """A waiver of named rules."""

    number: Plain
    rules: Annotated[list[RuleId], *ONE_OR_MANY, Field(min_length=1)]
    approved_by: Plain
    ground: Plain
    from_: Date = Field(alias="from")
    expires: Date
    activities: Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)] | None = None
    sinks: Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)] | None = None


class EventFile(Strict):
    """When a term's event first happened."""

    kind: Word
    jurisdiction: Place
    date: Date


class RegisterFile(Strict):
    """Compliance's records: filings, approvals and attestations, orders, exemptions, events, stop orders."""

    residency: Literal[1]
    kind: Literal["register"]
    name: Name
    time_zone: Offset = "+00:00"
    filings: list[FilingFile] = Field(default_factory=list)
    stop_orders: list[StopOrderFile] = Field(default_factory=list)
    orders: list[OrderFile] = Field(default_factory=list)
    exemptions: list[ExemptionFile] = Field(default_factory=list)
    events: list[EventFile] = Field(default_factory=list)


DOCUMENTS: Final[dict[str, type[Strict]]] = {
    "law": LawFile,
    "deployment": DeploymentFile,
    "register": RegisterFile,
    "test": TestFile,
}


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one kind of file, for editors."""
    schema = DOCUMENTS[kind].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"residency {kind} file"}
