"""Policy files that are watched: where to read them and who takes what was read in; each change, judged once, out.

A thread looks every `check_every` at what the file system says of them. A change is read once it has held still for two
looks, and counts only if nothing was touched while it was read: what is still being written is never taken. Who takes a
policy brings it into force whole, or not at all and says why; that is counted and logged here. No request waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar

from residency.errors import PolicyError, ResidencyError, VerificationError

__all__ = ["OUTCOMES", "Files", "PolicyWatch"]

_log = logging.getLogger("residency")
_PATIENCE: Final = 5.0  # seconds that `stop` waits for a look that is under way

OUTCOMES: Final = ("taken", "same", "invalid", "untrusted", "older", "restart_needed", "not_recorded")
"""What became of a change: in force; nothing but the files' times changed; or why what was in force stays. Where it is
`not_recorded` it is tried again at each look, for it is not the files that are at fault."""
_SETTLED: Final = frozenset({"taken", "same"})

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Files(Protocol[T_co]):
    """Policy files; `residency.adapters.policy_files.PolicyFiles` has the contract."""

    def read(self) -> T_co:
        """What they hold now. Raises PolicyError, caused by a VerificationError where they are not to be trusted."""

    def stamp(self) -> Hashable:
        """What the file system says now of all that the last `read` looked at. Never raises."""

    def stamp_read(self) -> Hashable:
        """What `stamp` would have said just before each part was read."""


class PolicyWatch(Generic[T]):
    """Watches the files of one policy, that were read before. `take` answers one of `OUTCOMES` and what to say of it:
    no personal data, no secret.

    `start` and `stop` are for one thread at a time, and may be repeated. A forked child starts its own.
    """

    def __init__(
        self,
        files: Files[T],
        take: Callable[[T], tuple[str, str]],
        *,
        check_every: float = 1.0,
        behind: bool = False,
    ) -> None:
        """`check_every` is in seconds; `behind` = what the files held just now is not what is in force."""
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        """How often a change of the files ended in which way, since this process began."""
        self.is_behind = behind
        """Whether what lies on the disk is not what is in force."""
        self._files = files
        self._take = take
        self._check_every = check_every
        self._judged = self._seen = files.stamp_read()
        self._told: tuple[str, str] | None = None
        self._fresh_threads()
        _alive.add(self)

    def _fresh_threads(self) -> None:
        self._lock = threading.Lock()  # held for a look
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on."""
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._watch, name="residency-policy", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop watching; what is in force stays. A change that comes before the next `start` is seen then."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join(_PATIENCE)

    def look(self) -> None:
        """One look, as the thread takes it. Raises nothing for what the files hold."""
        with self._lock:
            stamp = self._files.stamp()
            held, self._seen = stamp == self._seen, stamp
            if held and stamp != self._judged:
                self._judge(stamp)

    # -- inside ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stop.wait(self._check_every):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - whatever went wrong, the watch goes on; what is in force stays
                _log.exception("policy: a look at the policy files failed")

    def _judge(self, stamp: Hashable) -> None:
        problem, found = None, []
        try:
            found.append(self._files.read())
        except PolicyError as error:
            problem = error
        self._seen = self._files.stamp_read()
        if self._seen != stamp or self._files.stamp() != stamp:
            return  # written to meanwhile, or other files than before were read: they are to hold still too
        if problem is not None:
            outcome = "untrusted" if isinstance(problem.__cause__, VerificationError) else "invalid"
            why = str(problem)
        else:
            try:
                outcome, why = self._take(found[0])
            except ResidencyError as error:
                outcome, why = "not_recorded", str(error)
        if outcome != "not_recorded":
            self._judged = stamp
        self._tell(outcome, why)

    def _tell(self, outcome: str, why: str) -> None:
        self.is_behind = outcome not in _SETTLED
        told, self._told = self._told, (outcome, why)
        if outcome == "not_recorded" and told == self._told:
            return  # tried again, and as before
        self.outcomes[outcome] += 1
        if outcome == "taken":
            _log.info("policy: %s is in force", why)
        elif self.is_behind:
            _log.warning("policy: a change was not taken (%s), and what was in force stays:\n%s", outcome, why)


_alive: weakref.WeakSet[PolicyWatch[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for watch in list(_alive):
        watch._fresh_threads()


os.register_at_fork(after_in_child=_after_fork)
