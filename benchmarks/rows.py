"""What routing adds to one SQLAlchemy unit of work, beside the same unit on a plain `async_sessionmaker`.

    python -m benchmarks.rows [--json] [--quick]

A read is one SELECT by key, a write one INSERT and its COMMIT, each in a session of its own. Plain and routed units use
the same engine, one after the other, on SQLite (a file in memory) and on a PostgreSQL server over loopback where one
can be started. Routed units are real acts: decided again, intent and outcome in a real journal in memory, so what the
disk of a journal costs is not in it (`benchmarks.audit` tells that).

The act alone is the same intent, confirmation and outcome without a session: what is left of the sum is the session's
own routing. CPU time of the event loop's thread and, besides, time on the wall. The tenth percentile of units that take
turns, for neighbours come and go; compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from residency.adapters.sink_sql import SqlSink
from residency.bootstrap import build
from residency.enforcement.context import enter, leave
from residency.enforcement.current import Current
from residency.enforcement.request import Request
from residency.integrations import sqlalchemy as sql
from tests.postgres import find_postgres, new_server

__all__ = ["measure"]

BAR_SQLITE: Final = 10.0  # microseconds that routing may add
BAR_POSTGRES: Final = 0.03  # of a plain unit on the wall
_POLICY: Final = """\
residency: 1
kind: deployment
name: bench
mode: enforce
operator: {established_in: [VN], service_lines: [online_applications]}
laws: [vn/*]
presume: {territory: covered}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
regions: {vn: {country: VN}}
sinks: {people-vn: {region: vn, provider: VN, keys: VN, encrypted: true, url: "%s"}}
stores: {people: [people-vn]}
activities:
  - {route: "GET /people/{id}", subject: path.id, data: [personal], operation: read, store: people}
  - {route: "POST /people/{id}", subject: path.id, data: [personal], operation: write, store: people}
"""
Unit = Callable[[Callable[[], AsyncSession]], Awaitable[None]]


class Base(DeclarativeBase):
    """The benchmark's models."""


class Person(Base):
    """One row."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=sql.uuid7_key)
    name: Mapped[str] = mapped_column(String)


async def _read(make: Callable[[], AsyncSession]) -> None:
    async with make() as session:
        await session.get(Person, "1")


async def _write(make: Callable[[], AsyncSession]) -> None:
    async with make() as session:
        session.add(Person(name="An"))
        await session.commit()


def measure(*, rounds: int = 600) -> dict[str, Any]:
    """Microseconds of a plain unit and those that routing adds, on each backend."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder in memory, of our own inside
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        where = memory if memory.is_dir() else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="residency-bench-", dir=where)))
        urls = {"sqlite": f"sqlite+aiosqlite:///{folder}/people.db"}
        if find_postgres() is not None:
            server = stack.enter_context(new_server())
            server.make().start()
            database = server.database()
            urls |= {driver: server.url(driver, database) for driver in ("asyncpg", "psycopg")}
        for backend, url in urls.items():
            home = folder / backend
            home.mkdir()
            found[backend] = asyncio.run(_measure(home, url, rounds))
    return found


async def _measure(folder: Path, url: str, rounds: int) -> dict[str, Any]:
    (folder / "bench.yaml").write_text(_POLICY % url)
    runtime = build(folder / "bench.yaml", reload=False)
    await runtime.start()
    await sql.create_all(Base.metadata, runtime.stores, "people")
    sink = runtime.stores.sinks_of("people")[0]
    assert isinstance(sink, SqlSink)
    routed = sql.async_sessionmaker("people")
    found = {}
    try:
        for name, method, unit, read_only in (("write", "POST", _write, False), ("read", "GET", _read, True)):
            engine = AsyncEngine(sink.bind(read_only=read_only, blocking=False))
            plain = async_sessionmaker(engine, expire_on_commit=False)
            path = "/people/an"
            here = runtime.point.admit(Request(method, path, path.encode(), (), ("113.160.0.1", 50_000)))
            assert isinstance(here, Current)
            token = enter(here)
            found[name] = await _beside(here, unit, plain, routed, rounds if name == "read" else rounds // 3)
            leave(token)
    finally:
        await runtime.aclose()
    return found


async def _beside(here: Current, unit: Unit, plain: Any, routed: Any, rounds: int) -> dict[str, float]:
    times: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    for _ in range(50):
        for through, make in ((False, plain), (True, routed)):
            await _timed(here if through else None, unit, make)
    gc.collect()
    gc.disable()
    for turn in range(rounds):
        for through in (turn % 2 == 0, turn % 2 == 1):
            times[through].append(await _timed(here if through else None, unit, routed if through else plain))
    found = {}
    for at, word in ((0, "cpu"), (1, "wall")):
        theirs, ours = (_quiet([each[at] for each in times[through]]) for through in (False, True))
        found[f"plain_{word}_us"], found[f"added_{word}_us"] = theirs, round(ours - theirs, 1)
    acts = []
    for _ in range(rounds):
        cpu = time.thread_time_ns()
        act = here.store("people").begin()
        await act.confirm()
        act.outcome("committed")
        await act.settled()
        acts.append(time.thread_time_ns() - cpu)
    gc.enable()
    found["act_cpu_us"] = _quiet(acts)
    return found | {"share": round(found["added_cpu_us"] / found["plain_wall_us"], 4)}


def _quiet(times: list[int]) -> float:
    """Microseconds of the tenth percentile."""
    return round(sorted(times)[len(times) // 10] / 1000, 1)


async def _timed(here: Current | None, unit: Unit, make: Callable[[], AsyncSession]) -> tuple[int, int]:
    token = enter(here)
    try:
        began, cpu = time.perf_counter_ns(), time.thread_time_ns()
        await unit(make)
        return time.thread_time_ns() - cpu, time.perf_counter_ns() - began
    finally:
        leave(token)


def holds(backend: str, unit: dict[str, float]) -> bool:
    """Whether a unit's figures are within the bar of its backend."""
    return unit["added_cpu_us"] <= BAR_SQLITE if backend == "sqlite" else unit["share"] <= BAR_POSTGRES


def main() -> None:
    """Measure, print, and end with 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print plain values")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    found = measure(rounds=200 if options.quick else 600)
    good = all(holds(backend, unit) for backend, units in found.items() for unit in units.values())
    if options.json:
        print(json.dumps({"units": found, "holds": good}, indent=2))
    else:
        table = Table(
            "database",
            "unit",
            "plain us, wall",
            "plain us, CPU",
            "routing adds us, CPU",
            "the act alone",
            "wall",
            "bar",
        )
        for backend, units in found.items():
            for name, unit in units.items():
                bar = f"{BAR_SQLITE:.0f} us" if backend == "sqlite" else f"{BAR_POSTGRES:.0%}"
                said = f"{bar}: {'holds' if holds(backend, unit) else 'MISSED'}"
                names = ("plain_wall_us", "plain_cpu_us", "added_cpu_us", "act_cpu_us", "added_wall_us")
                table.add_row(backend, name, *(f"{unit[each]:,}" for each in names), said)
        Console().print(table)
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
