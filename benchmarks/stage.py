"""What it costs to tell whose law covers a request, from its headers to the finding, beside a bare Starlette request.

    python -m benchmarks.stage [--json] [--quick]

Warm: addresses that came before, as most do. New: every request from an address that never came, a hostile client's
choice. Pinned: a known subject besides. CPU time of this thread, the quietest of interleaved rounds (the medians are in
the JSON); compare within one run.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import anyio
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.traffic import headers
from residency.bootstrap import Residency, build
from residency.enforcement.request import Request
from residency.model import SubjectId

__all__ = ["measure", "show"]

BAR_SHARE: Final = 0.04
BAR_EXTRA: Final = 1_000
BAR_NEW: Final = 3.0
_PEER: Final = ("10.0.0.1", 40_000)
_POLICY: Final = """\
residency: 1
kind: deployment
name: bench
mode: enforce
operator: {established_in: [VN], service_lines: [online_applications]}
laws: [vn/*]
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [10.0.0.0/8]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "GET /v1/articles/{id}", subject: none, data: [personal], operation: read}
  - {route: "GET /v1/me", subject: header.x-user, data: [personal], operation: read}
"""


async def _hello(_: StarletteRequest) -> JSONResponse:
    return JSONResponse({"hello": "world"})


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_: Any) -> None:
    return None


def _address(chance: random.Random) -> bytes:
    """Any public address, one in ten of them IPv6."""
    if chance.random() < 0.1:
        return b"2001:%x:%x::%x" % (
            chance.randrange(0x200, 0x4000),
            chance.randrange(65536),
            chance.randrange(1, 65536),
        )
    return b"%d.%d.%d.%d" % (
        chance.choice((1, 8, 14, 27, 58, 103, 113, 171, 203)),
        *(chance.randrange(1, 255) for _ in "abc"),
    )


def _request(address: bytes, user: bytes | None) -> Request:
    found = headers(address + b", 10.0.0.7, 10.0.0.9")
    if user is not None:
        found.append((b"x-user", bytes(bytearray(user))))
    path = "/v1/articles/17" if user is None else "/v1/me"
    return Request("GET", path, path.encode(), found, _PEER)


def measure(*, rounds: int = 9, requests: int = 4_000, progress: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Nanoseconds of CPU per request, the ratios that have bars, and the memory that 200,000 new addresses take."""
    with tempfile.TemporaryDirectory(prefix="residency-bench-") as name:
        file = Path(name) / "bench.yaml"
        file.write_text(_POLICY)
        runtime = build(file)
        runtime.open()
        try:
            return anyio.run(_measure, runtime, rounds, requests, progress)
        finally:
            anyio.run(runtime.aclose)


async def _measure(runtime: Residency, rounds: int, requests: int, progress: Callable[[], None]) -> dict[str, Any]:
    app = Starlette(routes=[Route("/v1/articles/{id}", _hello)])
    point = runtime.point
    found: dict[str, list[float]] = {"bare": [], "warm": [], "new": [], "pinned": []}
    chance = random.Random(7)
    known = [_address(chance) for _ in range(200)]
    users = [b"user-%d" % number for number in range(200)]
    for user in users:
        await _pin(runtime, user.decode())

    def stage(sample: list[Request], match: Any) -> float:
        gc.collect()
        gc.disable()
        began = time.thread_time_ns()
        for request in sample:
            point.perception.perceive(match, request)
        spent = time.thread_time_ns() - began
        gc.enable()
        return spent / len(sample)

    plain, mine = (point.policy.activities.match("GET", path, None) for path in ("/v1/articles/17", "/v1/me"))
    for number in range(rounds + 1):
        jobs = ["bare", "warm", "new", "pinned"]
        random.Random(number).shuffle(jobs)
        for job in jobs:
            if job == "bare":
                cost = await _bare(app, requests // 4)
            elif job == "new":
                cost = stage([_request(_address(chance), None) for _ in range(requests)], plain)
            elif job == "warm":
                sample = [_request(chance.choice(known), None) for _ in range(requests)]
                stage(sample[:400], plain)
                cost = stage(sample, plain)
            else:
                sample = [_request(chance.choice(known), chance.choice(users)) for _ in range(requests)]
                stage(sample[:400], mine)
                cost = stage(sample, mine)
            if number:  # the first round fills caches and is thrown away
                found[job].append(cost)
        progress()
    medians = {job: round(median(times)) for job, times in found.items()}
    lowest = {job: round(min(times)) for job, times in found.items()}
    return {
        "rounds": rounds,
        "requests": requests,
        "nanoseconds": medians,
        "lowest": lowest,
        "warm_budget": round(BAR_SHARE * lowest["bare"] + BAR_EXTRA),
        "warm_of_bare": round(lowest["warm"] / lowest["bare"], 4),
        "new_of_warm": round(lowest["new"] / lowest["warm"], 2),
        "new_of_warm_median": round(medians["new"] / medians["warm"], 2),
        "memory_bytes": _memory(point, plain, chance),
    }


def _memory(point: Any, match: Any, chance: random.Random) -> int:
    """What 200,000 requests from new addresses leave behind."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200_000):
        point.perception.perceive(match, _request(_address(chance), None))
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return left


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/v1/articles/17",
        "raw_path": b"/v1/articles/17",
        "query_string": b"",
        "root_path": "",
        "headers": headers(b"14.160.0.1"),
        "client": _PEER,
        "server": ("127.0.0.1", 80),
        "state": {},
    }


async def _bare(app: Starlette, requests: int) -> float:
    scopes = [_scope() for _ in range(requests)]
    gc.collect()
    gc.disable()
    began = time.thread_time_ns()
    for scope in scopes:
        await app(scope, _receive, _send)
    spent = time.thread_time_ns() - began
    gc.enable()
    return spent / requests


async def _pin(runtime: Residency, user: str) -> None:
    from residency.model import Anchor, Pin, Trust

    digest = runtime.point.digest(SubjectId(user))
    anchors = ((Anchor.TERRITORY, "VN", Trust.NETWORK),)
    await runtime.point.homes.pins.put(Pin(digest, "VN", anchors, "a1" * 16, "first_write", "0" * 64, 1))


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as a table with its bars."""
    cost = result["lowest"]
    table = Table(title="Whose law, from headers to finding: CPU per request, quietest round")
    for head in ("", "cost", "bar", "holds"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    table.add_row("bare Starlette request, in process", f"{cost['bare'] / 1000:.2f} µs", "", "")
    budget = result["warm_budget"]
    table.add_row(
        "warm", f"{cost['warm'] / 1000:.2f} µs", f"<= 4 % of bare + 1 µs = {budget / 1000:.2f} µs",
        "yes" if cost["warm"] <= budget else "NO",
    )  # fmt: skip
    table.add_row(
        "every address new", f"{cost['new'] / 1000:.2f} µs", "<= 3x warm",
        f"{'yes' if result['new_of_warm'] <= BAR_NEW else 'NO'} ({result['new_of_warm']}x)",
    )  # fmt: skip
    table.add_row("warm, of a pinned subject", f"{cost['pinned'] / 1000:.2f} µs", "", "")
    table.add_row("left behind by 200,000 new addresses", f"{result['memory_bytes'] / 2**20:.1f} MiB", "bounded", "")
    console.print(table)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that it works")
    options = parser.parse_args()
    result = measure(rounds=2, requests=500) if options.quick else measure()
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        console = Console()
        console.width = max(console.width, 120)
        show(console, result)


if __name__ == "__main__":
    main()
