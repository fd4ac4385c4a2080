"""A way to a sink in; what can be seen of where it leads, out: addresses, time to connect, certificate, bucket region.

Nothing of the sink's own is read, and no credentials are sent but to a bucket that is asked where it lies, and to a
server that is asked which it is. What cannot be seen is no error: the answer says so. Messages name no host.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

import anyio
import anyio.to_thread
from anyio.abc import SocketStream
from anyio.streams.tls import TLSAttribute, TLSStream
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from residency.errors import Unavailable
from residency.signals.inet import canonical
from residency.signals.table import Row
from residency.storage.location import Address, BucketAnswer, Certificate, Seen, Which
from residency.storage.services import Resolver

__all__ = ["LocationProbe", "Way"]

_ADDRESSES: Final = 4  # of one name, that are connected to; all are looked up
_TRIES: Final = 3
_WAIT: Final = 3.0  # seconds for one name or handshake
_CONNECT: Final = 2.0
_SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")  # PostgreSQL: whether it speaks TLS
_ORGANISATION: Final = 60  # characters of an issuer's name that are told


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a sink. `host` None = a file of this machine, and `file` which, where that is known. `tls` = how a
    certificate is come by, None = not at all. `front` = the address is a cloud's front door; `bucket` asks a bucket for
    its region, None where it says none, and raises Unavailable where it does not answer. `itself` asks a server which
    it is; it may block.
    """

    host: str | None
    port: int = 0
    tls: Literal["tls", "postgres"] | None = None
    front: bool = False
    bucket: Callable[[], Awaitable[BucketAnswer | None]] | None = None
    file: Path | None = None
    itself: Callable[[], Which] | None = None

    def __repr__(self) -> str:
        return f"Way({self.tls})"  # a host may be as secret as the URL that it stands in


class LocationProbe:
    """Looks at ways. `row_of` is the address table's word on an address."""

    __slots__ = ("_resolver", "_row_of", "_system_of", "_tls")

    def __init__(
        self,
        resolver: Resolver,
        row_of: Callable[[str], Row],
        *,
        tls: ssl.SSLContext | None = None,
        system_of: Callable[[str], str | None] = lambda address: None,
    ) -> None:
        """`tls` = whom to believe, None = the authorities that this machine does; `system_of` names the autonomous
        system of an address."""
        self._resolver = resolver
        self._row_of = row_of
        self._system_of = system_of
        self._tls = tls

    async def look(self, way: Way) -> Seen:
        """What can be seen of `way` now. Takes seconds at most, and raises nothing for what the network does."""
        if way.host is None:
            return Seen(here=True, which=await _which(way))
        found: tuple[str, ...] = ()
        problem: str | None = None
        try:
            with anyio.fail_after(_WAIT):
                found = await self._addresses(way.host)
        except (Unavailable, TimeoutError):
            problem = "its name cannot be resolved now"
        else:
            problem = None if found else "its name has no address"
        bucket = None
        if way.bucket is not None and found:
            try:
                with anyio.fail_after(2 * _WAIT):
                    bucket = await way.bucket()
            except (Unavailable, TimeoutError):
                problem = "its bucket does not say now where it lies"
        round_trip, near = await self._round_trip(found, way.port)
        certificate = None if near is None or way.tls is None else await self._certificate(way, near)
        return Seen(
            which=await _which(way) if found else Which(),
            front=way.front,
            addresses=tuple(replace(self.placed(each), system=self._system_of(each)) for each in found),
            certificate=certificate,
            bucket=bucket,
            round_trip=round_trip,
            problem=problem,
        )

    async def _addresses(self, host: str) -> tuple[str, ...]:
        literal = canonical(host)
        found = (literal,) if literal is not None else await self._resolver.resolve(host)
        return tuple(dict.fromkeys(each for text in found if (each := canonical(text)) is not None))

    def placed(self, text: str) -> Address:
        """What the address table says of an address, as `canonical` spells it."""
        value = ip_address(text)
        if value.is_loopback:
            return Address(text, "local")
        row = self._row_of(text)
        if row.network == "special" or not value.is_global:
            return Address(text, "private")
        return Address(text, "public", row.country, row.second, row.network)

    async def _round_trip(self, addresses: tuple[str, ...], port: int) -> tuple[int | None, str | None]:
        """The least time that a connection took (microseconds), and the first address that took one."""
        best: int | None = None
        near: str | None = None
        for address in addresses[:_ADDRESSES]:
            for _ in range(_TRIES):
                begin = time.perf_counter_ns()
                stream = await _connect(address, port)
                if stream is None:
                    break
                took = (time.perf_counter_ns() - begin) // 1000
                await anyio.aclose_forcefully(stream)
                best, near = took if best is None else min(best, took), near or address
        return best, near

    async def _certificate(self, way: Way, address: str) -> Certificate | None:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        verified = await self._handshake(way, address, self._tls)
        if verified is not None:
            return _read(verified, verified=True)
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE  # to read what it says, and to tell that nobody vouches for it
        seen = await self._handshake(way, address, unverified)
        return None if seen is None else _read(seen, verified=False)

    async def _handshake(self, way: Way, address: str, context: ssl.SSLContext) -> bytes | None:
        """The server's certificate (DER), None where there is none to be had on these terms."""
        stream = await _connect(address, way.port)
        if stream is None:
            return None
        try:
            with anyio.fail_after(_WAIT):
                if way.tls == "postgres":
                    await stream.send(_SSL_REQUEST)
                    if await stream.receive(1) != b"S":
                        return None
                wrapped = await TLSStream.wrap(
                    stream, hostname=way.host, ssl_context=context, standard_compatible=False
                )
                found = wrapped.extra(TLSAttribute.peer_certificate_binary)  # noqa: S610 - anyio's
                return bytes(found) if found is not None else None
        except (ssl.SSLError, OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream, ValueError):
            return None  # ValueError: a name that no certificate can have
        finally:
            await anyio.aclose_forcefully(stream)


async def _which(way: Way) -> Which:
    """What a file or a server says of itself, however it is called; nothing where there is none, or it cannot."""
    ask = way.itself if way.file is None else partial(_file, way.file)
    if ask is None:
        return Which()
    try:
        with anyio.fail_after(_WAIT):
            return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True)
    except (OSError, TimeoutError):
        return Which()


def _file(file: Path) -> Which:
    found = file.stat()
    return Which(frozenset({f"file {found.st_dev} {found.st_ino}"}))


async def _connect(address: str, port: int) -> SocketStream | None:
    try:
        with anyio.fail_after(_CONNECT):
            return await anyio.connect_tcp(address, port)
    except (OSError, TimeoutError):
        return None


def _read(der: bytes, *, verified: bool) -> Certificate | None:
    try:
        found = x509.load_der_x509_certificate(der)
        issuer, subject = found.issuer, found.subject
        by = _said(issuer, NameOID.ORGANIZATION_NAME) or _said(issuer, NameOID.COMMON_NAME) or ""
        return Certificate(verified, _country(subject), _country(issuer), by)
    except ValueError:
        return None


def _said(name: x509.Name, what: ObjectIdentifier) -> str | None:
    found = next(iter(name.get_attributes_for_oid(what)), None)
    text = None if found is None else str(found.value)
    # Whoever runs the server wrote this, and it goes into an entry: letters of a name, and nothing that steers.
    return None if text is None else "".join(each for each in text if each.isprintable())[:_ORGANISATION]


def _country(name: x509.Name) -> str | None:
    text = _said(name, NameOID.COUNTRY_NAME)
    return text.upper() if text is not None and len(text) == 2 and text.isascii() and text.isalpha() else None
