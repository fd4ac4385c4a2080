"""An error of Django's databases in; ours that names the sink, or Django's own without a value in it, out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from django.db import Error

from residency.adapters.sink_sql.errors import of_driver
from residency.errors import SinkUnavailable, UsageError
from residency.integrations.django_driver import Shown, is_ours

__all__ = ["raise_ours", "telling"]

Changes = Callable[[str], bool | None]
"""Whether the unit of work that is open on a sink changes data; None where none is open."""
Past = Callable[[Any, str, Any], None]
"""Raises where a unit takes no call of this name, with this text, of the driver's cursor on a connection."""
Keeps = Callable[[Any], bool]
"""Whether the driver's own of a connection is kept from who asks."""
_PAST: Final = frozenset({"copy", "executescript", "stream"})
"""By these a driver's cursor sends what no wrapper of statements sees."""


def raise_ours(alias: str, error: BaseException, *, changes: bool) -> None:
    """Raise what a database's error comes to where it speaks of the database; else leave no value in it.

    `changes` = the act changes data. Raises: SinkUnavailable, UsageError for a change in an act that only reads.
    """
    cause = error.__cause__ if error.__cause__ is not None else error
    code = getattr(cause, "sqlite_errorcode", None)
    if getattr(cause, "sqlstate", None) == "25006" or (code is not None and code & 0xFF == sqlite3.SQLITE_READONLY):
        if changes:
            raise SinkUnavailable(f"sink {alias!r} takes no writes") from None
        raise UsageError(f"a statement on sink {alias!r} changes data, but the act only reads") from None
    if (found := of_driver(alias, cause)) is not None:
        raise found from None
    if cause is not error and hasattr(cause, "sqlstate"):
        error.args = cause.args


def telling(make: Callable[[Any], Any], changes: Changes, past: Past, keeps: Keeps) -> Callable[[Any], Any]:
    """A connection's maker of cursors, whose fetches raise as `raise_ours` where a unit is open: no wrapper of
    statements sees them, and a cursor of the server or of SQLite meets errors only then. `past` is asked of what else
    no wrapper sees, and of the driver's own cursor an app is shown what it tells of itself."""

    def made(cursor: Any) -> Any:
        wrapped = make(cursor)
        kind: Any = type(wrapped)
        return _cursors(kind, changes, past, keeps)(cursor, wrapped.db)

    return made


@cache
def _cursors(kind: Any, changes: Changes, past: Past, keeps: Keeps) -> Any:
    class Telling(kind):  # type: ignore[misc]  # known only when called
        @property
        def cursor(self) -> Any:
            found = self.__dict__["cursor"]
            return found if is_ours(2) or not keeps(self.db) else Shown(found)

        @cursor.setter
        def cursor(self, value: Any) -> None:
            self.__dict__["cursor"] = value

        def callproc(self, *args: Any, **kwargs: Any) -> Any:
            past(self.db, "callproc", None)
            return super().callproc(*args, **kwargs)

        def __getattr__(self, name: str) -> Any:
            found = super().__getattr__(name)
            if name in _PAST:

                def checked(text: Any, *args: Any, **kwargs: Any) -> Any:
                    past(self.db, name, text)
                    return found(text, *args, **kwargs)

                return checked
            if name == "connection" and not is_ours(2) and keeps(self.db):
                return Shown(found)
            return _fetching(self.db.alias, changes)(found) if name in kind.WRAP_ERROR_ATTRS else found

        def __iter__(self) -> Iterator[Any]:
            with _fetching(self.db.alias, changes):
                yield from super().__iter__()

    return Telling


@contextmanager
def _fetching(alias: str, changes: Changes) -> Iterator[None]:
    try:
        yield
    except Error as error:
        if (changing := changes(alias)) is not None:
            raise_ours(alias, error, changes=changing)
        raise
