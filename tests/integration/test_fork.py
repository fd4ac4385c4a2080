"""Preloading servers: the app is built in a parent, and served in forked children that share one log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from residency.audit.checkpoint import parse_verifier_key
from residency.audit.entry import Entry, parse_entry, parse_entry_id
from residency.audit.verify import read_checkpoint, verify_entries
from tests.ports import free_port

POLICY = """
residency: 1
kind: deployment
name: forked
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
regions: {vn-han: {country: VN}}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
activities:
  - {route: "POST /put/{who}", subject: path.who, data: [personal], operation: write, store: uploads}
"""
# As gunicorn does with preload_app: the listening socket and the app are the parent's, the serving the children's.
SERVER = """
import asyncio, os, signal, socket, sys
import uvicorn
from residency import ResidencyMiddleware, current

OPEN_FIRST = sys.argv[2] == "opened"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await current().store("uploads").put(f"{os.getpid()}.txt", b"x")
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

served = ResidencyMiddleware(app, policy="deployment.yaml")
if OPEN_FIRST:
    served.runtime.open()
listener = socket.socket()
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(100)
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        config = uvicorn.Config(served, lifespan="on", log_level="warning")
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
        os._exit(0)
    children.append(child)
listener.close()
print("serving", flush=True)
signal.signal(signal.SIGTERM, lambda *_: [os.kill(child, signal.SIGTERM) for child in children])
codes = [os.waitpid(child, 0)[1] for child in children]
if OPEN_FIRST:
    asyncio.run(served.runtime.aclose())
sys.exit(0 if set(codes) <= {0, signal.SIGTERM} else 1)  # uvicorn ends by the signal it was told to end with
"""


def post(port: int, who: str) -> str:
    """The number of the process that answered one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"POST /put/{who} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer.rpartition(b"\r\n")[2].decode()


def verified(folder: Path) -> list[Entry]:
    """Every entry of the log, verified against its checkpoint."""

    def read(path: str) -> bytes | None:
        file = folder / "audit" / "log" / path
        return file.read_bytes() if file.is_file() else None

    key = read("log.vkey")
    assert key is not None
    checkpoint = read_checkpoint(read, parse_verifier_key(key.decode().strip()))
    return [parse_entry(data) for data in verify_entries(read, checkpoint)]


@pytest.mark.parametrize("parent", ["built", "opened"])
def test_forked_children_take_a_slot_each_and_write_one_log(tmp_path: Path, parent: str) -> None:
    (tmp_path / "deployment.yaml").write_text(POLICY)
    (tmp_path / "server.py").write_text(SERVER)
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "server.py", str(port), parent],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"serving\n"
        answered: list[str] = []
        until = time.monotonic() + 60  # one of them may be ready long before the other
        while len(set(answered)) < 2 and time.monotonic() < until:
            answered.append(post(port, f"person-{len(answered) % 7}"))
        assert len(set(answered)) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    entries = verified(tmp_path)
    slots = {parse_entry_id(entry.id)[0] for entry in entries}
    assert slots == ({0, 1} if parent == "built" else {0, 1, 2})
    outcomes = {entry.of for entry in entries if entry.kind == "outcome" and entry.act == "committed"}
    intents = {entry.id for entry in entries if entry.kind == "intent"}
    assert len(intents) == len(answered)
    assert intents == outcomes
    # One person, one alias, whichever process served them: the pins are shared.
    assert len({entry.subject for entry in entries if entry.kind == "intent"}) == min(7, len(answered))
