"""What looking a pin up costs: from the local copy of pins on Redis, beside asking Redis itself over loopback.

    python -m benchmarks.pins [--json] [--quick] [--url redis://…]

Without `--url` a server of its own is started (`scripts/test-tiers` fetches one). Medians of interleaved rounds, in one
process on one machine: compare within one run only. The bar is a look-up at least 200 times as fast as a
`redis.asyncio` GET.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import redis.asyncio
from rich.console import Console
from rich.table import Table

from benchmarks.verdict import end
from residency.adapters.pins_memory import PinsMemory
from residency.adapters.pins_redis import PinsRedis
from residency.adapters.pins_redis.scripts import format_pin
from residency.adapters.pins_sqlite import PinsSqlite
from residency.enforcement.ports import Pins
from residency.model import Anchor, Pin, Trust
from tests.conftest import find_redis
from tests.servers import Servers

SUBJECTS = [f"{number:064x}" for number in range(1_000)]
BAR = 200
PREFIX = "residency:benchmark:"


def pin_of(subject: str) -> Pin:
    """A pin as most are: one anchor, by network."""
    return Pin(
        subject, "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "a1" * 16, "write", "0" * 64, 1_800_000_000_000_000
    )


def measure(url: str | None = None, *, rounds: int = 15) -> dict[str, Any]:
    """Nanoseconds per look-up (medians of rounds; of single calls where they wait) and ratios to the local copy."""
    with tempfile.TemporaryDirectory(prefix="residency-bench-") as name, _server(Path(name), url) as there:
        return asyncio.run(_measure(there, Path(name), rounds))


@contextmanager
def _server(folder: Path, url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with Servers(folder, {"redis": find_redis()}) as servers:
        yield servers.single("redis").url


async def _measure(url: str, folder: Path, rounds: int) -> dict[str, Any]:
    pins = PinsRedis(url, prefix=PREFIX, stale_for=60_000_000)
    memory, sqlite = PinsMemory(), PinsSqlite(folder / "pins.db")
    client = redis.asyncio.Redis.from_url(url)
    found: dict[str, list[float]] = {}
    try:
        for subject in SUBJECTS:
            await client.set(PREFIX + subject, format_pin(pin_of(subject)))
            await memory.put(pin_of(subject))
        for subject in SUBJECTS[:100]:
            await sqlite.put(pin_of(subject))
        await _fill(pins)
        for _ in range(rounds):
            gc.collect()
            gc.disable()
            await _waiting(found, "redis.asyncio GET", lambda subject: client.get(PREFIX + subject))
            await _waiting(found, "a miss: PinsRedis.get", pins.get)
            await _fill(pins)
            _looking(found, "PinsRedis.peek", pins.peek, SUBJECTS)
            _looking(found, "PinsMemory.peek", memory.peek, SUBJECTS)
            _looking(found, "PinsSqlite.peek", sqlite.peek, SUBJECTS[:100])
            gc.enable()
    finally:
        for adapter in (pins, memory, sqlite):
            await _close(adapter)
        await client.delete(*(PREFIX + subject for subject in SUBJECTS), PREFIX + "key_mark")
        await client.aclose()
    medians = {what: median(times) for what, times in found.items()}
    ratio = medians["redis.asyncio GET"] / medians["PinsRedis.peek"]
    return {
        "nanoseconds": {what: round(value) for what, value in medians.items()},
        "get_over_peek": round(ratio),
        "bar": BAR,
        "holds": ratio >= BAR,
    }


async def _fill(pins: PinsRedis) -> None:
    for subject in SUBJECTS:
        while not pins.peek(subject)[1]:
            await pins.get(subject)
    if any(pins.peek(subject)[0] != pin_of(subject) for subject in SUBJECTS):
        raise SystemExit("the local copy does not hold what was stored: nothing was measured")


async def _close(adapter: Pins) -> None:
    await adapter.aclose()


async def _waiting(found: dict[str, list[float]], what: str, work: Callable[[str], Any]) -> None:
    """One call at a time, each by itself: the median is a p50 over all rounds."""
    times = found.setdefault(what, [])
    for subject in SUBJECTS[:200]:
        began = time.perf_counter_ns()
        await work(subject)
        times.append(time.perf_counter_ns() - began)


def _looking(found: dict[str, list[float]], what: str, work: Callable[[str], Any], subjects: list[str]) -> None:
    """All subjects in a row, the loop counted in: a clock costs as much as what it would measure."""
    began = time.perf_counter_ns()
    for subject in subjects:
        work(subject)
    found.setdefault(what, []).append((time.perf_counter_ns() - began) / len(subjects))


def main() -> None:
    """Measure, print, and end with 3 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print plain values")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--url", help="a server that is there already")
    options = parser.parse_args()
    found = measure(options.url, rounds=3 if options.quick else 15)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        table = Table("look-up", "ns", "times PinsRedis.peek")
        for what, nanoseconds in found["nanoseconds"].items():
            table.add_row(what, f"{nanoseconds:,}", f"{nanoseconds / found['nanoseconds']['PinsRedis.peek']:,.1f}")
        console = Console()
        console.print(table)
        verdict = "holds" if found["holds"] else "MISSED"
        console.print(
            f"a redis.asyncio GET takes {found['get_over_peek']} times as long as a peek; bar {BAR}: {verdict}"
        )
    end(found["holds"] or options.quick)


if __name__ == "__main__":
    main()
