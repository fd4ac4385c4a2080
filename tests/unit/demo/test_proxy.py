"""The forwarding proxy: what it says of where a request came from, and that it passes bytes as they come."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.demo.proxy import Proxy, rewrite_head

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


def forwarded(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if line.lower().startswith(b"x-forwarded-for:")]


def test_the_named_source_is_said_and_its_private_header_stripped() -> None:
    head = rewrite_head(GET + b"X-Demo-Source: 14.160.0.1\r\n\r\n", "127.0.0.1")
    assert forwarded(head) == [b"X-Forwarded-For: 14.160.0.1"]
    assert b"demo-source" not in head.lower()


def test_without_a_named_source_the_peer_is_said() -> None:
    assert forwarded(rewrite_head(GET + b"\r\n", "127.0.0.1")) == [b"X-Forwarded-For: 127.0.0.1"]


def test_what_the_client_forged_stays_in_front_of_the_source() -> None:
    sent = GET + b"X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: junk, 2.2.2.2\r\nx-demo-source: 14.160.0.1\r\n\r\n"
    assert forwarded(rewrite_head(sent, "127.0.0.1")) == [b"X-Forwarded-For: 1.1.1.1, junk, 2.2.2.2, 14.160.0.1"]


def test_a_request_is_the_connections_last_and_an_upgrade_stays_one() -> None:
    assert b"Connection: close\r\n" in rewrite_head(GET + b"Connection: keep-alive\r\n\r\n", "::1")
    upgrade = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert b"Connection: Upgrade\r\nUpgrade: websocket" in rewrite_head(upgrade, "::1")
    assert b"close" not in rewrite_head(upgrade, "::1")


@given(
    st.lists(st.binary(max_size=40).filter(lambda line: b"\r" not in line and b"\n" not in line and line), max_size=6)
)
def test_whatever_the_headers_exactly_one_line_says_the_source_last(lines: list[bytes]) -> None:
    sent = GET + b"".join(line + b"\r\n" for line in lines) + b"x-demo-source: 14.160.0.1\r\n\r\n"
    said = forwarded(rewrite_head(sent, "127.0.0.1"))
    assert len(said) == 1
    assert said[0].endswith(b"14.160.0.1")


async def talk(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()


def test_it_passes_bodies_both_ways_and_hides_nothing() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + body * 50_000)
        await writer.drain()
        writer.close()

    async def scenario() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
            return await talk(proxy.port, b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello")

    assert asyncio.run(scenario()) == b"HTTP/1.1 200 OK\r\n\r\n" + b"hello" * 50_000


@pytest.mark.parametrize(("data", "status"), [(GET + b"\r\n", b"502"), (b"x" * 100_000, b"400")])
def test_no_server_is_a_502_and_no_head_a_400(data: bytes, status: bytes, free_port: int) -> None:
    async def scenario() -> bytes:
        async with Proxy(free_port) as proxy:
            return await talk(proxy.port, data)

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 " + status)


@pytest.fixture
def free_port() -> int:
    from residency.demo.server import free_port

    return free_port()
