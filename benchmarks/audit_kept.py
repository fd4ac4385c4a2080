"""A folder and an entry in; how many of it each way keeps per second on the folder's disk, and what they wait, out.

    python -m benchmarks.audit_kept ROUNDS SECONDS

does it in a process of its own, and prints the result as JSON: `benchmarks.audit_disk` runs it so.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
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

from benchmarks import audit_peers as peers
from benchmarks.audit_cpu import Step
from benchmarks.audit_ours import Trail, document_of, first_entry, open_trail
from benchmarks.floors import FLOOR, WARM, Floor, open_floors

__all__ = ["CALLERS", "ONE_PAGE", "WAITERS", "kept", "scratch"]

CALLERS: Final = 64
WAITERS: Final = 256
FDATASYNC: Final = "an fdatasync of those x 256"
ONE_PAGE: Final = "an fdatasync of one page"
OWN: Final = ("ours", FLOOR)
_OWN_ACCOUNT: Final = ("residency-sequencer", "residency-journal")  # threads that flush though nobody waits


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder on the disk that is measured, which goes with the block."""
    return tempfile.TemporaryDirectory(prefix="residency-bench-", dir=os.environ.get("RESIDENCY_BENCH_DIR"))


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


def kept(folder: Path, entry: bytes, rounds: int, seconds: float, progress: Step = lambda: None) -> dict[str, Any]:
    """Entries per second of each way, what a durable one waits, and how many times the peers' that is."""
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

    def times(peer: str, callers: int, digits: int, who: str = "ours") -> float:
        ours, theirs = rates[f"{who}, durable x {callers}"], rates[f"{peer} x {CALLERS}"]
        return round(median([a / b for a, b in zip(ours, theirs, strict=True)]), digits)

    def least(peer: str, callers: int) -> float:
        return max(times(peer, callers, 1, who) for who in (FLOOR, WARM))

    return {
        "per_second": {name: round(max(found)) for name, found in rates.items()},
        "per_second_median": {name: round(median(found)) for name, found in rates.items()},
        "waits": {name: round(min(found)) for name, found in waits.items()},
        "waits_median": {name: round(median(found)) for name, found in waits.items()},
        "wait": added("ours", FDATASYNC),
        "wait_of_one_page": added("ours", ONE_PAGE),
        "wait_floor": added(FLOOR, f"{FDATASYNC}, {FLOOR}"),
        "kept_up": round(median(kept_up), 2),
        "lines": times("JSON lines, fsync a line", CALLERS, 1),
        "lines_floor": least("JSON lines, fsync a line", CALLERS),
        "unsynced": times("JSON lines, no fsync", CALLERS, 2),
        "pymerkle": times("pymerkle, SQLite file", CALLERS, 1),
        "sqlite_64": times("SQLite WAL, FULL", CALLERS, 1),
        "sqlite": times("SQLite WAL, FULL", WAITERS, 1),
        "sqlite_floor": least("SQLite WAL, FULL", WAITERS),
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


def main() -> None:
    """Measure in a process of its own."""
    rounds, seconds = int(sys.argv[1]), float(sys.argv[2])
    with scratch() as name:
        folder = Path(name)
        with open_trail(folder / "one", sequencer=False) as trail:
            trail.record()
        print(json.dumps(kept(folder, first_entry(folder / "one"), rounds, seconds)))


if __name__ == "__main__":
    main()
