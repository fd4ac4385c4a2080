"""What an audit trail costs: ours beside JSON lines, SQLite and pymerkle, in one run.

    python -m benchmarks.audit [--json] [--quick]

Ours is the recorder that requests use, with a decision under the Vietnamese laws of this repository, its journal on
disk; where something is said per second the sequencer works beside it, as in a server. Peers keep the same record as a
dictionary. What is kept per second is by the clock, 64 requests at once in one event loop, once it has gone on for a
while, and nobody begins before the sequencer is done with what another left. Rounds are interleaved. What is said per
second is of the quietest one, ours and peers' alike (medians are in the JSON); how many times another's that is, is
told of each round, and the median of them counts: a round takes seconds, and a machine is busy for minutes. All else
is the CPU time of the thread that does it, of the quietest round. Waits are counted in fdatasyncs of the same round, as
disks differ: those that the waiters waited for are timed as they happen; one of a single page, with nothing else going
on, stands beside it. What a durable entry adds is its p50 less that of a buffered one, as many at once, in that round;
of the rounds the median. How much of what was recorded meanwhile the sequencer published meanwhile is told, too.

Beside each bar stands the floor (benchmarks/floors.py): the least Python that keeps the same promise for an entry
of the same length, in the same rounds, without a sequencer, a lock or a check. It is told in pages that nobody touched
before, and in the same few pages over and over, as no journal could do that is kept; the better of both counts.
Compare within one run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import anyio
import anyio.lowlevel
from rich.console import Console
from rich.table import Table

from benchmarks import audit_peers as peers
from benchmarks.audit_cpu import SEQUENCER, Step, per_record
from benchmarks.audit_ours import Trail, document_of, open_trail
from benchmarks.floors import FLOOR, WARM, Floor, open_floors
from benchmarks.verdict import Bar, end, table_of

__all__ = ["BARS", "bars_of", "measure", "show"]

BARS: Final = {"lines": 20.0, "append": 4.0, "record": 0.7, "share": 400.0, "sqlite": 50.0, "wait": 4.0}
"""Times JSON lines with fsync; times pymerkle's append; of json.dumps; nanoseconds; times SQLite; fdatasyncs."""
CALLERS: Final = 64
WAITERS: Final = 256
FDATASYNC: Final = "an fdatasync of those x 256"
ONE_PAGE: Final = "an fdatasync of one page"
OWN: Final = ("ours", FLOOR)
_OWN_ACCOUNT: Final = ("residency-sequencer", "residency-journal")  # threads that flush though nobody waits


# -- per second, 64 at once ----------------------------------------------------------------------------------------


async def _together(
    callers: int, seconds: float, one: Callable[[], Any], begin: Callable[[], object] = lambda: None
) -> tuple[float, list[int]]:
    """`callers` tasks call `one` over and over: calls per second, and nanoseconds that each call took.

    A half of `seconds` goes by before it counts; `begin` is called then. What was begun before does not count, what
    was begun within does, and so does the time that it takes.
    """
    waits: list[int] = []
    clock = time.perf_counter_ns
    began = clock() + int(seconds * 0.5e9)
    until: float = math.inf

    async def caller() -> None:
        nonlocal began, until
        now, counted = clock(), False
        while now < until or not counted:  # once at least, however slow it is
            await one()
            then, now = now, clock()
            if then >= began and until < math.inf:
                waits.append(now - then)
                counted = True
            elif now >= began and until == math.inf:
                began, until = now, now + seconds * 1e9
                begin()

    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(caller)
    return len(waits) / ((clock() - began) / 1e9), waits


def _at_once(keep: peers.Keep, record: dict[str, Any]) -> Callable[[], Any]:
    """One request of a peer's: the record, kept, and the turn passed on."""
    checkpoint = anyio.lowlevel.checkpoint

    async def one() -> None:
        keep(record)
        await checkpoint()

    return one


@contextmanager
def _ways(
    folder: Path, trail: Trail, document: dict[str, Any], floors: dict[str, Floor]
) -> Iterator[dict[str, Callable[[], Any]]]:
    async def durable() -> None:
        await trail.durable(trail.record())

    async def buffered() -> None:
        trail.record()
        await anyio.lowlevel.checkpoint()

    def least(floor: Floor) -> Callable[[], Any]:
        async def one() -> None:
            floor.record()
            await floor.durable()

        return one

    async def least_buffered() -> None:
        floors[FLOOR].record()
        await anyio.lowlevel.checkpoint()

    with ExitStack() as stack:
        keeps = {
            "JSON lines, fsync a line": peers.lines(folder, sync=True),
            "JSON lines, no fsync": peers.lines(folder, sync=False),
            "pymerkle, SQLite file": peers.pymerkle_file(folder),
            "SQLite WAL, FULL": peers.sqlite(folder),
        }
        ways = {name: _at_once(stack.enter_context(keep), document) for name, keep in keeps.items()}
        ways |= {f"{name}, durable": least(floor) for name, floor in floors.items()}
        yield {"ours, durable": durable, "ours, buffered": buffered, f"{FLOOR}, buffered": least_buffered, **ways}


