"""The keeper of facts: an act that leans on a term is its event, counts bring escalations up, and all of it is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.facts_memory import NotedMemory
from residency.adapters.sink_memory import MemorySink
from residency.enforcement.context import identify
from residency.enforcement.current import Current
from residency.enforcement.facts import FactKeeper
from residency.enforcement.point import Identifying, Refusal, Request
from residency.errors import FactsUnavailable, JournalFull, Refused
from residency.model import Event, Exemption, FactSet, Filing, FilingResult
from residency.observe import names
from residency.policy.changes import carried_over
from residency.signals.identity import ClaimMap
from tests.world import HANOI, SG, SINGAPORE, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DAY = 86_400_000_000
LAW = """
  - id: test.transfer
    article: art. 5
    text: A dossier within 60 days of the first transfer.
    applies: {anchor: territory, data: transaction, sink: {abroad: true}}
    duty: {require: [{any: "filing:dossier", within: 60 days, after: first_transfer}]}
  - id: test.use
    article: art. 6
    text: A notice within 5 days of first use.
    applies: {anchor: territory, data: log}
    duty: {require: [{any: "filing:notice", within: 5 days, after: in_use}]}
  - id: test.core
    article: art. 7
    text: Core data is not handled.
    applies: {anchor: territory, data: core}
    duty: {effect: deny}
  - id: test.lenient
    article: art. 8
    text: Some may.
    applies: {anchor: territory, data: relationship}
    duty: {log: [account]}
    overrides: [test.strict]
  - id: test.strict
    article: art. 9
    text: Nobody may.
    applies: {anchor: territory, data: relationship}
    duty: {effect: deny}
escalations:
  - {id: test.many, article: art. 7, data: account, subjects: 3, becomes: core, falls_below: 2}
"""
DEPLOYMENT = """
sinks: {sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}}
stores: {people: [sg]}
signals: {identity: {user: verified}}
activities:
  - {route: "POST /pay", subject: user, data: [transaction], operation: write, store: people}
  - {route: "GET /pay", subject: user, data: [transaction], operation: read, store: people}
  - {route: "POST /account", subject: user, data: [account], operation: write, store: people}
  - {route: "DELETE /account", subject: user, data: [account], operation: erase, store: people}
  - {route: "POST /friends", subject: user, data: [relationship], operation: process}
  - {route: "POST /log", subject: user, data: [log], operation: process}
  - {route: "POST /later", subject: app, data: [log], operation: process}
  - {route: "GET /free", subject: none, data: [content]}
