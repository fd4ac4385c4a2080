"""What the whole middleware costs over the bare app, beside a no-op ASGI middleware and a no-op BaseHTTPMiddleware.

    python -m benchmarks.middleware [--json] [--quick]

In process: CPU per request. Under uvicorn: requests per second and server CPU per request. Medians of interleaved
rounds; compare within one run only. There is no target here: the figures are printed, not judged.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import inprocess, served
from benchmarks.apps import VARIANTS, write_policy

REQUESTS = 5_000


def run(console: Console, *, rounds: int, served_rounds: int, seconds: float) -> dict[str, Any]:
    """Measure everything; answers plain values, nanoseconds and requests per second."""
    with tempfile.TemporaryDirectory(prefix="residency-bench-") as name, Progress(console=console) as shown:
        policy = write_policy(Path(name))
        first = shown.add_task("in process", total=rounds + 1)
        cpu = inprocess.measure(
            VARIANTS, policy, rounds=rounds, requests=REQUESTS, progress=lambda: shown.advance(first)
        )
        second = shown.add_task("under uvicorn", total=served_rounds * len(VARIANTS))
        under = served.measure(
            VARIANTS, policy, rounds=served_rounds, seconds=seconds, progress=lambda: shown.advance(second)
        )
    bare = median(cpu["bare"])
    bare_rate = median(one.requests_per_second for one in under["bare"])
    bare_cpu = median(one.cpu_nanoseconds for one in under["bare"])
    rows = {}
    for variant in VARIANTS:
        rate = median(one.requests_per_second for one in under[variant])
        server_cpu = median(one.cpu_nanoseconds for one in under[variant])
        rows[variant] = {
            "in_process": {
                "cpu_ns": round(median(cpu[variant])),
                "added_ns": round(median(cpu[variant]) - bare),
                "lowest_added_ns": round(min(cpu[variant]) - min(cpu["bare"])),
            },
            "served": {
                "requests_per_second": round(rate),
                "of_bare": round(rate / bare_rate, 3),
                "cpu_ns": round(server_cpu),
                "added_cpu_ns": round(server_cpu - bare_cpu),
            },
        }
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "uvicorn": [name for name in ("uvloop", "httptools") if find_spec(name) is not None] or ["asyncio", "h11"],
        "rounds": {"in_process": rounds, "served": served_rounds, "requests": REQUESTS, "seconds": seconds},
        "variants": rows,
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as a table, and the ratios that a reader wants."""
    served_by = ", ".join(result["uvicorn"])
    table = Table(title=f"Cost per request: medians of interleaved rounds; uvicorn runs on {served_by}")
    table.add_column("", style="bold", no_wrap=True)
    for head in ("in process, CPU", "added", "uvicorn, req/s", "of bare", "server CPU", "added"):
        table.add_column(head, justify="right", no_wrap=True)
    for variant, row in result["variants"].items():
        inside, outside = row["in_process"], row["served"]
        table.add_row(
            variant,
            f"{inside['cpu_ns'] / 1000:.2f} µs",
            f"{inside['added_ns'] / 1000:+.2f} µs",
            f"{outside['requests_per_second']:,}",
            f"{outside['of_bare']:.0%}",
            f"{outside['cpu_ns'] / 1000:.1f} µs",
            f"{outside['added_cpu_ns'] / 1000:+.1f} µs",
            style="cyan" if variant == "residency" else None,
        )
    console.print(table)
    ours, base = result["variants"]["residency"], result["variants"]["no-op BaseHTTPMiddleware"]
    for place, key, where in (("in_process", "added_ns", "in process"), ("served", "added_cpu_ns", "under uvicorn")):
        added, other = ours[place][key], base[place][key]
        if added > 0 and other > 0:
            console.print(f"{where}: residency adds {added / other:.0%} of what a no-op BaseHTTPMiddleware adds")


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that it works")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    console.width = max(console.width, 120)
    rounds, served_rounds, seconds = (2, 1, 0.5) if options.quick else (9, 3, 3.0)
    result = run(console, rounds=rounds, served_rounds=served_rounds, seconds=seconds)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(console, result)


if __name__ == "__main__":
    main()
