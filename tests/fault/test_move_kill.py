"""A move is killed before and after each of its changes, the person goes on using the app, and the next run ends it."""

from __future__ import annotations

import itertools

import pytest

from residency.model import Pin
from residency.storage.move import State
from tests.move_world import MoveWorld, PulledError, digest, run

STORES = ("people", "uploads")
Bytes = dict[tuple[str, str], bytes | None]


def filled() -> MoveWorld:
    """Two people with three records in Singapore each."""
    world = MoveWorld(STORES)
    for person in ("anh", "binh"):
        world.put("SG", "people", person, f"{person}-1", b"a")
        world.put("SG", "people", person, f"{person}-2", b"b")
        world.put("SG", "uploads", person, f"{person}-3", b"c")
    return world


def killed_at(step: int) -> MoveWorld | None:
    """The world after a move that was killed at its `step`-th change; None where it ended before."""
    world = filled()
    world.plug.at = step
    try:
        run(world.run(["anh", "binh"]))
    except PulledError:
        world.plug.at = None
        return world
    return None


def steps() -> int:
    """How many changes a whole move makes."""
    return next(step for step in itertools.count(1) if killed_at(step) is None) - 1


# What the person does between the kill and the next run, where the app lets them: (store, key, value or None).
DEEDS = {
    "nothing": (),
    "changes a record": (("people", "anh-1", b"new"),),
    "deletes a record": (("people", "anh-1", None), ("uploads", "anh-3", None)),
    "adds a record": (("people", "anh-9", b"more"),),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_whatever_step_a_move_is_killed_at_nothing_is_lost_doubled_or_brought_back(deed: str) -> None:
    assert steps() > 20, "the plug is in everything that changes something"
    for step in range(1, steps() + 1):
        world = killed_at(step)
        assert world is not None
        truth = world_of("anh")
        pin = run(world.pin("anh"))
        place = "SG" if pin is None else pin.moving or pin.home
        assert world.lies(place, "anh") == truth, f"killed at {step}: a read is answered from a sink without the data"
        if pin is None or pin.moving is None:  # else they are told to try again
            for store, key, value in DEEDS[deed]:
                world.put(place, store, "anh", key, value)
                if value is None:
                    truth.pop((store, key))
                else:
                    truth[store, key] = value
        for _ in range(2):
            moved = run(world.run(["anh", "binh"]))
            assert not moved.conflict, f"killed at {step}"
        for person, held in (("anh", truth), ("binh", world_of("binh"))):
            assert world.lies("VN", person) == held, f"killed at {step}: {person} at home"
            left = world.lies("SG", person)
            assert left == {}, f"killed at {step}: {person} is still abroad"
            there = run(world.pin(person))
            assert there is not None
            assert (there.home, there.moving) == ("VN", None)


def world_of(person: str) -> Bytes:
    """What a person had before."""
    return {("people", f"{person}-1"): b"a", ("people", f"{person}-2"): b"b", ("uploads", f"{person}-3"): b"c"}


def test_a_record_that_is_at_home_with_other_bytes_stops_its_subject_alone_and_leaves_all_as_it_was() -> None:
    world = filled()
    world.put("VN", "people", "binh", "anh-1", b"of somebody else")
    moved = run(world.run(["anh", "binh"]))
    assert {each.lstrip("0") for each in moved.conflict} == {"anh"}
    assert world.lies("SG", "anh") == world_of("anh")
    assert world.lies("VN", "anh") == {}
    pin = run(world.pin("anh"))
    assert pin is not None
    assert (pin.home, pin.moving) == ("SG", None)
    assert world.lies("SG", "binh") == {}
    # Nothing that was not verified passes for a copy, in whichever run.
    run(world.run(["anh"]))
    assert world.lies("SG", "anh") == world_of("anh")


def test_who_wrote_at_home_after_being_copied_ahead_has_the_newer_there() -> None:
    killed = 0
    for step in range(1, steps() + 1):
        world = killed_at(step)
        assert world is not None
        ahead = {each.state for each in world.journal.held.values() if each.subject == digest("anh")} == {
            State.VERIFIED
        }
        if not ahead or run(world.pin("anh")) is not None:
            continue
        killed += 1
        # An enforcing app sends who has no pin home at once, where by now they find what was copied.
        world.put("VN", "people", "anh", "anh-1", b"newer")
        world.put("VN", "people", "anh", "anh-2", None)
        run(world.pins.put(Pin(digest("anh"), "VN", (), "a" * 32, "first_write", "p", 1, 1)))
        moved = run(world.run(["anh", "binh"]))
        assert len(moved.home) == 2, f"killed at {step}"
        left = {("people", "anh-1"): b"newer", ("uploads", "anh-3"): b"c"}
        assert world.lies("VN", "anh") == left, (
            f"killed at {step}: what they changed is changed, what they deleted is gone"
        )
        assert world.lies("SG", "anh") == {}
    assert killed > 0


def test_a_writer_that_comes_after_the_pin_has_turned_is_copied_once_more() -> None:
    world = filled()
    world.writers.append(("anh", "people", "anh-1", b"late"))
    waits = iter([0, 1])

    async def only_the_second(_: float) -> None:
        if next(waits) == 1:
            await MoveWorld.drained(world, 0.0)

    world.drained = only_the_second  # type: ignore[method-assign]
    moved = run(world.run(["anh"]))
    assert len(moved.again) == 1
    pin = run(world.pin("anh"))
    assert pin is not None
    assert pin.moving == "SG", "reads follow what was written last"
    world.drained = lambda _: MoveWorld.drained(world, 0.0)  # type: ignore[method-assign]
    assert len(run(world.run(["anh"])).home) == 1
    assert world.lies("VN", "anh") == world_of("anh") | {("people", "anh-1"): b"late"}
    assert world.lies("SG", "anh") == {}


def test_what_a_subject_left_behind_is_copied_beside_what_they_have_at_home() -> None:
    world = filled()
    run(world.run(["anh"]))
    world.put("SG", "people", "anh", "anh-8", b"found later")
    world.put("VN", "people", "anh", "anh-1", b"changed at home")
    moved = run(world.run(["anh"]))
    assert len(moved.home) == 1
    assert world.lies("VN", "anh") == world_of("anh") | {
        ("people", "anh-1"): b"changed at home",
        ("people", "anh-8"): b"found later",
    }
    assert world.lies("SG", "anh") == {}


def test_a_writer_that_outlives_the_killed_move_is_copied_too() -> None:
    for step in range(1, steps() + 1):
        world = killed_at(step)
        assert world is not None
        pin = run(world.pin("anh"))
        if pin is not None and pin.home == "VN" and pin.moving is None:
            continue  # the writer had its time before the pin turned
        world.put("SG", "people", "anh", "anh-1", b"slow")
        for _ in range(2):
            moved = run(world.run(["anh", "binh"]))
            assert not moved.conflict, f"killed at {step}: a copy of ours was taken for somebody's"
        assert world.lies("VN", "anh") == world_of("anh") | {("people", "anh-1"): b"slow"}
        assert world.lies("SG", "anh") == {}
