"""One sequencer per instance: all slots' journals in, one signed transparency log out.

Every worker runs one of these; a flock decides whose works, and the others stand by and take over within a second of
its death. A slot whose journal cannot be read stands, and is told at every tick; the others go on. What to write, in
which order, and why a crash between two writes is harmless, `residency.audit.sequencer` says; this reads the journals,
makes what it read durable, and carries the steps out.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.adapters.sequencer.on_disk import OnDisk, Store
from residency.adapters.sequencer.opened import Opened
from residency.adapters.sequencer.slots import SlotReader, slot_numbers, yield_turn
from residency.audit.faults import fault
from residency.audit.open_intents import OpenIntents
from residency.audit.sequencer import Cursor, Tree, plan_commit
from residency.errors import JournalCorrupt, ResidencyError
from residency.flock import Lock

__all__ = ["Sequencer"]

_log = logging.getLogger("residency")
_STANDBY_SECONDS: Final = 0.5
_PARTING_SECONDS: Final = 5.0  # that `stop` waits for another sequencer
_PARTING_LOOK: Final = 0.02
_AGAIN_SECONDS: Final = 5.0  # looking at a broken journal again means reading all of it
_BATCH: Final = 8192  # entries per commit: bounds memory, and the work a crash repeats


class Sequencer:
    """Integrates the journals below `journals` into the log in `log`, remembering in `state` how far it got.

    `state` lies beside the log, not in it. The origin is the log's name and the signer's name. `interval` (seconds)
    bounds how long a recorded entry waits to be published. With `second_key` every checkpoint is signed by it too.
    """

    def __init__(
        self,
        journals: Path,
        log: Store,
        state: Store,
        *,
        key: Ed25519PrivateKey,
        origin: str,
        second_key: MLDSA44PrivateKey | None = None,
        interval: float = 0.2,
        keep_segments: int = 1,
    ) -> None:
        self._journals = journals
        self._disk = OnDisk(log, state, origin, key, second_key)
        self._origin = origin
        self._interval = interval
        self._keep_segments = keep_segments
        self._lock = Lock(journals / "sequencer.lock")
        self._tree: Tree | None = None  # None: to be loaded from disk
        self._cursors: dict[int, Cursor] = {}
        self._slots: dict[int, SlotReader] = {}
        self._opened = Opened(log.read, state, origin)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ticking = threading.Lock()
        self.stopped: dict[int, str] = {}
        """Slots whose journals cannot be read on, and why; nothing of them is passed over, and the others go on."""
        self._again: dict[int, float] = {}  # when each of these is looked at again
        self.problem: str | None = None
        """Why the last tick failed, or what stands; None while all is well."""

    @property
    def active(self) -> bool:
        """Whether this sequencer is the one that works (another may)."""
        return self._lock.held

    @property
    def published(self) -> int | None:
        """Entries under the newest checkpoint; None where this sequencer stands by or has not begun."""
        tree = self._tree
        return tree.size if tree is not None and self.active else None

    @property
    def open_intents(self) -> OpenIntents | None:
        """The acts of the whole log without an outcome; None where this sequencer stands by or does not know yet."""
        return self._opened.whole if self.active else None

    @property
    def cursors(self) -> dict[int, int]:
        """Per slot, how many of its entries this sequencer knows to be in the tree; empty where it stands by."""
        return {slot: cursor.seq for slot, cursor in dict(self._cursors).items()} if self.active else {}

    def stored_cursors(self) -> dict[int, int]:
        """Per slot, how many of its entries are in the tree, whoever put them there; read from disk.

        Raises: VerificationError, OSError.
        """
        return {slot: cursor.seq for slot, cursor in self._disk.cursors().items()}

    def start(self) -> None:
        """Run in a thread until `stop`. A thread does not survive a fork: start it in the worker."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="residency-sequencer", daemon=True)
        self._thread.start()

    def stop(self, recorded: tuple[int, int] | None = None) -> None:
        """Integrate what is there, publish, and let go of the lock; idempotent. Errors stay in `problem`.

        Where another one works, it may be at its end, too, and have looked at this process's journal already. So what
        is `recorded`, the number of a slot and how many entries it holds, is waited for, some seconds at most: until
        the other has published it, or has let go and it is this one's turn.
        """
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._again.clear()
        if self.active or thread is not None:
            self._try_tick()
            end = time.monotonic() + _PARTING_SECONDS
            while not self.active and not self._holds(recorded) and time.monotonic() < end:
                time.sleep(_PARTING_LOOK)
                self._try_tick()
        if self.active:
            self._opened.let_go()
        self._release()

    def _holds(self, recorded: tuple[int, int] | None) -> bool:
        """Whether the log of whoever works holds these entries of a slot."""
        try:
            return recorded is None or self.stored_cursors().get(recorded[0], 0) >= recorded[1]
        except (ResidencyError, OSError):
            return False

    def tick(self) -> int:
        """Integrate and publish all that is recorded now; how many entries that was. 0 where another one works.

        Raises: JournalCorrupt that names the slots that stand, once what the others recorded is published;
        VerificationError, OSError, and then the next tick starts again from what is on disk.
        """
        with self._ticking:
            if not self._lock.take():
                return 0
            _active.add(self)
            try:
                done = self._tick()
            except BaseException:
                # Which step failed is not known here: only the disk says what holds.
                self._forget()
                raise
            if self.stopped:
                raise JournalCorrupt("; ".join(why for _, why in sorted(self.stopped.items())))
            return done

    def _run(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._try_tick()
            working = self.active and self._tree is not None
            # From beginning to beginning: a tick that takes long must not put off the next one.
            rest = self._interval - (time.monotonic() - begun) if working else _STANDBY_SECONDS
            self._stopping.wait(max(rest, 0))

    def _try_tick(self) -> None:
        problem: str | None = None
        try:
            self.tick()
        except ResidencyError as error:
            problem = str(error)
        except OSError as error:
            problem = f"the log cannot be written: {fault(error)}"
        except Exception as error:  # noqa: BLE001 - a thread that ended would look like one that works
            problem = f"the sequencer failed with {type(error).__name__}"
        if problem is not None and problem != self.problem:  # not at every tick
            _log.error("what is recorded cannot be published now: %s", problem)
        if problem is None and self.problem is not None and self.active:
            _log.warning("what is recorded is published again")  # where nobody sees INFO, the error would stand alone
        self.problem = problem

    def _release(self) -> None:
        self._forget()
        self._opened.forget()
        self.stopped = {}
        _active.discard(self)
        self._lock.release()

    def _forget(self) -> None:
        self._tree = None
        for slot in self._slots.values():
            slot.close()
        self._slots.clear()

    # --- one tick ------------------------------------------------------------------------------------------------

    def _tick(self) -> int:
        tree = self._tree
        if tree is None:
            tree, self._cursors = self._disk.load()
            self._tree = tree
        done, more = 0, True
        between: Callable[[], None] | None = yield_turn
        while more:
            entries, cursors, more = self._gather(between)
            if entries:
                tree, steps = plan_commit(tree, entries, cursors, self._disk.signer, self._origin, between=between)
                self._disk.carry_out(steps)
                self._opened.committed(tree.size - len(entries), entries)
                self._tree, self._cursors = tree, cursors
                done += len(entries)
                between = None  # who falls behind takes the turns that there are
            # Every entry in these segments is under a published checkpoint now.
            for number, slot in self._slots.items():
                slot.drop_before(cursors[number].segment - self._keep_segments)
        self._opened.catch_up(tree.size)
        return done

    def _gather(self, between: Callable[[], None] | None) -> tuple[list[bytes], dict[int, Cursor], bool]:
        """What all slots recorded, made durable; where to read on; whether there may be more of it."""
        entries: list[bytes] = []
        cursors, more = dict(self._cursors), False
        numbers = slot_numbers(self._journals)
        stopped = {
            number: f"the journal of slot {number} is gone, whose entries the log has begun to hold"
            for number in cursors.keys() - numbers
        }
        each = max(_BATCH // max(len(numbers), 1), 1)  # so that no slot waits for a busier one
        for number in numbers:
            if number in self.stopped and time.monotonic() < self._again.get(number, 0):
                stopped[number] = self.stopped[number]
                continue
            slot = self._slots.setdefault(number, SlotReader(self._journals / str(number), number))
            try:
                payloads, cursor, goes_on = slot.read(cursors.get(number, Cursor()), each, between)
                # What enters the tree must not be lost by a power cut while the tree survives it.
                slot.make_durable()
            except (JournalCorrupt, OSError) as error:
                # Nothing of this slot is passed over: its cursor stays, and it is looked at again.
                why = str(error)
                if isinstance(error, OSError):
                    why = fault(error)
                else:
                    self._again[number] = time.monotonic() + _AGAIN_SECONDS
                stopped[number] = f"the journal of slot {number} stands: {why}"
                self._slots.pop(number).close()
                continue
            cursors[number] = cursor
            entries.extend(payloads)
            more = more or goes_on
        self.stopped = stopped
        return entries, cursors, more


_active: Final[weakref.WeakSet[Sequencer]] = weakref.WeakSet()


def _close_in_child() -> None:
    for sequencer in list(_active):
        sequencer._thread, sequencer._tree, sequencer._slots = None, None, {}
        sequencer._ticking = threading.Lock()
        sequencer._opened.forget()
    _active.clear()


os.register_at_fork(after_in_child=_close_in_child)