"""


class Store(NotedMemory):
    """A store that can be away."""

    __slots__ = ("away",)

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def _there(self) -> None:
        if self.away:
            raise FactsUnavailable("away")

    def note(self, event: Event) -> Event:
        self._there()
        return super().note(event)

    def events(self) -> tuple[Event, ...]:
        self._there()
        return super().events()

    def count(self, subjects: Mapping[str, Collection[str]], counters: Collection[str]) -> dict[str, int]:
        self._there()
        return super().count(subjects, counters)


class World(Deployed):
    """One deployment whose data lies abroad."""

    def __init__(
        self, folder: Path, *, mode: str = "enforce", noted: NotedMemory | None = None, **options: Any
    ) -> None:
        self.store = noted if noted is not None else Store()
        policy = load_policy(write_deployment(folder, DEPLOYMENT, [LAW], [("mode: enforce", f"mode: {mode}")]))
        super().__init__(
            policy,
            [MemorySink("sg", SG)],
            identifying=Identifying(None, ClaimMap(), "verified"),
            noted=self.store,
            **options,
        )

    def admit(self, route: str, who: str = "an", address: str = HANOI) -> Any:
        method, _, path = route.partition(" ")
        return self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), SimpleUser(who)))

    @contextmanager
    def request(self, *args: str) -> Any:
        here = self.admit(*args)
        assert isinstance(here, Current)
        try:
            with handling(here):
                yield here
        finally:
            self.point.close(here)

    async def act(self, route: str, who: str = "an", address: str = HANOI) -> None:
        """One act of a request to `route`."""
        with self.request(route, who, address) as here:
            store = here.store("people")
            match here.operation.value:
                case "read":
                    await store.get("k")
                case "erase":
                    await store.delete("k")
                case _:
                    await store.put("k", b"v")

    def told(self) -> list[str]:
        """The notes of all system entries."""
        return [entry.note or "" for entry in self.entries if entry.kind == "system"]

    def file(self, kind: str) -> None:
        """A filing of that kind stands from now on."""
        filing = Filing(kind, "1", 0, FilingResult.PASSED)
        self.facts.replace(replace(self.facts.current(), filings=(filing,)))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    """A factory of worlds."""
    made: list[World] = []

    def world(**options: Any) -> World:
        made.append(World(tmp_path / str(len(made)), **options))
        return made[-1]

    return world


# -- terms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ["POST /pay", "GET /pay"])
async def test_the_first_act_that_leans_on_a_term_is_its_event(make: Callable[..., World], route: str) -> None:
    world = make()
    before, at = world.facts.epoch(), world.clock.now()
    await world.act(route)
    assert world.noted.events() == world.facts.current().events == (Event("first_transfer", "VN", at),)
    assert world.facts.epoch() > before
    kinds = [entry.kind for entry in world.entries]
    assert kinds == ["intent", "system", "outcome"]
    intent, system, outcome = world.entries
    assert intent.running == ("clock:first_transfer.VN/60-days",)
    assert system.note is not None
    assert system.note.startswith("first_transfer of VN begun at ")
    assert " 60-days until " in system.note
    assert system.epoch == outcome.epoch == world.facts.epoch()
    (running,) = outcome.running
    assert running.startswith("clock:first_transfer.VN/60-days 20")
    assert outcome.act == "committed"
    assert world.journal.durable >= 2, "the event's entry survives a power cut before the effect"


async def test_it_is_noted_once_and_the_term_runs_out_unless_it_is_filed(make: Callable[..., World]) -> None:
    world = make()
    await world.act("POST /pay")
    world.clock.advance(59 * DAY)
    await world.act("POST /pay", "binh")
    assert len(world.noted.events()) == 1
    assert len(world.told()) == 1
    world.clock.advance(2 * DAY)
    assert world.admit("POST /pay").reason == "filing_missing"
    world.file("dossier")
    await world.act("POST /pay")


async def test_an_event_that_a_register_expects_later_begins_with_the_first_act(make: Callable[..., World]) -> None:
    world = make()
    at = world.clock.now()
    planned = Event("first_transfer", "VN", at + 3650 * DAY)
    world.facts.replace(replace(world.facts.current(), events=(planned,)))
    await world.act("POST /pay")
    assert world.noted.events() == (Event("first_transfer", "VN", at),)
    world.clock.advance(61 * DAY)
    assert world.admit("POST /pay").reason == "filing_missing"


async def test_an_event_noted_while_the_clock_was_ahead_gives_no_term_until_then(make: Callable[..., World]) -> None:
    world = make()
    at = world.clock.now()
    world.clock.set_wall(at + 3650 * DAY)
    await world.act("POST /pay")
    world.clock.set_wall(at)
    await world.act("POST /pay")
    assert world.noted.events() == (Event("first_transfer", "VN", at),)
    assert world.facts.current().event("first_transfer", "VN") == at
    world.keeper.beat_once()
    assert world.noted.events() == (Event("first_transfer", "VN", at),), "the later one is not put back"
    world.clock.advance(61 * DAY)
    assert world.admit("POST /pay").reason == "filing_missing"


async def test_an_act_that_leans_on_no_term_begins_none(make: Callable[..., World]) -> None:
    world = make()
    await world.act("POST /pay", address=SINGAPORE)
    world.file("dossier")
    await world.act("POST /pay")
    assert world.noted.events() == ()


async def test_a_refused_act_begins_no_term(make: Callable[..., World]) -> None:
    world = make()
    with world.request("POST /pay") as here:
        act = here.begin("people", "sg")
        world.stop("sg")
        with pytest.raises(Refused):
            await act.confirm()
    assert world.noted.events() == ()


async def test_what_cannot_be_noted_is_refused_and_the_next_try_begins_it(make: Callable[..., World]) -> None:
    world = make()
    world.store.away = True  # type: ignore[attr-defined]
    with pytest.raises(FactsUnavailable):
        await world.act("POST /pay")
    assert [word for _, word in world.intents] == ["failed"]
    assert world.keeper.events["not_noted"] == 1
    assert world.facts.current().events == ()
    world.store.away = False  # type: ignore[attr-defined]
    await world.act("POST /pay")
    assert len(world.noted.events()) == 1


async def test_what_was_noted_and_cannot_be_recorded_is_refused_and_taken_in_later(make: Callable[..., World]) -> None:
    world = make()

    def full(facts: FactSet, note: str) -> int:
        raise JournalFull("full")

    world.keeper.told_by(full)
    with pytest.raises(JournalFull):
        await world.act("POST /pay")
    assert world.facts.current().events == ()
    assert len(world.noted.events()) == 1
    world.keeper.told_by(world.recorder.facts)
    world.keeper.beat()
    assert world.facts.current().events == world.noted.events()


async def test_a_term_that_another_process_began_is_taken_from_there(make: Callable[..., World]) -> None:
    noted = NotedMemory()
    one, other = make(noted=noted), make(noted=noted)
    await one.act("POST /pay")
    other.clock.advance(61 * DAY)
    with pytest.raises(Refused) as caught:
        await other.act("POST /pay")
    assert caught.value.reason == "filing_missing"
    assert len(noted.events()) == 1


async def test_what_another_noted_while_this_waited_for_the_store_stands(make: Callable[..., World]) -> None:
    class Slow(Store):
        """Another process is quicker by two milliseconds of waiting for the lock."""

        def note(self, event: Event) -> Event:
            world.clock.advance(2000)
            super().note(replace(event, at=world.clock.now()))
            return super().note(event)

    world = make(noted=Slow())
    at = world.clock.now()
    await world.act("POST /pay")
    assert world.noted.events() == (Event("first_transfer", "VN", at + 2000),) == world.facts.current().events
    assert (world.keeper.events["begun"], world.keeper.events["heard"]) == (0, 1)


async def test_a_beat_takes_in_what_others_began_and_puts_back_what_the_store_lost(make: Callable[..., World]) -> None:
    noted = NotedMemory()
    one, other = make(noted=noted), make(noted=noted)
    await one.act("POST /pay")
    other.keeper.beat()
    assert other.facts.current().events == noted.events()
    assert other.told()[0].startswith("first_transfer of VN heard at ")
    lost = noted.events()
    noted._events.clear()
    one.keeper.beat()
    assert noted.events() == lost
    other.keeper.beat()
    assert len(other.told()) == 1, "nothing changed"


async def test_an_earlier_event_in_the_register_counts_and_both_survive_a_reload(make: Callable[..., World]) -> None:
    world = make()
    await world.act("POST /pay")
    (noted,) = world.facts.current().events
    earlier = Event("first_transfer", "VN", noted.at - 70 * DAY)
    old, new = world.policy.facts, replace(world.policy.facts, events=(earlier,))
    world.facts.change(lambda now: carried_over(old, now, new))
    assert set(world.facts.current().events) == {noted, earlier}
    assert world.admit("POST /pay").reason == "filing_missing"
    world.keeper.beat()
    assert set(world.facts.current().events) == {noted, earlier}


async def test_a_request_without_a_store_is_the_event_itself(make: Callable[..., World]) -> None:
    world = make()
    here = world.admit("POST /log")
    assert isinstance(here, Current)
    assert not here.decided, "it must wait until the event is noted"
    assert world.noted.events() == ()
    settled = await world.point.settle(here)
    assert settled is here
    assert here.decided
    assert [entry.kind for entry in world.entries] == ["system", "decision"]
    assert world.entries[1].running[0].startswith("clock:in_use.VN/5-days 20")
    again = world.admit("POST /log")
    assert again.decided
    world.clock.advance(6 * DAY)
    assert world.admit("POST /log").reason == "filing_missing"


async def test_a_request_whose_event_cannot_be_noted_is_refused_and_recorded(make: Callable[..., World]) -> None:
    world = make()
    world.store.away = True  # type: ignore[attr-defined]
    refused = await world.point.settle(world.admit("POST /log"))
    assert isinstance(refused, Refusal)
    assert refused.reason == "facts_unavailable"
    assert [(entry.kind, entry.reason) for entry in world.entries] == [("refusal", "facts_unavailable")]


async def test_identify_is_the_event_where_the_subject_is_known_late(make: Callable[..., World]) -> None:
    world = make()
    here = world.admit("POST /later")
    here = here if here.decided else await world.point.settle(here)
    with handling(here):
        await identify("an")
    assert [event.kind for event in world.noted.events()] == ["in_use"]


async def test_a_deployment_that_observes_notes_too_and_goes_on_where_it_cannot(make: Callable[..., World]) -> None:
    world = make(mode="observe")
    world.store.away = True  # type: ignore[attr-defined]
    await world.act("POST /pay")
    assert world.intents[0][1] == "committed"
    assert world.keeper.events["not_noted"] == 1
    world.store.away = False  # type: ignore[attr-defined]
    await world.act("POST /pay")
    assert len(world.noted.events()) == 1


async def test_the_log_warns_until_when_a_term_runs(
    make: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    with caplog.at_level(logging.WARNING, "residency"):
        await world.act("POST /pay")
    (message,) = [record.getMessage() for record in caplog.records]
    assert "first_transfer of VN begun" in message
    assert "until" in message


# -- counts ----------------------------------------------------------------------------------------------------


async def test_subjects_of_permitted_writes_bring_an_escalation_up_and_it_binds(make: Callable[..., World]) -> None:
    world = make()
    for who in ("an", "an", "binh"):
        await world.act("POST /account", who)
    await world.act("POST /account", "dana", SINGAPORE)  # no law of VN covers her
    await world.act("POST /pay", "chi")  # other data
    world.keeper.beat()
    assert world.keeper.counts == {"VN:account": 2}
    assert world.facts.current().escalated == frozenset()
    await world.act("POST /account", "chi")
    epoch = world.facts.epoch()
    world.keeper.beat()
    assert world.facts.current().escalated == {"test.many"}
    assert world.facts.epoch() > epoch
    assert world.told()[-1] == "test.many escalated, 3 subjects"
    assert world.keeper.events["escalated"] == 1
    assert world.admit("POST /account").reason == "law_forbids"


async def test_an_escalation_falls_below_its_lower_number_and_not_before(make: Callable[..., World]) -> None:
    world = make()
    for who in ("an", "binh", "chi"):
        await world.act("POST /account", who)
    world.keeper.beat()
    for who, up in (("an", True), ("binh", False)):
        await world.keeper.forget(world.point.perception.digest(who))
        world.keeper.beat()
        assert ("test.many" in world.facts.current().escalated) == up
    assert world.told()[-1] == "test.many fell, 1 subjects"
    assert world.keeper.events["fallen"] == 1


async def test_one_of_several_processes_finds_a_crossing_and_all_bind(make: Callable[..., World]) -> None:
    noted = NotedMemory()
    worlds = [make(noted=noted), make(noted=noted)]
    await worlds[0].act("POST /account", "an")
    await worlds[0].act("POST /account", "binh")
    await worlds[1].act("POST /account", "binh")
    await worlds[1].act("POST /account", "chi")
    for world in (*worlds, *worlds):
        world.keeper.beat()
    assert [world.facts.current().escalated for world in worlds] == [{"test.many"}, {"test.many"}]
    assert sorted(world.keeper.events["escalated"] for world in worlds) == [0, 1]


async def test_reads_and_erasures_count_nobody_and_observed_writes_count(make: Callable[..., World]) -> None:
    world = make()
    await world.act("DELETE /account")
    world.keeper.beat()
    assert world.keeper.counts == {"VN:account": 0}
    watching = make(mode="observe")
    await watching.act("POST /account")
    watching.keeper.beat()
    assert watching.keeper.counts == {"VN:account": 1}


async def test_while_the_store_is_away_nobody_is_lost_and_counted_data_is_refused_in_the_end(
    make: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = make()
    world.store.away = True  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "residency"):
        world.keeper.beat()
        world.keeper.beat()
    assert len(caplog.records) == 1, "an outage is told once"
    await world.act("POST /account")
    world.keeper.beat()
    world.clock.advance(10_000_001)
    assert world.admit("POST /account").reason == "facts_unavailable"
    assert isinstance(world.admit("GET /free"), Current), "what no count decides goes on"
    with world.request("GET /pay") as here:
        world.keeper._depends = frozenset({"GET /pay"})
        with pytest.raises(FactsUnavailable):
            await here.store("people").get("k")
    world.store.away = False  # type: ignore[attr-defined]
    world.keeper.beat()
    assert world.keeper.counts == {"VN:account": 1}
    assert isinstance(world.admit("POST /account"), Current)
    assert world.keeper.events["failed"] == 3


async def test_a_policy_without_terms_and_counts_asks_the_store_for_nothing(make: Callable[..., World]) -> None:
    world = make()
    store = Store()
    store.away = True
    bare = load_policy(write_deployment(Path(world.policy.base) / "bare", DEPLOYMENT))
    keeper = FactKeeper(world.facts, store, world.clock, bare)
    keeper.load()
    keeper.beat()
    assert keeper.events["failed"] == 0
    keeper.adopt(world.policy)
    keeper.beat()
    assert keeper.events["failed"] == 1


async def test_a_beat_that_fails_in_any_way_is_an_outage(make: Callable[..., World]) -> None:
    world = make()

    def broken() -> tuple[Event, ...]:
        raise RuntimeError("a secret")

    world.keeper._noted = type("Broken", (), {"count": lambda *_: broken()})()
    world.keeper.beat()
    world.clock.advance(10_000_001)
    assert world.admit("POST /account").reason == "facts_unavailable"


# -- exemptions and overrides ----------------------------------------------------------------------------------


async def test_exemptions_and_overrides_used_stand_in_the_entry_and_are_counted(make: Callable[..., World]) -> None:
    world = make()
    world.admit("POST /friends")
    (entry,) = world.entries
    assert (entry.outranked, entry.exempted, entry.exemptions) == (("test.strict",), (), ())
    assert world.metrics.value(names.OVERRIDES, "test.strict") == 1
    waiver = Exemption("7/2026", frozenset({"test.transfer"}), "Jane Doe", "a ground", 0, 1 << 60)
    bound = replace(waiver, number="8/2026", sinks=frozenset({"sg"}))
    world.facts.replace(replace(world.facts.current(), exemptions=(waiver,)))
    await world.act("POST /pay")
    assert world.noted.events() == (), "what is exempted leans on no term"
    intent = world.entries[-2]
    assert (intent.exempted, intent.exemptions) == (("test.transfer",), ("7/2026",))
    assert world.metrics.value(names.EXEMPTIONS, "7/2026") == 1
    world.facts.replace(replace(world.facts.current(), exemptions=(bound,)))
    await world.act("POST /pay")
    assert world.entries[-2].exemptions == ("8/2026",)
    assert world.metrics.value(names.EXEMPTIONS, "8/2026") == 1
    assert not any(b"Jane" in record for record in world.journal.records)
