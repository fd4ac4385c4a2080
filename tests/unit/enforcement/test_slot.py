"""One slot under several recorders: one number each, one count of open intents, one flush for all."""

from __future__ import annotations

import pytest

from residency.adapters.clock_manual import ManualClock
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.journal_memory import JournalMemory
from residency.audit.entry import parse_entry
from residency.enforcement.recorder import Recorder
from residency.enforcement.slot import Slot
from residency.errors import JournalFailed
from residency.model import FactSet, Pin, Reason

pytestmark = pytest.mark.anyio
OLD, NEW = "aa" * 32, "bb" * 32
PIN = Pin("s", "VN", (), "ab" * 16, "first_write", OLD, 1)


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough where no framework is in play."""
    return "asyncio"


async def test_the_oldest_open_intent_is_known_by_its_time() -> None:
    clock = ManualClock()
    recorder = Recorder(JournalMemory(), clock, UnsafeSeededEntropy(), OLD)
    begun = clock.now()
    _, first = recorder.pin_intent(PIN, "x")
    clock.advance(7_000_000)
    _, second = recorder.pin_intent(PIN, "y")
    assert (recorder.open_intents, recorder.oldest_intent) == (2, begun)
    recorder.pin_outcome(first, "committed", PIN)
    assert (recorder.open_intents, recorder.oldest_intent) == (1, begun + 7_000_000)
    recorder.pin_outcome(second, "failed", None)
    assert (recorder.open_intents, recorder.oldest_intent) == (0, None)


async def test_recorders_under_two_policies_share_numbers_counts_and_durability() -> None:
    journal = JournalMemory()
    old = Recorder(journal, ManualClock(), UnsafeSeededEntropy(), OLD)
    new = old.under(NEW)
    _, intent = old.pin_intent(PIN, "x")
    assert new.open_intents == 1
    new.facts(FactSet(1), "reload")
    new.exempt("GET /healthz", "enforce")
    old.exempt("GET /healthz", "enforce")  # the same entry but for the policy: neither may fill in the other's
    old.refused_request(None, "enforce", Reason.PATH_AMBIGUOUS)
    old.pin_outcome(intent, "committed", PIN)
    assert (old.open_intents, new.open_intents) == (0, 0)
    entries = [parse_entry(record) for record in journal.records]
    assert [entry.id for entry in entries] == [f"0.{n}" for n in range(6)]
    assert [entry.policy for entry in entries] == [OLD, NEW, NEW, OLD, OLD, OLD]
    await new.durable(2)
    assert journal.durable == 6
    await old.durable(5)  # known already: a journal that fails now is not asked
    journal.fail()
    await old.durable(5)
    with pytest.raises(JournalFailed):
        await new.durable(6)


async def test_what_is_durable_is_not_made_so_again() -> None:
    journal = JournalMemory()
    slot = Slot(journal, None)
    with slot.lock:
        journal.append(b"x")
    await slot.durable(0)
    journal.fail()
    await slot.durable(0)
