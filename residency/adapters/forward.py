"""A request and where it goes in, that place's answer out, streamed both ways, for HTTP and for WebSockets.

Bodies go through memory a piece at a time and touch no disk. Redirects are handed to the client and not followed,
answers are not decoded. Nothing is taken from the environment but the authorities that TLS trusts (SSL_CERT_FILE).
Where no answer comes nothing was sent.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, Self

import anyio
import anyio.abc
import h11
import httpcore
import httpx

from residency.errors import SinkUnavailable

__all__ = ["Forward", "Judge", "end_to_end"]

# An answer may take its time (a long poll, a model that thinks): only its beginning and each pause are bounded.
_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=120.0, write=30.0, pool=5.0)
_NO_ANSWER: Final = "the instance that serves this person gave no answer"
_MESSAGE_LIMIT: Final = 16 * 1024 * 1024  # bytes of one WebSocket message, as uvicorn's own limit is
_ABNORMAL: Final = 1006  # what is said of a connection that broke off (RFC 6455 section 7.1.5); it is never sent
_GOING_AWAY: Final = 1001
_FAILED: Final = 1011
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
_BROKEN: Final = (
    httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol,
    h11.ProtocolError, ssl.SSLError, anyio.BrokenResourceError, anyio.ClosedResourceError,
)  # fmt: skip
Headers = list[tuple[bytes, bytes]]
Judge = Callable[[str], None]
"""Raises SinkUnavailable for an address that a request may not go to; `""` is one that nobody can read."""
_SILENT: Final = logging.Logger("residency.forward", logging.CRITICAL + 1)
"""For a library that would write each message, and the path, to a log of level DEBUG; it has no parent."""


class _Left(Exception):
    """The client went away."""


class Forward:
    """Sends requests on; safe for many at once. A connection serves one request: no cookie, no header and no half-read
    answer of one person is there when the next one's goes out."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()

    async def http(
        self, scope: Any, receive: Any, send: Any, url: str, headers: Headers, judge: Judge | None = None
    ) -> None:
        """Send an HTTP request on and its answer back, for as long as the client is there. `judge` is asked of the
        address that the connection leads to, before anything is sent there, None = each may be.

        Raises: SinkUnavailable where none came (nothing was sent), and what `judge` raises; RuntimeError where the
        answer broke off, which is too late for another one: the server ends it short, and the client sees that.
        """
        asked = anyio.Event()  # nothing more of the request is to come
        failed: Exception | None = None
        begun = False
        # Whether there is a body is told by its first piece: over HTTP/2 and 3 no header need say so.
        first = await receive()
        if first["type"] == "http.disconnect":
            return
        has_body = bool(first.get("body") or first.get("more_body", False))
        try:
            request = _request(scope["method"], url, headers, _body(first, receive, asked) if has_body else None)
        except httpx.InvalidURL:
            raise SinkUnavailable(_NO_ANSWER) from None
        if not has_body:
            asked.set()

        async def watch(tasks: anyio.abc.TaskGroup) -> None:
            await asked.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()  # nobody reads the answer any more

        async with _Line(request.url.origin, self._tls, judge) as line, anyio.create_task_group() as tasks:
            tasks.start_soon(watch, tasks)
            try:
                response = await line.http.handle_async_request(request)
                asked.set()
                begun = True
                await send(
                    {
                        "type": "http.response.start",
                        "status": response.status,
                        "headers": _answered(response),
                    }
                )
                async for piece in response.aiter_stream():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            except _Left:
                pass
            except Exception as error:  # noqa: BLE001 - raised below, out of the group that would wrap it
                failed = error
            tasks.cancel_scope.cancel()
        if isinstance(failed, _BROKEN):
            if begun:
                raise RuntimeError("what another instance answered broke off") from None
            raise SinkUnavailable(_NO_ANSWER) from None
        if failed is not None:
            raise failed

    async def websocket(
        self, scope: Any, receive: Any, send: Any, url: str, headers: Headers, judge: Judge | None = None
    ) -> None:
        """Send a WebSocket on, messages both ways. `judge` is asked as by `http`, after the handshake of TLS.

        Raises: SinkUnavailable where it is not accepted there, and what `judge` raises.
        """
        # Imported here: only who serves WebSockets has it.
        from websockets.asyncio.client import ClientConnection, connect
        from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
        from websockets.typing import Subprotocol

        class Direct(connect):
            """Follows no redirect: what is sent on goes to home and nowhere else."""

            def process_redirect(self, exc: Exception) -> Exception | str:
                return exc

        class Judged(ClientConnection):
            """Begins with its own handshake, which has path and headers, where `judge` lets it."""

            async def handshake(self, *args: Any, **named: Any) -> None:
                if judge is not None:
                    judge(_host(self.remote_address))
                await super().handshake(*args, **named)

        await receive()  # websocket.connect
        own = [pair for pair in end_to_end(headers) if not pair[0].startswith(b"sec-websocket-")]
        try:
            connection = await Direct(
                "ws" + url.removeprefix("http"),
                additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in own],
                subprotocols=[Subprotocol(each) for each in scope.get("subprotocols", ())] or None,
                user_agent_header=None,
                proxy=None,
                ssl=self._tls if url.startswith("https:") else None,
                open_timeout=5,
                create_connection=Judged,
                max_size=_MESSAGE_LIMIT,
                logger=_SILENT,
            )
        except InvalidStatus as error:
            if 300 <= (denial := error.response).status_code < 400:
                raise SinkUnavailable(_NO_ANSWER) from None
            await _denied(scope, send, denial)
            return
        except (OSError, WebSocketException, TimeoutError):
            raise SinkUnavailable(_NO_ANSWER) from None
        code, reason = _FAILED, ""
        try:
            await send({"type": "websocket.accept", "subprotocol": connection.subprotocol})

            async def there() -> None:
                while True:
                    message = await receive()
                    if message["type"] == "websocket.disconnect":
                        await connection.close(_code(message.get("code"), _GOING_AWAY), message.get("reason") or "")
                        return
                    text = message.get("text")
                    await connection.send(text if text is not None else message["bytes"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_quietly, there)
                with suppress(ConnectionClosed):
                    async for message in connection:
                        kind = "text" if isinstance(message, str) else "bytes"
                        await send({"type": "websocket.send", kind: message})
                code, reason = _code(connection.close_code, _FAILED), connection.close_reason or ""
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()
            with suppress(Exception):  # the client may be gone
                await send({"type": "websocket.close", "code": code, "reason": reason})


def _request(method: str, url: str, headers: Headers, body: AsyncIterator[bytes] | None) -> httpcore.Request:
    """The request as it is sent on. Raises: httpx.InvalidURL."""
    made = httpx.Request(method, url, headers=end_to_end(headers), content=body)
    path = url[url.index("/", url.index("://") + 3) :].encode("ascii")  # as the client wrote it: it may be signed
    target = httpcore.URL(scheme=made.url.raw_scheme, host=made.url.raw_host, port=made.url.port, target=path)
    return httpcore.Request(
        method, target, headers=made.headers.raw, content=made.stream, extensions={"timeout": _TIMEOUT.as_dict()}
    )


async def _body(message: Any, receive: Any, asked: anyio.Event) -> AsyncIterator[bytes]:
    """The body as it comes, from its first message on; sets `asked` at its end."""
    while message["type"] != "http.disconnect":
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            asked.set()
            return
        message = await receive()
    raise _Left


def _answered(response: httpcore.Response) -> Headers:
    """The headers of an answer as they are handed on. A 304 may tell the length of the answer that it spares; servers
    take that for the length of its own body, which it has none of."""
    headers = end_to_end(response.headers)
    return [pair for pair in headers if pair[0] != b"content-length"] if response.status == 304 else headers


class _Line(httpcore.AnyIOBackend):
    """One connection, closed at the end whatever became of it: of a handshake that was cancelled the library leaves
    the socket open."""

    def __init__(self, origin: httpcore.Origin, tls: ssl.SSLContext, judge: Judge | None) -> None:
        self._stream: httpcore.AsyncNetworkStream | None = None
        self._judge = judge
        self.http = httpcore.AsyncHTTPConnection(origin, tls, network_backend=self)

    async def connect_tcp(self, *args: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        """As the library's, to an address that is judged. Raises: what the judge raises."""
        self._stream = await super().connect_tcp(*args, **named)
        if self._judge is not None:
            self._judge(_host(self._stream.get_extra_info("server_addr")))
        return self._stream

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            for each in (self.http, self._stream):
                if each is not None:
                    with suppress(Exception):
                        await each.aclose()


def _host(peer: Any) -> str:
    """The address of a peer, as sockets have it; `""` where there is none."""
    return str(peer[0]) if isinstance(peer, tuple) else ""


async def _denied(scope: Any, send: Any, denial: Any) -> None:
    """Deny the WebSocket as home did, where the server can say how."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    # What is no ASCII is Latin-1 to newer websockets and escaped by older ones.
    told = [
        (name.encode("latin-1"), value.encode("latin-1", "surrogateescape"))
        for name, value in denial.headers.raw_items()
    ]
    # Its body has been read whole, and is as long as it is.
    headers = [pair for pair in end_to_end(told) if pair[0] != b"content-length"]
    headers.append((b"content-length", str(len(denial.body or b"")).encode()))
    await send({"type": "websocket.http.response.start", "status": denial.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": bytes(denial.body or b"")})


async def _quietly(work: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        await work()


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers that are not of one connection alone (RFC 9110 section 7.6.1); names in lower case. A length beside a
    `Transfer-Encoding` is none of the body's (RFC 9112 section 6.3)."""
    given = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in given if name == b"connection" for token in value.split(b",")}
    if any(name == b"transfer-encoding" for name, _ in given):
        named.add(b"content-length")
    return [(name, value) for name, value in given if name not in _HOP_BY_HOP and name not in named]


def _code(code: int | None, lost: int) -> int:
    """A close code that may be sent (RFC 6455 section 7.4); `lost` where the connection broke off, which is no end that
    anybody wished for."""
    if code == _ABNORMAL:
        return lost
    return code if code is not None and (code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or code >= 3000) else 1000
