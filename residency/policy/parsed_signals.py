"""A deployment's `signals:` and `pins:` as frozen values. Spans of time are in microseconds, shares from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "ClientAddressDoc",
    "GeoipDoc",
    "IdentityDoc",
    "JwtDoc",
    "NetworksDoc",
    "PinsDoc",
    "Secret",
    "SessionDoc",
    "SignalsDoc",
]


class Secret:
    """A value that never prints itself: an expanded URL or password. `reveal()` is for the adapter that connects."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; keep it out of messages."""
        return self._value

    def __repr__(self) -> str:
        return "…"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format("…", spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class ClientAddressDoc:
    """`strategy` by name; `trusted` are ranges as written; `count` our proxies in a row; `unix` = a peer on a unix
    socket is one of them; `header` is lower case, None for the strategy's own."""

    strategy: str = "peer"
    header: str | None = None
    trusted: tuple[str, ...] = ()
    count: int | None = None
    unix: bool = False


@dataclass(frozen=True, slots=True)
class GeoipDoc:
    """`database` is a path as written, None for the embedded table; `second` must agree with it; beyond `max_age`
    (None: never) the network's signals are hints, or requests are refused (`stale`); a new file whose count of
    Vietnamese addresses moved by more than `max_change` is not taken; `tables` is the folder of compiled tables.
    """

    database: str | None = None
    second: str | None = None
    max_age: int | None = None
    stale: str = "hint"
    max_change: float = 0.10
    check_every: int = 30_000_000
    tables: str = "./residency-data/address"


@dataclass(frozen=True, slots=True)
class NetworksDoc:
    """What tells a network's class: list files, an anonymous-IP database, an ASN database for lists that name ASNs."""

    lists: tuple[str, ...] = ()
    anonymous_ip: str | None = None
    asn: str | None = None


@dataclass(frozen=True, slots=True)
class JwtDoc:
    """How tokens are verified. `jwks` is a path as written or an https URL, which is read anew every `refresh` and
    believed for `stale_for`. `header` carries the token. `claims`: our word to a claim's name."""

    jwks: str
    subject: str = "sub"
    issuer: str | None = None
    audience: str | None = None
    algorithms: tuple[str, ...] = ("ES256",)
    claims: Mapping[str, str] = field(default_factory=dict)
    header: str = "authorization"
    refresh: int = 600_000_000
    stale_for: int = 86_400_000_000


@dataclass(frozen=True, slots=True)
class SessionDoc:
    """Which keys of `scope["session"]` say what, and whether the app `verified` them or a person `declared` them."""

    subject: str
    trust: str
    claims: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IdentityDoc:
    """Where identity comes from: verified tokens, `scope["user"]` (`declared` or `verified`), the session, or an async
    callable of the app's (`module:name`)."""

    jwt: JwtDoc | None = None
    user: str | None = None
    session: SessionDoc | None = None
    callable: str | None = None


@dataclass(frozen=True, slots=True)
class SignalsDoc:
    """What is observed, and how far it is trusted."""

    client_address: ClientAddressDoc = ClientAddressDoc()
    geoip: GeoipDoc = GeoipDoc()
    networks: NetworksDoc = NetworksDoc()
    identity: IdentityDoc = IdentityDoc()


@dataclass(frozen=True, slots=True)
class PinsDoc:
    """Where remembered homes lie; for how long after the store was last heard of a local copy serves; how many pins
    that copy holds at most. `region` is the one that they are to lie in, None = not said."""

    url: Secret
    stale_for: int = 10_000_000
    local: int = 100_000
    region: str | None = None
