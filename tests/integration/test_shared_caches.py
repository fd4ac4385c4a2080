"""A real nginx that caches for everybody, before a real server: what it hands to whom, with and without us.

A balancer announces each client's address (PROXY protocol), so nginx truly believes that Hanoi or Singapore called. It
asks its cache before it asks us: an answer that it kept for Hanoi would be Singapore's.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.world import HANOI, SINGAPORE

pytestmark = pytest.mark.needs("nginx")

POLICY = """
residency: 1
kind: deployment
name: shared
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
signals: {client_address: {strategy: rightmost_trusted_range, trusted: [127.0.0.1/32]}}
audit: {folder: ./audit, publish_every: 1 s, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "memory:"}
exempt: [GET /static]
activities:
  - {route: "GET /{way}", subject: none, data: [personal], operation: read}
"""
APP = '''
"""One app twice: `ours` behind the middleware, `bare` as it was. It says for whom it answers and lets all cache."""
from residency import ResidencyMiddleware

WAYS = {
    b"/public": [(b"cache-control", b"public, max-age=60")],
    b"/aged": [(b"cache-control", b"max-age=60")],
    b"/silent": [],
    b"/expires": [(b"expires", b"Thu, 31 Dec 2037 23:55:55 GMT")],
    b"/accel": [(b"x-accel-expires", b"60")],
    b"/shared-max-age": [(b"cache-control", b"s-maxage=60")],
    b"/tagged": [(b"cache-control", b"public, max-age=1"), (b"etag", b'"v1"')],
    b"/in-words": [(b"cache-control", b"public, max-age=60"), (b"residency-cache", b"shared")],
    b"/static": [(b"cache-control", b"public, max-age=60")],
}


async def answer(scope, receive, send):
    headers = dict(scope["headers"])
    path = scope["path"].encode()
    if path == b"/tagged" and headers.get(b"if-none-match") == b'"v1"':
        await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", b'"v1"')]})
        await send({"type": "http.response.body", "body": b""})
        return
    body = b"for " + headers[b"x-forwarded-for"]
    told = [*WAYS[path], (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    await send({"type": "http.response.body", "body": body})


ours = ResidencyMiddleware(answer, policy="policy.yaml")


async def app(scope, receive, send):
    told = dict(scope.get("headers", ())).get(b"x-app")
    await (answer if told == b"bare" else ours)(scope, receive, send)
'''
NGINX = """
daemon off;
master_process off;
error_log stderr warn;
pid nginx.pid;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path temp;
  proxy_temp_path temp;
  fastcgi_temp_path temp;
  uwsgi_temp_path temp;
  scgi_temp_path temp;
  proxy_cache_path cached keys_zone=all:1m;
  server {
    listen 127.0.0.1:@EDGE@ proxy_protocol;
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    location / {
      proxy_pass http://127.0.0.1:@APP@;
      proxy_http_version 1.1;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_cache all;
      proxy_cache_key $http_x_app$request_uri;
      # A cache that is told nothing may think for itself.
      proxy_cache_valid 200 60s;
      proxy_cache_revalidate on;
      add_header X-Cache $upstream_cache_status always;
    }
  }
}
"""


class Edge:
    """nginx, asked as a client from somewhere; or the server behind it, as nginx asks it."""

    def __init__(self, port: int, behind: int) -> None:
        self.port = port
        self.behind = behind

    def get(self, path: str, announced: str, app: str = "ours") -> tuple[int, dict[str, str], str]:
        """(status, headers in lower case, body)."""
        lines = [f"GET {path} HTTP/1.1", "Host: api.example", f"X-App: {app}", "Connection: close"]
        return self._ask(self.port, f"PROXY TCP4 {announced} 127.0.0.1 4711 80\r\n" + "\r\n".join([*lines, "", ""]))

    def passed_on(self, path: str, client: str, tag: str) -> tuple[int, dict[str, str], str]:
        """What the server answers to a cache that asks for `client` whether what it holds is still good."""
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n"
        return self._ask(self.behind, f"{head}If-None-Match: {tag}\r\n\r\n")

    def _ask(self, port: int, sent: str) -> tuple[int, dict[str, str], str]:
        answer = b""
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(sent.encode())
            while piece := connection.recv(65_536):
                answer += piece
        head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
        first, *told = head.split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in told)}
        return int(first.split(" ")[1]), found, body


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, nginx: Path) -> Iterator[Edge]:
    """nginx before uvicorn, both running, ended afterwards."""
    folder = tmp_path_factory.mktemp("edge")
    ports: Mapping[str, int] = {"EDGE": free_port(), "APP": free_port()}
    (folder / "served.py").write_text(APP)
    (folder / "policy.yaml").write_text(POLICY)
    conf = NGINX
    for name, port in ports.items():
        conf = conf.replace(f"@{name}@", str(port))
    (folder / "nginx.conf").write_text(conf)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    serve = [sys.executable, "-m", "uvicorn", "served:app", "--port", str(ports["APP"]), "--lifespan", "off"]
    commands = [
        [*serve, "--no-proxy-headers", "--timeout-keep-alive", "300"],
        [str(nginx), "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"],
    ]
    running = []
    try:
        for command in commands:
            with (folder / "log").open("ab") as log:
                running.append(
                    subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
                )
        end = time.monotonic() + 60
        for port in ports.values():
            while not _listens(port):
                if time.monotonic() > end:
                    pytest.fail((folder / "log").read_text())
                time.sleep(0.05)
        yield Edge(ports["EDGE"], ports["APP"])
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


CACHED = ("/public", "/aged", "/silent", "/expires", "/accel", "/shared-max-age", "/tagged")


@pytest.mark.parametrize("path", CACHED)
def test_without_us_the_cache_hands_hanois_answer_to_singapore(edge: Edge, path: str) -> None:
    assert edge.get(path, HANOI, "bare")[2] == f"for {HANOI}"
    assert edge.get(path, SINGAPORE, "bare")[2] == f"for {HANOI}"


@pytest.mark.parametrize("path", CACHED)
def test_with_us_everybody_gets_their_own_whatever_the_app_lets_cache(edge: Edge, path: str) -> None:
    for client in (HANOI, SINGAPORE, HANOI, SINGAPORE):
        status, headers, body = edge.get(path, client)
        assert (status, body, headers["x-cache"]) == (200, f"for {client}", "MISS")
        assert "private" in headers["cache-control"]


def test_what_the_app_says_is_for_everybody_and_what_is_exempt_is_cached(edge: Edge) -> None:
    for path in ("/in-words", "/static"):
        assert edge.get(path, HANOI)[2] == f"for {HANOI}"
        _, headers, body = edge.get(path, SINGAPORE)
        assert (headers["x-cache"], body) == ("HIT", f"for {HANOI}")
        assert "residency-cache" not in headers


def test_a_cache_that_asks_again_by_its_tag_hands_hanois_answer_to_singapore_without_us_and_not_with_us(
    edge: Edge,
) -> None:
    for app in ("bare", "ours"):
        edge.get("/tagged?again", HANOI, app)
    time.sleep(2.1)  # what it holds is old by then
    _, headers, body = edge.get("/tagged?again", SINGAPORE, "bare")
    assert (headers["x-cache"], body) == ("REVALIDATED", f"for {HANOI}")
    assert edge.get("/tagged?again", SINGAPORE)[2] == f"for {SINGAPORE}"


def test_a_tag_of_hanois_answer_never_says_to_singapore_that_nothing_changed(edge: Edge) -> None:
    status, headers, _ = edge.passed_on("/tagged", HANOI, '"none"')
    tag = headers["etag"]
    assert status == 200
    assert edge.passed_on("/tagged", HANOI, tag)[0] == 304
    status, headers, body = edge.passed_on("/tagged", SINGAPORE, tag)
    assert (status, body) == (200, f"for {SINGAPORE}")
    assert headers["etag"] != tag
    assert edge.passed_on("/tagged", SINGAPORE, headers["etag"])[0] == 304
    assert edge.passed_on("/tagged", SINGAPORE, '"v1"')[0] == 200
