"""Raw requests over sockets to six frameworks under four servers: what a handler serves is what we took it for."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import routed
from tests.ports import free_port, wait_for_server

SERVERS = {
    "httptools": ["uvicorn", "routed:app", "--http", "httptools", "--ws", "websockets-sansio", "--port", "PORT"],
    "h11": ["uvicorn", "routed:app", "--http", "h11", "--ws", "websockets-sansio", "--port", "PORT"],
    "hypercorn": ["hypercorn", "routed:app", "--bind", "127.0.0.1:PORT"],
    "granian": ["granian", "routed:app", "--interface", "asgi", "--port", "PORT"],
}
ROOT = {"httptools": "--root-path", "h11": "--root-path", "hypercorn": "--root-path", "granian": "--url-path-prefix"}
_SAID = re.compile(rb"<(\w+)\|(\w*)>")
_UPGRADE = (
    "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
)  # fmt: skip


class Answer(NamedTuple):
    """What came back: the status (0 where the server only hung up), the handler, what we took the request for."""

    status: int
    handler: str | None
    activity: str | None
    text: bytes


class Server:
    """One server process over all frameworks."""

    def __init__(self, name: str, folder: Path, root: str) -> None:
        self.name, self.root = name, root
        self.port = free_port()
        argv = [word.replace("PORT", str(self.port)) for word in SERVERS[name]]
        if root:
            argv += [ROOT[name], root]
        tests = str(Path(routed.__file__).parent)
        environment = {
            **os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path]), "RESIDENCY_ROUTED": str(folder),
        }  # fmt: skip
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *argv], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def ready(self) -> Server:
        """Wait until it answers."""
        wait_for_server(self.process, self.port, self.log)
        return self

    def ask(self, framework: str, target: str, method: str = "GET", *headers: str) -> Answer:
        """One request, its first line as it is written here."""
        connection = "keep-alive, Upgrade" if _UPGRADE[0] in headers else "close"
        head = [
            f"{method} {target} HTTP/1.1",
            "Host: x",
            f"Connection: {connection}",
            f"X-Framework: {framework}",
            *headers,
        ]
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as client:
            client.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
            try:
                while piece := client.recv(65_536):
                    answer += piece
                    if b"|" in answer and _SAID.search(answer):
                        break
                    if _UPGRADE[0] in headers and not answer.startswith(b"HTTP/1.1 101"):
                        client.settimeout(0.3)  # a refusal of a WebSocket may leave the connection open
            except (ConnectionResetError, TimeoutError):
                pass
        said = _SAID.search(answer)
        status = int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/") else 0
        handler, activity = (said.group(1).decode(), said.group(2).decode()) if said else (None, None)
        return Answer(status, handler, activity, answer)

    def end(self) -> None:
        """End it and what it started."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module")
def started() -> Iterator[dict[str, Server]]:
    """Servers by name, each started by the first test that needs it: tests come in any order."""
    servers: dict[str, Server] = {}
    yield servers
    for each in servers.values():
        each.end()


