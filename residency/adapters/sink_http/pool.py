"""Requests to one origin in, answers out, over connections that are kept: each is one request's, or idle.

httpcore has a pool, and it leaks: a request that is cancelled once a connection was made for it and before that is open
leaves the connection behind, and when that has happened often enough the pool is full for ever (encode/httpcore#1093,
open in 1.0.9). A handshake that is cancelled leaves its socket. Here nothing is assigned to anybody who waits: whoever
has a slot takes a connection, and whatever becomes of them gives back the slot at once and closes what was opened.

Nor is a connection used again on which more came than the answer (a body behind a 204, a 304, the answer to a HEAD): it
would be read as the answer to the next request, which is somebody else's.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any, Final

import anyio
import httpcore

__all__ = ["Pool", "Reply"]

_RETRIES: Final = 3  # connections that had closed before anything was sent on them, which are passed over


class Pool:
    """At most `most` connections at a time, for use from one event loop. Up to `idle` are kept for `expiry` seconds."""

    __slots__ = ("_backend", "_expiry", "_free", "_idle", "_most_idle", "_origin", "_tls", "_using")

    def __init__(
        self,
        origin: tuple[str, str, int],
        backend: httpcore.AsyncNetworkBackend,
        tls: ssl.SSLContext | None,
        *,
        most: int,
        idle: int,
        expiry: float,
    ) -> None:
        """`origin` = scheme, host, port; `tls` is for https."""
        scheme, host, port = origin
        self._origin = httpcore.Origin(scheme.encode(), host.encode(), port)
        self._backend = backend
        self._tls = tls
        self._most_idle = idle
        self._expiry = expiry
        self._free = anyio.Semaphore(most, fast_acquire=True)
        self._idle: list[_Line] = []  # the one that was used last is the last
        self._using: set[_Line] = set()

    async def send(self, request: httpcore.Request, wait: float) -> Reply:
        """Send a request, and answer with the head that came, within `wait` seconds of getting a connection.

        Raises: httpcore.PoolTimeout where none is free in time, httpcore's errors.
        """
        try:
            with anyio.fail_after(wait):
                await self._free.acquire()
        except TimeoutError:
            raise httpcore.PoolTimeout from None
        # From here on the slot is ours, and no cancellation comes before the next wait.
        line = None
        try:
            await self._swept()
            for _ in range(_RETRIES):
                line = self._idle.pop() if self._idle else None
                if line is None:
                    break
                try:
                    return await self._sent(line, request)
                except httpcore.ConnectionNotAvailable:
                    await self._drop(line)
            line = _Line(self._origin, self._backend, self._tls, self._expiry)
            return await self._sent(line, request)
        except BaseException:
            self._free.release()
            if line is not None:
                await self._drop(line)
            raise

    async def aclose(self) -> None:
        """Close all connections; requests under way break off. Idempotent."""
        lines = [*self._idle, *self._using]
        self._idle.clear()
        self._using.clear()
        for line in lines:
            await line.aclose()

    async def _sent(self, line: _Line, request: httpcore.Request) -> Reply:
        self._using.add(line)
        return Reply(self, line, await line.http.handle_async_request(request))

    async def ended(self, line: _Line, *, whole: bool) -> None:
        """Take back the slot of a request that is over, and its connection where that can be used again; `whole` = the
        answer is all that came on it."""
        self._free.release()
        if whole and line in self._using and line.http.is_idle() and len(self._idle) < self._most_idle:
            self._using.remove(line)
            self._idle.append(line)
        else:
            await self._drop(line)
        await self._swept()

    async def _swept(self) -> None:
        """Close what is idle and was for too long, or was closed over there."""
        over = [line for line in self._idle if line.http.is_closed() or line.http.has_expired()]
        if over:
            self._idle = [line for line in self._idle if line not in over]
            for line in over:
                await line.aclose()

    async def _drop(self, line: _Line) -> None:
        self._using.discard(line)
        await line.aclose()


class Reply:
    """The head of an answer, and its body piece by piece. Close it: until then, or until its end, it holds a slot."""

    __slots__ = ("_line", "_over", "_pieces", "_pool", "_response", "headers", "status")

    def __init__(self, pool: Pool, line: _Line, response: httpcore.Response) -> None:
        self._pool = pool
        self._line = line
        self._response = response
        self._pieces: Any = aiter(response.aiter_stream())
        self._over = False
        self.status = response.status
        self.headers = tuple(response.headers)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece: bytes = await anext(self._pieces)
        except BaseException:  # the end is one of them
            await self.aclose()
            raise
        return piece

    async def aclose(self) -> None:
        """Let the connection go; idempotent. Another task that waits for a piece gets an error."""
        if self._over:
            return
        self._over = True
        try:
            with anyio.CancelScope(shield=True):
                with suppress(Exception):  # another task may wait for the next piece
                    await self._pieces.aclose()
                with suppress(Exception):  # what has an answer left on it is closed
                    await self._response.aclose()
        finally:
            await self._pool.ended(self._line, whole=self._is_whole())

    def _is_whole(self) -> bool:
        """Whether nothing came behind the answer; what has not come yet is seen when the connection is taken again."""
        # The library keeps what it has read and not used. Were it to keep that elsewhere, no connection is used twice.
        parser = getattr(getattr(self._line.http, "_connection", None), "_h11_state", None)
        if parser is None or parser.trailing_data[0]:
            return False
        tls = self._response.extensions["network_stream"].get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            tls.read(1)  # a record that has come already, and that no look at the socket shows
        except ssl.SSLWantReadError:
            return True
        except (ssl.SSLError, ValueError):
            return False
        return False


class _Line(httpcore.AsyncNetworkBackend):
    """One connection, and the stream under it, which is closed whatever became of who was opening it."""

    def __init__(
        self, origin: httpcore.Origin, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext | None, expiry: float
    ) -> None:
        self._backend = backend
        self._stream: httpcore.AsyncNetworkStream | None = None
        self.http = httpcore.AsyncHTTPConnection(origin, tls, keepalive_expiry=expiry, network_backend=self)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's name
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As the backend's."""
        self._stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return self._stream

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)

    async def aclose(self) -> None:
        """Close it; idempotent."""
        with anyio.CancelScope(shield=True):
            try:
                with suppress(Exception):
                    await self.http.aclose()
            finally:
                if self._stream is not None:
                    with suppress(Exception):
                        await self._stream.aclose()
