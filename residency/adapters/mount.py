"""A folder of a network mount in; a place for a second copy of a log, out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from residency.audit.mirror import Lock
from residency.errors import Unavailable, VerificationError

__all__ = ["FolderPlace"]


class _Files(Protocol):
    def read(self, path: str) -> bytes | None: ...
    def write(self, path: str, data: bytes) -> None: ...
    def prune(self, path: str) -> None: ...


class FolderPlace:
    """A folder (of a network mount) as a place. It must be there: a mount that is missing is not to be filled."""

    def __init__(self, folder: Path, files: _Files) -> None:
        """`files` are those of `folder`, each replaced whole and durably."""
        self._folder = folder
        self._files = files

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None. Raises: Unavailable."""
        with self._asking("read", path):
            return self._files.read(path)

    def create(self, path: str, data: bytes) -> bool:
        """Put a final file; False where it is there. Raises: VerificationError where others are there, Unavailable."""
        there = self.read(path)
        if there is not None and there != data:
            raise VerificationError(f"the mirror holds something else as {path}; nothing was overwritten")
        if there is None:
            self.write(path, data)
        return there is None

    def write(self, path: str, data: bytes) -> None:
        """Replace what is at `path`. Raises: Unavailable."""
        with self._asking("write", path):
            self._files.write(path, data)

    def prune(self, path: str) -> None:
        """Remove the folder `path`. Raises: Unavailable."""
        with self._asking("delete", path):
            self._files.prune(path)

    def lock(self, path: str) -> Lock:
        """Raises: Unavailable: a folder locks nothing."""
        raise Unavailable("a folder cannot lock what lies in it")

    @contextmanager
    def _asking(self, verb: str, path: str) -> Iterator[None]:
        if not self._folder.is_dir():
            raise Unavailable("the mirror's folder is not there: is it mounted?")
        try:
            yield
        except OSError as error:
            raise Unavailable(f"the mirror's folder does not let us {verb} {path} (errno {error.errno})") from error
