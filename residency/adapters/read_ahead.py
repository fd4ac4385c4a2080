"""A slow reader of a log's files in; the same reader, which fetches what is asked for next before it is asked, out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from residency.audit.sequencer import CHECKPOINT_PATH
from residency.audit.tiles import TILE_WIDTH, bundle_path, tile_path

__all__ = ["ReadAhead"]

_SIZE = re.compile(rb"[^\n]*\n(0|[1-9][0-9]{0,18})\n")
_ROW = re.compile(r"tile/(entries|0)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/[0-9]+)?")
_MOST: Final = 32
_ROOM: Final = 32 * 2**20

Read = Callable[[str], bytes | None]


class ReadAhead:
    """Calls like the reader it is given. Bundles and tiles of level 0 that follow the one asked for are fetched at the
    same time, as many as `room` (bytes) is likely to hold."""

    def __init__(self, read: Read, *, most: int = _MOST, room: int = _ROOM) -> None:
        self._read = read
        self._most = most
        self._room = room
        self._largest: int | None = None
        self._size = 0
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="residency-read-ahead")
        self._coming: dict[str, dict[int, tuple[str, Future[bytes | None]]]] = {"entries": {}, "0": {}}

    def __call__(self, path: str) -> bytes | None:
        """The bytes at `path`, None where there are none. Raises what the reader raises."""
        row = _ROW.fullmatch(path)
        if row is None:
            data = self._read(path)
            # A wrong size costs some fetches and nothing else: whether it holds is for others to say.
            if path == CHECKPOINT_PATH and data is not None and (found := _SIZE.match(data)) is not None:
                self._size = int(found[1])
            return data
        number = int(row[2].replace("x", "").replace("/", ""))
        return self._fetch(row[1], number, path)

    def close(self) -> None:
        """Forget what was fetched and not asked for, and what is still to be fetched."""
        for coming in self._coming.values():
            for _, future in coming.values():
                future.cancel()
            coming.clear()

    def _fetch(self, kind: str, number: int, path: str) -> bytes | None:
        coming = self._coming[kind]
        for old in [other for other in coming if other < number]:
            coming.pop(old)[1].cancel()
        expected = self._path(kind, number)
        ready = coming.pop(number, None)
        if path == expected:
            for ahead in self._ahead(number):
                if ahead not in coming:
                    name = self._path(kind, ahead)
                    coming[ahead] = name, self._pool.submit(self._read, name)
        try:
            data = ready[1].result() if ready is not None and ready[0] == path else self._read(path)
        except BaseException:
            self.close()  # nobody goes on reading: the process is not to wait for what it will not use
            raise
        if data is not None:
            self._largest = max(self._largest or 1, len(data))
        return data

    def _ahead(self, number: int) -> Iterator[int]:
        count = (self._size + TILE_WIDTH - 1) // TILE_WIDTH
        # Until one was seen, nothing is known of how large they are.
        many = 2 if self._largest is None else max(1, min(self._most, self._room // (2 * self._largest)))
        return iter(range(number + 1, min(number + 1 + many, count)))

    def _path(self, kind: str, number: int) -> str:
        width = min(TILE_WIDTH, self._size - number * TILE_WIDTH)
        if width <= 0:
            return ""
        return bundle_path(number, width) if kind == "entries" else tile_path(0, number, width)
