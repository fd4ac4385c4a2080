"""Hundreds of clients that hang up in the middle, over real sockets: what they asked for ends, and no connection of
theirs, or of ours on their behalf, stays behind."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from residency import ResidencyMiddleware, current
from tests.open_sockets import CLOSE_WAIT, open_to
from tests.servers import eventually
from tests.world import HANOI, SINGAPORE, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  llm: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "SERVICE_URL"}
stores: {people: [sg], llm: [llm]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
signals: {client_address: {strategy: rightmost_trusted_range, trusted: [127.0.0.0/8]}}
hand_over: {VN: {url: "HOME_URL", how: proxy}}
activities:
  - {route: "GET /people", subject: none, data: [personal], store: people}
  - {route: "POST /people", subject: none, data: [personal], store: people}
  - {route: "POST /stream", subject: none, data: [personal], operation: process, http: llm}
  - {route: "POST /hurried", subject: none, data: [personal], operation: process, http: llm}
"""


class Slow:
    """What is asked: it thinks for a while, and answers a piece at a time. `under_way` are the requests in it, `came`
    those that ever were."""

    def __init__(self) -> None:
        self.under_way = self.came = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI app."""
        self.under_way += 1
        self.came += 1
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                more = message.get("more_body", False)
            gone = asyncio.ensure_future(receive())
            try:
                if b"never" in scope["query_string"]:
                    await gone
                    return
                await asyncio.sleep(0.005)
                await send({"type": "http.response.start", "status": 200, "headers": []})
                for _ in range(100_000 if b"endless" in scope["query_string"] else 3):
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": b"x" * 1_000, "more_body": True})
                    await asyncio.sleep(0.002)
                await send({"type": "http.response.body", "body": b""})
            finally:
                gone.cancel()
        finally:
            self.under_way -= 1


@contextmanager
def served(app: Any, host: str) -> Iterator[int]:
    """The port at which uvicorn serves an app, in a thread."""
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=0, log_level="critical", proxy_headers=False, timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started, what="the server to start")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


async def stream(request: Request) -> StreamingResponse:
    """What the service says, as it comes; Starlette cancels it where the client hangs up."""
    client = current().http("llm")

    async def pieces() -> AsyncIterator[bytes]:
        async with client as llm, llm.stream("POST", f"/x?{request.url.query}", content=b"xin") as answer:
            async for piece in answer.aiter_raw():
                yield piece

    return StreamingResponse(pieces())


async def hurried(request: Request) -> PlainTextResponse:
    """As `stream`, for as long as the handler has the patience, which asyncio ends in its own way."""
    try:
        async with asyncio.timeout(float(request.headers["x-patience"])), current().http("llm") as llm:
            answer = await llm.post(f"/x?{request.url.query}", content=b"xin")
            return PlainTextResponse(answer.text)
    except TimeoutError:
        return PlainTextResponse("no patience", 504)


class Front:
    """An instance abroad, what is behind it, and the ports of all of them."""

    def __init__(self, port: int, home: int, service: int, slow: Slow) -> None:
        self.port, self.home, self.service, self.slow = port, home, service, slow
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)

    def ask(self, method: str, path: str, address: str, **headers: str) -> tuple[int, int]:
        """The status and the length of an answer that somebody waits for."""
        answer = self.client.request(method, path, headers={"x-forwarded-for": address, **headers})
        return answer.status_code, len(answer.content)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    slow = Slow()
    with served(slow, "127.0.0.2") as home, served(slow, "127.0.0.2") as service:
        urls = [("HOME_URL", f"http://127.0.0.2:{home}/"), ("SERVICE_URL", f"http://127.0.0.2:{service}/v1/")]
        app = Starlette(
            routes=[Route("/stream", stream, methods=["POST"]), Route("/hurried", hurried, methods=["POST"])]
        )
        app.add_middleware(ResidencyMiddleware, policy=write_deployment(tmp_path, DEPLOYMENT, replace=urls))
        with served(app, "127.0.0.1") as port:
            made = Front(port, home, service, slow)
            with made.client:
                yield made


def hang_up(port: int, times: int, message: Callable[[random.Random], bytes]) -> None:
    """That many clients, 40 at a time: each sends a part of a request, or all of it, reads as much as chance will have
    it, and is gone: some close, some reset."""
    chance = random.Random(11)

    async def one(many: asyncio.Semaphore) -> None:
        async with many:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            said = message(chance)
            writer.write(said if chance.random() < 0.85 else said[: chance.randrange(1, len(said))])
            how = chance.random()
            if how < 0.85:
                await asyncio.sleep(chance.random() * 0.2)
            if how < 0.3:
                with suppress(TimeoutError, OSError):
                    await asyncio.wait_for(reader.read(chance.choice((1, 200, 4_000))), 0.2)
            if chance.random() < 0.5:
                writer.transport.abort()
            else:
                writer.close()

    async def all_of_them() -> None:
        many = asyncio.Semaphore(40)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(times):
                tasks.create_task(one(many))

    asyncio.run(all_of_them())


def request(chance: random.Random, path: str, address: str, *more: str) -> bytes:
    """The bytes of a request."""
    body = b"x" * chance.choice((0, 10, 100_000))
    query = chance.choice(("", "?endless", "?never"))
    lines = (f"POST {path}{query} HTTP/1.1", "host: front", f"x-forwarded-for: {address}", *more)
    return "\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode() + body


def test_requests_that_are_handed_over_end_with_their_clients_and_leave_no_socket(front: Front) -> None:
    hang_up(front.port, 400, lambda chance: request(chance, "/people", HANOI))
    eventually(lambda: open_to(front.port) == [], what="every client's socket to be closed")
    eventually(lambda: open_to(front.home) == [], what="every socket towards home to be closed")
    eventually(lambda: front.slow.under_way == 0, what="every request at home to end")
    assert front.slow.came > 0, "as many as chance and this machine let through"
    assert front.ask("POST", "/people", HANOI) == (200, 3_000)


def test_calls_of_a_service_end_with_their_clients_and_the_next_hundred_are_served(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_http.sink._CONNECTIONS", 8)  # so that many wait for one

    def message(chance: random.Random) -> bytes:
        if chance.random() < 0.5:
            return request(chance, "/stream", SINGAPORE)
        return request(chance, "/hurried", SINGAPORE, f"x-patience: {chance.random() * 0.3:.4f}")

    hang_up(front.port, 400, message)
    eventually(lambda: open_to(front.port) == [], what="every client's socket to be closed")
    eventually(lambda: front.slow.under_way == 0, what="every call to end")
    assert front.slow.came > 0, "as many as chance and this machine let through"
    done: list[tuple[int, int]] = []
    threads = [
        threading.Thread(target=lambda: done.append(front.ask("POST", "/hurried", SINGAPORE, **{"x-patience": "60"})))
        for _ in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [(200, 3_000)] * 100

    def tidy() -> bool:
        # Idle ones are kept, and what was closed over there meanwhile is closed here at the next call.
        assert front.ask("POST", "/hurried", SINGAPORE, **{"x-patience": "60"}) == (200, 3_000)
        return CLOSE_WAIT not in open_to(front.service)

    eventually(tidy, what="what the service has closed to be closed here")
    assert len(open_to(front.service)) <= 8
