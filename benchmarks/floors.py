"""An entry's length in; the least that any Python could do for what is promised of it, without any of our code, out.

A floor is no trail: nothing checks what it is given, nothing can be read back, a full file begins anew, and two threads
may not record at a time. It does what a promise itself demands and no more. *Recorded* (it outlives `kill -9`): an
entry's bytes, with its own time and number, made by one formatting; beside them their length, number and checksum, in a
preallocated file that is mapped into memory. *Durable* (it outlives a power cut): one fdatasync after that, shared by
all who wait. Where a floor misses a bar, nothing written in Python holds it on this machine, ours included.

It may store into pages that nobody touched before, as whoever keeps all entries must, or over and over into the same
ones, which a journal that is kept cannot do: less than that cannot be.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import types
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from struct import Struct
from threading import Thread
from time import time_ns
from typing import Final

from residency.audit.crc import crc32

__all__ = ["FLOOR", "LENGTH", "WARM", "Floor", "open_floor", "open_floors"]

FLOOR, WARM = "the floor", "the floor, warm"
LENGTH: Final = 800
"""As many bytes as an entry of an act has, about."""
_SIZE: Final = 256 << 20  # bytes: seconds of what a floor records
_WARM: Final = 1 << 20
_HEAD: Final = Struct("<IIQ").pack


class Floor:
    """Where entries of one length are recorded, by one thread."""

    def __init__(self, file: Path, length: int, *, warm: bool) -> None:
        """`warm`: into the same pages again and again."""
        self._pattern = b"%019d%019d" + b"x" * (length - 38)
        self._size = _WARM if warm else _SIZE
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT)
        self._map: mmap.mmap | None = None
        self._number = self._durable = 0  # entries below `_durable` survive a power cut
        self._waiting: list[asyncio.Future[None]] = []
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self.renew()
        self._thread = Thread(target=self._serve, name="floor-flush", daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Begin anew, in a file that was not written to. Nobody may wait now."""
        if self._map is not None:
            self._map.close()
        os.ftruncate(self._fd, 0)
        os.posix_fallocate(self._fd, 0, self._size)
        os.fsync(self._fd)
        self._map = mmap.mmap(self._fd, self._size)
        self._at = 0

    def record(self) -> int:
        """Record an entry; its number."""
        number, at, kept = self._number, self._at, self._map
        assert kept is not None
        entry = self._pattern % (time_ns(), number)
        record = _HEAD(len(entry), crc32(entry), number) + entry
        end = at + len(record)
        if end > self._size:
            at, end = 0, len(record)
        kept[at:end] = record
        self._at, self._number = end, number + 1
        return number

    def soon(self) -> None:
        """Begin to make all that is recorded durable."""
        self._bell.put(True)

    async def durable(self) -> None:
        """Return once all that is recorded by now survives a power cut."""
        number, waiting = self._number, self._waiting
        if not waiting:
            self._bell.put(True)
        await _turn()  # in which a quick disk is done
        if self._durable >= number:
            return
        future = asyncio.get_running_loop().create_future()
        waiting.append(future)
        if len(waiting) == 1:
            self._bell.put(True)
        await future

    def is_durable(self, number: int) -> bool:
        """Whether that entry is known to survive a power cut."""
        return number < self._durable

    def close(self) -> None:
        """End the thread."""
        self._bell.put(False)
        self._thread.join()
        os.close(self._fd)

    def _serve(self) -> None:
        waiting = self._waiting
        while self._bell.get():
            while True:
                served = waiting[:]
                del waiting[: len(served)]
                recorded = self._number
                if not served and recorded == self._durable:
                    break
                os.fdatasync(self._fd)
                self._durable = recorded
                if served:
                    served[0].get_loop().call_soon_threadsafe(_wake, served)


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Let the event loop have a turn."""
    yield


def _wake(served: list[asyncio.Future[None]]) -> None:
    for future in served:
        if not future.done():  # else cancelled, with the task that waited
            future.set_result(None)


@contextmanager
def open_floor(file: Path, length: int = LENGTH, *, warm: bool = False) -> Iterator[Floor]:
    """A floor for entries of `length` bytes, that ends with the block."""
    floor = Floor(file, length, warm=warm)
    try:
        yield floor
    finally:
        floor.close()


@contextmanager
def open_floors(folder: Path, length: int) -> Iterator[dict[str, Floor]]:
    """One that stores into pages not touched before, and one that uses the same again and again."""
    with open_floor(folder / "floor", length) as fresh, open_floor(folder / "warm", length, warm=True) as warm:
        yield {FLOOR: fresh, WARM: warm}
