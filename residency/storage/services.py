"""A store of services under one decision: HTTP requests in, answers out, each exchange one act on the sink it reaches.

An exchange leaves, step by step: an intent, which survives a power cut before the first byte goes; the request; the
answer's head, which is the outcome. What is certain is told and nothing else:

| what happened                                        | outcome     |
|------------------------------------------------------|-------------|
| nothing left: no address, no connection, cancelled   | `failed`    |
| it left and no head came, or the head says 5xx       | `unknown`   |
| 401 to the sink's own credentials, which is an error | `unknown`   |
| any other head below 500                             | `committed` |

A 5xx or a 401 is no `failed`, for what failed counts as no transfer, and the data did leave. An answer whose length is
not known beforehand (a stream of events) ends its act with its last byte, or when it is closed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import unquote

from residency.audit.entry import parse_entry_id
from residency.enforcement.acts import Act
from residency.enforcement.current import Current
from residency.enforcement.ports import SinkPort
from residency.errors import ResidencyError, SinkUnavailable, Unavailable, UsageError
from residency.model import Operation, SinkVerdict
from residency.storage.handle import SessionFactory, StoreHandle

__all__ = ["Headers", "Resolver", "ServiceAnswer", "ServiceHandle", "ServiceRequest", "ServiceSink", "check_target"]

Headers = tuple[tuple[bytes, bytes], ...]
"""Names and values as they stand on the wire, in order."""

_HOPS: Final = 5  # redirects that one request follows at most
_KEEP_METHOD: Final = frozenset({307, 308})
# What belongs to one connection (RFC 9110 section 7.6.1), or would tell one sink of another or one person of another.
_OWN: Final = frozenset(
    {
        b"connection", b"cookie", b"cookie2", b"host", b"keep-alive", b"proxy-authorization", b"proxy-connection",
        b"te", b"trailer", b"upgrade",
    }
)  # fmt: skip
_CREDENTIALS: Final = frozenset({b"api-key", b"authorization", b"x-api-key", b"x-auth-token"})
_METHOD: Final = re.compile(r"[A-Za-z]{1,32}")
_PART: Final = re.compile(r"[/\\]")


class Resolver(Protocol):
    """Which addresses a name has now."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """The addresses of `host` as numbers ("203.0.113.7"), best first. Raises: Unavailable where there is none."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """One request to a service. `target` is path and query below the sink's own, percent-encoded: "chat?x=1".

    `replayable` = the body can be read again, for a redirect that asks for it. `timeouts` are seconds by `connect`,
    `read`, `write`, `pool`; None or none = as long as the sink allows.
    """

    method: str
    target: str
    headers: Headers
    body: AsyncIterable[bytes]
    replayable: bool = False
    timeouts: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """One answer, its head received. The body raises SinkUnavailable where it breaks off; `aclose` lets it go.

    `location` is where a redirect leads, as an absolute URL; None = it is none.
    """

    status: int
    headers: Headers
    body: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]
    location: str | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value of the header `name` (lower case), None where there is none."""
        return next((value for each, value in self.headers if each.lower() == name), None)


@runtime_checkable
class ServiceSink(SinkPort, Protocol):
    """A sink that is somebody's HTTP API below one base URL. What it sends goes below that, and nowhere else."""

    @property
    def credentials(self) -> frozenset[bytes]:
        """The headers (lower case) by which this sink says who we are; it sets them itself, whatever it is given."""

    def target_of(self, url: str) -> str | None:
        """The target below this sink's base that an absolute URL names, None where it names none."""

    async def send(self, request: ServiceRequest, leaving: Callable[[], None]) -> ServiceAnswer:
        """Send `request`, once, and answer with the head that came. It follows no redirect.

        `leaving` is called before the first byte leaves; what is raised before that is of a request that never left.

        Raises: SinkUnavailable, UsageError for a request that cannot be sent.
        """

    def client(self, handle: ServiceHandle) -> AbstractAsyncContextManager[Any]:
        """An `httpx.AsyncClient` whose requests go through `handle.send`; this layer does not import it."""


