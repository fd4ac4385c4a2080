"""In: variants and a policy. Out: requests per second and server CPU per request under uvicorn, for each round.

One server process at a time, on the first core where pinning is possible; a closed loop of connections on the other:
each sends its next request when the last is answered. The client is asyncio, so the rate is what both can do together;
CPU per request is the server's alone and the steadier figure.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from benchmarks.traffic import addresses, raw_request

__all__ = ["Served", "measure"]

ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Served:
    """One round of one variant."""

    requests_per_second: float
    cpu_nanoseconds: float


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], ended: asyncio.Event) -> None:
        self._requests = requests
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self.answered = 0
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        # The body is one short line that comes with or after its head; its closing brace ends the answer.
        if data.startswith(b"HTTP/1.1") and not data.startswith(b"HTTP/1.1 200"):
            self.failed += 1
        if data.endswith(b"}") and self._transport is not None:
            self.answered += 1
            if not self._ended.is_set():
                self._transport.write(next(self._requests))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def _drive(port: int, seconds: float, connections: int, seed: int) -> tuple[int, int, float]:
    requests = cycle([raw_request(address) for address in addresses(20_000, seed)])
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    opened = [
        (await loop.create_connection(lambda: _Connection(requests, ended), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    ended.set()
    took = time.monotonic() - began
    await asyncio.sleep(0.05)
    for connection in opened:
        connection.close()
    return sum(c.answered for c in opened), sum(c.failed for c in opened), took


def _cpu(pid: int) -> float:
    """Seconds of CPU that the process has used, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _wait(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if server.poll() is not None:
            raise RuntimeError("the server ended before it served")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server did not come up within ten seconds")


@contextmanager
def _server(variant: str, policy: Path) -> Iterator[tuple[int, int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    command = [sys.executable, "-m", "uvicorn", "benchmarks.apps:served", "--factory", "--no-access-log"]
    # uvicorn's own proxy handling would rewrite the peer address; the forwarded address is the middleware's work here.
    command += ["--no-proxy-headers", "--log-level", "warning", "--port", str(port)]
    environment = {"RESIDENCY_BENCH_VARIANT": variant, "RESIDENCY_BENCH_POLICY": str(policy)}
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment})
    try:
        if len(cores) > 1:
            os.sched_setaffinity(server.pid, {cores[0]})
            os.sched_setaffinity(0, set(cores[1:]))
        _wait(port, server)
        yield server.pid, port
    finally:
        if len(cores) > 1:
            os.sched_setaffinity(0, set(cores))
        server.terminate()
        server.wait(timeout=20)


def measure(
    variants: tuple[str, ...], policy: Path, *, rounds: int, seconds: float, progress: Callable[[], None]
) -> dict[str, list[Served]]:
    """Each variant's rounds, interleaved. Raises: RuntimeError where a server fails or refuses a request."""
    found: dict[str, list[Served]] = {variant: [] for variant in variants}
    order = list(variants)
    for number in range(rounds):
        random.Random(number).shuffle(order)
        for variant in order:
            with _server(variant, policy) as (pid, port):
                asyncio.run(_drive(port, seconds / 4, 32, seed=99))  # warm-up
                before = _cpu(pid)
                answered, failed, took = asyncio.run(_drive(port, seconds, 32, seed=number))
                used = _cpu(pid) - before
            if failed or not answered:
                raise RuntimeError(f"{variant}: {failed} requests were not answered with 200")
            found[variant].append(Served(answered / took, used / answered * 1e9))
            progress()
    return found
