"""Entries: filled in right, detail before the entry that commits to it, durable together, intents counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import pytest

from residency.adapters.detail_files import DetailFiles
from residency.adapters.journal_memory import JournalMemory
from residency.audit.detail import commit, parse_detail
from residency.audit.entry import parse_entry
from residency.audit.recall import Basis
from residency.errors import JournalFailed, JournalFull
from residency.model import Reason, RuleRef
from residency.policy.archive import facts_digest
from tests.detail_world import open_detail

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))
Worlds = Callable[..., Any]


def details(journal: JournalMemory) -> DetailFiles:
    return DetailFiles({"VN": journal}, lambda country: KEY, lambda size: bytes(size))


async def test_personal_detail_rests_in_its_country_and_the_entry_commits_to_it(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    world.admit("GET", "/plain", address="113.160.0.1")
    entry = world.entries[0]
    named, private = open_detail("VN", regional.records[0], KEY)
    assert (named, entry.detail) == (entry.id, commit(private))
    assert parse_detail(private)["address"] == "113.160.0.1"
    assert b"113.160" not in world.journal.records[0]


async def test_a_person_whom_no_law_of_a_detail_country_covers_leaves_no_detail(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    world.admit("GET", "/plain", address="165.21.0.1")
    assert (regional.records, world.entries[0].detail) == ([], None)


async def test_what_is_durable_has_its_detail_durable_before_it(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    world.admit("GET", "/plain")
    await world.recorder.durable(0)
    assert (regional.durable, world.journal.durable) == (1, 1)


async def test_a_detail_that_cannot_be_made_durable_keeps_its_entry_from_being_so(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    world.admit("GET", "/plain")
    regional.fail()
    for _ in range(2):
        with pytest.raises(JournalFailed):
            await world.recorder.durable(0)
    assert world.journal.durable == 0


async def test_a_full_detail_journal_refuses_before_the_entry(make_world: Worlds) -> None:
    world = make_world(details=details(JournalMemory(capacity=10)))
    with pytest.raises(JournalFull):
        world.admit("GET", "/plain")
    with pytest.raises(JournalFull):
        world.recorder.ready()
    assert world.entries == []


async def test_many_who_wait_at_once_are_served_by_few_flushes(make_world: Worlds) -> None:
    class Counting(JournalMemory):
        """Counts how often it is synchronised."""

        synced = 0

        def sync(self, seq: int) -> None:
            """As in memory."""
            self.synced += 1
            super().sync(seq)

    journal = Counting()
    world = make_world(journal=journal)
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(world.recorder.durable, world.recorder.system("entry"))
    assert journal.durable == 50
    assert journal.synced <= 2
    await world.recorder.durable(0)
    assert journal.synced <= 2


async def test_refusals_of_one_decision_cite_each_its_own_rules(world: Any) -> None:
    here = world.admit(who="an")
    rules = [RuleRef(name, "VN", "Law", "art. 1", "", "low", "enforce") for name in ("a.b.1", "a.b.2")]
    for rule in rules:
        world.recorder.refusal(here.decision, Reason.NOT_HOME, None, {}, Basis(0), "sg", (rule,))
    assert [entry.rules for entry in world.entries] == [("a.b.1",), ("a.b.2",)]


async def test_an_intents_fields_tell_what_where_and_by_which_rules(world: Any) -> None:
    here = world.admit(who="an")
    world.recorder.intent(here.decision, "vn", "write", here.alias, here.detail, here.basis)
    intent = world.entries[0]
    assert (intent.operation, intent.store, intent.sink, intent.region, intent.effect) == (
        "write", "people", "vn", "vn-han", "permit"
    )  # fmt: skip
    assert intent.rules == ("test.home",)
    assert intent.finding == ("territory:VN:established:network", "collection:VN:established:network")


async def test_templates_are_bounded_and_stay_right_when_they_are_cleared(world: Any) -> None:
    here = world.admit(who="an")
    for number in range(5000):
        decision = replace(here.decision, epoch=number)
        world.recorder.decision(decision, None, {}, Basis(0))
    assert len(world.recorder._plans) <= 4096
    assert [parse_entry(world.journal.records[at]).epoch for at in (0, 4999)] == [0, 4999]


async def test_an_entry_names_the_instant_of_the_decision_and_not_its_own(world: Any) -> None:
    with world.request("GET", "/people", who="an"):
        decided = world.clock.now()
        world.clock.advance(5_000_000)
    entry = world.entries[0]
    assert (entry.kind, entry.decided, entry.at) == ("decision", decided, decided + 5_000_000)


async def test_a_plain_entry_tells_the_other_times_that_its_decision_leans_on_where_there_are_any(world: Any) -> None:
    decision = world.admit("GET", "/plain").decision
    for basis in (Basis(7), Basis(7, requested=7), Basis(7, requested=5), Basis(7, collected_since=3)):
        world.recorder.decision(decision, None, {}, basis)
    told = [(entry.decided, entry.requested, entry.collected) for entry in world.entries[1:]]
    assert told == [(7, None, None), (7, None, None), (7, 5, None), (7, None, 3)]


async def test_the_regional_detail_tells_what_the_decision_was_made_on(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    world.admit("GET", "/plain")
    told = parse_detail(open_detail("VN", regional.records[0], KEY)[1])
    assert told["signals"] == "territory:VN:network:address collection:VN:network:address"
    assert told["evidence"] == ""


async def test_the_facts_of_an_epoch_are_named_by_their_digest(world: Any) -> None:
    world.stop("sg")
    world.recorder.facts(world.facts.current())
    entry = world.entries[0]
    assert (entry.kind, entry.epoch, entry.note) == ("system", world.facts.epoch(), "facts")
    assert entry.facts == facts_digest(world.facts.current())
