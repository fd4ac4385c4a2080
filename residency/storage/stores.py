"""Sinks and stores of a deployment in, the handle that `current().store(name)` answers out.

`Stores` is built once by the composition root. What a handle offers depends on the kind of the store's sinks: rows by
sessions, objects by keys, services by requests, caches by keys for a while. Sinks of one store are of one kind.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from residency.enforcement.current import Current
from residency.enforcement.ports import ObjectSink, SinkPort
from residency.errors import UnknownStore, UsageError
from residency.model import Operation
from residency.storage.caches import CacheHandle, CacheSink
from residency.storage.handle import SessionFactory, StoreHandle
from residency.storage.locator import Locators
from residency.storage.objects import ObjectHandle
from residency.storage.services import ServiceHandle, ServiceSink

__all__ = ["RowSink", "Stores"]


@runtime_checkable
class RowSink(SinkPort, Protocol):
    """A sink of rows. What `bind` answers is a `sqlalchemy.Engine`; this layer does not import it."""

    def bind(self, *, read_only: bool, blocking: bool) -> Any:
        """The engine for an act: one whose connections cannot write, and one that blocks its thread, if so asked.

        It serves routed sessions alone, which it asks (`storage.handle.GATED`); what has no act takes it with the
        execution option `WITHOUT_ACT`.
        """


# What a sink can do tells its kind, and that what its store's handle offers.
_KINDS: Final[tuple[tuple[str, type, type[StoreHandle]], ...]] = (
    ("rows", RowSink, StoreHandle),
    ("objects", ObjectSink, ObjectHandle),
    ("service", ServiceSink, ServiceHandle),
    ("cache", CacheSink, CacheHandle),
)


def _kind(sink: SinkPort) -> tuple[str, type[StoreHandle]]:
    for word, port, handle in _KINDS:
        if isinstance(sink, port):
            return word, handle
    raise UsageError(f"sink {sink.name!r} is of no kind that a store can have")


class Stores:
    """Every sink and every store of the deployment."""

    __slots__ = ("_handles", "_sessions", "_sinks", "_stores", "locators", "misplaced")

    def __init__(
        self,
        sinks: Mapping[str, SinkPort],
        stores: Mapping[str, tuple[str, ...]],
        *,
        sessions: SessionFactory | None = None,
        locators: Locators | None = None,
        misplaced: Container[str] = frozenset(),
    ) -> None:
        """Raises: UsageError where a store is empty, names a sink that is not there, or mixes kinds of sink."""
        for store, names in stores.items():
            if not names:
                raise UsageError(f"store {store!r} has no sink")
            for name in names:
                if name not in sinks:
                    raise UsageError(f"store {store!r} names sink {name!r}, which is not built")
            if len(kinds := {_kind(sinks[name])[0] for name in names}) > 1:
                raise UsageError(f"store {store!r} has sinks of {' and of '.join(sorted(kinds))}: make it two stores")
        self._sinks = dict(sinks)
        self._handles = {store: _kind(sinks[names[0]])[1] for store, names in stores.items()}
        self._stores = dict(stores)
        self._sessions = sessions
        self.locators = locators
        """Where it is noted whose each record is; None = nowhere."""
        self.misplaced = misplaced
        """Sinks that no act may use now, since they were last seen elsewhere than they say; it changes meanwhile."""

    def handle(self, current: Current, name: str) -> StoreHandle:
        """The handle that `current().store(name)` answers. Raises: UnknownStore."""
        order = self._order(name)
        return self._handles[name](current, name, order, self._sinks, self._sessions)

    def followed(self, sink: str) -> frozenset[Operation]:
        """The operations that go on in a sink where a subject's data still lies while it is moved home: none of them
        lays anything down there, or sends it there."""
        return _kind(self._sinks[sink])[1].followed

    async def claimants(self, store: str, rows: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
        """The digests of whose each (record, key) of `store` is: none where nobody has it, several where people in
        several places have rows of that key.

        Raises: UnknownStore, UsageError where no locator is part of this deployment, SinkUnavailable.
        """
        locators, places = self._located(store)
        return await locators.claimants(store, rows, places)

    async def owners(self, store: str, rows: Sequence[tuple[str, str]]) -> tuple[str | None, ...]:
        """As `claimants`, the one that each has; None where nobody has it. Raises: as that, RecordConflict."""
        locators, places = self._located(store)
        return await locators.owners(store, rows, places)

    def _located(self, store: str) -> tuple[Locators, tuple[str, ...]]:
        if self.locators is None:
            raise UsageError("no locator is part of this deployment, so nobody can say whose a row is")
        places = dict.fromkeys(self._sinks[name].region.place for name in self._order(store))
        return self.locators, tuple(places)

    def sinks_of(self, store: str) -> tuple[SinkPort, ...]:
        """The store's sinks in deployment order, for set-up outside any request. Raises: UnknownStore."""
        return tuple(self._sinks[name] for name in self._order(store))

    @property
    def names(self) -> tuple[str, ...]:
        """The stores' names."""
        return tuple(self._stores)

    async def start(self) -> None:
        """Start every sink. Raises: SinkUnavailable; those started before are closed, and it may be tried anew."""
        try:
            for sink in self._sinks.values():
                await sink.start()
        except BaseException:
            await self._close_sinks()  # locators are not opened by this, and would stay closed
            raise

    async def ping(self) -> None:
        """Raise SinkUnavailable unless every sink can take a write now."""
        for sink in self._sinks.values():
            await sink.ping()

    async def aclose(self) -> None:
        """Release every sink and locator; idempotent."""
        await self._close_sinks()
        if self.locators is not None:
            await self.locators.aclose()

    async def _close_sinks(self) -> None:
        for sink in self._sinks.values():
            await sink.aclose()

    def _order(self, store: str) -> tuple[str, ...]:
        try:
            return self._stores[store]
        except KeyError:
            raise UnknownStore(f"the deployment names no store {store!r}") from None
