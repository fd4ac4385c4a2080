"""A store's name in, SQLAlchemy sessions that open on the right sink and record what they do out.

One transaction of a session is one act. Its steps, and what a crash at each leaves behind:

1. First statement: `current()` is asked, the sink routed, the intent recorded, and only then a connection taken.
   Crash: an open intent and no data.
2. Commit: the session flushes, checks that it still serves the same subject, and the act is confirmed (facts reread,
   home pinned, intent durable). Crash: an open intent, and no data, for the database rolls back. Hooks of the app's own
   come after that, and may wait or write: where there are any, subject and act are asked once more right before 3.
3. COMMIT. Crash, a lost answer, or an error here: an open intent. What happened is unknown, so no outcome is written.
4. Outcome recorded, and durable before the app goes on. Crash before it: an open intent with the data there.

A transaction that reads only runs on connections that cannot write, is confirmed before its first statement, and ends
as "committed" however the app leaves it: what was read stays read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio.from_thread
from sqlalchemy import Engine, Table
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only

from residency.adapters.session_sql.brought import check_read, watch
from residency.adapters.session_sql.hooks import attend
from residency.adapters.session_sql.keys import check_keys
from residency.adapters.session_sql.located import begin_savepoint, locators_of
from residency.adapters.session_sql.written import check_subject
from residency.enforcement.acts import Act
from residency.enforcement.context import current
from residency.enforcement.current import Current
from residency.enforcement.moving import WaitFirstError
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.handle import GATED, StoreHandle, backend_of

if TYPE_CHECKING:
    from sqlalchemy.orm.session import _EntityBindKey, _SessionBind

__all__ = ["RoutedSession", "open_session"]

# By table, the sinks (as their stores list them) among which its key was found to be unique.
_unique: WeakKeyDictionary[Table, set[tuple[str, ...]]] = WeakKeyDictionary()


class RoutedSession(Session):
    """A Session whose engine is the sink that the newest decision names, frozen at first use until it is closed."""

    # Values of the class until one is set: a session is made for each unit of work.
    _frozen: tuple[Current, str | None, str] | None = None
    """Whose data this session holds: objects in its identity map come from there, so this outlives a commit."""
    _act: Act | None = None
    _engine: Engine | None = None
    _order: tuple[str, ...] = ()
    """The store's sinks, once one of them is frozen."""
    _loop: asyncio.AbstractEventLoop | None = None
    """Who confirms, where no thread of anyio's asks."""
    _docs: tuple[RecordDoc, ...] = ()
    """Tables of its sink whose rows say whose they are."""
    _watched = False
    """Whether it is looked at whose rows it reads or changes."""
    _noting = False
    """Whether it is noted whose each row is."""
    _dead = False
    """An act was refused at commit: nothing more until the transaction is rolled back."""
    _ready = False
    """The session's own commit has begun."""
    _confirmed = False
    """Its act was confirmed in that commit, and since then no hook of the app's own has run."""
    _sent = False
    """COMMIT may have reached the database."""

    def __init__(
        self,
        bind: object = None,
        *,
        store: str,
        sink: str | None = None,
        blocking: bool = False,
        binds: object = None,
        **kw: Any,
    ) -> None:
        """`store` as the deployment names it; `blocking` for use in a thread, without an event loop.

        `sink` asks for one of the store's sinks by name: it is that one or a refusal, never another in its place.

        Raises: UsageError where a bind, binds or two-phase commit is asked for, which would go around the routing.
        """
        if bind is not None or binds is not None or kw.get("twophase"):
            raise UsageError("a routed session takes no bind, no binds and no two-phase commit: its store decides")
        super().__init__(**kw)
        self._store = store
        self._sink = sink
        self._blocking = blocking

    def get_bind(
        self,
        mapper: _EntityBindKey[Any] | None = None,
        *,
        bind: _SessionBind | None = None,
        **kw: Any,
    ) -> Engine:
        """The engine of the frozen sink; the first call of a transaction begins its act.

        Raises: NoDecision, UsageError (another subject or decision, a bind), Refused, SubjectUnknown, Unavailable.
        """
        if bind is not None:
            raise UsageError("a routed session takes no bind: its store decides")
        here = self._check()
        return self._engine or self._begin_act(here)

    def begin(self, nested: bool = False) -> SessionTransaction:
        """As SQLAlchemy's; what came and went before a savepoint is remembered."""
        transaction = super().begin(nested)
        if nested:
            begin_savepoint(self, transaction)
        return transaction

    def close(self) -> None:
        """Close as SQLAlchemy does, settle an act that never reached the database, and forget the subject."""
        super().close()
        self._forget()

    def reset(self) -> None:
        """As `close`, for a session that is used again."""
        super().reset()
        self._forget()

    def invalidate(self) -> None:
        """As `close`, with the connection thrown away."""
        super().invalidate()
        self._forget()

    def check_commit(self) -> None:
        """The last moment before a COMMIT: refuse one that is not the session's own, or whose act may not be any more.

        Raises: UsageError, and as `Act.confirm`.
        """
        if self._reads:
            return
        # `(await session.connection()).commit()` would go past the session's hooks: data there, and "rolled_back" said.
        if not self._ready:
            raise UsageError("a routed session's connection is committed by the session, not by itself")
        if not self._confirmed:
            self._check()
            self._confirm()
        self._sent = True

    def check_statement(self, context: Any) -> None:
        """Look at under what decision a statement is executed, and whose rows it writes with which keys, as its
        `ExecutionContext` tells it. Raises: NoDecision, UsageError."""
        here = self._check()  # `session.connection()` asks only when it is taken, and may be kept
        if context.isinsert and context.compiled is not None:
            self._check_key(here, context.compiled.statement.table)
        if self._docs:
            check_subject(here, self._docs, context)
            if self._watched:
                check_read(self, context)

    @property
    def _reads(self) -> bool:
        return self._act is not None and not self._act.changes

    def _check(self) -> Current:
        here = current()
        if self._dead:
            raise UsageError("this session's act was refused: roll it back before it is used again")
        if self._frozen is not None:
            frozen, subject, _ = self._frozen
            if here is not frozen or here.subject_digest != subject:
                raise UsageError(
                    f"a session on store {self._store!r} was opened for one subject and used for another: "
                    "open one session for each"
                )
        return here

    def _check_key(self, here: Current, table: Any) -> None:
        """Refuse to add rows to a table whose key two sinks would give twice; while observing all stays in one."""
        order = self._order
        if len(order) < 2 or not isinstance(table, Table):
            return
        known = _unique.setdefault(table, set())
        if order not in known and here.decision.mode != "observe":
            check_keys((table,), self._store, order)
            known.add(order)

    def _begin_act(self, here: Current) -> Engine:
        handle: StoreHandle = here.store(self._store)
        before = self._frozen[2] if self._frozen is not None else self._sink
        try:
            act = handle.begin(sink=before, resumed=self._sink is None, patient=True)
        except WaitFirstError as first:
            self._loop = self._loop or getattr(backend_of(handle, handle.order[0]), "loop", None)
            with suppress(MissingGreenlet):  # asked by the app itself, outside of any statement: refused as it is
                self._wait(first.wait())
            act = handle.begin(sink=before, resumed=self._sink is None)
        try:
            # Asked of the method, for to ask whether it is a `RowSink` takes longer than all the rest of this.
            sink = backend_of(handle, act.sink)
            bind = getattr(sink, "bind", None)
            if bind is None:
                raise UsageError(f"sink {act.sink!r} holds no rows: use current().store({self._store!r})")
            engine: Engine = bind(read_only=not act.changes, blocking=self._blocking)
            if not getattr(engine, GATED, False):
                raise UsageError(f"sink {act.sink!r} has no SQLAlchemy engine that asks its sessions")
        except BaseException:
            act.outcome("failed")
            raise
        self._frozen = (here, here.subject_digest, act.sink)
        self._order = handle.order
        docs = here.point.policy.deployment.records_at(self._store, (act.sink,))
        if docs or self._docs:
            self._docs = docs
            self._watched = bool(docs) and watch(self, here, docs, act.sink, self._wait, changing=act.changes)
        if (noting := act.changes and locators_of(here) is not None) or self._noting:
            self._noting = noting
        if self._blocking:
            self._loop = getattr(sink, "loop", None)
        self._act = act
        self._engine = engine
        return engine

    def _wait(self, work: Coroutine[Any, Any, object]) -> None:
        if not self._blocking:
            await_only(work)
            return

        started = False

        async def run() -> None:
            nonlocal started
            started = True
            await work

        try:
            anyio.from_thread.run(run)
        except RuntimeError:
            if started:
                raise
            self._wait_for_loop(work)

    def _wait_for_loop(self, work: Coroutine[Any, Any, object]) -> None:
        """As `_wait`, in a thread that anyio did not start: it has a context, but does not know whom to ask."""
        loop = self._loop
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is not None or loop is None or not loop.is_running():
            work.close()
            raise UsageError("a blocking session works in a thread beside the event loop, not on the event loop")
        asyncio.run_coroutine_threadsafe(work, loop).result()

    def _confirm(self) -> None:
        if self._act is None:
            return
        try:
            # What is asked for is at hand as a rule, and another greenlet to await it costs more than all of it.
            if not self._act.confirm_now():
                self._wait(self._act.confirm())
        except BaseException:
            # The act has told that it failed; a commit that was tried again would make that false.
            self._dead = True
            raise

    def _located(self) -> tuple[Current, str, str] | None:
        """(decision, store, place) of the act, where it is noted whose each row is; else None."""
        act = self._act
        if act is None:
            return None
        verdict = act.current.decision.sink(act.sink)
        return None if verdict is None else (act.current, self._store, verdict.sink.place)

    def _forget(self) -> None:
        if self._act is not None or self._dead:
            self._settle()
        self._frozen = None
        self._order = ()

    def _settle(self) -> None:
        """End the act with what is certain. A COMMIT without an answer is not: its intent stays open."""
        act, sent = self._act, self._sent
        self._act = self._engine = None
        # Only what was set: an object of more than some thirty attributes takes half a microsecond more to make.
        if self._dead:
            self._dead = False
        if self._ready:
            self._ready = self._confirmed = self._sent = False
        if act is None:
            return
        if not act.changes:
            act.outcome("committed")
        elif not sent:
            act.outcome("rolled_back")


attend(RoutedSession)


def open_session(store: str) -> AbstractAsyncContextManager[AsyncSession]:
    """One AsyncSession on `store`, routed by the newest decision at its first use."""
    return AsyncSession(expire_on_commit=False, sync_session_class=RoutedSession, store=store)
