"""What a call of a service costs through its store, beside a plain httpx client, to one server over loopback.

    python -m benchmarks.services [--json] [--quick]

The server is a process of its own and answers a small JSON at once, which no model does: the share is the worst there
is, the microseconds are what a call costs more. `memory` has its journal in memory: routing, the act, the judged
connection. `durable` waits for the intent on disk before the first byte leaves, alone and with 16 calls at a time,
which share that wait. Medians of interleaved rounds, and the least CPU time of this process; compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from residency.adapters.journal_files import JournalFiles
from residency.adapters.resolver_system import SystemResolver
from residency.adapters.service_client import open_client
from residency.adapters.sink_http import HttpSink
from residency.enforcement.context import current
from residency.enforcement.ports import Journal
from residency.enforcement.request import Request
from tests.world import HANOI, VN, Deployed, handling, load_policy, write_deployment

__all__ = ["measure", "show"]

_TOGETHER: Final = 16
_BODY: Final = {"model": "m", "messages": [{"role": "user", "content": "x" * 500}]}
_DEPLOYMENT: Final = """
sinks:
  llm: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "http://127.0.0.1/"}
stores: {llm: [llm]}
activities:
  - {route: "POST /chat", subject: none, data: [personal], operation: process, http: llm}
"""
_SERVER: Final = """
import asyncio, sys
SAID = b'{"ok": true}'
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
ANSWER = HEAD % len(SAID) + SAID
class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.held = transport, b""
    def data_received(self, data):
        self.held += data
        while b"\\r\\n\\r\\n" in self.held:
            head, _, rest = self.held.partition(b"\\r\\n\\r\\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0])
            if len(rest) < length:
                return
            self.held = rest[length:]
            self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", int(sys.argv[1]))
    print("up", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@contextmanager
def _server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(port)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield f"http://127.0.0.1:{port}/v1/"
        finally:
            process.kill()


def measure(*, rounds: int = 9, calls: int = 160) -> dict[str, Any]:
    """Microseconds per call (medians of rounds; least CPU time), and how many times the plain client's that is."""
    with tempfile.TemporaryDirectory(prefix="residency-bench-") as name, _server() as url:
        return asyncio.run(_measure(Path(name), url, rounds, calls))


async def _measure(folder: Path, url: str, rounds: int, calls: int) -> dict[str, Any]:
    plain = httpx.AsyncClient(base_url=url, trust_env=False)
    memory, durable = _world(folder / "memory", url, None), _world(folder / "files", url, folder / "audit")

    async def alone(post: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(calls):
            await post()

    async def together(post: Callable[[], Awaitable[Any]]) -> None:
        async def some() -> None:
            for _ in range(calls // _TOGETHER):
                await post()

        await asyncio.gather(*(some() for _ in range(_TOGETHER)))

    async def routed(world: Deployed, how: Callable[[Any], Awaitable[None]]) -> None:
        with handling(world.point.admit(Request("POST", "/chat", b"/chat", (), (HANOI, 50_000)))):
            async with current().http("llm") as client:
                await how(lambda: client.post("/chat", json=_BODY))

    jobs: dict[str, Callable[[], Awaitable[None]]] = {
        "plain": lambda: alone(lambda: plain.post("chat", json=_BODY)),
        "memory": lambda: routed(memory, alone),
        "durable": lambda: routed(durable, alone),
        "plain x16": lambda: together(lambda: plain.post("chat", json=_BODY)),
        "memory x16": lambda: routed(memory, together),
        "durable x16": lambda: routed(durable, together),
    }
    found: dict[str, list[float]] = {name: [] for name in jobs}
    busy: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            began, working = time.perf_counter_ns(), time.process_time_ns()
            await job()
            spent, worked = time.perf_counter_ns() - began, time.process_time_ns() - working
            if number:  # the first round opens connections, and is thrown away
                done = calls // _TOGETHER * _TOGETHER if name.endswith("x16") else calls
                found[name].append(spent / done / 1_000)
                busy[name].append(worked / done / 1_000)
    await plain.aclose()
    for world in (memory, durable):
        await world.stores.aclose()
        world.journal.close()
    await plain.aclose()
    for world in (memory, durable):
        await world.stores.aclose()
        world.journal.close()
    wall, cpu = ({name: median(each) for name, each in found.items()}, {name: min(each) for name, each in busy.items()})
    return {
        "rounds": rounds,
        "calls": calls,
        "microseconds": {name: round(value, 1) for name, value in wall.items()},
        "of_plain": _ratios(wall),
        "cpu_microseconds": {name: round(value, 1) for name, value in cpu.items()},
        "cpu_of_plain": _ratios(cpu),
    }


def _ratios(found: dict[str, float]) -> dict[str, float]:
    return {name: round(value / found["plain x16" if "x16" in name else "plain"], 2) for name, value in found.items()}


def _world(folder: Path, url: str, audit: Path | None) -> Deployed:
    folder.mkdir()
    policy = load_policy(write_deployment(folder, _DEPLOYMENT))
    sink = HttpSink("llm", VN, url, resolver=SystemResolver(), client=open_client)
    journal: Journal | None = None
    if audit is not None:
        audit.mkdir()
        journal = JournalFiles(audit).open()
    return Deployed(policy, [sink], journal=journal)  # type: ignore[arg-type]  # read back by tests alone


def show(found: dict[str, Any]) -> None:
    """Print one measurement as a table."""
    table = Table(title=f"a call of a service: {found['rounds']} rounds of {found['calls']} calls")
    for column in ("way", "microseconds a call", "of plain", "CPU microseconds", "of plain"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, value in found["microseconds"].items():
        cpu = f"{found['cpu_microseconds'][name]:,.1f}", f"{found['cpu_of_plain'][name]:.2f}"
        table.add_row(name, f"{value:,.1f}", f"{found['of_plain'][name]:.2f}", *cpu)
    Console().print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that all of it works")
    options = parser.parse_args()
    found = measure(rounds=3, calls=64) if options.quick else measure()
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


if __name__ == "__main__":
    main()
