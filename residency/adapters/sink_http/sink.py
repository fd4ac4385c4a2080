"""A sink's base URLs in, requests below these out: the first member that takes a connection is sent a request, once.

Nothing is taken from the environment but the authorities that TLS trusts (SSL_CERT_FILE): no proxy, no credentials.
Connections are pooled for each member and event loop, over HTTP/1.1.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import anyio
import h11
import httpcore
import httpx
from anyio.lowlevel import RunVar

from residency.adapters.sink_http.connect import Judged
from residency.adapters.sink_http.endpoint import Endpoint
from residency.adapters.sink_http.pool import Pool, Reply
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.failover import BOUNDS as FAILURES
from residency.storage.failover import Attempt, Bounds, Circuit, Told
from residency.storage.services import Resolver, ServiceAnswer, ServiceHandle, ServiceRequest

__all__ = ["BOUNDS", "HttpSink"]

BOUNDS: Final[Mapping[str, float]] = {"connect": 10.0, "read": 600.0, "write": 60.0, "pool": 10.0}
"""Seconds that one step takes at most, whatever the app asks for; `read` and `write` are for a piece of a body."""
_CONNECTIONS: Final = 100  # at a time, to one member from one event loop
_IDLE: Final = 20  # of these, kept open while idle
_EXPIRY: Final = 15.0  # seconds that an idle one is kept: its address was judged when it was opened
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_LEAVING: Final = "http11.send_request_headers.started"
_BROKEN: Final = (
    httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol,
    ssl.SSLError, anyio.BrokenResourceError, anyio.ClosedResourceError,
)  # fmt: skip


def _monotonic() -> int:
    return time.monotonic_ns() // 1000


class HttpSink:
    """The `ServiceSink` port over one HTTP API, and further members that are the same API elsewhere in its country."""

    __slots__ = ("_bounds", "_circuits", "_client", "_failures", "_members", "_name", "_now", "_region")

    def __init__(
        self,
        name: str,
        region: Region,
        url: str,
        *,
        resolver: Resolver,
        client: Callable[[ServiceHandle], AbstractAsyncContextManager[Any]],
        members: Sequence[str] = (),
        allow_private: bool | None = None,
        tls: ssl.SSLContext | None = None,
        bounds: Mapping[str, float] | None = None,
        now: Callable[[], int] = _monotonic,
        failures: Bounds = FAILURES,
        elsewhere: Callable[[str], bool] | None = None,
    ) -> None:
        """`client` makes the client that an app is given, `members` are further URLs, `bounds` replace `BOUNDS`;
        `failures` say when a member is left alone for a while, `now` is in microseconds.

        `allow_private` = names may have addresses that the internet does not route; None = only where a URL names an
        address itself, or this machine. Those of a link, of groups and of nobody are never taken from a name.
        `elsewhere` says of an address that it lies in another country than the sink: it is not connected to;
        None = nobody asks.

        Raises: SinkUnavailable for a URL that cannot be used.
        """
        self._name = name
        self._region = region
        self._client = client
        self._bounds = {**BOUNDS, **(bounds or {})}
        self._members = [
            _Member(name, Endpoint(name, each), resolver, allow_private, elsewhere, tls) for each in (url, *members)
        ]
        self._circuits = [Circuit()] * len(self._members)
        self._failures = failures
        self._now = now

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where the API takes what it is sent."""
        return self._region

    @property
    def credentials(self) -> frozenset[bytes]:
        """The headers (lower case) that its URLs set."""
        return frozenset().union(*(member.endpoint.own for member in self._members))

    @property
    def in_clear(self) -> bool:
        """Whether what it is sent goes to another machine unencrypted."""
        return any(member.endpoint.in_clear for member in self._members)

    async def start(self) -> None:
        """Connects to nothing: an API that is away is no reason for an app not to start, and says so when called."""

    async def ping(self) -> None:
        """Raise SinkUnavailable unless a member takes a connection now, whatever became of calls. Nothing is sent over
        it."""
        problem: BaseException | None = None
        for number, member in enumerate(self._members):
            _, host, port = member.endpoint.origin
            try:
                stream = await member.backend.connect_tcp(host, port, timeout=self._bounds["connect"])
                await stream.aclose()
            except (SinkUnavailable, *_BROKEN) as error:
                problem = error
            else:
                self._circuits[number] = Circuit()
                return
        raise self._away(problem) from None

    async def aclose(self) -> None:
        """Close the connections of this event loop; idempotent. Those of another are closed from there."""
        for member in self._members:
            await member.aclose()

    def client(self, handle: ServiceHandle) -> AbstractAsyncContextManager[Any]:
        """An `httpx.AsyncClient` whose requests go through `handle.send`."""
        return self._client(handle)

    def target_of(self, url: str) -> str | None:
        """The target below a base of this sink that an absolute URL names, None where it names none."""
        found = (member.endpoint.target_of(url) for member in self._members)
        return next((target for target in found if target is not None), None)

    async def send(self, request: ServiceRequest, leaving: Callable[[], None]) -> ServiceAnswer:
        """Send `request` to the first member that takes a connection, and answer with its head.

        Only what never left is tried at the next. A member at which calls failed in a row is left alone for a while.
        Raises: SinkUnavailable, UsageError.
        """
        # Whatever the request is, the other side may act on it: as if each changed something.
        attempt = Attempt(changes=True)
        problem: BaseException | None = SinkUnavailable(
            f"sink {self._name!r} failed too often in a row, and is left alone for a few seconds"
        )
        while (number := attempt.next(self._circuits, self._now())) is not None:
            self._circuits[number] = self._circuits[number].begun(self._now(), self._failures)
            how = Told.UNREACHED

            def sent() -> None:
                nonlocal how
                how = Told.BROKE
                leaving()

            try:
                answer = await self._send(self._members[number], request, sent)
            except (httpcore.LocalProtocolError, h11.LocalProtocolError):
                raise UsageError(
                    f"a request to sink {self._name!r} has headers, or a length, that no HTTP has"
                ) from None
            except (SinkUnavailable, *_BROKEN) as error:
                self._tell(number, how)
                attempt, problem = attempt.told(number, how), error
            else:
                self._tell(number, Told.ANSWERED)
                return answer
        raise self._away(problem) from None

    def _tell(self, number: int, how: Told) -> None:
        self._circuits[number] = self._circuits[number].told(how, self._now(), self._failures)

    async def _send(self, member: _Member, request: ServiceRequest, sent: Callable[[], None]) -> ServiceAnswer:
        endpoint = member.endpoint
        path = endpoint.path(request.target)

        async def trace(event: str, info: object) -> None:
            if event == _LEAVING:
                sent()

        bounds = {name: _least(request.timeouts.get(name), bound) for name, bound in self._bounds.items()}
        kept = [(key, value) for key, value in request.headers if key.lower() not in (b"host", *endpoint.own)]
        response = await member.pool().send(
            httpcore.Request(
                request.method,
                endpoint.url(path),
                headers=[(b"Host", endpoint.authority), *kept, *endpoint.own.items()],
                content=request.body,
                extensions={"timeout": bounds, "trace": trace},
            ),
            bounds["pool"],
        )
        body = _Pieces(response, self._away)
        if response.status == 101:
            await body.aclose()
            raise SinkUnavailable(f"sink {self._name!r} changes the protocol, which it was not asked to")
        headers = response.headers
        location = next((value for key, value in headers if key.lower() == b"location"), None)
        if response.status not in _REDIRECTS or location is None:
            return ServiceAnswer(response.status, headers, body, body.aclose)
        to = endpoint.joined(path, location.decode("latin-1"))
        return ServiceAnswer(response.status, headers, body, body.aclose, to)

    def _away(self, error: BaseException | None) -> SinkUnavailable:
        if isinstance(error, SinkUnavailable):
            return error
        # The library's own message may tell an address or a header.
        late = isinstance(error, httpcore.TimeoutException)
        what = "did not answer in time" if late else "cannot be reached, or broke off"
        return SinkUnavailable(f"sink {self._name!r} {what} ({type(error).__name__})")


