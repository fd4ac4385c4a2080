"""What is noted, counted and escalated in and out, in one SQLite file that all workers of a machine share.

Each call opens the file, does its work in one transaction and closes it: calls are rare (a first event, a beat), and so
nothing is held across a fork or between threads. A first event is one INSERT under SQLite's own write lock, so of two
processes that race one notes it. The number of a counter is kept beside its subjects: asking costs one look-up however
many there are. The file is made once there is something to note, and named by a number: one that was deleted or put in
another's place while a process knew it is not believed, for with it went what made a law stricter.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final, TypeVar

from residency.errors import FactsUnavailable
from residency.model import Event
from residency.sqlite import begun, opened

__all__ = ["NotedSqlite"]

_T = TypeVar("_T")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS event (
  kind TEXT NOT NULL, place TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS escalated (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, subjects INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS counted (
  counter INTEGER NOT NULL, subject BLOB NOT NULL, PRIMARY KEY (counter, subject)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {name};
PRAGMA user_version = 1;
"""
_VERSION: Final = 1
_OTHER: Final = (
    "the file of what is noted of the operator is gone or another one: restore it, or restart this service to go on"
    " without what it held"
)


class NotedSqlite:
    """The `Noted` port over a SQLite file."""

    __slots__ = ("_busy", "_name", "_path")

    def __init__(self, path: Path, *, busy_ms: int = 5000) -> None:
        """`busy_ms` = how long to wait for another process's write. Nothing is opened yet."""
        self._path = path
        self._busy = busy_ms
        self._name: int | None = None  # of the file that was seen; None = none yet

    def events(self) -> tuple[Event, ...]:
        """Every event that is noted. Raises: FactsUnavailable."""
        return self._do(lambda db: tuple(Event(*row) for row in db.execute("SELECT kind, place, at FROM event")))

    def note(self, event: Event) -> Event:
        """Note `event` unless one of its kind and place is; the one that stands. Raises: FactsUnavailable."""

        def note(db: sqlite3.Connection) -> Event:
            db.execute("INSERT INTO event VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (event.kind, event.place, event.at))
            key = (event.kind, event.place)
            (at,) = db.execute("SELECT at FROM event WHERE kind = ? AND place = ?", key).fetchone()
            return Event(event.kind, event.place, at)

        return self._do(note, writes=True)

    def put_back(self, event: Event) -> None:
        """Note `event` again unless an earlier one is noted. Raises: FactsUnavailable."""
        statement = "INSERT INTO event VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = min(at, excluded.at)"
        self._do(lambda db: db.execute(statement, (event.kind, event.place, event.at)), writes=True)

    def count(self, subjects: Mapping[str, Collection[str]], counters: Collection[str]) -> dict[str, int]:
        """Count each subject once in its counter; how many each of `counters` has then. Raises: FactsUnavailable."""

        def count(db: sqlite3.Connection) -> dict[str, int]:
            for counter, digests in subjects.items():
                db.execute("INSERT INTO counter (name, subjects) VALUES (?, 0) ON CONFLICT DO NOTHING", (counter,))
                (number,) = db.execute("SELECT id FROM counter WHERE name = ?", (counter,)).fetchone()
                # In order: neighbours in the tree share pages.
                rows = ((number, digest) for digest in sorted(map(bytes.fromhex, digests)))
                new = db.executemany("INSERT INTO counted VALUES (?, ?) ON CONFLICT DO NOTHING", rows).rowcount
                db.execute("UPDATE counter SET subjects = subjects + ? WHERE id = ?", (new, number))
            known = dict(db.execute("SELECT name, subjects FROM counter"))
            return {counter: known.get(counter, 0) for counter in counters}

        return self._do(count, writes=any(subjects.values()))

    def forget(self, subject: str) -> None:
        """Take a subject out of every counter. Raises: FactsUnavailable."""

        def forget(db: sqlite3.Connection) -> None:
            digest = bytes.fromhex(subject)
            for (number,) in db.execute("SELECT id FROM counter").fetchall():
                gone = db.execute("DELETE FROM counted WHERE counter = ? AND subject = ?", (number, digest)).rowcount
                db.execute("UPDATE counter SET subjects = subjects - ? WHERE id = ?", (gone, number))

        self._do(forget, writes=True)

    def escalated(self) -> frozenset[str]:
        """The escalations that are up. Raises: FactsUnavailable."""
        return self._do(lambda db: frozenset(row[0] for row in db.execute("SELECT id FROM escalated")))

    def escalate(self, escalation: str, *, up: bool) -> bool:
        """Say whether an escalation is up; whether that was news. Raises: FactsUnavailable."""
        statement = "INSERT INTO escalated VALUES (?) ON CONFLICT DO NOTHING"
        if not up:
            statement = "DELETE FROM escalated WHERE id = ?"
        return self._do(lambda db: db.execute(statement, (escalation,)).rowcount == 1, writes=True)

    def close(self) -> None:
        """Nothing is held between two calls."""

    def _do(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool = False) -> _T:
        try:
            there = self._path.exists()
            if not there and self._name is not None:
                raise FactsUnavailable(_OTHER)
            with opened(self._path, self._busy, writes=writes) as connection:
                # A rollback journal and not a log: nothing is left beside the file.
                if _number(connection, "user_version") == 0:
                    with begun(connection):
                        if _number(connection, "user_version") == 0:  # and nobody else was faster
                            for statement in _SCHEMA.format(name=1 + secrets.randbelow(2**31 - 1)).split(";"):
                                connection.execute(statement)
                if _number(connection, "user_version") != _VERSION:
                    raise FactsUnavailable("the file of what is noted is of another version")
                if writes or there:
                    name = _number(connection, "application_id")
                    if self._name is not None and name != self._name:
                        raise FactsUnavailable(_OTHER)
                    self._name = name
                with begun(connection, writes=writes):
                    return work(connection)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise FactsUnavailable("what is noted of the operator cannot be read or written") from error


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(number)
