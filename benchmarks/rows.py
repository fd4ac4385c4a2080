"""What routing adds to one SQLAlchemy unit of work, beside the same unit on a plain `async_sessionmaker`.

    python -m benchmarks.rows [--json] [--quick]

A read is one SELECT by key, a write one INSERT and its COMMIT, each in a session of its own. Plain and routed units use
the same engine, the sink's, on SQLite (a file in memory) and on a PostgreSQL server over loopback where one can be
started. Routed units are real acts: decided again, intent and outcome in a real journal in memory, so what the disk of
a journal costs is not in it (`benchmarks.audit` tells that).

A third unit runs on an engine as an app would make it: what the sink's engine costs besides (its listeners, a BEGIN of
SQLite's, a COMMIT that is seen to its end) is what the routed unit adds to that one, and the plain one does not.

The floor (benchmarks/floors.py) is the least Python that routes and records: an `async_sessionmaker` that takes the
engine from a ContextVar and has two entries of the same length recorded, one before its first statement and one after
its last; where it changes data both are waited for until they are durable, as ADR 9 has it. It checks nothing.

The act alone is the same intent, confirmation and outcome without a session: what is left of the sum is the session's
own routing. CPU time of the event loop's thread and, besides, time on the wall. Units take turns, one of each kind;
medians of the third of these turns that took the least, for neighbours come and go; compare within one run.
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
from contextvars import ContextVar
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.util import await_only

from benchmarks.floors import Floor, open_floor
from benchmarks.verdict import Bar, end, table_of
from residency.adapters.sink_sql import SqlSink
from residency.bootstrap import build
from residency.enforcement.context import enter, leave
from residency.enforcement.current import Current
from residency.enforcement.request import Request
from residency.integrations import sqlalchemy as sql
from residency.storage.handle import WITHOUT_ACT
from tests.postgres import find_postgres, new_server

__all__ = ["measure"]

BAR_SQLITE: Final = 10.0  # microseconds that routing may add
BAR_POSTGRES: Final = 3.0  # CPU, in hundredths of a plain unit on the wall
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
_COLUMNS: Final = {
    "plain": "plain_wall_us",
    "CPU": "plain_cpu_us",
    "adds": "added_wall_us",
    "CPU ": "added_cpu_us",
    "floor": "floor_wall_us",
    "CPU   ": "floor_cpu_us",
    "act": "act_cpu_us",
    "on own": "over_own_wall_us",
    "CPU  ": "over_own_cpu_us",
}
Unit = Callable[[Callable[[], AsyncSession]], Awaitable[None]]


class Base(DeclarativeBase):
    """The benchmark's models."""


class Person(Base):
    """One row."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=sql.uuid7_key)
    name: Mapped[str] = mapped_column(String)


_bind: ContextVar[tuple[AsyncEngine, Floor, bool]] = ContextVar("bind")
"""The engine that a floor's session uses, where it records, and whether it changes data."""


class FloorSession(Session):
    """The least that a recorded session can be."""

    floor: Floor
    intent: int
    changes = False

    def commit(self) -> None:
        """Commit between two entries that are waited for."""
        self.flush()
        if not self.floor.is_durable(self.intent):
            await_only(self.floor.durable())
        super().commit()
        self.floor.record()
        await_only(self.floor.durable())

    def close(self) -> None:
        """Close, and record that it was read."""
        super().close()
        if not self.changes:
            self.floor.record()


