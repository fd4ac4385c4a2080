"""In: a folder. Out: a deployment of people who live in VN, with copies in SG, over SQLite files; and how to look."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import anyio

from residency.bootstrap import build
from residency.model import Anchor, Pin, SubjectId, Trust
from tests.world import write_deployment

ALIAS = "ab" * 16
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
stores: {people: [vn, sg]}
copies: {people: {to: [sg], withdraw: true}}
records:
  people:
    people: {subject: id, data: [personal]}
    letters: {via: {person: people}, data: [content]}
registers: [register.yaml]
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {name: people, route: "POST /people", subject: app, data: [personal, content], store: people}
"""
DOSSIER = """
  - id: test.first
    article: art. 1
    text: Personal data is recorded in Vietnam first.
    applies: {anchor: territory, data: [personal, content]}
    duty: {first_write: VN}
  - id: test.dossier
    article: art. 2
    text: Transfers abroad need a dossier.
    applies: {anchor: territory, data: [personal, content], sink: {abroad: true}}
    duty: {require: [["filing:vn.transfer_dossier"]]}
"""
REGISTER = """
residency: 1
kind: register
name: filings
filings:
  - {kind: vn.transfer_dossier, number: D1, date: 2026-01-01, result: %s}
"""
TABLES = (
    "CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT, phone TEXT);"
    "CREATE TABLE letters (id INTEGER PRIMARY KEY, person TEXT REFERENCES people (id), text TEXT);"
)


def copies_world(
    folder: Path,
    people: Sequence[str] = ("an", "binh"),
    *,
    text: str = TEXT,
    rules: str = DOSSIER,
    replace: Sequence[tuple[str, str]] = (),
) -> Path:
    """The deployment's file, its sinks with tables and without rows; each of `people` has a pin that says VN."""
    (folder / "register.yaml").write_text(REGISTER % "passed")
    file = write_deployment(folder, text, [rules], replace)
    for sink in ("vn", "sg"):
        if not (folder / f"{sink}.db").exists():
            with closing(sqlite3.connect(folder / f"{sink}.db")) as db:
                db.executescript(TABLES)

    async def begin() -> None:
        runtime = build(file, reload=False)
        runtime.copies.works = False
        await anyio.to_thread.run_sync(runtime.open)
        try:
            for number, who in enumerate(people):
                await pin(runtime, who, "VN", f"{number:032x}")
        finally:
            await runtime.aclose()

    anyio.run(begin)
    return file


async def pin(runtime: object, who: str, home: str, alias: str = ALIAS, version: int = 1) -> None:
    """Say where somebody lives."""
    point = runtime.point  # type: ignore[attr-defined]  # a runtime
    anchors = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
    digest = point.digest(SubjectId(who))
    await point.homes.pins.put(Pin(digest, home, anchors, alias, "first_write", "0" * 64, 1, version))


def result(folder: Path, word: str) -> None:
    """The dossier has another result from now on."""
    (folder / "register.yaml").write_text(REGISTER % word)


def change(folder: Path, sink: str, *statements: str) -> None:
    """The app writes, in one transaction, past everything of ours."""
    with closing(sqlite3.connect(folder / f"{sink}.db", timeout=30)) as db, db:
        db.execute("PRAGMA foreign_keys = ON")
        for sql in statements:
            db.execute(sql)


def rows(folder: Path, sink: str, sql: str = "SELECT id, name FROM people ORDER BY id") -> list[tuple[object, ...]]:
    """What a sink has, read without the code under test."""
    with closing(sqlite3.connect(folder / f"{sink}.db", timeout=30)) as db:
        return db.execute(sql).fetchall()


def command(*args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`residency copies …` in a process of its own."""
    argv = [sys.executable, "-c", "import sys; from residency.cli import main; sys.exit(main())", "copies"]
    done = subprocess.run([*argv, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done
