"""While one is inside nobody copies; what is away is told or passed over; leases are given back and kept."""

from __future__ import annotations

import anyio
import pytest

from residency.adapters.outbox_memory import OutboxMemory
from residency.errors import SinkUnavailable
from residency.storage import still as module
from residency.storage.still import still

pytestmark = pytest.mark.anyio


async def free(outbox: OutboxMemory) -> bool:
    """Whether a worker may have it."""
    if not await outbox.lease("a worker", 30):
        return False
    await outbox.leave("a worker")
    return True


async def test_all_leases_are_held_inside_and_given_back() -> None:
    vn, jp = OutboxMemory("vn", lambda: 0), OutboxMemory("jp", lambda: 0)
    async with still([("vn", vn), ("jp", jp)], "us"):
        assert [await free(vn), await free(jp)] == [False, False]
    assert [await free(vn), await free(jp)] == [True, True]
    with pytest.raises(ValueError, match="of its own"):
        async with still([("vn", vn)], "us"):
            raise ValueError("of its own")
    assert await free(vn)


async def test_a_worker_is_waited_for_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    vn, got = OutboxMemory("vn", lambda: 0), list[str]()
    assert await vn.lease("a worker", 30)

    async def wait() -> None:
        async with still([("vn", vn)], "us"):
            got.append("us")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.05)
        assert got == []
        await vn.leave("a worker")
    assert got == ["us"]
    assert await vn.lease("a worker", 30)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    with pytest.raises(SinkUnavailable, match="does not let go"):
        await wait()


async def test_a_home_that_is_away_holds_up_nobody_who_does_not_need_it() -> None:
    vn, jp = OutboxMemory("vn", lambda: 0), OutboxMemory("jp", lambda: 0)
    jp.away = True
    async with still([("jp", jp), ("vn", vn)], "us", needed="vn"):
        assert not await free(vn)
    for needed in (None, "jp"):
        with pytest.raises(SinkUnavailable):
            async with still([("vn", vn), ("jp", jp)], "us", needed=needed):
                raise AssertionError("inside")
        assert await free(vn)


async def test_who_loses_a_lease_is_told_before_more_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEASE", 0.03)
    now = [0]
    vn = OutboxMemory("vn", lambda: now[0])

    async def slow() -> None:
        async with still([("vn", vn)], "us"):
            now[0] += 60_000_000
            assert await vn.lease("a worker", 30)
            await anyio.sleep(5)

    with pytest.raises(SinkUnavailable, match="taken by another"):
        await slow()
    assert not await vn.lease("another", 30), "it is the worker's"