class ServiceHandle(StoreHandle):
    """One store of services under one request's newest decision; `async with` it for an `httpx.AsyncClient`."""

    __slots__ = ("_client", "_users")
    followed = frozenset()  # nobody's data lies at a service, wherever it is moved from

    def __init__(
        self,
        current: Current,
        name: str,
        order: tuple[str, ...],
        sinks: Mapping[str, SinkPort],
        sessions: SessionFactory | None,
    ) -> None:
        super().__init__(current, name, order, sinks, sessions)
        self._client: AbstractAsyncContextManager[Any] | None = None
        self._users = 0

    async def __aenter__(self) -> Any:
        """An `httpx.AsyncClient` whose base URL is `http://STORE/`. Tasks that enter at the same time share one."""
        if self._client is None:
            self._client = self._service(self.order[0]).client(self)
            await self._client.__aenter__()
        self._users += 1
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the client go, with the last who uses it."""
        self._users -= 1
        if self._users == 0 and self._client is not None:
            client, self._client = self._client, None
            await client.__aexit__(kind, error, trace)

    def route(self, *, operation: Operation | None = None, sink: str | None = None) -> SinkVerdict:
        """The verdict on the sink that a request would go to now: the first that is permitted, in the decision's order.

        Nobody's data rests at a service, so a subject's home does not choose it; the decision alone does.

        Raises: Refused (NO_SINK), UnknownStore.
        """
        decision = self._current.decision
        if sink is None and decision.mode != "observe":
            sink = next((verdict.sink.name for verdict in decision.sinks if verdict.sink.name in self.order), None)
        return super().route(operation=operation, sink=sink)

    async def send(self, request: ServiceRequest, *, sink: str | None = None) -> ServiceAnswer:
        """Send `request` to the routed sink (or to `sink`), and answer what came. One act, and one more a redirect.

        A redirect is followed below the base of a sink of this store, each time by that sink's own verdict.

        Raises: UsageError for a target outside the base, Refused, SubjectUnknown, Unavailable.
        """
        if _METHOD.fullmatch(request.method) is None or request.method.upper() in ("CONNECT", "TRACE"):
            raise UsageError(f"a request to store {self.name!r} has a method that no service is sent")
        check_target(request.target)
        request = replace(request, headers=self._sent(request.headers))
        resumed = False
        for _ in range(_HOPS + 1):
            act = await self.opened(operation=self._word(), sink=sink, resumed=resumed)
            answer = await self._exchange(act, request)
            if answer.location is None:
                return answer
            await answer.aclose()
            sink, target = self._redirected(act.sink, answer.location)
            request = self._again(request, answer.status, target, act.sink)
            resumed = True
        raise self._lost(f"store {self.name!r}: more than {_HOPS} redirects, the last by sink {sink!r}")

    async def _exchange(self, act: Act, request: ServiceRequest) -> ServiceAnswer:
        """One act: confirmed, its intent on disk, sent, and its outcome told as far as the head tells it."""
        left = False

        def leaving() -> None:
            nonlocal left
            left = True

        await act.confirm()
        try:
            # What goes out cannot be called back, so it waits for its intent as an act that changes data does.
            await act.current.point.recorder.durable(parse_entry_id(act.id)[1])
            service = self._service(act.sink)
            answer = await service.send(request, leaving)
            if answer.status == 401 and _says_who_we_are(service, request):
                # What the app would be told of is what the deployment file says; and it knows no other credentials.
                await answer.aclose()
                raise SinkUnavailable(f"sink {act.sink!r} does not accept the credentials in its URL")
        except BaseException:
            with suppress(Unavailable):  # the intent then stays open, and the first error is the one to tell
                act.outcome("unknown" if left else "failed")
            raise
        kept = tuple(pair for pair in answer.headers if pair[0].lower() not in (b"set-cookie", b"set-cookie2"))
        answer = replace(answer, headers=kept)
        word = "committed" if answer.status < 500 else "unknown"
        if answer.location is None and _streams(request.method, answer):
            body = _Acting(act, answer, word)
            return replace(answer, body=body, aclose=body.aclose)
        try:
            act.outcome(word)
            await act.settled()
        except BaseException:
            await answer.aclose()
            raise
        return answer

    def _redirected(self, sink: str, location: str) -> tuple[str, str]:
        """(sink, target) that a redirect by `sink` leads to."""
        for name in (sink, *(each for each in self.order if each != sink)):
            target = self._service(name).target_of(location)
            if target is not None:
                return name, target
        raise self._lost(f"sink {sink!r} redirects to where store {self.name!r} has no sink")

    def _again(self, request: ServiceRequest, status: int, target: str, sink: str) -> ServiceRequest:
        """The request that a redirect asks for (RFC 9110 section 15.4)."""
        method = request.method.upper()
        if status in _KEEP_METHOD or method in ("GET", "HEAD"):
            if not request.replayable and method not in ("GET", "HEAD"):
                raise self._lost(f"sink {sink!r} redirects a request whose body can be sent only once")
            return replace(request, target=target)
        headers = tuple(
            (name, value)
            for name, value in request.headers
            if not name.lower().startswith(b"content-") and name.lower() != b"transfer-encoding"
        )
        return ServiceRequest("GET", target, headers, _Nothing(), True, request.timeouts)

    def _lost(self, message: str) -> SinkUnavailable:
        """The error to raise where no sink gives an answer, noted for the edge: the act before it has told its end."""
        error = SinkUnavailable(message)
        self._current.trail.met(error)
        return error

    def _sent(self, headers: Headers) -> Headers:
        """The app's headers that a sink may see. Where there are several sinks the app cannot say for which of them its
        credentials are, so each sink brings its own alone."""
        dropped = set(_OWN)
        for name, value in headers:
            if name.lower() == b"connection":  # names further headers of the connection's own
                dropped.update(word.strip().lower() for word in value.split(b","))
        dropped -= {b"content-length", b"transfer-encoding"}
        if len(self.order) > 1:
            dropped |= _CREDENTIALS.union(*(self._service(name).credentials for name in self.order))
        return tuple((name, value) for name, value in headers if name.lower() not in dropped)

    def _word(self) -> Operation:
        """The word for an act: whoever asks a service sends it something, though they only read here; and what is sent
        rests nowhere as the subject's home, so nothing is pinned there by a write."""
        return Operation.ERASE if self._current.operation is Operation.ERASE else Operation.PROCESS

    def _service(self, name: str) -> ServiceSink:
        target = self._sinks[name]
        if not isinstance(target, ServiceSink):
            raise UsageError(f"sink {name!r} is no service")
        return target


