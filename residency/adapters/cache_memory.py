"""Values under keys in, the same out for a while, and jobs: the reference for every cache, for as long as this process
lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import anyio

from residency.errors import UsageError
from residency.model import Region
from residency.storage.in_memory import InMemory
from residency.storage.namespace import MARK
from residency.storage.queues import Delivery

__all__ = ["CacheMemory"]

_STEP: Final = 0.005  # seconds between two looks at a queue


class CacheMemory(InMemory):
    """The `CacheSink` and `QueueSink` ports over dicts. What has run out is dropped when it is met, or when `most` keys
    are there; then the oldest go."""

    __slots__ = ("_most", "_now", "_number", "_queues", "_values")

    def __init__(
        self, name: str, region: Region, *, now: Callable[[], float] = time.monotonic, most: int = 100_000
    ) -> None:
        """`now` is in seconds."""
        super().__init__(name, region)
        self._now = now
        self._most = most
        self._values: dict[bytes, tuple[bytes, float]] = {}
        self._queues: dict[bytes, dict[str, tuple[bytes, float | None, int]]] = {}
        self._number = 0

    async def fetch(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values in the order of the keys. Raises: SinkUnavailable."""
        return [self._find(key) for key in keys]

    async def keep(self, values: Mapping[bytes, bytes], ttl: int) -> None:
        """Keep these for `ttl` milliseconds. Raises: SinkUnavailable."""
        self._check()
        end = self._now() + ttl / 1000
        for key, value in values.items():
            self._values.pop(key, None)  # the newest last
            self._values[key] = (value, end)
        while len(self._values) > self._most:
            del self._values[next(iter(self._values))]

    async def add(self, key: bytes, value: bytes, ttl: int) -> bool:
        """Keep `value` unless there is one. Raises: SinkUnavailable."""
        if self._find(key) is not None:
            return False
        await self.keep({key: value}, ttl)
        return True

    async def remove(self, keys: Sequence[bytes]) -> int:
        """Remove these. Raises: SinkUnavailable."""
        there = [key for key in dict.fromkeys(keys) if self._find(key) is not None]
        for key in there:
            del self._values[key]
        return len(there)

    async def touch(self, keys: Sequence[bytes], ttl: int) -> int:
        """Keep these for `ttl` milliseconds from now. Raises: SinkUnavailable."""
        found = {key: value for key in keys if (value := self._find(key)) is not None}
        await self.keep(found, ttl)
        return len(found)

    async def count(self, key: bytes, by: int, mark: bytes, ttl: int) -> int:
        """Add to the number behind the mark. Raises: UsageError, SinkUnavailable."""
        stored = self._find(key)
        if stored is None:
            await self.keep({key: mark + b"%d" % by}, ttl)
            return by
        try:
            number = int(stored[MARK:].decode("ascii")) + by
        except ValueError:
            raise UsageError("what is counted on is no number") from None
        self._values[key] = (stored[:MARK] + b"%d" % number, self._values[key][1])
        return number

    async def wipe(self, prefix: bytes, among: Collection[bytes] | None = None) -> int:
        """As the port says. Raises: SinkUnavailable."""
        found = [key for key in self._values if key.startswith(prefix)]
        if among is not None:
            found = [key for key in found if key[len(prefix) :].rpartition(b":")[0] in among]
        return await self.remove(found)

    async def push(self, queue: bytes, job: bytes) -> str:
        """Put a job at the end. Raises: SinkUnavailable."""
        self._check()
        self._number += 1
        self._queues.setdefault(queue, {})[str(self._number)] = (job, None, 0)
        return str(self._number)

    async def pull(self, queue: bytes, worker: str, idle: int, wait: int) -> Delivery | None:
        """Hand the next job to `worker`. Raises: SinkUnavailable."""
        end = self._now() + wait / 1000
        while True:
            self._check()
            now, jobs = self._now(), self._queues.get(queue, {})
            for number, (job, taken, times) in jobs.items():
                if taken is None or now - taken >= idle / 1000:
                    jobs[number] = (job, now, times + 1)
                    return Delivery(number, job, times + 1)
            if now >= end:
                return None
            await anyio.sleep(_STEP)

    async def purge(self, queues: bytes, theirs: Callable[[bytes], bool]) -> int:
        """Take away jobs by what they are. Raises: SinkUnavailable."""
        self._check()
        gone = 0
        for queue, jobs in self._queues.items():
            if queue.startswith(queues):
                for number in [number for number, (job, _, _) in jobs.items() if theirs(job)]:
                    del jobs[number]
                    gone += 1
        return gone

    async def finish(self, queue: bytes, job: str) -> bool:
        """Take a job away that is done. Raises: SinkUnavailable."""
        self._check()
        return self._queues.get(queue, {}).pop(job, None) is not None

    async def depth(self, queue: bytes) -> int:
        """How many jobs are not finished. Raises: SinkUnavailable."""
        self._check()
        return len(self._queues.get(queue, {}))

    def _find(self, key: bytes) -> bytes | None:
        self._check()
        value, end = self._values.get(key, (None, 0.0))
        if value is not None and end <= self._now():
            del self._values[key]
            return None
        return value
