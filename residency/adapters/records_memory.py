"""Records in, records out, for as long as this process lives: the reference for every other adapter, and for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from residency.errors import RecordConflict, SinkUnavailable
from residency.storage.records import Change, Record

__all__ = ["RecordsMemory"]


class RecordsMemory:
    """The `Records` port over a dict. `away` makes it answer as a sink that cannot be reached."""

    __slots__ = ("_sink", "away", "held")

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self.held: dict[tuple[str, str], Record] = {}
        self.away = False

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._sink

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """Ids of the subjects that there are records of, in order. Raises: SinkUnavailable."""
        self._check()
        found = {record.subject for record in self.held.values() if record.subject is not None}
        return tuple(sorted(each for each in found if each > after)[:limit])

    async def count(self) -> Mapping[str, int]:
        """How many records there are of each name. Raises: SinkUnavailable."""
        self._check()
        return Counter(name for name, _ in self.held)

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """Every record of these subjects. Raises: SinkUnavailable."""
        self._check()
        wanted = set(subjects)
        for record in [each for each in self.held.values() if each.subject in wanted]:
            yield record

    async def write(self, records: Sequence[Record]) -> int:
        """Put these here, all or none; how many were not there. Raises: RecordConflict, SinkUnavailable."""
        self._check()
        new = {}
        for record in records:
            there = self.held.get((record.name, record.key))
            if there is None:
                new[record.name, record.key] = record
            elif there.value != record.value:
                raise RecordConflict(f"sink {self._sink!r} has a record of the same key with other bytes")
        self.held |= new
        return len(new)

    async def get(self, keys: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Record]:
        """Those of these that are there. Raises: SinkUnavailable."""
        self._check()
        return {key: self.held[key] for key in keys if key in self.held}

    async def replace(self, changes: Sequence[Change]) -> None:
        """Put each in the place of what it is given with, all or none. Raises: RecordConflict, SinkUnavailable."""
        self._check()
        for record, before in changes:
            there = self.held.get((record.name, record.key))
            if (None if there is None else there.value) != before:
                raise RecordConflict(f"sink {self._sink!r} has a record of the same key with other bytes")
        self.held |= {(record.name, record.key): record for record, _ in changes}

    async def delete(self, records: Sequence[Record]) -> int:
        """Remove those of these that are still as given; how many. Raises: SinkUnavailable."""
        self._check()
        gone = 0
        for record in records:
            there = self.held.get((record.name, record.key))
            if there is not None and there.value == record.value:
                del self.held[record.name, record.key]
                gone += 1
        return gone

    def _check(self) -> None:
        if self.away:
            raise SinkUnavailable(f"sink {self._sink!r} cannot be reached")
