"""A store's name in, what puts httpx before its handle out: each request of the client is one act of the handle.

A client's URLs are `http://STORE/…`; which service that is, and whether at all, is asked at each request. What the
handle raises goes to the app as it is, for the edge makes an answer of it: `httpx.HTTPError` is for a client alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import anyio.from_thread
import httpx

from residency.errors import UsageError
from residency.storage.services import ServiceAnswer, ServiceHandle, ServiceRequest

__all__ = ["BlockingServiceTransport", "ServiceTransport", "base_url", "open_client"]

_TIMEOUTS: Final = ("connect", "read", "write", "pool")


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: ServiceAnswer) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer.body

    async def aclose(self) -> None:
        await self._answer.aclose()


class ServiceTransport(httpx.AsyncBaseTransport):
    """An httpx transport that sends through the handle which `find` answers at each request."""

    def __init__(self, store: str, find: Callable[[], ServiceHandle]) -> None:
        self._store = store
        self._find = find

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises: as `ServiceHandle.send`, UsageError for a URL that is not below `http://STORE/`."""
        sent = _request(self._store, request, request.stream)
        answer = await self._find().send(sent)
        return httpx.Response(answer.status, headers=list(answer.headers), stream=_Body(answer))


class _BlockingBody(httpx.SyncByteStream):
    def __init__(self, answer: ServiceAnswer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        while (piece := anyio.from_thread.run(anext, self._answer.body, None)) is not None:
            yield piece

    def close(self) -> None:
        async def close() -> None:
            await self._answer.aclose()

        anyio.from_thread.run(close)


class BlockingServiceTransport(httpx.BaseTransport):
    """As `ServiceTransport`, for `httpx.Client` in a thread that anyio started, as sync endpoints run in."""

    def __init__(self, store: str, find: Callable[[], ServiceHandle]) -> None:
        self._store = store
        self._find = find

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, its body read whole before. Raises: as `ServiceTransport`, UsageError on an event loop."""
        sent = _request(self._store, request, httpx.ByteStream(request.read()))
        handle = self._find()
        started = False

        async def send() -> ServiceAnswer:
            nonlocal started
            started = True
            return await handle.send(sent)

        try:
            answer = anyio.from_thread.run(send)
        except RuntimeError as error:
            if started:
                raise
            raise UsageError(
                f"a blocking client of store {self._store!r} works in a thread that anyio started (a sync endpoint, "
                "anyio.to_thread), not on the event loop"
            ) from error
        return httpx.Response(answer.status, headers=list(answer.headers), stream=_BlockingBody(answer))


def base_url(store: str) -> str:
    """The URL by which clients call a store."""
    return f"http://{store}/"


def open_client(handle: ServiceHandle) -> httpx.AsyncClient:
    """A client of one handle. It takes nothing from the environment."""
    transport = ServiceTransport(handle.name, lambda: handle)
    return httpx.AsyncClient(transport=transport, base_url=base_url(handle.name), trust_env=False)


def _request(store: str, request: httpx.Request, stream: Any) -> ServiceRequest:
    url = request.url
    if (url.scheme, url.host, url.port, url.userinfo) != ("http", store.lower(), None, b""):
        raise UsageError(f"a client of store {store!r} reaches {base_url(store)} and what is below it, nothing else")
    timeouts = request.extensions.get("timeout", {})
    return ServiceRequest(
        request.method,
        url.raw_path.decode("ascii").removeprefix("/"),
        tuple(request.headers.raw),
        stream,
        replayable=isinstance(stream, httpx.ByteStream),
        timeouts={name: timeouts.get(name) for name in _TIMEOUTS},
    )
