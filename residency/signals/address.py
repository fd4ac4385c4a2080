"""Whose address it is: the socket's peer and the forwarding headers in, one client address or none out.

Theory. A forwarding header is a list to which each proxy appends the address it was called from, so only its right
end was written by somebody we know: every element is believed exactly as far as the one that wrote it. The walk
starts at the socket's own peer and goes left for as long as the address at hand lies in a trusted range; the first
that does not is the client. What stands further left may be anything and changes nothing.

A strategy needs the socket's own peer. A server that has already rewritten it (uvicorn's proxy handling, on by
default for loopback) leaves an address that nobody here can check, so that is a problem, not an answer, unless the
deployment says in words that the server is trusted (`Server`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from residency.errors import AddressError
from residency.model.reason import Reason
from residency.signals.inet import MAX_HOP, Ranges, canonical, parse_hop

__all__ = ["MAX_HEADER", "MAX_HOPS", "ClientAddress", "Peer", "RightmostTrustedRange", "Server", "Strategy"]

MAX_HOPS: Final = 64
"""Trusted hops that one walk passes at most."""
MAX_HEADER: Final = 8192
"""Bytes of the joined header, counted from its right end, that one walk reads at most."""

_CACHE: Final = 8192
_CACHE_KEY: Final = 512  # a longer header is walked each time: it is no common case, and would let a client fill memory

Headers = Sequence[tuple[bytes, bytes]]
SocketPeer = tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """The client's canonical address, None where it is undetermined; the strategy that said so; what was wrong."""

    address: str | None
    strategy: str
    problem: Reason | None = None


class Strategy(Protocol):
    """One way to tell the client's address. Deterministic, never raises on what a client sent."""

    name: ClassVar[str]

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The client of one request; `peer` is the scope's (host, port), None for a unix socket."""


def _forwarded_for(headers: Headers) -> bytes | None:
    """All X-Forwarded-For lines joined in order, None where there is none. ASGI names are lower case."""
    found: bytes | None = None
    for name, value in headers:
        if name == b"x-forwarded-for":
            found = value if found is None else b"%b,%b" % (found, value)
    return found


def _rewritten(peer: tuple[str, int], forwarded: bytes | None) -> bool:
    """Whether a server put `peer` there out of a header: port 0 (no socket has it), or the very host:port of an
    element (newer servers keep a forwarded port)."""
    host, port = peer
    if port == 0:
        return True
    if forwarded is None or b":" not in forwarded:
        return False
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    sought = written.encode("ascii", "replace")
    return sought in forwarded and sought in [element.strip(b" \t") for element in forwarded.split(b",")]


@dataclass(frozen=True, slots=True)
class Peer:
    """The socket's peer and nothing else. Right where no proxy stands before the server."""

    name: ClassVar[str] = "peer"
    _seen: dict[str, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The peer, None for a unix socket; PEER_REWRITTEN where the server has put a header's address there."""
        if peer is None:
            return ClientAddress(None, self.name)
        if _rewritten(peer, _forwarded_for(headers)):
            return ClientAddress(None, self.name, Reason.PEER_REWRITTEN)
        return _remember(self._seen, peer[0], self.name)


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says the peer is, rewritten or not.

    Safe only where the server's own proxy handling trusts nobody but our proxies: with uvicorn's
    `--forwarded-allow-ips '*'` the leftmost address, which any client writes, becomes the peer.
    """

    name: ClassVar[str] = "server"
    _seen: dict[str, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The scope's client as it stands, None for a unix socket or a host that is no address."""
        if peer is None:
            return ClientAddress(None, self.name)
        return _remember(self._seen, peer[0], self.name)


@dataclass(frozen=True, slots=True)
class RightmostTrustedRange:
    """The rightmost X-Forwarded-For address outside the trusted ranges, if the peer itself is inside them.

    `unix` says that a peer on a unix socket is a trusted proxy. Raises AddressError where no range is given (use
    `Peer`) and no unix peer is trusted either.
    """

    name: ClassVar[str] = "rightmost_trusted_range"
    trusted: Ranges
    unix: bool = False
    _peers: dict[str, ClientAddress | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    _walks: dict[bytes, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.trusted and not self.unix:
            raise AddressError("rightmost_trusted_range needs at least one trusted range")

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The client of one request; the address is None where the walk ends at something unreadable or nowhere."""
        # 1. The peer must be the socket's own.
        forwarded = _forwarded_for(headers)
        if peer is None:
            if not self.unix:
                return ClientAddress(None, self.name)
        else:
            if _rewritten(peer, forwarded):
                return ClientAddress(None, self.name, Reason.PEER_REWRITTEN)
            # 2. A peer outside the trusted ranges is the client, whatever its headers say.
            direct = self._direct(peer[0])
            if direct is not None:
                return direct
        # 3. A trusted peer that forwards nobody: its own request, or a proxy that adds no header. Not a guess.
        if forwarded is None:
            return ClientAddress(None, self.name)
        # 4. The walk, once per distinct header.
        walked = self._walks.get(forwarded)
        if walked is None:
            walked = ClientAddress(self._walk(forwarded), self.name)
            if len(forwarded) <= _CACHE_KEY:
                if len(self._walks) >= _CACHE:
                    self._walks.clear()
                self._walks[forwarded] = walked
        return walked

    def _direct(self, host: str) -> ClientAddress | None:
        """The peer as the client, None where the peer is a trusted proxy."""
        try:
            return self._peers[host]
        except KeyError:
            address = canonical(host)
            trusted = address is not None and self.trusted.contains(address)
            answer = None if trusted else ClientAddress(address, self.name)
            if len(self._peers) >= _CACHE:
                self._peers.clear()
            self._peers[host] = answer
            return answer

    def _walk(self, forwarded: bytes) -> str | None:
        # The limits bound the walk, not the header: a client may write what it likes on the left, and must not be
        # able to switch its own address off with it.
        cut = len(forwarded) > MAX_HEADER
        hops = forwarded[-MAX_HEADER:].rsplit(b",", MAX_HOPS)
        if cut or len(hops) > MAX_HOPS:
            del hops[0]  # the remainder beyond the limit, perhaps half an element
        for hop in reversed(hops):
            address = parse_hop(hop)
            if address is None or not self.trusted.contains(address):
                return address
        return None


def _remember(seen: dict[str, ClientAddress], host: str, strategy: str) -> ClientAddress:
    known = seen.get(host)
    if known is None:
        known = ClientAddress(canonical(host), strategy)
        if len(host) <= MAX_HOP:  # a server may have taken the host from a header
            if len(seen) >= _CACHE:
                seen.clear()
            seen[host] = known
    return known
