"""The worker that makes copies in the background: every store goes on, and every outbox has its turn."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from residency.adapters import copies_worker
from residency.adapters.copies_worker import CopiesWorker, StoreCopies
from residency.storage.outbox import Note
from tests.copies_memory import CopiesWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """It works on the loop that serves, where that is asyncio's."""
    return "asyncio"


def store_of(world: CopiesWorld, name: str = "people") -> StoreCopies:
    return StoreCopies(name, tuple(world.copiers.values()), (world.target,), world.deciding)


async def test_an_outbox_that_is_never_empty_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies_worker, "_TURN", 0.02)
    world = CopiesWorld()
    for who, home, place in (("an", "vn", "VN"), ("binh", "jp", "JP")):
        await world.settle(who, place, covered=False)
        world.write(home, who, f"{who}1", b"row")
    busy: Any = world.outboxes["vn"]
    done, rounds = busy.done, 0

    async def once_more(notes: Sequence[Note]) -> None:
        """Somebody writes whenever something is copied."""
        nonlocal rounds
        await done(notes)
        await asyncio.sleep(0)
        busy.noted(("people", "an1"))
        rounds += 1

    busy.done = once_more
    worker = CopiesWorker([store_of(world)], "us")
    worker.start()
    try:
        async with asyncio.timeout(20):
            while "binh1" not in world.lies("sg") or rounds < 2:  # noqa: ASYNC110 - sinks tell nobody
                await asyncio.sleep(0.01)
    finally:
        await worker.stop()
    assert busy.rows, "the one that is never empty was not waited for"


async def test_a_store_that_stands_still_does_not_keep_another_waiting() -> None:
    still, world = CopiesWorld(), CopiesWorld()
    hung: Any = still.outboxes["vn"]
    asked = asyncio.Event()

    async def never(limit: int) -> Sequence[Note]:
        asked.set()
        await asyncio.Event().wait()
        return ()

    hung.take = never
    await world.settle("an", "VN", covered=False)
    world.write("vn", "an", "an1", b"row")
    running = asyncio.create_task(CopiesWorker([store_of(still, "files"), store_of(world)], "us").run())
    async with asyncio.timeout(20):
        await asked.wait()
        while "an1" not in world.lies("sg"):  # noqa: ASYNC110 - sinks tell nobody
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait((running,))
    assert running.cancelled()


async def test_copies_are_looked_through_in_turns_and_by_one_worker_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies_worker, "_TURN", 0.0)
    world = CopiesWorld()
    seen: list[str] = []
    subjects = world.at["sg"].subjects

    async def looked(*, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        seen.append(after)
        return await subjects(after=after, limit=1)

    world.at["sg"].subjects = looked  # type: ignore[method-assign]
    for who in ("an", "binh"):
        await world.settle(who, "VN")
        world.write("vn", who, f"{who}1", b"row")
    await world.copy()
    seen.clear()
    store = store_of(world)
    us, they = CopiesWorker([store], "us"), CopiesWorker([store_of(world)], "they")
    await us._walk(store, world.target)
    assert seen == [""], "the rest is left for the next turn"
    await they._walk(store, world.target)
    assert seen == [""], "who looks through them already is left to it"
    world.lose("vn", "binh1")
    lost: list[tuple[str, int]] = []
    store.lost = lambda sink, count: lost.append((sink, count))
    await us._walk(store, world.target)
    await us._walk(store, world.target)
    assert (seen, lost) == (["", "an", "binh"], [("vn", 1)])
    await world.copy()
    assert world.lies("sg") == {"an1": b"row"}
    await us._walk(store, world.target)
    assert len(seen) == 3, "nothing has changed, and no hour is over"
    plain = dataclasses.replace(world.target, withdraw=False)
    await CopiesWorker([store], "new")._walk(store, plain)
    assert len(seen) == 3, "somebody has looked within the hour"
    world.deployed.clock.advance(3_700_000_000)
    await CopiesWorker([store], "new")._walk(store, plain)
    assert len(seen) == 4
