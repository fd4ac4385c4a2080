"""Files below one folder, each replaced whole and durably (the log, its state): paths and bytes in, bytes out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from residency.audit.faults import naming
from residency.errors import VerificationError

__all__ = ["LogFiles"]

_AT_ONCE: Final = 64
"""Files that are held open together."""


class LogFiles:
    """`read`, `write` and `prune` below `folder`, which is made on the first write. Raises OSError as the disk does,
    naming the file.

    What is written has the permissions `mode`, less the umask. `alone` = nobody else writes here, so that temporaries
    of a life that was killed are written over by the next.
    """

    def __init__(self, folder: Path, *, mode: int = 0o666, alone: bool = False) -> None:
        self.folder = folder
        self._mode = mode
        self._alone = alone
        self._settled: set[Path] = set()  # folders that are there and known to be on disk

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, None where there is no such file. Raises: OSError."""
        target = self._inside(path)
        try:
            with naming(target):
                return target.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def paths(self, folder: str) -> list[str]:
        """The paths of the files in `folder`, sorted; none where there is no such folder. Raises: OSError."""
        target = self._inside(folder)
        try:
            with naming(target):
                names = [file.name for file in target.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [f"{folder}/{name}" for name in sorted(names)]

    def write(self, path: str, data: bytes) -> None:
        """Replace what is at `path`; once this returns, `data` survives a power cut. Raises: OSError."""
        self.write_all([(path, data)])

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Replace each of these (path, data); once this returns, all of them survive a power cut.

        A crash within leaves some of them replaced, each of them whole, and perhaps temporaries that nobody reads.
        Raises: OSError.
        """
        rest = iter(files)
        folders: dict[Path, None] = {}
        while chunk := list(islice(rest, _AT_ONCE)):
            folders |= dict.fromkeys(self._replace(chunk))
        for folder in folders:
            # A crash before this may bring an old file back after a power cut: the caller has not been told otherwise.
            _sync_folder(folder)

    def swap(self, path: str, data: bytes) -> None:
        """Replace what is at `path` at once. After a power cut it may be the old one again; it is whole either way.

        Raises: OSError.
        """
        self._replace([(path, data)])

    def prune(self, path: str) -> None:
        """Remove the folder `path` if it is there; a crash leaves a part of it. Raises: OSError."""
        folder = self._inside(path)
        self._settled.discard(folder)
        try:
            if folder.is_dir():
                shutil.rmtree(folder)
        except OSError as error:
            error.filename = str(folder)  # it would name the file alone, which lies in many folders
            raise

    def _replace(self, files: list[tuple[str, bytes]]) -> list[Path]:
        """Write all, then make all durable, then put each in its place; the folders that know of it."""
        begun: list[tuple[int, Path, Path]] = []
        placed = 0
        try:
            for path, data in files:
                target = self._inside(path)
                begun.append(self._begin(target))
                with naming(target):
                    _write_whole(begun[-1][0], data)
            if len(begun) > 1:
                for fd, _, _ in begun:
                    _start_writing(fd)
            for fd, _, target in begun:
                # Before the rename: else a power cut could leave the new name with nothing behind it.
                with naming(target):
                    os.fsync(fd)
            for _, temporary, target in begun:
                # A crash before the rename leaves the old file, and a temporary that nobody reads.
                temporary.rename(target)
                placed += 1
        finally:
            for fd, _, _ in begun:
                os.close(fd)
            for _, temporary, _ in begun[placed:]:
                with suppress(OSError):
                    temporary.unlink()
        return [target.parent for _, _, target in begun]

    def _begin(self, target: Path) -> tuple[int, Path, Path]:
        """An empty temporary beside `target`, open to be written."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        if self._alone:
            temporary, flags = target.with_name(f".{target.name}.tmp"), flags | os.O_TRUNC
        else:
            # A name of its own for each writer: workers that put one archive there replace it one after the other.
            temporary, flags = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp"), flags | os.O_EXCL
        self._settle(target.parent)
        try:
            return os.open(temporary, flags, self._mode), temporary, target
        except FileNotFoundError:  # somebody else has removed it
            self._settled.clear()
            self._settle(target.parent)
            return os.open(temporary, flags, self._mode), temporary, target

    def _settle(self, folder: Path) -> None:
        """Make `folder` where it is missing. Its name is on disk then, though whoever made it died before that was."""
        if folder in self._settled:
            return
        if folder == self.folder:
            _make_folder(folder)
        else:
            self._settle(folder.parent)
            # A crash after this leaves an empty folder, into which the next one writes.
            folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)
        self._settled.add(folder)

    def _inside(self, path: str) -> Path:
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise VerificationError("a path of the log would lead out of its folder")
        return self.folder.joinpath(*parts)


def _write_whole(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _start_writing(fd: int) -> None:
    """Have the disk begin with a file that is to be made durable soon, so that those of many are placed together and
    not one by one, each with a commit of the file system's own journal. A hint: on its own it promises nothing."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # an error of the disk is told by fsync
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(folder):
            os.fsync(fd)
    finally:
        os.close(fd)
