"""What storing and reading an object costs through its store, beside obstore alone, on one S3 server over loopback.

    python -m benchmarks.objects [--json] [--quick] [--url ENDPOINT] [--count N]

The server is a SeaweedFS of this machine (or `--url`, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY): it answers in
about a millisecond, as none does that lies somewhere else, so the share is the worst there is. `plain` is obstore as
one would use it; `memory` a handle of `current().store()` whose journal is in memory: routing, the act, the key, what
came of it; `durable` one whose journal is on disk, where a write waits for intent and outcome to be there. Each call is
made in turn by all, in changing order, some at a time; medians of the calls, and the least CPU time of a round, which
the machine's other work moves less. The bar is 2 % for `memory`. Beside it stands the floor (benchmarks/floors.py): the
plain client's call between two bare entries, in a file in memory; for a `put` each is waited for until it is durable.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import obstore
from obstore.store import S3Store
from rich.console import Console
from rich.table import Table

from benchmarks.floors import open_floor
from benchmarks.verdict import Bar, end, table_of
from residency.adapters.journal_files import JournalFiles
from residency.adapters.sink_objects import BucketSink
from residency.enforcement.context import current, enter, leave
from residency.enforcement.request import Request
from residency.storage import ObjectHandle
from tests.conftest import find_weed
from tests.object_store import ACCESS, SECRET, seaweed
from tests.world import HANOI, HOME, VN, Deployed, handling, load_policy, write_deployment

__all__ = ["measure", "show"]

BAR: Final = 2.0  # hundredths of a plain call's time on the wall
_SHM: Final = Path("/dev/shm")  # noqa: S108 - for a folder of our own inside
_MEMORY: Final = _SHM if _SHM.is_dir() else None
_BUCKET: Final = "objects"
_ROUND: Final = 20  # calls of one way in a row, each with a key of its own
_SIZES: Final = {"4 KiB": 4 << 10, "1 MiB": 1 << 20}
_DEPLOYMENT: Final = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {uploads: [vn]}
activities:
  - {route: "POST /uploads", subject: none, data: [personal], operation: write, store: uploads}
"""
Call = Callable[[str, bytes], Awaitable[object]]


def measure(*, url: str | None = None, calls: int = 2_000) -> dict[str, Any]:
    """Microseconds per call (medians) and how many times the plain client's that is."""
    with tempfile.TemporaryDirectory(prefix="residency-bench-") as name, _server(Path(name), url) as there:
        return asyncio.run(_measure(Path(name), *there, calls))


@contextmanager
def _server(folder: Path, url: str | None) -> Iterator[tuple[str, str, str]]:
    if url is not None:
        yield url, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        return
    (folder / "weed").mkdir()
    with seaweed(find_weed(), folder / "weed") as server:
        server.ask("PUT", f"/{_BUCKET}")
        yield server.endpoint, ACCESS, SECRET


