"""A name in, a connection to one of exactly the addresses that were judged out.

A name is resolved for each new connection, and every address that it has is judged; the connection then goes to a
number and no longer to the name. So a name that points elsewhere a moment later leads nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import anyio
import httpcore

from residency.adapters.sink_http.endpoint import Endpoint
from residency.errors import SinkUnavailable, Unavailable
from residency.storage.services import Resolver

__all__ = ["Judged"]

_ADDRESSES: Final = 4  # of one name, that are tried one after the other
# Networks of IPv6 whose last 32 bits are the IPv4 address that is reached: NAT64 (RFC 6052, RFC 8215), and compatible
# and translated addresses of old (RFC 4291, RFC 2765), which some systems still route.
_CARRIERS: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
_PUBLIC: Final = IPv6Network("2000::/3")  # all that was ever given out; Python's `is_global` knows less of the rest
_DOCUMENTATION: Final = IPv6Network("3fff::/20")
_NO_PUBLIC: Final = frozenset({IPv4Address("192.0.0.8")})  # RFC 7600: nobody is reached by it
_WAIT: Final = 10.0  # seconds, where nobody says


class Judged(httpcore.AsyncNetworkBackend):
    """httpcore's way to the network, for one endpoint of a sink."""

    def __init__(
        self,
        sink: str,
        endpoint: Endpoint,
        resolver: Resolver,
        allow_private: bool | None,
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """`allow_private` and `elsewhere` are as `HttpSink` says."""
        self._sink = sink
        self._endpoint = endpoint
        self._resolver = resolver
        self._private = endpoint.literal if allow_private is None else allow_private
        self._elsewhere = elsewhere
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one, each given its share of what is left of `timeout` seconds.

        Raises: SinkUnavailable for a name or an address that may not be, httpcore's errors.
        """
        end = anyio.current_time() + (_WAIT if timeout is None else timeout)
        try:
            with anyio.fail_after(end - anyio.current_time()):
                found = await self.addresses()
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        for number, address in enumerate(found):
            share = max(0.0, end - anyio.current_time()) / (len(found) - number)
            try:
                return await self._plain.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number + 1 == len(found):
                    raise
        raise httpcore.ConnectError

    async def addresses(self) -> tuple[str, ...]:
        """The endpoint's addresses, each of which may be connected to. Raises: SinkUnavailable."""
        if self._endpoint.literal:
            return self._at_home((self._endpoint.host,))
        try:
            found = await self._resolver.resolve(self._endpoint.host)
        except Unavailable:
            raise SinkUnavailable(f"sink {self._sink!r} has a name that cannot be resolved now") from None
        # One among them that may not be is reason enough: whoever could add it could make it the only one.
        if not all(map(self._may, found)):
            raise SinkUnavailable(f"sink {self._sink!r} has a name with an address that it may not lie at")
        return self._at_home(found)[:_ADDRESSES]

    def _at_home(self, found: tuple[str, ...]) -> tuple[str, ...]:
        if self._elsewhere is not None and any(map(self._elsewhere, found)):
            raise SinkUnavailable(f"sink {self._sink!r} has an address in another country than it says")
        return found

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

    def _may(self, address: str) -> bool:
        value = _read(address)
        if value is None or value.is_multicast or value.is_unspecified or value.is_link_local:
            return False
        if self._endpoint.local:
            return value.is_loopback
        return _is_public(value) or self._private


def _is_public(value: IPv4Address | IPv6Address) -> bool:
    if isinstance(value, IPv4Address):
        return value.is_global and value not in _NO_PUBLIC
    return value.is_global and value in _PUBLIC and value not in _DOCUMENTATION


def _read(address: str) -> IPv4Address | IPv6Address | None:
    """The address that is reached: the IPv4 one where IPv6 carries one; None where it cannot be read."""
    try:
        value = ip_address(address)
    except ValueError:
        return None
    if isinstance(value, IPv6Address):
        carries = not value.is_loopback and any(value in network for network in _CARRIERS)
        carried = IPv4Address(int(value) & 0xFFFFFFFF) if carries else None
        return value.ipv4_mapped or value.sixtofour or carried or value
    return value
