"""A sink's records and subjects in; what these subjects have there, byte for byte and to be compared, out: a parcel.

A move copies, verifies and deletes by parcels, batch by batch. `RecordParcels` makes them of any `Records`; an adapter
that knows a faster way for two sinks of its own kind (PostgreSQL's COPY) brings its own. What is compared is a digest
over all that a subject has in the sink; single records are looked at only where digests differ.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.storage.locator import record_key
from residency.storage.records import Record, Records

__all__ = [
    "NOTHING",
    "BoundRecords",
    "Cargo",
    "LackingError",
    "Owned",
    "Parcel",
    "Parcels",
    "Piece",
    "RecordParcels",
    "StreamedRecords",
]

Piece = tuple[str, str, bytes]
"""One record: its name, its key, its canonical bytes. Of one that is streamed, the mark below and a digest of them."""

Owned = tuple[str, str, str]
"""Whose a record is (the subject's id), its name and its canonical key, as `Record` has them."""

NOTHING: Final = hashlib.sha256(b"[]").hexdigest()
"""The digest of a subject who has nothing in a sink."""

_STREAMED: Final = b"\0streamed "


class LackingError(RecordConflict):
    """Records refer to what the sink has not; nothing was written. `subjects` = by their ids, what says so (a foreign
    key, by its name)."""

    def __init__(self, message: str, subjects: Mapping[str, str]) -> None:
        super().__init__(message)
        self.subjects = subjects


@runtime_checkable
class BoundRecords(Records, Protocol):
    """Records to which others refer, so that they cannot go without them."""

    async def bound(self, subjects: Collection[str]) -> frozenset[str]:
        """Those of these subjects to whose records others refer that do not go with them. Raises: SinkUnavailable."""


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
    """What some subjects (ids) have in one sink. A subject that has nothing there is not in it. `told` are the digests
    by which a sink that makes its own knows them."""

    pieces: Mapping[str, frozenset[Piece]]
    origin: RecordParcels | None = field(default=None, compare=False, repr=False)
    told: Mapping[str, str] | None = field(default=None, compare=False, repr=False)

    def digest(self, subject: str) -> str:
        """SHA-256 (hex) over all that `subject` has; what a copy and a deletion are judged by."""
        if self.told is not None:
            return self.told.get(subject, NOTHING)
        # Of the pieces as Python writes them in ASCII: no two sets of pieces are written alike, in any release.
        return hashlib.sha256(ascii(sorted(self.pieces.get(subject, ()))).encode()).hexdigest()

    def marks(self, subject: str) -> frozenset[str]:
        """By a digest each (hex, 128 bits of SHA-256) the records of `subject`, by which one of them is known again."""
        pieces = self.pieces.get(subject, ())
        return frozenset([hashlib.sha256(ascii(piece).encode()).hexdigest()[:32] for piece in pieces])

    def of(self, subjects: Collection[str]) -> Parcel:
        """What these subjects have of it."""
        return Parcel({each: self.pieces[each] for each in subjects if each in self.pieces}, self.origin, self.told)

    def holds(self, other: Parcel, subject: str) -> bool:
        """Whether all that `other` has of `subject` is here too, byte for byte."""
        return other.pieces.get(subject, frozenset()) <= self.pieces.get(subject, frozenset())

    def keys(self, subject: str) -> frozenset[tuple[str, str]]:
        """Name and key of each of the subject's records."""
        return frozenset([(name, key) for name, key, _ in self.pieces.get(subject, ())])

    @property
    def counts(self) -> Counter[str]:
        """How many records of each name."""
        return Counter(name for pieces in self.pieces.values() for name, _, _ in pieces)


@dataclass(frozen=True, slots=True)
class Cargo:
    """All that some subjects have in one sink at one moment, to be put into another of its kind: by subject a digest
    and how many records; one who has nothing is not in it. `content` is for sinks of that kind alone. `marks` = by
    subject those of each record (`Parcel.marks`), where a crash may leave some of them; none where all come and go in
    one transaction."""

    digests: Mapping[str, str]
    counts: Mapping[str, int]
    content: object = field(compare=False, repr=False)
    size: int = field(default=0, compare=False)  # bytes that are held in memory
    marks: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False)

    def digest(self, subject: str) -> str:
        """The digest of what `subject` has."""
        return self.digests.get(subject, NOTHING)


