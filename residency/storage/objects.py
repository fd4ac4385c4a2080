"""A store of objects under one decision: values under keys in and out, whole or piece by piece, each call one act.

What a crash or a cancelled request leaves of a value that is stored piece by piece (ADR 9 has the steps): until the
last piece is there an open intent or the outcome `failed`, and nothing under the key; then the act is confirmed, facts
and home reread, and only then the value made visible, which is seen to its end also where nobody waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Final, Protocol, cast, runtime_checkable

from residency.enforcement.acts import Act
from residency.enforcement.ports import OCTETS, Chunks, ObjectMeta, ObjectRead, ObjectSink
from residency.errors import ResidencyError, Unavailable, UsageError
from residency.model import Operation
from residency.storage.handle import StoreHandle
from residency.storage.keys import check_app_key

__all__ = ["ObjectHandle", "ObjectReader", "Readable"]

_PIECE: Final = 1 << 20
_TYPE_LIMIT: Final = 200  # characters of a content type


@runtime_checkable
class Readable(Protocol):
    """What is read by asking for some bytes at a time until there are none, as Starlette's `UploadFile`."""

    async def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


class ObjectHandle(StoreHandle):
    """One store of objects under one request's newest decision."""

    __slots__ = ()

    async def put(
        self,
        key: str,
        value: bytes | bytearray | memoryview | AsyncIterable[bytes] | Readable,
        *,
        content_type: str = OCTETS,
        size: int | None = None,
        sink: str | None = None,
    ) -> ObjectMeta:
        """Store `value` whole under `key`: bytes, or what gives them piece by piece. One act.

        `size` in bytes: say it where it is known of a value in pieces; another number of them is then an error.

        Raises: UsageError for a bad key, content type or size, Refused, SubjectUnknown, Unavailable, and whatever
        `value` raises; then nothing was stored, unless the error came from the sink in the last step: its outcome is
        then `unknown`, or the intent stays open.
        """
        check_app_key(key)
        _check_type(content_type)
        if isinstance(value, bytes | bytearray | memoryview):
            whole = bytes(value)
            if size is not None and size != len(whole):
                raise UsageError("the value is of another size than was said")
            return await self._put_whole(key, whole, content_type, sink)
        if size is not None and size < 0:
            raise UsageError("the size of a value is not below 0")
        pieces = value if isinstance(value, AsyncIterable) else _read(value)
        return await self._put_pieces(key, pieces, content_type, size, sink)

    async def get(self, key: str, *, sink: str | None = None) -> bytes | None:
        """The value under `key`, None where there is none. One act. Raises: as `put`."""
        check_app_key(key)
        act, target = await self._reading(sink)
        try:
            value = await target.get(key)
        except BaseException:
            _unread(act)
            raise
        act.outcome("committed")
        return value

    async def open(
        self, key: str, start: int = 0, end: int | None = None, *, sink: str | None = None
    ) -> ObjectReader | None:
        """The value under `key` to be read piece by piece, from byte `start` up to `end` (None = its last), as far as
        it goes; None where there is none. One act, which ends with the last piece or when the reader is left.

        A reader that is neither read nor closed leaves its intent open, which is a finding.

        Raises: UsageError for a bad key or range, Refused, SubjectUnknown, Unavailable.
        """
        check_app_key(key)
        if start < 0 or (end is not None and end < start):
            raise UsageError("a range is 0 <= start <= end")
        act, target = await self._reading(sink)
        try:
            found = await target.open(key, start, end)
        except BaseException:
            _unread(act)
            raise
        if found is None:
            act.outcome("committed")
            return None
        return ObjectReader(act, found)

    async def head(self, key: str, *, sink: str | None = None) -> ObjectMeta | None:
        """Size, etag, time and content type of the value under `key`, None where there is none. One act.

        Raises: as `get`.
        """
        check_app_key(key)
        act, target = await self._reading(sink)
        try:
            meta = await target.head(key)
        except BaseException:
            _unread(act)
            raise
        act.outcome("committed")
        return meta

    async def delete(self, key: str, *, sink: str | None = None) -> bool:
        """Remove the value under `key`; True where there was one. One act. Raises: as `put`."""
        check_app_key(key)
        act = await self.opened(operation=self.operation(Operation.ERASE), sink=sink)
        target = self._objects(act)
        await act.confirm()
        try:
            there = await target.delete(key, done=lambda: act.outcome("committed"))
        except ResidencyError:
            act.outcome("unknown")
            raise
        await act.settled()
        return there

    async def list(
        self, prefix: str = "", *, after: str = "", limit: int | None = None, sink: str | None = None
    ) -> AsyncGenerator[ObjectMeta, None]:
        """All values whose keys start with `prefix`, in the sink's order (as a rule that of the keys' UTF-8 bytes),
        at most `limit`; `after` = only those behind this key, the last of the page before. One act, which ends with
        the last one or when left. Content types are None where the sink does not list them.

        Raises: Refused, SubjectUnknown, Unavailable, UsageError.
        """
        if limit is not None and limit < 1:
            raise UsageError("a page has at least 1 value")
        act, target = await self._reading(sink)
        listing = target.list(prefix, after)
        count = 0
        try:
            async for meta in listing:
                yield meta
                count += 1
                if count == limit:
                    break
        except ResidencyError:
            act.outcome("failed")
            raise
        finally:
            act.outcome("committed")  # the first word stands; what was read stays read
            if isinstance(listing, AsyncGenerator):
                await listing.aclose()  # left early, it would otherwise wait for the garbage collector

    async def keys(self, prefix: str = "", *, sink: str | None = None) -> AsyncGenerator[str, None]:
        """All keys that start with `prefix`, as `list` has them. One act. Raises: as `list`."""
        listing = self.list(prefix, sink=sink)
        try:
            async for meta in listing:
                yield meta.key
        finally:
            await listing.aclose()

    async def _put_whole(self, key: str, value: bytes, content_type: str, sink: str | None) -> ObjectMeta:
        act = await self.opened(operation=self.operation(Operation.WRITE), sink=sink)
        target = self._objects(act)
        await act.confirm()
        try:
            meta = await target.put(key, value, content_type, done=lambda: act.outcome("committed"))
        except ResidencyError:
            # The sink promises "whole or not at all", yet an error after its rename may hide a stored value.
            act.outcome("unknown")
            raise
        await act.settled()
        return meta

    async def _put_pieces(
        self, key: str, pieces: AsyncIterable[bytes], content_type: str, size: int | None, sink: str | None
    ) -> ObjectMeta:
        act = await self.opened(operation=self.operation(Operation.WRITE), sink=sink)
        upload = None
        try:
            upload = await self._objects(act).upload(key, content_type, size)
            count = 0
            try:
                async for piece in pieces:
                    count += len(piece)
                    if size is not None and count > size:
                        break
                    await upload.write(piece)
            finally:
                if isinstance(pieces, AsyncGenerator):
                    await pieces.aclose()
            if size is not None and count != size:
                raise UsageError("the value is of another size than was said")
            # Minutes may lie between the first piece and the last: what moved meanwhile speaks before the effect.
            await act.confirm()
        except BaseException:
            try:
                if upload is not None:
                    await upload.abort()
            finally:
                with suppress(Unavailable):
                    act.outcome("failed")
            raise
        try:
            meta = await upload.commit(lambda: act.outcome("committed"))
        except ResidencyError:
            act.outcome("unknown")
            raise
        await act.settled()
        return meta

    async def _reading(self, sink: str | None) -> tuple[Act, ObjectSink]:
        act = await self.opened(operation=Operation.READ, sink=sink)
        if not act.confirm_now():
            await act.confirm()
        return act, self._objects(act)

    def _objects(self, act: Act) -> ObjectSink:
        # `Stores` gives this handle to stores whose sinks are all of objects; to ask again would cost a read its bar.
        return cast(ObjectSink, self._sinks[act.sink])


