"""The `Journal` port on local disk: payloads in, records in preallocated, memory-mapped segment files out.

`<folder>/<slot>/lock` is held by flock for as long as the slot is open, `<folder>/<slot>/<number>.seg` are its segments
(`residency.audit.journal` has their bytes). A stored record is in the page cache, so `kill -9` loses nothing; `sync`
adds that a power cut loses nothing, and a thread of the journal's own does so for what nobody waits for. Because every
byte is allocated before it is needed, a full disk shows as `JournalFull` from `ready`, before anything is done, and not
as a signal in the middle of a store.

Linux: relies on flock, posix_fallocate, and fdatasync writing back pages that were dirtied through a shared map. Where
the latter two are missing (macOS) zeros are written and fsync is called, which serves for development.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from residency.adapters.journal_files.segments import Mapped, make_home, make_segment
from residency.audit.faults import fault, naming
from residency.audit.journal import RECORD_HEADER, RECORDS_AT, record_size, store_record
from residency.audit.recovery import recover
from residency.errors import JournalFailed, JournalFull, JournalLate
from residency.flock import Lock

__all__ = ["JournalFiles"]

_MAX_SLOTS: Final = 4096
_RETRY_SECONDS: Final = 0.5
_WATCH_SECONDS: Final = 1.0
_SLOW: Final = "the disk is too slow: what was recorded is not durable within the time that `max_loss` gives"


class JournalFiles:
    """One worker slot's journal; see `residency.enforcement.ports.Journal` for the contract.

    `segment_bytes` is what is allocated at a time; `headroom` (default a quarter of it) is the room that `ready` keeps
    for the outcomes of acts already admitted. What is recorded is durable `max_loss` (seconds) later, or `ready`
    says so until it is. Safe to use from several threads; useless after a fork, where the child builds its own. After
    the first failure every call raises until a new journal is opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 16 * 1024 * 1024,
        entry_limit: int = 65_535,
        headroom: int | None = None,
        max_loss: float = 1.0,
        stuck_after: float = 10.0,
    ) -> None:
        if segment_bytes % mmap.PAGESIZE or segment_bytes < RECORDS_AT + record_size(entry_limit):
            raise JournalFailed("a segment is a multiple of the page size, and holds at least one entry")
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._entry_limit = entry_limit
        self._headroom = max(segment_bytes // 4 if headroom is None else headroom, record_size(entry_limit))
        self._max_loss = max_loss
        self._stuck_after = stuck_after
        self._failed: str | None = "the journal is not open"
        self._forked = False
        self._lock = threading.Lock()  # the end of the journal
        self._allocating = threading.Lock()  # taken before `_lock`, never after
        self._flush = threading.Condition()  # group commit
        self._flushing_since: float | None = None
        self._tending = False  # whether the helper is at the disk
        self._clear_at = 0.0  # all that was recorded before then is durable, where something is not
        self._wake = threading.Event()
        self._closing = False
        self._watch: Callable[[], str | None] | None = None
        self._barred: str | None = None

    # --- opening and recovery ------------------------------------------------------------------------------------

    def open(self) -> Self:
        """Claim the lowest free slot, recover it, and be ready to append.

        Raises: JournalCorrupt, JournalFull, JournalFailed.
        """
        try:
            self._slot, self._held, self._home = self._claim()
            try:
                with naming(self._home):
                    self._recover()
            except BaseException:
                self._held.release()
                raise
        except OSError as error:
            raise _unavailable(error, "the journal cannot be opened") from error
        self._failed = None
        _open_journals.add(self)
        helper = threading.Thread(target=self._tend, name="residency-journal", daemon=True)
        try:
            helper.start()
        except RuntimeError as error:  # no memory, or too many threads
            self._failed = "the journal is not open"
            self._let_go()
            raise JournalFailed("the journal cannot be opened: its helper cannot be started") from error
        self._helper = helper
        return self

    def _claim(self) -> tuple[int, Lock, Path]:
        for slot in range(_MAX_SLOTS):
            home = self._folder / str(slot)
            make_home(home)
            held = Lock(home / "lock")
            if held.take():
                return slot, held, home
        raise JournalFailed(f"all {_MAX_SLOTS} journal slots are taken")

    def _recover(self) -> None:
        # A crash while a segment was being made leaves a .tmp that never became part of the journal.
        (self._home / "segment.tmp").unlink(missing_ok=True)
        numbers = sorted(int(path.stem) for path in self._home.glob("*.seg"))[-3:]
        segments: list[Mapped] = []
        try:
            for number in numbers:
                segments.append(Mapped(self._home, self._slot, number))
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
        self.next_seq = self._durable = found.next_seq
        """The number that the next `append` will return. Told here alone: every request asks; a property is slow."""
        self._full: list[Mapped] = []  # left behind, not yet known to be durable
        self._spare = segments[keep + 1] if keep + 1 < len(segments) else None
        for segment in (*segments[:keep], *segments[keep + 2 :]):
            segment.close()

    # --- the hot path --------------------------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        """The claimed slot's number."""
        return self._slot

    def append(self, payload: bytes) -> int:
        """Record `payload` and return its number. Raises: JournalFull, JournalFailed."""
        if self._failed is not None or self._flushing_since is not None:
            self._must_work()
        if not 0 < len(payload) <= self._entry_limit:
            raise JournalFailed(f"an entry is 1 to {self._entry_limit} bytes")
        size = RECORD_HEADER + len(payload)  # segments are multiples of 8 bytes: the padding fits where this does
        while True:
            self._lock.acquire()  # not `with`, which takes twice as long
            try:
                segment = self._current
                if segment.offset + size <= segment.size or self._roll():
                    segment, seq = self._current, self.next_seq
                    # A kill during this store leaves a record that fails its checksum: torn, never acknowledged,
                    # zeroed by recovery. After it the record is in the page cache, which outlives the process.
                    segment.offset = store_record(segment.map, segment.offset, seq, payload)
                    if seq == self._durable:
                        self._clear_at = time.monotonic()
                    self.next_seq = seq + 1
                    return seq
            finally:
                self._lock.release()
            self._allocate()

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
        """Raise JournalFull or JournalFailed now if an act's entries might not find room, JournalLate if they might be
        lost later than is promised."""
        if self._failed is not None or self._flushing_since is not None:
            self._must_work()
        if self._barred is not None:
            raise JournalFailed(self._barred)
        if self._spare is None and self._current.size - self._current.offset < self._headroom:
            self._allocate()
        if (self._tending or self._flushing_since is not None) and self._is_late():
            raise JournalLate(_SLOW)

    def watched(self, watch: Callable[[], str | None]) -> None:
        """Ask `watch`, off the request's thread and at least every second, why nothing may be admitted; None = nothing
        stands against it."""
        self._watch = watch
        self._wake.set()

    def _is_late(self) -> bool:
        """Whether a power cut now might take an entry that was recorded longer than `max_loss` ago."""
        return self._durable < self.next_seq and time.monotonic() - self._clear_at > self._max_loss

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
        if self._failed is not None or self._flushing_since is not None:
            self._must_work()
        if not 0 <= seq < self.next_seq:
            raise JournalFailed("an entry that was never recorded cannot be made durable")
        if self._durable > seq:
            return
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
                begun = time.monotonic()
                target = self.next_seq
                work = [(segment, segment.offset) for segment in (*self._full, self._current)]
            for segment, _ in work:
                segment.sync()
        except OSError as error:
            # After a failed fdatasync the kernel may have dropped the pages: no later success can be believed.
            self._failed = f"the journal cannot be made durable: {fault(error)}"
            raise JournalFailed(self._failed) from error
        else:
            for segment, offset in work:
                segment.mark(offset)
            with self._lock:
                done = [segment for segment, _ in work[:-1]]
                self._full = [segment for segment in self._full if segment not in done]
            for segment in done:
                segment.close()
            # In this order: a time that is too early refuses too soon, one that is too late not at all.
            self._clear_at = begun
            self._durable = target
        finally:
            with self._flush:
                self._flushing_since = None
                self._flush.notify_all()

    # --- segments ------------------------------------------------------------------------------------------------

    def _make(self, number: int) -> Mapped:
        return make_segment(self._home, self._slot, number, self._segment_bytes)

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

    def _tend(self) -> None:
        """The helper thread: keep a spare segment ready, so that `append` need not make one, and what is recorded
        durable, whether or not anybody waits for it or a sequencer works."""
        while not self._closing:
            self._wake.clear()
            self._tending = True
            try:
                full = self._tend_once()
                self._barred = None if self._watch is None else self._watch()
            except Exception as error:  # noqa: BLE001 - a thread that ended would look like one that works
                self._failed = self._failed or f"the journal's helper failed with {type(error).__name__}"
                return
            self._tending = False
            if not self._closing:
                # Half the time: an entry recorded just after one flush began is durable before the other half is over.
                rest = self._max_loss / 2 if self._watch is None else min(self._max_loss / 2, _WATCH_SECONDS)
                self._wake.wait(min(rest, _RETRY_SECONDS) if full else rest)

    def _tend_once(self) -> bool:
        """Flush and allocate; whether there was no room for a segment."""
        # Neither is silent: `ready` and `append` raise the same.
        if self._durable < self.next_seq:
            with suppress(JournalFailed):
                self.sync(self.next_seq - 1)  # full segments are let go by it, too
        try:
            self._allocate()
        except JournalFailed:
            return False
        except JournalFull:
            return True
        return False

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Make all durable and release the slot; idempotent. Raises: JournalFailed where that last sync fails."""
        if self._closing or self._forked or not hasattr(self, "_helper"):
            return
        self._closing = True
        self._wake.set()
        self._helper.join(self._stuck_after)
        try:
            if self._failed is None and self.next_seq:
                self.sync(self.next_seq - 1)
        finally:
            self._failed = self._failed or "the journal is closed"
            with self._flush:
                idle = self._flush.wait_for(lambda: self._flushing_since is None, self._stuck_after)
            # Else a thread still sits in a system call on these files, and the slot stays taken until the process ends.
            if idle and not self._helper.is_alive():
                self._let_go()
            _open_journals.discard(self)

    def _let_go(self) -> None:
        _open_journals.discard(self)
        with self._lock:
            for segment in (*self._full, self._current, self._spare):
                if segment is not None:
                    segment.close()
        self._held.release()

    def _after_fork(self) -> None:
        self._forked, self._failed = True, "the journal belongs to the process before the fork; open one in the child"


_open_journals: Final[weakref.WeakSet[JournalFiles]] = weakref.WeakSet()


def _close_in_child() -> None:
    for journal in list(_open_journals):
        journal._after_fork()
    _open_journals.clear()


os.register_at_fork(after_in_child=_close_in_child)


def _unavailable(error: OSError, what: str) -> JournalFull | JournalFailed:
    kind = JournalFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else JournalFailed
    return kind(f"{what}: {fault(error)}")
