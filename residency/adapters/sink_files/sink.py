"""Values under keys in, files in one folder out, and back. What waits for the disk does so in a thread."""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import anyio
import anyio.to_thread

from residency.adapters.sink_files.files import (
    make_temporary,
    meta_of,
    path_of,
    place,
    remove_left,
    sync_folder,
    walk,
)
from residency.enforcement.ports import OCTETS, ObjectMeta, ObjectRead, nothing
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.keys import check_key, is_hidden
from residency.storage.lasting import lasting

__all__ = ["FilesSink"]

_T = TypeVar("_T")
_CHUNK: Final = 1 << 20
_STAYS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ELOOP})  # no wait mends these
_PAGE: Final = 10_000  # keys held at a time while listing


class FilesSink:
    """The `ObjectSink` port over a folder of the local file system."""

    __slots__ = ("_folder", "_identity", "_name", "_region")

    def __init__(self, name: str, region: Region, folder: Path) -> None:
        self._name = name
        self._region = region
        self._folder = folder
        self._identity: tuple[int, int] | None = None  # device and inode of the folder, as first found

    @property
    def name(self) -> str:
        """The sink's name in the deployment file."""
        return self._name

    @property
    def region(self) -> Region:
        """Where its bytes rest."""
        return self._region

    async def start(self) -> None:
        """Make the folder, readable by this user alone; see that it takes files, and remove what dead processes left
        half written. Raises: SinkUnavailable."""

        def start() -> None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._probe()
            remove_left(self._folder)

        await self._run(start)

    async def ping(self) -> None:
        """Raise SinkUnavailable unless a file can be written, synchronised and removed now."""
        await self._run(self._probe)

    async def aclose(self) -> None:
        """Nothing is held between calls."""

    async def put(
        self, key: str, value: bytes, content_type: str = OCTETS, *, done: Callable[[], object] = nothing
    ) -> ObjectMeta:
        """Store `value` whole or not at all, on disk before this returns. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def put() -> ObjectMeta:
            file = self._temporary(path.parent)
            try:
                with file:
                    file.write(value)
                    return self._place(file, path, key, content_type)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

        return await self._whole(put, done)

    async def upload(self, key: str, content_type: str = OCTETS, size: int | None = None) -> _Upload:
        """Begin to store a value piece by piece, in a temporary file beside it. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)
        made: list[BinaryIO] = []
        try:
            await self._whole(lambda: made.append(self._temporary(path.parent)), nothing)
        except BaseException:
            for file in made:  # cancelled when it was made
                _discard(file)
            raise
        return _Upload(self, key, path, content_type, made[0])

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def get() -> bytes | None:
            self._check_folder()
            with suppress(FileNotFoundError):
                return path.read_bytes()
            return None

        return await self._run(get)

    async def open(self, key: str, start: int = 0, end: int | None = None) -> ObjectRead | None:
        """The value in pieces, as it is now however often it is replaced meanwhile; None where there is none.

        Raises: UsageError, SinkUnavailable.
        """
        path = self._path(key)

        opened: list[BinaryIO] = []

        def open_it() -> ObjectMeta:
            self._check_folder()
            with suppress(FileNotFoundError):
                opened.append(path.open("rb", buffering=0))
                return meta_of(key, opened[0].fileno())
            return ObjectMeta(key, 0, "", 0)

        try:
            meta = await self._whole(open_it, nothing)
        except BaseException:
            for file in opened:
                file.close()
            raise
        if not opened:
            return None
        end = meta.size if end is None else min(end, meta.size)
        start = min(start, end)
        return ObjectRead(meta, start, end, _Pieces(self, opened[0], start, end))

    async def head(self, key: str) -> ObjectMeta | None:
        """What is told of the value, None where there is none. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def head() -> ObjectMeta | None:
            self._check_folder()
            with suppress(FileNotFoundError):
                return meta_of(key, path)
            return None

        return await self._run(head)

    async def delete(self, key: str, *, done: Callable[[], object] = nothing) -> bool:
        """Remove the value; True where there was one. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def delete() -> bool:
            self._check_folder()
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            sync_folder(path.parent)
            return True

        return await self._whole(delete, done)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """All values whose keys start with `prefix`, in order. Raises: SinkUnavailable.

        File names are not in the order of keys, so the folder is read once for every 10,000 keys.
        """

        def page() -> tuple[list[ObjectMeta], bool]:
            self._check_folder()
            found = ((key, path) for key, path in walk(self._folder) if key > after and not is_hidden(key, prefix))
            least = heapq.nsmallest(_PAGE, (each for each in found if each[0].startswith(prefix)))
            metas = []
            for key, path in least:
                with suppress(FileNotFoundError):  # removed meanwhile
                    metas.append(meta_of(key, path))
            return metas, len(least) == _PAGE

        more = True
        while more:
            metas, more = await self._run(page)
            for meta in metas:
                yield meta
            if metas:
                after = metas[-1].key

    def _probe(self) -> None:
        file = self._temporary(self._folder)
        try:
            file.write(b"ping")
            file.flush()
            os.fsync(file.fileno())
        finally:
            _discard(file)

    def _check_folder(self) -> None:
        # A volume that went away leaves its mount point behind: an empty folder on another disk, perhaps in another
        # country. Neither is an empty sink.
        found = self._folder.stat()
        identity = (found.st_dev, found.st_ino)
        if self._identity is None:
            self._identity = identity
        elif self._identity != identity:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def _path(self, key: str) -> Path:
        check_key(key)
        return path_of(self._folder, key)

    def _temporary(self, folder: Path) -> BinaryIO:
        self._check_folder()
        return make_temporary(folder)

    def _place(self, file: BinaryIO, path: Path, key: str, content_type: str) -> ObjectMeta:
        self._check_folder()
        return place(file, path, self._folder, key, content_type)

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            return await anyio.to_thread.run_sync(work)
        except (OSError, UnicodeDecodeError) as error:
            # Neither the path nor the system's text goes on: both may carry the key.
            told = SinkUnavailable(f"sink {self._name!r} cannot be read or written ({_code(error)})")
            raise (lasting(told) if isinstance(error, OSError) and error.errno in _STAYS else told) from None

    async def _whole(self, work: Callable[[], _T], done: Callable[[], object]) -> _T:
        """What `work` answers. A thread cannot be stopped, so who is cancelled waits until it is known what it did."""
        answers: list[_T] = []
        errors: list[Exception] = []

        async def run() -> None:
            with anyio.CancelScope(shield=True):
                try:
                    answers.append(await self._run(work))
                    done()
                except Exception as error:  # noqa: BLE001 - raised again below, and not in a group
                    errors.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(run)
        if errors:
            raise errors[0]
        return answers[0]


