"""In: a folder. Out: a deployment over real SQLite files and a folder of objects, two people with pins, their data."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import typer
from typer.testing import CliRunner

from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import build
from residency.model import Anchor, Pin, SubjectId, Trust
from tests.record_world import KEPT, LIMITED
from tests.world import write_deployment

ALIAS = "ab" * 16
OTHER = "cd" * 16
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  old: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: backup, url: "sqlite:///./old.db"}
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://./files"}
stores: {people: [vn, sg, old], uploads: [files]}
records:
  people:
    person: {subject: id, data: [personal], times: {creation: created}}
    account: {subject: owner, data: [account], times: {account_end: closed}}
  uploads:
    "users/{subject}/": {data: [personal]}
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal, account], store: [people, uploads]}
"""
_TABLES = """
CREATE TABLE person (id TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE account (number INTEGER PRIMARY KEY, owner TEXT NOT NULL, closed TEXT);
"""


def days_ago(days: float) -> str:
    """That time as an app's column has it."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def world(
    folder: Path, rules: Sequence[str] = (KEPT, LIMITED), text: str = TEXT, replace: Sequence[tuple[str, str]] = ()
) -> Path:
    """The deployment's file. `an` and `binh` have a row in `vn` and in `old`, an account there, and an object."""
    file = write_deployment(folder, text, rules, replace)
    for sink in ("vn", "sg", "old"):
        with closing(sqlite3.connect(folder / f"{sink}.db")) as db:
            db.executescript(_TABLES)
            if sink != "sg":
                for number, who in enumerate(("an", "binh")):
                    db.execute("INSERT INTO person VALUES (?, ?, ?)", (who, f"canary-{who}", days_ago(40)))
                    db.execute("INSERT INTO account VALUES (?, ?, NULL)", (number, who))
            db.commit()

    async def begin() -> None:
        runtime = build(file)
        await runtime.start()
        try:
            for who, alias in (("an", ALIAS), ("binh", OTHER)):
                digest = runtime.point.digest(SubjectId(who))
                anchors = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
                await runtime.point.homes.pins.put(Pin(digest, "VN", anchors, alias, "first_write", "0" * 64, 1))
                (files,) = runtime.stores.sinks_of("uploads")
                await files.put(f"users/{who}/photo", f"canary-{who}-photo".encode(), "image/png")  # type: ignore[attr-defined]  # a sink of objects
        finally:
            await runtime.aclose()

    anyio.run(begin)
    return file


def rows(folder: Path, sink: str, table: str, column: str = "id") -> list[object]:
    """A column of a table, sorted, read without the code under test."""
    with closing(sqlite3.connect(folder / f"{sink}.db")) as db:
        return sorted(value for (value,) in db.execute(f"SELECT {column} FROM {table}"))  # noqa: S608 - our words


def change(folder: Path, sink: str, sql: str, *values: object) -> None:
    """The app writes."""
    with closing(sqlite3.connect(folder / f"{sink}.db")) as db:
        db.execute(sql, values)
        db.commit()


def entries(folder: Path) -> list[Entry]:
    """Every entry recorded, slot by slot."""
    found = []
    for segment in sorted((folder / "audit" / "journal").glob("*/*.seg")):
        found += [parse_entry(bytes(r.payload)) for r in scan(segment.read_bytes(), RECORDS_AT, None).records]
    return found


def acts(folder: Path) -> list[tuple[str | None, str | None, str | None]]:
    """(operation, sink, how it ended) of each act of an operator; None = still open."""
    found = entries(folder)
    ended = {entry.of: entry.act for entry in found if entry.kind == "outcome"}
    return [
        (entry.operation, entry.sink, ended.get(entry.id))
        for entry in found
        if entry.kind == "intent" and (entry.note or "").startswith("operator: ")
    ]


def run(app: typer.Typer, *args: str, given: str = "") -> tuple[int, str]:
    """(exit code, output) of a command; what it raises is a failure of the test."""
    result = CliRunner().invoke(app, args, input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output
