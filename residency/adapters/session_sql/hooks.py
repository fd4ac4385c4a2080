"""SQLAlchemy's events of a routed session's transaction in; its act told of each, and confirmed and ended in time, out.

The steps are those that `session` lists. Whatever may refuse runs in an event that comes before what it refuses.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Connection, event
from sqlalchemy.orm import SessionTransaction

from residency.adapters.session_sql.located import collect, forget_gone, note_new, undo_savepoint
from residency.errors import Unavailable, UsageError
from residency.storage.handle import SESSION

if TYPE_CHECKING:
    from residency.adapters.session_sql.session import RoutedSession

__all__ = ["attend"]


def attend(kind: type[RoutedSession]) -> None:
    """Have sessions of this class hear of what becomes of their transactions."""
    event.listen(kind, "before_flush", _before_flush)
    event.listen(kind, "after_flush", _after_flush)
    event.listen(kind, "after_begin", _after_begin, insert=True)  # before a hook of the app's own sends anything
    event.listen(kind, "before_commit", _before_commit)
    event.listen(kind, "after_commit", _after_commit)
    event.listen(kind, "after_soft_rollback", _after_soft_rollback)
    event.listen(kind, "after_transaction_end", _after_transaction_end)


def _before_flush(session: RoutedSession, context: object, instances: object) -> None:
    # The connection would refuse the statement anyway; this says so before, and names the way out.
    session.get_bind()
    act = session._act
    if act is not None and not act.changes:
        raise UsageError(
            f"activity {act.current.activity.name!r} is declared {act.operation} in the deployment file, "
            f"and its session on store {session._store!r} holds changes: say `operation: write` there"
        )


def _after_begin(session: RoutedSession, transaction: SessionTransaction, connection: Connection) -> None:
    # `Session.connection(bind_arguments=…)` never asks `get_bind` where it is given a bind.
    if connection.engine is not session._engine:
        session._dead = True
        raise UsageError("a routed session takes no bind: its store decides")
    connection.info[SESSION] = session
    act = session._act
    if act is None:
        return
    if act.changes:
        act.opened = act.current.point.clock.now()  # if its subject is moved from now on, the mover waits for it
    else:
        session._confirm()


def _before_commit(session: RoutedSession) -> None:
    if session.in_nested_transaction():
        return  # a savepoint has no effect of its own
    # What is still pending would be flushed after this hook; the act must know all of it before it is confirmed.
    session.flush()
    act = session._act
    if act is None:
        session._ready = True  # a hook of the app's own may begin one
        return
    session._check()
    if act.changes:
        if session._noting and (at := session._located()) is not None:
            session._wait(note_new(session, *at))
        session._confirm()
        session._ready = True
        session._confirmed = len(session.dispatch.before_commit) == 1  # this one


def _after_commit(session: RoutedSession) -> None:
    if session.in_nested_transaction():
        return
    act = session._act
    if act is None:
        return
    act.outcome("committed")
    if not act.is_settled():
        session._wait(act.settled())
    if session._noting and (at := session._located()) is not None:
        # A key that stays noted leads to no row; an error here would say of what is committed that it is not.
        with suppress(Unavailable):
            session._wait(forget_gone(session, *at))


def _after_flush(session: RoutedSession, context: object) -> None:
    if session._noting and (at := session._located()) is not None:
        collect(session, *at[:2])
        if session._ready:  # a hook of the app's own added it between our last look and the COMMIT
            session._wait(note_new(session, *at))


def _after_soft_rollback(session: RoutedSession, previous: SessionTransaction) -> None:
    if previous.nested:
        undo_savepoint(session, previous)


def _after_transaction_end(session: RoutedSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session._settle()
