"""In: nothing. Out: `make_world`, the real enforcement point over the shipped in-memory adapters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from residency.adapters import policy_files
from residency.adapters.clock_manual import ManualClock
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.facts_memory import FactsMemory
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.mmdb import embedded
from residency.adapters.pins_memory import PinsMemory
from residency.adapters.sink_memory import MemorySink
from residency.audit.entry import Entry, parse_entry
from residency.enforcement.acts import Current
from residency.enforcement.context import enter, leave
from residency.enforcement.point import EnforcementPoint, Identifying, Refusal, Request
from residency.enforcement.recorder import DetailStore, Recorder
from residency.errors import TokenError
from residency.model import Region, StopOrder
from residency.observe.cells import Metrics
from residency.observe.meter import DecisionMeter
from residency.signals.address import Peer, Strategy
from residency.signals.identity import ClaimMap
from residency.storage import Stores

HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"

LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Test law
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: low, source: "a test"}
rules:
  - id: test.home
    article: art. 1
    text: Personal data stays in Vietnam.
    applies: {anchor: territory, data: [personal]}
    duty: {only: [VN]}
  - id: test.verified
    article: art. 2
    text: Who publishes is verified.
    applies: {anchor: territory, data: [content], operation: post}
    duty: {require: [["identity:phone"]]}
  - id: test.never
    article: art. 3
    text: Nobody records this.
    applies: {anchor: citizenship, data: [relationship]}
    duty: {effect: deny}
"""
DEPLOYMENT = """
residency: 1
kind: deployment
name: test
mode: enforce
operator: {established_in: [VN]}
laws: [vn/test]
laws_from: [laws]
presume: {territory: not_covered}
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
signals: {identity: {jwt: {jwks: jwks.json}, user: verified, header: x-user}}
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


class World:
    """One deployment in memory, and the entries it wrote."""

    def __init__(
        self,
        folder: Path,
        *,
        replace: Sequence[tuple[str, str]] = (),
        pins: PinsMemory | None = None,
        journal: JournalMemory | None = None,
        strategy: Strategy | None = None,
        details: DetailStore | None = None,
        countries: Any = None,
        trusted: str = "10.0.0.1",
    ) -> None:
        text = DEPLOYMENT
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        (folder / "laws" / "vn").mkdir(parents=True)
        (folder / "laws" / "vn" / "test.yaml").write_text(LAW)
        (folder / "test.yaml").write_text(text)
        self.policy = policy_files.load(folder / "test.yaml", {})
        self.sg, self.vn = MemorySink("sg", Region("sg", "SG")), MemorySink("vn", Region("vn-han", "VN"))
        self.stores = Stores({"sg": self.sg, "vn": self.vn}, self.policy.deployment.stores)
        self.journal = journal if journal is not None else JournalMemory()
        self.facts = FactsMemory(self.policy.facts)
        self.pins = pins if pins is not None else PinsMemory()
        self.clock = ManualClock()
        entropy = UnsafeSeededEntropy()
        self.metrics = Metrics()
        self.recorder = Recorder(
            self.journal,
            self.clock,
            entropy,
            self.policy.digest,
            details,
            frozenset({"VN"}) if details is not None else frozenset(),
        )
        self.point = EnforcementPoint(
            policy=self.policy,
            strategy=strategy if strategy is not None else Peer(),
            countries=countries if countries is not None else embedded(),
            identifying=Identifying(Tokens(), ClaimMap(), "verified"),
            pins=self.pins,
            facts=self.facts,
            recorder=self.recorder,
            stores=self.stores,
            metrics=DecisionMeter(self.metrics),
            clock=self.clock,
            entropy=entropy,
            digest=lambda subject: f"{sum(subject.encode()):064x}",
            trusted_peer=lambda host: host == trusted,
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
        token = enter(here)
        try:
            yield here
        finally:
            leave(token)
            self.point.close(here)

    @property
    def entries(self) -> list[Entry]:
        """Every entry so far."""
        return [parse_entry(record) for record in self.journal.records]

    @property
    def kinds(self) -> list[str]:
        """The kinds of all entries, in order."""
        return [entry.kind for entry in self.entries]

    def acts(self) -> list[tuple[str | None, str | None]]:
        """(sink, outcome) of every intent, None where it stands open."""
        outcomes = {entry.of: entry.act for entry in self.entries if entry.kind == "outcome"}
        return [(entry.sink, outcomes.get(entry.id)) for entry in self.entries if entry.kind == "intent"]

    def stop(self, sink: str) -> None:
        """An authority's order against one sink comes in."""
        facts = self.facts.current()
        self.facts.replace(dataclasses.replace(facts, stop_orders=(StopOrder("7", sink, 0),)))


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
