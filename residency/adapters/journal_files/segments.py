"""Segment files of one slot: a folder and a number in, a preallocated file mapped into memory out."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from residency.audit.faults import naming
from residency.audit.journal import MARK_AT, RECORDS_AT, Segment, format_mark, format_segment, parse_segment
from residency.errors import JournalCorrupt

__all__ = ["Mapped", "make_home", "make_segment", "segment_path"]


_LET_GO: Final = 1 << 20  # bytes, at least: so that not every flush asks for it


class Mapped:
    """One open segment of `size` bytes. `offset` is where the next record goes. Raises OSError, naming the file."""

    __slots__ = ("fd", "kept_from", "map", "marks", "name", "number", "offset", "size")

    def __init__(self, home: Path, slot: int, number: int) -> None:
        path = segment_path(home, number)
        self.name = f"{home.name}/{path.name}"
        self.number = number
        self.offset = RECORDS_AT
        self.kept_from = 0
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            with naming(path):
                self.size = size = os.fstat(self.fd).st_size
                header = os.pread(self.fd, RECORDS_AT, 0)
                if parse_segment(header, self.name) != Segment(slot, number, size):
                    raise JournalCorrupt(f"{self.name}: slot, number or size ({size} bytes) differ from the header")
                self.map = mmap.mmap(self.fd, size)
        except BaseException:
            os.close(self.fd)
            raise
        # The mark is stored through a view of 64-bit words: one aligned store, which no kill can tear.
        self.marks = memoryview(self.map)[MARK_AT : MARK_AT + 8].cast("Q")

    def sync(self) -> None:
        """Make all that is stored survive a power cut. Raises: OSError."""
        self._let_go()  # before the disk, which may take its time while more is stored
        with naming(self.name):
            _fdatasync(self.fd)

    def _let_go(self) -> None:
        """What was stored is not read again here: it need not count as this process's memory. The page cache keeps it,
        and a crash finds it there as before."""
        done = self.offset & -_LET_GO
        if done > self.kept_from and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED, self.kept_from, done - self.kept_from)
            self.kept_from = done

    def mark(self, offset: int) -> None:
        """Say that all below `offset` was durable once.

        A crash before the mark leaves an older one: recovery then trusts less than it could, never more.
        """
        self.marks[0] = int.from_bytes(format_mark(offset), "little")

    def end_at(self, offset: int, *, zero: bool) -> None:
        """Go on at `offset`; with `zero`, wipe what lies behind it. All that is left is durable then. Raises: OSError.

        A crash within leaves a shorter tail, which is no record either, or none; the next opening does the rest.
        """
        self.offset = offset
        if zero:
            length = len(self.map[offset:].rstrip(b"\0"))
            self.map[offset : offset + length] = bytes(length)
        # In this order: a mark says that all below it is on disk.
        self.sync()
        self.mark(offset)

    def close(self) -> None:
        """Let go of the file. What is stored stays stored."""
        self.marks.release()
        self.map.close()
        os.close(self.fd)


def make_home(home: Path) -> None:
    """Make the folder of a slot where it is missing. Its name is on disk then, though whoever made it died before that
    was; a crash within leaves empty folders. Raises: OSError.
    """
    if not home.is_dir():
        if not home.parent.is_dir():
            make_home(home.parent)
        home.mkdir(mode=0o700, exist_ok=True)
    _sync_folder(home.parent)


def segment_path(home: Path, number: int) -> Path:
    """Where segment `number` of the slot in `home` lies."""
    return home / f"{number:08d}.seg"


def make_segment(home: Path, slot: int, number: int, size: int) -> Mapped:
    """Allocate segment `number` (`size` bytes) on disk and map it.

    A crash anywhere before the rename leaves a .tmp, which the next opening removes. After it the segment is whole and
    empty, and is the spare of the next opening, or replaced by the next attempt. Nothing is stored in it before the
    folder is on disk, so a power cut that takes it away takes nothing with it. Raises: OSError.
    """
    temporary = home / "segment.tmp"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with naming(temporary):
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, size)
            else:
                os.write(fd, bytes(size))
            os.pwrite(fd, format_segment(Segment(slot, number, size)), 0)
            os.fsync(fd)
            temporary.rename(segment_path(home, number))
    except BaseException:
        with suppress(OSError):  # what failed first is what is told
            temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    _sync_folder(home)
    return Mapped(home, slot, number)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(folder):
            os.fsync(fd)
    finally:
        os.close(fd)


def _fdatasync(fd: int) -> None:
    getattr(os, "fdatasync", os.fsync)(fd)
