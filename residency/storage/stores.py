"""A decision's `Current` and a store's name in, acts on the right sink out.

`Stores` is built once by the composition root; `current().store(name)` answers its `StoreHandle`. Every call on a
handle is one act: intent, confirmation, effect, outcome. A crash between effect and outcome leaves an open intent,
which is a finding; nothing here ever says "committed" of what it has not seen return.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, runtime_checkable

from residency.enforcement.acts import Act
from residency.enforcement.context import current
from residency.enforcement.current import Current
from residency.enforcement.ports import ObjectSink, SinkPort
from residency.errors import ResidencyError, UnknownStore, UsageError
from residency.model import Operation, Reason, SinkVerdict
from residency.storage.keys import check_key
from residency.storage.routing import CHANGES, choose

__all__ = ["SESSION", "RowSink", "SessionFactory", "StoreHandle", "Stores"]

SESSION: Final = "residency.session"
"""Under this key a connection's info holds the routed session it works for; without it no request may commit."""

SessionFactory = Callable[[str], AbstractAsyncContextManager[Any]]


@runtime_checkable
class RowSink(SinkPort, Protocol):
    """A sink of rows. What `bind` answers is a `sqlalchemy.Engine`; this layer does not import it."""

    def bind(self, *, read_only: bool, blocking: bool) -> Any:
        """The engine for an act: one whose connections cannot write, and one that blocks its thread, if so asked."""


class StoreHandle:
    """One logical store under one request's newest decision."""

    __slots__ = ("_current", "_sinks", "name", "order", "sessions")

    def __init__(
        self,
        current: Current,
        name: str,
        order: tuple[str, ...],
        sinks: Mapping[str, SinkPort],
        sessions: SessionFactory | None,
    ) -> None:
        self._current = current
        self._sinks = sinks
        self.name = name
        self.order = order
        self.sessions = sessions

    @property
    def sink_name(self) -> str:
        """The sink that the activity's own operation would use now. Raises: Refused where there is none."""
        return self.route().sink.name

    def route(self, *, operation: Operation | None = None, sink: str | None = None) -> SinkVerdict:
        """The verdict on the sink that an act would use now. Raises: Refused (NO_SINK), UnknownStore."""
        here = self._current
        return choose(here.decision, here.pin, sink, order=self.order, operation=operation or here.operation)

    def sink(self, name: str) -> SinkPort:
        """The store's backend called `name`. Raises: UnknownStore."""
        if name not in self.order:
            raise UnknownStore(f"store {self.name!r} has no sink {name!r}")
        return self._sinks[name]

    def begin(self, *, operation: Operation | None = None, sink: str | None = None, resumed: bool = False) -> Act:
        """Start one act on the routed sink (or on `sink`) and record its intent.

        `resumed` = `sink` is where this handle's user went before, not one that the app asked for by name.

        Raises: Refused, SubjectUnknown, UnknownStore, JournalFull, JournalFailed, NoDecision outside a request,
        UsageError under another decision than the one this handle is of; then nothing was done.
        """
        here = self._current
        if current() is not here:
            # Kept from one request for the next, it would put one person's data where another's belongs.
            raise UsageError(f"a handle of store {self.name!r} is of use in its own request only: ask current() anew")
        # Facts that moved since the last decision may move the route, so they are reread before it is taken.
        here.point.refresh(here)
        verdict = self.route(operation=operation, sink=sink)
        if verdict.reason is Reason.NOT_HOME and here.decision.mode != "observe":
            # `Current.begin` knows what the decision says of the sink, but not that the pin points elsewhere.
            rules = verdict.rules or here.decision.rules
            message = f"this subject's data lies elsewhere than in sink {verdict.sink.name!r}"
            raise here.refuse(Reason.NOT_HOME, message, sink=verdict.sink.name, rules=rules)
        named = sink is not None and not resumed
        return here.begin(self.name, verdict.sink.name, operation=operation, named=named)

    def session(self) -> AbstractAsyncContextManager[Any]:
        """A context manager giving a `sqlalchemy.ext.asyncio.AsyncSession` on this store.

        Raises: UsageError where the package's `sql` extra is not part of this deployment.
        """
        if self.sessions is None:
            raise UsageError(f"store {self.name!r} is not a store of rows here")
        return self.sessions(self.name)

    async def put(self, key: str, value: bytes, *, sink: str | None = None) -> None:
        """Store `value` whole under `key`. One act.

        Raises: UsageError for a bad key, Refused, SubjectUnknown, Unavailable; then nothing was stored, unless the
        error came after the effect, in which case the intent stays open or settled as far as it was known.
        """
        check_key(key)
        act = self.begin(operation=self._operation(Operation.WRITE), sink=sink)
        target = self._objects(act)
        await act.confirm()
        try:
            await target.put(key, value)
        except ResidencyError:
            # The sink promises "whole or not at all", yet an error after its rename may hide a stored value.
            act.outcome("unknown")
            raise
        act.outcome("committed")
        await act.settled()

    async def get(self, key: str, *, sink: str | None = None) -> bytes | None:
        """The value under `key`, None where there is none. One act. Raises: as `put`."""
        check_key(key)
        act = self.begin(operation=Operation.READ, sink=sink)
        target = self._objects(act)
        await act.confirm()
        try:
            value = await target.get(key)
        except ResidencyError:
            act.outcome("failed")
            raise
        act.outcome("committed")
        return value

    async def delete(self, key: str, *, sink: str | None = None) -> bool:
        """Remove the value under `key`; True where there was one. One act. Raises: as `put`."""
        check_key(key)
        act = self.begin(operation=self._operation(Operation.ERASE), sink=sink)
        target = self._objects(act)
        await act.confirm()
        try:
            there = await target.delete(key)
        except ResidencyError:
            act.outcome("unknown")
            raise
        act.outcome("committed")
        await act.settled()
        return there

    async def keys(self, prefix: str = "", *, sink: str | None = None) -> AsyncIterator[str]:
        """All keys that start with `prefix`, in order. One act, which ends with the last key or when left.

        Raises: Refused, SubjectUnknown, Unavailable.
        """
        act = self.begin(operation=Operation.READ, sink=sink)
        target = self._objects(act)
        await act.confirm()
        listing = target.keys(prefix)
        try:
            async for key in listing:
                yield key
        except ResidencyError:
            act.outcome("failed")
            raise
        finally:
            act.outcome("committed")  # the first word stands; what was read stays read
            if isinstance(listing, AsyncGenerator):
                await listing.aclose()  # left early, it would otherwise wait for the garbage collector

    def _operation(self, wanted: Operation) -> Operation:
        # An activity that changes data keeps its own word for it (post, write); one that does not is refused by begin.
        own = self._current.operation
        return own if own in CHANGES and wanted is Operation.WRITE and own is not Operation.ERASE else wanted

    def _objects(self, act: Act) -> ObjectSink:
        target = self._sinks[act.sink]
        if not isinstance(target, ObjectSink):
            act.outcome("failed")
            raise UsageError(f"sink {act.sink!r} holds rows, not objects: use a session")
        return target


