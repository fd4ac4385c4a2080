"""In: nothing. Out: `make_world`, the real enforcement point over the shipped in-memory adapters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.sink_memory import MemorySink
from residency.enforcement.current import Current
from residency.enforcement.point import Identifying, Refusal, Request
from residency.errors import TokenError
from residency.signals.identity import ClaimMap
from tests.world import HANOI, HOME, NEVER, SG, VERIFIED, VN, Deployed, handling, load_policy, write_deployment

RULES = (HOME, VERIFIED, NEVER)
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
signals: {identity: {jwt: {jwks: jwks.json}, user: verified}}
exempt: [GET /healthz, "GET /docs/{page:path}"]
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
  - {route: "GET /people", subject: user, data: [personal], store: people}
  - {route: "DELETE /people", subject: user, data: [personal], operation: erase, store: people}
  - {route: "POST /sign-up", subject: app, data: [personal], store: people}
  - {route: "POST /posts", subject: app, data: [content], operation: post, store: people}
  - {route: "GET /people/{id}", subject: path.id, data: [personal], store: people}
  - {route: "GET /gateway", subject: header.x-user, data: [personal], store: people}
  - {route: "GET /token", subject: jwt.sub, data: [personal], store: people}
  - {route: "POST /friends", subject: app, data: [relationship], operation: process}
  - {route: "GET /plain", subject: none, data: [content]}
  - {route: "WS /chat", subject: none, data: [content], operation: process}
"""


class Tokens:
    """Takes the token `good-<name>` and nothing else."""

    def verify(self, token: bytes) -> dict[str, object]:
        text = token.decode("latin-1")
        if not text.startswith("good-"):
            raise TokenError("no")
        return {"sub": text.removeprefix("good-")}


class World(Deployed):
    """One deployment in memory, and what its point answers to requests."""

    def __init__(
        self, folder: Path, *, replace: Sequence[tuple[str, str]] = (), trusted: str = "10.0.0.1", **options: Any
    ) -> None:
        self.sg, self.vn = MemorySink("sg", SG), MemorySink("vn", VN)
        super().__init__(
            load_policy(write_deployment(folder, DEPLOYMENT, RULES, replace)),
            [self.sg, self.vn],
            identifying=Identifying(Tokens(), ClaimMap(), "verified"),
            trusted_peer=lambda host: host == trusted,
            **options,
        )

    def admit(
        self,
        method: str = "POST",
        path: str = "/people",
        address: str = HANOI,
        who: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        user: object | None = None,
    ) -> Any:
        """What the point answers to one request."""
        user = SimpleUser(who) if who is not None else user
        return self.point.admit(Request(method, path, path.encode(), headers, (address, 50_000), user))

    def refused(self, *args: Any, **options: Any) -> str:
        """The reason why one request is refused."""
        answer = self.admit(*args, **options)
        assert isinstance(answer, Refusal)
        return answer.reason.value

    @contextmanager
    def request(self, *args: Any, **options: Any) -> Iterator[Current]:
        """Code inside runs as a handler of one request, which is then closed."""
        here = self.admit(*args, **options)
        assert isinstance(here, Current)
        try:
            with handling(here):
                yield here
        finally:
            self.point.close(here)

    @property
    def kinds(self) -> list[str]:
        """The kinds of all entries, in order."""
        return [entry.kind for entry in self.entries]

    def acts(self) -> list[tuple[str | None, str | None]]:
        """(sink, outcome) of every intent, None where it stands open."""
        return [(entry.sink, word) for entry, word in self.intents]


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """A factory of worlds; `replace` changes the deployment's text."""
    number = count()

    def make(**options: Any) -> World:
        return World(tmp_path / str(next(number)), **options)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world as it stands."""
    return make_world()


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough where no framework is in play."""
    return "asyncio"
