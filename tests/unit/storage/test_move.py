"""Batches are as large as what people have lets them be, and nothing is changed by a mover that lost its turn."""

from __future__ import annotations

import pytest

from residency.errors import UsageError
from residency.storage.move import Going, Leg, Mover
from residency.storage.parcels_located import located_ends
from tests.move_world import MoveWorld, digest, run


async def _wait(_: float) -> None:
    """Nobody is waited for."""


def test_a_batch_is_small_at_first_and_then_as_many_as_the_bytes_allow() -> None:
    world = MoveWorld(("people",))
    for number in range(10):
        world.put("SG", "people", f"p{number}", f"k{number}", b"x" * 1000)
    mover = Mover(world.homes, world.journal, _wait)
    assert mover.fitting(20_000, 5000) == 200
    assert mover.fitting(20_000, 50) == 50, "never more than was asked for"
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
