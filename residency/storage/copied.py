"""A sink that gets copies in; which of its records are copies of ours, changed and deleted as such, out.

The ledger beside the copies notes of each, under a digest of its key, the digest of its bytes: before the copy is
written, so that no crash leaves a copy that passes for somebody's own record. What lies there with other bytes, or was
never noted, is not ours: it is neither changed nor deleted. A column that comes or goes is no other content.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.storage.fields import fields_of, same_but_for_columns
from residency.storage.fitting import Fitting, weight
from residency.storage.parcels import StreamedRecords
from residency.storage.records import Change, KeyedRecords, Record
from residency.storage.sweep import remove

__all__ = ["Copied", "Held", "Key", "Ledger", "Originals", "originals"]

_PAGE: Final = 500  # subjects

Key = tuple[str, str]
"""The name and the key of a record."""


class Ledger(Protocol):
    """What is noted of the copies in one sink. Raises: SinkUnavailable."""

    async def read(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The digests (hex) of the bytes that each of these may have, and of their fields (`fields_of`)."""

    async def write(self, digests: Mapping[str, frozenset[str]]) -> None:
        """Note these, in the place of what is noted; durable when it returns."""

    async def forget(self, ids: Collection[str]) -> None:
        """Note nothing of these any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """A record that lies in the sink, the digest (hex) of its bytes, and whether it is a copy of ours. The digest of a
    large one that is none is empty."""

    record: Record
    digest: str
    ours: bool


class Copied:
    """The copies of one store in one sink."""

    __slots__ = ("_ledger", "_store", "records")

    def __init__(self, store: str, records: KeyedRecords, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self.records = records

    async def held(self, keys: Collection[Key]) -> Mapping[Key, Held]:
        """What lies there of these. Raises: SinkUnavailable."""
        return await self.of(list((await self.records.get(keys)).values()))

    async def of(self, records: Sequence[Record]) -> Mapping[Key, Held]:
        """Which of these, just read there, are ours. Raises: SinkUnavailable."""
        noted = await self._ledger.read([self._id((each.name, each.key)) for each in records])
        found = {}
        for each in records:
            key = (each.name, each.key)
            known = noted.get(self._id(key))
            # What was never noted is not ours, whatever its bytes are: a large one is not read for that.
            mark = "" if known is None and each.value is None else await self.digest(self.records, each)
            found[key] = Held(each, mark, _is_noted(each, mark, known or ()))
        return found

    async def put(self, changes: Sequence[tuple[Record, Held | None]], source: KeyedRecords) -> None:
        """Put copies where there is nothing, or a copy of ours as it was held; all or none where the sink can.

        Raises: RecordConflict where something else is there, or stands against one; SinkUnavailable.
        """
        digests = {(each.name, each.key): await self.digest(source, each) for each, _ in changes}
        # What is put where nobody looked may meet a copy of ours: that one stays known as such.
        known = await self._ledger.read([self._id((each.name, each.key)) for each, before in changes if before is None])
        was = {
            self._id((each.name, each.key)): known.get(self._id((each.name, each.key)), frozenset())
            if before is None
            else fields_of(before.record) | {before.digest}
            for each, before in changes
        }
        new = {(each.name, each.key): fields_of(each) | {digests[each.name, each.key]} for each, _ in changes}
        await self._ledger.write({self._id(key): was[self._id(key)] | some for key, some in new.items()})
        try:
            await self._put(changes, source)
        except RecordConflict:
            # What lies there may be somebody's own, with these very bytes: it must not pass for a copy.
            await self._ledger.forget([each for each, before in was.items() if not before])
            await self._ledger.write({each: before for each, before in was.items() if before})
            raise
        # A database may hold a value in another form than it was given in; the copy is then known by that form.
        there = await self.records.get(list(digests))
        other = {}
        for key, record in there.items():
            digest = await self.digest(self.records, record)
            if digest != digests[key]:
                other[self._id(key)] = fields_of(record) | {digest} | new[key]
        if other:
            await self._ledger.write(other)

    async def drop(self, held: Sequence[Held]) -> int:
        """Delete copies of ours that are still as they were held; how many are gone. Raises: SinkUnavailable."""
        ours = [each for each in held if each.ours]
        # Noted still: a mover may have put originals there since, with the bytes that the copies had.
        noted = await self._ledger.read([self._id((each.record.name, each.record.key)) for each in ours])
        ours = [
            each
            for each in ours
            if _is_noted(each.record, each.digest, noted.get(self._id((each.record.name, each.record.key)), ()))
        ]
        if not ours:
            return 0
        await remove(self.records, [each.record for each in ours])
        keys = [(each.record.name, each.record.key) for each in ours]
        left = await self.records.get(keys)
        gone = [self._id(key) for key in keys if key not in left]
        await self._ledger.forget(gone)
        return len(gone)

    async def forget(self, keys: Collection[Key]) -> None:
        """Note nothing of these, which somebody else has deleted. Raises: SinkUnavailable."""
        await self._ledger.forget([self._id(key) for key in keys])

    async def forget_absent(self, keys: Collection[Key]) -> None:
        """Note nothing of those of these of which nothing is there, as a copier leaves it that was killed before it put
        one, or met a full sink. Raises: SinkUnavailable."""
        noted = await self._ledger.read([self._id(key) for key in keys])
        left = [key for key in keys if self._id(key) in noted]
        there = await self.records.get(left) if left else {}
        await self._ledger.forget([self._id(key) for key in left if key not in there])

    async def digest(self, records: KeyedRecords, record: Record) -> str:
        """The digest (hex) of a record's bytes, of all of them where it is streamed. Raises: SinkUnavailable."""
        if record.value is not None:
            return record.digest.hex()
        return (await _streamed(records).fingerprint(record)).hex()

    async def _put(self, changes: Sequence[tuple[Record, Held | None]], source: KeyedRecords) -> None:
        whole: list[Change] = []
        for record, before in changes:
            if record.value is None or (before is not None and before.record.value is None):
                await self._put_streamed(record, before, source)
            else:
                whole.append((record, None if before is None else before.record.value))
        if whole:
            await self.records.replace(whole)

    async def _put_streamed(self, record: Record, before: Held | None, source: KeyedRecords) -> None:
        if before is not None:
            await remove(self.records, [before.record])
        if await self.records.get([(record.name, record.key)]):
            raise RecordConflict(f"sink {self.records.sink!r} has a record of the same key")
        if record.value is not None:
            await self.records.replace([(record, None)])
        else:
            await _streamed(self.records).receive(record, _streamed(source).chunks(record))

    def _id(self, key: Key) -> str:
        return hashlib.sha256("\0".join((self._store, *key)).encode()).hexdigest()


