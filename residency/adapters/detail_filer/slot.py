"""One slot's journal of details in: its segments as they are on disk, read, let go of and turned over, out."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from residency.audit.detail_head import FILLER
from residency.audit.journal import RECORDS_AT, Segment, format_record, format_segment, parse_segment
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt
from residency.flock import Lock

__all__ = ["Slot"]


class Slot:
    """One slot's segments, read while its worker writes them, or after it died."""

    def __init__(self, home: Path, slot: int) -> None:
        self._home = home
        self._slot = slot
        self._number: int | None = None
        self._map: mmap.mmap | None = None

    def open(self, number: int) -> mmap.mmap | None:
        """The bytes of segment `number`, mapped until another one is asked for; see `audit.follow.Segments`."""
        if self._number == number:
            return self._map
        self.close()
        try:
            fd = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            size = os.fstat(fd).st_size
            if parse_segment(os.pread(fd, RECORDS_AT, 0), self.name(number)) != Segment(self._slot, number, size):
                raise JournalCorrupt(f"{self.name(number)}: slot, number or size differ from the header")
            self._map = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        self._number = number
        return self._map

    def holds_records(self, number: int) -> bool:
        """Whether there is a segment `number` in which something was stored."""
        try:
            with self._path(number).open("rb") as file:
                return any(os.pread(file.fileno(), 16, RECORDS_AT))
        except FileNotFoundError:
            return False

    def name(self, number: int) -> str:
        """Country's folder, slot and file."""
        return f"{self._home.parent.parent.name}/{self._home.name}/{number:08d}.seg"

    def make_durable(self, first: int, last: int) -> None:
        """Make segments `first` to `last` survive a power cut. Raises: OSError."""
        for number in range(first, last + 1):
            fd = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
            try:
                getattr(os, "fdatasync", os.fsync)(fd)
            finally:
                os.close(fd)

    def drop_before(self, number: int) -> None:
        """Remove segments below `number`, all of which is filed. Raises: OSError."""
        for path in self._home.glob("*.seg"):
            if int(path.stem) < number:
                path.unlink()

    def turn(self, cursor: Cursor) -> bool:
        """Begin a new segment for a slot that nobody writes to and that is filed up to `cursor`; whether that was done.

        A worker that takes the slot later goes on there. Raises: OSError.
        """
        lock = Lock(self._home / "lock")
        if not lock.take():
            return False
        try:
            data = self.open(cursor.segment)
            if data is None or any(data[cursor.offset : cursor.offset + 16]) or self.holds_records(cursor.segment + 1):
                return False
            capacity = len(data)
            segment = Segment(self._slot, cursor.segment + 1, capacity)
            temporary = self._home / "segment.tmp"
            # A crash before the rename leaves a .tmp, which whoever opens the slot next removes.
            with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                os.posix_fallocate(file.fileno(), 0, capacity)
                file.write(format_segment(segment) + format_record(cursor.seq, FILLER))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._path(segment.number))
            folder = os.open(self._home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            return True
        finally:
            self.close()
            lock.release()

    def close(self) -> None:
        """Let go of the segment that is mapped; idempotent."""
        if self._map is not None:
            self._map.close()
        self._map, self._number = None, None

    def _path(self, number: int) -> Path:
        return self._home / f"{number:08d}.seg"
