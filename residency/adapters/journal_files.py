"""The `Journal` port on local disk: payloads in, records in preallocated, memory-mapped segment files out.

`<folder>/<slot>/lock` is held by flock for as long as the slot is open, `<folder>/<slot>/<number>.seg` are its segments
(`residency.audit.journal` has their bytes). A stored record is in the page cache, so `kill -9` loses nothing; `sync`
adds that a power cut loses nothing. Because every byte is allocated before it is needed, a full disk shows as
`JournalFull` from `ready`, before anything is done, and not as a signal in the middle of a store.

Linux: relies on flock, posix_fallocate, and fdatasync writing back pages that were dirtied through a shared map. Where
the latter two are missing (macOS) zeros are written and fsync is called, which serves for development.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Final, Self

from residency.audit.journal import (
    MARK_AT,
    RECORDS_AT,
    Segment,
    format_mark,
    format_record,
    format_segment,
    parse_segment,
    record_size,
)
from residency.audit.recovery import recover
from residency.errors import JournalCorrupt, JournalFailed, JournalFull

__all__ = ["JournalFiles"]

_MAX_SLOTS: Final = 4096
_RETRY_SECONDS: Final = 0.5


class _Mapped:
    """One open segment. `offset` is where the next record goes."""

    __slots__ = ("fd", "map", "marks", "name", "number", "offset")

    def __init__(self, path: Path, slot: int, number: int) -> None:
        self.name = f"{path.parent.name}/{path.name}"
        self.number = number
        self.offset = RECORDS_AT
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(self.fd).st_size
            header = os.pread(self.fd, RECORDS_AT, 0)
            if parse_segment(header, self.name) != Segment(slot, number, size):
                raise JournalCorrupt(f"{self.name}: slot, number or size ({size} bytes) differ from the header")
            self.map = mmap.mmap(self.fd, size)
        except BaseException:
            os.close(self.fd)
            raise
        # The mark is stored through a view of 64-bit words: one aligned store, which no kill can tear.
        self.marks = memoryview(self.map)[MARK_AT : MARK_AT + 8].cast("Q")

    @property
    def room(self) -> int:
        return len(self.map) - self.offset

    def mark(self, offset: int) -> None:
        self.marks[0] = int.from_bytes(format_mark(offset), "little")

    def end_at(self, offset: int, *, zero: bool) -> None:
        """Go on at `offset`; with `zero`, wipe what lies behind it. All that is left is durable then."""
        self.offset = offset
        if zero:
            length = len(self.map[offset:].rstrip(b"\0"))
            self.map[offset : offset + length] = bytes(length)
        # In this order: a mark says that all below it is on disk.
        getattr(os, "fdatasync", os.fsync)(self.fd)
        self.mark(offset)

    def close(self) -> None:
        self.marks.release()
        self.map.close()
        os.close(self.fd)


class JournalFiles:
    """One worker slot's journal; see `residency.enforcement.ports.Journal` for the contract.

    `segment_bytes` is what is allocated at a time; `headroom` (default a quarter of it) is the room that `ready` keeps
    for the outcomes of acts already admitted. Safe to use from several threads; useless after a fork, where the child
    builds its own. After the first failure every call raises until a new journal is opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 16 * 1024 * 1024,
        entry_limit: int = 65_535,
        headroom: int | None = None,
        stuck_after: float = 10.0,
    ) -> None:
        if segment_bytes % mmap.PAGESIZE or segment_bytes < RECORDS_AT + record_size(entry_limit):
            raise JournalFailed("a segment is a multiple of the page size, and holds at least one entry")
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._entry_limit = entry_limit
        self._headroom = max(segment_bytes // 4 if headroom is None else headroom, record_size(entry_limit))
        self._stuck_after = stuck_after
        self._failed: str | None = "the journal is not open"
        self._forked = False
        self._lock = threading.Lock()  # the end of the journal
        self._allocating = threading.Lock()  # taken before `_lock`, never after
        self._flush = threading.Condition()  # group commit
        self._flushing_since: float | None = None
        self._wake = threading.Event()
        self._closing = False

    # --- opening and recovery ------------------------------------------------------------------------------------

    def open(self) -> Self:
        """Claim the lowest free slot, recover it, and be ready to append.

        Raises: JournalCorrupt, JournalFull, JournalFailed.
        """
        try:
            self._slot, self._lock_fd, self._home = self._claim()
            try:
                self._recover()
            except BaseException:
                os.close(self._lock_fd)
                raise
        except OSError as error:
            raise _unavailable(error, "the journal cannot be opened") from error
        self._failed = None
        _open_journals.add(self)
        self._helper = threading.Thread(target=self._allocate_ahead, name="residency-journal", daemon=True)
        self._helper.start()
        return self

    def _claim(self) -> tuple[int, int, Path]:
        for slot in range(_MAX_SLOTS):
            home = self._folder / str(slot)
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            except BaseException:
                os.close(fd)
                raise
            return slot, fd, home
        raise JournalFailed(f"all {_MAX_SLOTS} journal slots are taken")

    def _recover(self) -> None:
        # A crash while a segment was being made leaves a .tmp that never became part of the journal.
        (self._home / "segment.tmp").unlink(missing_ok=True)
        numbers = sorted(int(path.stem) for path in self._home.glob("*.seg"))[-3:]
        segments: list[_Mapped] = []
        try:
            for number in numbers:
                segments.append(self._map(number))
            if not segments:
                segments.append(self._make(0))
            found = recover([(segment.name, segment.map) for segment in segments])
            for i, offset, dirty in found.ends:
                segments[i].end_at(offset, zero=dirty)
        except BaseException:
            for segment in segments:
                segment.close()
            raise
        keep = found.index
        self._current = segments[keep]
        self._next = self._durable = found.next_seq
        self._full: list[_Mapped] = []  # left behind, not yet known to be durable
        self._spare = segments[keep + 1] if keep + 1 < len(segments) else None
        for segment in (*segments[:keep], *segments[keep + 2 :]):
            segment.close()

    # --- the hot path --------------------------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        """The claimed slot's number."""
        return self._slot

    @property
    def next_seq(self) -> int:
        """The number that the next `append` will return."""
        return self._next

    def append(self, payload: bytes) -> int:
        """Record `payload` and return its number. Raises: JournalFull, JournalFailed."""
        self._must_work()
        if not 0 < len(payload) <= self._entry_limit:
            raise JournalFailed(f"an entry is 1 to {self._entry_limit} bytes")
        size = record_size(len(payload))
        while True:
            with self._lock:
                if size <= self._current.room or self._roll():
                    return self._store(payload)
            self._allocate()

    def _store(self, payload: bytes) -> int:
        segment, seq = self._current, self._next
        record = format_record(seq, payload)
        # A kill during this store leaves a record that fails its checksum: torn, never acknowledged, zeroed by
        # recovery. After it the record is in the page cache, which outlives the process.
        segment.map[segment.offset : segment.offset + len(record)] = record
        segment.offset += len(record)
        self._next = seq + 1
        return seq

    def _roll(self) -> bool:
        """Go on in the spare segment, `_lock` held; False where there is none yet. Makes no system call."""
        if self._spare is None:
            return False
        # A crash after this leaves an empty last segment, which recovery takes as the spare.
        self._full.append(self._current)
        self._current, self._spare = self._spare, None
        self._wake.set()
        return True

    def ready(self) -> None:
        """Raise JournalFull or JournalFailed now if an act's entries might not find room."""
        self._must_work()
        if self._spare is None and self._current.room < self._headroom:
            self._allocate()

    def _must_work(self) -> None:
        if self._failed is not None:
            raise JournalFailed(self._failed)
        since = self._flushing_since
        if since is not None and time.monotonic() - since > self._stuck_after:
            self._failed = "the journal's disk does not answer"
            raise JournalFailed(self._failed)

    # --- durability ----------------------------------------------------------------------------------------------

    def sync(self, seq: int) -> None:
        """Block until entry `seq` survives a power cut; callers at one time share one fdatasync.

        Raises: JournalFailed.
        """
        self._must_work()
        if not 0 <= seq < self._next:
            raise JournalFailed("an entry that was never recorded cannot be made durable")
        with self._flush:
            while self._flushing_since is not None and self._durable <= seq:
                # Someone is at it. They may have started before `seq` was stored: then it is our turn next.
                self._flush.wait(self._stuck_after)
                self._must_work()
            if self._durable > seq:
                return
            self._must_work()
            self._flushing_since = time.monotonic()
        self._flush_all()

    def _flush_all(self) -> None:
        """One fdatasync for all that is stored so far; the caller has set `_flushing_since`."""
        try:
            with self._lock:
                target = self._next
                work = [(segment, segment.offset) for segment in (*self._full, self._current)]
            for segment, _ in work:
                getattr(os, "fdatasync", os.fsync)(segment.fd)
        except OSError as error:
            # After a failed fdatasync the kernel may have dropped the pages: no later success can be believed.
            self._failed = f"the journal cannot be made durable ({errno.errorcode.get(error.errno or 0, 'EIO')})"
            raise JournalFailed(self._failed) from error
        else:
            for segment, offset in work:
                # A crash before the mark leaves an older one: recovery then trusts less than it could, never more.
                segment.mark(offset)
            with self._lock:
                done = [segment for segment, _ in work[:-1]]
                self._full = [segment for segment in self._full if segment not in done]
            for segment in done:
                segment.close()
            self._durable = target
        finally:
            with self._flush:
                self._flushing_since = None
                self._flush.notify_all()

    # --- segments ------------------------------------------------------------------------------------------------

    def _path(self, number: int) -> Path:
        return self._home / f"{number:08d}.seg"

    def _map(self, number: int) -> _Mapped:
        return _Mapped(self._path(number), self._slot, number)

    def _make(self, number: int) -> _Mapped:
        """Allocate segment `number` on disk and map it. Raises OSError, and then leaves nothing behind."""
        temporary = self._home / "segment.tmp"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # A crash anywhere before the rename leaves a .tmp, which the next open removes.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, self._segment_bytes)
            else:
                os.write(fd, bytes(self._segment_bytes))
            os.pwrite(fd, format_segment(Segment(self._slot, number, self._segment_bytes)), 0)
            os.fsync(fd)
            temporary.rename(self._path(number))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        _sync_folder(self._home)
        return self._map(number)

    def _allocate(self) -> None:
        """Have a spare segment. Raises: JournalFull, JournalFailed."""
        with self._allocating:
            if self._spare is not None:
                return
            self._must_work()
            try:
                # `_current` stays: it is only left for a spare, and there is none.
                spare = self._make(self._current.number + 1)
            except OSError as error:
                raise _unavailable(error, "no segment can be added to the journal") from error
            with self._lock:
                self._spare = spare

    def _allocate_ahead(self) -> None:
        """The helper thread: keep a spare segment ready, so that `append` need not make one."""
        while not self._closing:
            self._wake.clear()
            timeout = None
            try:
                self._allocate()
                if self._full:
                    self.sync(self._next - 1)  # so that full segments can be let go even where nobody synchronises
            except (JournalFull, JournalFailed):
                timeout = _RETRY_SECONDS  # not silent: `ready` and `append` raise the same
            if not self._closing:
                self._wake.wait(timeout)

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Make all durable and release the slot; idempotent. Raises: JournalFailed where that last sync fails."""
        if self._closing or self._forked or not hasattr(self, "_helper"):
            return
        self._closing = True
        self._wake.set()
        self._helper.join()
        try:
            if self._failed is None and self._next:
                self.sync(self._next - 1)
        finally:
            self._failed = self._failed or "the journal is closed"
            with self._flush:
                idle = self._flush.wait_for(lambda: self._flushing_since is None, self._stuck_after)
            if idle:  # else a thread still sits in fdatasync on these files; the slot stays taken until it returns
                with self._lock:
                    for segment in (*self._full, self._current, self._spare):
                        if segment is not None:
                            segment.close()
                os.close(self._lock_fd)
            _open_journals.discard(self)

    def _after_fork(self) -> None:
        # The lock belongs to the open file, which a child shares: were it kept, the slot would outlive its worker.
        self._forked, self._failed = True, "the journal belongs to the process before the fork; open one in the child"
        os.close(self._lock_fd)


_open_journals: Final[weakref.WeakSet[JournalFiles]] = weakref.WeakSet()


def _close_in_child() -> None:
    for journal in list(_open_journals):
        journal._after_fork()
    _open_journals.clear()


os.register_at_fork(after_in_child=_close_in_child)


def _unavailable(error: OSError, what: str) -> JournalFull | JournalFailed:
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    kind = JournalFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else JournalFailed
    return kind(f"{what} ({name})")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
