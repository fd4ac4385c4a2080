"""The objects of one sink in, records out, and back: the `Records` port over any sink of objects.

A record's name is the pattern that its key fits, such as `users/{subject}/`, where `{subject}` tells whose it is: an id
as it stands, or percent-encoded (RFC 3986), as one with a slash in it must be. A pattern that ends in a slash takes all
below it, any other the one key. The bytes of a record are its content type and its value; a value over `limit` bytes is
streamed.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import unquote_to_bytes

from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectSink
from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.records import Change, Record

__all__ = ["ObjectRecords"]

_SUBJECT: Final = "{subject}"
_LIMIT: Final = 1 << 20
_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.~-]")
"""What percent-encoding does not leave as it is."""
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")


class ObjectRecords:
    """The `Records` port, with those that are streamed, over one sink of objects."""

    __slots__ = ("_limit", "_listed", "_patterns", "_sink")

    def __init__(self, sink: ObjectSink, docs: Sequence[RecordDoc], *, limit: int = _LIMIT) -> None:
        """`docs` are the store's `records`. Raises: UsageError for a pattern without one `{subject}`, or two that meet
        in one key."""
        self._sink = sink
        self._limit = limit
        self._listed: list[str] | None = None  # by whoever goes through all of them now
        self._patterns = [(doc, *_read(doc.name)) for doc in docs if _SUBJECT in doc.name]
        if not self._patterns:
            raise UsageError("`records` of a store of objects names no pattern with {subject}")

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._sink.name

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """Ids of the subjects that there are objects of, in order. Keys come in another, so that all are listed for it:
        once for who goes on by `after`, and is told of what there was then. Raises: SinkUnavailable."""
        listed = self._listed
        if not after or listed is None:
            found = set()
            for _, prefix, pattern in self._patterns:
                async for meta in self._sink.list(prefix):
                    if (fits := pattern.fullmatch(meta.key)) is not None:
                        found.add(_subject(fits))
            listed = sorted(found)
        at = bisect_right(listed, after)
        self._listed = listed if at + limit < len(listed) else None
        return tuple(listed[at : at + limit])

    async def count(self) -> Mapping[str, int]:
        """How many objects there are of each pattern. Raises: SinkUnavailable."""
        counts = Counter({doc.name: 0 for doc, _, _ in self._patterns})
        for doc, prefix, pattern in self._patterns:
            async for meta in self._sink.list(prefix):
                counts[doc.name] += pattern.fullmatch(meta.key) is not None
        return counts

    async def earliest(self) -> int | None:
        """When the oldest object was stored (microseconds). Raises: SinkUnavailable."""
        moments = []
        for _, prefix, pattern in self._patterns:
            async for meta in self._sink.list(prefix):
                if pattern.fullmatch(meta.key) is not None:
                    moments.append(meta.modified)
        return min(moments, default=None)

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """Every object of these subjects. Raises: SinkUnavailable, UsageError where an id with a slash stands in keys
        as it is: whose such an object is cannot be told from its key."""
        wanted = sorted(subjects)
        spelled = [each for each in wanted if _PLAIN.search(each) is not None]
        for doc, prefix, pattern in self._patterns:
            # Keys that spell an id in one way only are asked for; of all others together the store is listed once.
            asked = [] if not prefix else [each for each in wanted if _PLAIN.search(each) is None]
            for subject in asked:
                async for meta in self._under(doc.name.replace(_SUBJECT, subject)):
                    if (record := await self._record(doc, subject, meta)) is not None:
                        yield record
            whose = frozenset(spelled if prefix else wanted)
            if not whose:
                continue
            near = _PLAIN.split(spelled[0], 1)[0] if prefix and len(spelled) == 1 else ""
            slashed, wholes = False, tuple(doc.name.replace(_SUBJECT, each) for each in whose if "/" in each)
            async for meta in self._sink.list(prefix + near):
                slashed = slashed or meta.key.startswith(wholes)
                fits = pattern.fullmatch(meta.key)
                if fits is not None and (subject := _subject(fits)) in whose:
                    record = await self._record(doc, subject, meta)
                    if record is not None:
                        yield record
            if slashed:
                raise UsageError(
                    f"sink {self.sink!r} has objects under an id with a slash in it: percent-encode ids in keys"
                )

    async def _under(self, key: str) -> AsyncIterator[ObjectMeta]:
        """What lies below `key` where that ends in a slash, else what lies there. Raises: SinkUnavailable."""
        if not key.endswith("/"):
            meta = None
            with suppress(UsageError):  # no key that anything could lie under
                meta = await self._sink.head(key)
            if meta is not None:
                yield meta
            return
        async for meta in self._sink.list(key):
            if meta.key != key:  # a folder's own mark
                yield meta

    async def write(self, records: Sequence[Record]) -> int:
        """Store these, one by one; how many were not there. A crash leaves some; the same call stores the others.

        Raises: RecordConflict before any is stored, SinkUnavailable.
        """
        new = []
        for record in records:
            there = await self._value(record.key)
            if there is None:
                new.append(record)
            elif there != record.value:
                raise RecordConflict(f"sink {self.sink!r} has a record of the same key with other bytes")
        for record in new:
            kind, _, value = (record.value or b"").partition(b"\0")
            await self._sink.put(record.key, value, kind.decode())
        return len(new)

    async def delete(self, records: Sequence[Record]) -> int:
        """Remove those of these that are still as given; how many. Raises: SinkUnavailable."""
        gone = 0
        for record in records:
            if record.value is not None and await self._value(record.key) == record.value:
                gone += await self._sink.delete(record.key)
        return gone

    async def get(self, keys: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Record]:
        """Those of these that are there and fit their pattern. Raises: SinkUnavailable."""
        by_name = {doc.name: (doc, pattern) for doc, _, pattern in self._patterns}
        found = {}
        for name, key in keys:
            doc, pattern = by_name.get(name, (None, None))
            fits = None if pattern is None else pattern.fullmatch(key)
            if doc is None or fits is None or (meta := await self._sink.head(key)) is None:
                continue
            if (record := await self._record(doc, _subject(fits), meta)) is not None:
                found[name, key] = record
        return found

    async def replace(self, changes: Sequence[Change]) -> None:
        """Put each in the place of what it is given with, one by one. Raises: RecordConflict before any is stored,
        SinkUnavailable."""
        for record, before in changes:
            if await self._value(record.key) != before:
                raise RecordConflict(f"sink {self.sink!r} has a record of the same key with other bytes")
        for record, _ in changes:
            kind, _, value = (record.value or b"").partition(b"\0")
            await self._sink.put(record.key, value, kind.decode())

    def name_of(self, key: str) -> str | None:
        """The pattern that `key` fits; None = it is nobody's record."""
        return next((doc.name for doc, _, pattern in self._patterns if pattern.fullmatch(key)), None)

    async def fingerprint(self, record: Record) -> bytes:
        """SHA-256 over the content type and the whole value. Raises: SinkUnavailable."""
        made = hashlib.sha256()
        async for chunk in self.chunks(record):
            made.update(chunk)
        return made.digest()

    async def chunks(self, record: Record) -> AsyncIterator[bytes]:
        """The content type, a zero byte, and the value. Raises: SinkUnavailable, also where it is gone."""
        found = await self._sink.open(record.key)
        if found is None:
            raise SinkUnavailable(f"sink {self.sink!r} no longer has a record that was listed")
        try:
            yield (found.meta.content_type or OCTETS).encode() + b"\0"
            async for chunk in found.chunks:
                yield chunk
        finally:
            await found.chunks.aclose()

    async def receive(self, record: Record, chunks: AsyncIterator[bytes]) -> None:
        """Put what another sink gives, unless something is there. Raises: RecordConflict, SinkUnavailable."""
        kind = (await anext(chunks)).removesuffix(b"\0").decode()
        if await self._sink.head(record.key) is not None:
            made = hashlib.sha256(kind.encode() + b"\0")
            async for chunk in chunks:
                made.update(chunk)
            if made.digest() != await self.fingerprint(record):
                raise RecordConflict(f"sink {self.sink!r} has a record of the same key with other bytes")
            return
        upload = await self._sink.upload(record.key, kind)
        try:
            async for chunk in chunks:
                await upload.write(chunk)
        except BaseException:
            await upload.abort()
            raise
        await upload.commit()

    async def remove(self, record: Record, fingerprint: bytes) -> None:
        """Remove `record` if its digest still is `fingerprint`. Raises: SinkUnavailable."""
        if await self._sink.head(record.key) is not None and await self.fingerprint(record) == fingerprint:
            await self._sink.delete(record.key)

    async def _record(self, doc: RecordDoc, subject: str, meta: ObjectMeta) -> Record | None:
        times = dict.fromkeys(doc.times, meta.modified)
        if meta.size > self._limit:
            return Record(doc.name, meta.key, subject, doc.data, None, times)
        value = await self._value(meta.key)
        if value is None:
            return None  # removed meanwhile
        return Record(doc.name, meta.key, subject, doc.data, value, times)

    async def _value(self, key: str) -> bytes | None:
        found = await self._sink.open(key)
        if found is None:
            return None
        try:
            parts = [(found.meta.content_type or OCTETS).encode(), b"\0"]
            async for chunk in found.chunks:
                parts.append(chunk)
            return b"".join(parts)
        finally:
            await found.chunks.aclose()


def _subject(fits: re.Match[str]) -> str:
    """Whose the key is: its segment percent-decoded, or as it stands where percent-encoding would not spell it so."""
    segment = fits["subject"]
    escapes = _ENCODED.findall(segment)
    if not escapes or any(_PLAIN.match(chr(int(escape, 16))) is None for escape in escapes):
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return segment


def _read(name: str) -> tuple[str, re.Pattern[str]]:
    """(what every key of the pattern begins with, what tells its subject)."""
    before, _, after = name.partition(_SUBJECT)
    if _SUBJECT in after:
        raise UsageError("a pattern of `records` names {subject} once")
    below = ".+" if name.endswith("/") else ""
    return before, re.compile(f"{re.escape(before)}(?P<subject>[^/]+?){re.escape(after)}{below}", re.DOTALL)
