"""A file in; whether this process is the one that holds its lock, out: of several workers one does the work.

A lock ends with its process, and a crash leaves an empty file, which nobody holds. It belongs to the open file, which
the child of a fork shares: were it kept there, nobody could take over from the parent. So the child lets go of it.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from pathlib import Path
from typing import Final

from residency.audit.faults import naming

__all__ = ["Lock"]


class Lock:
    """The lock of the file at `path`, readable by this user alone. One thread at a time takes it or lets it go."""

    __slots__ = ("__weakref__", "_fd", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is this object that holds it."""
        return self._fd is not None

    def take(self) -> bool:
        """Hold it from now on, if nobody else does; whether it is held. Nothing is waited for. Raises: OSError."""
        if self._fd is not None:
            return True
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with naming(self._path):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _held.add(self)
        return True

    def release(self) -> None:
        """Let another hold it; idempotent."""
        _held.discard(self)
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


_held: Final[weakref.WeakSet[Lock]] = weakref.WeakSet()


def _release_in_child() -> None:
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