def check_target(target: str) -> None:
    """Hold a target to what stays below a base: no dot segments in any reading, printable ASCII.

    Raises: UsageError; the message does not repeat the target, which may name a person.
    """
    if not target.isascii() or not target.isprintable() or " " in target or "#" in target:
        raise UsageError("the path of a request to a service is percent-encoded ASCII, without a fragment")
    path = target.partition("?")[0]
    for _ in range(3):  # servers that decode twice exist; and `..;` is a dot segment to some
        if any(part.partition(";")[0] in (".", "..") for part in _PART.split(path)) or "\0" in path:
            raise UsageError("the path of a request to a service has no dot segments, however they are written")
        path = unquote(path, errors="replace")


def _says_who_we_are(service: ServiceSink, request: ServiceRequest) -> bool:
    """Whether a request is sent with credentials of the sink's own, and with none of the app's beside them."""
    own = service.credentials
    return bool(own) and not any(name.lower() in _CREDENTIALS - own for name, _ in request.headers)


def _streams(method: str, answer: ServiceAnswer) -> bool:
    """Whether the body goes on for longer than its head can tell."""
    if method.upper() == "HEAD" or answer.status in (204, 304):
        return False
    media = (answer.header(b"content-type") or b"").lower()
    return answer.header(b"content-length") is None or media.startswith(b"text/event-stream")


class _Acting:
    """The body of an answer that ends its act with its last byte, or when it is closed: the first word stands."""

    __slots__ = ("_act", "_answer", "_word")

    def __init__(self, act: Act, answer: ServiceAnswer, word: str) -> None:
        self._act = act
        self._answer = answer
        self._word = word

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._answer.body)
        except StopAsyncIteration:
            self._act.outcome(self._word)
            raise
        except ResidencyError:
            self._act.outcome("unknown")
            raise

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            self._act.outcome(self._word)
        await self._act.settled()


class _Nothing:
    """An empty body, as often as it is read."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration
