"""httpx before a handle: what of a client's request reaches it, what of the answer comes back, in tasks and threads."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
import httpx
import pytest

from residency.adapters.service_client import BlockingServiceTransport, ServiceTransport, base_url, open_client
from residency.errors import Refused, UsageError
from residency.storage.services import ServiceHandle
from tests.service_world import OK, Answer, ServiceWorld, said

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> ServiceWorld:
    """A world as it stands."""
    return ServiceWorld(tmp_path)


def blocking(handle: ServiceHandle) -> httpx.Client:
    """An `httpx.Client` of a handle."""
    return httpx.Client(transport=BlockingServiceTransport("llm", lambda: handle), base_url=base_url("llm"))


async def test_path_query_headers_and_body_reach_the_handle(world: ServiceWorld) -> None:
    with world.request() as llm:
        async with open_client(llm) as client:
            await client.put("/a/b", params={"q": "x y"}, headers={"x-mine": "1"}, json={"a": 1})
    sent, body = world.vn.sent[0]
    assert (sent.method, sent.target, body) == ("PUT", "a/b?q=x+y", b'{"a":1}')
    assert (world.vn.header(b"x-mine"), world.vn.header(b"host")) == (b"1", b"llm-vn")


async def test_the_answer_is_httpxs_own_and_compressed_bodies_are_unpacked(world: ServiceWorld) -> None:
    packed = gzip.compress(b'{"a": 1}')
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))
    world.vn.answers["chat"] = lambda: (201, headers, said(packed[:5], packed[5:]))
    with world.request() as llm:
        async with open_client(llm) as client:
            answer = await client.get("chat")
    assert (answer.status_code, answer.json(), answer.reason_phrase) == (201, {"a": 1}, "Created")
    assert world.acts() == [("llm-vn", "process", "committed")]


@pytest.mark.parametrize(
    "url",
    [
        "https://llm/chat", "http://llm:8000/chat", "http://user@llm/chat", "http://llm.example/chat",
        "https://api.openai.com/v1/chat", "http://127.0.0.3/chat", "http://people/x", "ws://llm/chat",
    ],
)  # fmt: skip
async def test_a_url_outside_the_store_is_refused_before_any_act(world: ServiceWorld, url: str) -> None:
    with world.request() as llm:
        async with open_client(llm) as client:
            with pytest.raises(UsageError, match="reaches http://llm/ and what is below it") as caught:
                await client.get(url)
    assert "example" not in str(caught.value)
    assert world.acts() == []


async def test_a_client_that_follows_redirects_itself_is_given_none_to_follow(world: ServiceWorld) -> None:
    def elsewhere() -> Answer:
        return 302, ((b"location", b"https://evil.example/"),), said()

    def same() -> Answer:
        return 302, ((b"location", b"there"),), said()

    world.vn.answers |= {"chat": same, "out": elsewhere}
    with world.request() as llm:
        transport = ServiceTransport("llm", lambda: llm)
        async with httpx.AsyncClient(transport=transport, base_url="http://llm", follow_redirects=True) as client:
            answer = await client.get("/chat")
            assert (answer.status_code, answer.history) == (200, [])
            with pytest.raises(Exception, match="'llm-vn' redirects to where store 'llm' has no sink"):
                await client.get("/out")


async def test_no_cookie_of_one_person_is_sent_for_the_next_through_one_client(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = lambda: (200, ((b"set-cookie", b"who=an; Path=/"), *OK), said(b"ok"))
    handles: list[ServiceHandle] = []
    async with httpx.AsyncClient(
        transport=ServiceTransport("llm", lambda: handles[-1]), base_url="http://llm"
    ) as client:
        for who in ("an", "binh"):
            with world.request(who=who) as llm:
                handles.append(llm)
                answer = await client.get("/chat")
                assert not answer.cookies
        assert not client.cookies
    assert world.vn.header(b"cookie") is None


async def test_a_stream_is_read_as_it_comes(world: ServiceWorld) -> None:
    world.vn.answers["chat"] = lambda: (
        200,
        ((b"content-type", b"text/event-stream"),),
        said(b"data: a\n", b"data: b\n"),
    )
    with world.request() as llm:
        async with open_client(llm) as client, client.stream("POST", "chat") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "data: a"
            assert world.acts()[0][2] is None
            assert [line async for line in lines] == ["data: b"]
    assert world.acts() == [("llm-vn", "process", "committed")]


async def test_a_body_that_is_streamed_out_is_sent_once(world: ServiceWorld) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"xin "
        yield b"chao"

    with world.request() as llm:
        async with open_client(llm) as client:
            await client.post("chat", content=pieces())
            await client.post("chat", files={"f": b"0123"})
    assert world.vn.sent[0][1] == b"xin chao"
    assert b"0123" in world.vn.sent[1][1]


async def test_a_refusal_reaches_the_app_as_it_is(world: ServiceWorld) -> None:
    with world.request() as llm:
        world.stop("llm-vn", "llm-sg")
        async with open_client(llm) as client:
            with pytest.raises(Refused) as caught:
                await client.get("chat")
    assert caught.value.reason == "stop_order"


async def test_a_thread_of_a_sync_endpoint_calls_as_a_task_does(world: ServiceWorld) -> None:
    world.vn.answers["stream"] = lambda: (200, (), said(b"a", b"b"))

    def endpoint(llm: ServiceHandle) -> None:
        with blocking(llm) as client:
            assert client.post("/chat", json={}).text == "ok"
            with client.stream("GET", "/stream") as answer:
                assert list(answer.iter_raw()) == [b"a", b"b"]
            with client.stream("GET", "/stream") as answer:
                assert next(answer.iter_raw()) == b"a"
            assert client.post("/chat", content=iter([b"1", b"2"])).text == "ok"
            world.stop("llm-vn", "llm-sg")
            with pytest.raises(Refused):
                client.get("/chat")

    with world.request() as llm:
        await anyio.to_thread.run_sync(endpoint, llm)
    assert world.vn.sent[-1][1] == b"12"
    assert [act[2] for act in world.acts()] == ["committed"] * 4


async def test_a_blocking_client_on_the_event_loop_is_told_where_it_works(world: ServiceWorld) -> None:
    with world.request() as llm, blocking(llm) as client, pytest.raises(UsageError, match="not on the event loop"):
        client.get("/chat")
    assert world.acts() == []
