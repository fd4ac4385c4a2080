"""A function in, a sink of services out that calls it: the reference for every sink of services, without a network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urljoin

from residency.errors import UsageError
from residency.model import Region
from residency.storage.in_memory import InMemory
from residency.storage.services import (
    Headers,
    ServiceAnswer,
    ServiceHandle,
    ServiceRequest,
    check_target,
)

__all__ = ["App", "ServiceMemory"]

App = Callable[[ServiceRequest, bytes], Awaitable[tuple[int, Headers, AsyncIterator[bytes]]]]
"""A request and its body in; status, headers and body out."""


class ServiceMemory(InMemory):
    """The `ServiceSink` port over a function, below `memory://NAME/`."""

    __slots__ = ("_app", "_base", "_client", "_credentials")

    def __init__(
        self,
        name: str,
        region: Region,
        app: App,
        client: Callable[[ServiceHandle], AbstractAsyncContextManager[Any]],
        credentials: Headers = (),
    ) -> None:
        """`client` makes the client that an app is given, `credentials` are headers of this sink's own."""
        super().__init__(name, region)
        self._app = app
        self._client = client
        self._credentials = {key.lower(): value for key, value in credentials}
        self._base = f"memory://{name}/"

    @property
    def credentials(self) -> frozenset[bytes]:
        """The headers (lower case) that this sink sets itself."""
        return frozenset(self._credentials)

    def client(self, handle: ServiceHandle) -> AbstractAsyncContextManager[Any]:
        """An `httpx.AsyncClient` whose requests go through `handle.send`."""
        return self._client(handle)

    def target_of(self, url: str) -> str | None:
        """The target below `memory://NAME/` that an absolute URL names, None where it names none."""
        if not url.startswith(self._base):
            return None
        target = url.removeprefix(self._base)
        try:
            check_target(target)
        except UsageError:
            return None
        return target

    async def send(self, request: ServiceRequest, leaving: Callable[[], None]) -> ServiceAnswer:
        """Call the function. Raises: SinkUnavailable where closed, UsageError."""
        check_target(request.target)
        self._check()
        leaving()
        body = b"".join([piece async for piece in request.body])
        kept = tuple(
            pair for pair in request.headers if pair[0].lower() not in self._credentials and pair[0].lower() != b"host"
        )
        headers = ((b"host", self._name.encode()), *kept, *self._credentials.items())
        sent = ServiceRequest(request.method, request.target, headers, request.body)
        status, answered, pieces = await self._app(sent, body)
        said = next((value for name, value in answered if name.lower() == b"location"), None)
        location = None
        if said is not None and status in (301, 302, 303, 307, 308):
            url = said.decode("latin-1")
            # `urljoin` knows no relative URLs below schemes of our own.
            location = (
                url if "://" in url else urljoin(f"http:///{request.target}", url).replace("http:///", self._base)
            )

        async def aclose() -> None:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

        return ServiceAnswer(status, answered, pieces, aclose, location)