class Parcels(Protocol):
    """One sink's records, by parcels. Errors name the sink, never a key, a subject or a URL.

    Raises: SinkUnavailable.
    """

    @property
    def sink(self) -> str:
        """The sink's name."""

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """As `Records.subjects`."""

    async def tally(self, subjects: Collection[str]) -> Mapping[str, str]:
        """By subject a digest over all that they have here; one who has nothing is left out."""

    async def load(self, subjects: Collection[str]) -> Cargo:
        """All that these subjects have here, of one moment."""

    async def put(self, cargo: Cargo) -> None:
        """Put what is not here yet, all or none. Raises: RecordConflict where something is here with other bytes,
        LackingError where something is not here that it refers to, and somebody else's may be put."""

    async def take(self, subjects: Collection[str]) -> Parcel:
        """All that these subjects have here, piece by piece."""

    async def keyed(self, subjects: Collection[str]) -> Sequence[Owned]:
        """The key of each record that these subjects have here."""

    def located(self, cargo: Cargo) -> Sequence[Owned] | None:
        """Each record of `cargo` that a locator takes, its key as that looks it up (`record_key`); None where the cargo
        does not tell, and `keyed` is to be asked."""

    async def clear(self, wanted: Mapping[str, str]) -> frozenset[str]:
        """Remove all that these subjects have, of those of whom the digest still is as given, and of nobody else;
        those of whom nothing is left."""

    async def settled(self, within: float) -> bool:
        """Return once all transactions that are open here now have ended, or after `within` seconds; False, at once,
        where nobody can tell."""


class RecordParcels:
    """The `Parcels` port over any `Records`."""

    __slots__ = ("_records",)

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._records.sink

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """As the port says. Raises: SinkUnavailable."""
        return await self._records.subjects(after=after, limit=limit)

    async def settled(self, within: float) -> bool:
        """Nobody can tell: records have no transactions."""
        return False

    async def tally(self, subjects: Collection[str]) -> Mapping[str, str]:
        """As the port says. Raises: as `take`."""
        found = await self.take(subjects)
        return {each: found.digest(each) for each in found.pieces}

    async def load(self, subjects: Collection[str]) -> Cargo:
        """As the port says. Raises: as `take`."""
        found = await self.take(subjects)
        counts = {each: len(pieces) for each, pieces in found.pieces.items()}
        size = sum(len(value) for pieces in found.pieces.values() for _, _, value in pieces)
        marks = {each: found.marks(each) for each in found.pieces}
        return Cargo({each: found.digest(each) for each in found.pieces}, counts, found, size, marks)

    async def take(self, subjects: Collection[str]) -> Parcel:
        """As the port says. Raises: SinkUnavailable, UsageError for what is too large to be taken."""
        if not subjects:
            return Parcel({}, self)
        found: dict[str, set[Piece]] = {}
        async for record in self._records.read(subjects):
            if record.subject is None:
                continue
            value = record.value
            if value is None:
                value = _STREAMED + await self._streamed().fingerprint(record)
            found.setdefault(record.subject, set()).add((record.name, record.key, value))
        return Parcel({subject: frozenset(pieces) for subject, pieces in found.items()}, self)

    async def keyed(self, subjects: Collection[str]) -> Sequence[Owned]:
        """As the port says. Raises: SinkUnavailable."""
        if not subjects:
            return ()
        found = [(each.subject, each.name, each.key) async for each in self._records.read(subjects)]
        return [(subject, name, key) for subject, name, key in found if subject is not None]

    def located(self, cargo: Cargo) -> Sequence[Owned] | None:
        """As the port says."""
        if not isinstance(cargo.content, Parcel):
            return None
        told = []
        for subject, pieces in cargo.content.pieces.items():
            for name, key, _ in pieces:
                with suppress(UsageError):
                    told.append((subject, name, record_key(key)))
        return told

    async def put(self, cargo: Cargo) -> None:
        """As the port says; what is streamed one by one.

        Raises: RecordConflict, LackingError, SinkUnavailable, UsageError.
        """
        parcel = cargo.content
        if not isinstance(parcel, Parcel):
            raise UsageError(f"what is to be put into sink {self.sink!r} comes from no sink of its kind")
        held, streamed = _records(parcel)
        if held:
            await self._records.write(held)
        for record, _ in streamed:
            if parcel.origin is None:
                raise UsageError(f"what is to be put into sink {self.sink!r} comes from no sink of its kind")
            await self._streamed().receive(record, parcel.origin._streamed().chunks(record))

    async def clear(self, wanted: Mapping[str, str]) -> frozenset[str]:
        """As the port says. Raises: SinkUnavailable."""
        found = await self.take(wanted)
        going = [each for each, digest in wanted.items() if found.digest(each) == digest]
        if await self._remove(found.of(going)):
            return frozenset(going)
        left = await self.take(going)
        return frozenset(each for each in going if each not in left.pieces)

    async def _remove(self, parcel: Parcel) -> bool:
        """Remove those records that are still as in `parcel`; whether that was certainly all of them."""
        held, streamed = _records(parcel)
        gone = 0
        if held:
            try:
                gone = await self._records.delete(held)
            except SinkUnavailable:
                # It answers, so that something else refers to one of these: who has that stays.
                await self._records.subjects(limit=1)
                them = list(parcel.pieces)
                if isinstance(self._records, BoundRecords) and (bound := await self._records.bound(them)):
                    await self._remove(parcel.of([each for each in them if each not in bound]))
                    return False
                half = len(them) // 2
                for some in (them[:half], them[half:]) if half else ():
                    await self._remove(parcel.of(some))
                return False
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
