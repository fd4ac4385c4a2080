"""One country's regional detail in one SQLite file: rows in, rows out, and what is erased is gone from the file.

A row is named by origin, entry and commitment: filed twice it is there once. Where the filing of a journal has got to
is kept in the same file and changed in the same transaction, so that a kill at any instant loses nothing and doubles
nothing. Deleted content is overwritten with zeros (`secure_delete`) and the write-ahead log is cut to nothing, so that
no bytes of an erased detail are left in these files; which segment of which journal has them still is known.

The count of time, by which details go (`residency.audit.detail_time`), stands in the same file.

Each call opens the file, does its work in one transaction and closes it: nothing is held across a fork or between
threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from residency.audit.detail_head import Head
from residency.audit.detail_time import Count, Moment, count_on, span_of
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt, JournalFailed, JournalFull
from residency.sqlite import begun, opened, use_wal

__all__ = ["DetailStore", "Progress"]

_T = TypeVar("_T")
Row = tuple[Head, bytes]
"""A head and the sealed detail."""
_VERSION: Final = 2
_COUNT: Final = (
    "CREATE TABLE count (id INTEGER PRIMARY KEY CHECK (id = 1), time INTEGER NOT NULL, boot TEXT NOT NULL,"
    " monotonic INTEGER NOT NULL) STRICT"
)
_OVER: Final = "CREATE INDEX detail_over ON detail (over)"
_SCHEMA: Final = (
    # `slot` and `segment` are the journal's that a row came through; NULL = through none.
    "CREATE TABLE detail (origin TEXT NOT NULL, entry TEXT NOT NULL, commitment TEXT NOT NULL, alias TEXT,"
    " at INTEGER NOT NULL, keeping TEXT NOT NULL, keep_until INTEGER, erase_by INTEGER, due INTEGER NOT NULL,"
    " sealed BLOB NOT NULL, over INTEGER NOT NULL DEFAULT 0, free INTEGER NOT NULL DEFAULT 0, slot INTEGER,"
    " segment INTEGER, PRIMARY KEY (origin, entry, commitment)) STRICT, WITHOUT ROWID",
    "CREATE INDEX detail_due ON detail (due)",
    _OVER,
    "CREATE INDEX detail_alias ON detail (alias)",
    "CREATE INDEX detail_keeping ON detail (keeping, at)",
    # What was erased ahead of its time, so that a second delivery of it does not bring it back.
    "CREATE TABLE erased (origin TEXT NOT NULL, entry TEXT NOT NULL, commitment TEXT NOT NULL, due INTEGER NOT NULL,"
    " PRIMARY KEY (origin, entry, commitment)) STRICT, WITHOUT ROWID",
    # `gone` is the newest segment that something came through which was erased.
    "CREATE TABLE cursor (slot INTEGER PRIMARY KEY, segment INTEGER NOT NULL, place INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT -1) STRICT",
    _COUNT,
    f"PRAGMA user_version = {_VERSION}",
)
_FROM_1: Final = (
    *(f"ALTER TABLE detail ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0" for name in ("over", "free")),
    *(f"ALTER TABLE detail ADD COLUMN {name} INTEGER" for name in ("slot", "segment")),
    "UPDATE detail SET over = due, free = coalesce(keep_until, at)",
    _OVER,
    # Which segment has which row's bytes is not known: all that is in use are turned over once.
    "ALTER TABLE cursor ADD COLUMN gone INTEGER NOT NULL DEFAULT -1",
    "UPDATE cursor SET gone = segment",
    "ALTER TABLE cursor DROP COLUMN since",
    "DROP TABLE gone",
    _COUNT,
    f"PRAGMA user_version = {_VERSION}",
)
_STEPS: Final = {0: _SCHEMA, 1: _FROM_1}
"""By the version that a file has, what makes it one of ours."""
_ROW: Final = "origin, entry, commitment, alias, at, keeping, keep_until, erase_by, sealed"
_NAMED: Final = "(origin, entry, commitment) = (?, ?, ?)"
_INSERT: Final = (
    "INSERT INTO detail (origin, entry, commitment, alias, at, keeping, keep_until, erase_by, sealed, due, over, free,"
    " slot, segment) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
    " WHERE NOT EXISTS (SELECT 1 FROM erased WHERE (origin, entry, commitment) = (?, ?, ?)) ON CONFLICT DO NOTHING"
)
_ENDED: Final = "free <= :count AND (over <= :count OR due <= :clock)"  # as `Span.ended`; NULL = not believed
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far each slot's journal is filed (`cursors`); by slot, up to which segment it holds bytes of something erased
    (`gone`); the count of time (microseconds) as it was last written, None where there is none yet."""

    cursors: Mapping[int, Cursor] = field(default_factory=dict)
    gone: Mapping[int, int] = field(default_factory=dict)
    time: int | None = None


