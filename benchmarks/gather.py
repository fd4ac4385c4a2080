"""What a list over two sinks costs beside the slower of the two alone, and what a batch of many people costs.

    python -m benchmarks.gather [--json] [--quick]

Two PostgreSQL servers, one per region (without PostgreSQL: two SQLite files). Each page of 50 rows is read three ways:
from either sink alone, through a routed session as an app reads it, and from both by `gather`. `far` puts a wait into
each SELECT (20 and 25 ms), as a sink in another country has; `near` has none, so that what this process itself does for
the second sink cannot hide behind a wait: with one core for Python it comes on top. `batch` is `about_many` of 1,000
people beside 1,000 times `about`.

The floor is the same without any of our code: plain sessions on the same engines, either alone and both by two tasks of
one event loop, in the same rounds. What both take over the slower there is what one thread of Python cannot overlap.
The bar is 10 %, of the medians.

Of interleaved rounds the least and the median; a machine that does other things shows itself in the distance between
the two. A batch is told in CPU time of this process, the least of its rounds. Compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from sqlalchemy import Select, String, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.asyncio import async_sessionmaker as plain_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.authentication import SimpleUser

import residency
from benchmarks.verdict import Bar, end, table_of
from residency.adapters.session_sql import open_session
from residency.adapters.sink_sql import SqlSink
from residency.enforcement.request import Request
from residency.integrations.sqlalchemy import async_sessionmaker, create_all
from residency.storage.handle import WITHOUT_ACT
from tests.postgres import find_postgres, postgres_pair
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

__all__ = ["measure", "show"]

BAR: Final = 10.0  # hundredths that both may take over the slower one
_ROWS: Final = 10_000
_PAGE: Final = 50
_MANY: Final = 1_000
_FAR: Final = {"people-vn": 0.020, "people-sg": 0.025}  # seconds that a SELECT takes more in a sink that is far away
_DEPLOYMENT: Final = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
stores: {people: [people-sg, people-vn]}
activities:
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
  - {route: "GET /batch", subject: user, data: [personal], operation: read, store: people}
"""
# An index serves a list on PostgreSQL where the column has the collation that lists are sorted by.
_KEY: Final = String(36).with_variant(String(36, collation="C"), "postgresql")
Read = Callable[[], Awaitable[object]]


class Base(DeclarativeBase):
    """The benchmark's models."""


class Person(Base):
    """A row of some size."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(_KEY, primary_key=True)
    text: Mapped[str]


@asynccontextmanager
async def _world(folder: Path, urls: dict[str, str], rows: int) -> AsyncIterator[Deployed]:
    vn, sg = SqlSink("people-vn", VN, urls["people-vn"]), SqlSink("people-sg", SG, urls["people-sg"])
    world = Deployed(load_policy(write_deployment(folder, _DEPLOYMENT)), [sg, vn], open_session=open_session)
    await world.stores.start()
    try:
        await create_all(Base.metadata, world.stores, "people")
        for number, sink in enumerate((vn, sg)):
            async with sink.engine.begin() as connection:
                for first in range(0, rows, 10_000):
                    made = [
                        {"id": f"{at * 2 + number:036d}", "text": "x" * 80}
                        for at in range(first, min(rows, first + 10_000))
                    ]
                    await connection.execute(insert(Person), made)
            async with sink.engine.begin() as connection:
                if sink.engine.dialect.name == "postgresql":
                    body = f"SELECT pg_sleep({_FAR[sink.name]}) IS NOT NULL"
                    await connection.execute(
                        text(f"CREATE FUNCTION far() RETURNS boolean LANGUAGE sql VOLATILE AS '{body}'")
                    )
                await connection.execute(text("ANALYZE person"))
        yield world
    finally:
        await world.stores.aclose()


def _pages(world: Deployed, statement: Select[Any]) -> dict[str, Read]:
    """A page from either sink alone, as an app reads it, and from both; the same by plain sessions."""

    async def alone(sink: str) -> object:
        async with async_sessionmaker("people", sink=sink)() as session:
            return (await session.scalars(statement.limit(_PAGE))).all()

    async def both() -> object:
        async with residency.gather("people") as people:
            page = await people.scalars(statement, limit=_PAGE)
        if page.missing:
            raise SystemExit("not both sinks were read: nothing was measured")
        return page

    makers = {}
    for sink in world.stores.sinks_of("people"):
        assert isinstance(sink, SqlSink)
        bound = sink.bind(read_only=True, blocking=False)
        bound.update_execution_options(**{WITHOUT_ACT: True})  # one engine for all: a copy of it is slower
        makers[sink.name] = plain_sessionmaker(AsyncEngine(bound))

    page = statement.limit(_PAGE)

    async def plain(sink: str) -> object:
        async with makers[sink]() as session:
            return (await session.scalars(page)).all()

    async def plain_both() -> object:
        return await asyncio.gather(*[asyncio.create_task(plain(sink)) for sink in makers])

    return {
        "people-sg": lambda: alone("people-sg"),
        "people-vn": lambda: alone("people-vn"),
        "both": both,
        "plain people-sg": lambda: plain("people-sg"),
        "plain people-vn": lambda: plain("people-vn"),
        "plain both": plain_both,
    }


async def _timed(world: Deployed, reads: dict[str, Read], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each in interleaved rounds."""
    # Who asks is at home: read from Singapore, the data of people at home would leave it, and is refused. The sink in
    # Singapore alone is read by who is there.
    at_home = _request(world, "/people", HANOI)
    elsewhere = {"people-sg": _request(world, "/people", SINGAPORE)}
    took: dict[str, list[float]] = {name: [] for name in reads}
    for number in range(rounds + 2):
        for name, read in reads.items():
            with handling(elsewhere.get(name, at_home)):
                began = time.perf_counter()
                await read()
                spent = time.perf_counter() - began
            if number >= 2:  # the first two warm up
                took[name].append(spent * 1000)
    return took


