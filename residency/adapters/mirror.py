"""A log on local disk and a second place in; what is published there too, by a thread of its own, out.

Each round asks the second place what it holds (its own checkpoint, under our signature), and gives it what is new: the
archive of what decided, full files, partial files, the checkpoint last. Nothing is remembered here that the place does
not say itself, but for which archived files this process has put there.

    a crash before the checkpoint   leaves files that no checkpoint there covers: the next round finds them there, with
                                    the same bytes, and puts none of them twice
    a crash after it                leaves partial files that nobody reads (where nothing is locked)

A place that holds more than the local log, or something else, is left as it is, and that is a problem that is told.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from residency.audit.archived import ARCHIVE_FOLDERS, check_archived, is_archived
from residency.audit.checkpoint import Checkpoint, VerifierKey, format_verifier_key, verify_checkpoint
from residency.audit.cosignature import SECOND_VKEY_PATH
from residency.audit.mirror import Place, Required, check_continues, replaced, shipment
from residency.audit.sequencer import CHECKPOINT_PATH, VKEY_PATH
from residency.errors import ResidencyError, Unavailable, VerificationError
from residency.flock import Lock

__all__ = ["Mirror", "Shipped"]

_log = logging.getLogger("residency")
_PATIENCE: Final = 10.0  # seconds that `stop` gives the last round
_LONGEST_WAIT: Final = 60.0  # seconds between two tries while the place is away
_SOON: Final = 2.0  # seconds between two looks while there is nothing to ship, or another process does it
_AT_ONCE: Final = 8
_AHEAD: Final = 4 * _AT_ONCE  # files in memory at one time


class _Files(Protocol):
    def read(self, path: str) -> bytes | None: ...
    def paths(self, folder: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Shipped:
    """One round: entries that the place holds now, files that were put, entries that it held before."""

    size: int
    files: int
    before: int


class Mirror:
    """Ships the log in `local` to `place` every `every` seconds, and once more at the end.

    Of all processes that run one for the same log, the one that has the file lock `lock` ships.
    """

    def __init__(
        self,
        local: _Files,
        place: Place,
        *,
        key: VerifierKey,
        lock: Path,
        every: float = 60.0,
        required: Required | None = None,
        archive: _Files | None = None,
    ) -> None:
        """`archive` has the folders of policies and facts that lie beside the log; None = they are not shipped."""
        self.every = every
        self.problem: str | None = None
        """Why the last round failed; None while all is well."""
        self._local = local
        self._place = place
        self._key = key
        self._lock = Lock(lock)
        self._required = required
        self._archive = archive
        self._archived: set[str] = set()
        self._looked_at_lock = required is None
        self._shipped = 0
        self._stop = threading.Event()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._whole_at = time.monotonic()

    @property
    def is_ours(self) -> bool:
        """Whether it is this process that ships."""
        return self._lock.held

    def lag(self) -> float | None:
        """Seconds since the place was last known to hold all that is published; None where another process ships."""
        return time.monotonic() - self._whole_at if self.is_ours else None

    def start(self) -> None:
        """Ship in a thread until `stop`. A thread does not survive a fork: start it in the worker."""
        self._whole_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="residency-mirror", daemon=True)
        self._thread.start()

    def stop(self, patience: float = _PATIENCE) -> None:
        """Ship what is published, for at most `patience` seconds, and let go; idempotent. What was not shipped by then
        is shipped by who starts next."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(patience)
            if self._thread.is_alive():
                _log.warning("mirror: not all that is published was shipped by the end; the next start goes on with it")
                self._over.set()
                return  # the lock goes with the process, or with the thread that holds it
            self._thread = None
        self.release()

    def ship(self, *, wait: float = 0.0) -> Shipped | None:
        """One round; None where another process ships, which is waited for `wait` seconds long.

        Raises: VerificationError where the place holds what it must not, is not locked as asked, or the log here does
        not hold; Unavailable, OSError.
        """
        if not self._claim(wait):
            return None
        began = time.monotonic()
        note = self._local.read(CHECKPOINT_PATH)
        if note is None:
            self._whole_at = began
            return Shipped(0, 0, 0)
        newest = verify_checkpoint(note, self._key)
        there = self._place.read(CHECKPOINT_PATH)
        held = None if there is None else self._checked(there)
        check_continues(self._local.read, held, newest)
        before = 0 if held is None else held.size
        if before < self._shipped:
            _log.warning("mirror: it held %d entries and now says %d: somebody removes there", self._shipped, before)
        put = 0
        if not self._looked_at_lock or there != note:
            put = self._put_keys()
        # Listed after the checkpoint was read: what its decisions were made by was archived before them.
        archived, changed = self._put_archive()
        put += archived
        if there != note:
            put += self._put_log(held, newest, note)
        self._shipped = newest.size
        if changed is not None:
            raise changed  # the log does not wait for it, which is worth more
        self._whole_at = began
        return Shipped(newest.size, put, before)

    def release(self) -> None:
        """Let another process ship."""
        self._lock.release()

    # --- one round -----------------------------------------------------------------------------------------------

    def _checked(self, note: bytes) -> Checkpoint:
        try:
            return verify_checkpoint(note, self._key)
        except VerificationError as error:
            raise VerificationError(
                f"the mirror's checkpoint is not of this log ({error}): each log needs a place of its own; nothing was "
                "overwritten"
            ) from None

    def _put_keys(self) -> int:
        # First of all: a place that locks nothing is found with a hundred bytes in it, and not with the log.
        put = int(self._place.create(VKEY_PATH, (format_verifier_key(self._key) + "\n").encode()))
        if not self._looked_at_lock:
            self._must_be_locked(VKEY_PATH)
            self._looked_at_lock = True
        second = self._local.read(SECOND_VKEY_PATH)
        return put if second is None else put + self._place.create(SECOND_VKEY_PATH, second)

    def _put_archive(self) -> tuple[int, VerificationError | None]:
        """(files put, what is said against one that is not what its digest names and stays here)."""
        files, changed, put = self._archive, None, 0
        if files is None:
            return 0, None
        named = (path for folder in ARCHIVE_FOLDERS for path in files.paths(folder))
        new = (path for path in named if is_archived(path) and path not in self._archived)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="residency-mirror") as pool:
            while paths := list(islice(new, _AHEAD)):
                batch = []
                for path in paths:
                    data = files.read(path) or b""
                    try:
                        check_archived(path, data)
                        batch.append((path, data))
                    except VerificationError as error:
                        changed = error
                put += self._create_all(pool, batch)
                self._archived.update(path for path, _ in batch)
        return put, changed

    def _put_log(self, held: Checkpoint | None, newest: Checkpoint, note: bytes) -> int:
        put = 0
        last = None
        pieces = shipment(self._local.read, held, newest)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="residency-mirror") as pool:
            while batch := list(islice(pieces, _AHEAD)):
                put += self._create_all(pool, batch)
                last = batch[-1][0]
        # Whoever changed the bucket's retention meanwhile is noticed in the round after.
        if last is not None and self._required is not None:
            self._must_be_locked(last)
        # A crash before this leaves files that no checkpoint there covers.
        self._place.write(CHECKPOINT_PATH, note)
        if self._required is None:
            for folder in replaced(0 if held is None else held.size, newest.size):
                self._place.prune(folder)
        return put + 1

    def _create_all(self, pool: ThreadPoolExecutor, batch: list[tuple[str, bytes]]) -> int:
        created: list[Future[bool]] = []
        try:
            for path, data in batch:
                created.append(pool.submit(self._create, path, data))
        except RuntimeError:
            # The interpreter ends (a server without a lifespan): it starts no thread any more, and ours still runs.
            rest = batch[len(created) :]
            return sum(_results(created)) + sum(self._create(path, data) for path, data in rest)
        return sum(_results(created))

    def _create(self, path: str, data: bytes) -> bool:
        if self._over.is_set():
            raise Unavailable("the process ends")
        return self._place.create(path, data)

    def _must_be_locked(self, path: str) -> None:
        required = self._required
        if required is None:
            return
        lock = self._place.lock(path)
        mend = (
            f"give the bucket a default retention of {required.days} days in mode COMPLIANCE (it must have been made "
            "with object lock), and a new prefix where something was put before that"
        )
        if lock.mode != "COMPLIANCE" or lock.until is None:
            what = f"in mode {lock.mode.lower()}" if lock.mode else "not at all"
            raise VerificationError(f"{path} in the mirror is locked {what}, not in mode COMPLIANCE: {mend}")
        if lock.until < required.until(lock.put):
            held_for = (lock.until - lock.put) / 86_400_000_000
            raise VerificationError(f"{path} in the mirror is locked for {held_for:.0f} days only: {mend}")

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            failures = 0 if self._try() else failures + 1
            # A log that has just begun is shipped as soon as it is there, and so is one whose shipper has died: either
            # could otherwise lie on one disk for another `every`.
            wait = self.every if self._shipped else _SOON
            if failures:
                wait = min(2.0 ** (failures - 1), _LONGEST_WAIT)
            self._stop.wait(min(wait, self.every))
        self._try(wait=_PATIENCE / 2)
        if self._over.is_set():
            self.release()

    def _try(self, wait: float = 0.0) -> bool:
        problem: str | None = None
        try:
            self.ship(wait=wait)
        except ResidencyError as error:
            problem = str(error)
        except OSError as error:
            problem = f"the log here cannot be read ({type(error).__name__}, errno {error.errno})"
        except Exception as error:  # noqa: BLE001 - a thread that ended would look like one that works
            problem = f"it failed with {type(error).__name__}"
        if problem is not None and problem != self.problem:  # not at every round
            _log.error("mirror: what is published cannot be shipped: %s", problem)
        elif problem is None and self.problem is not None:
            _log.warning("mirror: it is shipped again")
        self.problem = problem
        return problem is None

    def _claim(self, wait: float) -> bool:
        if self.is_ours:
            return True
        end = time.monotonic() + wait
        while not self._lock.take():
            if time.monotonic() >= end or self._over.wait(0.1):
                return False
        self._whole_at = time.monotonic()
        return True


def _results(created: list[Future[bool]]) -> list[bool]:
    """What came of each, the first error once all are over: nothing is on its way any more when it is told."""
    done = [(future.exception(), future) for future in created]
    for error, _ in done:
        if error is not None:
            raise error
    return [future.result() for _, future in done]
