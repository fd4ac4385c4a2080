"""The socket's peer and a list header in; who may speak for a client, and what is kept of what they said, out.

What the strategies share that believe a forwarding header. Answers are cached by the raw bytes they were read from, so
that a repeat parses nothing; the caches are bounded and take no long keys, for whoever sends requests chooses what is
in them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Final

from residency.errors import AddressError
from residency.model.reason import Reason
from residency.signals.forwarded import LISTS, Listed, rewritten
from residency.signals.inet import MAX_HOP, Ranges, canonical
from residency.signals.peer import KEPT, ClientAddress, Headers, SocketPeer

__all__ = ["Door", "FromList", "keep"]

_KEPT_KEY: Final = 512  # a longer header is walked each time: it is no common case, and would let a client fill memory


def keep(cache: dict[bytes, ClientAddress], key: bytes, value: ClientAddress) -> ClientAddress:
    """`value`, remembered under `key` where that is short enough."""
    if len(key) <= _KEPT_KEY:
        if len(cache) >= KEPT:
            cache.clear()
        cache[key] = value
    return value


@dataclass(frozen=True, slots=True)
class Door:
    """Who may say where a request came from: peers inside `trusted`, and with `unix` those on a unix socket.

    Where neither is given nobody is asked, and every peer on the network may.
    """

    strategy: str
    trusted: Ranges
    unix: bool
    unknown: ClientAddress = field(init=False)
    refused: ClientAddress = field(init=False)
    seen: dict[str, ClientAddress | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unknown", ClientAddress(None, self.strategy))
        object.__setattr__(self, "refused", ClientAddress(None, self.strategy, Reason.PEER_REWRITTEN))

    def meet(self, host: str) -> ClientAddress | None:
        """The peer as the client itself, None where it is one of our proxies."""
        address = canonical(host)
        believed = address is not None and (self.trusted.contains(address) if self.trusted or self.unix else True)
        answer = None if believed else ClientAddress(address, self.strategy)
        if len(host) <= MAX_HOP:
            if len(self.seen) >= KEPT:
                self.seen.clear()
            self.seen[host] = answer
        return answer


def _listed(header: str) -> Listed:
    try:
        return LISTS[header]
    except KeyError:
        raise AddressError(f"expected the header x-forwarded-for or forwarded, got `{header}`") from None


@dataclass(frozen=True, slots=True)
class FromList(ABC):
    """What the strategies share that read a list header: the lines are gathered, the peer is met, the answer kept."""

    name: ClassVar[str]
    warning: ClassVar[str | None] = None
    _list: Listed = field(init=False, repr=False, compare=False)
    _door: Door = field(init=False, repr=False, compare=False)
    _answers: dict[bytes, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)

    def set_up(self, header: str, trusted: Ranges, unix: bool) -> None:
        """Called once, by the constructor. Raises AddressError for a header that is no list."""
        object.__setattr__(self, "_list", _listed(header))
        object.__setattr__(self, "_door", Door(self.name, trusted, unix))

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The client of one request; the address is None where the walk ends at something unreadable or nowhere."""
        # 1. All lines of the header, in order. ASGI names are lower case.
        how, door = self._list, self._door
        wanted, other = how.name, how.other
        value: bytes | None = None
        beside: bytes | None = None
        for name, line in headers:
            if name == wanted:
                value = line if value is None else how.joint.join((value, line))
            elif name == other:
                beside = line if beside is None else b",".join((beside, line))
        # 2. The peer must be the socket's own, and one of our proxies: else it is the client, whatever headers say.
        if peer is None:
            if not door.unix:
                return door.unknown
        else:
            host, port = peer
            if (
                port == 0
                or (value is not None and b":" in value and rewritten(host, port, value))
                or (beside is not None and rewritten(host, port, beside))
            ):
                return door.refused
            direct = door.seen[host] if host in door.seen else door.meet(host)
            if direct is not None:
                return direct
        # 3. A proxy that forwards nobody: its own request, or one that adds no header. Not a guess.
        if value is None:
            return door.unknown
        # 4. The walk, once per distinct header.
        known = self._answers.get(value)
        if known is not None:
            return known
        address = self._walk(value)
        return keep(self._answers, value, door.unknown if address is None else ClientAddress(address, self.name))

    @abstractmethod
    def _walk(self, value: bytes) -> str | None:
        """The client's address in the joined header, None where it cannot be told."""
