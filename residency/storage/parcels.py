"""A sink's records and subjects in; what these subjects have there, byte for byte and to be compared, out: a parcel.

A move copies, verifies and deletes by parcels, batch by batch. `RecordParcels` makes them of any `Records`; an adapter
that knows a faster way for two sinks of its own kind (PostgreSQL's COPY) brings its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from residency.errors import SinkUnavailable, UsageError
from residency.storage.records import Record, Records

__all__ = ["Parcel", "Parcels", "Piece", "RecordParcels", "StreamedRecords"]

Piece = tuple[str, str, bytes]
"""One record: its name, its key, its canonical bytes. Of one that is streamed, the mark below and a digest of them."""

_STREAMED: Final = b"\0streamed "


@runtime_checkable
class StreamedRecords(Records, Protocol):
    """Records some of which are too large to hold (`value` is None): read and written piece by piece."""

    async def fingerprint(self, record: Record) -> bytes:
        """A digest of all that `record` is. Raises: SinkUnavailable."""

    def chunks(self, record: Record) -> AsyncIterator[bytes]:
        """The bytes of `record`, from its head on. Raises: SinkUnavailable."""

    async def receive(self, record: Record, chunks: AsyncIterator[bytes]) -> None:
        """Put what `chunks` of another sink of this kind gives under the key of `record`. Raises: SinkUnavailable."""

    async def remove(self, record: Record, fingerprint: bytes) -> None:
        """Remove `record` if its digest still is `fingerprint`. Raises: SinkUnavailable."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What some subjects (ids) have in one sink. A subject that has nothing there is not in it."""

    pieces: Mapping[str, frozenset[Piece]]
    origin: RecordParcels | None = field(default=None, compare=False, repr=False)

    def digest(self, subject: str) -> str:
        """SHA-256 (hex) over all that `subject` has; what a copy and a deletion are judged by."""
        # Of the pieces as Python writes them in ASCII: no two sets of pieces are written alike, in any release.
        return hashlib.sha256(ascii(sorted(self.pieces.get(subject, ()))).encode()).hexdigest()

    def of(self, subjects: Collection[str]) -> Parcel:
        """What these subjects have of it."""
        return Parcel({each: self.pieces[each] for each in subjects if each in self.pieces}, self.origin)

    def holds(self, other: Parcel, subject: str) -> bool:
        """Whether all that `other` has of `subject` is here too, byte for byte."""
        return other.pieces.get(subject, frozenset()) <= self.pieces.get(subject, frozenset())

    @property
    def counts(self) -> Counter[str]:
        """How many records of each name."""
        return Counter(name for pieces in self.pieces.values() for name, _, _ in pieces)


class Parcels(Protocol):
    """One sink's records, by parcels. Errors name the sink, never a key, a subject or a URL.

    Raises: SinkUnavailable.
    """

    @property
    def sink(self) -> str:
        """The sink's name."""

    async def take(self, subjects: Collection[str]) -> Parcel:
        """All that these subjects have here."""

    async def put(self, parcel: Parcel) -> None:
        """Put what is not here yet. Raises: RecordConflict where something is here with other bytes."""

    async def remove(self, parcel: Parcel) -> bool:
        """Remove those records that are still as in `parcel`; whether that was all of them."""


class RecordParcels:
    """The `Parcels` port over any `Records`."""

    __slots__ = ("_records",)

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._records.sink

    async def take(self, subjects: Collection[str]) -> Parcel:
        """All that these subjects have here. Raises: SinkUnavailable, UsageError for what is too large to be taken."""
        found: dict[str, set[Piece]] = {}
        async for record in self._records.read(subjects):
            if record.subject is None:
                continue
            value = record.value
            if value is None:
                value = _STREAMED + await self._streamed().fingerprint(record)
            found.setdefault(record.subject, set()).add((record.name, record.key, value))
        return Parcel({subject: frozenset(pieces) for subject, pieces in found.items()}, self)

    async def put(self, parcel: Parcel) -> None:
        """Put what is not here yet. Raises: RecordConflict, SinkUnavailable."""
        held, streamed = _records(parcel)
        if held:
            await self._records.write(held)
        for record, _ in streamed:
            if parcel.origin is None:
                raise UsageError(f"what is to be put into sink {self.sink!r} comes from no sink of its kind")
            await self._streamed().receive(record, parcel.origin._streamed().chunks(record))

    async def remove(self, parcel: Parcel) -> bool:
        """Remove those records that are still as in `parcel`; whether that was all. Raises: SinkUnavailable."""
        held, streamed = _records(parcel)
        gone = 0
        if held:
            try:
                gone = await self._records.delete(held)
            except SinkUnavailable:
                # It answers, so that something refers to one of these that came after: all of them stay.
                await self._records.subjects(limit=1)
        for record, mark in streamed:
            await self._streamed().remove(record, mark)
        return gone == len(held) and not streamed

    def _streamed(self) -> StreamedRecords:
        if not isinstance(self._records, StreamedRecords):
            raise UsageError(f"sink {self.sink!r} holds a record that is too large to be copied")
        return self._records


def _records(parcel: Parcel) -> tuple[list[Record], list[tuple[Record, bytes]]]:
    """(records whose bytes are held, those that are streamed with their digests), each subject's in a fixed order."""
    held: list[Record] = []
    streamed: list[tuple[Record, bytes]] = []
    for subject, pieces in parcel.pieces.items():
        for name, key, value in sorted(pieces):
            if value.startswith(_STREAMED):
                record = Record(name, key, subject, frozenset())
                streamed.append((record, value[len(_STREAMED) :]))
            else:
                held.append(Record(name, key, subject, frozenset(), value))
    return held, streamed
