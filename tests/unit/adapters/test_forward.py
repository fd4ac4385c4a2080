"""Headers of one connection stay there. What goes over sockets: tests/integration/test_hand_over.py."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from residency.adapters.forward import Forward, end_to_end
from tests.open_sockets import open_to, until
from tests.services import VN_HOST, raw


@pytest.mark.anyio
@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_handshake_that_is_cancelled_or_whose_client_hangs_up_leaves_no_socket_and_sends_nothing(
    hangs_up: bool,
) -> None:
    gone, sent = anyio.Event(), []
    messages = [{"type": "http.request"}]  # as a server begins, whether there is a body or not

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    with raw(VN_HOST, then="hang") as silent:
        scope = {"method": "GET", "headers": []}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Forward().http, scope, receive, send, f"https://{VN_HOST}:{silent.port}/", [])
            await until(lambda: silent.heard, what="the handshake to begin")
            if hangs_up:
                gone.set()
            else:
                tasks.cancel_scope.cancel()
        await until(lambda: open_to(silent.port) == [], what="the socket to be closed")
    assert sent == []


def test_headers_of_one_connection_are_left_out_and_those_that_it_names() -> None:
    headers = [
        (b"Connection", b"close, X-Own , Upgrade"),
        (b"X-OWN", b"1"),
        (b"Upgrade", b"h2c"),
        (b"TE", b"trailers"),
        (b"Trailer", b"x"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"5"),
        (b"Proxy-Authorization", b"secret"),
        (b"Content-Length", b"3"),
        (b"Accept", b"*/*"),
    ]
    assert end_to_end(headers) == [(b"accept", b"*/*")], "a length beside an encoding is none of the body's"
    assert end_to_end(headers[-2:]) == [(b"content-length", b"3"), (b"accept", b"*/*")]
