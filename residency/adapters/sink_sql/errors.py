"""A driver's error in; ours that names the sink, or the driver's without anybody's data in it, out.

What speaks of the database (away, full, not migrated, refusing us) becomes ours. What speaks of a statement stays the
app's own error, of the class it always was. Messages of PostgreSQL quote values ("Key (email)=(…) already exists"), and
a traceback prints the whole chain: so what may hold a value is taken out of every error in it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy.engine import ExceptionContext

from residency.enforcement.context import current
from residency.errors import NoDecision, ResidencyError, SinkUnavailable, UsageError
from residency.storage.lasting import lasting

__all__ = ["met", "of_driver", "translator", "unreachable"]

# Primary result codes of SQLite that speak of the file or its locks, not of the statement (sqlite.org/rescode.html).
_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
    }
)
# Classes of SQLSTATE (appendix A of PostgreSQL's manual): connection, authorisation, no such database, resources (a
# full disk, memory, connections), shutdown, the system, the configuration file, corruption.
_AWAY_CLASSES: Final = ("08", "28", "3D", "53", "57P", "58", "F0", "XX")
# What libpq says of a connection has no SQLSTATE: its words, which servers of other languages say in others.
_REFUSED: Final = re.compile(r"authentication failed|no password supplied|role .* does not exist|no pg_hba\.conf entry")
_NO_DATABASE: Final = re.compile(r"database .* does not exist")
_RUINED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM})
"""What no wait mends."""
_NO_TABLE: Final = frozenset({"42P01", "3F000"})  # undefined_table, invalid_schema_name
_NO_CONNECTION: Final = frozenset({"OperationalError", "InterfaceError"})
_READ_ONLY: Final = "25006"  # read_only_sql_transaction
# Classes whose first line names tables, columns, constraints and words of the statement, and never a value.
_TOLD: Final = ("0A", "23", "25", "2D", "40", "42", "55", "57")


def translator(sink: str, *, read_only: bool) -> Callable[[ExceptionContext], ResidencyError | None]:
    """A listener of `handle_error` for an engine of `sink`."""

    def translate(context: ExceptionContext) -> ResidencyError | None:
        original = context.original_exception
        ours = _ours(sink, context, original, read_only)
        _hush(context, original)
        if ours is None and isinstance(original, Exception):
            (context.sqlalchemy_exception or original).add_note(f"on sink {sink!r}")
        met(ours)
        return ours

    return translate


def met(error: BaseException | None) -> None:
    """Note for the edge what the app of this request, if there is one, is about to be told of the database."""
    with suppress(NoDecision):
        current().trail.met(error)


def unreachable(sink: str, error: BaseException) -> SinkUnavailable:
    """What a failed connect comes to."""
    state = str(getattr(error, "sqlstate", None) or "")
    said = "" if state else str(error)
    if state.startswith("28") or _REFUSED.search(said):
        return lasting(SinkUnavailable(f"sink {sink!r} does not accept the credentials in its URL"))
    if state.startswith("3D") or _NO_DATABASE.search(said):
        return lasting(SinkUnavailable(f"sink {sink!r} has no database of the name in its URL"))
    away = SinkUnavailable(f"sink {sink!r} cannot be reached")
    return lasting(away) if _primary(error) in _RUINED else away


def of_driver(sink: str, error: BaseException) -> SinkUnavailable | None:
    """What a driver's error comes to without SQLAlchemy, where it speaks of the database; None where it speaks of a
    statement: then nothing in it quotes a value any more."""
    primary = _primary(error)
    state = str(getattr(error, "sqlstate", None) or "")
    # What libpq says of a connection has no SQLSTATE.
    silent = hasattr(error, "sqlstate") and not state
    if state.startswith(("28", "3D")) or (silent and any(t.__name__ in _NO_CONNECTION for t in type(error).__mro__)):
        return unreachable(sink, error)
    if _no_table(error, primary, state):
        return lasting(SinkUnavailable(f"sink {sink!r} has no such table as a statement names: migrate it"))
    if primary in _AWAY or state.startswith(_AWAY_CLASSES):
        return _away(sink, primary)
    if hasattr(error, "sqlstate"):
        error.args = (_shown(error, state),)
    return None


def _primary(error: BaseException) -> int | None:
    """SQLite's primary result code, None where it is no error of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _away(sink: str, primary: int | None) -> SinkUnavailable:
    error = SinkUnavailable(f"sink {sink!r} cannot be read or written")
    return lasting(error) if primary in _RUINED else error


def _no_table(error: BaseException, primary: int | None, state: str) -> bool:
    return state in _NO_TABLE or (primary == sqlite3.SQLITE_ERROR and str(error).startswith("no such table"))


def _ours(sink: str, context: ExceptionContext, error: BaseException, read_only: bool) -> ResidencyError | None:
    primary = _primary(error)
    state = str(getattr(error, "sqlstate", None) or "")
    if primary == sqlite3.SQLITE_READONLY or state == _READ_ONLY:
        if read_only:
            return UsageError(f"a statement on sink {sink!r} changes data, but the act only reads")
        if state == _READ_ONLY:
            context.is_disconnect = True  # a standby by now: the next connection looks for the primary
        return SinkUnavailable(f"sink {sink!r} takes no writes")
    if _no_table(error, primary, state):
        what = "has no such table as a statement names: `residency sinks` create-all or migrate makes it"
        return lasting(SinkUnavailable(f"sink {sink!r} {what}"))
    if isinstance(error, OSError):
        context.is_disconnect = True
    if primary in _AWAY or state.startswith(_AWAY_CLASSES) or context.is_disconnect:
        return _away(sink, primary)
    return None


def _hush(context: ExceptionContext, error: BaseException) -> None:
    """Leave of the messages of PostgreSQL, and of what makes values ready for a driver, in the whole chain, what can
    hold no value."""
    if not hasattr(error, "sqlstate"):
        # SQLite's own quote no values; an enumeration, a number or a UUID that cannot be read as one does.
        if isinstance(error, ValueError | LookupError) and not isinstance(error, UnicodeError):
            error.args = ("a value cannot be read as its column's type",)
            _say(context, error, str(error.args[0]))
        return
    state = str(getattr(error, "sqlstate", None) or "")
    driver = error.__cause__ if error.__cause__ is not None else error
    text = _shown(driver, state)
    each: Any
    for each in {id(error): error, id(driver): driver}.values():
        each.args = (text,)
        for name in ("message", "detail", "hint", "context", "internal_query", "query"):
            if getattr(each, name, None) is not None:
                setattr(each, name, None)
    _say(context, driver, text)


def _shown(driver: BaseException, state: str) -> str:
    """What may be told of a message of PostgreSQL."""
    said = str(driver.args[0]).partition("\n")[0] if driver.args and state.startswith(_TOLD) else "the database refused"
    return f"{said} (SQLSTATE {state})" if state else type(driver).__name__


def _say(context: ExceptionContext, last: BaseException, text: str) -> None:
    """Say `text` in the error that the app gets, and nothing of what `last` came from."""
    last.__cause__ = last.__context__ = None
    outer = context.sqlalchemy_exception
    if outer is not None:
        outer.args = (f"({type(last).__module__}.{type(last).__qualname__}) {text}",)
