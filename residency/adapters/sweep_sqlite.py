"""How far a run over the subjects of a store has come in and out, in one SQLite file: keyed digests, and no ids.

A run that is broken off goes on with the subjects it has not been through. One that ended, or began too long ago, is
begun anew: what was not past its ceiling then may be now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, TypeVar

from residency.errors import FactsUnavailable
from residency.sqlite import begun, opened

__all__ = ["SweepSqlite"]

_T = TypeVar("_T")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS run (store TEXT PRIMARY KEY, at INTEGER NOT NULL, policy TEXT NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS done (copy TEXT NOT NULL, subject BLOB NOT NULL, PRIMARY KEY (copy, subject))
  STRICT, WITHOUT ROWID
"""


class SweepSqlite:
    """The journal of runs. `begin` before, `end` after; in between `left` and `add` (`storage.sweep.Done`)."""

    __slots__ = ("_busy", "_path")

    def __init__(self, path: Path, *, busy_ms: int = 5000) -> None:
        """Nothing is opened yet, and no file made."""
        self._path = path
        self._busy = busy_ms

    def begin(self, store: str, now: int, policy: str, max_age: int) -> int | None:
        """Begin a run over `store` at `now` (microseconds) under the policy of that digest; when the run that was
        broken off began, where it goes on: one of the same policy, no older than `max_age`. Raises: FactsUnavailable.
        """

        def begin(db: sqlite3.Connection) -> int | None:
            row = db.execute("SELECT at, policy FROM run WHERE store = ?", (store,)).fetchone()
            if row is not None and row[1] == policy and 0 <= now - row[0] <= max_age:
                return int(row[0])
            _clear(db, store)
            db.execute("INSERT INTO run VALUES (?, ?, ?)", (store, now, policy))
            return None

        return self._do(begin)

    def end(self, store: str) -> None:
        """The run over `store` came to its end. Raises: FactsUnavailable."""
        self._do(lambda db: _clear(db, store))

    def left(self, copy: str, digests: Collection[str]) -> frozenset[str]:
        """Those of these subjects (keyed digests, hex) that the run has not been through in `copy` ("store/sink").

        Raises: FactsUnavailable.
        """
        sql = "SELECT 1 FROM done WHERE copy = ? AND subject = ?"

        def left(db: sqlite3.Connection) -> frozenset[str]:
            return frozenset(d for d in digests if db.execute(sql, (copy, bytes.fromhex(d))).fetchone() is None)

        return self._do(left)

    def add(self, copy: str, digests: Collection[str]) -> None:
        """Note that the run has been through these subjects. Raises: FactsUnavailable."""
        rows = [(copy, bytes.fromhex(digest)) for digest in sorted(digests)]
        self._do(lambda db: db.executemany("INSERT INTO done VALUES (?, ?) ON CONFLICT DO NOTHING", rows))

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            with opened(self._path, self._busy, writes=True) as db, begun(db):
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                return work(db)
        except (sqlite3.Error, OSError) as error:
            name = getattr(error, "sqlite_errorname", None) or type(error).__name__
            raise FactsUnavailable(f"the journal of runs cannot be read or written ({name})") from None


def _clear(db: sqlite3.Connection, store: str) -> None:
    db.execute("DELETE FROM run WHERE store = ?", (store,))
    # "store/sink": a store's name is a word, without a slash, and none of them begins another's like that.
    db.execute("DELETE FROM done WHERE substr(copy, 1, ?) = ?", (len(store) + 1, f"{store}/"))
