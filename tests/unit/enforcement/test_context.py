"""current(): the decision of the request that the code runs in, in whichever task or thread, and an error elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.responses import StreamingResponse

from residency.enforcement.context import about, about_many, current, enter, identify, leave
from residency.errors import NoDecision, UsageError
from residency.model import SubjectId

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


async def _with_about() -> AsyncIterator[str]:
    async with about("tan"):
        yield "a name"


async def _with_stack() -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(about("tan"))
        yield "a name"


async def _with_group() -> AsyncIterator[str]:
    async with (await about_many(["tan"])).groups[0]:
        yield "a name"


@pytest.mark.parametrize("names", [_with_about, _with_stack, _with_group])
async def test_a_generator_gives_nobody_else_s_decision_to_who_iterates_over_it(world: Any, names: Any) -> None:
    with world.request(who="an") as here:
        with pytest.raises(UsageError, match="inside an async generator"):
            await anext(names())
        assert current() is here


async def test_a_dependency_that_is_a_generator_may_and_a_body_may_and_a_coroutine_in_a_generator_may(
    world: Any,
) -> None:
    async def read() -> str:
        async with about("tan") as tan:
            return "" if tan.subject is None else tan.subject.value

    async def names() -> AsyncIterator[str]:
        yield await read()

    with world.request(who="an") as here:
        async with asynccontextmanager(_with_about)():
            assert current().subject == SubjectId("tan")
        assert [name async for name in names()] == ["tan"]
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            await anyio.sleep_forever()

        await StreamingResponse(_with_about())({"type": "http", "method": "GET"}, receive, send)
        assert b"".join(message.get("body", b"") for message in sent) == b"a name"
        assert current() is here
