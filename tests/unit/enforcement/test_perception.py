"""What is remembered of requests that came before is bounded, in number and in size, whatever clients say."""

from __future__ import annotations

import pytest

from residency.adapters.pins_memory import PinsMemory
from residency.enforcement import perception
from residency.enforcement.perception import Perception
from residency.enforcement.request import Identifying
from residency.jurisdiction.resolve import resolve
from residency.model import Anchor, Pin, Signal, Trust
from residency.model.place import COUNTRIES
from residency.signals.address import Peer
from residency.signals.identity import OWN_NAMES, ClaimMap, identity
from residency.signals.peer import ClientAddress


class Nowhere:
    """A network that knows no address."""

    def signals_of(self, client: ClientAddress) -> tuple[Signal, ...]:
        """Nothing."""
        return ()


@pytest.fixture
def perceiving(monkeypatch: pytest.MonkeyPatch) -> Perception:
    """One whose caches hold eight each."""
    monkeypatch.setattr(perception, "_BOUND", 8)
    return Perception(
        strategy=Peer(),
        network=Nowhere(),
        identifying=Identifying(None, ClaimMap()),
        pins=PinsMemory(),
        digest=lambda subject: f"{len(subject):064x}",
        trusted_peer=lambda host: host == "x" * 1_000,
        presume=(),
        assume=None,
    )


def kept(perceiving: Perception) -> list[int]:
    """How many of each are remembered: findings, findings by identity, digests, peers."""
    caches = (perceiving._findings, perceiving._held, perceiving._digests, perceiving._peers)
    return [len(cache) for cache in caches]


def test_many_different_requests_fill_each_cache_no_further_than_its_bound(perceiving: Perception) -> None:
    for number, country in enumerate(sorted(COUNTRIES)):
        perceiving.finding((Signal(Anchor.RESIDENCE, country, Trust.DECLARED, "app"),), None)
        perceiving.digest(f"user-{number}")
        perceiving._is_ours(f"10.0.0.{number}")
        assert max(kept(perceiving)) <= 8
    assert min(kept(perceiving)) > 0


def test_what_is_large_is_answered_and_not_remembered(perceiving: Perception) -> None:
    many = sorted(COUNTRIES)[:32]
    said = identity({"citizenship": many, "residence": many}, OWN_NAMES, verified=False, source="app").signals
    assert perceiving.finding(said, None) == resolve(said, None, (), strategy="peer")
    pin = Pin("0" * 64, "VN", tuple((Anchor.CITIZENSHIP, place, Trust.DECLARED) for place in many), "a", "s", "p", 0)
    assert perceiving.finding((), pin) == resolve((), pin, (), strategy="peer")
    assert perceiving.digest("u" * 500) == f"{500:064x}"
    assert perceiving._is_ours("x" * 1_000)
    assert kept(perceiving) == [0, 0, 0, 0]
