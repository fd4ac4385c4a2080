"""In: the nginx and Envoy binaries, a folder. Out: both proxies, chained both ways round before uvicorn, and a client.

    balancer 127.0.0.76 --PROXY--> nginx edge -> Envoy inner -> uvicorn      (the chain "nginx-envoy")
    balancer 127.0.0.76 --PROXY--> Envoy edge -> nginx inner -> uvicorn      (the chain "envoy-nginx")

The balancer announces a client's public address (PROXY protocol), so the edge truly believes that Hanoi called. Each
proxy calls from an address of its own. Both append to X-Forwarded-For and to Forwarded, to whatever the client wrote
there; X-Real-IP is the edge's to write.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tests.ports import free_port, wait_for_server

__all__ = ["BALANCER", "CHAINS", "CLIENT", "ENVOY", "HANOI", "HANOI6", "SERVERS", "SINGAPORE", "Net", "running_net"]

BALANCER, CLIENT, NGINX, ENVOY = "127.0.0.76", "127.0.0.77", "127.0.0.2", "127.0.0.3"
HANOI, HANOI6, SINGAPORE = "113.160.0.1", "2405:4800::77", "165.21.0.1"
OURS = f"[{NGINX}/32, {ENVOY}/32]"

STRATEGIES = {
    "range": f"strategy: rightmost_trusted_range, trusted: {OURS}",
    "range-forwarded": f"strategy: rightmost_trusted_range, header: forwarded, trusted: {OURS}",
    "count": f"strategy: rightmost_trusted_count, count: 2, trusted: {OURS}",
    "count-forwarded": f"strategy: rightmost_trusted_count, count: 2, header: forwarded, trusted: {OURS}",
    "single": f"strategy: single_header, header: x-real-ip, trusted: {OURS}",
    "server": "strategy: server",
}
POLICY = """
residency: 1
kind: deployment
name: proxied
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
signals: {client_address: {CLIENT_ADDRESS}}
audit: {folder: ./NAME/audit, publish_every: 1 s, detail: {VN: ./NAME/detail}}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /{server}/NAME", subject: none, data: [personal], operation: read}
"""
APP = '''
"""Every deployment of this folder under its name; the app answers the address that the audit entry's detail holds."""
import json
from pathlib import Path

from residency import ResidencyMiddleware, current


async def answer(scope, receive, send):
    here = current()
    found = {"address": here.detail["address"], "laws": list(here.decision.jurisdictions)}
    body = json.dumps(found).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


mounted = {path.stem: ResidencyMiddleware(answer, policy=path) for path in Path.cwd().glob("*.yaml")}


async def app(scope, receive, send):
    await mounted[scope["path"].split("/")[2]](scope, receive, send)
'''
# How each server is started, and what is mounted in it.
SERVERS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "bare": (["--no-proxy-headers"], ["range", "range-forwarded", "count", "count-forwarded", "single"]),
    "rewriting": (["--forwarded-allow-ips", "*"], ["range", "range-forwarded", "server"]),
    "believing": (["--forwarded-allow-ips", f"{NGINX},{ENVOY}"], ["range", "server"]),
}
CHAINS = {"nginx-envoy": ("NGINX_EDGE", "ENVOY_INNER"), "envoy-nginx": ("ENVOY_EDGE", "NGINX_INNER")}


@dataclass(frozen=True)
class Net:
    """The running chains: a folder, and each listener's port by name."""

    folder: Path
    ports: Mapping[str, int]

    def raw(self, port: str, sent: bytes, source: str) -> tuple[int, bytes]:
        """Send these very bytes from `source` to a listener; (status, body), 0 where it only hung up."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.ports[port]), 20, (source, 0)) as connection:
            try:
                connection.sendall(sent)
                # Envoy keeps a connection on which it refused something open for a second.
                while not _is_whole(answer) and (chunk := connection.recv(65536)):
                    answer += chunk
            except ConnectionError:
                pass  # hung up on us with bytes unread: what was answered before still stands
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split(b" ")[1]) if head else 0), body

    def get(self, port: str, target: str, *lines: bytes, source: str = CLIENT, announced: str | None = None) -> Any:
        """One request with these header lines, perhaps announced by a PROXY line; the answer, or only its status."""
        request = [f"GET {target} HTTP/1.1".encode(), b"Host: api.example", *lines]
        if not any(line.lower().startswith(b"connection:") for line in lines):
            request.append(b"Connection: close")
        sent = b"\r\n".join([*request, b"", b""])
        if announced is not None:
            version = ip_address(announced).version
            to = "127.0.0.1" if version == 4 else "::1"
            sent = f"PROXY TCP{version} {announced} {to} 4711 80\r\n".encode() + sent
        status, body = self.raw(port, sent, source)
        return json.loads(body) if status in (200, 503) else {"status": status}

    def edge(self, chain: str, name: str, *lines: bytes, announced: str = HANOI, server: str = "bare") -> Any:
        """A client's request, announced by the balancer, through the whole chain."""
        return self.get(CHAINS[chain][0], f"/{server}/{name}", *lines, source=BALANCER, announced=announced)

    def inner(self, chain: str, name: str, *lines: bytes, server: str = "bare") -> Any:
        """A request of a client that found the second proxy, past the first."""
        return self.get(CHAINS[chain][1], f"/{server}/{name}", *lines)


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
    return bool(end) and length is not None and len(body) >= int(length[1])


def _start(folder: Path, name: str, *command: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("FORWARDED_ALLOW_IPS", None)
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _start_server(
    folder: Path, port: int, options: Sequence[str], deployments: Sequence[str]
) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "served.py").write_text(APP)
    for name in deployments:
        text = POLICY.replace("CLIENT_ADDRESS", STRATEGIES[name]).replace("NAME", name)
        (folder / f"{name}.yaml").write_text(text)
    # Kept connections stay open: Envoy would take one that the server is just closing for the server's failure.
    serve = [sys.executable, "-m", "uvicorn", "served:app", "--app-dir", ".", "--port", str(port)]
    return _start(folder, "uvicorn", *serve, "--lifespan", "off", "--timeout-keep-alive", "300", *options)


@contextmanager
def running_net(folder: Path, nginx: Path, envoy: Path) -> Iterator[Net]:
    """Both proxies and three servers in `folder`, each ready, all ended afterwards."""
    names = ["NGINX_EDGE", "NGINX_INNER", "ENVOY_EDGE", "ENVOY_INNER", *(n.upper() for n in SERVERS)]
    ports = {name: free_port() for name in names}
    for template in ("nginx.conf", "envoy.yaml"):
        text = (Path(__file__).parent / template).read_text()
        values = {"BALANCER": BALANCER, "NGINX": NGINX, "ENVOY": ENVOY, **ports}
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        (folder / template).write_text(text)
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, (options, deployments) in SERVERS.items():
            running[name] = _start_server(folder / name, ports[name.upper()], options, deployments)
        running["nginx"] = _start(folder, "nginx", str(nginx), "-p", str(folder), "-e", "stderr", "-c", "nginx.conf")
        # One worker, and none of the shared memory by which a new Envoy would take over from an old one.
        alone = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        running["envoy"] = _start(folder, "envoy", str(envoy), "-c", "envoy.yaml", *alone)
        for name, port in ports.items():
            process = running[name.split("_")[0].lower()]
            wait_for_server(process, port, *folder.rglob("*.log"))
        yield Net(folder, ports)
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
