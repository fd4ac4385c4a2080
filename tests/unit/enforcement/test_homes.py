"""Each way in which a pin is set or moved leaves a record, and the record holds what a lost store needs back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from residency.adapters.detail_files import DetailFiles
from residency.adapters.entropy_seeded import UnsafeSeededEntropy
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.pins_memory import PinsMemory
from residency.audit.detail import commit, parse_detail
from residency.audit.recall import Beside, Recall
from residency.errors import PinsUnavailable, Refused, StaleVersion
from residency.jurisdiction.pinned import parse_pin
from residency.model import Anchor, Operation, Pin, Trust
from residency.observe import names
from residency.policy.archive import facts_digest
from residency.policy.replay import Replayer
from tests.detail_world import open_detail
from tests.world import HANOI, SINGAPORE

pytestmark = pytest.mark.anyio
KEY = bytes(32)
Worlds = Callable[..., Any]


class StalePins(PinsMemory):
    """Pins whose store is not heard of."""

    def is_stale(self) -> bool:
        """So it is."""
        return True


class ForgetsAtTheSameTime(PinsMemory):
    """Pins of which another process forgets one whenever its second version is about to be put."""

    async def put(self, pin: Pin) -> None:
        """Raises: StaleVersion for any version but the first."""
        if pin.version > 1:
            await self.forget(pin.subject, pin.version - 1)
        await super().put(pin)


class Slow(PinsMemory):
    """Pins whose store takes the second version of one, and does not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = anyio.Event()

    async def put(self, pin: Pin) -> None:
        """Waits for ever for any version but the first."""
        await super().put(pin)
        if pin.version > 1:
            self.asked.set()
            await anyio.sleep_forever()


class LetGo(PinsMemory):
    """Pins of which this process holds nothing once `gone`: the store has just said that they changed."""

    __slots__ = ("gone",)

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def peek(self, subject: str) -> tuple[Pin | None, bool]:
        """(None, False) once they are gone."""
        return (None, False) if self.gone else super().peek(subject)


class OneByOne(PinsMemory):
    """Pins that are put one by one, of which the second is never answered."""

    put_all = None  # type: ignore[assignment]

    async def put(self, pin: Pin) -> None:
        """Raises: PinsUnavailable for the second."""
        if pin.subject.endswith("2"):
            raise PinsUnavailable("no answer")
        await super().put(pin)


class LosesWrites(PinsMemory):
    """Pins that take first versions and then answer no more."""

    async def put(self, pin: Pin) -> None:
        """Raises: PinsUnavailable for any version but the first."""
        if pin.version > 1:
            raise PinsUnavailable("the pins' store did not answer")
        await super().put(pin)


class WatchesJournal(PinsMemory):
    """Pins that note, whenever one is moved, how many entries survive a power cut."""

    def __init__(self, journal: JournalMemory) -> None:
        super().__init__()
        self.journal = journal
        self.durable: list[int] = []

    async def put(self, pin: Pin) -> None:
        """As any."""
        if pin.version > 1:
            self.durable.append(self.journal.durable)
        await super().put(pin)


def details(journal: JournalMemory) -> DetailFiles:
    return DetailFiles({"VN": journal}, lambda country: KEY, UnsafeSeededEntropy().token)


def pins_told(journal: JournalMemory) -> dict[str, Pin]:
    """By the sha256 of its detail, every pin that the regional detail tells of."""
    found = {}
    for record in journal.records:
        _, detail = open_detail("VN", record, KEY)
        fields = parse_detail(detail)
        if "pin" in fields:
            found[commit(detail)] = parse_pin(str(fields["pin"]))
    return found


async def write(world: Any, **claims: object) -> Pin:
    """One write by `an`, who says these verified claims; the pin there is then."""
    with world.request(who="an") as here:
        if claims:
            await here.identify("an", claims, verified=True)
        act = here.begin("people", "vn")
        await act.confirm()
        act.outcome("committed")
    pin: Pin | None = await world.pins.get(world.point.digest(here.subject))
    assert pin is not None
    return pin


