"""What it costs to tell which activity a request is, by the number of routes and by the length of the path.

    python -m benchmarks.routes [--json] [--quick]

Every path is new (a hostile client's choice), or comes again. CPU time of this thread, the quietest of interleaved
rounds; compare within one run. Starlette's own router, which asks its routes one by one, stands beside for scale.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from starlette.routing import Match, Route

from residency.model import Activity, Operation, SubjectSource
from residency.policy.activities import FRAMEWORKS, ActivityTable, AppRoute, Routing

__all__ = ["measure", "show"]

SIZES: Final = (10, 100, 500, 2_000)
LENGTHS: Final = (4, 64, 1_024)  # segments
BAR_FLAT: Final = 2.0  # what is left is the processor's memory: more routes, more states
BAR_LINEAR: Final = 1.5
_GET: Final = frozenset({"GET"})


def _templates(number: int) -> list[str]:
    """Routes as APIs have them: some with one parameter, some with two, one in ten of text alone."""
    kinds = ("/v1/r{0}/{{id}}", "/v1/r{0}/{{id}}/parts/{{part}}", "/v1/{{tenant}}/r{0}", "/v1/r{0}/{{id}}/log")
    return [kinds[index % 4].format(index) if index % 10 else f"/v1/fixed/r{index}" for index in range(number)]


def _table(templates: Sequence[str]) -> tuple[ActivityTable, Routing]:
    activities = [
        Activity(path, "GET", path, SubjectSource("none"), frozenset({"personal"}), Operation.READ)
        for path in templates
    ]
    routing = Routing(FRAMEWORKS["starlette"], tuple(AppRoute(_GET, path) for path in templates))
    return ActivityTable(activities), routing


def _paths(templates: Sequence[str], number: int, chance: random.Random) -> list[tuple[str, bytes]]:
    found = []
    for _ in range(number):
        path = "/".join(
            f"{chance.randrange(10**9)}" if part.startswith("{") else part
            for part in chance.choice(templates).split("/")
        )
        found.append((path, path.encode()))
    return found


def _spent(work: Callable[[], None], calls: int) -> float:
    gc.collect()
    gc.disable()
    began = time.thread_time_ns()
    work()
    spent = time.thread_time_ns() - began
    gc.enable()
    return spent / calls


def _job(table: ActivityTable, routing: Routing, sample: Sequence[tuple[str, bytes]]) -> Callable[[], None]:
    def work() -> None:
        match = table.match
        for path, raw in sample:
            match("GET", path, raw, routing=routing)

    return work


def _starlette(templates: Sequence[str], sample: Sequence[tuple[str, bytes]]) -> Callable[[], None]:
    async def handler(request: Any) -> None:
        raise NotImplementedError

    routes = [Route(path, handler) for path in templates]

    def work() -> None:
        for path, _ in sample:
            scope = {"type": "http", "method": "GET", "path": path}
            any(route.matches(scope)[0] is Match.FULL for route in routes)

    return work


def measure(*, rounds: int = 9, requests: int = 3_000) -> dict[str, Any]:
    """Nanoseconds of CPU per request, and the ratios that have bars."""
    chance = random.Random(11)
    tables = {size: (_templates(size), *_table(_templates(size))) for size in SIZES}
    long = _table(["/{rest:path}", "/{a}/{b}/{c}/{d}/{e}", "/a/{b}/{c}/{d:path}", "/{a}/b/{c}/{rest:path}"])
    found: dict[str, list[float]] = {}

    def note(name: str, cost: float) -> None:
        found.setdefault(name, []).append(cost)

    for _ in range(rounds):
        for size, (templates, table, routing) in tables.items():
            note(f"new {size}", _spent(_job(table, routing, _paths(templates, requests, chance)), requests))
            known = _paths(templates, 500, chance)
            _job(table, routing, known)()
            note(f"again {size}", _spent(_job(table, routing, known * (requests // 500)), requests // 500 * 500))
            few = max(3, requests // size)
            note(f"starlette {size}", _spent(_starlette(templates, _paths(templates, few, chance)), few))
        for length in LENGTHS:
            number = max(20, requests // length)
            sample = [f"/{chance.randrange(10**9)}" + "/a" * (length - 1) for _ in range(number)]
            note(f"long {length}", _spent(_job(*long, [(path, path.encode()) for path in sample]), number))
    lowest = {name: round(min(costs[1:] or costs)) for name, costs in found.items()}
    per_segment = {length: lowest[f"long {length}"] / length for length in LENGTHS}
    return {
        "rounds": rounds,
        "requests": requests,
        "lowest": lowest,
        "new_2000_of_10": round(lowest["new 2000"] / lowest["new 10"], 2),
        "again_2000_of_10": round(lowest["again 2000"] / lowest["again 10"], 2),
        "segment_1024_of_64": round(per_segment[1024] / per_segment[64], 2),
        "memory_bytes": _memory(chance),
    }


def _memory(chance: random.Random) -> int:
    """What 50,000 paths that never came, half of them long, leave behind."""
    templates = _templates(500)
    table, routing = _table(templates)
    _job(table, routing, _paths(templates, 100, chance))()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for path, raw in _paths(templates, 25_000, chance):
        table.match("GET", path, raw, routing=routing)
        table.match("GET", path + "x" * 2_000, raw + b"x" * 2_000, routing=routing)
    gc.collect()
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return left


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as tables with its bars."""
    cost = result["lowest"]
    table = Table(title="Which activity a request is: CPU per request, quietest round")
    for head in ("routes", "path is new", "path comes again", "Starlette's own router"):
        table.add_column(head, justify="right", no_wrap=True)
    for size in SIZES:
        cells = (cost[f"{name} {size}"] / 1000 for name in ("new", "again", "starlette"))
        table.add_row(f"{size:,}", *(f"{each:.2f} µs" for each in cells))
    console.print(table)
    for text, value, bar in (
        ("new path, 2,000 routes of 10", result["new_2000_of_10"], BAR_FLAT),
        ("path again, 2,000 routes of 10", result["again_2000_of_10"], BAR_FLAT),
        ("each segment, of 1,024 of 64", result["segment_1024_of_64"], BAR_LINEAR),
    ):
        console.print(f"{text}: {value}x (bar: <= {bar}x) {'holds' if value <= bar else 'DOES NOT HOLD'}")
    per = ", ".join(f"{length:,}: {cost[f'long {length}'] / 1000:.2f} µs" for length in LENGTHS)
    console.print(f"by segments of the path: {per}")
    console.print(
        f"left behind by 50,000 new paths, half of them 2,000 characters: {result['memory_bytes'] / 2**20:.1f} MiB"
    )


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that it works")
    options = parser.parse_args()
    result = measure(rounds=2, requests=1_000) if options.quick else measure()
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        console = Console()
        console.width = max(console.width, 120)
        show(console, result)


if __name__ == "__main__":
    main()
