"""A lock for coroutines of whichever event loop is running: tests and threads may bring several to one object."""

from __future__ import annotations

from types import TracebackType

import anyio
from anyio.lowlevel import RunVar

__all__ = ["LoopLock"]


class LoopLock:
    """`async with` it. Keeps the coroutines of one loop apart, not those of two."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: RunVar[anyio.Lock] = RunVar("residency_lock")

    def _own(self) -> anyio.Lock:
        try:
            return self._locks.get()
        except LookupError:
            lock = anyio.Lock()
            self._locks.set(lock)
            return lock

    async def __aenter__(self) -> None:
        await self._own().acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own().release()
