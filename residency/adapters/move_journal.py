"""Steps of a move in, the same out, in one SQLite file: what a run that was killed had come to.

It holds keyed digests of subjects and of what was copied, places and numbers, and no id or record. One run at a time:
the file's lock goes with the process that holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread

from residency.errors import PinsUnavailable
from residency.storage.move import State, Step

__all__ = ["MoveJournalSqlite"]

_T = TypeVar("_T")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS step (
  subject TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL, copies TEXT NOT NULL,
  records INTEGER NOT NULL, PRIMARY KEY (subject, source, target)
) STRICT, WITHOUT ROWID
"""
_PUT: Final = """
INSERT INTO step VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET state = excluded.state, copies = excluded.copies, records = excluded.records
"""
_SELECT: Final = "SELECT subject, state, copies, records FROM step WHERE source = ? AND target = ? AND subject = ?"
_UNFINISHED: Final = "SELECT * FROM step WHERE state IN ('noted', 'copied', 'verified')"
_TOTALS: Final = "SELECT source, target, state, count(*), sum(records) FROM step GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"


class MoveJournalSqlite:
    """The `MoveJournal` port over a SQLite file."""

    __slots__ = ("_db", "_lock", "_turn")

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by this user alone.

        Raises: PinsUnavailable, also while another run is on.
        """
        self._lock = -1
        self._turn = threading.Lock()
        self._db: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=True)
            self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(_SCHEMA)
        except BlockingIOError:
            self.close()
            raise PinsUnavailable("another run of the move is on: one at a time") from None
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise PinsUnavailable("the journal of the move cannot be opened") from error

    async def steps(self, source: str, target: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """What is noted of these subjects. Raises: PinsUnavailable."""

        def work(db: sqlite3.Connection) -> dict[str, Step]:
            found: dict[str, Step] = {}
            for subject in subjects:
                row = db.execute(_SELECT, (source, target, subject)).fetchone()
                if row is not None:
                    found[subject] = Step(row[0], source, target, State(row[1]), json.loads(row[2]), row[3])
            return found

        return await anyio.to_thread.run_sync(self._do, work)

    async def put(self, steps: Sequence[Step]) -> None:
        """Note these, all or none, so that they survive a power cut. Raises: PinsUnavailable."""
        if not steps:
            return
        rows = [
            (each.subject, each.source, each.target, each.state.value, json.dumps(dict(each.copies)), each.records)
            for each in steps
        ]

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany(_PUT, rows)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

        await anyio.to_thread.run_sync(self._do, work)

    async def unfinished(self) -> tuple[Step, ...]:
        """Every step that is neither done nor somebody's to judge. Raises: PinsUnavailable."""

        def work(db: sqlite3.Connection) -> tuple[Step, ...]:
            rows = db.execute(_UNFINISHED).fetchall()
            return tuple(Step(a, b, c, State(d), json.loads(e), f) for a, b, c, d, e, f in rows)

        return await anyio.to_thread.run_sync(self._do, work)

    def totals(self) -> list[tuple[str, str, State, int, int]]:
        """(source, target, state, subjects, records) of all that is noted. Raises: PinsUnavailable."""
        return self._do(lambda db: [(a, b, State(c), d, e) for a, b, c, d, e in db.execute(_TOTALS)])

    def close(self) -> None:
        """Release the file; idempotent."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._db is None:
            raise PinsUnavailable("the journal of the move is closed")
        try:
            with self._turn:  # batches run side by side
                return work(self._db)
        except (sqlite3.Error, ValueError) as error:
            raise PinsUnavailable("the journal of the move cannot be read or written") from error