class _Upload:
    """The `Upload` port: a temporary file."""

    __slots__ = ("_content_type", "_file", "_key", "_path", "_sink")

    def __init__(self, sink: FilesSink, key: str, path: Path, content_type: str, file: BinaryIO) -> None:
        self._sink = sink
        self._key = key
        self._path = path
        self._content_type = content_type
        self._file: BinaryIO | None = file

    async def write(self, data: bytes) -> None:
        file = self._open()
        await self._sink._whole(lambda: file.write(data), nothing)

    async def commit(self, done: Callable[[], object] = nothing) -> ObjectMeta:
        file = self._open()

        def commit() -> ObjectMeta:
            return self._sink._place(file, self._path, self._key, self._content_type)

        meta = await self._sink._whole(commit, done)
        self._file = None
        file.close()
        return meta

    async def abort(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return

        await self._sink._whole(lambda: _discard(file), nothing)

    def _open(self) -> BinaryIO:
        if self._file is None:
            raise UsageError("this upload has ended")
        return self._file


class _Pieces:
    """The `Chunks` port over an open file, which stays the same one where its name goes to another."""

    __slots__ = ("_at", "_end", "_file", "_sink")

    def __init__(self, sink: FilesSink, file: BinaryIO, start: int, end: int) -> None:
        self._sink = sink
        self._file = file
        self._at = start
        self._end = end

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        wanted = min(_CHUNK, self._end - self._at)
        if wanted <= 0 or self._file.closed:
            await self.aclose()
            raise StopAsyncIteration
        piece = await self._sink._whole(lambda: os.pread(self._file.fileno(), wanted, self._at), nothing)
        if not piece:
            raise SinkUnavailable(f"sink {self._sink.name!r} cannot be read (a value is shorter than it was)")
        self._at += len(piece)
        return piece

    async def aclose(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self._file.close()


def _discard(file: BinaryIO) -> None:
    with suppress(OSError):
        file.close()
    with suppress(OSError):
        Path(file.name).unlink()


def _code(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None else "a foreign file lies in its folder"
