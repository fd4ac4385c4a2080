"""In: a folder and a flavour. Out: real Redis or Valkey servers, sentinels, clusters, stalling proxies on free ports.

Everything started here ends with the `Servers` it was started by, whether paused, dead or alive.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.ports import free_port

__all__ = ["Proxy", "Server", "Servers", "eventually"]

HOST = "127.0.0.1"


def eventually(holds: Callable[[], Any], *, within: float = 30.0, what: str = "it") -> None:
    """Return as soon as `holds()` is true; what it raises of Redis counts as not yet. Fails after `within` seconds."""
    end = time.monotonic() + within
    while True:
        with suppress(RedisError, OSError):
            if holds():
                return
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within} s")
        time.sleep(0.02)


class Server:
    """One server process: killed, paused, resumed, started anew on the same port."""

    def __init__(
        self, folder: Path, argv: list[str], port: int, environment: Mapping[str, str], address: str = HOST
    ) -> None:
        self.folder, self.argv, self.port, self.address = folder, argv, port, address
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.client = Redis(address, port, socket_timeout=5, socket_connect_timeout=2, protocol=3)

    @property
    def url(self) -> str:
        """`redis://` URL of this server."""
        return f"redis://{self.address}:{self.port}"

    def start(self, *, wait: bool = True) -> Server:
        """Start, and `wait` until it answers a PING, which one with a password does not."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.argv, cwd=self.folder, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        eventually(self.client.ping if wait else self._listens, what=f"server on {self.port}")
        return self

    def _listens(self) -> bool:
        with socket.create_connection((self.address, self.port)):
            return True

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: sockets stay open, nothing answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it whatever its state, and let its client go."""
        self.kill()
        self.client.close()


class Proxy:
    """A TCP proxy to `port` that can hold back what the server says, all of it or one connection's, or cut all off."""

    def __init__(self, port: int, address: str = HOST) -> None:
        self._target = (address, port)
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket, bytearray]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.stalled = threading.Event()
        self.refusing = threading.Event()
        self.holds: Callable[[bytes], bool] = lambda said: False
        """Whether to hold back the answers of a connection whose client said this last; asked for each piece."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """`redis://` URL through this proxy."""
        return f"redis://{HOST}:{self.port}"

    def stall(self) -> None:
        """Let nothing more through, from now on, until `stalled` is cleared."""
        self.stalled.set()
        time.sleep(0.05)  # it may just be about to pass on something

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            for client, server, _ in self._pairs:
                for end in (client, server):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        self._closed.set()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            # A connection held back or stalled is not read from, so the kernel holds its bytes.
            watched = [self._listener]
            for client, server, said in self._pairs:
                if not self.stalled.is_set():
                    watched.append(client)
                    if not self.holds(bytes(said)):
                        watched.append(server)
            ready, _, _ = select.select(watched, [], [], 0.005)
            for end in ready:
                if end is self._listener:
                    self._accept()
                else:
                    self._pass(end)
        for pair in list(self._pairs):
            self._end(pair)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            if self.refusing.is_set():
                raise ConnectionRefusedError
            server = socket.create_connection(self._target, timeout=2)
        except OSError:
            client.close()
            return
        with self._lock:
            self._pairs.append((client, server, bytearray()))

    def _pass(self, end: socket.socket) -> None:
        for pair in self._pairs:
            client, server, said = pair
            if end not in (client, server):
                continue
            try:
                piece = end.recv(65_536)
                if end is client:
                    said[:] = piece
                    server.sendall(piece)
                else:
                    client.sendall(piece)
            except OSError:
                piece = b""
            if not piece:
                self._end(pair)
            return

    def _end(self, pair: tuple[socket.socket, socket.socket, bytearray]) -> None:
        with self._lock:
            self._pairs.remove(pair)
        pair[0].close()
        pair[1].close()


class Servers:
    """All that one test starts."""

    def __init__(self, folder: Path, programs: Mapping[str, Path | None]) -> None:
        self._folder, self._programs = folder, programs
        self._servers: list[Server] = []
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in self._proxies:
            proxy.close()
        for server in self._servers:
            server.stop()

    def proxy(self, server: Server) -> Proxy:
        """A proxy before `server`."""
        self._proxies.append(Proxy(server.port))
        return self._proxies[-1]

    def single(self, flavour: str = "redis", *options: str, wait: bool = True, address: str = HOST) -> Server:
        """One server without persistence, so that restarted it is empty unless `options` say otherwise."""
        port, folder = free_port(address), self._new_folder()
        argv = [
            *("--port", str(port), "--bind", address, "--dir", str(folder), "--save", "", "--daemonize", "no"),
            *("--repl-diskless-sync-delay", "0"),
            *options,
        ]
        return self._start(flavour, argv, port, folder, wait=wait, address=address)

    def sentinels(
        self, primary: Server, flavour: str = "redis", *, number: int = 3, patience: int = 500
    ) -> list[Server]:
        """Sentinels that watch `primary` as service `pins` and fail over after `patience` milliseconds."""
        started = []
        for _ in range(number):
            port, folder = free_port(), self._new_folder()
            (folder / "sentinel.conf").write_text(
                f"port {port}\nbind {HOST}\ndir {folder}\n"
                f"sentinel monitor pins {HOST} {primary.port} {number // 2 + 1}\n"
                f"sentinel down-after-milliseconds pins {patience}\nsentinel failover-timeout pins 3000\n"
            )
            started.append(self._start(flavour, [str(folder / "sentinel.conf"), "--sentinel"], port, folder))
        for sentinel in started:
            client = sentinel.client
            # A sentinel that knows too few of the others, or no replica, does not fail over.
            eventually(lambda client=client: _state(client)[b"num-slaves"] == b"1", what="the replica")  # type: ignore[misc]
            eventually(
                lambda client=client: int(_state(client)[b"num-other-sentinels"]) == number - 1,  # type: ignore[misc]
                what="the sentinels",
            )
        return started

    def cluster(self, flavour: str = "redis", *, primaries: int = 3, replicas: int = 0) -> list[Server]:
        """A formed cluster: `primaries` with even shares of the slots, then as many replicas of the first ones."""
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        nodes = [self.single(flavour, *options) for _ in range(primaries + replicas)]
        first = nodes[0].client
        for number, node in enumerate(nodes):
            if number < primaries:
                low, high = 16_384 * number // primaries, 16_384 * (number + 1) // primaries - 1
                _plain(node.client, "CLUSTER", "ADDSLOTSRANGE", low, high)
                _plain(node.client, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                _plain(first, "CLUSTER", "MEET", HOST, node.port)
        for node in nodes:
            eventually(lambda node=node: known(node) == len(nodes), what="the nodes to meet")  # type: ignore[misc]
        for number, node in enumerate(nodes[primaries:]):
            mine = str(_plain(nodes[number].client, "CLUSTER", "MYID"), "ascii")
            _plain(node.client, "CLUSTER", "REPLICATE", mine)
            eventually(lambda node=node: b"master_link_status:up" in _raw(node), what="the replica")  # type: ignore[misc]
        for node in nodes:
            eventually(
                lambda node=node: b"cluster_state:ok" in _cluster_info(node),  # type: ignore[misc]
                what="the cluster",
            )
        return nodes

    def _new_folder(self) -> Path:
        folder = self._folder / f"server{len(self._servers)}"
        folder.mkdir()
        return folder

    def _start(
        self, flavour: str, argv: list[str], port: int, folder: Path, *, wait: bool = True, address: str = HOST
    ) -> Server:
        program = self._programs.get(flavour)
        if program is None:
            raise AssertionError(f"mark this test needs({flavour!r})")
        environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parent / "lib")}
        server = Server(folder, [str(program), *argv], port, environment, address)
        self._servers.append(server)
        return server.start(wait=wait)


def _state(client: Any) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = _plain(client, "SENTINEL", "MASTER", "pins")
    return found


def known(node: Server) -> int:
    """How many nodes of the cluster this one knows."""
    return bytes(_plain(node.client, "CLUSTER", "NODES")).count(b"\n")


def _raw(node: Server) -> bytes:
    return bytes(_plain(node.client, "INFO", "replication"))


def _cluster_info(node: Server) -> bytes:
    return bytes(_plain(node.client, "CLUSTER", "INFO"))


def _plain(client: Any, *command: str | int) -> Any:
    """The answer as the server gave it, without the client's own reshaping."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*command)
        said = connection.read_response()
    finally:
        client.connection_pool.release(connection)
    return said
