"""Acknowledged changes in; those that a new primary may lack out, in the form in which they are stored.

Replication is asynchronous: a primary that dies may have acknowledged pins that its successor never heard of. What
this process wrote, what it relied on, and what the audit log tells is put back there, where it is not already known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from residency.adapters.pins_redis.scripts import format_pin
from residency.errors import PinsUnavailable, ResidencyError
from residency.model import Pin

__all__ = ["Recent"]


class Recent:
    """Changes of the last `within` seconds, at most `limit` of them: the oldest go first."""

    __slots__ = ("_changes", "_clock", "_limit", "_lock", "_told", "_within")

    def __init__(
        self,
        told: Callable[[], Iterable[Pin]],
        *,
        within: float,
        limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told` answers recent pins as the audit log has them."""
        self._told = told
        self._within = within
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._changes: dict[tuple[str, bool], tuple[float, bytes, bool]] = {}

    def wrote(self, pin: Pin) -> None:
        """A pin was acknowledged."""
        self._note([(pin.subject, format_pin(pin))], gone=False, own=True)

    def forgot(self, subject: str, tombstone: bytes) -> None:
        """A pin was forgotten; `tombstone` as it is stored."""
        self._note([(subject, tombstone)], gone=True, own=True)

    def relied(self, pins: Iterable[Pin]) -> None:
        """These were answered from the local copy."""
        self._note([(pin.subject, format_pin(pin)) for pin in pins], gone=False, own=False)

    def changes(self) -> list[tuple[str, bytes, bool]]:
        """(subject, stored form, whether it is a tombstone), those of the audit log first.

        Raises: PinsUnavailable where the audit log does not tell.
        """
        oldest = self._clock() - self._within
        with self._lock:
            kept = [
                (subject, stored, gone) for (subject, _), (at, stored, gone) in self._changes.items() if at >= oldest
            ]
        try:
            told = [(pin.subject, format_pin(pin), False) for pin in self._told()]
        except (ResidencyError, OSError) as error:
            raise PinsUnavailable("the audit log does not tell which pins are recent") from error
        return told + kept

    def _note(self, changes: Iterable[tuple[str, bytes]], *, gone: bool, own: bool) -> None:
        # What was read and what was written stand beside each other: which is the newer one, the server says.
        now = self._clock()
        with self._lock:
            for subject, stored in changes:
                self._changes.pop((subject, own), None)
                self._changes[subject, own] = (now, stored, gone)
            while len(self._changes) > self._limit or (self._changes and self._first() < now - self._within):
                del self._changes[next(iter(self._changes))]

    def _first(self) -> float:
        return next(iter(self._changes.values()))[0]
