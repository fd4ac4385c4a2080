"""The middleware under uvicorn, over real sockets: what a server does before us, and what a client may send."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.ports import free_port, wait_for_server
from tests.servers import eventually

APP = '''
"""An app that answers anything, so that every refusal is the middleware's."""
from residency import ResidencyMiddleware, current

async def hello(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close"})
        return
    if scope["type"] == "lifespan":
        return
    found = ",".join(current().decision.jurisdictions) or "none"
    body = f"served {found}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

app = ResidencyMiddleware(hello, policy="deployment.yaml")
'''
POLICY = """
residency: 1
kind: deployment
name: socket
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
presume: {territory: not_covered}
signals: {client_address: CLIENT}
audit: {folder: ./audit, publish_every: 1 s}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /v1/people", subject: none, data: [personal], operation: read}
  - {route: "WS /chat", subject: none, data: [content], operation: process}
"""
PEER = "{strategy: peer}"
TRUSTED = "{strategy: rightmost_trusted_range, trusted: [127.0.0.0/8]}"
SERVER = "{strategy: server}"
HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"


class Server:
    """A uvicorn process in `folder`, told to end when the test does."""

    def __init__(self, folder: Path, client: str, options: Sequence[str]) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "served.py").write_text(APP)
        (folder / "deployment.yaml").write_text(POLICY.replace("CLIENT", client))
        self.port = free_port()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        environment.pop("FORWARDED_ALLOW_IPS", None)
        self.log = folder / "uvicorn.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "served:app", "--port", str(self.port), *options],
                cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def ready(self) -> Server:
        """Wait until the port answers."""
        wait_for_server(self.process, self.port, self.log)
        return self

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """One request as these very bytes; (status, body), status 0 where the server only hung up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split(b" ")[1]) if head else 0), body

    def get(self, target: bytes = b"/v1/people", *headers: str, method: bytes = b"GET") -> tuple[int, bytes]:
        """One request with `headers`."""
        lines = b"".join(f"{header}\r\n".encode("latin-1") for header in headers)
        return self.raw(method + b" " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lines + b"\r\n")

    def reason(self, *headers: str) -> tuple[int, str]:
        """(status, reason) of a refusal of the route."""
        status, body = self.get(b"/v1/people", *headers)
        return status, json.loads(body)["reason"]

    def end(self) -> int:
        """Ask it to end, wait for that."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@pytest.fixture
def uvicorn(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A factory: `uvicorn(client_address, *options)`, not yet waited for."""
    started: list[Server] = []

    def start(client: str = PEER, *options: str) -> Server:
        started.append(Server(tmp_path / str(len(started)), client, options))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_what_a_client_may_write_as_a_target_never_passes_for_the_route(
    uvicorn: Callable[..., Server], http: str
) -> None:
    server = uvicorn(PEER, "--http", http).ready()
    assert server.get()[0] == 200
    refused = {400, 403}  # ours, or the server's own 400 for what it cannot parse
    for target in (
        b"/v1/../v1/people", b"/v1/./people", b"//v1/people", b"/v1//people", b"/v1/people/", b"/v1/people/.",
        b"/v1/people%2f", b"/v1%2Fpeople", b"/v1/%2e%2e/v1/people", b"/v1/people%0A", b"/v1/people%00", b"/v1\\people",
        b"/v1/people%5c", b"/v1/people;x=1", b"http://evil.example/v1/people/", b"/V1/people", b"*",
        b"/v1/people\x00", b"/v1/people\x7f", b"/%ff%fe",
    ):  # fmt: skip
        status, body = server.get(target)
        assert status in refused, target
        assert b"served" not in body
    # Decoded once, as the framework does: this is the route, said in another way.
    assert server.get(b"/v1/%70eople")[0] == 200
    assert server.get(b"/v1/people?x=/../")[0] == 200
    for method in (b"get", b"POST", b"OPTIONS", b"WS", b"ANY"):
        status, body = server.get(method=method)
        # A lower-case method is GET's activity, and no framework's GET: the app decides, under the right decision.
        assert status in ({200, *refused} if method == b"get" else refused), method
    assert server.get(method=b"HEAD") == (200, b"")
    assert server.get(b"/nothing", method=b"HEAD") == (403, b"")
    assert server.raw(b"\x16\x03\x01 garbage\r\n\r\n")[0] in (0, 400)


def test_behind_a_loopback_proxy_at_its_defaults_the_rewritten_peer_is_noticed(
    uvicorn: Callable[..., Server],
) -> None:
    forwarded = [f"X-Forwarded-For: {HANOI}"]
    strict = uvicorn(PEER)
    believing = uvicorn(SERVER)
    bare = uvicorn(TRUSTED, "--no-proxy-headers")
    assert strict.ready().reason(*forwarded) == (503, "peer_rewritten")
    assert believing.ready().get(b"/v1/people", *forwarded) == (200, b"served VN")
    # The proxy appends: what the client wrote stands to the left, and changes nothing.
    assert bare.ready().get(b"/v1/people", *forwarded) == (200, b"served VN")
    assert bare.get(b"/v1/people", f"X-Forwarded-For: {SINGAPORE}, {HANOI}") == (200, b"served VN")
    assert bare.get(b"/v1/people", f"X-Forwarded-For: {HANOI}, {SINGAPORE}") == (200, b"served none")
    assert bare.get(b"/v1/people", "X-Forwarded-For: garbage\xff,,", "Forwarded: for=1.2.3.4") == (200, b"served none")


@pytest.mark.parametrize(
    ("strategy", "option"),
    [(TRUSTED, ()), (PEER, ("--forwarded-allow-ips", "10.0.0.1")), (SERVER, ("--forwarded-allow-ips", "*"))],
    ids=["a walk over a rewritten peer", "a peer that others rewrite", "a server that believes everybody"],
)
def test_a_server_that_rewrites_the_peer_a_strategy_needs_never_begins_to_serve(
    tmp_path: Path, strategy: str, option: tuple[str, ...]
) -> None:
    server = Server(tmp_path / "bad", strategy, option)
    assert server.process.wait(60) != 0
    assert "deployment.yaml:9:" in server.log.read_text()
    assert "strategy: server" in server.log.read_text() or "FORWARDED_ALLOW_IPS" in server.log.read_text()


def test_a_bad_policy_under_uvicorn_never_begins_to_serve_and_names_the_line(tmp_path: Path) -> None:
    server = Server(tmp_path / "bad", "{strategy: leftmost}", ())
    assert server.process.wait(60) != 0
    assert "deployment.yaml:9:" in server.log.read_text()


def test_a_server_without_lifespan_answers_503_with_the_line_to_mend(uvicorn: Callable[..., Server]) -> None:
    bad = uvicorn("{strategy: leftmost}", "--lifespan", "off")
    good = uvicorn(PEER, "--lifespan", "off")
    status, body = bad.ready().get()
    assert (status, json.loads(body)["reason"]) == (503, "setup")
    assert "deployment.yaml:9:" in json.loads(body)["detail"]
    assert good.ready().get() == (200, b"served none")


def test_without_a_lifespan_what_was_recorded_is_published_when_the_process_ends(
    uvicorn: Callable[..., Server],
) -> None:
    server = uvicorn(PEER, "--lifespan", "off").ready()
    for _ in range(5):
        assert server.get()[0] == 200
    server.process.send_signal(signal.SIGINT)
    server.process.wait(60)
    checkpoint = (server.log.parent / "audit" / "log" / "checkpoint").read_text()
    assert int(checkpoint.splitlines()[1]) == 7  # the instance's beginning, the start, and five requests


def test_without_a_lifespan_and_ended_by_a_signal_that_leaves_no_time_the_next_start_publishes(
    uvicorn: Callable[..., Server],
) -> None:
    # uvicorn ends by raising SIGTERM anew, which nothing of Python outlives; what is recorded is in the journal.
    server = uvicorn(PEER, "--lifespan", "off").ready()
    for _ in range(5):
        assert server.get()[0] == 200
    assert server.end() == -signal.SIGTERM
    folder = server.log.parent
    again = Server(folder, PEER, ("--lifespan", "off"))
    try:
        assert again.ready().get()[0] == 200
        # `eventually` takes a checkpoint that is not there yet for one that is not true yet.
        eventually(lambda: published(folder) >= 9, within=60, what="the publication")
    finally:
        again.end()
    # The instance's beginning once, two starts, six requests.
    assert published(folder) == 9


def published(folder: Path) -> int:
    """How many entries the log tells of."""
    return int((folder / "audit/log/checkpoint").read_text().splitlines()[1])


def test_a_websocket_is_served_or_denied_with_a_problem_document(uvicorn: Callable[..., Server]) -> None:
    server = uvicorn().ready()
    with connect(f"ws://127.0.0.1:{server.port}/chat") as open_socket:
        assert open_socket.recv() == "hello"
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.1:{server.port}/nothing"):
        pytest.fail("nothing is accepted")
    assert caught.value.response.status_code == 403
    assert json.loads(caught.value.response.body)["reason"] == "unclassified_route"
