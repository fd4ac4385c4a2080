"""Moves a country's details from the journals into its store, and lets segments and what is due go.

Every worker runs one for each country; a flock decides whose works, and the others stand by and take over within a
second of its death. The order of a round is the safety argument; a kill anywhere is mended by the next round:

    1. journals made durable   so that a power cut takes nothing back that the store says is filed
    2. rows and cursors        in one transaction: a kill before it files the same records again, which are there once
    3. segments                that are filed whole are removed; a kill before it leaves them to the next round
    4. what is due             erased from the store, by the count of time that stands in it (`audit.detail_time`); a
                               kill before it erases it in the next round
    5. turning over            where the journal may hold bytes of what was erased, its segment is filled up and left: a
                               worker does so to its own journal, the one that files to those of the dead
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from residency.adapters.detail_filer.slot import Slot
from residency.audit.detail_head import Head, parse_record
from residency.audit.detail_time import APART, Moment
from residency.audit.follow import follow, must_lead_to
from residency.audit.sequencer import Cursor
from residency.errors import IntegrityError, JournalCorrupt, ResidencyError
from residency.flock import Lock

__all__ = ["DetailFiler"]

_log = logging.getLogger("residency")
_BATCH: Final = 4096
_EXPIRE_EVERY: Final = 60_000_000
_DAY: Final = 86_400_000_000
_STANDBY_SECONDS: Final = 0.5


class _Progress(Protocol):
    @property
    def cursors(self) -> Mapping[int, Cursor]: ...
    @property
    def gone(self) -> Mapping[int, int]: ...
    @property
    def time(self) -> int | None: ...


class _Store(Protocol):
    """Where rows go; `residency.adapters.detail_store.DetailStore` has the contract."""

    def file(
        self,
        rows: Iterable[tuple[Head, bytes]],
        now: Moment,
        journal: tuple[int, Cursor] | None = ...,
        *,
        since: int | None = ...,
    ) -> int: ...
    def expire(self, now: Moment) -> int: ...
    def progress(self) -> _Progress: ...


class DetailFiler:
    """Files the journals below `<folder>/journal` into `store`.

    `now` answers what the clocks say. `slot` is this worker's own journal, which `turn_over` fills up to the end
    of its segment; None where this process writes no details. `interval` is in seconds.
    """

    def __init__(
        self,
        folder: Path,
        store: _Store,
        now: Callable[[], Moment],
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
        self._lock = Lock(folder / "filer.lock")
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ticking = threading.Lock()
        self._expired_at: int | None = None
        self._turned = -1
        self._checked: set[int] = set()
        self.problem: str | None = None
        """Why the last round failed; None while all is well."""
        self.apart = 0
        """How far (microseconds) the clock stands ahead of the count of time that details go by; below 0 = behind. 0
        where another one files."""

    @property
    def active(self) -> bool:
        """Whether this filer is the one that works (another may)."""
        return self._lock.held

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
        self._expired_at = None
        self.apart = 0
        self._lock.release()

    def tick(self) -> int | None:
        """One round: how many details were new in the store; None where another one files.

        Raises: JournalCorrupt, JournalFull, JournalFailed, EntryError, OSError. The next round starts from the disk.
        """
        with self._ticking:
            before = self._store.progress()
            self._turn_own(before.gone)
            if not self._lock.take():
                return None
            _active.add(self)
            # All that was recorded before the count was last written, a round before this filed, or stands in its way.
            filed = self._file(before.cursors, before.time)
            now = self._now()
            if self._expired_at is None or not 0 <= now.monotonic - self._expired_at < _EXPIRE_EVERY:
                self._store.expire(now)
                self._expired_at = now.monotonic
                before = self._store.progress()
                self._tell_apart(0 if before.time is None else now.wall - before.time)
            self._turn_dead(before.gone)
            return filed

    def behind(self) -> bool:
        """Whether anything is recorded that is not filed, by whomever. Raises: as `tick`."""
        known = self._store.progress().cursors
        for number in self._slots():
            slot, cursor = Slot(self._folder / "journal" / str(number), number), known.get(number, Cursor())
            try:
                if follow(slot, cursor, 1)[0]:
                    return True
            finally:
                slot.close()
        return False

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

    def _tell_apart(self, apart: int) -> None:
        if abs(apart) > APART >= abs(self.apart):
            _log.error(
                "details of %s: the clock stands %d days %s the time counted since they were kept; none goes by "
                "it until somebody says what day it is: residency audit detail clock",
                self._folder.name,
                abs(apart) // _DAY,
                "ahead of" if apart > 0 else "behind",
            )
        self.apart = apart

    def _file(self, known: Mapping[int, Cursor], since: int | None) -> int:
        new = 0
        failed: IntegrityError | None = None
        for number in self._slots():
            try:
                new += self._file_slot(number, known.get(number, Cursor()), since)
            except IntegrityError as error:  # its journal stands, and the others go on
                failed = failed or error
        if failed is not None:
            raise failed
        return new

    def _file_slot(self, number: int, cursor: Cursor, since: int | None) -> int:
        new = 0
        slot = Slot(self._folder / "journal" / str(number), number)
        try:
            if number not in self._checked:
                must_lead_to(slot, cursor)
                self._checked.add(number)
            while True:
                payloads, after = follow(slot, cursor, _BATCH)
                if after == cursor:
                    break
                slot.make_durable(cursor.segment, after.segment)
                parsed = [_row(payload, slot, cursor, place) for place, payload in enumerate(payloads)]
                rows = [row for row in parsed if row is not None]
                new += self._store.file(rows, self._now(), (number, after), since=since)
                cursor = after
                slot.drop_before(cursor.segment)
            slot.drop_before(cursor.segment)
        finally:
            slot.close()
        return new

    def _turn_own(self, gone: Mapping[int, int]) -> None:
        if self._own is None or self._turn_over is None or gone.get(self._own, -1) <= self._turned:
            return
        self._turn_over()
        # Once: until what was filled up is filed, by whomever, the segment still stands there.
        self._turned = gone[self._own]

    def _turn_dead(self, gone: Collection[int]) -> None:
        dead = [number for number in gone if number != self._own]
        if not dead:
            return
        now = self._store.progress()
        turned = False
        for number in dead:
            home = Slot(self._folder / "journal" / str(number), number)
            turned = home.turn(now.cursors.get(number, Cursor())) or turned
        if turned:
            self._file(now.cursors, now.time)

    def _slots(self) -> list[int]:
        journals = self._folder / "journal"
        return sorted(int(p.name) for p in journals.iterdir() if p.name.isdigit()) if journals.is_dir() else []


def _row(payload: bytes, slot: Slot, cursor: Cursor, place: int) -> tuple[Head, bytes] | None:
    try:
        return parse_record(payload)
    except IntegrityError as error:
        name = slot.name(cursor.segment)
        raise JournalCorrupt(f"{name} or a later one: record {cursor.seq + place}: {error}") from None


_active: Final[weakref.WeakSet[DetailFiler]] = weakref.WeakSet()


def _close_in_child() -> None:
    for filer in list(_active):
        filer._thread = None
        filer._ticking = threading.Lock()
    _active.clear()


os.register_at_fork(after_in_child=_close_in_child)
