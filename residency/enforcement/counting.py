"""Subjects of acts in, on the hot path; batches of those that no counter has yet, out to a thread of its own.

A subject is counted once in each counter, and a counter counts a subject once however often it is told, so what is
forgotten here is only told again: the set of those already told is bounded and cleared when full. What is lost when
the process is killed between two beats is told again at the subject's next write; the residue is who never writes
again. What cannot be handed over is kept, up to a bound; beyond it a subject is left for its next write, and counted as
such.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["Tally"]

_KNOWN: Final = 1 << 18
_WAITING: Final = 1 << 18


class Tally:
    """Who was counted in which counter, as far as this process remembers, and who waits to be. Safe from any thread."""

    __slots__ = ("_known", "_lock", "_size", "_waiting", "_waits", "left")

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}
        self._size = 0
        self._waiting: dict[str, set[str]] = {}
        self._waits = 0
        self._lock = threading.Lock()
        self.left = 0
        """How often a subject was left for its next write, because too many waited."""

    @property
    def waiting(self) -> int:
        """How many wait to be counted."""
        return self._waits

    def add(self, counters: tuple[str, ...], subject: str) -> None:
        """Count a subject (keyed digest, hex) in each of `counters`, unless that was done."""
        for counter in counters:
            known = self._known.get(counter)
            if known is None or subject not in known:
                self._add(counter, subject)

    def _add(self, counter: str, subject: str) -> None:
        with self._lock:
            if self._waits >= _WAITING:
                self.left += 1
                return
            if self._size >= _KNOWN:
                self._known, self._size = {}, 0
            known = self._known.setdefault(counter, set())
            if subject not in known:
                known.add(subject)
                self._size += 1
                waiting = self._waiting.setdefault(counter, set())
                self._waits += subject not in waiting  # it may wait already, and have been forgotten here
                waiting.add(subject)

    def take(self) -> Mapping[str, Collection[str]]:
        """All who wait, and they wait no more."""
        with self._lock:
            taken, self._waiting, self._waits = self._waiting, {}, 0
            return taken

    def give_back(self, taken: Mapping[str, Collection[str]]) -> None:
        """They wait again: they could not be handed over."""
        with self._lock:
            for counter, subjects in taken.items():
                self._waiting.setdefault(counter, set()).update(subjects)
            self._waits = sum(map(len, self._waiting.values()))

    def forget(self, subject: str) -> None:
        """Take a subject for one who was never counted."""
        with self._lock:
            for sets in (self._known, self._waiting):
                for subjects in sets.values():
                    subjects.discard(subject)
            self._size = sum(map(len, self._known.values()))
            self._waits = sum(map(len, self._waiting.values()))
