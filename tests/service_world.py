"""In: a folder. Out: the real enforcement point over endpoints in memory, llm-sg and llm-vn, and what they heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
from starlette.authentication import SimpleUser

from residency.adapters.journal_memory import JournalMemory
from residency.adapters.service_client import open_client
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_service_memory import ServiceMemory
from residency.enforcement.context import current
from residency.enforcement.point import Request
from residency.enforcement.ports import SinkPort
from residency.storage.services import Headers, ServiceAnswer, ServiceHandle, ServiceRequest
from tests.world import HANOI, HOME, SG, VN, Deployed, handling, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  llm-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "https://llm-sg.example/v1/"}
  llm-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "https://llm-vn.example/v1/"}
stores: {people: [people-vn], llm: [llm-sg, llm-vn], one: [llm-sg]}
activities:
  - {route: "POST /chat", subject: user, data: [personal], operation: process, store: llm}
  - {route: "POST /posts", subject: user, data: [personal], operation: post, store: llm}
  - {route: "GET /chat", subject: user, data: [personal], store: llm}
  - {route: "DELETE /chat", subject: user, data: [personal], store: llm}
  - {route: "POST /public", subject: user, data: [content], operation: process, store: llm}
  - {route: "POST /people", subject: user, data: [personal], store: people}
  - {route: "POST /one", subject: user, data: [personal], operation: process, store: one}
"""
Answer = tuple[int, Headers, AsyncIterator[bytes]]
OK = ((b"content-length", b"2"),)


async def said(*pieces: bytes) -> AsyncIterator[bytes]:
    """Pieces of a body, one after the other."""
    for piece in pieces:
        yield piece


class Endpoint:
    """What one endpoint was sent, and what it answers."""

    def __init__(self) -> None:
        self.sent: list[tuple[ServiceRequest, bytes]] = []
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.seen: Callable[[], None] = lambda: None
        self.hangs = False

    async def __call__(self, request: ServiceRequest, body: bytes) -> Answer:
        self.sent.append((request, body))
        self.seen()
        if self.hangs:
            await anyio.sleep_forever()
        make = self.answers.get(request.target)
        return make() if make is not None else (200, OK, said(b"ok"))

    def header(self, name: bytes) -> bytes | None:
        """A header of the last request."""
        return next((value for key, value in self.sent[-1][0].headers if key.lower() == name), None)


class ServiceWorld(Deployed):
    """One deployment with two endpoints, and the acts on them."""

    def __init__(
        self,
        folder: Path,
        mode: str = "enforce",
        journal: JournalMemory | None = None,
        rules: Sequence[str] = (HOME,),
        *,
        own: bool = True,
    ) -> None:
        """`own` = the endpoints have credentials of their own."""
        self.vn, self.sg = Endpoint(), Endpoint()
        sinks: list[SinkPort] = [
            MemorySink("people-vn", VN),
            ServiceMemory("llm-sg", SG, self.sg, open_client, ((b"authorization", b"key-of-sg"),) if own else ()),
            ServiceMemory("llm-vn", VN, self.vn, open_client, ((b"x-vn-key", b"key-of-vn"),) if own else ()),
        ]
        file = write_deployment(folder, DEPLOYMENT, rules, [("mode: enforce", f"mode: {mode}")])
        super().__init__(load_policy(file), sinks, journal=journal)

    @contextmanager
    def request(
        self, path: str = "/chat", method: str = "POST", address: str = HANOI, who: str = "an"
    ) -> Iterator[ServiceHandle]:
        """Code inside runs as a handler of this request."""
        here = self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), SimpleUser(who)))
        with handling(here):
            handle = current().http(path[1:] if path in ("/one", "/people") else "llm")
            yield handle

    def acts(self) -> list[tuple[str | None, str | None, str | None]]:
        """(sink, operation, outcome) of every intent, None where it stands open."""
        return [(entry.sink, entry.operation, word) for entry, word in self.intents]

    def reasons(self) -> list[str | None]:
        """The reasons of refusals, in order."""
        return [entry.reason for entry in self.entries if entry.kind == "refusal"]


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


def asks(target: str = "chat", method: str = "POST", headers: Headers = (), body: bytes = b"xin") -> ServiceRequest:
    """A request whose body can be read again."""
    return ServiceRequest(method, target, headers, _Body(body), replayable=True)


async def whole(answer: ServiceAnswer) -> bytes:
    """The answer's body, let go."""
    body = b"".join([piece async for piece in answer.body])
    await answer.aclose()
    return body
