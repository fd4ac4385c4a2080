"""A person is moved while they use the app: no read is empty, no write is lost, and every read abroad is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from residency.enforcement import moving
from residency.enforcement.moving import GRACE, OPEN_BY
from residency.errors import Refused
from residency.model import Pin
from tests.object_world import SINGAPORE, ObjectWorld

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Either: what is moved here lies in files."""
    return str(request.param)


async def pinned(world: ObjectWorld, home: str, moving: str | None = None, version: int = 1) -> Pin:
    """Where the data of `an` lies from now on."""
    with world.request("GET") as handle:
        digest = handle._current.subject_digest
    assert digest is not None
    pin = Pin(digest, home, (), "ab" * 16, "move", "0" * 64, 1, version, moving)
    await world.pins.put(pin)
    return pin


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_reads_follow_the_data_and_writes_wait_until_it_is_home(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "WAIT", 0.0)
    world = ObjectWorld(tmp_path, mode)
    await world.stores.start()
    await world.sg.put("cv", b"mine")
    pin = await pinned(world, "VN", moving="SG")
    with world.request("GET") as handle:
        assert await handle.get("cv") == b"mine", "not from a home that has nothing yet"
        assert handle.sink_name == "files-sg"
    intent, outcome = world.intents[-1]
    assert (intent.sink, intent.note, outcome) == ("files-sg", "moving", "committed"), "a transfer that is recorded"
    with world.request("POST") as handle, pytest.raises(Refused) as refused:
        await handle.put("cv", b"new")
    assert refused.value.reason == "subject_moving"
    assert await world.sg.get("cv") == b"mine"
    assert await world.vn.get("cv") is None
    await world.vn.put("cv", b"mine")
    await world.pins.put(replace(pin, moving=None, version=2))
    await world.sg.delete("cv")
    with world.request("GET") as handle:
        assert await handle.get("cv") == b"mine"
    with world.request("POST") as handle:
        await handle.put("cv", b"new")
    assert await world.vn.get("cv") == b"new"
    assert await world.sg.get("cv") is None


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_who_began_before_the_pin_moved_ends_in_time_or_is_refused(tmp_path: Path, mode: str) -> None:
    world = ObjectWorld(tmp_path, mode)
    await world.stores.start()
    address = SINGAPORE
    with world.request("POST", address) as handle:
        await handle.put("cv", b"mine")
        pin = handle._current.pin
        assert pin is not None
        assert pin.home == "SG"
        act, other, third = handle.begin(), handle.begin(), handle.begin()
        now = handle._current.point.clock.now()
        on_its_way = replace(pin, home="VN", moving="SG", set_by="move", version=2, at=now)
        await world.pins.put(on_its_way)
        act.opened = now  # a transaction, which the mover sees
        await act.confirm()
        act.outcome("committed")
        other.opened = now + OPEN_BY + 1
        for late in (other, third):
            with pytest.raises(Refused) as refused:
                await late.confirm()
            assert refused.value.reason == "subject_moving"
    with world.request("GET", address) as handle:
        act, other = handle.begin(), handle.begin()
        assert act.sink == "files-sg"
        await world.pins.put(replace(on_its_way, moving=None, version=3, at=handle._current.point.clock.now()))
        await act.confirm()
        act.outcome("committed")
        await world.pins.put(replace(on_its_way, moving=None, version=4, at=now - GRACE))
        with pytest.raises(Refused) as refused:
            await other.confirm()
        assert refused.value.reason == "facts_moved", "what was there may be gone"


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_a_write_that_meets_a_move_waits_until_the_data_is_home(tmp_path: Path, mode: str) -> None:
    world = ObjectWorld(tmp_path, mode)
    await world.stores.start()
    pin = await pinned(world, "VN", moving="SG")

    async def arrive() -> None:
        await anyio.sleep(0.05)
        await world.pins.put(replace(pin, moving=None, version=2))

    with world.request("POST") as handle:
        async with anyio.create_task_group() as group:
            group.start_soon(arrive)
            await handle.put("cv", b"new")
    assert await world.vn.get("cv") == b"new"
    assert await world.sg.get("cv") is None
    acts = [outcome for entry, outcome in world.intents if entry.sink is not None]  # the pin notes whose law it is, too
    assert acts == ["committed"], "nothing was refused meanwhile"


async def test_an_order_against_a_sink_holds_while_a_subject_moves_from_it(tmp_path: Path) -> None:
    world = ObjectWorld(tmp_path)
    await world.stores.start()
    await pinned(world, "VN", moving="SG")
    world.stop("files-sg")
    with world.request("GET") as handle, pytest.raises(Refused) as refused:
        await handle.get("cv")
    assert refused.value.reason == "stop_order"
