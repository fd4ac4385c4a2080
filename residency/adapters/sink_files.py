"""Values under keys in, files in one folder out, and back: one file per value, replaced whole or not at all.

A key becomes a file name by an encoding that is one-to-one, knows no separator and no letter case, and cannot leave
the folder: every byte outside `a-z 0-9 _ -` is written as `%` and two hex digits, and a name longer than file systems
take is cut into folders whose names end in `+`, a character that the encoding never writes.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import anyio.to_thread

from residency.errors import SinkUnavailable
from residency.model import Region
from residency.storage.keys import check_key

__all__ = ["FilesSink"]

_T = TypeVar("_T")
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")
_PIECE: Final = 200  # bytes of one path part; ext4, APFS and NTFS take 255
_NAME: Final = re.compile(r"(?:[a-z0-9_-]|%[0-9a-f]{2})+")
_TEMPORARY: Final = ".tmp-"


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
        """Make the folder, readable by this user alone. Raises: SinkUnavailable."""

        def start() -> None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_folder()

        await self._run(start)

    async def ping(self) -> None:
        """Raise SinkUnavailable unless a file can be written, synchronised and removed now."""

        def probe() -> None:
            self._check_folder()
            self._write(self._folder, b"ping").unlink()

        await self._run(probe)

    async def aclose(self) -> None:
        """Nothing is held between calls."""

    async def put(self, key: str, value: bytes) -> None:
        """Store `value` whole or not at all, on disk before this returns. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def put() -> None:
            self._check_folder()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A crash before the rename leaves the old value and a temporary file that no key names.
            temporary = self._write(path.parent, value)
            try:
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            # A crash before this leaves the old value or the new one, each whole.
            self._sync_folders(path.parent)

        await self._run(put)

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def get() -> bytes | None:
            self._check_folder()
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

        return await self._run(get)

    async def delete(self, key: str) -> bool:
        """Remove the value; True where there was one. Raises: UsageError, SinkUnavailable."""
        path = self._path(key)

        def delete() -> bool:
            self._check_folder()
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            _sync_folder(path.parent)
            return True

        return await self._run(delete)

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        """All keys that start with `prefix`, in order, as they were when the first was asked for.

        Raises: SinkUnavailable.
        """

        def keys() -> list[str]:
            self._check_folder()
            return sorted(self._walk(self._folder, ""))

        for key in await self._run(keys):
            if key.startswith(prefix):
                yield key

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
        name = "".join(chr(b) if b in _PLAIN else f"%{b:02x}" for b in key.encode())
        pieces = [name[i : i + _PIECE] for i in range(0, len(name), _PIECE)]
        return self._folder.joinpath(*(f"{piece}+" for piece in pieces[:-1]), pieces[-1])

    def _walk(self, folder: Path, before: str) -> Iterator[str]:
        for entry in folder.iterdir():
            if entry.name.startswith(_TEMPORARY):
                continue
            if entry.name.endswith("+") and entry.is_dir():
                yield from self._walk(entry, before + entry.name[:-1])
                continue
            name = before + entry.name
            if _NAME.fullmatch(name) is None:
                raise OSError("a file here was not written by this sink")
            yield re.sub(rb"%([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), name.encode()).decode()

    def _write(self, folder: Path, value: bytes) -> Path:
        """A new temporary file with `value`, synchronised; removed again where that fails."""
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(value)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    def _sync_folders(self, folder: Path) -> None:
        # A folder made for a long name is an entry of its parent, which must be on disk too.
        while True:
            _sync_folder(folder)
            if folder == self._folder:
                return
            folder = folder.parent

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            return await anyio.to_thread.run_sync(work)
        except (OSError, UnicodeDecodeError) as error:
            # Neither the path nor the system's text goes on: both may carry the key.
            raise SinkUnavailable(f"sink {self._name!r} cannot be read or written ({_code(error)})") from None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _code(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None else "a foreign file lies in its folder"