class Stores:
    """Every sink and every store of the deployment."""

    __slots__ = ("_sessions", "_sinks", "_stores")

    def __init__(
        self,
        sinks: Mapping[str, SinkPort],
        stores: Mapping[str, tuple[str, ...]],
        *,
        sessions: SessionFactory | None = None,
    ) -> None:
        """Raises: UsageError where a store is empty or names a sink that is not there."""
        for store, names in stores.items():
            if not names:
                raise UsageError(f"store {store!r} has no sink")
            for name in names:
                if name not in sinks:
                    raise UsageError(f"store {store!r} names sink {name!r}, which is not built")
        self._sinks = dict(sinks)
        self._stores = dict(stores)
        self._sessions = sessions

    def handle(self, current: Current, name: str) -> StoreHandle:
        """The handle that `current().store(name)` answers. Raises: UnknownStore."""
        return StoreHandle(current, name, self._order(name), self._sinks, self._sessions)

    def sinks_of(self, store: str) -> tuple[SinkPort, ...]:
        """The store's sinks in deployment order, for set-up outside any request. Raises: UnknownStore."""
        return tuple(self._sinks[name] for name in self._order(store))

    @property
    def names(self) -> tuple[str, ...]:
        """The stores' names."""
        return tuple(self._stores)

    async def start(self) -> None:
        """Start every sink. Raises: SinkUnavailable; those started before are closed again."""
        try:
            for sink in self._sinks.values():
                await sink.start()
        except BaseException:
            await self.aclose()
            raise

    async def ping(self) -> None:
        """Raise SinkUnavailable unless every sink can take a write now."""
        for sink in self._sinks.values():
            await sink.ping()

    async def aclose(self) -> None:
        """Release every sink; idempotent."""
        for sink in self._sinks.values():
            await sink.aclose()

    def _order(self, store: str) -> tuple[str, ...]:
        try:
            return self._stores[store]
        except KeyError:
            raise UnknownStore(f"the deployment names no store {store!r}") from None
