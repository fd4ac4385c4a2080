"""Batches are as large as what people have lets them be, and nothing is changed by a mover that lost its turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from residency.errors import SinkUnavailable, UsageError
from residency.storage.move import Going, Leg, Mover, State
from residency.storage.parcels import LackingError
from residency.storage.parcels_located import located_ends
from residency.storage.records import Record
from tests.move_world import MoveWorld, PluggedRecords, digest, run


async def _wait(_: float) -> None:
    """Nobody is waited for."""


def test_a_batch_is_small_at_first_and_then_as_many_as_the_bytes_allow() -> None:
    world = MoveWorld(("people",))
    for number in range(10):
        world.put("SG", "people", f"p{number}", f"k{number}", b"x" * 1000)
    mover = Mover(world.homes, world.journal, _wait)
    assert mover.fitting(20_000, 5000) == 20
    assert mover.fitting(20_000, 5) == 5, "never more than was asked for"
    legs = [Leg("people", *located_ends("people", world.ends("people"), ("SG", "VN"), world.locators))]
    batch = [Going(f"p{number}", digest(f"p{number}"), None) for number in range(10)]
    run(mover.move(legs, "SG", "VN", batch))
    assert mover.fitting(20_000, 5000) == 20
    assert mover.fitting(10, 5000) == 1, "who has more than that goes alone"


def test_who_may_not_move_any_more_changes_nothing() -> None:
    world = MoveWorld(("people",))
    world.put("SG", "people", "an", "k", b"x")

    async def lost() -> None:
        raise UsageError("another move is on")

    mover = Mover(world.homes, world.journal, _wait, hold=lost)
    legs = [Leg("people", *world.ends("people"))]
    with pytest.raises(UsageError):
        run(mover.move(legs, "SG", "VN", [Going("an", digest("an"), None)]))
    assert (len(world.lies("SG", "an")), len(world.lies("VN", "an"))) == (1, 0)
    assert run(world.pin("an")) is None


def test_where_a_sink_goes_away_while_pins_move_they_are_read_where_they_lie_and_brought_home_by_the_next_run() -> None:
    world = MoveWorld()
    for store in world.stores:
        world.put("SG", store, "an", "k", b"x")
        world.put("SG", store, "binh", "l", b"x")
    world.writers = [("an", "people", "k", b"changed")]  # so that it is copied anew
    world.goes = world.at["VN"]["people"]
    with pytest.raises(SinkUnavailable):
        run(world.run(["an", "binh"]))
    for who in ("an", "binh"):
        pin = run(world.pin(who))
        assert pin is not None
        # Not `SG, None`: the law that has them moved refuses them there, to read as well.
        assert (pin.home, pin.moving) == ("VN", "SG")
    world.goes.away, world.goes = False, None
    moved = run(world.run(["an", "binh"]))
    assert (len(moved.home), moved.conflict) == (2, frozenset())
    assert world.lies("SG", "an") == world.lies("SG", "binh") == {}
    assert world.lies("VN", "an") == {("people", "k"): b"changed", ("uploads", "k"): b"x"}


class Refusing(PluggedRecords):
    """Records of which the sink deletes none for so many times, and answers."""

    times = 0

    async def delete(self, records: Sequence[Record]) -> int:
        """As the port says."""
        if records and self.times:
            self.times -= 1
            raise SinkUnavailable("the connection was cut")
        return await super().delete(records)


@pytest.mark.parametrize(("times", "moves"), [(2, True), (100, False)])
def test_what_a_person_deleted_meanwhile_is_not_there_again_where_its_copy_could_not_be_taken_back(
    times: int, moves: bool
) -> None:
    world = MoveWorld(("people",))
    refusing = Refusing("people-VN", world.plug)
    world.at["VN"]["people"] = refusing
    for key in ("k", "l"):
        world.put("SG", "people", "an", key, b"x")
    world.writers = [("an", "people", "k", None)]
    refusing.times = times
    moved = run(world.run(["an"]))
    pin = run(world.pin("an"))
    assert pin is not None
    home, left = {("people", "l"): b"x"}, {} if moves else {("people", "k"): b"x", ("people", "l"): b"x"}
    assert (bool(moved.home), bool(moved.conflict), pin.home) == (moves, not moves, "VN" if moves else "SG")
    assert world.lies(pin.home, "an") == home
    assert world.lies("SG" if moves else "VN", "an") == left, "told, so that somebody looks"


class Referring(PluggedRecords):
    """Records each of which refers to what is not here, where it says so itself."""

    async def write(self, records: Sequence[Record]) -> int:
        """As the port says."""
        lacking = {str(each.subject): "a foreign key" for each in records if each.value == b"refers"}
        if lacking:
            raise LackingError("sink has not what records refer to", lacking)
        return await super().write(records)


def test_who_refers_to_what_is_not_there_stays_unmoved_in_all_stores_and_the_others_go_in_one_batch() -> None:
    world = MoveWorld()
    world.at["VN"]["uploads"] = Referring("uploads-VN", world.plug)
    them = [f"p{number}" for number in range(6)]
    for number, each in enumerate(them):
        world.put("SG", "people", each, f"k{number}", b"x")
        world.put("SG", "uploads", each, f"k{number}", b"refers" if number < 2 else b"y")
    moved = run(world.run(them))
    assert moved.home == {digest(each) for each in them[2:]}
    assert not moved.conflict
    assert moved.again == {digest("p0"), digest("p1")}
    assert moved.waits == dict.fromkeys(moved.again, "a foreign key")
    for each in them[:2]:
        assert (len(world.lies("SG", each)), world.lies("VN", each)) == (2, {})
        pin = run(world.pin(each))
        assert pin is not None, "who stays is not taken for new"
        assert (pin.home, pin.moving) == ("SG", None)
        assert world.journal.held["SG", "VN", digest(each)].state is State.CONFLICT
    world.put("SG", "uploads", "p0", "k0", b"y")
    moved = run(world.run(them[:2]))
    assert moved.home == {digest("p0")}
    assert set(moved.waits) == {digest("p1")}
