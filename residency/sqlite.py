"""A path in, a SQLite connection out: what all adapters over a file of their own want of it alike.

Files are readable by this user alone, what is deleted is overwritten with zeros, and what is committed is on disk. A
process that forks waits until no thread of it is inside SQLite: the child would never get the mutexes that such a
thread holds (https://www.sqlite.org/howtocorrupt.html, section 2.6, is about connections; this is about the library).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

__all__ = ["begun", "connect", "make_private", "opened", "use_wal"]


class _Gate:
    """Lets threads in, but none while the process forks, and lets it fork when none is in."""

    _PATIENCE = 5.0  # seconds that a fork waits; then it goes on, as it would without this

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Nobody is in: also in the child of a fork, whose threads are gone with what they held."""
        self._changed = threading.Condition()
        self._inside = 0
        self._forking = False
        self._depth = threading.local()

    def __enter__(self) -> None:
        depth = getattr(self._depth, "value", 0)
        if depth == 0:
            with self._changed:
                self._changed.wait_for(lambda: not self._forking, self._PATIENCE)
                self._inside += 1
        self._depth.value = depth + 1

    def __exit__(self, *_: object) -> None:
        self._depth.value -= 1
        if self._depth.value == 0:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def before(self) -> None:
        """The process is about to fork."""
        own = 1 if getattr(self._depth, "value", 0) else 0
        with self._changed:
            self._forking = True
            self._changed.wait_for(lambda: self._inside <= own, self._PATIENCE)

    def after(self) -> None:
        """It has forked: in the parent."""
        with self._changed:
            self._forking = False
            self._changed.notify_all()


_gate = _Gate()
if hasattr(os, "register_at_fork"):  # no such thing on Windows, which does not fork
    os.register_at_fork(before=_gate.before, after_in_parent=_gate.after, after_in_child=_gate.begin)


def make_private(path: Path, *, folder_mode: int = 0o777) -> None:
    """Make the file and its folders where they are not there. Raises: OSError."""
    path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    path.touch(mode=0o600, exist_ok=True)


def connect(path: Path | str, busy_ms: int) -> sqlite3.Connection:
    """A connection in autocommit, for whichever thread holds the caller's lock; `busy_ms` = wait for another process's
    write. Raises: sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
    try:
        # FULL: what is committed survives a power cut. Not every build of SQLite deletes securely by itself.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def use_wal(connection: sqlite3.Connection, busy_ms: int) -> None:
    """Switch to the write-ahead log. For this SQLite does not wait by itself, and workers that start at once on a file
    that is not there yet all want it. Raises: sqlite3.Error."""
    end = time.monotonic() + busy_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def begun(connection: sqlite3.Connection, *, writes: bool = True) -> Iterator[sqlite3.Connection]:
    """A transaction: all of it or, where anything is raised, nothing. Raises: sqlite3.Error."""
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def opened(path: Path, busy_ms: int, *, writes: bool, folder_mode: int = 0o777) -> Iterator[sqlite3.Connection]:
    """A connection for one call; where there is no file a reader finds an empty one, and none is made.

    Raises: sqlite3.Error, OSError.
    """
    there = path.exists()
    if writes and not there:
        make_private(path, folder_mode=folder_mode)
    with _gate, closing(connect(path if writes or there else ":memory:", busy_ms)) as connection:
        yield connection
