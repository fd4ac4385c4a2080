"""Files below one folder, each replaced whole and durably (the log, its state): paths and bytes in, bytes out."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from residency.errors import VerificationError

__all__ = ["LogFiles"]


class LogFiles:
    """`read`, `write` and `prune` below `folder`, which is made on the first write. Raises OSError as the disk does.

    What is written has the permissions `mode`, less the umask.
    """

    def __init__(self, folder: Path, *, mode: int = 0o666) -> None:
        self.folder = folder
        self._mode = mode

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, None where there is no such file. Raises: OSError."""
        try:
            return self._inside(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, data: bytes) -> None:
        """Replace what is at `path`; once this returns, `data` survives a power cut. Raises: OSError."""
        target = self._inside(path)
        _make_folder(target.parent)
        # A name of its own for each writer: workers that put one archive there at once replace it one after the other.
        # A crash before the rename leaves the old file, and a temporary that nobody reads.
        temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp")
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, self._mode)) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        # A crash before this may bring the old file back after a power cut: the caller has not been told otherwise.
        _sync_folder(target.parent)

    def prune(self, path: str) -> None:
        """Remove the folder `path` if it is there. Raises: OSError."""
        folder = self._inside(path)
        if folder.is_dir():
            shutil.rmtree(folder)

    def _inside(self, path: str) -> Path:
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise VerificationError("a path of the log would lead out of its folder")
        return self.folder.joinpath(*parts)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
