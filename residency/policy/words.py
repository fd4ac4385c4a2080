"""The words a policy file may use, as pydantic types: a value in, the same or an `expected …` error out."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError

from residency.model.data import CATEGORIES
from residency.model.place import BLOCS, COUNTRIES, is_place

__all__ = [
    "DATE",
    "DURATION",
    "INTERVAL",
    "NAME",
    "OFFSET",
    "ONE_OR_MANY",
    "ROUTE",
    "SUBJECT",
    "TOKEN",
    "WAIT",
    "Algorithm",
    "Anchors",
    "Categories",
    "Category",
    "Confidence",
    "Date",
    "Duration",
    "Event",
    "HeaderName",
    "Interval",
    "Mode",
    "Name",
    "Offset",
    "Operations",
    "Place",
    "Places",
    "Plain",
    "Role",
    "Route",
    "RuleId",
    "ServiceLine",
    "Share",
    "Subject",
    "Target",
    "Token",
    "UrlPath",
    "Wait",
    "Words",
]

ROUTE: Final = re.compile(r"([A-Z]+) (/\S*)")
DURATION: Final = re.compile(r"([1-9][0-9]{0,4}) (days?|months?|years?)")
INTERVAL: Final = re.compile(r"([1-9][0-9]{0,5}) (ms|s|min)")
WAIT: Final = re.compile(r"([1-9][0-9]{0,5}) (ms|s|min|h|days?)")
DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
OFFSET: Final = re.compile(r"[+-][01][0-9]:[0-5][0-9]")
TOKEN: Final = re.compile(r"(identity|filing|age|consent|basis|contract|portal):[a-z0-9][a-z0-9_.:-]*")
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
Wait: Any = _text(WAIT, "a time such as 10 s, 10 min, 24 h or 30 days")
Share: Any = _text(re.compile(r"(?:100|[1-9]?[0-9])%"), "a share such as 10%")
HeaderName: Any = _text(re.compile(r"[a-z0-9-]{1,64}"), "a header's name in lower case, such as x-forwarded-for")
Target: Any = _text(
    re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"), "an async callable such as myapp.identity:who"
)
Token: Any = _text(TOKEN, "a token such as identity:phone, filing:vn.transfer_dossier or age:at_least_16")
RuleId: Any = _text(RULE_ID, "a rule id such as vn.d333.19.2")
Subject: Any = _text(SUBJECT, "where the subject comes from: app, none, user, jwt.sub, path.id or header.X-User")
UrlPath: Any = _text(re.compile(r"/\S+"), "a path such as /metrics")
Name: Any = _text(NAME, "a name of letters, digits, `_`, `.` and `-`")

ONE_OR_MANY: Final = (BeforeValidator(_many), _OneOrMany())
Places = Annotated[list[Place], *ONE_OR_MANY, Field(min_length=1)]
Categories = Annotated[list[Category], *ONE_OR_MANY, Field(min_length=1)]
Words = Annotated[list[Plain], *ONE_OR_MANY, Field(min_length=1)]
