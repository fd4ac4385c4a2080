"""In: nothing. Out: `serve`, any ASGI app under the real middleware and a real journal, called without a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp, Message

from residency import Residency, ResidencyMiddleware, build
from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from tests.world import HANOI, HOME, NEVER, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
exempt: [GET /healthz]
metrics: /metrics
activities:
  - {route: "PUT /people/{id}", subject: none, data: [personal], store: people}
  - {route: "POST /sign-up", subject: app, data: [personal], store: people}
  - {route: "POST /friends", subject: app, data: [relationship], operation: process}
  - {route: "GET /plain", subject: none, data: [content]}
  - {route: "ANY /any", subject: none, data: [content]}
  - {route: "WS /any", subject: none, data: [content], operation: process}
  - {route: "WS /chat", subject: app, data: [personal], operation: write, store: people}
"""


@dataclass
class Answer:
    """What came back of one call: the messages the app sent, and how the call ended."""

    sent: list[Message] = field(default_factory=list)
    raised: BaseException | None = None

    @property
    def status(self) -> int:
        """The status of an http response."""
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The response's headers."""
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def types(self) -> list[str]:
        """The messages' types, in order."""
        return [message["type"] for message in self.sent]


class Served:
    """One app under the middleware, with its runtime and the entries it wrote."""

    def __init__(
        self,
        app: ASGIApp,
        folder: Path,
        replace: Sequence[tuple[str, str]] = (),
        rules: Sequence[str] = (HOME, NEVER),
    ) -> None:
        self.folder = folder
        self.file = write_deployment(folder, DEPLOYMENT, rules, replace)
        self.runtime: Residency = build(self.file, env={})
        self.app = ResidencyMiddleware(app, policy=self.runtime)

    async def call(
        self,
        method: str = "GET",
        path: str = "/plain",
        *,
        address: str = HANOI,
        headers: Sequence[tuple[bytes, bytes]] = (),
        receive: Callable[[], Awaitable[Message]] | None = None,
        **scope: Any,
    ) -> Answer:
        """One http request. An exception that comes out of the middleware is kept, but for a cancellation."""
        full = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "replace"),
            "query_string": b"", "root_path": "", "headers": list(headers), "client": (address, 50_000), **scope,
        }  # fmt: skip
        return await self._run(full, receive or _no_body)

    async def websocket(
        self, path: str = "/chat", incoming: Sequence[Message] = (), *, denial: bool = True, **scope: Any
    ) -> Answer:
        """One WebSocket: connect, the incoming messages, then disconnect."""
        extensions: dict[str, Any] = {"websocket.http.response": {}} if denial else {}
        full = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [], "client": (HANOI, 50_000), "extensions": extensions, **scope,
        }  # fmt: skip
        messages = iter([{"type": "websocket.connect"}, *incoming, {"type": "websocket.disconnect", "code": 1000}])

        async def receive() -> Message:
            return next(messages)

        return await self._run(full, receive)

    async def _run(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Message]]) -> Answer:
        answer = Answer()

        async def send(message: Message) -> None:
            answer.sent.append(message)

        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - what comes out is what the tests look at
            answer.raised = error
        return answer

    @property
    def entries(self) -> list[Entry]:
        """Every entry so far, but for the instance's own."""
        found = []
        for segment in sorted((self.folder / "audit" / "journal").glob("*/*.seg")):
            with segment.open("rb") as file:
                found += [parse_entry(bytes(r.payload)) for r in scan(file.read(65536), RECORDS_AT, None).records]
        return [entry for entry in found if entry.kind != "system"]

    @property
    def told(self) -> list[tuple[str, str | None]]:
        """(kind, reason) of every entry."""
        return [(entry.kind, entry.reason) for entry in self.entries]


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """A factory: `serve(app, replace=[(old, new)], rules=[…])`; everything is let go at the end."""
    number = count()
    made: list[Served] = []

    def make(app: ASGIApp, **options: Any) -> Served:
        made.append(Served(app, tmp_path / str(next(number)), **options))
        return made[-1]

    yield make
    for served in made:
        with suppress(OSError):
            anyio.run(served.runtime.aclose)


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough: the suite of the framework runs on both."""
    return "asyncio"