async def test_the_outcome_of_a_first_write_commits_to_the_pin_it_set(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    pin = await write(world)
    await write(world)
    told = pins_told(regional)
    outcomes = [entry for entry in world.entries if entry.kind == "outcome"]
    assert [told.get(entry.detail or "") for entry in outcomes] == [pin, None]


async def test_a_verified_claim_moves_what_a_pin_remembers_as_an_act_of_its_own(make_world: Worlds) -> None:
    regional = JournalMemory()
    world = make_world(details=details(regional))
    first = await write(world)
    pin = await write(world, citizenship="VN")
    assert (pin.version, pin.home, pin.alias, pin.set_by) == (2, first.home, first.alias, "stronger_signal")
    assert (Anchor.CITIZENSHIP, "VN", Trust.VERIFIED) in pin.anchors
    assert (Anchor.TERRITORY, "VN", Trust.NETWORK) in pin.anchors
    (move,) = [(entry, word) for entry, word in world.intents if entry.operation == "pin"]
    assert (move[0].note, move[0].subject, move[0].region, move[1]) == ("stronger_signal", pin.alias, "VN", "committed")
    assert pins_told(regional)[next(e.detail for e in world.entries if e.of == move[0].id)] == pin
    assert world.recorder.open_intents == 0


async def test_verified_claims_that_contradict_are_counted_and_move_nothing(world: Any) -> None:
    first = await write(world, citizenship="VN")
    pin = await write(world, citizenship="US")
    # But what was written stays covered by the law that it was written under.
    assert pin.anchors == (*first.anchors[:1], (Anchor.CITIZENSHIP, "US", Trust.HINT), *first.anchors[1:])
    assert pin.home == first.home
    assert world.metrics.value(names.PIN_EVENTS, "contradicted") == 1


async def test_what_is_verified_is_held_to_the_pin_once_and_what_contradicts_it_is_counted_every_time(
    world: Any,
) -> None:
    homes = world.point.homes
    await write(world, citizenship="VN")
    for citizenship, settled in (("VN", True), ("US", False)):
        with world.request(who="an") as here:
            await here.identify("an", {"citizenship": citizenship}, verified=True)
            assert [homes.is_settled(here) for _ in range(2)] == [settled] * 2
    for _ in range(2):
        await write(world, citizenship="US")
    assert world.metrics.value(names.PIN_EVENTS, "contradicted") == 2
    with world.request(who="an") as here:
        await here.identify("an", {"citizenship": "US"}, verified=False)  # which nobody verified
        assert homes.is_settled(here)


async def test_a_first_home_and_a_stronger_signal_are_not_settled(world: Any) -> None:
    with world.request(who="binh") as here:
        assert not world.point.homes.is_settled(here)  # no home yet
    await write(world)
    with world.request(who="an") as here:
        await here.identify("an", {"citizenship": "VN"}, verified=True)
        assert not world.point.homes.is_settled(here)


async def test_a_move_whose_store_does_not_answer_ends_unknown_and_the_write_does_not_happen(
    make_world: Worlds,
) -> None:
    world = make_world(pins=LosesWrites())
    await write(world)
    with pytest.raises(PinsUnavailable):
        await write(world, citizenship="VN")
    assert [word for entry, word in world.intents if entry.operation == "pin"] == ["unknown"]
    assert world.acts()[-2:] == [("vn", "failed"), (None, "unknown")]


async def test_a_move_whose_client_hangs_up_leaves_no_intent_open(make_world: Worlds) -> None:
    pins = Slow()
    world = make_world(pins=pins)
    await write(world)
    async with anyio.create_task_group() as tasks:

        async def moves() -> None:
            await write(world, citizenship="VN")

        tasks.start_soon(moves)
        await pins.asked.wait()
        tasks.cancel_scope.cancel()
    assert world.acts()[-2:] == [("vn", "failed"), (None, "unknown")]


async def test_a_write_whose_subject_is_forgotten_at_the_same_time_does_not_happen(make_world: Worlds) -> None:
    world = make_world(pins=ForgetsAtTheSameTime())
    await write(world)
    with pytest.raises(PinsUnavailable, match="forgotten"):
        await write(world, citizenship="VN")
    assert world.acts()[-2:] == [("vn", "failed"), (None, "failed")]


async def test_an_operator_moves_a_home_with_a_reason_and_under_the_same_alias(world: Any) -> None:
    first = await write(world)
    pin = await world.point.homes.move(first.subject, "SG", "ticket 7")
    assert pin == dataclasses.replace(
        first, home="SG", version=2, set_by="operator", at=pin.at, policy=world.policy.digest
    )
    assert await world.pins.get(first.subject) == pin
    (intent, word) = world.intents[-1]
    assert (intent.operation, intent.region, intent.subject, intent.note) == (
        "pin", "SG", first.alias, "operator: ticket 7",
    )  # fmt: skip
    assert word == "committed"


async def test_the_intent_of_a_move_survives_a_power_cut_before_it_and_the_outcome_after(make_world: Worlds) -> None:
    journal = JournalMemory()
    pins = WatchesJournal(journal)
    world = make_world(journal=journal, pins=pins)
    first = await write(world)
    intent = len(world.entries)
    await world.point.homes.move(first.subject, "SG", "ticket 7")
    assert [(entry.kind, entry.operation) for entry in world.entries[intent:]] == [
        ("intent", "pin"),
        ("outcome", "pin"),
    ]
    assert pins.durable == [intent + 1]
    assert journal.durable == intent + 2


async def test_a_move_to_where_the_home_is_already_is_no_act(world: Any) -> None:
    first = await write(world)
    before = list(world.entries)
    assert await world.point.homes.move(first.subject, first.home, "ticket 7") == first
    assert world.entries == before


async def test_there_is_no_moving_a_pin_that_is_not_there(world: Any) -> None:
    with pytest.raises(StaleVersion):
        await world.point.homes.move("0" * 64, "VN", "ticket 7")
    assert world.entries == []


async def test_a_pin_from_a_copy_whose_store_is_away_is_counted_and_said_in_the_entry(make_world: Worlds) -> None:
    world = make_world(pins=StalePins())
    await write(world)
    assert world.metrics.value(names.PINS_STALE) == 0  # there was no pin to be stale
    with world.request("GET", "/people", who="an"):
        pass
    assert world.entries[-1].note == "stale_pin"
    assert world.metrics.value(names.PINS_STALE) == 1


@pytest.mark.parametrize(("method", "operation"), [("GET", Operation.READ), ("POST", Operation.WRITE)])
async def test_an_act_reads_a_home_that_was_moved_and_let_go_of_while_its_request_ran(
    make_world: Worlds, method: str, operation: Operation
) -> None:
    pins = LetGo()
    world = make_world(pins=pins)
    pin = await write(world)
    with world.request(method, "/people", who="an") as here:
        # By another instance: the push that tells of it empties the copy here and says no more than that.
        await pins.put(dataclasses.replace(pin, home="SG", version=2))
        pins.gone = True
        act = here.begin("people", "vn", operation=operation)
        with pytest.raises(Refused, match="another home"):
            await act.confirm()
    assert here.pin.version == 2
    assert world.acts()[-1] == ("vn", "failed")


async def test_a_stale_pin_is_said_wherever_a_pin_is_taken_in(make_world: Worlds) -> None:
    world = make_world(pins=StalePins())
    await write(world)
    with world.request("POST", "/sign-up") as here:
        await here.identify("an", {}, verified=False)
        assert world.entries[-1].note == "stale_pin"
        here.begin("people", "vn").outcome("failed")
        assert world.intents[-1][0].note == "stale_pin"
        await here.about("an")
        assert world.entries[-1].note == "stale_pin"
        await here.identify("binh", {}, verified=False)
        assert world.entries[-1].note == "identified"  # of whom there is no pin to be stale
    assert world.metrics.value(names.PINS_STALE) == 2


async def test_of_many_that_leave_and_arrive_each_is_told_and_who_was_changed_meanwhile_is_left_out(
    make_world: Worlds,
) -> None:
    world = make_world()
    homes = world.point.homes
    first = [homes.unpinned(f"{number:064x}", "SG", ()) for number in (1, 2)]
    there = await homes.arrive(first, "to home")
    assert {(pin.home, pin.version, pin.set_by, pin.moving) for pin in there.values()} == {("SG", 1, "move", None)}
    await world.pins.put(dataclasses.replace(there[f"{2:064x}"], version=2))
    left = await homes.leave(list(there.values()), "VN", "SG", "to home")
    assert [(pin.home, pin.moving, pin.version) for pin in left.values()] == [("VN", "SG", 2)]
    assert await world.pins.get(f"{1:064x}") == left[f"{1:064x}"]
    stayed = await homes.stay(list(left.values()), "to home")
    assert [(pin.home, pin.moving, pin.version) for pin in stayed.values()] == [("SG", None, 3)]
    stale = await homes.arrive(list(there.values()), "to home")
    assert stale == {}
    outcomes = [entry.act for entry in world.entries if entry.kind == "outcome" and entry.operation == "pin"]
    assert outcomes == ["committed", "committed", "committed", "failed", "failed"]
    assert [entry.note for entry in world.entries if entry.kind == "system"][-1:] == [
        "move: to home, 2 subjects from SG to VN"
    ]
    assert await homes.leave([], "VN", "SG", "x") == {}


async def test_where_the_store_of_pins_breaks_off_the_outcomes_of_the_rest_are_unknown(make_world: Worlds) -> None:
    world = make_world(pins=OneByOne())
    homes = world.point.homes
    first = [homes.unpinned(f"{number:064x}", "SG", ()) for number in (1, 2, 3)]
    with pytest.raises(PinsUnavailable):
        await homes.arrive(first, "to home")
    assert [entry.act for entry in world.entries if entry.kind == "outcome"] == ["committed", "unknown", "unknown"]


# -- whoever writes is covered by where they write from, also afterwards -----------------------------------------------


class Overtaken(PinsMemory):
    """Pins of which another instance, which sees them elsewhere, changes one whenever its next version is put."""

    def __init__(self) -> None:
        super().__init__()
        self.places = ["DE", "FR"]

    async def put(self, pin: Pin) -> None:
        """Raises: StaleVersion, as often as there are places."""
        if pin.version > 1 and self.places:
            old = await self.get(pin.subject)
            assert old is not None
            more = (Anchor.TERRITORY, self.places.pop(), Trust.HINT)
            await super().put(dataclasses.replace(old, anchors=(*old.anchors, more), version=old.version + 1))
        await super().put(pin)


HELD = Pin("", "SG", ((Anchor.TERRITORY, "SG", Trust.NETWORK),), "ab" * 16, "first_write", "0" * 64, 0)
OBSERVED = ("mode: enforce", "mode: observe")
OPEN = ("laws: [vn/test]", "laws: none")


async def held(world: Any, who: str = "tan") -> Pin:
    """Somebody who lives in Singapore and was never seen elsewhere."""
    pin = dataclasses.replace(HELD, subject=world.point.perception.digest(who))
    await world.pins.put(pin)
    return pin


async def test_who_writes_from_elsewhere_is_covered_by_its_law_from_then_on_and_keeps_their_home(
    make_world: Worlds,
) -> None:
    regional = JournalMemory()
    world = make_world(replace=[OPEN], details=details(regional))
    before = await held(world)
    with world.request(who="tan", address=HANOI) as here:
        act = here.begin("people", "sg")
        await act.confirm()
        pin = await world.pins.get(before.subject)
        assert [entry.note for entry in world.entries if entry.operation == "pin" and entry.kind == "intent"] == [
            "also_covered:VN"
        ]
        act.outcome("committed")
    assert pin.anchors == (
        *before.anchors, (Anchor.TERRITORY, "VN", Trust.HINT), (Anchor.COLLECTION, "VN", Trust.HINT),
    )  # fmt: skip
    assert (pin.home, pin.alias, pin.version, pin.set_by) == ("SG", before.alias, 2, "also_covered")
    assert pin in pins_told(regional).values()  # so that a store that lost it gets it back
    for address in (HANOI, SINGAPORE):  # once for each person and place, though home is another
        with world.request(who="tan", address=address) as here:
            assert here.decision.finding.covered("VN", Anchor.TERRITORY)
            act = here.begin("people", "sg")
            await act.confirm()
            act.outcome("committed")
    after = await world.pins.get(before.subject)
    assert after.version <= 3  # Singapore, as the place of collection, was new too
    with world.request("GET", "/people", who="sue", address=SINGAPORE) as here:
        other = await here.about("tan")
        assert other.decision.finding.covered("VN", Anchor.TERRITORY)


@pytest.mark.parametrize(("method", "operation"), [("GET", Operation.READ), ("DELETE", Operation.ERASE)])
async def test_who_writes_nothing_teaches_their_pin_nothing(
    make_world: Worlds, method: str, operation: Operation
) -> None:
    world = make_world(replace=[OPEN])
    before = await held(world)
    with world.request(method, "/people", who="tan", address=HANOI) as here:
        act = here.begin("people", "sg", operation=operation)
        await act.confirm()
        act.outcome("committed")
    assert await world.pins.get(before.subject) == before


async def test_a_write_that_is_refused_teaches_a_pin_nothing(world: Any) -> None:
    before = await held(world)
    with world.request(who="tan", address=HANOI) as here, pytest.raises(Refused):
        await here.begin("people", "sg").confirm()
    assert await world.pins.get(before.subject) == before


async def test_a_deployment_that_only_observes_keeps_what_it_let_happen(make_world: Worlds) -> None:
    world = make_world(replace=[OBSERVED])
    before = await held(world)
    with world.request(who="tan", address=HANOI) as here:
        act = here.begin("people", "sg")
        await act.confirm()
        act.outcome("committed")
    assert (Anchor.TERRITORY, "VN", Trust.HINT) in (await world.pins.get(before.subject)).anchors


async def test_where_the_pin_does_not_get_to_tell_of_it_nothing_is_written(make_world: Worlds) -> None:
    world = make_world(replace=[OPEN], pins=LosesWrites())
    await held(world)
    with world.request(who="tan", address=HANOI) as here:
        act = here.begin("people", "sg")
        with pytest.raises(PinsUnavailable):
            await act.confirm()
    assert world.acts()[-2:] == [("sg", "failed"), (None, "unknown")]


async def test_of_several_who_teach_a_pin_at_the_same_time_none_is_lost(make_world: Worlds) -> None:
    world = make_world(replace=[OPEN], pins=Overtaken())
    before = await held(world)
    with world.request(who="tan", address=HANOI) as here:
        act = here.begin("people", "sg")
        await act.confirm()
        act.outcome("committed")
    pin = await world.pins.get(before.subject)
    assert {place for anchor, place, _ in pin.anchors if anchor is Anchor.TERRITORY} == {"SG", "VN", "DE", "FR"}
    assert here.pin == pin
    words = [word for entry, word in world.intents if entry.operation == "pin"]
    assert words == ["failed", "failed", "committed"]


async def test_what_an_outranked_signal_says_covers_nothing_and_is_not_kept(make_world: Worlds) -> None:
    world = make_world(replace=[OPEN])
    before = await held(world)
    with world.request(who="tan", address=SINGAPORE) as here:
        await here.identify("tan", {"residence": "SG"}, verified=True)
        act = here.begin("people", "sg")
        await act.confirm()
        act.outcome("committed")
    with world.request(who="tan", address=SINGAPORE) as here:
        await here.identify("tan", {"residence": "VN"}, verified=False)  # anybody may say so
        act = here.begin("people", "sg")
        await act.confirm()
        act.outcome("committed")
    pin = await world.pins.get(before.subject)
    assert "VN" not in {place for _, place, _ in pin.anchors}


async def test_an_outsider_recomputes_what_was_decided_by_a_pin_that_tells_of_more(world: Any) -> None:
    before = dataclasses.replace(await held(world), home="VN", version=2)
    await world.pins.put(before)
    for address in (SINGAPORE, HANOI, SINGAPORE):
        with world.request(who="tan", address=address) as here:
            act = here.begin("people", "vn")
            await act.confirm()
            act.outcome("committed")
        with world.request("GET", "/people", who="sue", address=HANOI) as here:
            await here.about("tan")
    facts = world.facts.current()
    replayer = Replayer({world.policy.digest: world.policy}.get, {facts_digest(facts): facts}.get)
    covered = []
    for entry in world.entries:
        recalled = Recall().take(entry)
        if entry.finding and not isinstance(recalled, Beside):
            assert replayer.replay(*recalled).wrong == ()
            covered += [entry.jurisdictions] if entry.kind == "decision" else []
    assert covered == [(), ("VN",), ("VN",)]
