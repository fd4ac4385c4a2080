"""What a witness remembers of each log, in a folder: an origin in; the note seen last, and where to keep more, out.

    <folder>/<sha256 of the origin, 32 hex digits>/checkpoint            the note cosigned last
    <folder>/<…>/refused/<sha256 of both notes, 16 digits>/seen, now     two notes that contradict each other
    <folder>/<…>/lock

One process at a time works on one log: between what is read and what is kept nobody else may sign.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from residency.errors import Unavailable
from residency.flock import Lock

__all__ = ["Files", "WitnessState"]


class Files(Protocol):
    """Durable, atomic files by path; `residency.adapters.log_files.LogFiles` has the contract."""

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None."""

    def write(self, path: str, data: bytes) -> None:
        """Replace `path` whole and durably."""


class WitnessState:
    """The memory of one witness of one log; only what `holding` yields may be used."""

    def __init__(self, folder: Path, files: Files) -> None:
        self.folder = folder
        self._files = files

    @classmethod
    @contextmanager
    def holding(cls, folder: Path, origin: str, files: Callable[[Path], Files]) -> Iterator[WitnessState]:
        """The memory of the log `origin` below `folder`, this process's alone meanwhile; `files` opens a folder.

        Raises: Unavailable where another process holds it, OSError.
        """
        home = folder / hashlib.sha256(origin.encode()).hexdigest()[:32]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.mkdir(mode=0o700, exist_ok=True)
        # A power cut that took the folder would leave a witness that believes the next checkpoint unseen.
        for above in (folder.absolute().parent, folder):
            _sync(above)
        lock = Lock(home / "lock")
        if not lock.take():
            raise Unavailable("another process is witnessing this log now")
        try:
            yield cls(home, files(home))
        finally:
            lock.release()

    def recall(self) -> bytes | None:
        """The note that was cosigned last, None where none was. Raises: OSError."""
        return self._files.read("checkpoint")

    def remember(self, note: bytes) -> None:
        """Keep `note` in the place of the last one; once this returns it survives a power cut. Raises: OSError.

        A crash after this and before the cosignature is given away leaves a log that was seen and not cosigned: the
        next time goes on from there.
        """
        self._files.write("checkpoint", note)

    def refuse(self, seen: bytes, now: bytes) -> Path:
        """Keep two notes that contradict each other; the folder they lie in. Raises: OSError."""
        name = f"refused/{hashlib.sha256(seen + now).hexdigest()[:16]}"
        self._files.write(f"{name}/seen", seen)
        self._files.write(f"{name}/now", now)
        return self.folder / name


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
