"""Values under keys in, objects of one bucket out, and back. On asyncio alone, for obstore knows no other loop.

No message carries the URL, the bucket, a key or what the store answered: it names the sink, and a status.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from types import ModuleType
from typing import Any, Final, TypeVar

from residency.adapters.sink_objects.upload import PART, BucketUpload, finish
from residency.adapters.sink_objects.urls import open_bucket, parse_object_url
from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectRead, nothing
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.keys import check_key, is_hidden
from residency.storage.lasting import lasting

__all__ = ["BucketSink"]

_T = TypeVar("_T")
_CHUNK: Final = 1 << 20
_PROBE: Final = ".residency-probe"
_NO_BUCKET: Final = re.compile(r"<Code>(?:NoSuchBucket|ContainerNotFound)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_DENIED: Final = "access is denied"
_NOT_THERE: Final = "its bucket is not there"
_ELSEWHERE: Final = "it points elsewhere: another region's bucket?"
_STAYS: Final = (_DENIED, _NOT_THERE, _ELSEWHERE)
"""What no wait mends."""
_used_by: int | None = None
"""The process that talked to a bucket first. The client's threads do not survive a fork, and a child would wait for
them for ever."""


class BucketSink:
    """The `ObjectSink` port over one bucket, or over what lies below a prefix of it."""

    __slots__ = (
        "_failures", "_in_one", "_name", "_obstore", "_quick", "_region", "_scheme", "_streams", "in_clear",
    )  # fmt: skip

    def __init__(self, name: str, region: Region, url: str) -> None:
        """`url` as `urls` has it. Nothing is asked yet. Raises: SinkUnavailable, naming the part that is wrong."""
        self._name = name
        self._region = region
        try:
            place = parse_object_url(url)
            self._quick = open_bucket(place, streaming=False)
            self._streams = open_bucket(place, streaming=True)
        except UsageError as error:
            raise SinkUnavailable(f"sink {name!r} has a URL that cannot be used: {error}") from None
        self._scheme = place.scheme
        self.in_clear: Final = place.in_clear
        """Whether its values go to another machine unencrypted."""
        self._obstore = _client()
        self._failures = (OSError, ValueError, self._obstore.exceptions.BaseError)
        self._in_one = True  # whether values are asked for as their first bytes, as far as is known

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest, as the deployment says."""
        return self._region

    async def start(self) -> None:
        """As `ping`: a bucket is never made here, for it would be made with nobody's rules. Raises: SinkUnavailable."""
        await self.ping()

    async def ping(self) -> None:
        """Raise SinkUnavailable unless the bucket is there, can be listed, and takes a write. Nothing is left in it."""
        await self._check_bucket()
        await self._check_write()

    async def aclose(self) -> None:
        """Nothing is held but idle connections, which end by themselves."""

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """Store `value` whole: in one request, or in parts where it is large. Raises: UsageError, SinkUnavailable."""
        check_key(key)
        if len(value) >= PART:
            sending = self.send(key, value, content_type, PART, 4)
        else:
            self._check_process()
            sending = self._obstore.put_async(
                self._quick, key, value, attributes={"Content-Type": content_type}, use_multipart=False
            )
        told = await self.answer(finish(sending, done))
        return self.meta(key, len(value), told, content_type)

    async def upload(self, key: str, content_type: str = OCTETS, size: int | None = None) -> BucketUpload:
        """Begin to store a value piece by piece. Raises: UsageError."""
        check_key(key)
        return BucketUpload(self, key, content_type, size)

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises: UsageError, SinkUnavailable, also where it takes too long."""
        check_key(key)
        self._check_process()
        try:
            if self._in_one:
                value = await self._first_bytes(key)
                if value is not None:
                    return value
            found = await self._obstore.get_async(self._quick, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            self._check_there(error)
            return None
        except self._failures as error:
            raise self._away(error) from None

    async def _first_bytes(self, key: str) -> bytes | None:
        """The value where it has a byte and less than `PART`, None = ask for it whole.

        The client wakes its caller once for a range, as it has come, and twice for a whole value: as it begins to come
        and as it has. A value that is longer is then read anew, for between two answers it may be replaced; where one
        is, others are, and none is asked for twice again.
        """
        try:
            value = await self._obstore.get_range_async(self._quick, key, start=0, end=PART)
        except self._obstore.exceptions.GenericError as error:
            text = str(error)
            if "status code: 416" not in text:  # which says that it is empty
                if "non-partial" not in text:
                    raise
                self._in_one = False  # by a store that knows no ranges
            return None
        if len(value) < PART:
            return bytes(value)
        self._in_one = False
        return None

    async def open(self, key: str, start: int = 0, end: int | None = None) -> ObjectRead | None:
        """The value in pieces as they arrive, None where there is none. Raises: UsageError, SinkUnavailable."""
        check_key(key)
        if end is not None and end <= start:
            return self._nothing(await self.head(key), start)
        self._check_process()
        options: dict[str, Any] = {}
        if end is not None:
            options["range"] = (start, end)
        elif start:
            options["range"] = {"offset": start}
        try:
            asking = self._obstore.get_async(self._streams, key, options=options or None)
            found = await asking
        except FileNotFoundError as error:
            self._check_there(error)
            return None
        except self._failures as error:
            # Azure answers what it has behind the end of a value, and its client refuses that.
            if not any(word in str(error) for word in ("status code: 416", "StartTooLarge")):
                raise self._away(error) from None
            return self._nothing(await self.head(key), start)
        first, last = found.range
        return ObjectRead(self._told(key, found), first, last, _Pieces(self, found, last - first))

    async def head(self, key: str) -> ObjectMeta | None:
        """What is told of the value, None where there is none. Raises: UsageError, SinkUnavailable."""
        check_key(key)
        self._check_process()
        try:
            return self._told(key, await self.answer(self._obstore.get_async(self._quick, key, options={"head": True})))
        except FileNotFoundError:
            await self._check_bucket()  # an answer without a body does not tell which of the two is missing
            return None

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """Remove the value; True where there was one a moment before. Raises: UsageError, SinkUnavailable."""
        there = await self.head(key) is not None
        if there:
            try:
                await self.answer(finish(self._obstore.delete_async(self._quick, key), done))
            except FileNotFoundError:  # somebody else was faster
                there = False
        if not there:
            done()
        return there

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """All values whose keys start with `prefix`, in the bucket's order. Raises: SinkUnavailable.

        What stands behind the prefix's last slash is compared here: all that lies below that slash is listed for it.
        """
        self._check_process()
        folder = prefix.rpartition("/")[0]
        pages = self._obstore.list(self._quick, folder or None, offset=after or None, chunk_size=1000)
        try:
            async for page in pages:
                for each in page:
                    # A store that does not know `offset` begins anew with each page, and a walk would never end.
                    key = each["path"]
                    if key.startswith(prefix) and key > after and not is_hidden(key, prefix):
                        yield self.meta(key, each["size"], each, None, each["last_modified"])
        except self._failures as error:
            raise self._away(error) from None

    def send(self, key: str, value: object, content_type: str, part: int, at_once: int) -> asyncio.Future[Any]:
        """Begin a multipart upload of bytes, or of an iterator of them: `at_once` parts of `part` bytes at a time."""
        self._check_process()
        future: asyncio.Future[Any] = self._obstore.put_async(
            self._streams,
            key,
            value,
            attributes={"Content-Type": content_type},
            use_multipart=True,
            chunk_size=part,
            max_concurrency=at_once,
        )
        return future

    async def answer(self, asked: Awaitable[_T]) -> _T:
        """What the store answers. Raises: SinkUnavailable; FileNotFoundError where it says that there is no value."""
        try:
            return await asked
        except FileNotFoundError as error:
            self._check_there(error)
            raise
        except self._failures as error:
            raise self._away(error) from None

    def meta(
        self, key: str, size: int, told: Any, content_type: str | None, modified: datetime | None = None
    ) -> ObjectMeta:
        """What the store told of a value."""
        at = time.time_ns() // 1000 if modified is None else int(modified.timestamp() * 1_000_000)
        return ObjectMeta(key, size, (told["e_tag"] or "").strip('"'), at, content_type)

    def _told(self, key: str, found: Any) -> ObjectMeta:
        content_type = str(found.attributes.get("Content-Type", OCTETS))
        return self.meta(key, found.meta["size"], found.meta, content_type, found.meta["last_modified"])

    def _nothing(self, meta: ObjectMeta | None, start: int) -> ObjectRead | None:
        if meta is None:
            return None
        at = min(start, meta.size)
        return ObjectRead(meta, at, at, _Pieces(self, None, 0))

    async def _check_bucket(self) -> None:
        self._check_process()
        try:
            await self.answer(self._obstore.list(self._quick, _PROBE).collect_async())
        except FileNotFoundError as error:
            raise self._away(error) from None

    async def _check_write(self) -> None:
        if self._scheme == "az":
            # Azure knows of an upload only when its first block comes; a put on an impossible condition is refused
            # for that condition by those who would have taken it.
            asked = self._obstore.put_async(self._quick, _PROBE, b"", mode={"e_tag": '"0"'})
            enough: tuple[type[Exception], ...] = (self._obstore.exceptions.PreconditionError,)
        else:
            asked = self._obstore.put_async(self._quick, _PROBE, _enough(), use_multipart=True)
            enough = (_EnoughError,)
        try:
            await finish(asked, nothing)
        except enough:
            return
        except self._failures as error:
            raise self._away(error) from None
        raise lasting(SinkUnavailable(f"sink {self._name!r} takes what it must refuse: its bucket keeps no conditions"))

    def _check_there(self, error: FileNotFoundError) -> None:
        # A bucket that went away has no values, but it is no empty sink.
        if _NO_BUCKET.search(str(error)) is not None:
            raise self._away(error) from None

    def _check_process(self) -> None:
        global _used_by
        if _used_by is None:
            _used_by = os.getpid()
        elif _used_by != os.getpid():
            raise SinkUnavailable(f"sink {self._name!r} cannot be used in a process forked off one that used buckets")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise SinkUnavailable(f"sink {self._name!r} is a bucket, which needs asyncio: run the app on it") from None

    def _away(self, error: Exception) -> SinkUnavailable:
        why = _why(str(error))
        told = SinkUnavailable(f"sink {self._name!r} cannot be read or written ({why})")
        return lasting(told) if why.endswith(_STAYS) else told


class _Pieces:
    """The `Chunks` port over an answer that is being read."""

    __slots__ = ("_left", "_sink", "_stream")

    def __init__(self, sink: BucketSink, found: Any, size: int) -> None:
        self._sink = sink
        self._stream = None if found is None else found.stream(min_chunk_size=_CHUNK)
        self._left = size

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        while self._stream is not None and self._left:
            try:
                piece = bytes(await self._sink.answer(anext(self._stream)))
            except StopAsyncIteration:
                message = f"sink {self._sink.name!r} cannot be read (it ended an answer before its end)"
                raise SinkUnavailable(message) from None
            self._left -= len(piece)
            if piece:
                return piece
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._stream = None  # the connection goes with it


class _EnoughError(Exception):
    """The store has begun an upload, which is all that was to be known."""


async def _enough() -> AsyncIterator[bytes]:
    raise _EnoughError
    yield b""  # makes this a generator


def _client() -> ModuleType:
    import obstore  # an optional extra; `open_bucket` has said so where it is not there

    return obstore


def _why(text: str) -> str:
    """The cause, as far as it may be told."""
    if _NO_BUCKET.search(text) is not None:
        return _NOT_THERE
    status = _STATUS.search(text)
    if status is None:
        return _ELSEWHERE if "redirect" in text else "no answer"
    return f"status {status[1]}{', ' + _DENIED if status[1] in ('401', '403') else ''}"
