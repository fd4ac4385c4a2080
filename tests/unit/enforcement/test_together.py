"""One piece of work serves all who wait; who came too late for it is served by the next; no failure goes unheard."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from residency.enforcement.together import Together

pytestmark = pytest.mark.anyio


class Counter:
    """Work that serves whatever was asked for before it began."""

    def __init__(self) -> None:
        self.asked = self.served = self.runs = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fails = 0
        self.together = Together(self.work)

    def work(self) -> None:
        """One run of it."""
        self.runs += 1
        reached = self.asked
        assert self.gate.wait(10)
        if self.fails:
            self.fails -= 1
            raise OSError("disk")
        self.served = reached

    async def wait(self) -> None:
        """Ask for something and wait until it is served."""
        self.asked += 1
        mine = self.asked
        await self.together.until(lambda: self.served >= mine)
        assert self.served >= mine


async def test_all_who_are_ready_at_once_are_served_by_one_run() -> None:
    counter = Counter()
    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(counter.wait)
    assert (counter.served, counter.runs) == (200, 1)


async def test_the_first_of_a_turn_may_be_cancelled_before_it_hands_the_others_over() -> None:
    counter = Counter()
    impatient = asyncio.ensure_future(counter.wait())
    others = [asyncio.ensure_future(counter.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    impatient.cancel()
    with anyio.fail_after(10):
        await asyncio.gather(*others)
    assert impatient.cancelled()
    assert (counter.served, counter.runs) == (4, 1)


async def test_where_no_thread_can_be_started_all_who_ask_are_told_and_the_next_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    counter = Counter()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with anyio.fail_after(10):
            told = await asyncio.gather(*(counter.wait() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in told] == [RuntimeError] * 3
    with anyio.fail_after(10):
        await counter.wait()
    assert counter.served == 4


async def test_what_is_served_already_asks_for_no_run() -> None:
    counter = Counter()
    await counter.together.until(lambda: True)
    assert counter.runs == 0


async def test_who_comes_while_work_is_under_way_is_served_by_the_next_run() -> None:
    counter = Counter()
    counter.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(counter.wait)
        await anyio.wait_all_tasks_blocked()
        await _until(lambda: counter.runs == 1)
        for _ in range(20):
            group.start_soon(counter.wait)
        await anyio.wait_all_tasks_blocked()
        counter.gate.set()
    assert (counter.served, counter.runs) == (21, 2)


async def test_a_run_that_fails_is_told_to_its_leader_and_the_others_try_again() -> None:
    counter = Counter()
    counter.fails = 1
    failed = 0

    async def one() -> None:
        nonlocal failed
        try:
            await counter.wait()
        except OSError:
            failed += 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
    assert (failed, counter.served, counter.runs) == (1, 10, 2)


async def test_where_every_run_fails_everybody_is_told() -> None:
    counter = Counter()
    counter.fails = 10
    failed = 0

    async def one() -> None:
        nonlocal failed
        with pytest.raises(OSError, match="disk"):
            await counter.wait()
        failed += 1

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
    assert (failed, counter.served) == (10, 0)


async def test_a_leader_that_is_cancelled_leaves_the_others_served() -> None:
    counter = Counter()
    counter.gate.clear()
    async with anyio.create_task_group() as others, anyio.create_task_group() as first:
        first.start_soon(counter.wait)
        await _until(lambda: counter.runs == 1)
        others.start_soon(counter.wait)
        await anyio.wait_all_tasks_blocked()
        first.cancel_scope.cancel()
        counter.gate.set()
    assert counter.served == 2


async def test_of_those_who_wait_some_may_be_cancelled_and_the_others_are_served() -> None:
    counter = Counter()
    counter.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(counter.wait)
        await _until(lambda: counter.runs == 1)
        async with anyio.create_task_group() as impatient:
            for _ in range(5):
                impatient.start_soon(counter.wait)
            await anyio.wait_all_tasks_blocked()
            impatient.cancel_scope.cancel()
        for _ in range(5):
            group.start_soon(counter.wait)
        await anyio.wait_all_tasks_blocked()
        counter.gate.set()
    assert (counter.served, counter.runs) == (11, 2)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_all_who_wait_in_either_kind_of_loop_are_served(backend: str) -> None:
    async def wait() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(counter.wait)
            await _until(lambda: counter.runs == 1)
            for _ in range(20):
                group.start_soon(counter.wait)
            await anyio.wait_all_tasks_blocked()
            counter.gate.set()

    counter = Counter()
    counter.gate.clear()
    anyio.run(wait, backend=backend)
    assert (counter.served, counter.runs) == (21, 2)


def test_one_object_serves_loops_that_follow_each_other_and_loops_of_either_kind() -> None:
    async def several() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(counter.wait)

    counter = Counter()
    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(several, backend=backend)
    assert counter.served == 9


async def test_threads_that_all_wait_for_the_loop_do_not_hold_the_work_up() -> None:
    counter = Counter()
    limiter = anyio.to_thread.current_default_thread_limiter()

    def handler() -> None:
        anyio.from_thread.run(counter.wait)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(int(limiter.total_tokens)):
                group.start_soon(anyio.to_thread.run_sync, handler)
    assert counter.served == limiter.total_tokens


async def test_work_that_was_wanted_soon_serves_who_asks_later_without_another_run() -> None:
    counter = Counter()
    counter.asked = 1
    counter.together.soon()
    await _until(lambda: counter.served == 1)
    await counter.together.until(lambda: counter.served >= 1)
    assert counter.runs == 1


async def test_who_asks_while_work_wanted_soon_is_under_way_is_served_by_it() -> None:
    counter = Counter()
    counter.gate.clear()
    counter.asked = 1
    counter.together.soon()
    await _until(lambda: counter.runs == 1)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(counter.together.until, lambda: counter.served >= 1)
        await anyio.wait_all_tasks_blocked()
        counter.gate.set()
    assert (counter.served, counter.runs) == (1, 1)


async def test_work_that_was_wanted_soon_and_failed_is_done_again_for_who_asks() -> None:
    counter = Counter()
    counter.fails = 2
    counter.asked = 1
    counter.together.soon()
    await _until(lambda: counter.fails == 1)
    with pytest.raises(OSError, match="disk"):
        await counter.together.until(lambda: counter.served >= 1)
    await counter.together.until(lambda: counter.served >= 1)
    assert counter.runs == 3


async def test_the_thread_goes_where_nobody_asks_and_comes_back() -> None:
    counter = Counter()
    await counter.wait()
    first = counter.together._thread
    assert first is not None
    await _until(lambda: not first.is_alive())
    assert counter.together._thread is None
    await counter.wait()
    assert counter.served == 2


async def test_a_child_of_a_fork_has_a_thread_of_its_own() -> None:
    counter = Counter()
    dead = threading.Thread(target=str)
    dead.start()
    dead.join()
    counter.together._thread, counter.together._busy = dead, True  # as a fork leaves it
    counter.together._process = 0
    with anyio.fail_after(10):
        await counter.wait()
    assert counter.served == 1


async def _until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not reached():  # noqa: ASYNC110 - a thread tells of it by a number
            await anyio.sleep(0.001)