class ObjectReader:
    """One value that is being read. Read it once, by `async for` or `async with`; or close it."""

    __slots__ = ("_act", "_chunks", "_pieces", "end", "meta", "start")

    def __init__(self, act: Act, found: ObjectRead) -> None:
        self._act = act
        self._chunks = found.chunks
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self.meta = found.meta
        self.start = found.start
        self.end = found.end

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, in order. Raises: UsageError the second time; SinkUnavailable on the way."""
        if self._pieces is not None:
            raise UsageError("a value that was opened is read once")
        # A generator, and not this object: where a web framework drops both half-way the event loop closes it.
        self._pieces = _told_pieces(self._act, self._chunks)
        return self._pieces

    async def __aenter__(self) -> ObjectReader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Read no more; idempotent. What was read stays read."""
        if self._pieces is None:
            self._pieces = _told_pieces(self._act, self._chunks)
        await self._pieces.aclose()
        await _end(self._act, self._chunks)  # a generator that nobody began does nothing where it is closed


def _unread(act: Act) -> None:
    """Tell that nothing was read: the sink did not answer, or nobody waits for it any more."""
    with suppress(Unavailable):
        act.outcome("failed")


async def _told_pieces(act: Act, chunks: Chunks) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in chunks:
            yield piece
    except ResidencyError:
        act.outcome("failed")
        raise
    finally:
        await _end(act, chunks)


async def _end(act: Act, chunks: Chunks) -> None:
    try:
        act.outcome("committed")  # the first word stands
    finally:
        await chunks.aclose()


def _read(source: object) -> AsyncIterator[bytes]:
    if not isinstance(source, Readable) or not iscoroutinefunction(source.read):
        raise UsageError("a value is bytes, an async iterable of bytes, or has an async `read(size)`")

    async def read() -> AsyncIterator[bytes]:
        while piece := await source.read(_PIECE):
            yield piece

    return read()


def _check_type(content_type: str) -> None:
    # It becomes a header of a request.
    if not (0 < len(content_type) <= _TYPE_LIMIT and content_type.isascii() and content_type.isprintable()):
        raise UsageError("a content type is 1 to 200 printable ASCII characters")