def _kept(folder: Path, entry: bytes, rounds: int, seconds: float, progress: Step) -> dict[str, Any]:
    """Entries per second of each way, and what a durable one waits."""
    rates: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    kept_up: list[float] = []
    behind = [0]
    with (
        open_trail(folder / "kept", sequencer=True) as trail,
        open_floors(folder, len(entry)) as floors,
        _ways(folder, trail, document_of(entry), floors) as ways,
        _flushes() as flushes,
    ):
        for number in range(rounds + 1):
            jobs = [(name, CALLERS) for name in ways] + [(name, WAITERS) for name in ways if name.startswith(OWN)]
            random.Random(number).shuffle(jobs)
            for name, callers in jobs:
                trail.settle()
                for floor in floors.values():
                    floor.renew()

                def begin() -> None:
                    flushes.clear()
                    behind[0] = trail.behind()

                rate, took = anyio.run(_together, callers, seconds, ways[name], begin)
                left = trail.behind() - behind[0]
                if number:
                    rates.setdefault(f"{name} x {callers}", []).append(rate)
                    waits.setdefault(f"{name} x {callers}", []).append(median(took))
                    if callers == WAITERS and name in (f"{FLOOR}, durable", "ours, durable"):
                        ours = name == "ours, durable"
                        one = median(flushes or took)  # none: all of it was one
                        waits.setdefault(FDATASYNC if ours else f"{FDATASYNC}, {FLOOR}", []).append(one)
                        if ours:
                            waits.setdefault("ours, durable x 256: p99", []).append(quantiles(took, n=100)[98])
                            kept_up.append(1 - left / len(took))
            if number:
                waits.setdefault(ONE_PAGE, []).append(_fdatasync(folder, 40))
            progress()

    def added(who: str, one: str) -> float:
        each = zip(waits[f"{who}, durable x {WAITERS}"], waits[f"{who}, buffered x {WAITERS}"], waits[one], strict=True)
        return round(median((durable - buffered) / disk for durable, buffered, disk in each), 1)

    return {
        "rounds": rates,
        "per_second": {name: round(max(found)) for name, found in rates.items()},
        "per_second_median": {name: round(median(found)) for name, found in rates.items()},
        "waits": {name: round(min(found)) for name, found in waits.items()},
        "waits_median": {name: round(median(found)) for name, found in waits.items()},
        "wait": added("ours", FDATASYNC),
        "wait_of_one_page": added("ours", ONE_PAGE),
        "wait_floor": added(FLOOR, f"{FDATASYNC}, {FLOOR}"),
        "kept_up": round(median(kept_up), 2),
    }


@contextmanager
def _flushes() -> Iterator[list[int]]:
    """Nanoseconds of each fdatasync that somebody waits for while this is open: not of those that nobody asked for."""
    took: list[int] = []
    real, clock = os.fdatasync, time.perf_counter_ns

    def timed(fd: Any) -> None:
        began = clock()
        real(fd)
        if threading.current_thread().name not in _OWN_ACCOUNT:
            took.append(clock() - began)

    os.fdatasync = timed
    try:
        yield took
    finally:
        os.fdatasync = real


def _fdatasync(folder: Path, times: int) -> float:
    """Median nanoseconds of an fdatasync after a page of a preallocated file was written."""
    size = 4096
    fd = os.open(folder / "fdatasync", os.O_RDWR | os.O_CREAT)
    took: list[int] = []
    try:
        os.posix_fallocate(fd, 0, size * times)
        os.fsync(fd)
        for number in range(times):
            os.pwrite(fd, b"x" * size, number * size)
            began = time.perf_counter_ns()
            os.fdatasync(fd)
            took.append(time.perf_counter_ns() - began)
    finally:
        os.close(fd)
        (folder / "fdatasync").unlink()
    return median(took)


# -- the whole -----------------------------------------------------------------------------------------------------