async def _measure(folder: Path, endpoint: str, key: str, secret: str, calls: int) -> dict[str, Any]:
    plain = S3Store(
        _BUCKET,
        prefix="plain",
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=key,
        secret_access_key=secret,
        client_options={"allow_http": endpoint.startswith("http://")},
    )
    worlds = {name: _world(folder / name, endpoint, key, secret) for name in ("memory", "durable")}
    handles = {name: _handle(world) for name, world in worlds.items()}

    async def plain_put(name: str, value: bytes) -> object:
        return await obstore.put_async(plain, name, value)

    async def plain_get(name: str, value: bytes) -> object:
        return bytes(await (await obstore.get_async(plain, name)).bytes_async())

    def through(which: str, verb: str) -> Call:
        world, handle = worlds[which], handles[which]

        async def call(name: str, value: bytes) -> object:
            token = enter(handle._current)  # once for each request, as the middleware does
            try:
                return await (handle.put(name, value) if verb == "put" else handle.get(name))
            finally:
                leave(token)

        assert world is not None
        return call

    async def floor_put(name: str, value: bytes) -> object:
        floor.record()
        await floor.durable()
        answer = await obstore.put_async(plain, name, value)
        floor.record()
        await floor.durable()
        return answer

    async def floor_get(name: str, value: bytes) -> object:
        floor.record()
        answer = bytes(await (await obstore.get_async(plain, name)).bytes_async())
        floor.record()
        return answer

    stack = ExitStack()
    there = stack.enter_context(tempfile.TemporaryDirectory(prefix="residency-bench-", dir=_MEMORY))
    floor = stack.enter_context(open_floor(Path(there) / "floor", warm=True))
    result: dict[str, Any] = {"calls": calls, "microseconds": {}, "cpu_microseconds": {}, "of_plain": {}}
    for size, length in _SIZES.items():
        for verb in ("put", "get"):
            ways: dict[str, Call] = {
                "plain": plain_put if verb == "put" else plain_get,
                "memory": through("memory", verb),
                "durable": through("durable", verb),
                "floor": floor_put if verb == "put" else floor_get,
            }
            found = await _alternate(ways, os.urandom(length), verb, calls if length < 1 << 20 else calls // 4)
            what = f"{verb} {size}"
            result["microseconds"][what] = {way: round(wall, 1) for way, (wall, _) in found.items()}
            result["cpu_microseconds"][what] = {way: round(cpu, 1) for way, (_, cpu) in found.items()}
            result["of_plain"][what] = {way: round(wall / found["plain"][0], 4) for way, (wall, _) in found.items()}
    stack.close()
    for world in worlds.values():
        await world.stores.aclose()
        world.journal.close()
    return result


def bars_of(found: dict[str, Any]) -> list[Bar]:
    """What `memory` adds to each call, beside the bar."""
    return [
        Bar(what, 100 * (share["memory"] - 1), BAR, 100 * (share["floor"] - 1), unit=" %")
        for what, share in found["of_plain"].items()
    ]


async def _alternate(ways: dict[str, Call], value: bytes, verb: str, calls: int) -> dict[str, tuple[float, float]]:
    """Of each way the median microseconds of a call, and the least CPU microseconds of this process in a round."""
    spent: dict[str, list[int]] = {way: [] for way in ways}
    busy: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    chance = random.Random(1)
    names = [f"{len(value)}-{number}" for number in range(_ROUND)]
    if verb == "get":
        for name in names:
            got = [await call(name, value) for call in ways.values()]
            if any(each != got[0] for each in got):
                raise SystemExit("the ways do not read the same: nothing was measured")
    gc.collect()
    gc.disable()
    try:
        for number in range(1 + calls // _ROUND):
            chance.shuffle(order)
            for way in order:
                call = ways[way]
                working = time.process_time_ns()
                for name in names:
                    began = time.perf_counter_ns()
                    await call(name, value)
                    if number:  # the first round opens connections
                        spent[way].append(time.perf_counter_ns() - began)
                busy[way].append((time.process_time_ns() - working) / _ROUND / 1_000)
    finally:
        gc.enable()
    return {way: (median(spent[way]) / 1_000, min(busy[way])) for way in ways}


def _world(folder: Path, endpoint: str, key: str, secret: str) -> Deployed:
    folder.mkdir()
    policy = load_policy(write_deployment(folder, _DEPLOYMENT, (HOME,)))
    # One prefix for all three ways: they read the same objects.
    url = f"s3://{key}:{secret}@{_BUCKET}/plain?region=us-east-1&endpoint={endpoint}"
    journal = None
    if folder.name == "durable":
        (folder / "audit").mkdir()
        journal = JournalFiles(folder / "audit").open()
    return Deployed(policy, [BucketSink("vn", VN, url)], journal=journal)  # type: ignore[arg-type]  # not read back


def _handle(world: Deployed) -> ObjectHandle:
    here = world.point.admit(Request("POST", "/uploads", b"/uploads", (), (HANOI, 50_000)))
    with handling(here):
        handle = current().store("uploads")
    assert isinstance(handle, ObjectHandle)
    return handle


def show(found: dict[str, Any]) -> None:
    """Print one measurement as a table."""
    table = Table(title=f"an object stored and read, {found['calls']:,} calls (a quarter of them at 1 MiB)")
    for column in ("call, us", "plain", "memory", "more", "CPU", "durable", "more", "CPU", "floor", "more", "CPU"):
        table.add_column(column, justify="left" if column == "call, us" else "right")
    for what, spent in found["microseconds"].items():
        shares, cpu = found["of_plain"][what], found["cpu_microseconds"][what]
        table.add_row(
            what,
            f"{spent['plain']:,.0f}",
            f"{spent['memory']:,.0f}",
            f"{shares['memory'] - 1:+.1%}",
            f"{cpu['memory'] - cpu['plain']:+,.0f}",
            f"{spent['durable']:,.0f}",
            f"{shares['durable'] - 1:+.1%}",
            f"{cpu['durable'] - cpu['plain']:+,.0f}",
            f"{spent['floor']:,.0f}",
            f"{shares['floor'] - 1:+.1%}",
            f"{cpu['floor'] - cpu['plain']:+,.0f}",
        )
    console = Console()
    console.width = max(console.width, 120)
    console.print(table)
    console.print(table_of(bars_of(found)))


def main() -> None:
    """Measure, print, and end with 3 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="few calls, to see that all of it works")
    parser.add_argument("--url", help="the endpoint of an S3 server that is there already, with a bucket `objects`")
    options = parser.parse_args()
    found = measure(url=options.url, calls=100 if options.quick else 2_000)
    bars = bars_of(found)
    if options.json:
        print(json.dumps(found | {"bars": [bar.plain() for bar in bars]}, indent=2))
    else:
        show(found)
    end(options.quick or all(bar.holds for bar in bars))


if __name__ == "__main__":
    main()
