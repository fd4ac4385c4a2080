"""The socket's peer in, the client's address out: what every strategy answers with, and the two that read no header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from residency.model.finding import Signal
from residency.model.reason import Reason
from residency.signals.forwarded import FORWARDED, MAX_HOPS, X_FORWARDED_FOR, may_trail, rewritten
from residency.signals.inet import MAX_HOP, read, read_hop

__all__ = [
    "KEPT",
    "READINGS",
    "Answer",
    "ClientAddress",
    "Headers",
    "Peer",
    "Server",
    "SocketPeer",
    "Strategy",
    "client_at",
    "one_of",
]

KEPT: Final = 8192
"""Answers that one cache holds at most; a full one is cleared."""
READINGS: Final = 8
"""Lines of one header, the last of which may not be a proxy's, that are read in each way; more are nobody's but an
attacker's, and are refused."""

Headers = Sequence[tuple[bytes, bytes]]
SocketPeer = tuple[str, int] | None
Answer = tuple[object, tuple[Signal, ...]]
"""What a network source says of an address, behind a mark of the data that it was said from."""


@dataclass(slots=True)
class ClientAddress:
    """The client's canonical address, None where it is undetermined; the strategy that said so; what was wrong.

    `packed` is the address again, as 4 or 16 bytes, where whoever read it had them. `answer` is a NetworkSource's, and
    the one thing that ever changes: strategies say the same object again, so what was said of it is remembered on it.
    `either` are those of whom it must be one, or somebody unknown, where the client can make it look like several.
    """

    address: str | None
    strategy: str
    problem: Reason | None = None
    packed: bytes | None = field(default=None, repr=False, compare=False)
    either: tuple[ClientAddress, ...] = ()
    answer: Answer | None = field(default=None, init=False, repr=False, compare=False)


_blank: Final = object.__new__


def client_at(found: tuple[str, bytes], strategy: str) -> ClientAddress:
    """The client at the address that `read` or `read_hop` found."""
    client = _blank(ClientAddress)  # half of what its constructor costs
    client.address, client.packed = found
    client.strategy = strategy
    client.problem = client.answer = None
    client.either = ()
    return client


def one_of(found: Sequence[ClientAddress], strategy: str) -> ClientAddress:
    """The client of a request that can be read in several ways, of which one is right: who all of them name, else
    nobody, and `either` of those that are named. At least one reading; what is wrong with any is wrong."""
    wrong = next((each for each in found if each.problem is not None), None)
    if wrong is not None:
        return wrong
    named = {each.address: each for each in found}
    if len(named) == 1:
        return found[0]
    return ClientAddress(None, strategy, either=tuple(each for each in named.values() if each.address is not None))


class Strategy(Protocol):
    """One way to tell the client's address. Deterministic, never raises on what a client sent.

    `warning` is what an operator has to be told at the start, None where there is nothing to warn of.
    """

    name: ClassVar[str]
    warning: ClassVar[str | None]

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The client of one request; `peer` is the scope's (host, port), None for a unix socket."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The socket's peer and nothing else. Right where no proxy stands before the server."""

    name: ClassVar[str] = "peer"
    warning: ClassVar[str | None] = None
    _seen: dict[str, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The peer, None for a unix socket; PEER_REWRITTEN where the server has put a header's address there."""
        if peer is None:
            return ClientAddress(None, self.name)
        host, port = peer
        moved = port == 0
        for name, value in headers:
            if name == X_FORWARDED_FOR or name == FORWARDED:  # noqa: SIM109 - `in` costs a quarter more
                moved = moved or rewritten(host, port, value)
        if moved:
            return ClientAddress(None, self.name, Reason.PEER_REWRITTEN)
        return _remember(self._seen, host, self.name)


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says the peer is, rewritten or not.

    Safe only where the server's own proxy handling trusts nobody but our proxies: with uvicorn's
    `--forwarded-allow-ips '*'` the leftmost address, which any client writes, becomes the peer.
    """

    name: ClassVar[str] = "server"
    warning: ClassVar[str | None] = None
    _seen: dict[str, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The scope's client as it stands, None for a unix socket or a host that is no address; where the server may
        have taken it from behind the body, whoever else it may be too."""
        if peer is None:
            return ClientAddress(None, self.name)
        found = _remember(self._seen, peer[0], self.name)
        lines = 0
        for name, _ in headers:
            lines += name == X_FORWARDED_FOR
        return found if lines < 2 or not may_trail(headers) else self._trailed(found, headers)

    def _trailed(self, found: ClientAddress, headers: Headers) -> ClientAddress:
        # Whom the server believes is not known here, so any of those that are named may be the client.
        named = b",".join(line for name, line in headers if name == X_FORWARDED_FOR).split(b",", MAX_HOPS)
        if len(named) > MAX_HOPS:
            return ClientAddress(None, self.name, Reason.PEER_REWRITTEN)
        others = (client_at(each, self.name) for each in map(read_hop, named) if each is not None)
        return one_of([found, *others], self.name)


def _remember(seen: dict[str, ClientAddress], host: str, strategy: str) -> ClientAddress:
    known = seen.get(host)
    if known is None:
        found = read(host)
        known = ClientAddress(None, strategy) if found is None else client_at(found, strategy)
        if len(host) <= MAX_HOP:  # a server may have taken the host from a header
            if len(seen) >= KEPT:
                seen.clear()
            seen[host] = known
    return known
