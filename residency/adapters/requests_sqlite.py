"""Requests of authorities and persons in and out, in one SQLite file beside the log.

Nothing in it names a person: a request has an alias, and a file number that whoever writes it keeps free of names. Each
call opens the file, does its work in one transaction and closes it, as calls are rare.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from residency.errors import FactsUnavailable, UsageError
from residency.sqlite import begun, opened
from residency.storage.requests import Request, Step

__all__ = ["RequestsSqlite"]

_T = TypeVar("_T")
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS request (
  number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, place TEXT NOT NULL, received INTEGER NOT NULL,
  alias TEXT, reference TEXT, answer TEXT, steps TEXT NOT NULL, closed INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS request_by_alias ON request (alias) WHERE alias IS NOT NULL;
CREATE INDEX IF NOT EXISTS request_open ON request (closed, number);
PRAGMA user_version = 1;
"""
_ROWS: Final = "SELECT number, kind, place, received, alias, reference, answer, steps FROM request"


class RequestsSqlite:
    """The register of requests. Numbers count from 1 and are never given twice."""

    __slots__ = ("_busy", "_path")

    def __init__(self, path: Path, *, busy_ms: int = 5000) -> None:
        """`busy_ms` = how long to wait for another process's write. Nothing is opened yet, and no file made."""
        self._path = path
        self._busy = busy_ms

    def add(self, request: Request) -> Request:
        """Register a request; it with its number. Raises: FactsUnavailable."""

        def add(db: sqlite3.Connection) -> Request:
            values = (
                request.kind, request.place, request.received, request.alias, request.reference, request.answer,
                _format(request), int(request.closed),
            )  # fmt: skip
            row = db.execute(
                "INSERT INTO request (kind, place, received, alias, reference, answer, steps, closed)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
                values,
            ).fetchone()
            return replace(request, number=row[0])

        return self._do(add, writes=True)

    def change(self, number: int, make: Callable[[Request], Request]) -> Request:
        """Put what `make` makes of a request in its place, in one transaction; what stands then.

        Raises: UsageError where there is no such request, FactsUnavailable, and what `make` raises.
        """

        def change(db: sqlite3.Connection) -> Request:
            new = make(_one(db, number))
            db.execute(
                "UPDATE request SET steps = ?, answer = ?, alias = ?, closed = ? WHERE number = ?",
                (_format(new), new.answer, new.alias, int(new.closed), number),
            )
            return new

        return self._do(change, writes=True)

    def get(self, number: int) -> Request:
        """One request. Raises: UsageError where there is none, FactsUnavailable."""
        return self._do(lambda db: _one(db, number))

    def all(self, *, open_only: bool = False) -> tuple[Request, ...]:
        """Requests in the order they were registered. Raises: FactsUnavailable."""
        where = " WHERE closed = 0" if open_only else ""
        return self._do(lambda db: tuple(map(_parse, db.execute(f"{_ROWS}{where} ORDER BY number"))))

    def of_kind(self, kind: str) -> tuple[Request, ...]:
        """Requests of one kind that are about a person, oldest first. Raises: FactsUnavailable."""
        sql = f"{_ROWS} WHERE kind = ? AND alias IS NOT NULL ORDER BY received"
        return self._do(lambda db: tuple(map(_parse, db.execute(sql, (kind,)))))

    def _do(self, work: Callable[[sqlite3.Connection], _T], *, writes: bool = False) -> _T:
        try:
            with opened(self._path, self._busy, writes=writes) as db, begun(db, writes=writes):
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                elif version != _VERSION:
                    raise FactsUnavailable("the register of requests is of another version")
                return work(db)
        except (sqlite3.Error, OSError) as error:
            name = getattr(error, "sqlite_errorname", None) or type(error).__name__
            raise FactsUnavailable(f"the register of requests cannot be read or written ({name})") from None


def _one(db: sqlite3.Connection, number: int) -> Request:
    row = db.execute(f"{_ROWS} WHERE number = ?", (number,)).fetchone()
    if row is None:
        raise UsageError(f"there is no request {number}")
    return _parse(row)


def _format(request: Request) -> str:
    return json.dumps([[s.task, s.due, list(s.rules), s.done, s.extended] for s in request.steps])


def _parse(row: tuple[Any, ...]) -> Request:
    number, kind, place, received, alias, reference, answer, steps = row
    try:
        parsed = tuple(
            Step(task, due, tuple(rules), done, extended) for task, due, rules, done, extended in json.loads(steps)
        )
    except (ValueError, TypeError):
        raise FactsUnavailable(f"request {number} cannot be read") from None
    return Request(kind, place, received, parsed, alias, reference, answer, number)
