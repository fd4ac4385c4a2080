"""A store of objects under one decision: bytes under keys in and out, each call one act."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from residency.enforcement.acts import Act
from residency.enforcement.ports import ObjectSink
from residency.errors import ResidencyError, UsageError
from residency.model import Operation
from residency.storage.handle import StoreHandle
from residency.storage.keys import check_key

__all__ = ["ObjectHandle"]


class ObjectHandle(StoreHandle):
    """One store of objects under one request's newest decision."""

    __slots__ = ()

    async def put(self, key: str, value: bytes, *, sink: str | None = None) -> None:
        """Store `value` whole under `key`. One act.

        Raises: UsageError for a bad key, Refused, SubjectUnknown, Unavailable; then nothing was stored, unless the
        error came after the effect, in which case the intent stays open or settled as far as it was known.
        """
        check_key(key)
        act = self.begin(operation=self.operation(Operation.WRITE), sink=sink)
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
        act = self.begin(operation=self.operation(Operation.ERASE), sink=sink)
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

    def _objects(self, act: Act) -> ObjectSink:
        target = self._sinks[act.sink]
        if not isinstance(target, ObjectSink):
            act.outcome("failed")
            raise UsageError(f"sink {act.sink!r} holds no objects")
        return target
