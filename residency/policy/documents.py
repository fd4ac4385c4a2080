"""The shape of the three kinds of policy file, for pydantic: plain values in, checked models and JSON Schema out.

Used at the border only: `parser` turns these models into the frozen values of `parsed`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from residency.model.data import CATEGORIES
from residency.model.place import BLOCS, COUNTRIES, is_place

__all__ = ["DOCUMENTS", "DeploymentFile", "LawFile", "RegisterFile", "Strict", "json_schema"]

ROUTE: Final = re.compile(r"([A-Z]+) (/\S*)")
DURATION: Final = re.compile(r"([1-9][0-9]{0,4}) (days?|months?|years?)")
INTERVAL: Final = re.compile(r"([1-9][0-9]{0,5}) (ms|s|min)")
DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
OFFSET: Final = re.compile(r"[+-][01][0-9]:[0-5][0-9]")
TOKEN: Final = re.compile(r"(identity|filing|age|consent|basis|contract|portal):[a-z0-9][a-z0-9_.:-]*")
RULE_ID: Final = re.compile(r"[a-z0-9]+(\.[a-z0-9_-]+)+")
SUBJECT: Final = re.compile(r"(app|none|user)|(jwt|path|header|user)\.[A-Za-z0-9_-]+")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
TRANSFORMS: Final = ("drop", "mask", "tokenise", "hash", "encrypt", "refuse")


def _expected(what: str, words: Collection[str] = ()) -> PydanticCustomError:
    """The error that `parser` turns into "expected … , got …", with the nearest of `words`."""
    return PydanticCustomError("expected", "expected {what}", {"what": what, "words": list(words)})


class _Text:
    """A text that must match a pattern; the pattern also stands in the JSON Schema."""

    def __init__(self, pattern: re.Pattern[str], what: str) -> None:
        self.pattern, self.what = pattern, what

    def __call__(self, value: str) -> str:
        if self.pattern.fullmatch(value) is None:
            raise _expected(self.what)
        return value

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "pattern": f"^(?:{self.pattern.pattern})$", "description": self.what}


class _OneOrMany:
    """Lets one word stand where a list of words may; said in the JSON Schema too."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(core)
        return {"anyOf": [many["items"], many]}


def _many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _place(value: str) -> str:
    if not is_place(value):
        raise _expected("a country code such as VN, a part of one such as CA-QC, or EU", [*COUNTRIES, *BLOCS])
    return value


def _category(value: str) -> str:
    if value not in CATEGORIES:
        raise _expected("a category of data", list(CATEGORIES))
    return value


def _text(pattern: re.Pattern[str], what: str) -> Any:
    text = _Text(pattern, what)
    return Annotated[str, AfterValidator(text), text]


Place = Annotated[str, AfterValidator(_place), Field(json_schema_extra={"description": "ISO 3166 code, or EU"})]
Category = Annotated[str, AfterValidator(_category), Field(json_schema_extra={"enum": list(CATEGORIES)})]
Plain = Annotated[str, Field(min_length=1, max_length=4096)]
Anchors = Literal["territory", "citizenship", "residence", "collection"]
Operations = Literal["read", "write", "process", "erase", "post"]
Mode = Literal["enforce", "warn", "observe"]
Confidence = Literal["high", "medium", "low"]
Role = Literal["controller", "processor", "third_party", "ai_developer", "ai_provider", "ai_deployer"]
# Decree 53 art. 26.3 (ten lines) and Decree 333 art. 19.3 (the eleventh: online applications).
ServiceLine = Literal[
    "telecom", "data_storage", "domain_names", "e_commerce", "online_payment", "payment_intermediary",
    "transport_connection", "social_network", "online_games", "messaging", "online_applications",
]  # fmt: skip
Algorithm = Literal[
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
]  # fmt: skip
Event = Literal["creation", "collection", "last_use", "account_end", "order", "purpose_end", "erasure_request"]
Date: Any = _text(DATE, "a date such as 2026-08-19")
Offset: Any = _text(OFFSET, 'a fixed offset such as "+07:00"')
Route: Any = _text(ROUTE, 'a method and a path such as "POST /v1/people/{id}"')
Duration: Any = _text(DURATION, "a duration such as 24 months, 90 days or 3 years")
Interval: Any = _text(INTERVAL, "an interval such as 1 s or 500 ms")
Token: Any = _text(TOKEN, "a token such as identity:phone, filing:vn.transfer_dossier or age:at_least_16")
RuleId: Any = _text(RULE_ID, "a rule id such as vn.d333.19.2")
Subject: Any = _text(SUBJECT, "where the subject comes from: app, none, user, jwt.sub, path.id or header.X-User")
Name: Any = _text(NAME, "a name of letters, digits, `_`, `.` and `-`")

_one: Final = (BeforeValidator(_many), _OneOrMany())
Places = Annotated[list[Place], *_one, Field(min_length=1)]
Categories = Annotated[list[Category], *_one, Field(min_length=1)]
Words = Annotated[list[Plain], *_one, Field(min_length=1)]


