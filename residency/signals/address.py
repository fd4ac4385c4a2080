"""Whose address it is: the socket's peer and the forwarding headers in, one client address or none out.

Theory. A forwarding header is a list to which each proxy appends the address it was called from, so only its right
end was written by somebody we know: every element is believed exactly as far as the one that wrote it. The walk
starts at the socket's own peer and goes left for as long as the address at hand is one of our proxies; the first
that is not is the client. What stands further left may be anything and changes nothing.

A strategy needs the socket's own peer. A server that has already rewritten it (uvicorn's proxy handling, on by
default for loopback) leaves an address that nobody here can check, so that is a problem, not an answer, unless the
deployment says in words that the server is trusted (`Server`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from residency.errors import AddressError
from residency.signals.door import KEPT_KEY, Door, FromList, keep
from residency.signals.forwarded import FORWARDED, LISTS, X_FORWARDED_FOR, rewritten
from residency.signals.inet import MAX_HOP, Ranges, is_public, read_hop
from residency.signals.peer import (
    READINGS,
    ClientAddress,
    Headers,
    Peer,
    Server,
    SocketPeer,
    Strategy,
    client_at,
    one_of,
)

__all__ = [
    "ClientAddress",
    "Headers",
    "Peer",
    "RightmostTrustedCount",
    "RightmostTrustedRange",
    "Server",
    "SingleHeader",
    "SocketPeer",
    "Strategy",
    "UnsafeLeftmostNonPrivate",
    "strategy_named",
]

_KEPT_HOPS: Final = 1024
_LISTED: Final = (X_FORWARDED_FOR, FORWARDED)
_NOBODY: Final = Ranges(())


@dataclass(frozen=True, slots=True)
class RightmostTrustedRange(FromList):
    """The rightmost address of the list outside the trusted ranges, if the peer itself is inside them.

    `unix` says that a peer on a unix socket is a trusted proxy. Raises AddressError where no range is given (use
    `Peer`) and no unix peer is trusted either, and for a header that is no list.
    """

    name: ClassVar[str] = "rightmost_trusted_range"
    trusted: Ranges
    unix: bool = False
    header: str = "x-forwarded-for"
    _ours: dict[bytes, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    _rows: dict[bytes, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.trusted and not self.unix:
            raise AddressError("rightmost_trusted_range needs at least one trusted range")
        self.set_up(self.header, self.trusted, self.unix)

    def _walk(self, value: bytes) -> tuple[str, bytes] | None:
        # The common case: one element of a client's, then a row of our proxies that was walked before.
        rows = self._rows
        first, _, row = value.partition(b",")
        if row in rows:
            found = read_hop(first)
            if found is None or not self.trusted.contains_packed(found[1]):
                return found
        ours, how = self._ours, self._list
        elements = how.from_right(value)
        for number, element in enumerate(elements, 1):
            if element in ours:  # our own proxies are few, and write themselves the same way each time
                continue
            found = how.read(element)
            if found is None:
                return None
            if not self.trusted.contains_packed(found[1]):
                # In Forwarded a comma may stand in a string, so rows are of the plain list alone.
                if number == value.count(b",") + 1 > 1 and how.name == X_FORWARDED_FOR and len(value) <= KEPT_KEY:
                    if len(rows) >= _KEPT_HOPS:
                        rows.clear()
                    rows[row] = True
                return found
            if len(element) <= MAX_HOP:
                if len(ours) >= _KEPT_HOPS:
                    ours.clear()
                ours[element] = True
        return None


@dataclass(frozen=True, slots=True)
class RightmostTrustedCount(FromList):
    """The `count`-th address of the list from the right: `count` of our proxies stand in a row, the peer among them.

    With `trusted` the peer must lie inside, with `unix` it may be a unix socket, and is the client else; with neither,
    nothing but our proxies may be able to reach the server. Raises AddressError for a count below 1.
    """

    name: ClassVar[str] = "rightmost_trusted_count"
    count: int
    trusted: Ranges = _NOBODY
    header: str = "x-forwarded-for"
    unix: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 16:
            raise AddressError(f"rightmost_trusted_count needs a count from 1 to 16, got {self.count}")
        self.set_up(self.header, self.trusted, self.unix)

    def _walk(self, value: bytes) -> tuple[str, bytes] | None:
        elements = self._list.from_right(value)
        if len(elements) < self.count:
            return None
        found: tuple[str, bytes] | None = None
        for element in elements[: self.count]:
            # Where it is said which addresses our proxies have, nobody else may stand between them and us: a client
            # that reaches the second of them directly would count for one, and what it wrote for the client.
            if found is not None and self.trusted and not self.trusted.contains_packed(found[1]):
                return None
            found = self._list.read(element)
            if found is None:
                return None
        return None if found is None or self.trusted.contains_packed(found[1]) else found


@dataclass(frozen=True, slots=True)
class UnsafeLeftmostNonPrivate(FromList):
    """The leftmost public address of the list, which any client can write. It proves nothing: for trials only."""

    name: ClassVar[str] = "unsafe_leftmost_non_private"
    warning: ClassVar[str | None] = (
        "client_address: unsafe_leftmost_non_private believes whatever a client writes: anybody can choose the country "
        "they are seen in; use rightmost_trusted_range"
    )
    header: str = "x-forwarded-for"

    def __post_init__(self) -> None:
        self.set_up(self.header, _NOBODY, False)

    def _walk(self, value: bytes) -> tuple[str, bytes] | None:
        for element in reversed(self._list.from_right(value)):
            found = self._list.read(element)
            if found is not None and is_public(found[0]):
                return found
        return None


@dataclass(frozen=True, slots=True)
class SingleHeader:
    """The one address in a header that our proxy sets and overwrites, such as cf-connecting-ip.

    `unix` says that a peer on a unix socket is a trusted proxy. Raises AddressError where nobody is trusted to set the
    header, and for a header that is a list.
    """

    name: ClassVar[str] = "single_header"
    warning: ClassVar[str | None] = None
    header: str
    trusted: Ranges
    unix: bool = False
    _wanted: bytes = field(init=False, repr=False, compare=False)
    _door: Door = field(init=False, repr=False, compare=False)
    _answers: dict[bytes, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.header in LISTS:
            raise AddressError(f"single_header: `{self.header}` is a list, use rightmost_trusted_range")
        if not self.header or not self.header.isascii() or self.header != self.header.strip().lower():
            raise AddressError(f"single_header needs a header's name in lower case, got `{self.header}`")
        if not self.trusted and not self.unix:
            raise AddressError("single_header needs at least one trusted range")
        object.__setattr__(self, "_wanted", self.header.encode("ascii"))
        object.__setattr__(self, "_door", Door(self.name, self.trusted, self.unix))

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The client of one request; None where a trusted peer sends no such header, two of them, or no address."""
        door, wanted = self._door, self._wanted
        value: bytes | None = None
        lines: list[bytes] | None = None
        moved = False
        for name, line in headers:
            if name == wanted:
                if value is None:
                    value = line
                elif lines is None:
                    lines = [value, line]
                else:
                    lines.append(line)
            elif name in _LISTED and peer is not None:
                moved = moved or rewritten(peer[0], peer[1], line)
        if peer is None:
            if not door.unix:
                return door.unknown
        else:
            host, port = peer
            if port == 0 or moved:
                return door.refused
            direct = door.seen[host] if host in door.seen else door.meet(host)
            if direct is not None:
                return direct
        if lines is not None:  # a trailer, or a proxy that lets a client's own through
            return one_of([*map(self._at, lines)], self.name) if len(lines) <= READINGS else door.refused
        return door.unknown if value is None else self._at(value)

    def _at(self, value: bytes) -> ClientAddress:
        known = self._answers.get(value)
        if known is not None:
            return known
        found = read_hop(value)
        if found is None or self.trusted.contains_packed(found[1]):
            return keep(self._answers, value, self._door.unknown)
        return keep(self._answers, value, client_at(found, self.name))


def strategy_named(
    name: str,
    *,
    header: str | None = None,
    trusted: Ranges | None = None,
    count: int | None = None,
    unix: bool = False,
) -> Strategy:
    """The strategy that a deployment names; `header` None is the strategy's own.

    Raises: AddressError for a name that is none, and for what the strategy needs and does not get.
    """
    ranges = _NOBODY if trusted is None else trusted
    listed = "x-forwarded-for" if header is None else header
    match name:
        case "peer":
            return Peer()
        case "server":
            return Server()
        case "single_header":
            return SingleHeader("" if header is None else header, ranges, unix)
        case "rightmost_trusted_count":
            return RightmostTrustedCount(0 if count is None else count, ranges, listed, unix)
        case "rightmost_trusted_range":
            return RightmostTrustedRange(ranges, unix, listed)
        case "unsafe_leftmost_non_private":
            return UnsafeLeftmostNonPrivate(listed)
        case _:
            raise AddressError(f"`{name}` is no strategy for the client's address")
