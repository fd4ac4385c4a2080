"""Moves a country's details from the journals into its store, and lets segments and what is due go.

Every worker runs one for each country; a flock decides whose works, and the others stand by and take over within a
second of its death. The order of a round is the safety argument; a kill anywhere is mended by the next round:

    1. journals made durable   so that a power cut takes nothing back that the store says is filed
    2. rows and cursors        in one transaction: a kill before it files the same records again, which are there once
    3. segments                that are filed whole are removed; a kill before it leaves them to the next round
    4. what is due             erased from the store; a kill before it erases it in the next round
    5. turning over            where the journal may hold bytes of what was erased, its segment is filled up and left: a
                               worker does so to its own journal, the one that files to those of the dead
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from residency.audit.detail_head import FILLER, Head, parse_record
from residency.audit.follow import follow, must_lead_to
from residency.audit.journal import RECORDS_AT, Segment, format_record, format_segment, parse_segment
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt, ResidencyError

__all__ = ["DetailFiler"]

_log = logging.getLogger("residency")
_BATCH: Final = 4096
_EXPIRE_EVERY: Final = 60_000_000
_STANDBY_SECONDS: Final = 0.5


class _Store(Protocol):
    """Where rows go; `residency.adapters.detail_store.DetailStore` has the contract."""

    def file(
        self, rows: Iterable[tuple[Head, bytes]], cursors: Mapping[int, Cursor] | None = ..., *, now: int = ...
    ) -> int: ...
    def cursors(self) -> dict[int, Cursor]: ...
    def expire(self, now: int) -> int: ...
    def wanted_turns(self) -> dict[int, int]: ...
    def turned(self, slot: int, now: int) -> None: ...


class DetailFiler:
    """Files the journals below `<folder>/journal` into `store`.

    `now` answers the time in microseconds. `slot` is this worker's own journal, which `turn_over` fills up to the end
    of its segment; None where this process writes no details. `interval` is in seconds.
    """

    def __init__(
        self,
        folder: Path,
        store: _Store,
        now: Callable[[], int],
        *,
        slot: int | None = None,
        turn_over: Callable[[], None] | None = None,
        interval: float = 1.0,
    ) -> None:
        self._folder = folder
        self._store = store
        self._now = now
        self._own = slot
        self._turn_over = turn_over
        self._interval = interval
        self._lock_fd: int | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ticking = threading.Lock()
        self._expired_at: int | None = None
        self._checked: set[int] = set()
        self.problem: str | None = None
        """Why the last round failed; None while all is well."""

    @property
    def active(self) -> bool:
        """Whether this filer is the one that works (another may)."""
        return self._lock_fd is not None

    def start(self) -> None:
        """Run in a thread until `stop`. A thread does not survive a fork: start it in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="residency-details", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """File what is there and let go of the lock; idempotent. Errors stay in `problem`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.active:
            self._try_tick()
        self.release()

    def release(self) -> None:
        """Let go of the lock, so that another may file; idempotent."""
        _active.discard(self)
        self._checked.clear()
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def tick(self) -> int | None:
        """One round: how many details were new in the store; None where another one files.

        Raises: JournalCorrupt, JournalFull, JournalFailed, EntryError, OSError. The next round starts from the disk.
        """
        with self._ticking:
            self._turn_own()
            if not self._claim():
                return None
            filed = self._file()
            now = self._now()
            if self._expired_at is None or not 0 <= now - self._expired_at < _EXPIRE_EVERY:
                self._store.expire(now)
                self._expired_at = now
            self._turn_dead(now)
            return filed

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._try_tick()
            self._stopping.wait(self._interval if self.active and self.problem is None else _STANDBY_SECONDS)

    def _try_tick(self) -> None:
        problem: str | None = None
        try:
            self.tick()
        except ResidencyError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{self._folder.name}: the details cannot be filed (errno {error.errno})"
        except Exception as error:  # noqa: BLE001 - a thread that ended would look like one that works
            problem = f"the filing of details failed with {type(error).__name__}"
        if problem is not None and problem != self.problem:  # not at every round
            _log.error("details stay in their journals for now: %s", problem)
        self.problem = problem

    # --- one round ---------------------------------------------------------------------------------------------------

    def _file(self) -> int:
        new = 0
        known = self._store.cursors()
        for number in self._slots():
            slot = _Slot(self._folder / "journal" / str(number), number)
            try:
                cursor = known.get(number, Cursor())
                if number not in self._checked:
                    must_lead_to(slot, cursor)
                    self._checked.add(number)
                while True:
                    records, after = follow(slot, cursor, _BATCH)
                    if after == cursor:
                        break
                    slot.make_durable(cursor.segment, after.segment)
                    rows = [row for record in records if (row := parse_record(bytes(record.payload))) is not None]
                    new += self._store.file(rows, {number: after}, now=self._now())
                    cursor = after
                    slot.drop_before(cursor.segment)
                slot.drop_before(cursor.segment)
            finally:
                slot.close()
        return new

    def _turn_own(self) -> None:
        if self._own is None or self._turn_over is None or self._own not in self._store.wanted_turns():
            return
        # Taken before: what is recorded while it turns may lie on either side.
        before = self._now()
        self._turn_over()
        self._store.turned(self._own, before)

    def _turn_dead(self, now: int) -> None:
        turned = False
        for number in self._store.wanted_turns():
            if number != self._own and _Slot(self._folder / "journal" / str(number), number).turn(self._cursor(number)):
                self._store.turned(number, now)
                turned = True
        if turned:
            self._file()

    def _cursor(self, slot: int) -> Cursor:
        return self._store.cursors().get(slot, Cursor())

    def _slots(self) -> list[int]:
        journals = self._folder / "journal"
        return sorted(int(p.name) for p in journals.iterdir() if p.name.isdigit()) if journals.is_dir() else []

    # --- the lock ----------------------------------------------------------------------------------------------------

    def _claim(self) -> bool:
        if self._lock_fd is not None:
            return True
        fd = _lock(self._folder / "filer.lock")
        if fd is None:
            return False
        self._lock_fd = fd
        _active.add(self)
        return True


class _Slot:
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
        fd = _lock(self._home / "lock")
        if fd is None:
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
            os.close(fd)

    def close(self) -> None:
        """Let go of the segment that is mapped; idempotent."""
        if self._map is not None:
            self._map.close()
        self._map, self._number = None, None

    def _path(self, number: int) -> Path:
        return self._home / f"{number:08d}.seg"


def _lock(path: Path) -> int | None:
    """The open file of a lock that nobody else holds; None where somebody does."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


_active: Final[weakref.WeakSet[DetailFiler]] = weakref.WeakSet()


def _close_in_child() -> None:
    # The lock belongs to the open file, which a child shares: were it kept, nobody could take over from its parent.
    for filer in list(_active):
        if filer._lock_fd is not None:
            os.close(filer._lock_fd)
            filer._lock_fd = None
        filer._thread = None
        filer._ticking = threading.Lock()
    _active.clear()


os.register_at_fork(after_in_child=_close_in_child)
