"""Values under keys in, the same out, for as long as this process lives: the reference for every object sink."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import Final

from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectRead, nothing
from residency.errors import UsageError
from residency.model import Region
from residency.storage.in_memory import InMemory
from residency.storage.keys import check_key, is_hidden

__all__ = ["MemorySink"]

_CHUNK: Final = 1 << 20


class MemorySink(InMemory):
    """The `ObjectSink` port over a dict."""

    __slots__ = ("_values",)

    def __init__(self, name: str, region: Region) -> None:
        super().__init__(name, region)
        self._values: dict[str, tuple[ObjectMeta, bytes]] = {}

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """Store `value` whole. Raises: UsageError for a bad key, SinkUnavailable."""
        check_key(key)
        self._check()
        meta = self._store(key, bytes(value), content_type)
        done()
        return meta

    async def upload(self, key: str, content_type: str = OCTETS, size: int | None = None) -> _Upload:
        """Begin to store a value piece by piece. Raises: UsageError for a bad key, SinkUnavailable."""
        check_key(key)
        self._check()
        return _Upload(self, key, content_type)

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises: UsageError for a bad key, SinkUnavailable."""
        found = self._find(key)
        return None if found is None else found[1]

    async def open(self, key: str, start: int = 0, end: int | None = None) -> ObjectRead | None:
        """The value in pieces, None where there is none. Raises: UsageError for a bad key, SinkUnavailable."""
        found = self._find(key)
        if found is None:
            return None
        meta, value = found
        end = meta.size if end is None else min(end, meta.size)
        start = min(start, end)
        return ObjectRead(meta, start, end, _Pieces(value[start:end]))

    async def head(self, key: str) -> ObjectMeta | None:
        """What is told of the value, None where there is none. Raises: UsageError for a bad key, SinkUnavailable."""
        found = self._find(key)
        return None if found is None else found[0]

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """Remove the value; True where there was one. Raises: UsageError for a bad key, SinkUnavailable."""
        there = self._find(key) is not None
        self._values.pop(key, None)
        done()
        return there

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """All values whose keys start with `prefix`, in order. Raises: SinkUnavailable."""
        self._check()
        for key in sorted(key for key in self._values if key > after and key.startswith(prefix)):
            if key in self._values and not is_hidden(key, prefix):
                yield self._values[key][0]

    def _find(self, key: str) -> tuple[ObjectMeta, bytes] | None:
        check_key(key)
        self._check()
        return self._values.get(key)

    def _store(self, key: str, value: bytes, content_type: str) -> ObjectMeta:
        meta = ObjectMeta(key, len(value), sha256(value).hexdigest()[:32], time.time_ns() // 1000, content_type)
        self._values[key] = (meta, value)
        return meta


class _Upload:
    """The `Upload` port: bytes that wait in memory."""

    __slots__ = ("_content_type", "_done", "_key", "_pieces", "_sink")

    def __init__(self, sink: MemorySink, key: str, content_type: str) -> None:
        self._sink = sink
        self._key = key
        self._content_type = content_type
        self._pieces: list[bytes] = []
        self._done = False

    async def write(self, data: bytes) -> None:
        self._check()
        self._pieces.append(bytes(data))

    async def commit(self, done: Callable[[], object] = nothing) -> ObjectMeta:
        self._check()
        self._done = True
        meta = self._sink._store(self._key, b"".join(self._pieces), self._content_type)
        done()
        return meta

    async def abort(self) -> None:
        self._done = True
        self._pieces.clear()

    def _check(self) -> None:
        self._sink._check()
        if self._done:
            raise UsageError("this upload has ended")


class _Pieces:
    """The `Chunks` port over bytes in memory."""

    __slots__ = ("_at", "_value")

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._at = 0

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = self._value[self._at : self._at + _CHUNK]
        if not piece:
            raise StopAsyncIteration
        self._at += len(piece)
        return piece

    async def aclose(self) -> None:
        self._value = b""
