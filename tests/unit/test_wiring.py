"""What is joined of terms and counts: their gauges, and facts that several workers archive at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from residency import wiring
from residency.adapters.clock_manual import ManualClock
from residency.adapters.facts_memory import FactsMemory, NotedMemory
from residency.adapters.log_files import LogFiles
from residency.enforcement.facts import FactKeeper
from residency.errors import JournalFailed
from residency.model import Event, FactSet
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.compiler import Policy
from tests.world import load_policy, write_deployment

LAW = """
  - id: test.transfer
    article: art. 5
    text: A dossier within 60 days of the first transfer.
    applies: {anchor: territory, data: transaction, sink: {abroad: true}}
    duty: {require: [{any: "filing:dossier", within: 60 days, after: first_transfer}]}
escalations:
  - {id: test.many, article: art. 7, data: account, subjects: 3, becomes: core, falls_below: 2}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """A policy with one term and one escalation."""
    return load_policy(write_deployment(tmp_path / "policy", "", [LAW]))


def shown(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Every series of a scrape."""
    return {family.spec.name: dict(family.series) for family in metrics.families()}


def test_deadlines_and_counts_are_shown_as_they_are_known_and_what_is_not_is_no_number(policy: Policy) -> None:
    facts, clock, store, metrics = FactsMemory(policy.facts), ManualClock(), NotedMemory(), Metrics()
    keeper = FactKeeper(facts, store, clock, policy)
    wiring.meter_facts(metrics, keeper, facts, clock.now)
    before = shown(metrics)
    assert before[names.TERM_DEADLINE] == before[names.SUBJECTS_COUNTED] == {}
    store.note(Event("first_transfer", "VN", 0))
    store.count({"VN:account": ["1", "2", "3"]}, [])
    keeper.load()
    after = shown(metrics)
    assert after[names.TERM_DEADLINE] == {("clock:first_transfer.VN/60-days",): 61 * 86_400.0}
    assert after[names.SUBJECTS_COUNTED] == after[names.SUBJECTS_THRESHOLD] == {("test.many",): 3.0}
    assert after[names.ESCALATED] == {("test.many",): 1.0}
    assert after[names.FACT_EVENTS]["heard",] == after[names.FACT_EVENTS]["escalated",] == 1


def test_what_a_later_policy_does_not_have_is_shown_no_more(policy: Policy, tmp_path: Path) -> None:
    facts, clock, store, metrics = FactsMemory(policy.facts), ManualClock(), NotedMemory(), Metrics()
    store.note(Event("first_transfer", "VN", 0))
    keeper = FactKeeper(facts, store, clock, policy)
    keeper.load()
    wiring.meter_facts(metrics, keeper, facts, clock.now)
    keeper.adopt(load_policy(write_deployment(tmp_path / "bare", "")))
    wiring.meter_facts(metrics, keeper, facts, clock.now)
    gone = shown(metrics)
    for name in (names.TERM_DEADLINE, names.SUBJECTS_COUNTED, names.SUBJECTS_THRESHOLD, names.ESCALATED):
        assert gone[name] == {}


class Racing(LogFiles):
    """Files that other workers write to at the same time."""

    def __init__(self, folder: Path, meanwhile: Callable[[Path, bytes], None]) -> None:
        super().__init__(folder)
        self.meanwhile = meanwhile

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self.meanwhile(self.folder / path, data)


def test_facts_that_another_worker_is_still_writing_are_archived_whole(policy: Policy, tmp_path: Path) -> None:
    torn: list[Path] = []

    def tear(path: Path, data: bytes) -> None:
        if path not in torn:
            torn.append(path)
            path.write_bytes(data[:5])
            raise FileNotFoundError

    facts = FactSet(1, escalated=frozenset({"test.many"}))
    wiring.archive(Racing(tmp_path / "audit", tear), policy, facts)
    assert len(torn) == 2
    assert all(len(path.read_bytes()) > 5 for path in torn)


def test_what_can_never_be_archived_is_told_in_the_end(policy: Policy, tmp_path: Path) -> None:
    files = Racing(tmp_path / "audit", lambda path, data: path.unlink())
    with pytest.raises(JournalFailed):
        wiring.archive(files, policy, FactSet(1))
