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
from residency.signals.forwarded import LISTS, X_FORWARDED_FOR, Listed, may_trail, names_port, rewritten
from residency.signals.inet import MAX_HOP, Ranges, read
from residency.signals.peer import KEPT, READINGS, ClientAddress, Headers, SocketPeer, client_at, one_of

__all__ = ["KEPT_KEY", "Door", "FromList", "keep"]

_COLON: Final = 0x3A  # as a number: found in a seventh of the time that b":" takes
_UNSEEN: Final = ClientAddress("", "")
KEPT_KEY: Final = 512  # a longer header is walked each time: it is no common case, and would let a client fill memory


def keep(cache: dict[bytes, ClientAddress], key: bytes, value: ClientAddress) -> ClientAddress:
    """`value`, remembered under `key` where that is short enough."""
    if len(key) <= KEPT_KEY:
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
        found = read(host)
        answer: ClientAddress | None = self.unknown
        if found is not None:
            believed = self.trusted.contains_packed(found[1]) if self.trusted or self.unix else True
            answer = None if believed else client_at(found, self.strategy)
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
    # By the joined header. Apart, so that the common case is one probe: a header that names no port cannot be what a
    # server took the peer from.
    _plain: dict[bytes, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)
    _ported: dict[bytes, ClientAddress] = field(default_factory=dict, init=False, repr=False, compare=False)
    # What each request needs, within one reach.
    _wanted: bytes = field(init=False, repr=False, compare=False)
    _quick: bool = field(init=False, repr=False, compare=False)
    _seen: dict[str, ClientAddress | None] = field(init=False, repr=False, compare=False)

    def set_up(self, header: str, trusted: Ranges, unix: bool) -> None:
        """Called once, by the constructor. Raises AddressError for a header that is no list."""
        listed, door = _listed(header), Door(self.name, trusted, unix)
        for name, value in (
            ("_list", listed),
            ("_door", door),
            ("_wanted", listed.name),
            ("_quick", listed.name == X_FORWARDED_FOR),
            ("_seen", door.seen),
        ):
            object.__setattr__(self, name, value)

    def client(self, peer: SocketPeer, headers: Headers) -> ClientAddress:
        """The client of one request; the address is None where the walk ends at something unreadable or nowhere."""
        # All lines of the header, in order. ASGI names are lower case.
        wanted = self._wanted
        value = lines = None
        for name, line in headers:
            if name == wanted:
                if value is None:
                    value = line
                elif lines is None:
                    lines = [value, line]
                else:
                    lines.append(line)
        if lines is not None:
            if may_trail(headers):
                return self._trailed(peer, lines, headers)
            value = self._list.joint.join(lines)
        # The common case: a known proxy, a known header.
        if value is not None and peer is not None and self._quick:
            host, port = peer
            if port != 0 and self._seen.get(host, _UNSEEN) is None:
                known = self._plain.get(value)
                if known is not None:
                    return known
                if _COLON not in value:
                    return self._learn(self._plain, value)
        return self._tell(peer, value, headers)

    def _trailed(self, peer: SocketPeer, lines: list[bytes], headers: Headers) -> ClientAddress:
        """The client where the last lines may stand behind the body, and no mark tells which: the proxies wrote the
        first line, or the first two, and so on. None of these is passed over, for a client that could make its address
        unknown could choose what is presumed of it."""
        if len(lines) > READINGS:
            return self._door.refused
        join = self._list.joint.join
        return one_of([self._tell(peer, join(lines[:n]), headers) for n in range(1, len(lines) + 1)], self.name)

    def _tell(self, peer: SocketPeer, value: bytes | None, headers: Headers) -> ClientAddress:
        door = self._door
        ported = value is not None and names_port(value)
        # 1. The peer must be the socket's own, and one of our proxies: else it is the client, whatever headers say.
        if peer is None:
            if not door.unix:
                return door.unknown
        else:
            host, port = peer
            direct = door.seen[host] if host in door.seen else door.meet(host)
            if (
                port == 0
                or (value is not None and ported and rewritten(host, port, value))
                # Servers that take a peer of ours from Forwarded leave port 0: then only the list that is read counts.
                or ((direct is not None or not self._quick) and self._is_beside(host, port, headers))
            ):
                return door.refused
            if direct is not None:
                return direct
        # 2. A proxy that forwards nobody: its own request, or one that adds no header. Not a guess.
        if value is None:
            return door.unknown
        # 3. The walk, once per distinct header.
        kept = self._ported if ported else self._plain
        known = kept.get(value)
        return self._learn(kept, value) if known is None else known

    def _learn(self, kept: dict[bytes, ClientAddress], value: bytes) -> ClientAddress:
        found = self._walk(value)
        return keep(kept, value, self._door.unknown if found is None else client_at(found, self.name))

    def _is_beside(self, host: str, port: int, headers: Headers) -> bool:
        """Whether the peer stands in the list that is not read here."""
        other = self._list.other
        lines = [line for name, line in headers if name == other]
        return bool(lines) and rewritten(host, port, b",".join(lines))

    @abstractmethod
    def _walk(self, value: bytes) -> tuple[str, bytes] | None:
        """The client's address in the joined header and its bytes, None where it cannot be told."""
