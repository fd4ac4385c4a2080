"""Whose records are, in and out, in one SQLite file for the sinks of one country, that all workers of a machine share.

A file per country, because it lies where the sinks do. What is looked up is read on a connection that cannot write and
never waits for one that does; what is noted is one transaction, whole or not at all. What is forgotten is gone from the
files: overwritten with zeros, and the write-ahead log, which had it too, is cut to nothing.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread

from residency.errors import RecordConflict, SinkUnavailable
from residency.sqlite import begun, connect, make_private, use_wal
from residency.storage.locator import Located, conflict

__all__ = ["LocatorSqlite"]

_T = TypeVar("_T")
_AT_ONCE: Final = 500  # keys in one statement
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS located (key BLOB PRIMARY KEY, subject BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS located_subject ON located (subject);
CREATE TABLE IF NOT EXISTS key_mark (one INTEGER PRIMARY KEY CHECK (one = 1), mark TEXT NOT NULL) STRICT;
"""
_INSERT: Final = "INSERT INTO located VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
_MANY: Final = 5000  # keys in one transaction, as a move has them and nobody else
_LARGE: Final = "PRAGMA cache_size = -65536"  # KiB, taken as far as they are used
# Pages in the write-ahead log before they are copied into the file: a large change touches nearly all pages of it, and
# each page that is changed again before is copied once.
_SELDOM: Final = "PRAGMA wal_autocheckpoint = 16384"
_MARK: Final = "INSERT INTO key_mark VALUES (1, ?) ON CONFLICT (one) DO NOTHING"


@dataclass(slots=True, eq=False)  # each is itself alone
class _Asked:
    """Keys that one caller wants noted, whose they are, and what became of it: how many were new, or why none is."""

    wanted: Mapping[str, str]
    fresh: int | None = None
    error: RecordConflict | SinkUnavailable | None = None


