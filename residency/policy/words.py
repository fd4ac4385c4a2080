"""The words a policy file may use, as pydantic types: a value in, the same or an `expected …` error out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from residency.model.data import CATEGORIES
from residency.model.place import BLOCS, COUNTRIES, is_place
from residency.model.reason import Reason

__all__ = [
    "BARE",
    "BARE_EXACTLY",
    "BARE_FOLDER",
    "BARE_KIND",
    "BARE_MODE",
    "BARE_REASON",
    "BARE_RULES",
    "BARE_SINK",
    "BARE_TO",
    "BARE_URL",
    "DATE",
    "DIGEST",
    "DURATION",
    "INTERVAL",
    "LIST_NAME",
    "LOCAL",
    "NAME",
    "OFFSET",
    "ONE_OR_MANY",
    "ROUTE",
    "SEEN",
    "SUBJECT",
    "TERM",
    "TOKEN",
    "WAIT",
    "Algorithm",
    "Anchors",
    "Categories",
    "Category",
    "Confidence",
    "Date",
    "Digest",
    "Duration",
    "Event",
    "Framework",
    "HeaderName",
    "Interval",
    "LawCategories",
    "LawCategory",
    "LawClock",
    "LawPlaces",
    "ListName",
    "LongDuration",
    "Mode",
    "Name",
    "Offset",
    "Operations",
    "Place",
    "Places",
    "Plain",
    "ReadFrom",
    "ReasonWord",
    "Role",
    "Route",
    "RuleId",
    "Scope",
    "Seen",
    "ServiceLine",
    "Share",
    "SinkScope",
    "Size",
    "Soon",
    "Subject",
    "Target",
    "Term",
    "Token",
    "Transform",
    "Trusts",
    "UrlPath",
    "Wait",
    "Weekday",
    "Word",
    "Words",
]

ROUTE: Final = re.compile(r"([A-Z]+) (/\S*)")
DURATION: Final = re.compile(r"([1-9][0-9]{0,4}) (days?|months?|years?)")
SOON: Final = re.compile(r"1 s|1000 ms|[1-9][0-9]{0,2} ms")
INTERVAL: Final = re.compile(r"([1-9][0-9]{0,5}) (ms|s|min)")
WAIT: Final = re.compile(r"([1-9][0-9]{0,5}) (ms|s|min|h|days?)")
DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
OFFSET: Final = re.compile(r"[+-][01][0-9]:[0-5][0-9]")
TOKEN: Final = re.compile(
    r"(identity|filing|age|consent|basis|contract|portal|subject|ai|sink):[A-Za-z0-9][A-Za-z0-9_.:-]*"
    r"|consent:\{purpose\}|known:(territory|citizenship|residence|collection)"
)
SEEN: Final = re.compile(r"([A-Z]{2}(?:-[A-Z0-9]{1,3})?) (hint|network|declared|pinned|verified)")
TERM: Final = re.compile(r"([1-9][0-9]{0,3}) (hours?|working days?|days?|months?|years?)")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
LIST_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
LOCAL: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_-]+)+")
RULE_ID: Final = re.compile(r"[a-z0-9]+(\.[a-z0-9_-]+)+")
SUBJECT: Final = re.compile(r"(app|none|user)|(jwt|path|header|user)\.[A-Za-z0-9_-]+")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


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


def _read_from(value: str) -> str:
    return value if value == "ZZ" else _place(value)


def _category(value: str) -> str:
    if value not in CATEGORIES:
        raise _expected("a category of data", list(CATEGORIES))
    return value


def _reason(value: str) -> str:
    if value not in list(Reason):
        raise _expected("a reason such as filing_missing", list(Reason))
    return value


def _seen(value: str) -> str:
    match = SEEN.fullmatch(value)
    if match is None or not is_place(match[1]):
        raise _expected("a place and how it is known, such as `VN verified` or `VN network`")
    return value


def _law_category(value: str) -> str:
    # A name of the law's own has a dot, as `vn.basic`; `references` checks that the file declares it.
    return value if LOCAL.fullmatch(value) is not None else _category(value)


def _law_place(value: str) -> str:
    # A name of a list in the law's `places`, in lower case; `references` checks that the file declares it.
    return value if LIST_NAME.fullmatch(value) is not None else _place(value)


def _text(pattern: re.Pattern[str], what: str) -> Any:
    text = _Text(pattern, what)
    return Annotated[str, AfterValidator(text), text]


Place = Annotated[str, AfterValidator(_place), Field(json_schema_extra={"description": "ISO 3166 code, or EU"})]
ReadFrom = Annotated[
    str, AfterValidator(_read_from), Field(json_schema_extra={"description": "ISO 3166 code, or ZZ: nobody knows"})
]
Category = Annotated[str, AfterValidator(_category), Field(json_schema_extra={"enum": list(CATEGORIES)})]
LawCategory = Annotated[str, AfterValidator(_law_category), Field(json_schema_extra={"description": "category"})]
ReasonWord = Annotated[str, AfterValidator(_reason), Field(json_schema_extra={"enum": list(Reason)})]
Seen = Annotated[str, AfterValidator(_seen), Field(json_schema_extra={"pattern": f"^{SEEN.pattern}$"})]
Plain = Annotated[str, Field(min_length=1, max_length=4096)]
Anchors = Literal["territory", "citizenship", "residence", "collection"]
Operations = Literal["read", "write", "process", "erase", "post"]
Mode = Literal["enforce", "warn", "observe", "off"]
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
Trusts = Literal["hint", "network", "declared", "pinned", "verified"]
Size = Literal["micro", "small", "medium", "large"]
Scope = Literal["primary", "replica", "backup", "log", "index", "cache"]
SinkScope = Literal["primary", "replica", "backup", "log", "index", "cache", "reader"]
LawClock = Literal["evaluation", "request", "collection"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Transform = Literal["drop", "mask", "tokenise", "hash", "encrypt", "refuse"]
Framework = Literal["starlette", "fastapi", "litestar", "django", "blacksheep", "quart", "asgi"]
Date: Any = _text(DATE, "a date such as 2026-08-19")
Offset: Any = _text(OFFSET, 'a fixed offset such as "+07:00"')
Route: Any = _text(ROUTE, 'a method and a path such as "POST /v1/people/{id}"')
Duration: Any = _text(DURATION, "a duration such as 24 months, 90 days or 3 years")
LongDuration: Any = _text(
    re.compile(f"{DURATION.pattern}|lifetime"), "a duration such as 24 months, 90 days or 3 years, or lifetime"
)
Interval: Any = _text(INTERVAL, "an interval such as 1 s or 500 ms")
Soon: Any = _text(SOON, "an interval of at most 1 s such as 500 ms")
Wait: Any = _text(WAIT, "a time such as 10 s, 10 min, 24 h or 30 days")
Share: Any = _text(re.compile(r"(?:100|[1-9]?[0-9])%"), "a share such as 10%")
HeaderName: Any = _text(re.compile(r"[a-z0-9-]{1,64}"), "a header's name in lower case, such as x-forwarded-for")
Target: Any = _text(
    re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"), "an async callable such as myapp.identity:who"
)
Token: Any = _text(TOKEN, "a token such as identity:phone, filing:vn.transfer_dossier or age:at_least_16")
Term: Any = _text(TERM, "a term such as 60 days, 15 working days, 12 months or 72 hours")
Digest: Any = _text(DIGEST, "a SHA-256 as 64 hexadecimal digits in lower case")
ListName: Any = _text(LIST_NAME, "a name in lower case such as adequate")
Word: Any = _text(re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}"), "a word of lower-case letters, digits, `_`, `.` and `-`")
RuleId: Any = _text(RULE_ID, "a rule id such as vn.d333.19.2")
Subject: Any = _text(SUBJECT, "where the subject comes from: app, none, user, jwt.sub, path.id or header.X-User")
UrlPath: Any = _text(re.compile(r"/\S+"), "a path such as /metrics")
Name: Any = _text(NAME, "a name of letters, digits, `_`, `.` and `-`")


class _Bare:
    """Lets a list or a word stand for a mapping with one key of it; said in the JSON Schema too."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler(core)
        shape = handler.resolve_ref_schema(whole)
        return {"anyOf": [shape["properties"][self.key], whole]}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._wrapped, handler(source))

    def _wrapped(self, value: object) -> object:
        return {self.key: value} if isinstance(value, str | list) else value


BARE: Final = _Bare("any")
BARE_MODE: Final = _Bare("mode")
BARE_EXACTLY: Final = _Bare("exactly")
BARE_FOLDER: Final = _Bare("folder")
BARE_REASON: Final = _Bare("reason")
BARE_KIND: Final = _Bare("kind")
BARE_RULES: Final = _Bare("rules")
BARE_SINK: Final = _Bare("sink")
BARE_TO: Final = _Bare("to")
BARE_URL: Final = _Bare("url")
ONE_OR_MANY: Final = (BeforeValidator(_many), _OneOrMany())
Places = Annotated[list[Place], *ONE_OR_MANY, Field(min_length=1)]
Categories = Annotated[list[Category], *ONE_OR_MANY, Field(min_length=1)]
LawPlaces = Annotated[
    list[
        Annotated[str, AfterValidator(_law_place), Field(json_schema_extra={"description": "place, or list of places"})]
    ],
    *ONE_OR_MANY,
    Field(min_length=1),
]
LawCategories = Annotated[list[LawCategory], *ONE_OR_MANY, Field(min_length=1)]
Words = Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)]
