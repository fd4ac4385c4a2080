"""One request as the server gave it in; who asks, and whose data it is about, out.

Everything here is a stranger's text. What cannot be read is nobody, and never an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from residency.errors import TokenError, UsageError
from residency.model import Activity, Reason, RuleRef, SubjectId
from residency.policy.activities import Routing
from residency.signals.identity import (
    ClaimMap,
    Identity,
    identity,
    session_identity,
    subject_id,
    token_in,
    user_identity,
    voided,
)
from residency.signals.inet import canonical
from residency.signals.peer import ClientAddress

__all__ = [
    "Identifying",
    "Refusal",
    "Request",
    "TokenVerifier",
    "asker",
    "collected_at",
    "from_this_machine",
    "statutory_detail",
    "subject_id",
    "subject_of",
]

_BOUND: Final = 4096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AHEAD: Final = 300_000_000  # microseconds that the clock of who noted a time may be ahead of ours
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """What the edge hands over of one request, all as the server gave it.

    `method` is "WS" for a WebSocket and for nothing else. `path` is decoded once and relative to the framework's root;
    `peer` is (host, port) of the socket or None. `user` and `session` are what other middleware put into the scope
    before ours. `routing` is how the app routes, `also` other methods that headers ask for.
    """

    method: str
    path: str
    raw_path: bytes | None
    headers: Headers = field(repr=False)
    peer: tuple[str, int] | None
    user: object | None = field(default=None, repr=False)
    session: object | None = field(default=None, repr=False)
    routing: Routing | None = field(default=None, repr=False)
    also: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that goes no further: why, the rules that say so, the entry's number, and a text without personal data.

    `seq` is None where no entry could be written. `home` is the place whose own instance may serve the person instead.
    """

    reason: Reason
    rules: tuple[RuleRef, ...] = ()
    seq: int | None = None
    message: str = ""
    home: str | None = None


class TokenVerifier(Protocol):
    """Verifies an identity token."""

    def verify(self, token: bytes) -> Mapping[str, object]:
        """The token's claims. Raises: TokenError; KeysUnavailable where there are no keys to verify it by."""


@dataclass(frozen=True, slots=True)
class Identifying:
    """Where identity comes from: a token verifier and the header that carries the token, the names of claims, and
    whether `scope["user"]` and `scope["session"]` are believed.

    `user` and `session_trust` are None (not looked at), "declared" or "verified"; `session` names the session's keys.
    """

    verifier: TokenVerifier | None
    names: ClaimMap
    user: str | None = None
    header: bytes = b"authorization"
    session: ClaimMap | None = None
    session_trust: str | None = None
    read: dict[int, tuple[Mapping[str, object], Identity]] = field(default_factory=dict, compare=False, repr=False)
    """What claims said, by the mapping's `id`, which is nobody else's while it lies here. A verifier that remembers a
    token answers the same mapping again."""


def asker(request: Request, how: Identifying) -> Identity | None:
    """Who asks, by the first that speaks of: the token, `scope["user"]`, `scope["session"]`. None = none of them does.

    A token that does not verify is no signal, and nothing else may say in its place who asks: what the others say then
    counts for where the person belongs, and for nothing else.

    Raises: KeysUnavailable where no token can be judged, which is not the token's fault: taken for none, with it might
    go what speaks for a law that covers.
    """
    void = False
    if how.verifier is not None:
        try:
            token = token_in(request.headers, how.header)
            if token is not None:
                return _read(how.verifier.verify(token), how)
        except TokenError:
            void = True
    found: Identity | None = None
    if how.user is not None and request.user is not None:
        found = user_identity(request.user, how.names, verified=how.user == "verified")
    if found is None and how.session is not None and how.session_trust is not None and request.session is not None:
        found = session_identity(request.session, how.session, verified=how.session_trust == "verified")
    return voided(found) if void else found


def _read(claims: Mapping[str, object], how: Identifying) -> Identity:
    """What a verified token's `claims` say; for a mapping that was seen before, one probe."""
    known = how.read.get(id(claims))
    if known is None:
        if len(how.read) >= _BOUND:
            how.read.clear()
        known = how.read[id(claims)] = (claims, identity(claims, how.names, verified=True, source="jwt"))
    return known[1]


def subject_of(
    activity: Activity, params: Mapping[str, str], caller: Identity | None, request: Request, *, gateway: bool
) -> SubjectId | None:
    """Whose data this request is about, as far as is known before the app runs.

    `gateway` = the peer is a proxy of ours: only then may a header name the subject, for anybody can send one.
    """
    source = activity.subject
    match source.kind:
        case "jwt" | "user":
            return subject_id(caller.subject.value) if caller is not None and caller.subject is not None else None
        case "path":
            return subject_id(params.get(source.name, ""))
        case "header" if gateway:
            wanted = source.name.lower().encode("latin-1")
            values = [value for name, value in request.headers if name == wanted]
            return subject_id(values[0].decode("latin-1").strip()) if len(values) == 1 else None
        case _:
            return None


def collected_at(when: datetime | None, now: int) -> int | None:
    """When data was collected, as the app says it, in microseconds; never later than `now`. None = not known.

    Raises: UsageError for what is no instant (a `datetime` without a time zone could be any of a day's) or lies ahead.
    """
    if when is None:
        return None
    aware: object = when  # the app's word, and not every app is typed
    if not isinstance(aware, datetime) or aware.utcoffset() is None:
        raise UsageError("`collected` is a datetime with a time zone, as in datetime(2026, 7, 1, tzinfo=UTC)")
    at = (aware - _EPOCH) // timedelta(microseconds=1)
    if at > now + _AHEAD:
        raise UsageError("`collected` lies in the future: say when the data was collected, or leave it out")
    return min(at, now)


def from_this_machine(request: Request) -> bool:
    """Whether the request comes from a program on this machine and was not passed on for somebody else."""
    host = canonical(request.peer[0]) if request.peer is not None else None
    loopback = host is not None and (host == "::1" or host.startswith("127."))
    return loopback and not any(name in _FORWARDED for name, _ in request.headers)


def statutory_detail(
    subject: SubjectId | None, client: ClientAddress, peer: tuple[str, int] | None, now: int
) -> dict[str, str | int | None]:
    """The statutory log fields known here (Decree 333/2026 art. 16.6, 20.3): account, address, source port, time; and
    by which strategy the address was found."""
    address = client.address
    # 0 is what a server writes that took the address from a header: no port, and not port 0.
    direct = peer is not None and peer[0] == address and peer[1] != 0
    return {
        "account": subject.value if subject is not None else None,
        "address": address,
        "strategy": client.strategy,
        "port": peer[1] if peer is not None and direct else None,
        "at": now,
    }
