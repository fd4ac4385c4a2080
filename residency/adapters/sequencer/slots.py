"""One slot's journal as the sequencer reads it: a folder and a cursor in, payloads and a cursor out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from residency.audit.faults import naming
from residency.audit.follow import follow, must_lead_to
from residency.audit.journal import RECORDS_AT, Segment, parse_segment
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt

__all__ = ["SlotReader", "slot_numbers", "yield_turn"]

_PIECE: Final = 1024  # records that are read at a time
_BYTES: Final = 16 << 20  # of payloads, after which a read has enough
_TURN_SECONDS: Final = 50e-6


def yield_turn() -> None:
    """Let the threads that answer requests have the interpreter, which a thread that computes holds for milliseconds.

    A sleep of nothing would not do: whoever waits for the interpreter is not awake before it is taken again.
    """
    time.sleep(_TURN_SECONDS)


def slot_numbers(journals: Path) -> list[int]:
    """The slots that have a folder below `journals`, in order. Raises: OSError."""
    with naming(journals), os.scandir(journals) as found:
        return sorted(int(entry.name) for entry in found if entry.name.isdigit() and entry.is_dir())


class _File:
    """The bytes of an open file, read when they are asked for. Not a map: its pages would count as this process's
    memory, cost a fault each, and a disk that fails would be a signal and no error."""

    __slots__ = ("_path", "_size", "fd")

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self._path = path
        self.fd = fd
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: slice, /) -> bytes:
        start, stop, _ = key.indices(self._size)
        with naming(self._path):
            return os.pread(self.fd, max(stop - start, 0), start)


class SlotReader:
    """One slot's journal, read while its worker writes it, or after it died."""

    def __init__(self, home: Path, slot: int) -> None:
        self._home = home
        self._slot = slot
        self._number: int | None = None
        self._file: _File | None = None
        self._begun = False
        self._unsynced: set[int] = set()
        self._dropped = 0

    def read(
        self, cursor: Cursor, limit: int, between: Callable[[], None] | None = None
    ) -> tuple[list[bytes], Cursor, bool]:
        """Payloads of at most `limit` records from `cursor` on, fewer where they are large; where to go on; and whether
        there may be more of them now. `between` is called now and then. Raises: JournalCorrupt, OSError.
        """
        if not self._begun:
            must_lead_to(self, cursor)
            self._begun = True
        found: list[bytes] = []
        size, begun, more = 0, cursor.segment, True
        try:
            while len(found) < limit and size < _BYTES and more:
                asked = min(limit - len(found), _PIECE)
                piece, cursor = follow(self, cursor, asked)
                found.extend(piece)
                size += sum(map(len, piece))
                more = len(piece) == asked
                if more and between is not None:
                    between()
        except JournalCorrupt:
            if not found:
                raise
            more = False  # it is whoever reads on from there that is told
        if found:
            self._unsynced.update(range(begun, cursor.segment + 1))
        return found, cursor, more

    def make_durable(self) -> None:
        """Make all that was read survive a power cut. Raises: OSError."""
        for number in sorted(self._unsynced):
            path = self._path(number)
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                with naming(path):
                    getattr(os, "fdatasync", os.fsync)(fd)
            finally:
                os.close(fd)
        self._unsynced.clear()

    def drop_before(self, number: int) -> None:
        """Remove segments below `number`; a crash leaves some of them, which the next time takes. Raises: OSError."""
        if number <= self._dropped:
            return
        with naming(self._home):
            for path in sorted(self._home.glob("*.seg")):  # the oldest first, so that no gap is left
                if int(path.stem) < number:
                    path.unlink()
        self._dropped = number

    def close(self) -> None:
        """Let go of the segment that is open; idempotent."""
        if self._file is not None:
            os.close(self._file.fd)
        self._file, self._number = None, None

    def open(self, number: int) -> _File | None:
        """The bytes of segment `number`, open until another one is asked for; see `Segments`."""
        if self._number == number:
            return self._file
        self.close()
        try:
            fd = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            with naming(self._path(number)):
                size = os.fstat(fd).st_size
                if parse_segment(os.pread(fd, RECORDS_AT, 0), self.name(number)) != Segment(self._slot, number, size):
                    raise JournalCorrupt(f"{self.name(number)}: slot, number or size differ from the header")
                self._file = _File(self._path(number), fd, size)
        except BaseException:
            os.close(fd)
            raise
        self._number = number
        return self._file

    def holds_records(self, number: int) -> bool:
        """Whether there is a segment `number` in which something was stored."""
        path = self._path(number)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            with naming(path):
                return any(os.pread(fd, 16, RECORDS_AT))
        finally:
            os.close(fd)

    def _path(self, number: int) -> Path:
        return self._home / f"{number:08d}.seg"

    def name(self, number: int) -> str:
        """Slot and file, without the folder."""
        return f"{self._home.name}/{number:08d}.seg"
