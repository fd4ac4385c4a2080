"""A function in, a sink of services out that calls it: the reference for every sink of services, without a network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urljoin

from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
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


class ServiceMemory:
    """The `ServiceSink` port over a function, below `memory://NAME/`."""

    __slots__ = ("_app", "_base", "_client", "_credentials", "_name", "_open", "_region")

    def __init__(
        self,
        name: str,
        region: Region,
        app: App,
        client: Callable[[ServiceHandle], AbstractAsyncContextManager[Any]],
        credentials: Headers = (),
    ) -> None:
        """`client` makes the client that an app is given, `credentials` are headers of this sink's own."""
        self._name = name
        self._region = region
        self._app = app
        self._client = client
        self._credentials = {key.lower(): value for key, value in credentials}
        self._base = f"memory://{name}/"
        self._open = True

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where it takes what it is sent."""
        return self._region

    @property
    def credentials(self) -> frozenset[bytes]:
        """The headers (lower case) that this sink sets itself."""
        return frozenset(self._credentials)

    async def start(self) -> None:
        """Serve again after `aclose`."""
        self._open = True

    async def ping(self) -> None:
        """Raise SinkUnavailable where closed."""
        if not self._open:
            raise SinkUnavailable(f"sink {self._name!r} is not open")

    async def aclose(self) -> None:
        """Serve no more; idempotent."""
        self._open = False

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
        await self.ping()
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