class Strict(BaseModel):
    """Unknown keys and types other than the written ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Span(Strict):
    """`to` is the last day in force."""

    from_: Date = Field(alias="from")
    to: Date | None = None


class Checked(Strict):
    date: Date
    confidence: Confidence
    source: Plain


class OperatorTest(Strict):
    established_in: Places | None = None
    not_established_in: Places | None = None
    role: Annotated[list[Role], *_one, Field(min_length=1)] | None = None
    service_line: Annotated[list[ServiceLine], *_one, Field(min_length=1)] | None = None
    public_body: bool | None = None


class SinkTest(Strict):
    abroad: Literal[True] | None = None
    provider_abroad: Literal[True] | None = None
    in_: Place | None = Field(default=None, alias="in")


class Applies(Strict):
    anchor: Annotated[list[Anchors], *_one, Field(min_length=1)]
    data: Categories | None = None
    operation: Annotated[list[Operations], *_one, Field(min_length=1)] | None = None
    operator: OperatorTest | None = None
    sink: SinkTest | None = None


class Retain(Strict):
    at_least: Duration | None = None
    at_most: Duration | None = None
    data: Category | None = None
    from_: Event = Field(alias="from")


class Protect(Strict):
    field: Plain
    direction: Literal["in", "out", "rest"]
    transform: Literal["drop", "mask", "tokenise", "hash", "encrypt", "refuse"]
    effect: Literal["deidentified", "pseudonym", "protected"] = "protected"


class Duty(Strict):
    copies: Places | None = None
    first_write: Places | None = None
    only: Places | None = None
    require: list[Annotated[list[Token], *_one]] = Field(default_factory=list)
    retain: list[Retain] = Field(default_factory=list)
    protect: list[Protect] = Field(default_factory=list)
    log: list[Plain] = Field(default_factory=list)
    label: list[Plain] = Field(default_factory=list)
    effect: Literal["permit", "hold", "deny"] = "permit"


class Rule(Strict):
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
    established_in: Places
    roles: list[Role] = Field(default_factory=list)
    service_lines: list[ServiceLine] = Field(default_factory=list)
    public_body: bool = False


class RegionFile(Strict):
    country: Place


class SinkFile(Strict):
    region: Plain
    provider: Place
    keys: Place
    encrypted: bool
    url: Plain


class Presume(Strict):
    territory: Literal["covered", "not_covered"] | None = None
    citizenship: Literal["covered", "not_covered", "as_residence", "as_territory"] | None = None
    residence: Literal["covered", "not_covered", "as_territory"] | None = None
    collection: Literal["covered", "not_covered", "as_residence", "as_territory"] | None = None


class ClientAddress(Strict):
    strategy: Literal["peer", "server", "rightmost_trusted_range"]
    trusted: list[Plain] = Field(default_factory=list)


class Claims(Strict):
    citizenship: Plain | None = None
    residence: Plain | None = None
    verified_by: Plain | None = None
    age: Plain | None = None
    consents: Plain | None = None


class Jwt(Strict):
    jwks: Plain
    subject: Plain = "sub"
    issuer: Plain | None = None
    audience: Plain | None = None
    algorithms: Annotated[
        list[Algorithm],
        Field(min_length=1),
    ] = Field(default_factory=lambda: list[Algorithm](["ES256"]))
    claims: Claims = Field(default_factory=Claims)


class Identity(Strict):
    jwt: Jwt | None = None
    user: Literal["declared", "verified"] | None = None
    header: Plain | None = None


class Signals(Strict):
    client_address: ClientAddress | None = None
    geoip: Plain | None = None
    identity: Identity | None = None


class ActivityFile(Strict):
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
    folder: Plain = "./residency-data/audit"
    origin: Plain | None = None
    detail: dict[Place, Plain] = Field(default_factory=dict)
    publish_every: Interval = "1 s"


class Folder(Strict):
    folder: Plain


class Pins(Strict):
    url: Plain


class Dev(Strict):
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
    stores: dict[Name, Annotated[list[Plain], *_one, Field(min_length=1)]] = Field(default_factory=dict)
    signals: Signals = Field(default_factory=Signals)
    exempt: list[Route] = Field(default_factory=list)
    unclassified: Literal["deny", "permit"] = "deny"
    activities: list[ActivityFile] = Field(default_factory=list)
    modes: dict[RuleId, Mode] = Field(default_factory=dict)
    audit: Audit = Field(default_factory=Audit)
    keys: Folder | None = None
    pins: Pins | None = None
    metrics: _text(re.compile(r"/\S+"), "a path such as /metrics") | None = None  # type: ignore[valid-type]
    dev: Dev | None = None


class FilingFile(Strict):
    kind: Name
    number: Plain
    date: Date
    result: Literal["filed", "passed", "failed", "suspended"]
    expires: Date | None = None


class StopOrderFile(Strict):
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
