"""In: the text of a deployment, the rules of its law, sinks. Out: the real enforcement point over in-memory adapters.

Tests build their worlds here, so that one place of them knows how an `EnforcementPoint` is put together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from residency.adapters import policy_files
from residency.adapters.address_data import AddressData
from residency.adapters.address_tables import PackagedTable
from residency.adapters.clock_manual import ManualClock
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.facts_memory import FactsMemory, NotedMemory
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.mmdb import EMBEDDED_TABLE
from residency.adapters.pins_memory import PinsMemory
from residency.audit.detail_terms import Keeping
from residency.audit.entry import Entry, parse_entry
from residency.enforcement.context import enter, leave
from residency.enforcement.current import Current
from residency.enforcement.facts import FactKeeper
from residency.enforcement.point import EnforcementPoint, Identifying
from residency.enforcement.ports import Noted, SinkPort
from residency.enforcement.recorder import DetailStore, Recorder
from residency.model import Region, StopOrder
from residency.observe.cells import Metrics
from residency.observe.meter import DecisionMeter
from residency.policy.compiler import Policy
from residency.signals.address import Peer, Strategy
from residency.signals.identity import ClaimMap
from residency.signals.network import NetworkSource
from residency.storage import Stores
from residency.storage.handle import SessionFactory

NETWORK = AddressData(PackagedTable(EMBEDDED_TABLE), now=lambda: 2_000_000_000_000_000, max_age=2**62)
"""The shipped address data, of any age."""
HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"
VN, SG = Region("vn-han", "VN"), Region("sg", "SG")

# The law: its head, and the rules that a deployment may choose from.
_LAW = """
residency: 1
kind: law
jurisdiction: VN
instrument: Test law
in_force: {from: 2026-01-01}
checked: {date: 2026-11-21, confidence: low, source: "a test"}
rules:
"""
HOME = """
  - id: test.home
    article: art. 1
    text: Personal data stays in Vietnam.
    text_vi: Dữ liệu cá nhân ở lại Việt Nam.
    applies: {anchor: territory, data: [personal]}
    duty: {only: [VN]}
"""
VERIFIED = """
  - id: test.verified
    article: art. 2
    text: Who publishes is verified.
    applies: {anchor: territory, data: [content], operation: post}
    duty: {require: [["identity:phone"]]}
"""
NEVER = """
  - id: test.never
    article: art. 3
    text: Nobody records this.
    applies: {anchor: citizenship, data: [relationship]}
    duty: {effect: deny}
"""

# What every deployment begins with; a test adds its sinks, stores and activities.
_HEAD = """
residency: 1
kind: deployment
name: test
mode: enforce
operator: {established_in: [VN]}
laws: [vn/test]
laws_from: [laws]
presume: {territory: not_covered}
regions: {vn-han: {country: VN}, sg: {country: SG}}
"""


def write_deployment(
    folder: Path, text: str, rules: Sequence[str] = (HOME,), replace: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write a deployment that ends in `text`, and its law of `rules`; (old, new) pairs change the text first."""
    text = _HEAD + text
    for old, new in replace:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "laws" / "vn").mkdir(parents=True)
    (folder / "laws" / "vn" / "test.yaml").write_text(_LAW + "".join(rules))
    file = folder / "test.yaml"
    file.write_text(text)
    return file


def load_policy(file: Path) -> Policy:
    """The policy of a deployment that needs no environment."""
    return policy_files.load(file, {})


@contextmanager
def handling(here: object) -> Iterator[Current]:
    """Code inside runs as a handler of this request, which was let in."""
    assert isinstance(here, Current)
    token = enter(here)
    try:
        yield here
    finally:
        leave(token)


class Deployed:
    """One enforcement point, all that it stands on, and the entries it wrote."""

    def __init__(
        self,
        policy: Policy,
        sinks: Sequence[SinkPort],
        *,
        identifying: Identifying = Identifying(None, ClaimMap(), "declared"),  # noqa: B008 - frozen
        strategy: Strategy | None = None,
        network: NetworkSource | None = None,
        pins: PinsMemory | None = None,
        noted: Noted | None = None,
        journal: JournalMemory | None = None,
        details: DetailStore | None = None,
        keeping: Keeping | None = None,
        open_session: SessionFactory | None = None,
        trusted_peer: Callable[[str], bool] = lambda host: False,
    ) -> None:
        self.policy = policy
        self.stores = Stores({sink.name: sink for sink in sinks}, policy.deployment.stores, sessions=open_session)
        self.journal = journal if journal is not None else JournalMemory()
        self.facts = FactsMemory(policy.facts)
        self.pins = pins if pins is not None else PinsMemory()
        self.metrics = Metrics()
        self.clock = ManualClock()
        entropy = UnsafeSeededEntropy()
        detailed = frozenset({"VN"}) if details is not None else frozenset[str]()
        self.recorder = Recorder(
            self.journal, self.clock, entropy, policy.digest, details, detailed, origin="test", keeping=keeping
        )
        self.noted = noted if noted is not None else NotedMemory()
        self.keeper = FactKeeper(self.facts, self.noted, self.clock, policy)
        self.keeper.load()
        self.keeper.told_by(self.recorder.facts)
        self.point = EnforcementPoint(
            policy=policy,
            strategy=strategy if strategy is not None else Peer(),
            network=network if network is not None else NETWORK,
            identifying=identifying,
            pins=self.pins,
            facts=self.facts,
            keeper=self.keeper,
            recorder=self.recorder,
            stores=self.stores,
            metrics=DecisionMeter(self.metrics),
            clock=self.clock,
            entropy=entropy,
            digest=lambda subject: f"{sum(subject.encode()):064x}",
            trusted_peer=trusted_peer,
        )

    def stop(self, *sinks: str) -> None:
        """Authorities' orders stand against these sinks from now on, and against no others."""
        orders = tuple(StopOrder("7", sink, 0) for sink in sinks)
        self.facts.replace(dataclasses.replace(self.facts.current(), stop_orders=orders))

    @property
    def entries(self) -> list[Entry]:
        """Every entry so far."""
        return [parse_entry(record) for record in self.journal.records]

    @property
    def intents(self) -> list[tuple[Entry, str | None]]:
        """Every intent with its outcome's word, None where it stands open."""
        words = {entry.of: entry.act for entry in self.entries if entry.kind == "outcome"}
        return [(entry, words.get(entry.id)) for entry in self.entries if entry.kind == "intent"]