class LocatorSqlite:
    """The `Locator` port over a SQLite file. Open it anew after a fork."""

    at_once = 50_000  # a second of which some is waited for by who writes too
    __slots__ = ("_asked", "_place", "_read_lock", "_reader", "_write_lock", "_writer")

    def __init__(self, path: Path, *, place: str = "", busy_ms: int = 5000, key_mark: str | None = None) -> None:
        """Open or create the file, readable by this user alone. `place` is the country it is for, as errors name it.

        `key_mark` tells the key under which all is digested from any other, without telling the key: under another
        one every record would be there and none be found.

        Raises: SinkUnavailable.
        """
        self._place = place
        self._asked: deque[_Asked] = deque()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        try:
            make_private(path)
            self._writer = writer = connect(path, busy_ms)
            use_wal(writer, busy_ms)
            writer.executescript(_SCHEMA)
            writer.execute("SELECT key, subject FROM located LIMIT 1").fetchone()
            if key_mark is not None:
                writer.execute(_MARK, (key_mark,))
                if writer.execute("SELECT mark FROM key_mark").fetchone() != (key_mark,):
                    raise SinkUnavailable(f"{self._name} was written under another `subjects` key: bring that key back")
            self._reader = connect(path, busy_ms)
            self._reader.execute("PRAGMA query_only = ON")
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise SinkUnavailable(f"{self._name} cannot be opened") from error
        except SinkUnavailable:
            self._close()
            raise

    @property
    def _name(self) -> str:
        return f"the locator of {self._place or 'this place'}"

    async def owners(self, keys: Sequence[str]) -> tuple[str | None, ...]:
        """The subject's digest for each key's, None where it is not noted. Raises: SinkUnavailable."""
        return await anyio.to_thread.run_sync(self._owners, tuple(keys))

    async def note(self, located: Sequence[Located]) -> int:
        """Note these, all or none; how many were not noted before. Raises: RecordConflict, SinkUnavailable."""
        return await anyio.to_thread.run_sync(self._note, tuple(located))

    async def forget(self, keys: Sequence[str]) -> int:
        """Take these keys out; how many were noted. Raises: SinkUnavailable."""
        return await anyio.to_thread.run_sync(self._forget, "key", tuple(keys))

    async def forget_subject(self, subject: str) -> int:
        """Take out all that is noted of a subject; how many keys. Raises: SinkUnavailable."""
        return await anyio.to_thread.run_sync(self._forget, "subject", (subject,))

    async def aclose(self) -> None:
        """Close the file; idempotent."""
        await anyio.to_thread.run_sync(self._close)

    def _owners(self, keys: tuple[str, ...]) -> tuple[str | None, ...]:
        with self._read_lock:
            found = self._guard(lambda: dict(self._select(_opened(self._reader, self._name), keys)))
        return tuple(map(found.get, keys))

    def _note(self, located: tuple[Located, ...]) -> int:
        wanted: dict[str, str] = {}
        for key, subject in located:
            if wanted.setdefault(key, subject) != subject:
                raise conflict(self._place)
        mine = _Asked(wanted)
        self._asked.append(mine)
        with self._write_lock:
            if mine.fresh is None and mine.error is None:
                self._note_together(self._with(mine))
        if mine.error is not None:
            raise mine.error
        return mine.fresh or 0

    def _with(self, mine: _Asked) -> list[_Asked]:
        """This one, and others who wait for the same lock, as many as may be written in one go."""
        with suppress(ValueError):  # who had it before failed
            self._asked.remove(mine)
        some, keys = [mine], len(mine.wanted)
        # Nobody else takes from there: the lock is held.
        while self._asked and (keys := keys + len(self._asked[0].wanted)) <= self.at_once:
            some.append(self._asked.popleft())
        return some

    def _note_together(self, some: Sequence[_Asked]) -> None:
        """Note what these ask for in one transaction, which waits for the disk once; one by one where something stands
        against one of them."""

        def work(connection: sqlite3.Connection) -> list[int]:
            if sum(len(each.wanted) for each in some) > _MANY:  # no page is to be read and written twice
                connection.execute(_LARGE)
                connection.execute(_SELDOM)
            return [self._insert(connection, each.wanted) for each in some]

        try:
            told = self._transaction(work)
        except RecordConflict as error:
            if len(some) == 1:
                some[0].error = error
                return
            for each in some:
                self._note_together([each])
        except SinkUnavailable as error:
            for each in some:
                each.error = SinkUnavailable(str(error))
                each.error.__cause__ = error.__cause__
        else:
            for each, fresh in zip(some, told, strict=True):
                each.fresh = fresh

    def _insert(self, connection: sqlite3.Connection, wanted: Mapping[str, str]) -> int:
        rows = [(bytes.fromhex(key), bytes.fromhex(subject)) for key, subject in wanted.items()]
        rows.sort()  # as they lie in the file
        fresh = connection.executemany(_INSERT, rows).rowcount
        # Looked at only where some were there; what is raised takes all of it back.
        if fresh < len(rows) and any(wanted[key] != whose for key, whose in self._select(connection, tuple(wanted))):
            raise conflict(self._place)
        return fresh

    def _forget(self, column: str, digests: tuple[str, ...]) -> int:
        def work(connection: sqlite3.Connection) -> int:
            statement = f"DELETE FROM located WHERE {column} = ?"  # noqa: S608 - one of two words of ours
            return connection.executemany(statement, [(bytes.fromhex(each),) for each in digests]).rowcount

        gone = self._change(work)
        if gone:
            with self._write_lock:
                # A process that reads meanwhile leaves bytes in the write-ahead log until the next time.
                self._guard(
                    lambda: _opened(self._writer, self._name).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                )
        return gone

    def _change(self, work: Callable[[sqlite3.Connection], int]) -> int:
        """Do `work` in one transaction. A crash before it returns leaves all of it or nothing."""
        with self._write_lock:
            return self._transaction(work)

    def _transaction(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        def transaction() -> _T:
            with begun(_opened(self._writer, self._name)) as connection:
                return work(connection)

        return self._guard(transaction)

    def _select(self, connection: sqlite3.Connection, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        rest = iter(keys)
        while some := [bytes.fromhex(key) for key in islice(rest, _AT_ONCE)]:
            marks = ",".join("?" * len(some))
            statement = f"SELECT key, subject FROM located WHERE key IN ({marks})"  # noqa: S608 - question marks
            for key, subject in connection.execute(statement, some):
                yield key.hex(), subject.hex()

    def _guard(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except RecordConflict:
            raise
        except sqlite3.Error as error:
            raise SinkUnavailable(f"{self._name} cannot be read or written") from error

    def _close(self) -> None:
        # Both locks: no statement of another thread is cut off in the middle.
        with self._write_lock, self._read_lock:
            for connection in (self._writer, self._reader):
                if connection is not None:
                    connection.close()
            self._writer = self._reader = None


def _opened(connection: sqlite3.Connection | None, name: str) -> sqlite3.Connection:
    if connection is None:
        raise SinkUnavailable(f"{name} is closed")
    return connection