@pytest.fixture(params=[*SERVERS, *(f"{name} /api" for name in SERVERS)])
def server(
    request: pytest.FixtureRequest, started: dict[str, Server], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    if request.param not in started:
        name, _, root = request.param.partition(" ")
        started[request.param] = Server(name, tmp_path_factory.mktemp(name), root)
    return started[request.param].ready()


frameworks = st.sampled_from(routed.FRAMEWORKS)
segments = st.one_of(
    st.sampled_from(
        "users me orders all admin report num 1 a slash files chat static staticx Users ME %6de . .. %2e%2e a%2Fb a%5C "
        "x%0A %00 %20 a;b api".split()
    ),
    st.text("me1%/;~", max_size=4),
)
targets = st.builds(
    lambda head, parts, tail: head + "/".join(parts) + tail,
    st.sampled_from(["/", "/", "/", "/api/", "//", "http://x/", "http://x//", "x/", "*", "/x/api/"]),
    st.lists(segments, max_size=4),
    st.sampled_from(["", "", "/", "%0A", "?a=/b", "#c", "/.", "//"]),
)
methods = st.sampled_from(
    ["GET", "GET", "GET", "HEAD", "POST", "PUT", "post", "get", "OPTIONS", "PATCH", "WS", "websocket", "GET_WS"]
)


# The server is the same for all examples, and is meant to be.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(frameworks, targets, methods, st.integers(0, 9).map(lambda number: number == 9))
def test_what_a_handler_serves_is_what_we_took_it_for(
    server: Server, framework: str, target: str, method: str, upgrade: bool
) -> None:
    answer = server.ask(framework, target, method, *(_UPGRADE if upgrade else ()))
    assert answer.handler == answer.activity, (server.name, answer)


ORDINARY = (
    ("/", "GET", "root"), ("/users/me", "GET", "me"), ("/users/7?x=/y", "GET", "user"), ("/users", "POST", "create"),
    ("/files/a/b%20c.txt", "GET", "file"), ("/files/a", "PUT", "put"), ("/num/7/a", "GET", "number"),
    ("/static/site.css", "GET", "mounted"), ("/slash/", "GET", "slash"), ("/%C4%90%C3%A0", "GET", "page"),
)  # fmt: skip
TWO_WAYS = ("/a/../users/me", "//users/me", "/users%2Fme", "/users/me%0A", "/users/%2e%2e/users/me", "/a%5Cb")


def test_ordinary_requests_are_served_by_every_framework(server: Server) -> None:
    root = server.root if server.name in ("hypercorn", "granian") else ""  # uvicorn adds it itself
    for framework in routed.FRAMEWORKS:
        for target, method, handler in ORDINARY:
            if framework == "blacksheep" and server.root and handler == "mounted":
                continue  # it looks for mounts before it drops the root
            answer = server.ask(framework, root + target, method, *(["Content-Length: 0"] if method != "GET" else []))
            assert (answer.status, answer.handler, answer.activity) == (200, handler, handler), (framework, answer)


def test_what_reads_two_ways_is_refused_by_us_or_by_the_server(server: Server) -> None:
    for framework in routed.FRAMEWORKS:
        if framework == "quart" and server.root:
            continue  # it takes what is not under the root for a blank, and so do we
        for target in TWO_WAYS:
            answer = server.ask(framework, target)
            assert answer.handler is None, (framework, target, answer)
            assert answer.status in (400, 404), (framework, target, answer)


def test_a_header_that_asks_for_another_method_is_refused_where_that_were_another_activity(server: Server) -> None:
    root = server.root if server.name in ("hypercorn", "granian") else ""
    for framework in routed.FRAMEWORKS:
        answer = server.ask(framework, f"{root}/files/a", "GET", "X-HTTP-Method-Override: PUT")
        assert (answer.status, answer.handler) == (400, None)
        assert server.ask(framework, f"{root}/files/a", "GET", "X-HTTP-Method-Override: GET").handler == "file"


def test_methods_in_small_letters_are_what_the_framework_makes_of_them(server: Server) -> None:
    root = server.root if server.name in ("hypercorn", "granian") else ""
    for framework in routed.FRAMEWORKS:
        answer = server.ask(framework, f"{root}/users", "post", "Content-Length: 0")
        passed_on = server.name in ("h11", "granian") and framework in ("django", "quart")
        upper = server.name == "hypercorn"  # as if it had been sent so
        assert answer.handler == ("create" if passed_on or upper else None), (framework, answer)


def test_websockets_are_told_from_http_whatever_the_method(server: Server) -> None:
    root = server.root if server.name in ("hypercorn", "granian") else ""
    for framework in ("starlette", "fastapi", "litestar", "quart", "blacksheep"):
        answer = server.ask(framework, f"{root}/chat", "GET", *_UPGRADE)
        assert (answer.status, answer.handler, answer.activity) == (101, "chat", "chat"), (framework, answer)
        answer = server.ask(framework, f"{root}/chat", "POST", *_UPGRADE, "Content-Length: 0")
        assert answer.handler == answer.activity, (framework, answer)
