"""A sink's engine in; its connections, which do for a routed session what that session lets them, and for nobody else
anything but what has no act, out.

One listener for each event, whoever asks: SQLAlchemy calls them for every statement of every unit of work.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Engine, event

from residency.enforcement.context import current
from residency.errors import NoDecision, UsageError
from residency.storage.handle import GATED, SESSION, WITHOUT_ACT
from residency.storage.statements import goes_around

__all__ = ["gate"]

_TEXTS: Final = 4096  # texts of statements that are known to go around nothing, kept at most; cleared when full
_TEXT_LIMIT: Final = 4096  # characters of one
_harmless: set[str] = set()


class _Gated(Protocol):
    """What a connection's `info` holds under `SESSION` while a routed session uses it."""

    def check_commit(self) -> None: ...
    def check_statement(self, context: Any) -> None: ...


def gate(engine: Engine, sink: str, *, read_only: bool) -> None:
    """Let connections of `engine` that a routed session uses commit through that session only, and send what it may
    send; all others send only what has no act."""

    def statement(
        connection: Connection, cursor: object, text: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        session: _Gated | None = connection.info.get(SESSION)
        if session is None:
            _check_without_act(connection, sink, text)
            return text, parameters
        # A COMMIT spelled as a statement leaves data there and "rolled_back" said; ATTACH reaches another sink's file.
        if text not in _harmless:
            if goes_around(text):
                raise UsageError(
                    "a routed session takes no statement that ends its transaction or reaches another database"
                )
            if len(text) <= _TEXT_LIMIT:
                if len(_harmless) >= _TEXTS:
                    _harmless.clear()
                _harmless.add(text)
        session.check_statement(context)
        return text, parameters

    def commit(connection: Connection) -> None:
        session: _Gated | None = connection.info.get(SESSION)
        if session is not None:
            session.check_commit()  # it knows its act
        elif not read_only:
            _check_commit_without_act(sink)

    event.listen(engine, "before_cursor_execute", statement, retval=True)  # else it is called by another call
    event.listen(engine, "commit", commit)
    event.listen(engine, "checkin", _checkin)
    setattr(engine, GATED, True)


def _check_without_act(connection: Connection, sink: str, text: str) -> None:
    # An engine that was kept, or taken out of a session, would send to this database what is of another person, and
    # a rollback takes nothing back from its log. So it is asked here, and not at COMMIT.
    if WITHOUT_ACT not in connection.get_execution_options():
        raise UsageError(
            f"an engine taken out of a routed session sends nothing to sink {sink!r}: open a session for each subject, "
            "and make tables by `create_all`"
        )
    # As the next, for a COMMIT that is spelled as a statement.
    if goes_around(text):
        with suppress(NoDecision):
            current()
            raise UsageError(
                f"inside a request sink {sink!r} takes no statement that ends a transaction or reaches another database"
            )


def _check_commit_without_act(sink: str) -> None:
    # An engine for set-up would write for one person what was decided for another.
    try:
        acting = current().changes(sink)
    except NoDecision:
        return  # set-up, outside any request
    if not acting:
        raise UsageError(f"inside a request only a routed session or a confirmed act writes to sink {sink!r}")


def _checkin(connection: object, record: Any) -> None:
    record.info.pop(SESSION, None)
