"""Acts: an intent before, an outcome after, refused at the last moment if the facts or the home moved in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from residency.adapters.journal_memory import JournalMemory
from residency.adapters.pins_memory import PinsMemory
from residency.enforcement.context import about, about_many, current, identify
from residency.enforcement.current import Current
from residency.errors import (
    JournalFailed,
    JournalFull,
    PinsUnavailable,
    Refused,
    SubjectUnknown,
    UnknownStore,
    UsageError,
)
from residency.model import Operation, Pin, Reason, Trust
from residency.observe import names

pytestmark = pytest.mark.anyio
HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"
Worlds = Callable[..., Any]


def pin(world: Any, subject: str, home: str) -> Pin:
    return Pin(world.point.perception.digest(subject), home, (), "ab" * 16, "test", world.policy.digest, 0)


async def test_an_act_leaves_an_intent_before_and_an_outcome_after(world: Any) -> None:
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        assert world.recorder.open_intents == 1
        await act.confirm()
        act.outcome("committed")
        await act.settled()
    assert world.kinds == ["intent", "outcome"]
    assert world.acts() == [("vn", "committed")]
    assert world.journal.durable == 2
    assert world.recorder.open_intents == 0


async def test_the_first_word_on_an_outcome_stands(world: Any) -> None:
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        act.outcome("rolled_back")
        act.outcome("committed")
    assert world.acts() == [("vn", "rolled_back")]
    assert world.recorder.open_intents == 0


async def test_a_first_write_remembers_the_home_and_an_erasure_does_not(world: Any) -> None:
    with world.request("DELETE", who="an") as here:
        await here.begin("people", "vn").confirm()
        assert here.pin is None
    with world.request(who="an") as here:
        await here.begin("people", "vn").confirm()
        assert here.pin is not None
        assert (here.pin.home, here.alias) == ("VN", here.pin.alias)
    assert len({entry.subject for entry in world.entries if entry.kind == "intent"}) == 2


async def test_the_alias_of_the_first_intent_is_the_pins(world: Any) -> None:
    with world.request(who="an") as here:
        await here.begin("people", "vn").confirm()
    with world.request("GET", who="an") as here:
        here.begin("people", "vn")
    assert len({entry.subject for entry in world.entries if entry.kind == "intent"}) == 1


async def test_a_sink_that_may_not_take_the_data_is_refused_with_the_article_and_a_record(world: Any) -> None:
    with world.request(who="an") as here:
        with pytest.raises(Refused) as caught:
            here.begin("people", "sg")
        assert caught.value.citations == ("Test law art. 1",)
        assert here.trail.refusal.reason is Reason.ONLY_IN_COUNTRY
    assert [(entry.kind, entry.sink, entry.rules) for entry in world.entries] == [("refusal", "sg", ("test.home",))]
    assert world.metrics.value(names.REFUSALS, "only_in_country") == 1


async def test_a_store_before_the_subject_is_refused_with_a_record_that_names_nobody(world: Any) -> None:
    with world.request("POST", "/sign-up") as here:
        with pytest.raises(SubjectUnknown):
            here.begin("people", "vn")
        assert here.trail.refusal.reason is Reason.SUBJECT_UNKNOWN
    assert [(entry.kind, entry.reason, entry.subject) for entry in world.entries] == [
        ("refusal", "subject_unknown", None)
    ]
    assert world.metrics.value(names.REFUSALS, "subject_unknown") == 1


async def test_stores_and_sinks_that_are_not_the_activitys_are_errors(world: Any) -> None:
    with world.request(who="an") as here:
        with pytest.raises(UnknownStore):
            here.begin("other", "vn")
        with pytest.raises(UnknownStore):
            here.store("other")
        with pytest.raises(UnknownStore):
            here.begin("people", "x")
    with world.request("GET", who="an") as here, pytest.raises(UsageError):
        here.begin("people", "vn", operation=Operation.WRITE)


async def test_a_stop_order_between_intent_and_effect_stops_the_effect(world: Any) -> None:
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        world.stop("vn")
        with pytest.raises(Refused) as caught:
            await act.confirm()
    assert caught.value.reason in ("stop_order", "no_sink")
    assert world.acts() == [("vn", "failed")]
    assert "refusal" in world.kinds


async def test_a_home_that_another_request_set_meanwhile_refuses_a_write_elsewhere(world: Any) -> None:
    with world.request(who="tan", address=SINGAPORE) as here:
        act = here.begin("people", "sg")
        await world.pins.put(pin(world, "tan", "VN"))
        with pytest.raises(Refused) as caught:
            await act.confirm()
        assert here.trail.refusal.reason is Reason.FACTS_MOVED
    assert caught.value.reason == "facts_moved"
    assert world.acts() == [("sg", "failed")]


async def test_a_home_that_moved_is_seen_by_the_next_act_of_the_same_request(world: Any) -> None:
    with world.request(who="tan", address=SINGAPORE) as here:
        await here.begin("people", "sg").confirm()
        await world.pins.put(replace(here.pin, home="VN", version=2))
        act = here.begin("people", "sg")
        assert here.pin.version == 2
        await act.confirm()  # asked for by name and permitted: a copy, not a guess


async def test_the_same_home_set_by_another_request_is_shared(world: Any) -> None:
    with world.request(who="tan", address=SINGAPORE) as here:
        act = here.begin("people", "sg")
        theirs = pin(world, "tan", "SG")
        await world.pins.put(theirs)
        await act.confirm()
        assert here.pin is not None
        assert (here.pin.home, here.pin.alias, here.pin.version) == (theirs.home, theirs.alias, 2)
        # Theirs tells nothing of where this request writes from.
        assert {(place, trust) for _, place, trust in here.pin.anchors} == {("SG", Trust.HINT)}
        assert here.pin == await world.pins.get(theirs.subject)


async def test_pins_that_cannot_be_read_refuse_the_act(make_world: Worlds) -> None:
    pins = PinsMemory()
    world = make_world(pins=pins)
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        pins._closed = True
        with pytest.raises(PinsUnavailable):
            await act.confirm()
        with pytest.raises(PinsUnavailable):
            here.begin("people", "vn")
    assert world.acts() == [("vn", "failed")]


async def test_an_outcome_that_cannot_be_written_leaves_the_intent_open_and_tells_the_first_error(world: Any) -> None:
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        world.journal.fail()
        with pytest.raises(JournalFailed):
            await act.confirm()
        with pytest.raises(JournalFailed):
            act.outcome("committed")
    assert world.recorder.open_intents == 1
    assert world.acts() == [("vn", None)]


async def test_a_cancelled_confirmation_fails_the_act(make_world: Worlds) -> None:
    class SlowPins(PinsMemory):
        """Pins that take for ever to write."""

        async def put(self, pin: Pin) -> None:
            """Wait."""
            await anyio.sleep_forever()

    world = make_world(pins=SlowPins())
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        with anyio.move_on_after(0.01):
            await act.confirm()
    assert world.acts() == [("vn", "failed")]


async def test_without_room_for_an_act_nothing_is_begun(make_world: Worlds) -> None:
    journal = JournalMemory(capacity=70_000)
    world = make_world(journal=journal)
    here = world.admit(who="an")
    assert isinstance(here, Current)
    while journal._room > 65_000:
        world.recorder.system("filler")
    with pytest.raises(JournalFull):
        here.begin("people", "vn")
    assert world.acts() == []


# -- about -----------------------------------------------------------------------------------------------------------


async def test_about_judges_by_the_others_pin_alone_and_gives_the_own_decision_back(world: Any) -> None:
    await world.pins.put(replace(pin(world, "tan", "SG"), anchors=()))
    with world.request(who="an", address=HANOI) as here:
        async with about("tan") as other:
            assert current() is other
            assert (other.signals, other.evidence, other.decision.jurisdictions) == ((), frozenset(), ())
            assert other.detail["account"] == "tan"
        assert current() is here
        assert here.detail["account"] == "an"
    assert [(entry.kind, entry.note) for entry in world.entries] == [("decision", "about")]


async def test_a_refusal_inside_about_is_the_requests_refusal(make_world: Worlds) -> None:
    world = make_world(replace=[("presume: {territory: not_covered}", "presume: {territory: covered}")])
    with world.request("POST", "/posts") as here:
        await identify("an", verified=True, verified_by="phone")
        with pytest.raises(Refused):
            async with about("binh"):
                pytest.fail("nothing happens inside")
        assert here.trail.refusal.reason is Reason.IDENTITY_MISSING
    assert world.kinds == ["decision", "refusal"]


# -- what is at hand needs no waiting --------------------------------------------------------------------------------


async def _durable(act: Any) -> None:
    with anyio.fail_after(20):
        while not act.current.point.recorder.is_durable(act._seq):  # noqa: ASYNC110 - a thread tells of it by a number
            await anyio.sleep(0.001)


async def test_a_read_is_confirmed_at_once_and_needs_no_settling(world: Any) -> None:
    with world.request("GET", who="an") as here:
        act = here.begin("people", "vn")
        assert act.confirm_now()
        act.outcome("committed")
        assert act.is_settled()
    assert world.journal.durable == 0


async def test_the_outcome_of_a_change_begins_to_be_durable_as_it_is_told(world: Any) -> None:
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        await act.confirm()
        act.outcome("committed")
        with anyio.fail_after(20):
            while world.journal.durable < len(world.journal.records):  # noqa: ASYNC110 - a thread tells of it
                await anyio.sleep(0.001)


async def test_a_change_begins_to_be_durable_as_it_begins_and_is_then_confirmed_at_once(world: Any) -> None:
    with world.request(who="an") as here:
        await here.begin("people", "vn").confirm()
        act = here.begin("people", "vn")
        await _durable(act)
        assert act.confirm_now()
        assert here.changes("vn")
        act.outcome("committed")
        assert not act.is_settled()
        await act.settled()
    assert world.journal.durable == 3


async def test_a_first_write_has_its_home_to_wait_for(world: Any) -> None:
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        await _durable(act)
        assert not act.confirm_now()
        assert here.pin is None
        assert not here.changes("vn")
        await act.confirm()
        assert here.pin is not None


async def test_a_pin_that_is_not_held_here_is_waited_for(make_world: Worlds) -> None:
    class Elsewhere(PinsMemory):
        """Pins of which nothing is held."""

        def peek(self, subject: str) -> tuple[Pin | None, bool]:
            """(None, False)."""
            return None, False

    pins = Elsewhere()
    world = make_world(pins=pins)
    here = world.admit("GET", who="an")
    here = await world.point.settle(here)
    act = here.begin("people", "vn")
    assert not act.confirm_now()
    theirs = pin(world, "an", "VN")
    await pins.put(replace(theirs, version=1))
    await act.confirm()
    assert here.pin is not None


async def test_what_moved_in_between_is_seen_by_who_waits_for_nothing_too(world: Any) -> None:
    with world.request("GET", who="an") as here:
        act = here.begin("people", "vn")
        world.stop("vn")
        with pytest.raises(Refused):
            act.confirm_now()
    with world.request("GET", who="tan", address=SINGAPORE) as here:
        other = here.begin("people", "sg")
        await world.pins.put(pin(world, "tan", "VN"))
        with pytest.raises(Refused) as caught:
            other.confirm_now()
    assert caught.value.reason == "facts_moved"
    assert world.acts() == [("vn", "failed"), ("sg", "failed")]


async def test_a_sink_that_is_seen_elsewhere_is_seen_by_who_waits_for_nothing_too(world: Any) -> None:
    world.stores.misplaced = set()
    with world.request("GET", who="an") as here:
        act = here.begin("people", "vn")
        world.stores.misplaced.add("vn")
        with pytest.raises(Refused, match="is not shown to lie"):
            act.confirm_now()
    assert world.acts() == [("vn", "failed")]


async def test_a_journal_that_fails_once_the_intent_is_durable_stops_the_effect(world: Any) -> None:
    with world.request(who="an") as here:
        first, second = here.begin("people", "vn"), here.begin("people", "vn")
        await _durable(second)
        world.journal.fail()
        with pytest.raises(JournalFailed):
            await first.confirm()
        with pytest.raises(JournalFailed):
            second.confirm_now()
    assert world.recorder.open_intents == 2


@pytest.mark.parametrize("first_write", [True, False])
async def test_what_moves_while_the_disk_takes_its_time_is_seen_before_the_effect(
    make_world: Worlds, first_write: bool
) -> None:
    class Slow(JournalMemory):
        """A journal whose disk answers once it is told to."""

        asked, answers = threading.Event(), threading.Event()

        def sync(self, seq: int) -> None:
            """Wait for that."""
            self.asked.set()
            assert self.answers.wait(30)
            super().sync(seq)

    world = make_world(journal=Slow())
    if not first_write:
        await world.pins.put(pin(world, "an", "VN"))
    with world.request(who="an") as here:
        act = here.begin("people", "vn")

        async def confirm() -> None:
            with pytest.raises(Refused):
                await act.confirm()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(confirm)
            await anyio.to_thread.run_sync(Slow.asked.wait, 30)
            world.stop("vn")
            Slow.answers.set()
        assert not here.changes("vn")
    assert world.acts() == [("vn", "failed")]
    assert here.pin is None or not first_write


async def test_a_group_is_confirmed_at_once_where_each_member_is(world: Any) -> None:
    for who in ("an", "binh"):
        await world.pins.put(pin(world, who, "VN"))
    with world.request("GET", who="chi"):
        (group,) = (await about_many(["an", "binh"])).groups
        async with group:
            act = group.begin("people", "vn")
            assert act.confirm_now()
            act.outcome("committed")
            assert act.is_settled()
            stopped = group.begin("people", "vn")
            world.stop("vn")
            with pytest.raises(Refused):
                stopped.confirm_now()
    assert world.acts() == [("vn", "committed")] * 2 + [("vn", "failed")] * 2


async def test_a_sink_that_was_seen_elsewhere_takes_no_act_until_it_is_back_where_it_must_lie(world: Any) -> None:
    world.stores.misplaced = {"vn"}
    with world.request(who="an") as here:
        with pytest.raises(Refused) as caught:
            here.begin("people", "vn")
        assert caught.value.reason == Reason.SINK_MISPLACED.value
        assert (here.trail.refusal.reason, world.kinds) == (Reason.SINK_MISPLACED, ["refusal"])
        world.stores.misplaced.clear()
        here.begin("people", "vn").outcome("failed")


async def test_an_act_whose_sink_is_seen_elsewhere_before_its_effect_does_not_happen(world: Any) -> None:
    world.stores.misplaced = set()
    with world.request(who="an") as here:
        act = here.begin("people", "vn")
        world.stores.misplaced.add("vn")
        with pytest.raises(Refused, match="is not shown to lie"):
            await act.confirm()
    assert world.acts() == [("vn", "failed")]


async def test_mode_observe_binds_nothing_where_a_sink_is_seen_elsewhere(make_world: Worlds) -> None:
    world = make_world(replace=[("mode: enforce", "mode: observe")])
    world.stores.misplaced = {"vn"}
    with world.request(who="an") as here:
        here.begin("people", "vn").outcome("committed")
    assert world.acts() == [("vn", "committed")]