class DetailStore:
    """The details of one country in the file `path`, which is made once there is something to keep."""

    __slots__ = ("_busy", "_name", "_path")

    def __init__(self, path: Path, *, busy_ms: int = 5000) -> None:
        """`busy_ms` = how long to wait for another process's write. Nothing is opened yet."""
        self._path = path
        self._name = f"{path.parent.name}/{path.name}"
        self._busy = busy_ms

    # --- filing ------------------------------------------------------------------------------------------------------

    def file(
        self,
        rows: Iterable[Row],
        now: Moment,
        journal: tuple[int, Cursor] | None = None,
        *,
        since: int | None = None,
    ) -> int:
        """Keep `rows`; how many were new. A row that is there already, that was erased ahead of its time, or whose time
        is up is not kept.

        `journal` = (slot, how far its journal is filed with them), None = they come from elsewhere.
        `since` = what the count stood at when all that was recorded before had been filed. Once this returns, all of it
        survives a power cut. Raises: JournalFull, JournalFailed, JournalCorrupt.
        """

        def file(db: sqlite3.Connection) -> int:
            new, count = 0, _count_on(db, now)
            slot = segment = None
            if journal is not None:
                slot, cursor = journal
                segment = cursor.segment  # or an earlier one, which goes no later
                db.execute(
                    "INSERT INTO cursor (slot, segment, place, seq) VALUES (?, ?, ?, ?) ON CONFLICT (slot)"
                    " DO UPDATE SET (segment, place, seq) = (excluded.segment, excluded.place, excluded.seq)",
                    (slot, segment, cursor.offset, cursor.seq),
                )
            left = False  # something in the journal that no row tells of
            for h, sealed in rows:
                span = span_of(h, since, count)
                name = (h.origin, h.entry, h.commitment)
                if span.ended(count, now.wall):
                    left = True
                    continue
                added = db.execute(
                    _INSERT,
                    (
                        *name, h.alias, h.at, h.keeping, h.keep_until, h.erase_by,
                        sealed, span.due, span.over, span.free, slot, segment, *name,
                    ),
                ).rowcount  # fmt: skip
                new += added
                if slot is not None and not added:
                    sql = f"UPDATE detail SET slot = ?, segment = ? WHERE {_NAMED}"  # noqa: S608 - our words
                    left = not db.execute(sql, (slot, segment, *name)).rowcount or left
            if left:
                _note_gone(db, [(slot, segment)])
            return new

        return self._do(file, writes=True)

    def cursors(self) -> Mapping[int, Cursor]:
        """How far each slot's journal is filed. Raises: JournalFailed, JournalCorrupt."""
        return self.progress().cursors

    def progress(self) -> Progress:
        """How far filing, turning over and the count of time have got. Raises: JournalFailed, JournalCorrupt."""

        def read(db: sqlite3.Connection) -> Progress:
            rows = db.execute("SELECT slot, segment, place, seq, gone FROM cursor").fetchall()
            count = _count(db)
            return Progress(
                {slot: Cursor(segment, place, seq) for slot, segment, place, seq, _ in rows},
                {slot: gone for slot, segment, _, seq, gone in rows if seq and gone >= segment},
                None if count is None else count.time,
            )

        return self._do(read)

    # --- asking ------------------------------------------------------------------------------------------------------

    def rows(
        self,
        *,
        alias: str | None = None,
        entry: str | None = None,
        keeping: str | None = None,
        since: int | None = None,
        after: tuple[str, str, str] = ("", "", ""),
    ) -> Iterator[Row]:
        """Rows of an alias, an entry id, a class, recorded since an instant (microseconds); None = of any.

        In the order of (origin, entry, commitment), from behind `after` on, in bounded memory; what is filed meanwhile
        may be among them or not. Raises: JournalFailed, JournalCorrupt.
        """
        tests = {"alias = ?": alias, "entry = ?": entry, "keeping = ?": keeping, "at >= ?": since}
        asked = {test: value for test, value in tests.items() if value is not None}
        where = "".join(f" AND {test}" for test in asked)
        sql = f"SELECT {_ROW} FROM detail WHERE (origin, entry, commitment) > (?, ?, ?){where}"  # noqa: S608 - our words
        sql += " ORDER BY origin, entry, commitment LIMIT ?"
        while True:
            # mypy does not infer a lambda whose argument is bound by default.
            found = self._do(lambda db, at=after: db.execute(sql, (*at, *asked.values(), _BATCH)).fetchall())  # type: ignore[misc]
            for *head, sealed in found:
                yield Head(*head), sealed
            if len(found) < _BATCH:
                return
            after = found[-1][:3]

    def count(self) -> dict[str, int]:
        """How many rows there are of each class. Raises: JournalFailed, JournalCorrupt."""
        return self._do(lambda db: dict(db.execute("SELECT keeping, count(*) FROM detail GROUP BY keeping")))

    # --- erasing -----------------------------------------------------------------------------------------------------

    def expire(self, now: Moment) -> int:
        """Count time on to `now`, and erase whose time is up; how many rows. Raises: as `erase`."""

        def expire(db: sqlite3.Connection) -> int:
            count = _count_on(db, now)
            db.execute("DELETE FROM erased WHERE due <= ?", (count.time,))
            sql = f"DELETE FROM detail WHERE {_ENDED} RETURNING slot, segment"  # noqa: S608 - our words
            rows = db.execute(sql, {"count": count.time, "clock": count.believed(now.wall)}).fetchall()
            _note_gone(db, rows)
            return len(rows)

        return self._erasing(expire) if self._path.exists() else 0

    def erase(self, heads: Collection[Head]) -> int:
        """Erase the rows of `heads`, whatever their terms, which the caller asks about; how many there were.

        Raises: JournalFull, JournalFailed, JournalCorrupt.
        """

        def erase(db: sqlite3.Connection) -> int:
            gone = []
            for h in heads:
                name = (h.origin, h.entry, h.commitment)
                sql = f"DELETE FROM detail WHERE {_NAMED} RETURNING slot, segment, max(due, over, free)"  # noqa: S608 - _NAMED is a constant
                for slot, segment, due in db.execute(sql, name).fetchall():
                    db.execute("INSERT INTO erased VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (*name, due))
                    gone.append((slot, segment))
            _note_gone(db, gone)
            return len(gone)

        return self._erasing(erase)

    def held(self, heads: Iterable[Head]) -> list[Head]:
        """Those of `heads` that a law still wants kept, by the count of time. Raises: JournalFailed, JournalCorrupt."""
        sql = f"SELECT 1 FROM detail, count WHERE {_NAMED} AND free > time"  # noqa: S608 - our words

        def held(db: sqlite3.Connection) -> list[Head]:
            return [h for h in heads if db.execute(sql, (h.origin, h.entry, h.commitment)).fetchone()]

        return self._do(held)

    def waiting(self, wall: int) -> int:
        """How many rows are due by a clock that says `wall`. Raises: JournalFailed, JournalCorrupt."""
        sql = "SELECT count(*) FROM detail WHERE due <= ? AND coalesce(keep_until, due) <= ?"
        return int(self._do(lambda db: db.execute(sql, (wall, wall)).fetchone()[0]))

    def confirm(self, now: Moment) -> None:
        """Set the count to what the clock says, for which a person vouches: the time up to there has passed. Where that
        is back, what was filed by the count goes back with it. Raises: JournalFull, JournalFailed, JournalCorrupt."""

        def confirm(db: sqlite3.Connection) -> None:
            back = min(now.wall - _count_on(db, now).time, 0)
            db.execute("UPDATE count SET time = ?", (now.wall,))
            if back:
                db.execute("UPDATE detail SET over = over + ?, free = free + ?", (back, back))
                db.execute("UPDATE erased SET due = due + ?", (back,))

        if self._path.exists():
            self._do(confirm, writes=True)

    # --- the file ----------------------------------------------------------------------------------------------------

    def _erasing(self, work: Callable[[sqlite3.Connection], int]) -> int:
        done = self._do(work, writes=True)
        if done:
            # A crash before this leaves the old pages in the write-ahead log; the next erasure, and the last process
            # that closes the file, cut it.
            self._do(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone(), plain=True)
        return done

    def _do(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool = False, plain: bool = False) -> _T:
        try:
            with opened(self._path, self._busy, writes=writes, folder_mode=0o700) as db:
                db.execute("PRAGMA temp_store = MEMORY")  # pages of details belong into no other folder
                if _version(db) in _STEPS:
                    use_wal(db, self._busy)
                    with begun(db):
                        for statement in _STEPS.get(_version(db), ()):  # none where another was faster
                            db.execute(statement)
                if _version(db) != _VERSION:
                    raise JournalCorrupt(f"{self._name}: not a store of details of version {_VERSION}")
                if plain:
                    return work(db)
                with begun(db, writes=writes):
                    return work(db)
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error, self._name) from error


def _note_gone(db: sqlite3.Connection, places: Iterable[tuple[int | None, int | None]]) -> None:
    known = {place for place in places if place[0] is not None}
    db.executemany("UPDATE cursor SET gone = max(gone, ?2) WHERE slot = ?1", known)


def _count(db: sqlite3.Connection) -> Count | None:
    row = db.execute("SELECT time, boot, monotonic FROM count").fetchone()
    return None if row is None else Count(*row)


def _count_on(db: sqlite3.Connection, now: Moment) -> Count:
    known = _count(db)
    newest = db.execute("SELECT max(at) FROM detail").fetchone()[0] if known is None else None
    count = count_on(known, now, newest)
    db.execute("INSERT OR REPLACE INTO count VALUES (1, ?, ?, ?)", (count.time, count.boot, count.monotonic))
    return count


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _unavailable(error: sqlite3.Error | OSError, name: str) -> Exception:
    code = getattr(error, "sqlite_errorname", "")
    if code == "SQLITE_FULL":
        return JournalFull(f"{name}: the disk is full")
    if code in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
        return JournalCorrupt(f"{name}: not a database, or a damaged one")
    return JournalFailed(f"{name}: details cannot be read or written ({code or type(error).__name__})")
