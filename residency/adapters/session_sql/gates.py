"""An engine in; its connections, which do for a routed session what that session lets them, out."""

from __future__ import annotations

from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, event

from residency.errors import UsageError
from residency.storage.handle import SESSION
from residency.storage.statements import goes_around

__all__ = ["gate"]

_GATED: Final = "residency_gated"  # an attribute of engines, since a set of them takes ten times as long to ask
_TEXTS: Final = 4096  # texts of statements that are known to go around nothing, kept at most; cleared when full
_TEXT_LIMIT: Final = 4096  # characters of one
_harmless: set[str] = set()


class _Gated(Protocol):
    """What a connection's `info` holds under `SESSION` while a routed session uses it."""

    def check_commit(self) -> None: ...
    def check_statement(self, context: Any) -> None: ...


def gate(engine: Engine) -> None:
    """Let the connections of `engine` that a routed session uses commit through that session only, and send what it may
    send."""
    if _GATED in engine.__dict__:
        return
    event.listen(engine, "commit", _commit)
    event.listen(engine, "before_cursor_execute", _statement, retval=True)  # else it is called by another call
    event.listen(engine, "checkin", _checkin)
    setattr(engine, _GATED, True)


def _commit(connection: Connection) -> None:
    session: _Gated | None = connection.info.get(SESSION)
    if session is not None:
        session.check_commit()


def _statement(
    connection: Connection, cursor: object, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    session: _Gated | None = connection.info.get(SESSION)
    if session is None:
        return statement, parameters
    # A COMMIT spelled as a statement leaves data there and "rolled_back" said; ATTACH reaches another sink's file.
    if statement not in _harmless:
        if goes_around(statement):
            raise UsageError(
                "a routed session takes no statement that ends its transaction or reaches another database"
            )
        if len(statement) <= _TEXT_LIMIT:
            if len(_harmless) >= _TEXTS:
                _harmless.clear()
            _harmless.add(statement)
    session.check_statement(context)
    return statement, parameters


def _checkin(connection: object, record: Any) -> None:
    record.info.pop(SESSION, None)