def measure(
    *, rounds: int = 9, seconds: float = 1.0, records: int = 5_000, progress: Step = lambda: None
) -> dict[str, Any]:
    """Entries per second, nanoseconds, and the ratios that have bars."""
    with tempfile.TemporaryDirectory(prefix="residency-bench-", dir=os.environ.get("RESIDENCY_BENCH_DIR")) as name:
        entry, costs, medians = per_record(Path(name), rounds, records, progress)
        kept = _kept(Path(name), entry, rounds, seconds, progress)
    rounds_of: dict[str, list[float]] = kept.pop("rounds")

    def times(peer: str, callers: int, digits: int, who: str = "ours") -> float:
        ours, theirs = rounds_of[f"{who}, durable x {callers}"], rounds_of[f"{peer} x {CALLERS}"]
        return round(median([a / b for a, b in zip(ours, theirs, strict=True)]), digits)

    def least(peer: str, callers: int) -> float:
        return max(times(peer, callers, 1, who) for who in (FLOOR, WARM))

    dumps = costs["json.dumps of the record"]
    return {
        "load": round(os.getloadavg()[0], 1),
        "bytes": len(entry),
        "nanoseconds": costs,
        "nanoseconds_median": medians,
        **kept,
        "lines": times("JSON lines, fsync a line", CALLERS, 1),
        "unsynced": times("JSON lines, no fsync", CALLERS, 2),
        "pymerkle": times("pymerkle, SQLite file", CALLERS, 1),
        "sqlite_64": times("SQLite WAL, FULL", CALLERS, 1),
        "sqlite": times("SQLite WAL, FULL", WAITERS, 1),
        "append": round(costs["pymerkle's append"] / costs["leaf and frontier"], 1),
        "record": round(costs["encode, store, leaf"] / dumps, 2),
        "all": round((costs["the request's share"] + costs[SEQUENCER]) / dumps, 2),
        "share": costs["the request's share"],
        "floor": {
            "lines": least("JSON lines, fsync a line", CALLERS),
            "sqlite": least("SQLite WAL, FULL", WAITERS),
            "append": round(costs["pymerkle's append"] / costs[f"{FLOOR} of leaf and frontier"], 1),
            "record": round(costs[f"{FLOOR} of encode, store, leaf"] / dumps, 2),
            "share": min(costs[f"{FLOOR} of the share"], costs[f"{WARM}, of the share"]),
            "wait": kept["wait_floor"],
        },
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """The result as tables with their bars."""
    console.print(f"load average {result['load']}; an entry is {result['bytes']} bytes")
    table = Table(title="Entries kept per second (callers at once), quietest round")
    for head in ("", "per second", "p50 of one"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    waits, rates = result["waits"], result["per_second"]
    for name, wait in sorted(waits.items(), key=lambda each: (-rates.get(each[0], 0), each[1])):
        table.add_row(name, f"{rates[name]:,}" if name in rates else "", f"{wait / 1000:,.0f} µs")
    console.print(table)
    table = Table(title="CPU per record, quietest round")
    for head in ("", "cost"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for name, cost in sorted(result["nanoseconds"].items(), key=lambda each: each[1]):
        table.add_row(name, f"{cost / 1000:.2f} µs")
    console.print(table)
    console.print(table_of(bars_of(result)))
    table = Table(title="Beside")
    for head in ("", "found"):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for what, key in (
        ("64 at once, beside JSON lines without fsync, x", "unsynced"),
        ("64 at once, beside pymerkle's SQLite file, x", "pymerkle"),
        ("64 at once, beside SQLite WAL FULL, x", "sqlite_64"),
        ("request's and sequencer's share, of json.dumps", "all"),
        ("durable at 256, added p50, in fdatasyncs of one page", "wait_of_one_page"),
        ("durable at 256, published meanwhile, of recorded", "kept_up"),
    ):
        table.add_row(what, f"{result[key]}")
    console.print(table)


def bars_of(result: dict[str, Any]) -> list[Bar]:
    """Each bar with what was found, and with its floor."""
    least = {
        "lines": "64 at once, beside JSON lines with fsync",
        "sqlite": "durable, 256 at once, beside SQLite WAL FULL",
        "append": "leaf and frontier, beside pymerkle's append",
    }
    most = {
        "record": ("encode, store, leaf, of json.dumps", "x"),
        "share": ("the request's share, buffered", " ns"),
        "wait": ("durable at 256, added p50", " fdatasyncs"),
    }
    floor = result["floor"]
    bars = [Bar(what, result[key], BARS[key], floor[key], True, "x") for key, what in least.items()]
    return bars + [Bar(what, result[key], BARS[key], floor[key], unit=unit) for key, (what, unit) in most.items()]


def main() -> None:
    """Read the options, measure, print; end with 3 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object to standard output")
    parser.add_argument("--quick", action="store_true", help="few short rounds, to see that it works")
    options = parser.parse_args()
    result = measure(rounds=2, seconds=0.5, records=1_000) if options.quick else measure()
    bars = bars_of(result)
    if options.json:
        told = result | {"bars": [bar.plain() for bar in bars]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        console = Console()
        console.width = max(console.width, 120)
        show(console, result)
    end(options.quick or all(bar.holds for bar in bars))


if __name__ == "__main__":
    main()
