"""current(): the decision of the request that the code runs in, in whichever task or thread, and an error elsewhere."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from residency.enforcement.context import about, current, enter, identify, leave
from residency.errors import NoDecision

pytestmark = pytest.mark.anyio


async def test_outside_a_request_asking_is_an_error_for_each_of_the_three() -> None:
    with pytest.raises(NoDecision):
        current()
    with pytest.raises(NoDecision):
        await identify("an")
    with pytest.raises(NoDecision):
        async with about("an"):
            pytest.fail("nothing happens inside")


async def test_two_requests_of_one_task_keep_their_own(world: Any) -> None:
    first, second = world.admit(who="an"), world.admit(who="binh")
    outer = enter(first)
    inner = enter(second)
    assert current() is second
    leave(inner)
    assert current() is first
    nothing = enter(None)
    with pytest.raises(NoDecision):
        current()
    leave(nothing)
    assert current() is first
    leave(outer)


async def test_tasks_and_threads_that_copy_the_context_see_the_right_one(world: Any) -> None:
    async def ask() -> object:
        await anyio.lowlevel.checkpoint()
        return current()

    with world.request(who="an") as here:
        task = asyncio.create_task(ask())
        found: list[object] = []

        async def collect() -> None:
            found.append(await ask())

        async with anyio.create_task_group() as group:
            group.start_soon(collect)
        assert found == [here]
        assert await anyio.to_thread.run_sync(current) is here
        assert await asyncio.to_thread(current) is here
        assert await asyncio.get_running_loop().run_in_executor(None, _asked) == "NoDecision"
    assert await task is here  # it was made inside the request, and may outlive it


def _asked() -> str:
    try:
        current()
    except NoDecision as error:
        return type(error).__name__
    return "a decision"


async def test_a_bare_thread_has_no_decision(world: Any) -> None:
    told: list[str] = []
    with world.request(who="an"):
        thread = threading.Thread(target=lambda: told.append(_asked()))
        thread.start()
        thread.join()
    assert told == ["NoDecision"]


async def test_identify_answers_the_newest_decision(world: Any) -> None:
    with world.request("POST", "/sign-up") as here:
        before = here.decision
        assert await identify("an", citizenship="VN") is here is current()
        assert here.decision is not before
