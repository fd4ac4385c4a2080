"""A move between real files is killed with SIGKILL between all that it does, and the next run ends it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from residency.adapters.sink_files import FilesSink
from residency.model import Region
from tests.killed import Tried
from tests.moving import between_files

CODE = """
import anyio
from residency.adapters.move_journal import MoveJournalSqlite
from residency.adapters.pins_sqlite import PinsSqlite
from residency.adapters.records_objects import ObjectRecords
from residency.adapters.records_sql.records import SqlRecords
from residency.bootstrap import build
from residency.cli.move_places import journal_of, places_of
from residency.cli.move_run import Movement
from residency.model import SubjectId
from residency.storage.parcels import RecordParcels
from tests.killed import serve

STEPS = [(MoveJournalSqlite, "put"), (PinsSqlite, "put"), (PinsSqlite, "put_all"),
         (RecordParcels, "put"), (RecordParcels, "clear"), (SqlRecords, "write"), (SqlRecords, "delete"),
 (ObjectRecords, "write"), (ObjectRecords, "delete")]

async def move(who):
    journal = MoveJournalSqlite(journal_of(runtime))
    await runtime.start()
    print(runtime.point.digest(SubjectId(who)), flush=True)
    try:
        done = await Movement(runtime, journal, drain=0, linger=0).run(places_of(runtime), {})
        assert not done.conflict and not done.again, done
        assert await journal.unfinished() == ()
    finally:
        journal.close()
        await runtime.aclose()

runtime = build("test.yaml", reload=False)
serve(lambda who: anyio.run(move, who), STEPS)
"""
MINE = "SELECT id, name FROM people WHERE id = ? UNION SELECT id, text FROM letters WHERE person = ? ORDER BY 1"
WRITTEN = (
    "INSERT INTO people VALUES ('{0}', 'name')",
    "INSERT INTO letters VALUES ('{0}-1', '{0}', 'old'), ('{0}-2', '{0}', 'old')",
)
CHANGED = "UPDATE letters SET text = 'new' WHERE id = '{0}-1'"
ADDED = "INSERT INTO letters VALUES ('{0}-3', '{0}', 'new')"
REMOVED = "DELETE FROM letters WHERE id = '{0}-2'"


class Disks:
    """What the app wrote, past everything of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for place in ("SG", "VN"):
            self.change(
                place,
                "CREATE TABLE people (id TEXT PRIMARY KEY, name TEXT)",
                "CREATE TABLE letters (id TEXT PRIMARY KEY, person TEXT REFERENCES people (id), text TEXT)",
            )

    def change(self, place: str, *statements: str) -> None:
        """Rows, in one transaction."""
        with closing(sqlite3.connect(self.folder / f"{place.lower()}.db", timeout=30)) as database, database:
            for sql in statements:
                database.execute(sql)

    def file(self, place: str, who: str, value: bytes | None = None) -> bytes | None:
        """Somebody's object, stored where there is a value."""

        async def do() -> bytes | None:
            sink = FilesSink("x", Region("x", place), self.folder / f"files-{place.lower()}")
            await sink.start()
            if value is not None:
                await sink.put(f"users/{who}/cv", value)
            return await sink.get(f"users/{who}/cv")

        return anyio.run(do)

    def pin(self, digest: str) -> tuple[str, str | None] | None:
        """Where somebody lives, and where their data lies still."""
        with closing(sqlite3.connect(self.folder / "pins.db", timeout=30)) as database:
            asked = "SELECT home, moving FROM pin WHERE subject = ?"
            found: tuple[str, str | None] | None = database.execute(asked, (digest,)).fetchone()
        return found

    def lies(self, place: str, who: str) -> list[tuple[str, object]]:
        """All that a place has of somebody."""
        with closing(sqlite3.connect(self.folder / f"{place.lower()}.db", timeout=30)) as database:
            found: list[tuple[str, object]] = database.execute(MINE, (who, who)).fetchall()
        value = self.file(place, who)
        return found + ([] if value is None else [("cv", value)])


@pytest.mark.timeout(300)
def test_killed_at_each_step_everybody_has_all_they_had_and_is_home_after_the_next_run(tmp_path: Path) -> None:
    between_files(tmp_path)
    disks = Disks(tmp_path)
    truth: dict[str, list[tuple[str, object]]] = {}
    steps, met, at, how = [], set(), 0, "killed"
    with Tried(tmp_path, CODE) as mover:
        while how == "killed":
            at += 1
            who = f"p{at}"
            disks.change("SG", *[sql.format(who) for sql in WRITTEN])
            disks.file("SG", who, b"cv of %d" % at)
            truth[who] = disks.lies("SG", who)
            (digest, *said), how = mover.run(at, who)
            steps += said
            pin = disks.pin(digest)
            met.add(pin)
            place = "SG" if pin is None else pin[1] or pin[0]
            assert disks.lies(place, who) == truth[who], f"{at}: a read is answered from a place without the data"
            if pin is None or pin[1] is None:  # else they are told to try again
                deeds = (CHANGED, ADDED, REMOVED)
                disks.change(place, deeds[at % 3].format(who))
                truth[who] = disks.lies(place, who)
            said, ended = mover.run(0, who)
            assert ended == "ended 0", (at, steps[-1:], said)
            assert disks.lies("VN", who) == truth[who], at
            assert disks.lies("SG", who) == [], at
    for each, had in truth.items():
        assert disks.lies("VN", each) == had
        assert disks.lies("SG", each) == []
    assert how == "ended 0"
    assert {"MoveJournalSqlite put", "PinsSqlite put_all", "RecordParcels put", "SqlRecords delete"} <= set(steps)
    assert {None, ("VN", "SG"), ("VN", None)} <= met