async def _batch(world: Deployed, rounds: int) -> dict[str, float]:
    people = ["~" * (number // 90) + chr(33 + number % 90) for number in range(_MANY)]  # each of its own digest here

    async def each() -> object:
        for who in people:
            async with residency.about(who):
                pass
        return None

    works: dict[str, Read] = {"about": each, "about_many": lambda: residency.about_many(people)}
    least: dict[str, float] = {}
    with handling(_request(world, "/batch", SINGAPORE)):
        for _ in range(rounds):
            for name, work in works.items():
                began = time.process_time()
                await work()
                took = (time.process_time() - began) * 1_000_000 / _MANY
                least[name] = min(took, least.get(name, took))
    return least


def _request(world: Deployed, path: str, address: str) -> object:
    return world.point.admit(Request("GET", path, path.encode(), (), (address, 50_000), SimpleUser("sue")))


async def _measure(folder: Path, urls: dict[str, str], quick: bool) -> dict[str, Any]:
    postgres = urls["people-vn"].startswith("postgresql")
    rounds = 10 if quick else 100
    lists = {"near": select(Person).order_by(Person.id)}
    if postgres:
        lists["far"] = select(Person).where(text("(SELECT far())")).order_by(Person.id)
    found: dict[str, Any] = {"database": "postgresql" if postgres else "sqlite", "lists": {}}
    async with _world(folder, urls, 5_000 if quick else _ROWS) as world:
        for name, statement in lists.items():
            took = await _timed(world, _pages(world, statement), rounds)
            found["lists"][name] = {how: _told(took, of) for how, of in (("least", min), ("median", median))}
        found["batch"] = await _batch(world, 3 if quick else 15)
    return found


def _told(took: dict[str, list[float]], of: Callable[[list[float]], float]) -> dict[str, float]:
    told = {name: of(values) for name, values in took.items()}
    for name, which in (("more", ""), ("plain more", "plain ")):
        told[name] = told[f"{which}both"] / max(told[f"{which}people-sg"], told[f"{which}people-vn"]) - 1
    return told


def bars_of(found: dict[str, Any]) -> list[Bar]:
    """What both take over the slower, beside the bar."""
    medians = {name: figures["median"] for name, figures in found["lists"].items()}
    return [
        Bar(f"both over the slower, {name}", 100 * took["more"], BAR, 100 * took["plain more"], unit=" %")
        for name, took in medians.items()
    ]


def measure(quick: bool = False) -> dict[str, Any]:
    """Milliseconds by list, figure and way; microseconds a person of a batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if find_postgres() is None:
            urls = {sink: f"sqlite+aiosqlite:///{folder}/{sink}.db" for sink in _FAR}
            return asyncio.run(_measure(folder, urls, quick))
        with postgres_pair() as pair:
            urls = {
                "people-vn": pair.vn.url("asyncpg", pair.vn.emptied()),
                "people-sg": pair.sg.url("asyncpg", pair.sg.emptied()),
            }
            return asyncio.run(_measure(folder, urls, quick))


def show(found: dict[str, Any]) -> None:
    """The figures as tables."""
    table = Table(title=f"A page of {_PAGE} rows, ms ({found['database']})")
    columns = ("sg alone", "vn alone", "both", "over the slower")
    for column in ("list", "", *columns, *(f"plain: {each}" for each in columns)):
        table.add_column(column, justify="left" if column in ("list", "") else "right")
    for name, figures in found["lists"].items():
        for how, took in figures.items():
            cells = []
            for which in ("", "plain "):
                cells += [f"{took[which + each]:.2f}" for each in ("people-sg", "people-vn", "both")]
                cells.append(f"{took[which + 'more']:+.0%}")
            table.add_row(name, how, *cells)
    console = Console()
    console.width = max(console.width, 120)
    console.print(table)
    console.print(table_of(bars_of(found)))
    one, many = found["batch"]["about"], found["batch"]["about_many"]
    console.print(f"A decision about another person, CPU: {one:.1f} us alone, {many:.1f} us in a batch of {_MANY:,}")


def main() -> None:
    """Measure and show; end with 3 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="few rounds over few rows, to see that all of it works")
    options = parser.parse_args()
    found = measure(options.quick)
    bars = bars_of(found)
    if options.json:
        print(json.dumps(found | {"bars": [bar.plain() for bar in bars]}))
    else:
        show(found)
    end(options.quick or all(bar.holds for bar in bars))


if __name__ == "__main__":
    main()
