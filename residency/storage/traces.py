"""What holds something of a subject besides records: caches, sessions, jobs and locators in; nothing of them, out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from residency.storage.locator import Locators, record_key
from residency.storage.namespace import namespace, tag_of
from residency.storage.queues import QueueSink, is_of, queues_of
from residency.storage.records import Record
from residency.storage.retention import Copy

__all__ = ["CacheTrace", "LocatedRecords", "LocatorTrace", "Wiped", "forget_moved", "located"]

_HELD: Final = ("cache", "session")


@runtime_checkable
class Wiped(Protocol):
    """A sink whose keys can be removed by what they begin with."""

    async def wipe(self, prefix: bytes, among: Collection[bytes] | None = None) -> int:
        """Remove every key that begins with `prefix`, or, of those, each that goes on with one of `among` and its last
        colon; how many. Raises: SinkUnavailable."""


class CacheTrace:
    """What one sink of caches and queues holds of a subject. It reads every key of the sink."""

    __slots__ = ("_deployment", "_homes", "_sink", "_store", "name")

    def __init__(self, deployment: str, store: str, sink: Wiped, name: str, homes: Collection[str]) -> None:
        """`name` is the sink's, `homes` are the places that a subject may have had as a home."""
        self._deployment = deployment
        self._store = store
        self._sink = sink
        self._homes = sorted(homes)
        self.name = f"{store}/{name}"

    async def forget(self, subject: str, digest: str) -> int:
        """Remove all keys and jobs of a subject (id, keyed digest); how many. Raises: SinkUnavailable."""
        gone = 0
        for home in self._homes:
            if isinstance(self._sink, QueueSink):
                queues = queues_of(self._deployment, self._store, home)
                gone += await self._sink.purge(queues, lambda job: is_of(job, subject))
            for held in _HELD:
                gone += await self._sink.wipe(namespace(held, self._deployment, self._store, home, digest, 0).prefix)
        return gone


async def forget_moved(deployment: str, store: str, sink: Wiped, home: str, digests: Collection[str]) -> int:
    """Remove what a sink of caches and sessions holds of subjects (keyed digests) who had their home at place `home`;
    how many keys. It reads every key once. Jobs stay: they are work that was promised, and go where their subject is.

    Raises: SinkUnavailable.
    """
    gone = 0
    among = frozenset(tag_of(digest).encode() for digest in digests)
    for held in _HELD:
        prefix = namespace(held, deployment, store, home, None, 0).prefix
        gone += await sink.wipe(prefix[: -len(tag_of(None)) - 1], among)
    return gone


class LocatorTrace:
    """What the locators note of a subject."""

    __slots__ = ("_locators", "name")

    def __init__(self, locators: Locators) -> None:
        self._locators = locators
        self.name = "locator"

    async def forget(self, subject: str, digest: str) -> int:
        """Take out all keys that are noted as this subject's; how many. Raises: SinkUnavailable."""
        return await self._locators.forget_subject(digest)


class LocatedRecords:
    """The records of a copy, whose keys are taken out of the locators where they are deleted."""

    __slots__ = ("_copy", "_locators", "_records")

    def __init__(self, copy: Copy, locators: Locators) -> None:
        self._copy = copy
        self._records = copy.records
        self._locators = locators

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._records.sink

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """As the port says."""
        return await self._records.subjects(after=after, limit=limit)

    async def count(self) -> Mapping[str, int]:
        """As the port says."""
        return await self._records.count()

    def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """As the port says."""
        return self._records.read(subjects)

    async def write(self, records: Sequence[Record]) -> int:
        """As the port says; the locators are told by who writes."""
        return await self._records.write(records)

    async def delete(self, records: Sequence[Record]) -> int:
        """As the port says. Where some stayed, because they had changed, all of them stay noted: a key that is noted
        and not there is a miss, one that is there and not noted would be lost."""
        gone = await self._records.delete(records)
        if gone == len(records) and records:
            rows = [(record.name, record_key(record.key)) for record in records]
            await self._locators.forget(self._copy.store, self._copy.sink.place, rows)
        return gone


def located(copy: Copy, locators: Locators | None) -> Copy:
    """The copy, its locators told of what is deleted; as it is where there is none, or it holds objects."""
    if locators is None or copy.sink.place not in locators.by_place or hasattr(copy.records, "chunks"):
        return copy
    return copy._replace(records=LocatedRecords(copy, locators))