class _Member:
    """One endpoint, and its connections from each event loop."""

    __slots__ = ("_pools", "_tls", "backend", "endpoint")

    def __init__(
        self,
        sink: str,
        endpoint: Endpoint,
        resolver: Resolver,
        private: bool | None,
        elsewhere: Callable[[str], bool] | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.endpoint = endpoint
        self.backend = Judged(sink, endpoint, resolver, private, elsewhere)
        self._tls = tls
        self._pools: RunVar[Pool | None] = RunVar(f"residency-sink-{sink}")

    def pool(self) -> Pool:
        pool = self._pools.get(None)
        if pool is None:
            if self.endpoint.origin[0] == "https" and self._tls is None:
                self._tls = httpx.create_ssl_context()
            pool = Pool(self.endpoint.origin, self.backend, self._tls, most=_CONNECTIONS, idle=_IDLE, expiry=_EXPIRY)
            self._pools.set(pool)
        return pool

    async def aclose(self) -> None:
        pool = self._pools.get(None)
        if pool is not None:
            self._pools.set(None)
            await pool.aclose()


class _Pieces:
    """The body of an answer, whose errors name the sink."""

    def __init__(self, reply: Reply, away: Callable[[BaseException], SinkUnavailable]) -> None:
        self._reply = reply
        self._away = away
        self.aclose = reply.aclose

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._reply)
        except _BROKEN as error:
            raise self._away(error) from None


def _least(wanted: float | None, bound: float) -> float:
    return bound if wanted is None else min(wanted, bound)