class Originals:
    """The records of a sink without the copies of ours there: what a move finds, and what it puts in their place."""

    __slots__ = ("_copied", "_records")

    def __init__(self, copied: Copied) -> None:
        self._copied = copied
        self._records = copied.records

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._records.sink

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """As the port says; those of whom there is more than copies. Raises: SinkUnavailable."""
        while page := await self._records.subjects(after=after, limit=limit):
            there, at, fit = set[str | None](), 0, Fitting(_PAGE)
            while at < len(page):
                part = page[at : at + fit.now]
                lying = [record async for record in self._records.read(part)]
                there |= {each.record.subject for each in (await self._copied.of(lying)).values() if not each.ours}
                at += len(part)
                fit.saw(len(part), weight(lying))
            if found := tuple(each for each in page if each in there):
                return found
            after = page[-1]
        return ()

    async def count(self) -> Mapping[str, int]:
        """As the port says, the copies among them."""
        return await self._records.count()

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """As the port says, without copies."""
        found = [record async for record in self._records.read(subjects)]
        held = await self._copied.of(found)
        for record in found:
            if not held[record.name, record.key].ours:
                yield record

    async def write(self, records: Sequence[Record]) -> int:
        """As the port says, in the place of all copies of these subjects."""
        subjects = {record.subject for record in records if record.subject is not None}
        there = [record async for record in self._records.read(subjects)]
        await self._copied.drop(list((await self._copied.of(there)).values()))
        await self._copied.forget_absent([(record.name, record.key) for record in records])
        return await self._records.write(records)

    async def clear_copies(self, subjects: Collection[str]) -> frozenset[str]:
        """Have no copy of ours of these here; those of whom there was one.

        Raises: SinkUnavailable, also where one cannot be deleted: it would be a record from then on.
        """
        there = [record async for record in self._records.read(subjects)]
        held = await self._copied.of(there)
        ours = [each for each in held.values() if each.ours]
        if await self._copied.drop(ours) < len(ours):
            raise SinkUnavailable(f"sink {self.sink!r} does not delete copies of who is moved there")
        # What was once noted of the others is of copies that are gone; a record may have those bytes again one day.
        await self._copied.forget([key for key, each in held.items() if not each.ours])
        return frozenset(each.record.subject for each in ours if each.record.subject is not None)

    async def delete(self, records: Sequence[Record]) -> int:
        """As the port says."""
        return await self._records.delete(records)


class StreamedOriginals(Originals):
    """The same of a sink some of whose records are too large to hold."""

    __slots__ = ()

    async def fingerprint(self, record: Record) -> bytes:
        """As the port says."""
        return await _streamed(self._records).fingerprint(record)

    def chunks(self, record: Record) -> AsyncIterator[bytes]:
        """As the port says."""
        return _streamed(self._records).chunks(record)

    async def receive(self, record: Record, chunks: AsyncIterator[bytes]) -> None:
        """As the port says, in the place of a copy."""
        key = (record.name, record.key)
        await self._copied.drop(list((await self._copied.held([key])).values()))
        await self._copied.forget_absent([key])
        await _streamed(self._records).receive(record, chunks)

    async def remove(self, record: Record, fingerprint: bytes) -> None:
        """As the port says."""
        await _streamed(self._records).remove(record, fingerprint)


def originals(copied: Copied) -> Originals:
    """The records of the sink without the copies of ours there."""
    return (StreamedOriginals if isinstance(copied.records, StreamedRecords) else Originals)(copied)


def _is_noted(record: Record, digest: str, noted: Collection[str]) -> bool:
    """Whether a ledger's notes tell of these bytes; or of this row before columns came or went."""
    return digest in noted or any(same_but_for_columns(each, record) for each in noted)


def _streamed(records: KeyedRecords) -> StreamedRecords:
    if not isinstance(records, StreamedRecords):
        raise UsageError(f"sink {records.sink!r} holds no record that is too large to be held")
    return records
