"""Pins in, pins out, in one SQLite file that all workers of a machine share.

Two connections: one for changes, used in a thread under a lock; one that cannot write, for `peek`. In WAL mode a
reader never waits for a writer, so `peek` is one indexed read of what was last committed by whichever process
(microseconds, no await, no cache that another worker could make stale). The compare-and-set is one SQL statement
under SQLite's own write lock, so it holds between processes too. A pin that is forgotten is gone from the files: it is
overwritten with zeros, and the write-ahead log, which had it too, is cut to nothing.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread

from residency.errors import PinsUnavailable, StaleVersion
from residency.jurisdiction.pinned import parse_anchors, parse_place
from residency.model import Anchor, Pin, Trust
from residency.sqlite import begun, connect, make_private, use_wal

__all__ = ["PinsSqlite"]

_T = TypeVar("_T")
_log = logging.getLogger("residency")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS pin (
  subject TEXT PRIMARY KEY, home TEXT NOT NULL, anchors TEXT NOT NULL, alias TEXT NOT NULL,
  set_by TEXT NOT NULL, policy TEXT NOT NULL, at INTEGER NOT NULL, version INTEGER NOT NULL,
  moving TEXT
) STRICT, WITHOUT ROWID
"""
_KEY_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS key_mark (one INTEGER PRIMARY KEY CHECK (one = 1), mark TEXT NOT NULL) STRICT
"""
_MARK: Final = "INSERT INTO key_mark VALUES (1, ?) ON CONFLICT (one) DO NOTHING"
_REMARK: Final = "UPDATE key_mark SET mark = ? WHERE NOT EXISTS (SELECT 1 FROM pin)"
_SELECT: Final = "SELECT subject, home, anchors, alias, set_by, policy, at, version, moving FROM pin WHERE subject = ?"
_INSERT: Final = "INSERT INTO pin VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (subject) DO NOTHING"
_COLUMNS: Final = "SELECT count(*) FROM pragma_table_info('pin') WHERE name = 'moving'"
_MOVING: Final = "ALTER TABLE pin ADD COLUMN moving TEXT"
_UPDATE: Final = """
UPDATE pin SET home = ?, anchors = ?, alias = ?, set_by = ?, policy = ?, at = ?, version = ?, moving = ?
WHERE subject = ? AND version = ? - 1
"""
_DELETE: Final = "DELETE FROM pin WHERE subject = ? AND version = ?"


class _StaleError(Exception):
    """Of some pins another version is in force."""


class PinsSqlite:
    """The `Pins` port over a SQLite file. Open it anew after a fork."""

    __slots__ = ("_failing", "_path", "_peek_lock", "_reader", "_write_lock", "_writer")

    def __init__(self, path: Path, *, busy_ms: int = 5000, key_mark: str | None = None) -> None:
        """Open or create the file, readable by this user alone. `busy_ms` = wait for another process's write.

        `key_mark` tells the key under which subjects are digested from any other, without telling the key: pins
        written under another key would all be there and none be found, and each subject would get a home anew.

        Raises: PinsUnavailable.
        """
        self._path = path
        self._failing = False
        self._write_lock = threading.Lock()
        self._peek_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        try:
            make_private(path)
            # A pin that an act relies on is on disk before the act's data is written.
            self._writer = connect(path, busy_ms)
            use_wal(self._writer, busy_ms)
            self._writer.execute(_SCHEMA)
            _add_moving(self._writer)
            # Refuses a file of the right shape but damaged content now, not at some subject's first request.
            self._writer.execute("SELECT count(*) FROM pin").fetchone()
            if key_mark is not None:
                self._writer.execute(_KEY_SCHEMA)
                self._writer.execute(_MARK, (key_mark,))
                self._writer.execute(_REMARK, (key_mark,))
                (found,) = self._writer.execute("SELECT mark FROM key_mark").fetchone()
                if found != key_mark:
                    raise PinsUnavailable("the pins were written under another `subjects` key: bring that key back")
            self._reader = connect(path, busy_ms)
            self._reader.execute("PRAGMA query_only = ON")
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise PinsUnavailable("the pins file cannot be opened") from error
        except PinsUnavailable:
            self._close()
            raise

    def peek(self, subject: str) -> tuple[Pin | None, bool]:
        """(newest committed pin, True). Raises: PinsUnavailable."""
        with self._peek_lock:
            return self._guard(lambda: self._select(self._reader, subject)), True

    def is_stale(self) -> bool:
        """Never: what `peek` answers is the store itself."""
        return False

    async def get(self, subject: str) -> Pin | None:
        """The newest pin of `subject`. Raises: PinsUnavailable."""
        return await anyio.to_thread.run_sync(self._get, subject)

    async def put(self, pin: Pin) -> None:
        """Store `pin` if it is the stored one's next version. Raises: StaleVersion, PinsUnavailable."""
        await anyio.to_thread.run_sync(self._put, pin)

    async def put_all(self, pins: Sequence[Pin]) -> frozenset[str]:
        """As `put`, of many in one transaction; the subjects whose pin was stale. Raises: PinsUnavailable."""
        return await anyio.to_thread.run_sync(self._put_all, pins)

    async def forget(self, subject: str, version: int) -> None:
        """Remove the pin whose version is `version`. Raises: StaleVersion, PinsUnavailable."""
        await anyio.to_thread.run_sync(self._forget, subject, version)

    async def aclose(self) -> None:
        """Close the file; idempotent."""
        await anyio.to_thread.run_sync(self._close)

    def _get(self, subject: str) -> Pin | None:
        with self._write_lock:
            return self._guard(lambda: self._select(self._writer, subject))

    def _put(self, pin: Pin) -> None:
        self._change(*_putting(pin))

    def _put_all(self, pins: Sequence[Pin]) -> frozenset[str]:
        changes = [_putting(pin) for pin in pins]
        kinds = {statement for statement, _ in changes}

        def work() -> frozenset[str]:
            database = _opened(self._writer)
            if len(kinds) == 1:  # in one go, and one by one only where some are stale
                with suppress(_StaleError), begun(database):
                    if database.executemany(next(iter(kinds)), [row for _, row in changes]).rowcount < len(pins):
                        raise _StaleError
                    return frozenset()
            with begun(database):
                put = zip(pins, changes, strict=True)
                return frozenset([pin.subject for pin, change in put if database.execute(*change).rowcount != 1])

        with self._write_lock:
            return self._guard(work)

    def _change(self, statement: str, values: tuple[str | int | None, ...]) -> None:
        with self._write_lock:
            # Autocommit: one statement is one transaction. A crash before it returns leaves the old pin or the new.
            changed = self._guard(lambda: _opened(self._writer).execute(statement, values).rowcount)
        if changed != 1:
            raise StaleVersion("the pin has another version than the one this was based on")

    def _forget(self, subject: str, version: int) -> None:
        self._change(_DELETE, (subject, version))
        with self._write_lock:
            # A crash before this, or a process that reads meanwhile, leaves the pin's bytes in the write-ahead log:
            # until the next pin is forgotten, or the last process closes the file.
            self._guard(lambda: _opened(self._writer).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())

    def _select(self, connection: sqlite3.Connection | None, subject: str) -> Pin | None:
        row = _opened(connection).execute(_SELECT, (subject,)).fetchone()
        if row is None:
            return None
        moving = None if row[8] is None else parse_place(row[8])
        return Pin(row[0], parse_place(row[1]), parse_anchors(row[2]), row[3], row[4], row[5], row[6], row[7], moving)

    def _guard(self, work: Callable[[], _T]) -> _T:
        try:
            answer = work()
        except sqlite3.Error as error:
            if not self._failing:
                self._failing = True
                _log.warning("the pins file cannot be read or written (%s)", type(error).__name__)
            raise PinsUnavailable("the pins file cannot be read or written") from error
        except (ValueError, TypeError) as error:
            raise PinsUnavailable("what is stored in a pin's place is not a pin") from error
        if self._failing:
            self._failing = False
            _log.warning("the pins file can be read and written again")
        return answer

    def _close(self) -> None:
        # Both locks: no statement of another thread is cut off in the middle.
        with self._write_lock, self._peek_lock:
            for connection in (self._writer, self._reader):
                if connection is not None:
                    connection.close()
            self._writer = self._reader = None


def _putting(pin: Pin) -> tuple[str, tuple[str | int | None, ...]]:
    values = (pin.home, _anchors_text(pin.anchors), pin.alias, pin.set_by, pin.policy, pin.at, pin.version, pin.moving)
    return (_INSERT, (pin.subject, *values)) if pin.version == 1 else (_UPDATE, (*values, pin.subject, pin.version))


@lru_cache(maxsize=256)  # most who move remember the same
def _anchors_text(anchors: tuple[tuple[Anchor, str, Trust], ...]) -> str:
    return json.dumps([[a.value, place, trust.value] for a, place, trust in anchors], separators=(",", ":"))


def _add_moving(connection: sqlite3.Connection) -> None:
    """Bring a file of a release that knew no moves to today's form, of workers that start at once by one."""
    if connection.execute(_COLUMNS).fetchone() != (0,):
        return
    with begun(connection):
        if connection.execute(_COLUMNS).fetchone() == (0,):
            connection.execute(_MOVING)


def _opened(connection: sqlite3.Connection | None) -> sqlite3.Connection:
    if connection is None:
        raise PinsUnavailable("pins are closed")
    return connection
