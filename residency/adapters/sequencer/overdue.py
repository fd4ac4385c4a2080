"""How far a worker recorded and how far the log got in; since when it waits, and whether that is too long, out.

A sequencer that is stuck or dead may be another process, which holds the lock and answers nobody. What it cannot forge
is its progress: its state file says how much of each journal is in the log. So each worker looks there, now and then,
for its own slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from residency.errors import ResidencyError

__all__ = ["OVERDUE_AFTER", "Overdue"]

OVERDUE_AFTER: Final = 60.0
"""Seconds that what is recorded may wait for the log before nothing more is admitted; a takeover takes less than 2."""
_LOOK_EVERY: Final = 1.0


class Overdue:
    """Watches over one slot's entries; `look` is cheap enough to be called twice a second.

    `recorded` answers the number that the slot's next entry gets, `integrated` how many entries of each slot are in the
    log; it may raise ResidencyError or OSError, which is no progress.
    """

    __slots__ = ("_after", "_done", "_due", "_integrated", "_looked", "_recorded", "_slot", "waited")

    def __init__(
        self,
        slot: int,
        recorded: Callable[[], int],
        integrated: Callable[[], Mapping[int, int]],
        after: float,
    ) -> None:
        self._slot = slot
        self._recorded = recorded
        self._integrated = integrated
        self._after = after
        self._done = 0  # entries known to be in the log
        self._due = 0  # entries that were recorded when the log was last seen to have all that was due
        self._looked = time.monotonic()
        self.waited = 0.0
        """Seconds for which the oldest of them is known to have waited."""

    def look(self) -> str | None:
        """Why nothing may be admitted now; None where nothing stands against it."""
        now = time.monotonic()
        passed = now - self._looked
        if passed >= min(_LOOK_EVERY, self._after / 4):
            self._looked = now
            self._compare(passed)
        if self.waited <= self._after:
            return None
        return f"what was recorded is not in the log after {self._after:g} s: its sequencer is stuck, or cannot write"

    def _compare(self, passed: float) -> None:
        recorded = self._recorded()
        if self._done < recorded:
            with suppress(ResidencyError, OSError):  # what cannot be read is no progress
                self._done = self._integrated().get(self._slot, 0)
        if self._done >= self._due:
            self._due, self.waited = recorded, 0.0
        else:
            # While this process itself was stopped nobody looked, and the sequencer may have been stopped with it.
            self.waited += min(passed, 2 * _LOOK_EVERY)
