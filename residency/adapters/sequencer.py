"""One sequencer per instance: all slots' journals in, one signed transparency log out.

Every worker runs one of these; a flock decides whose works, and the others stand by and take over within a second of
its death. What to write, in which order, and why a crash between two writes is harmless, `residency.audit.sequencer`
says; this reads the journals, makes what it read durable, and carries the steps out.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.audit.checkpoint import VerifierKey, format_verifier_key, note_signer, verify_checkpoint
from residency.audit.cosignature import SECOND_VKEY_PATH, find_cosignature, log_signer
from residency.audit.follow import follow, must_lead_to
from residency.audit.journal import RECORDS_AT, Record, Segment, parse_segment
from residency.audit.merkle import EMPTY_ROOT
from residency.audit.note import together
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
_BATCH: Final = 8192  # entries per commit: bounds memory, and the work a crash repeats


class Store(Protocol):
    """Durable, atomic files by path; `residency.adapters.log_files.LogFiles` has the contract."""

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None."""

    def write(self, path: str, data: bytes) -> None:
        """Replace `path` whole and durably."""

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
        self._slots: dict[int, _Slot] = {}
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._ticking = threading.Lock()
        self.problem: str | None = None
        """Why the last tick failed; None while all is well."""

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

    def stop(self) -> None:
        """Integrate what is there, publish, and let go of the lock; idempotent. Errors stay in `problem`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.active:
            self._try_tick()
        self._release()

    def tick(self) -> int:
        """Integrate and publish all that is recorded now; how many entries that was. 0 where another one works.

        Raises: JournalCorrupt, VerificationError, OSError. The next tick starts again from what is on disk.
        """
        with self._ticking:
            if not self._claim():
                return 0
            try:
                return self._tick()
            except BaseException:
                # Which step failed is not known here: only the disk says what holds.
                self._forget()
                raise

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._try_tick()
            idle = self._interval if self.active and self.problem is None else _STANDBY_SECONDS
            self._stopping.wait(idle)

    def _try_tick(self) -> None:
        problem: str | None = None
        try:
            self.tick()
        except ResidencyError as error:
            problem = str(error)
        except OSError as error:
            problem = f"the log cannot be written ({type(error).__name__}, errno {error.errno})"
        except Exception as error:  # noqa: BLE001 - a thread that ended would look like one that works
            problem = f"the sequencer failed with {type(error).__name__}"
        if problem is not None and problem != self.problem:  # not at every tick
            _log.error("what is recorded cannot be published now: %s", problem)
        self.problem = problem

    # --- the lock ------------------------------------------------------------------------------------------------

    def _claim(self) -> bool:
        if self._lock_fd is not None:
            return True
        self._journals.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._journals / "sequencer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
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
        done = 0
        while True:
            entries: list[bytes] = []
            cursors = dict(self._cursors)
            numbers = self._slot_numbers()
            for number in cursors.keys() - numbers:
                raise JournalCorrupt(f"the journal of slot {number} is gone, whose entries the log has begun to hold")
            for number in numbers:
                slot = self._slots.setdefault(number, _Slot(self._journals / str(number), number))
                records, cursors[number] = slot.read(cursors.get(number, Cursor()), _BATCH - len(entries))
                entries.extend(record.payload for record in records)
            if not entries:
                self._tree = tree
                return done
            # What enters the tree must not be lost by a power cut while the tree survives it.
            for slot in self._slots.values():
                slot.make_durable()
            tree, steps = plan_commit(tree, entries, cursors, self._signer, self._origin)
            self._carry_out(steps)
            self._tree, self._cursors = tree, cursors
            done += len(entries)
            # Every entry in these segments is under a published checkpoint now.
            for number, slot in self._slots.items():
                slot.drop_before(cursors[number].segment - self._keep_segments)

    def _carry_out(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.kind is StepKind.PRUNE:
                self._log.prune(step.path)
            elif step.kind is StepKind.STATE:
                self._state_store.write(step.path, step.data)
            else:
                self._log.write(step.path, step.data)

    def _load(self) -> Tree:
        """Read back where we are, mend a checkpoint that lags behind the state. Raises: VerificationError."""
        self._publish_key()
        stored = self._state_store.read(STATE_PATH)
        note = self._log.read(CHECKPOINT_PATH)
        published = None if note is None else verify_checkpoint(note, self._verifier)
        if stored is None:
            if published is not None and published.size:
                raise VerificationError(f"{STATE_PATH} is missing, though the log holds {published.size} entries")
            state = State(self._origin, 0, EMPTY_ROOT, {})
        else:
            state = parse_state(stored)
        tree = load_tree(state.size, self._log.read)
        if state.origin != self._origin or tree.root() != state.root:
            raise VerificationError(f"{STATE_PATH} is not the state of this log")
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
                self._log.write(path, text)
            elif present != text:
                raise VerificationError(f"{path} is not the key of this sequencer: the log belongs to another")

    def _lacks_second(self, note: bytes) -> bool:
        return self._second is not None and find_cosignature(note, self._second) is None

    def _slot_numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self._journals.iterdir() if path.name.isdigit() and path.is_dir())


class _Slot:
    """One slot's journal, read while its worker writes it, or after it died."""

    def __init__(self, home: Path, slot: int) -> None:
        self._home = home
        self._slot = slot
        self._number: int | None = None
        self._fd = -1
        self._map: mmap.mmap | None = None
        self._begun = False
        self._unsynced: set[int] = set()

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Record], Cursor]:
        """At most `limit` records from `cursor` on, and where to go on. Raises: JournalCorrupt, OSError."""
        if not self._begun:
            must_lead_to(self, cursor)
            self._begun = True
        records, after = follow(self, cursor, limit)
        if records:
            self._unsynced.update(range(cursor.segment, after.segment + 1))
        return records, after

    def make_durable(self) -> None:
        """Make all that was read survive a power cut. Raises: OSError."""
        for number in sorted(self._unsynced):
            fd = os.open(self._path(number), os.O_RDWR | os.O_CLOEXEC)
            try:
                getattr(os, "fdatasync", os.fsync)(fd)
            finally:
                os.close(fd)
        self._unsynced.clear()

    def drop_before(self, number: int) -> None:
        """Remove segments below `number`. Raises: OSError."""
        for path in self._home.glob("*.seg"):
            if int(path.stem) < number:
                path.unlink()

    def close(self) -> None:
        """Let go of the segment that is mapped; idempotent."""
        if self._map is not None:
            self._map.close()
            os.close(self._fd)
        self._map, self._number = None, None

    def open(self, number: int) -> mmap.mmap | None:
        """The bytes of segment `number`, mapped until another one is asked for; see `Segments`."""
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
        except BaseException:
            os.close(fd)
            raise
        self._fd, self._number = fd, number
        return self._map

    def holds_records(self, number: int) -> bool:
        """Whether there is a segment `number` in which something was stored."""
        try:
            with self._path(number).open("rb") as file:
                return any(os.pread(file.fileno(), 16, RECORDS_AT))
        except FileNotFoundError:
            return False

    def _path(self, number: int) -> Path:
        return self._home / f"{number:08d}.seg"

    def name(self, number: int) -> str:
        """Slot and file, without the folder."""
        return f"{self._home.name}/{number:08d}.seg"


_active: Final[weakref.WeakSet[Sequencer]] = weakref.WeakSet()


def _close_in_child() -> None:
    # The lock belongs to the open file, which a child shares: were it kept, nobody could take over from its parent.
    for sequencer in list(_active):
        if sequencer._lock_fd is not None:
            os.close(sequencer._lock_fd)
            sequencer._lock_fd = None
        sequencer._thread, sequencer._tree, sequencer._slots = None, None, {}
        sequencer._ticking = threading.Lock()
    _active.clear()


os.register_at_fork(after_in_child=_close_in_child)
