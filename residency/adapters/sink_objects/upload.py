"""Pieces of one value in, a multipart upload out that is completed whole or aborted.

obstore reads the pieces from an iterator and aborts the upload where that raises; a request of it that is cancelled
leaves its parts behind. So nothing here is ever cancelled: who gives up makes the iterator raise, and waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

import anyio

from residency.enforcement.ports import ObjectMeta, nothing
from residency.errors import UsageError

__all__ = ["PART", "BucketUpload", "finish", "part_size"]

_T = TypeVar("_T")
_MIB: Final = 1 << 20
PART: Final = 8 * _MIB
_PARTS: Final = 10_000  # of one upload, on S3 and GCS
_LARGEST: Final = 5 * _MIB * _MIB  # bytes of one object on S3 and GCS
_AT_ONCE: Final = 32 * _MIB  # bytes on their way at a time, but for parts that are larger


def part_size(size: int | None) -> int:
    """Bytes of each part of a value of `size` bytes (None = not known: parts for up to 78 GiB).

    Raises: UsageError where no store takes a value of that size.
    """
    if size is None or size <= PART * _PARTS:
        return PART
    if size > _LARGEST:
        raise UsageError("no store of objects takes a value of more than 5 TiB")
    return -(-size // (_PARTS * _MIB)) * _MIB


async def finish(future: asyncio.Future[_T], done: Callable[[], object]) -> _T:
    """What `future` answers, after `done`. Who is cancelled waits until it is known what came of it."""
    try:
        answer = await asyncio.shield(future)
    except asyncio.CancelledError:
        if future.cancelled():
            raise
        with anyio.CancelScope(shield=True):
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({future})
        if future.exception() is None:
            done()
        raise
    done()
    return answer


class _Bucket(Protocol):
    """Where values are put; `residency.adapters.sink_objects.sink.BucketSink` has the contract."""

    async def put(self, key: str, value: bytes, content_type: str, *, done: Callable[[], object]) -> ObjectMeta: ...
    def send(self, key: str, value: object, content_type: str, part: int, at_once: int) -> asyncio.Future[Any]: ...
    async def answer(self, asked: Awaitable[_T]) -> _T: ...
    def meta(self, key: str, size: int, told: Any, content_type: str | None) -> ObjectMeta: ...


class _Abandoned(Exception):
    """Nobody wants this upload any more."""


class _Pieces:
    """The iterator that obstore reads: what was written, as far as there is room for more."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._ended: Exception | None = None
        self.held = 0  # bytes
        self.given = asyncio.Event()
        self.taken = asyncio.Event()

    def give(self, data: bytes) -> None:
        self._waiting.append(data)
        self.held += len(data)
        self.given.set()

    def end(self, how: Exception) -> None:
        if self._ended is None:
            self._ended = how
            self.given.set()

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self._ended is not None:
                raise self._ended
            self.given.clear()
            await self.given.wait()
        if isinstance(self._ended, _Abandoned):
            raise self._ended
        data = self._waiting.popleft()
        self.held -= len(data)
        self.taken.set()
        return data


class BucketUpload:
    """The `Upload` port over one key of a bucket."""

    def __init__(self, sink: _Bucket, key: str, content_type: str, size: int | None) -> None:
        """Nothing is asked of the bucket yet. Raises: UsageError where `size` is more than it takes."""
        self._sink = sink
        self._key = key
        self._content_type = content_type
        self._part = part_size(size)
        self._limit = self._part * _PARTS
        self._size = 0
        self._first: list[bytes] = []  # a value of less than one part is put at once
        self._pieces = _Pieces()
        self._upload: asyncio.Future[Any] | None = None
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes. Raises: SinkUnavailable, UsageError where they are more than one upload takes."""
        self._check()
        self._size += len(data)
        if self._size > self._limit:
            raise UsageError(f"a value of more than {self._limit >> 30} GiB is stored by those who say its size")
        if self._upload is None:
            self._first.append(bytes(data))
            if self._size >= self._part:
                self._begin()
            return
        if data:
            self._pieces.give(bytes(data))
        while self._pieces.held >= self._part and not self._upload.done():
            self._pieces.taken.clear()
            await self._pieces.taken.wait()
        if self._upload.done():
            await self._sink.answer(self._upload)

    async def commit(self, done: Callable[[], object] = nothing) -> ObjectMeta:
        """Put what is little, or complete the upload. Raises: SinkUnavailable."""
        self._check()
        self._ended = True
        if self._upload is None:
            value, self._first = b"".join(self._first), []
            return await self._sink.put(self._key, value, self._content_type, done=done)
        self._pieces.end(StopAsyncIteration())
        told = await self._sink.answer(finish(self._upload, done))
        return self._sink.meta(self._key, self._size, told, self._content_type)

    async def abort(self) -> None:
        """Have the parts removed. Waits for that as long as the bucket's requests may take."""
        self._ended = True
        self._first = []
        upload, self._upload = self._upload, None
        if upload is None:
            return
        self._pieces.end(_Abandoned())
        with anyio.CancelScope(shield=True):
            while not upload.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({upload})
        if not upload.cancelled():
            upload.exception()  # asked for, or asyncio would complain that nobody did

    def _begin(self) -> None:
        for data in self._first:
            self._pieces.give(data)
        self._first = []
        at_once = max(1, _AT_ONCE // self._part)
        self._upload = self._sink.send(self._key, self._pieces, self._content_type, self._part, at_once)
        self._upload.add_done_callback(lambda _: self._pieces.taken.set())

    def _check(self) -> None:
        if self._ended:
            raise UsageError("this upload has ended")
