"""A request and where it goes in, that place's answer out, streamed both ways, for HTTP and for WebSockets.

Bodies go through memory a piece at a time and touch no disk. Redirects are handed to the client and not followed,
answers are not decoded, the environment's proxies are not used. Where no answer comes nothing was sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Final

import anyio
import httpx

from residency.errors import SinkUnavailable

__all__ = ["Forward", "end_to_end"]

# An answer may take its time (a long poll, a model that thinks): only its beginning and each pause are bounded.
_TIMEOUT: Final = httpx.Timeout(connect=5.0, read=120.0, write=30.0, pool=5.0)
_NO_ANSWER: Final = "the instance that serves this person gave no answer"
_MESSAGE_LIMIT: Final = 16 * 1024 * 1024  # bytes of one WebSocket message, as uvicorn's own limit is
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
Headers = list[tuple[bytes, bytes]]


class _Left(Exception):
    """The client went away."""


class Forward:
    """Sends requests on; safe for many at once. A connection serves one request: no cookie, no header and no half-read
    answer of one person is there when the next one's goes out."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context(trust_env=False)

    async def http(self, scope: Any, receive: Any, send: Any, url: str, headers: Headers) -> None:
        """Send an HTTP request on and its answer back. Raises: SinkUnavailable where none came; nothing was sent."""
        # RFC 9112 section 6.3: a request with neither header has no body.
        has_body = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
        async with httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport:
            try:
                request = httpx.Request(
                    scope["method"],
                    url,
                    headers=end_to_end(headers),
                    content=_body(receive) if has_body else None,
                    extensions={"timeout": _TIMEOUT.as_dict()},
                )
                response = await transport.handle_async_request(request)
            except _Left:
                return
            except (httpx.HTTPError, httpx.InvalidURL):
                raise SinkUnavailable(_NO_ANSWER) from None
            head = {"type": "http.response.start", "status": response.status_code}
            try:
                await send({**head, "headers": end_to_end(response.headers.raw)})
                if await _stream(response, receive, send):
                    await send({"type": "http.response.body", "body": b""})
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()

    async def websocket(self, scope: Any, receive: Any, send: Any, url: str, headers: Headers) -> None:
        """Send a WebSocket on, messages both ways. Raises: SinkUnavailable where it is not accepted there."""
        # Imported here: only who serves WebSockets has it.
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed, WebSocketException
        from websockets.typing import Subprotocol

        class Direct(connect):
            """Follows no redirect: what is sent on goes to home and nowhere else."""

            def process_redirect(self, exc: Exception) -> Exception | str:
                return exc

        await receive()  # websocket.connect
        own = [pair for pair in end_to_end(headers) if not pair[0].startswith(b"sec-websocket-")]
        try:
            connection = await Direct(
                "ws" + url.removeprefix("http"),
                additional_headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in own],
                subprotocols=[Subprotocol(each) for each in scope.get("subprotocols", ())] or None,
                user_agent_header=None,
                proxy=None,
                open_timeout=5,
                max_size=_MESSAGE_LIMIT,
            )
        except (OSError, WebSocketException, TimeoutError):
            raise SinkUnavailable(_NO_ANSWER) from None
        code, reason = 1011, ""
        try:
            await send({"type": "websocket.accept", "subprotocol": connection.subprotocol})

            async def there() -> None:
                while True:
                    message = await receive()
                    if message["type"] == "websocket.disconnect":
                        await connection.close(_code(message.get("code")), message.get("reason") or "")
                        return
                    text = message.get("text")
                    await connection.send(text if text is not None else message["bytes"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_quietly, there)
                with suppress(ConnectionClosed):
                    async for message in connection:
                        kind = "text" if isinstance(message, str) else "bytes"
                        await send({"type": "websocket.send", kind: message})
                code, reason = _code(connection.close_code), connection.close_reason or ""
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await connection.close()
            with suppress(Exception):  # the client may be gone
                await send({"type": "websocket.close", "code": code, "reason": reason})


async def _body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


async def _stream(response: httpx.Response, receive: Any, send: Any) -> bool:
    """Send the answer's body on; whether the client is still there. Raises: RuntimeError where it breaks off, which is
    too late for another answer: the server ends this one short, and the client sees that."""
    broken: httpx.HTTPError | None = None
    there = True
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            nonlocal there
            while (await receive())["type"] != "http.disconnect":
                pass
            there = False  # nobody reads the answer any more
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            async for piece in response.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except httpx.HTTPError as error:
            broken = error
        tasks.cancel_scope.cancel()
    if broken is not None:
        raise RuntimeError("what another instance answered broke off") from None
    return there


async def _quietly(work: Any) -> None:
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        await work()


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers that are not of one connection alone (RFC 9110 section 7.6.1); names in lower case."""
    given = [(name.lower(), value) for name, value in headers]
    named = {token.strip().lower() for name, value in given if name == b"connection" for token in value.split(b",")}
    return [(name, value) for name, value in given if name not in _HOP_BY_HOP and name not in named]


def _code(code: int | None) -> int:
    """A close code that may be sent (RFC 6455 section 7.4)."""
    return code if code is not None and (code in (1000, 1001, 1002, 1003, *range(1007, 1015)) or code >= 3000) else 1000
