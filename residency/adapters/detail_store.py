"""One country's regional detail in one SQLite file: rows in, rows out, and what is erased is gone from the file.

A row is named by origin, entry and commitment: filed twice it is there once. Where the filing of a journal has got to
is kept in the same file and changed in the same transaction, so that a kill at any instant loses nothing and doubles
nothing. Deleted content is overwritten with zeros (`secure_delete`) and the write-ahead log is cut to nothing, so that
no bytes of an erased detail are left in these files.

Each call opens the file, does its work in one transaction and closes it: nothing is held across a fork or between
threads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from residency.audit.detail_head import Head
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt, JournalFailed, JournalFull

__all__ = ["DetailStore"]

_T = TypeVar("_T")
Row = tuple[Head, bytes]
"""A head and the sealed detail."""
_VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE detail (origin TEXT NOT NULL, entry TEXT NOT NULL, commitment TEXT NOT NULL, alias TEXT,"
    " at INTEGER NOT NULL, keeping TEXT NOT NULL, keep_until INTEGER, erase_by INTEGER, due INTEGER NOT NULL,"
    " sealed BLOB NOT NULL, PRIMARY KEY (origin, entry, commitment)) STRICT, WITHOUT ROWID",
    "CREATE INDEX detail_due ON detail (due)",
    "CREATE INDEX detail_alias ON detail (alias)",
    "CREATE INDEX detail_keeping ON detail (keeping, at)",
    # What was erased ahead of its time, so that a second delivery of it does not bring it back.
    "CREATE TABLE erased (origin TEXT NOT NULL, entry TEXT NOT NULL, commitment TEXT NOT NULL, due INTEGER NOT NULL,"
    " PRIMARY KEY (origin, entry, commitment)) STRICT, WITHOUT ROWID",
    "CREATE TABLE cursor (slot INTEGER PRIMARY KEY, segment INTEGER NOT NULL, place INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, since INTEGER NOT NULL) STRICT",
    # Of all that was erased, when the newest was recorded: journal segments begun before may hold its bytes still.
    "CREATE TABLE gone (id INTEGER PRIMARY KEY CHECK (id = 1), newest INTEGER NOT NULL) STRICT",
    f"PRAGMA user_version = {_VERSION}",
)
_ROW: Final = "origin, entry, commitment, alias, at, keeping, keep_until, erase_by, sealed"
_INSERT: Final = (
    "INSERT INTO detail (origin, entry, commitment, alias, at, keeping, keep_until, erase_by, sealed, due)"
    " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
    " WHERE NOT EXISTS (SELECT 1 FROM erased WHERE (origin, entry, commitment) = (?, ?, ?)) ON CONFLICT DO NOTHING"
)
_BATCH: Final = 1000


class DetailStore:
    """The details of one country in the file `path`, which is made once there is something to keep."""

    __slots__ = ("_busy", "_name", "_path")

    def __init__(self, path: Path, *, busy_ms: int = 5000) -> None:
        """`busy_ms` = how long to wait for another process's write. Nothing is opened yet."""
        self._path = path
        self._name = f"{path.parent.name}/{path.name}"
        self._busy = busy_ms / 1000

    # --- filing ------------------------------------------------------------------------------------------------------

    def file(self, rows: Iterable[Row], cursors: Mapping[int, Cursor] | None = None, *, now: int = 0) -> int:
        """Keep `rows`, and where the journals' filing has got to (`cursors` by slot); how many rows were new.

        A row that is there already, that was erased ahead of its time, or that is due at `now` (microseconds) is not
        kept. Once this returns, all of it survives a power cut. Raises: JournalFull, JournalFailed, JournalCorrupt.
        """

        def file(db: sqlite3.Connection) -> int:
            new = 0
            late = []  # no row has them, and the journal they come from still has their bytes
            for h, sealed in rows:
                if h.due <= now:
                    late.append(h.at)
                    continue
                new += db.execute(
                    _INSERT,
                    (
                        h.origin, h.entry, h.commitment, h.alias, h.at, h.keeping, h.keep_until, h.erase_by,
                        sealed, h.due, h.origin, h.entry, h.commitment,
                    ),
                ).rowcount  # fmt: skip
            for slot, cursor in (cursors or {}).items():
                db.execute(
                    "INSERT INTO cursor VALUES (?, ?, ?, ?, 0) ON CONFLICT (slot)"
                    " DO UPDATE SET (segment, place, seq) = (excluded.segment, excluded.place, excluded.seq)",
                    (slot, cursor.segment, cursor.offset, cursor.seq),
                )
            _note_gone(db, late)
            return new

        return self._do(file, writes=True)

    def cursors(self) -> dict[int, Cursor]:
        """How far each slot's journal is filed. Raises: JournalFailed, JournalCorrupt."""
        return self.progress()[0]

    def progress(self) -> tuple[dict[int, Cursor], frozenset[int]]:
        """How far each slot's journal is filed; and the slots whose journal may hold bytes of something erased and was
        not turned over since. Raises: JournalFailed, JournalCorrupt."""

        def read(db: sqlite3.Connection) -> tuple[dict[int, Cursor], frozenset[int]]:
            (newest,) = db.execute("SELECT max(newest) FROM gone").fetchone()
            rows = db.execute("SELECT slot, segment, place, seq, since FROM cursor").fetchall()
            cursors = {slot: Cursor(segment, place, seq) for slot, segment, place, seq, _ in rows}
            turns = (slot for slot, _, _, seq, since in rows if newest is not None and seq and since <= newest)
            return cursors, frozenset(turns)

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

    def expire(self, now: int) -> int:
        """Erase what is due at `now` (microseconds); how many rows. Raises: as `erase`."""

        def expire(db: sqlite3.Connection) -> int:
            db.execute("DELETE FROM erased WHERE due <= ?", (now,))
            rows = db.execute("DELETE FROM detail WHERE due <= ? RETURNING at", (now,)).fetchall()
            _note_gone(db, [at for (at,) in rows])
            return len(rows)

        if not self._do(lambda db: db.execute("SELECT 1 FROM detail WHERE due <= ? LIMIT 1", (now,)).fetchone()):
            return 0
        return self._erasing(expire)

    def erase(self, heads: Collection[Head]) -> int:
        """Erase the rows of `heads`, whatever their terms, which the caller asks about; how many there were.

        Raises: JournalFull, JournalFailed, JournalCorrupt.
        """

        def erase(db: sqlite3.Connection) -> int:
            gone = []
            for h in heads:
                name = (h.origin, h.entry, h.commitment)
                sql = "DELETE FROM detail WHERE (origin, entry, commitment) = (?, ?, ?) RETURNING at, due"
                for at, due in db.execute(sql, name).fetchall():
                    db.execute("INSERT INTO erased VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (*name, due))
                    gone.append(at)
            _note_gone(db, gone)
            return len(gone)

        return self._erasing(erase)

    def turned(self, slot: int, now: int) -> None:
        """Note that what slot `slot` records from `now` on (microseconds) lies in another segment than what it recorded
        before. Raises: JournalFull, JournalFailed, JournalCorrupt."""
        self._do(lambda db: db.execute("UPDATE cursor SET since = ? WHERE slot = ?", (now, slot)), writes=True)

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
            there = self._path.exists()
            if writes and not there:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600, exist_ok=True)
            place = self._path if writes or there else ":memory:"  # nothing is kept where there is no file
            with closing(sqlite3.connect(place, timeout=self._busy, isolation_level=None)) as db:
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA temp_store = MEMORY")  # pages of details belong into no other folder
                if _version(db) == 0:
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("BEGIN IMMEDIATE")
                    if _version(db) == 0:  # and nobody else was faster
                        for statement in _SCHEMA:
                            db.execute(statement)
                    db.execute("COMMIT")
                if _version(db) != _VERSION:
                    raise JournalCorrupt(f"{self._name}: not a store of details of version {_VERSION}")
                if plain:
                    return work(db)
                db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                try:
                    answer = work(db)
                    db.execute("COMMIT")
                except BaseException:
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                    raise
                return answer
        except (sqlite3.Error, OSError) as error:
            raise _unavailable(error, self._name) from error


def _note_gone(db: sqlite3.Connection, recorded: Collection[int]) -> None:
    if recorded:
        db.execute(
            "INSERT INTO gone VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET newest = max(newest, excluded.newest)",
            (max(recorded),),
        )


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
