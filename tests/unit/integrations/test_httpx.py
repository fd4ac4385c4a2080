"""Clients that are made once, at import: each request asks for its own decision, and none is made without one."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

import residency
from residency.enforcement.context import current
from residency.errors import NoDecision, UnknownStore, UsageError
from residency.integrations.httpx import AsyncClient, BlockingTransport, Client, Transport
from tests.service_world import ServiceWorld
from tests.world import HANOI, SINGAPORE

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> ServiceWorld:
    """A world as it stands."""
    return ServiceWorld(tmp_path)


async def test_one_client_serves_each_person_where_their_own_decision_says(world: ServiceWorld) -> None:
    async with AsyncClient("llm") as client:

        async def one(number: int) -> None:
            with world.request(address=HANOI if number % 2 else SINGAPORE, who=f"u{number}"):
                await client.post("/chat", content=("vn" if number % 2 else "sg"))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
    assert {body for _, body in world.vn.sent} == {b"vn"}
    assert {body for _, body in world.sg.sent} == {b"sg"}


async def test_an_sdk_that_takes_a_client_is_given_the_transport(world: ServiceWorld) -> None:
    async with httpx.AsyncClient(transport=Transport("llm"), base_url="http://llm/") as given:
        with world.request():
            await given.post("/chat/completions", headers={"Authorization": "Bearer of-the-app"}, json={})
    assert world.vn.sent[0][0].target == "chat/completions"
    assert world.vn.header(b"authorization") is None  # the store has several sinks: each brings its own


async def test_outside_a_request_nothing_is_sent(world: ServiceWorld) -> None:
    async with AsyncClient("llm") as client:
        with pytest.raises(NoDecision):
            await client.get("/chat")
    with Client("llm") as sync, pytest.raises(NoDecision):
        sync.get("/chat")


async def test_a_store_that_the_activity_does_not_name_or_that_is_no_service_is_an_error(world: ServiceWorld) -> None:
    with world.request():
        async with AsyncClient("one") as client:
            with pytest.raises(UnknownStore):
                await client.get("/chat")
    with world.request("/people"):
        assert current().http("people") is not None
        async with AsyncClient("people") as client:
            with pytest.raises(UsageError, match="'people' is no store of services"):
                await client.get("/chat")


async def test_a_blocking_client_works_in_the_threads_of_sync_endpoints(world: ServiceWorld) -> None:
    client = Client("llm")
    other = httpx.Client(transport=BlockingTransport("llm"), base_url="http://llm")

    def endpoint() -> None:
        with client, other:
            assert client.post("/chat").text == other.post("/chat").text == "ok"

    with world.request():
        await anyio.to_thread.run_sync(endpoint)
    assert len(world.acts()) == 2


@pytest.mark.parametrize(
    "option", [{"transport": None}, {"proxy": "http://127.0.0.1:1"}, {"mounts": {}}, {"verify": False}]
)
def test_what_would_go_around_the_store_is_not_taken(option: dict[str, object]) -> None:
    for make in (AsyncClient, Client):
        with pytest.raises(UsageError, match=f"takes no '{next(iter(option))}'"):
            make("llm", **option)


def test_other_options_are_httpxs_own() -> None:
    client = AsyncClient("llm", timeout=30, headers={"x-mine": "1"}, base_url="http://llm/v2")
    assert (client.timeout.read, client.headers["x-mine"], str(client.base_url)) == (30, "1", "http://llm/v2/")
    assert residency.http.AsyncClient is AsyncClient