class FloorMaker(async_sessionmaker[AsyncSession]):
    """The least that routes."""

    def __call__(self, **local: Any) -> AsyncSession:
        """A session on the engine of the context, once an entry is recorded."""
        engine, floor, changes = _bind.get()
        session = super().__call__(bind=engine)
        kept = session.sync_session
        assert isinstance(kept, FloorSession)
        kept.floor, kept.changes, kept.intent = floor, changes, floor.record()
        if changes:
            floor.soon()
        return session


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
    app = create_async_engine(url)
    found = {}
    stack = ExitStack()
    try:
        floor = stack.enter_context(open_floor(folder / "floor", warm=True))
        for name, method, unit, read_only in (("write", "POST", _write, False), ("read", "GET", _read, True)):
            bound = sink.bind(read_only=read_only, blocking=False)
            bound.update_execution_options(**{WITHOUT_ACT: True})  # one engine for all: a copy of it is slower
            engine = AsyncEngine(bound)
            plain = async_sessionmaker(engine, expire_on_commit=False)
            path = "/people/an"
            here = runtime.point.admit(Request(method, path, path.encode(), (), ("113.160.0.1", 50_000)))
            assert isinstance(here, Current)
            token = enter(here)
            _bind.set((engine, floor, not read_only))
            least = FloorMaker(sync_session_class=FloorSession, expire_on_commit=False)
            own = async_sessionmaker(app, expire_on_commit=False)
            makers = {"own": own, "plain": plain, "routed": routed, "floor": least}
            found[name] = await _beside(here, unit, makers, rounds if name == "read" else rounds // 2)
            leave(token)
    finally:
        stack.close()
        await app.dispose()
        await runtime.aclose()
    return found


async def _beside(here: Current, unit: Unit, makers: dict[str, Any], rounds: int) -> dict[str, float]:
    turns: list[dict[str, tuple[int, int]]] = []
    kinds = list(makers)
    for turn in range(50 + rounds):
        if turn % 100 == 50:
            gc.enable()
            gc.collect()
            gc.disable()
        kinds = kinds[1:] + kinds[:1]  # who comes after whom changes
        took = {kind: await _timed(here if kind == "routed" else None, unit, makers[kind]) for kind in kinds}
        if turn >= 50:
            turns.append(took)
    turns.sort(key=lambda took: sum(cpu for cpu, _ in took.values()))
    quiet = turns[: max(1, len(turns) // 3)]
    found: dict[str, float] = {}
    for at, word in ((0, "cpu"), (1, "wall")):
        found[f"plain_{word}_us"] = _median([took["plain"][at] for took in quiet])
        for kind, name in (("plain", "added"), ("own", "over_own")):
            found[f"{name}_{word}_us"] = _median([took["routed"][at] - took[kind][at] for took in quiet])
        found[f"floor_{word}_us"] = _median([took["floor"][at] - took["plain"][at] for took in quiet])
    acts = []
    for _ in range(rounds):
        cpu = time.thread_time_ns()
        act = here.store("people").begin()
        await act.confirm()
        act.outcome("committed")
        await act.settled()
        acts.append(time.thread_time_ns() - cpu)
    gc.enable()
    found["act_cpu_us"] = _median(sorted(acts)[: max(1, len(acts) // 3)])
    plain = found["plain_wall_us"]
    return found | {f"{name}_share": round(found[f"{name}_cpu_us"] / plain, 4) for name in ("added", "floor")}


def _median(times: list[int]) -> float:
    """Microseconds."""
    return round(median(times) / 1000, 1)


async def _timed(here: Current | None, unit: Unit, make: Callable[[], AsyncSession]) -> tuple[int, int]:
    token = enter(here)
    try:
        began, cpu = time.perf_counter_ns(), time.thread_time_ns()
        await unit(make)
        return time.thread_time_ns() - cpu, time.perf_counter_ns() - began
    finally:
        leave(token)


def bars_of(found: dict[str, dict[str, dict[str, float]]]) -> list[Bar]:
    """Each unit on each database beside its bar."""
    bars = []
    for backend, units in found.items():
        for name, unit in units.items():
            if backend == "sqlite":
                bars.append(Bar(f"{name}, SQLite", unit["added_cpu_us"], BAR_SQLITE, unit["floor_cpu_us"], unit=" us"))
            else:
                shares = 100 * unit["added_share"], BAR_POSTGRES, 100 * unit["floor_share"]
                bars.append(Bar(f"{name}, PostgreSQL, {backend}", *shares, unit=" %"))
    return bars


def main() -> None:
    """Measure, print, and end with 3 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print plain values")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    found = measure(rounds=200 if options.quick else 600)
    bars = bars_of(found)
    good = all(bar.holds for bar in bars)
    if options.json:
        print(json.dumps({"units": found, "bars": [bar.plain() for bar in bars], "holds": good}, indent=2))
    else:
        table = Table(
            title="us on the wall, and of CPU: plain, what routing adds to it, to an app's own engine; the floor"
        )
        for column in ("database", "unit", *_COLUMNS):
            table.add_column(column, justify="right" if column in _COLUMNS else "left")
        for backend, units in found.items():
            for name, unit in units.items():
                table.add_row(backend, name, *(f"{unit[each]:,.0f}" for each in _COLUMNS.values()))
        console = Console()
        console.width = max(console.width, 120)
        console.print(table)
        console.print(table_of(bars))
    end(good or options.quick)


if __name__ == "__main__":
    main()
