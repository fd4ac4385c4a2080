"""What a hand-over makes of requests and answers that HTTP allows and few send, as bytes on the wire."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import h11
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from residency.adapters.forward import Forward
from residency.asgi.hand_over import forwarded
from residency.signals.address import RightmostTrustedRange
from residency.signals.inet import Ranges
from residency.signals.peer import ClientAddress
from tests.integration.test_hand_over import Abroad, served
from tests.world import HANOI, SINGAPORE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = f"Host: x\r\nX-Forwarded-For: {HANOI}\r\n".encode()


class Wire:
    """An instance at home that answers each connection with the same bytes; `got` are those of its requests."""

    def __init__(self, answer: bytes) -> None:
        self.got: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.2", 0))
        self.address = "{}:{}".format(*self._socket.getsockname()[:2])
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        here, taken, ended = h11.Connection(h11.SERVER), b"", False
        while not ended:
            piece = connection.recv(65_536)
            taken += piece
            here.receive_data(piece)
            while (event := here.next_event()) is not h11.NEED_DATA:
                assert event is not h11.PAUSED
                ended = isinstance(event, h11.EndOfMessage | h11.ConnectionClosed)
                if ended:
                    break
        self.got.append(taken)
        connection.sendall(self._answer)


Hand = Callable[[bytes, bytes], tuple[bytes, bytes]]


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    """Send a request abroad: what came to home of it, and what the client got."""
    with ExitStack() as stack:

        def send(request: bytes, answer: bytes) -> tuple[bytes, bytes]:
            wire = Wire(answer)
            stack.callback(wire.close)
            abroad = Abroad(tmp_path / "abroad", stack, "proxy", wire.address)
            host, port = abroad.address.split(":")
            with socket.create_connection((host, int(port)), timeout=60) as client:
                client.sendall(request)
                got = b""
                while piece := client.recv(65_536):
                    got += piece
            return b"".join(wire.got), got

        yield send


def test_a_304_that_tells_the_length_of_what_it_spares_is_a_whole_answer(hand: Hand) -> None:
    answer = b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 512\r\n\r\n'
    _, got = hand(b"GET /people HTTP/1.1\r\nConnection: close\r\n" + HEADERS + b'If-None-Match: "a"\r\n\r\n', answer)
    assert got.startswith(b"HTTP/1.1 304")
    assert b"content-length" not in got.lower()


def test_a_head_tells_the_length_of_what_a_get_would_bring(hand: Hand) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n"
    _, got = hand(b"HEAD /people HTTP/1.1\r\nConnection: close\r\n" + HEADERS + b"\r\n", answer)
    assert b"content-length: 512" in got


def test_a_length_beside_chunks_is_not_believed(hand: Hand) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    _, got = hand(b"GET /people HTTP/1.1\r\nConnection: close\r\n" + HEADERS + b"\r\n", answer)
    assert b"content-length" not in got
    assert b"5\r\nhello\r\n0\r\n\r\n" in got


def test_what_home_lets_everybody_cache_is_no_caches_here(hand: Hand) -> None:
    told = b"Cache-Control: public, max-age=60\r\nCDN-Cache-Control: max-age=60\r\nX-Accel-Expires: 60\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + told + b"\r\nok"
    _, got = hand(b"GET /people HTTP/1.1\r\nConnection: close\r\n" + HEADERS + b"\r\n", answer)
    assert [line for line in got.lower().split(b"\r\n") if b"max-age" in line or b"expires" in line] == [
        b"cache-control: private, max-age=60"
    ]


def test_a_query_arrives_as_it_was_written_for_it_may_be_signed(hand: Hand) -> None:
    query = b"a=%zz&b='()*|\"<>^`{}&c=%c3%A9"
    sent, got = hand(b"GET /people?" + query + b" HTTP/1.1\r\nConnection: close\r\n" + HEADERS + b"\r\n", OK)
    assert sent.startswith(b"GET /people?" + query + b" HTTP/1.1\r\n")
    assert got.endswith(b"ok")


def test_a_connection_header_takes_out_neither_the_body_nor_who_asked(hand: Hand) -> None:
    own = b"Connection: close, content-length, x-forwarded-for, via, host\r\nContent-Length: 4\r\n\r\nbody"
    sent, _ = hand(b"POST /people HTTP/1.1\r\n" + HEADERS + own, OK)
    assert b"4\r\nbody\r\n0\r\n\r\n" in sent
    assert b"x-forwarded-for: " + HANOI.encode() in sent
    assert b"via: 1.1 residency-test" in sent


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
def test_what_is_no_answer_is_none(hand: Hand, answer: bytes) -> None:
    _, got = hand(b"GET /people HTTP/1.1\r\nConnection: close\r\n" + HEADERS + b"\r\n", answer)
    assert got.startswith(b"HTTP/1.1 503")


@pytest.mark.anyio
@pytest.mark.parametrize("pieces", [[b"some", b"thing"], [b"", b"something"], [b"something"], []])
async def test_over_http_2_a_body_goes_over_though_no_header_tells_of_one(pieces: list[bytes]) -> None:
    # RFC 9113 section 8.1: a request's content is what its DATA frames hold; a length is optional.
    wire = Wire(OK)
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Any] = []

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "http_version": "2", "method": "POST", "scheme": "https", "headers": []}
    await Forward().http(scope, receive, send, f"http://{wire.address}/people", [])
    wire.close()
    assert sent[0]["status"] == 200
    (got,) = wire.got
    _, _, body = got.partition(b"\r\n\r\n")
    assert b"".join(body.split(b"\r\n")[1::2]) == b"".join(pieces)
    assert bool(pieces) == (b"Transfer-Encoding: chunked" in got)


def test_cookies_that_http_2_split_are_one_line_again() -> None:
    crumbs = [(b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"b=2")]
    told = forwarded({"type": "http", "headers": crumbs}, ClientAddress(None, "peer"), "1.1 residency-test")
    assert [value for name, value in told if name == b"cookie"] == [b"a=1; b=2"]


def test_a_trailer_forges_nobodys_address_on_a_real_server() -> None:
    reading, seen = RightmostTrustedRange(Ranges(["127.0.0.0/8"])), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(reading.client(scope["client"], scope["headers"]).address)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    # In one piece: uvicorn's httptools has read the trailer, and put it among the headers, before the app is asked.
    head = b"POST /people HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n" + HEADERS
    forged = f"\r\n4\r\nbody\r\n0\r\nX-Forwarded-For: {SINGAPORE}\r\n\r\n".encode()
    with served(app, "127.0.0.1") as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(head + forged)
            while client.recv(65_536):
                pass
    assert seen in ([None], [HANOI])


def test_a_websocket_that_home_denies_is_denied_with_its_word(tmp_path: Path) -> None:
    # What is no ASCII in a header is rare, and of some client libraries' versions no Latin-1.
    wire = Wire(b"HTTP/1.1 401 Unauthorized\r\nX-Why: token\r\nX-Who: \xe9\r\nContent-Length: 7\r\n\r\nexpired")
    with ExitStack() as stack:
        stack.callback(wire.close)
        abroad = Abroad(tmp_path / "abroad", stack, "proxy", wire.address)
        with pytest.raises(InvalidStatus) as denied:
            connect(f"ws://{abroad.address}/chat", additional_headers={"x-forwarded-for": HANOI}, proxy=None)
    answer = denied.value.response
    assert (answer.status_code, answer.headers["x-why"], bytes(answer.body or b"")) == (401, "token", b"expired")


class _Dying:
    """A home that accepts a WebSocket, answers one message, and is gone without a word."""

    def __init__(self) -> None:
        from websockets.sync.server import serve

        self.server = serve(self._serve, "127.0.0.2", 0)
        self.address = "{}:{}".format(*self.server.socket.getsockname()[:2])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def _serve(chat: Any) -> None:
        chat.send(chat.recv())
        chat.socket.shutdown(socket.SHUT_RDWR)


def test_a_websocket_whose_home_dies_does_not_end_as_if_all_were_said(tmp_path: Path) -> None:
    with ExitStack() as stack:
        home = _Dying()
        stack.callback(home.server.shutdown)
        abroad = Abroad(tmp_path / "abroad", stack, "proxy", home.address)
        with connect(f"ws://{abroad.address}/chat", additional_headers={"x-forwarded-for": HANOI}, proxy=None) as chat:
            chat.send("hello")
            assert chat.recv() == "hello"
            with pytest.raises(ConnectionClosed) as closed:
                chat.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1011


def test_no_message_and_no_path_of_a_websocket_stands_in_a_log_however_much_it_logs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = logging.Logger("the client's, and no log of this process")
    with ExitStack() as stack, caplog.at_level(logging.DEBUG):
        for name in ("websockets", "websockets.client", "residency", "residency.forward"):
            caplog.set_level(logging.DEBUG, name)
        abroad = Abroad(tmp_path / "abroad", stack, "proxy", None)
        url, headers = f"ws://{abroad.address}/chat?who=an-canary", {"x-forwarded-for": HANOI}
        with connect(url, additional_headers=headers, proxy=None, logger=quiet) as chat:
            chat.send("what an-canary says")
            assert chat.recv() == "what an-canary says"
    assert "canary" not in caplog.text
