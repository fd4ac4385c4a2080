"""Connections that are kept: who is cancelled, at whatever moment and in whatever way, leaves no slot and no socket."""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import pytest

from residency.adapters.sink_http.pool import Pool
from tests.open_sockets import ESTABLISHED, open_to, until
from tests.services import VN_HOST, Asked, Raw, Service, certificate, raw

pytestmark = pytest.mark.anyio
BOUNDS = {"connect": 5.0, "read": 5.0, "write": 5.0}


@pytest.fixture
def anyio_backend() -> str:
    """One event loop; the contract suite of services has the other."""
    return "asyncio"


def pool_to(port: int, scheme: str = "http", **options: Any) -> Pool:
    """A pool of few connections."""
    settings = {"most": 5, "idle": 3, "expiry": 15.0, **options}
    tls = ssl.create_default_context() if scheme == "https" else None
    return Pool((scheme, VN_HOST, port), httpcore.AnyIOBackend(), tls, **settings)


def asks(port: int, path: str = "/v1/chat", scheme: str = "http") -> httpcore.Request:
    """One GET."""
    url = f"{scheme}://{VN_HOST}:{port}{path}"
    return httpcore.Request("GET", url, headers=[("Host", VN_HOST)], extensions={"timeout": BOUNDS})


async def whole(pool: Pool, port: int, path: str = "/v1/chat") -> bytes:
    """The body of one answer, which nobody closes."""
    return b"".join([piece async for piece in await pool.send(asks(port, path), 10.0)])


async def test_connections_are_used_again_up_to_as_many_as_are_kept(service: Service) -> None:
    pool = pool_to(service.port)
    for _ in range(3):
        assert b"/v1/chat" in await whole(pool, service.port)
    assert service.connections == 1
    held = [await pool.send(asks(service.port), 10.0) for _ in range(5)]
    for reply in held:
        await reply.aclose()
        await reply.aclose()
    assert len(open_to(service.port)) <= 3
    await pool.aclose()
    await pool.aclose()
    assert open_to(service.port) == []


async def test_who_finds_none_free_waits_for_as_long_as_they_say(service: Service) -> None:
    pool = pool_to(service.port, most=1)
    held = await pool.send(asks(service.port), 10.0)
    with pytest.raises(httpcore.PoolTimeout):
        await pool.send(asks(service.port), 0.05)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(whole, pool, service.port)
        await anyio.lowlevel.checkpoint()
        await held.aclose()
    await pool.aclose()


async def test_a_connection_that_was_closed_over_there_is_passed_over(service: Service) -> None:
    with raw(VN_HOST, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx") as once:
        pool = pool_to(once.port)
        assert await whole(pool, once.port) == b"xx"
        await until(lambda: open_to(once.port) != [ESTABLISHED], what="the server to close")
        assert await whole(pool, once.port) == b"xx"
        assert once.connections == 2
        await pool.aclose()


async def test_an_answer_of_which_nobody_reads_the_rest_is_not_the_next_ones(service: Service) -> None:
    async def long(asked: Asked, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    service.handlers["/v1/long"] = long
    pool = pool_to(service.port, most=1)
    reply = await pool.send(asks(service.port, "/v1/long"), 10.0)
    assert await anext(reply)
    await reply.aclose()
    assert b"/v1/chat" in await whole(pool, service.port)
    await pool.aclose()


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_hundreds_that_are_cancelled_at_any_moment_leave_every_slot_and_no_socket(
    service: Service, how: str
) -> None:
    async def slow(asked: Asked, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        await asyncio.sleep(0.001)
        await send({"type": "http.response.body", "body": b"half"})

    service.handlers["/v1/slow"] = slow
    pool = pool_to(service.port)
    chance = random.Random(7)

    async def scoped(scope: anyio.CancelScope) -> None:
        with scope:
            await whole(pool, service.port, "/v1/slow")

    for _ in range(12):
        scopes = [anyio.CancelScope() for _ in range(25)]
        tasks = [asyncio.create_task(scoped(scope)) for scope in scopes]
        for scope, task in zip(scopes, tasks, strict=True):
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(chance.choice((0, 0, 0.001)))
            if how == "task":
                task.cancel()
            else:
                scope.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await asyncio.gather(*(whole(pool, service.port, "/v1/slow") for _ in range(5))) == [b"halfhalf"] * 5
    assert len(open_to(service.port)) <= 3
    await pool.aclose()
    await until(lambda: open_to(service.port) == [], what="every socket to be closed")


async def test_a_handshake_that_is_cancelled_leaves_no_socket() -> None:
    with raw(VN_HOST, then="hang") as silent:
        pool = pool_to(silent.port, "https")
        for number in range(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pool.send, asks(silent.port, scheme="https"), 10.0)
                await until(partial(_connected, silent, number + 1), what="the handshake to begin")
                tasks.cancel_scope.cancel()
        await until(lambda: open_to(silent.port) == [], what="every socket to be closed")


def _connected(service: Raw, times: int) -> bool:
    return bool(service.heard) and service.connections == times


async def test_a_reply_that_is_closed_while_another_task_waits_for_a_piece_of_it_ends_that_wait(
    service: Service,
) -> None:
    with raw(VN_HOST, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", then="hang") as half:
        pool = pool_to(half.port, most=1)
        reply = await pool.send(asks(half.port), 10.0)

        async def read() -> None:
            with pytest.raises((httpcore.NetworkError, httpcore.ProtocolError, anyio.ClosedResourceError)):
                await anext(reply)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            await reply.aclose()
        assert open_to(half.port) == []
        await pool.aclose()


FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsecret!"
SIZE = b"Content-Length: %d\r\n\r\n" % len(FORGED)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\n" + SIZE),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n" + SIZE),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_what_comes_behind_an_answer_is_not_the_answer_to_the_next(
    tmp_path: Path, scheme: str, method: str, first: bytes, apart: bool
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        answer = [first, FORGED] if connections == 1 else [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            # One write is one record of TLS; two of them may come in one piece, and the second is then seen by nobody
            # who looks at the socket.
            for piece in answer if apart else [b"".join(answer)]:
                writer.write(piece)
            await writer.drain()
            await reader.read()
        writer.close()

    served = trusting = None
    if scheme == "https":
        options = certificate(tmp_path, VN_HOST)
        served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        served.load_cert_chain(options["ssl_certfile"], options["ssl_keyfile"])
        trusting = ssl.create_default_context(cafile=options["ssl_certfile"])
        trusting.check_hostname = False
    server = await asyncio.start_server(serve, VN_HOST, 0, ssl=served)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pool = Pool((scheme, VN_HOST, port), httpcore.AnyIOBackend(), trusting, most=5, idle=3, expiry=15.0)
        asked = asks(port, scheme=scheme)
        asked.method = method.encode()
        assert b"".join([piece async for piece in await pool.send(asked, 10.0)]) == b""
        assert b"".join([piece async for piece in await pool.send(asks(port, scheme=scheme), 10.0)]) == b"ok"
        await pool.aclose()
    assert connections == 2
