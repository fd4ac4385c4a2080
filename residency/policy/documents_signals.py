"""The shape of a deployment's `signals:` and `pins:`, for pydantic: what is observed, and what is remembered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from residency.policy.words import Algorithm, HeaderName, Plain, Share, Target, Wait

__all__ = ["Pins", "Signals", "Strict"]


class Strict(BaseModel):
    """Unknown keys and types other than the written ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClientAddress(Strict):
    """How the client address is found."""

    strategy: Literal[
        "peer",
        "server",
        "single_header",
        "rightmost_trusted_count",
        "rightmost_trusted_range",
        "unsafe_leftmost_non_private",
    ]
    header: HeaderName | None = None
    trusted: list[Plain] = Field(default_factory=list)
    count: Annotated[int, Field(ge=1, le=16)] | None = None
    unix: bool = False


class Geoip(Strict):
    """Which country an address is in, and how old that may be."""

    database: Plain | None = None
    second: Plain | None = None
    max_age: Wait | None = None
    stale: Literal["hint", "refuse"] = "hint"
    max_change: Share = "10%"
    check_every: Wait = "30 s"
    tables: Plain = "./residency-data/address"


def _database(value: object) -> object:
    return {"database": value} if isinstance(value, str) else value


class _OrPath:
    """Lets a path alone stand where the mapping may; said in the JSON Schema too."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(core)]}


class Networks(Strict):
    """Which networks say nothing reliable of where a person is."""

    lists: list[Plain] = Field(default_factory=list)
    anonymous_ip: Plain | None = None
    asn: Plain | None = None


class Claims(Strict):
    """Names of the claims that carry each fact."""

    citizenship: Plain | None = None
    residence: Plain | None = None
    phone: Plain | None = None
    sim: Plain | None = None
    verified_by: Plain | None = None
    age: Plain | None = None
    guardian: Plain | None = None
    consents: Plain | None = None


class Jwt(Strict):
    """How identity tokens are verified."""

    jwks: Plain
    header: HeaderName = "authorization"
    refresh: Wait = "10 min"
    stale_for: Wait = "24 h"
    subject: Plain = "sub"
    issuer: Plain | None = None
    audience: Plain | None = None
    algorithms: Annotated[
        list[Algorithm],
        Field(min_length=1),
    ] = Field(default_factory=lambda: list[Algorithm](["ES256"]))
    claims: Claims = Field(default_factory=Claims)


class Session(Strict):
    """What a Starlette session says, and whether the app verified it before it went in."""

    subject: Plain
    trust: Literal["declared", "verified"]
    claims: Claims = Field(default_factory=Claims)


class Identity(Strict):
    """Where identity comes from."""

    jwt: Jwt | None = None
    user: Literal["declared", "verified"] | None = None
    session: Session | None = None
    callable: Target | None = None


class Signals(Strict):
    """What is observed, and how far it is trusted."""

    client_address: ClientAddress | None = None
    geoip: Annotated[Geoip | None, BeforeValidator(_database), _OrPath()] = None
    networks: Networks | None = None
    identity: Identity | None = None


class Pins(Strict):
    """Where remembered homes lie."""

    url: Plain
    region: Plain | None = None
    stale_for: Wait = "10 s"
    local: Annotated[int, Field(ge=1_000, le=10_000_000)] = 100_000
