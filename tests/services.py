"""In: an address of this machine. Out: real HTTP services there that keep every byte they were sent, and broken ones.

127.0.0.2 stands for a machine in Vietnam, 127.0.0.3 for one in Singapore.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["SG_HOST", "VN_HOST", "Asked", "Raw", "Service", "certificate", "raw", "serving"]

VN_HOST, SG_HOST = "127.0.0.2", "127.0.0.3"
Handler = Callable[["Asked", Callable[[Any], Awaitable[None]]], Awaitable[None]]


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of one header, None where there is none."""
        return next((value.decode() for key, value in self.headers if key == name.encode()), None)


@dataclass
class Service:
    """A service under uvicorn. `wire` is every byte it was sent, `connections` how many sent any,
    `opened` how many there were.

    `answers` are (status, headers, body) by path; `handlers` send what they like; else the request comes back as JSON.
    """

    host: str
    port: int = 0
    wire: bytearray = field(default_factory=bytearray)
    connections: int = 0
    opened: int = 0
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, tuple[int, list[tuple[str, str]], bytes]] = field(default_factory=dict)
    handlers: dict[str, Handler] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}:{self.port}/v1/"

    def forget(self) -> None:
        """Begin anew."""
        self.wire.clear()
        self.asked.clear()
        self.answers.clear()
        self.handlers.clear()
        self.connections = self.opened = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI app."""
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        asked = Asked(scope["method"], target, scope["headers"], body)
        self.asked.append(asked)
        path = scope["path"]
        if path in self.handlers:
            await self.handlers[path](asked, send)
            return
        said = {"method": asked.method, "target": asked.target, "body": body.decode(), "at": self.host}
        text = json.dumps(said).encode()
        status, headers, text = self.answers.get(path, (200, [("content-type", "application/json")], text))
        raw = [(name.encode(), value.encode()) for name, value in headers]
        raw.append((b"content-length", str(len(text)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text})


def _recording(service: Service) -> type[H11Protocol]:
    class Recording(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            self.silent = True
            service.opened += 1
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            # Who looks whether it is where it says it is connects, too, and says nothing.
            service.connections += self.silent
            self.silent = False
            service.wire += data
            super().data_received(data)

    return Recording


@contextmanager
def serving(host: str, **options: Any) -> Iterator[Service]:
    """A service on a free port of `host` until left; `options` go to uvicorn."""
    service = Service(host)
    config = uvicorn.Config(
        service, http=_recording(service), lifespan="off", log_config=None, access_log=False, loop="asyncio", **options
    )
    server = uvicorn.Server(config)
    listener = socket.create_server((host, 0))
    service.port = int(listener.getsockname()[1])
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < end, "the service did not start"
        time.sleep(0.005)
    try:
        yield service
    finally:
        server.force_exit = True
        server.should_exit = True
        thread.join(20)
        listener.close()


@dataclass
class Raw:
    """A service of bytes: each connection is sent `said`, piece by piece, once something came; then as `then` says.

    `then` is `close`, `reset`, or `hang`: heard, and not answered, until all is over.
    """

    host: str
    port: int
    said: list[bytes]
    then: str = "close"
    heard: bytearray = field(default_factory=bytearray)
    connections: int = 0

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}:{self.port}/v1/"


@contextmanager
def raw(host: str, *said: bytes, then: str = "close") -> Iterator[Raw]:
    """A `Raw` on a free port of `host` until left."""
    listener = socket.create_server((host, 0))
    service = Raw(host, int(listener.getsockname()[1]), list(said), then)
    over = threading.Event()
    threads: list[threading.Thread] = []

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(0.05)
            while not over.is_set() and not service.heard:
                with suppress(TimeoutError):
                    piece = connection.recv(65_536)
                    service.heard += piece
                    if not piece:
                        return
            for piece in service.said:
                connection.sendall(piece)
            if service.then == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            while service.then == "hang" and not over.is_set():
                with suppress(TimeoutError):
                    piece = connection.recv(65_536)
                    service.heard += piece
                    if not piece:
                        return

    def accept() -> None:
        listener.settimeout(0.05)
        while not over.is_set():
            with suppress(TimeoutError, OSError):
                connection, _ = listener.accept()
                service.connections += 1
                threads.append(threading.Thread(target=talk, args=(connection,), daemon=True))
                threads[-1].start()

    threads.append(threading.Thread(target=accept, daemon=True))
    threads[0].start()
    try:
        yield service
    finally:
        over.set()
        for thread in threads:
            thread.join(5)
        listener.close()


def certificate(folder: Path, *names: str) -> dict[str, str]:
    """uvicorn's options for a self-signed certificate of `names`, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(pem)
    return {"ssl_certfile": str(folder / "cert.pem"), "ssl_keyfile": str(folder / "key.pem")}
