"""What it costs to bring people's rows home from one PostgreSQL to another, beside a plain COPY of the same rows.

    python -m benchmarks.move [--json] [--quick]

Two servers on this machine. People with four letters each lie in the first; the law wants them in the second. `find` is
the survey of all of them, pins and decisions included. `move` is the whole: rows copied ahead, each subject's digested
by both servers, pins turned twice, with entries that are durable, digested again, deleted, a journal kept, and nobody
waited for (`drain` and `linger` are 0). `copy` is COPY out of the one and into the other, of
the same rows; it compares nothing, deletes nothing and records nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from benchmarks.verdict import end
from residency.adapters.move_journal import MoveJournalSqlite
from residency.bootstrap import Residency, build
from residency.cli.move_places import few_collections, looking, places_of
from residency.cli.move_run import Movement
from residency.storage.misplaced import Homing, survey
from tests.postgres import PASSWORD, USER, Postgres, find_postgres, postgres_pair
from tests.world import write_deployment

__all__ = ["measure", "show"]

BAR_ROWS: Final = 20_000
BAR_SHARE: Final = 0.5
_LETTERS: Final = 4
_TABLES: Final = """
CREATE TABLE people (id text PRIMARY KEY, name text, email text, made timestamptz DEFAULT '2026-01-02');
CREATE TABLE letters (id uuid PRIMARY KEY, person text REFERENCES people (id), body text);
CREATE INDEX ON letters (person);
"""
_FILL: Final = """
INSERT INTO people SELECT 'person-' || n, 'Nguyen Van ' || n, n || '@example.org' FROM generate_series(1, {people}) n;
INSERT INTO letters SELECT gen_random_uuid(), 'person-' || n, repeat('x', 120)
FROM generate_series(1, {people}) n, generate_series(1, {letters}) k;
ANALYZE people; ANALYZE letters;
"""
_DEPLOYMENT: Final = """
sinks:
  sg: {{region: sg, provider: SG, keys: SG, encrypted: true, url: "{sg}"}}
  vn: {{region: vn-han, provider: VN, keys: VN, encrypted: true, url: "{vn}"}}
stores: {{people: [sg, vn]}}
records:
  people:
    people: {{subject: id, data: [personal], times: {{creation: made}}}}
    letters: {{via: {{person: people}}, data: [content]}}
audit: {{folder: ./audit}}
keys: {{folder: ./keys}}
pins: {{url: "sqlite:///./pins.db"}}
activities:
  - {{route: "POST /people", subject: app, data: [personal], store: people}}
"""


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Seconds and rows a second of each; PostgreSQL's programs must be there."""
    if find_postgres() is None:
        raise SystemExit("PostgreSQL is not installed: Debian's postgresql-15")
    people = 5_000 if quick else 100_000
    with postgres_pair() as pair, tempfile.TemporaryDirectory() as folder:
        names = (pair.sg.database(), pair.vn.database())
        for server, name in zip((pair.sg, pair.vn), names, strict=True):
            server.query(_TABLES, name)
        pair.sg.query(_FILL.format(people=people, letters=_LETTERS), names[0])
        copy = anyio.run(_copy, pair.sg, pair.vn, names)
        pair.vn.query("TRUNCATE people, letters", names[1])
        urls = {"sg": pair.sg.url("asyncpg", names[0]), "vn": pair.vn.url("asyncpg", names[1])}
        replaced = [("territory: not_covered", "territory: covered")]
        file = write_deployment(Path(folder), _DEPLOYMENT.format(**urls), replace=replaced)
        find = anyio.run(_find, build(file, reload=False))
        moved, took = anyio.run(_move, build(file, reload=False), Path(folder))
        left = pair.sg.query("SELECT (SELECT count(*) FROM people) + (SELECT count(*) FROM letters)", names[0])[0][0]
        there = pair.vn.query("SELECT (SELECT count(*) FROM people) + (SELECT count(*) FROM letters)", names[1])[0][0]
    rows = people * (1 + _LETTERS)
    if (left, there, moved) != (0, rows, rows):
        raise SystemExit(f"of {rows} rows {there} are home, {left} left behind, {moved} told")
    return {
        "people": people,
        "rows": rows,
        "copy_seconds": copy,
        "find_seconds": find,
        "move_seconds": took,
        "copy_rows": rows / copy,
        "move_rows": rows / took,
        "share": copy / took,
    }


async def _copy(source: Postgres, target: Postgres, names: tuple[str, str]) -> float:
    ends = [
        await asyncpg.connect(host=each.address, port=each.port, user=USER, password=PASSWORD, database=name)
        for each, name in zip((source, target), names, strict=True)
    ]
    begun = time.perf_counter()
    for table in ("people", "letters"):
        held = BytesIO()
        await ends[0].copy_from_table(table, output=held)
        held.seek(0)
        await ends[1].copy_to_table(table, source=held)
    took = time.perf_counter() - begun
    for each in ends:
        await each.close()
    return took


async def _find(runtime: Residency) -> float:
    begun = time.perf_counter()
    async with looking(runtime) as (pin_of, digest):
        homing = Homing(runtime.policy, ["people"], runtime.facts.current(), runtime.clock.now())
        for place in places_of(runtime):
            async for _ in survey(place, homing, pin_of, digest, {}):
                pass
    return time.perf_counter() - begun


async def _move(runtime: Residency, folder: Path) -> tuple[int, float]:
    journal = MoveJournalSqlite(folder / "move.db")
    await runtime.start()
    try:
        begun = time.perf_counter()
        with few_collections():
            outcome = await Movement(runtime, journal, batch=5000, drain=0, linger=0).run(places_of(runtime), {})
        return outcome.records, time.perf_counter() - begun
    finally:
        journal.close()
        await runtime.aclose()


def show(found: dict[str, Any], console: Console) -> None:
    """A table of what was measured, and whether the bar holds."""
    table = Table(title=f"{found['people']:,} people with {found['rows']:,} rows between two PostgreSQL")
    for column in ("what", "seconds", "rows/s"):
        table.add_column(column, justify="left" if column == "what" else "right")
    table.add_row("plain COPY", f"{found['copy_seconds']:.2f}", f"{found['copy_rows']:,.0f}")
    table.add_row("move", f"{found['move_seconds']:.2f}", f"{found['move_rows']:,.0f}")
    table.add_row("find", f"{found['find_seconds']:.2f}", "")
    console.print(table)
    console.print(
        f"{'holds' if holds(found) else 'does not hold'}: move >= {BAR_ROWS:,} rows/s, or >= {BAR_SHARE} of plain COPY "
        f"({found['share']:.2f})"
    )


def holds(found: dict[str, Any]) -> bool:
    """Whether one of the two bars is held."""
    return bool(found["move_rows"] >= BAR_ROWS or found["share"] >= BAR_SHARE)


def main() -> None:
    """Measure and show; exit 3 where both bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    found = measure(quick=arguments.quick)
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found, Console())
    end(holds(found))


if __name__ == "__main__":
    main()
