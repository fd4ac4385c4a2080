"""One sequencer per instance: all slots' journals in, one signed transparency log out.

Every worker runs one of these; a flock decides whose works, and the others stand by and take over within a second of
its death. A slot whose journal cannot be read stands, and is told at every tick; the others go on. What to write, in
which order, and why a crash between two writes is harmless, `residency.audit.sequencer` says; this reads the journals,
makes what it read durable, and carries the steps out.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.adapters.sequencer.opened import Opened
from residency.adapters.sequencer.slots import SlotReader, slot_numbers, yield_turn
from residency.audit.checkpoint import VerifierKey, format_verifier_key, note_signer, verify_checkpoint
from residency.audit.cosignature import SECOND_VKEY_PATH, find_cosignature, log_signer
from residency.audit.faults import fault, naming
from residency.audit.merkle import EMPTY_ROOT
from residency.audit.note import together
from residency.audit.open_intents import OpenIntents
from residency.audit.sequencer import (
    CHECKPOINT_PATH,
    STATE_PATH,
    VKEY_PATH,
    Cursor,
    State,
    Step,
    StepKind,
    Tree,
    load_tree,
    parse_state,
    plan_commit,
    plan_publication,
)
from residency.errors import JournalCorrupt, ResidencyError, VerificationError

__all__ = ["Sequencer", "Store"]

_log = logging.getLogger("residency")
_STANDBY_SECONDS: Final = 0.5
_PARTING_SECONDS: Final = 5.0  # that `stop` waits for another sequencer
_PARTING_LOOK: Final = 0.02
_AGAIN_SECONDS: Final = 5.0  # looking at a broken journal again means reading all of it
_BATCH: Final = 8192  # entries per commit: bounds memory, and the work a crash repeats


class Store(Protocol):
    """Durable, atomic files by path; `residency.adapters.log_files.LogFiles` has the contract."""

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None."""

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Replace each (path, data) whole and durably."""

    def swap(self, path: str, data: bytes) -> None:
        """Replace `path` whole; a power cut may bring the old one back."""

    def prune(self, path: str) -> None:
        """Remove the folder `path`."""


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
        self._log = log
        self._state_store = state
        self._origin = origin
        self._signer, self._verifier = note_signer(origin, key)
        self._second: VerifierKey | None = None
        if second_key is not None:
            second, self._second = log_signer(origin, second_key)
            self._signer = together((self._signer, second))
        self._interval = interval
        self._keep_segments = keep_segments
        self._lock_fd: int | None = None
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
        return self._lock_fd is not None

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
        stored = self._state_store.read(STATE_PATH)
        return {} if stored is None else {slot: c.seq for slot, c in parse_state(stored).cursors.items()}

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
            if not self._claim():
                return 0
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

    # --- the lock ------------------------------------------------------------------------------------------------

    def _claim(self) -> bool:
        if self._lock_fd is not None:
            return True
        self._journals.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._journals / "sequencer.lock"
        # A crash from here on leaves an empty file; its lock ends with the process.
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with naming(path):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._lock_fd = fd
        _active.add(self)
        return True

    def _release(self) -> None:
        self._forget()
        self._opened.forget()
        self.stopped = {}
        _active.discard(self)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _forget(self) -> None:
        self._tree = None
        for slot in self._slots.values():
            slot.close()
        self._slots.clear()

    # --- one tick ------------------------------------------------------------------------------------------------

    def _tick(self) -> int:
        tree = self._load() if self._tree is None else self._tree
        self._tree = tree
        done, more = 0, True
        between: Callable[[], None] | None = yield_turn
        while more:
            entries, cursors, more = self._gather(between)
            if entries:
                tree, steps = plan_commit(tree, entries, cursors, self._signer, self._origin, between=between)
                self._carry_out(steps)
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

    def _carry_out(self, steps: Iterable[Step]) -> None:
        """Do the steps, those of one kind together, each kind durable before the next begins."""
        for kind, group in groupby(steps, lambda step: step.kind):
            files = [(step.path, step.data) for step in group]
            if kind is StepKind.TILE:
                self._log.write_all(files)
            elif kind is StepKind.STATE:
                self._state_store.write_all(files)
            else:
                for path, data in files:
                    if kind is StepKind.CHECKPOINT:
                        # Where a power cut brings the older one back, it lags behind the state, and the next start
                        # publishes this one again.
                        self._log.swap(path, data)
                    else:
                        self._log.prune(path)

    def _load(self) -> Tree:
        """Read back where we are, mend a checkpoint that lags behind the state. Raises: VerificationError."""
        self._publish_key()
        stored = self._state_store.read(STATE_PATH)
        note = self._log.read(CHECKPOINT_PATH)
        try:
            published = None if note is None else verify_checkpoint(note, self._verifier)
        except VerificationError as error:
            raise VerificationError(f"{CHECKPOINT_PATH}: {error}") from None
        if stored is None:
            if published is not None and published.size:
                raise VerificationError(f"{STATE_PATH} is missing, though the log holds {published.size} entries")
            state = State(self._origin, 0, EMPTY_ROOT, {})
        else:
            state = parse_state(stored)
        tree = load_tree(state.size, self._log.read)
        if state.origin != self._origin:
            raise VerificationError(f"{STATE_PATH} is the state of another log, {state.origin}")
        if tree.root() != state.root:
            raise VerificationError(f"{STATE_PATH} and the log's last tiles differ on the root of {state.size} entries")
        if published is not None and published.size > state.size:
            # Going on from here would sign a second history of the same log.
            raise VerificationError(f"{STATE_PATH} knows {state.size} entries, the checkpoint {published.size}")
        if published is not None and published.size == state.size and published.root != state.root:
            raise VerificationError(f"{STATE_PATH} and the checkpoint differ on the root of {state.size} entries")
        if note is None or published is None or published.size < state.size or self._lacks_second(note):
            self._carry_out(plan_publication(state, self._signer))
        self._cursors = dict(state.cursors)
        return tree

    def _publish_key(self) -> None:
        for path, key in ((VKEY_PATH, self._verifier), (SECOND_VKEY_PATH, self._second)):
            if key is None:
                continue
            text = (format_verifier_key(key) + "\n").encode()
            present = self._log.read(path)
            if present is None:
                # A crash before the first checkpoint leaves a key without a log, and the next start goes on from there.
                self._log.write_all([(path, text)])
            elif present != text:
                raise VerificationError(f"{path} is not the key of this sequencer: the log belongs to another")

    def _lacks_second(self, note: bytes) -> bool:
        return self._second is not None and find_cosignature(note, self._second) is None


_active: Final[weakref.WeakSet[Sequencer]] = weakref.WeakSet()


def _close_in_child() -> None:
    # The lock belongs to the open file, which a child shares: were it kept, nobody could take over from its parent.
    for sequencer in list(_active):
        if sequencer._lock_fd is not None:
            os.close(sequencer._lock_fd)
            sequencer._lock_fd = None
        sequencer._thread, sequencer._tree, sequencer._slots = None, None, {}
        sequencer._ticking = threading.Lock()
        sequencer._opened.forget()
    _active.clear()


os.register_at_fork(after_in_child=_close_in_child)
