"""One worker's journal slot as all recorders into it share it: an entry's number in, back once it survives a power cut.

Details are made durable before the entries that commit to them.
"""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from typing import Any, Protocol

from residency.audit.detail_head import Head
from residency.enforcement.ports import Journal
from residency.enforcement.together import Together

__all__ = ["DetailStore", "Slot"]


class DetailStore(Protocol):
    """Where personal and statutory detail rests, country by country."""

    def append(self, country: str, head: Head, detail: bytes) -> int:
        """Seal and record `detail` for `country`. Raises JournalFull, JournalFailed, KeysUnavailable."""

    def ready(self, country: str) -> None:
        """Raise now if a detail might not find room in `country`."""

    def sync(self, country: str, seq: int) -> None:
        """Block until detail number `seq` of `country` survives a power cut. Raises JournalFailed."""


class Slot:
    """A journal, and the details that its entries commit to. `lock` is held while an entry takes its number."""

    __slots__ = ("_details", "_durable", "_flushing", "_unsynced", "journal", "lock", "opened")

    def __init__(self, journal: Journal, details: DetailStore | None) -> None:
        self.journal = journal
        self._details = details
        # An id names its own sequence number, so taking the number and appending must be one step.
        self.lock = threading.Lock()
        self.opened: dict[int, int] = {}
        """Intents of this process whose outcome is not recorded yet, oldest first: number -> when it was recorded."""
        self._durable = 0  # entries below this number are known to survive a power cut
        self._unsynced: dict[str, int] = {}  # country -> number of its newest detail that is not known to
        self._flushing = Together(self._flush)

    def detailed(self, country: str, seq: int) -> None:
        """Note that detail number `seq` of `country` was recorded. The lock is held."""
        self._unsynced[country] = seq

    def closed(self, intent: str) -> None:
        """Note that the outcome of an intent (its id) was recorded. The lock is held."""
        self.opened.pop(int(intent.rpartition(".")[2]), None)

    def is_durable(self, seq: int) -> bool:
        """Whether entry `seq` is known to survive a power cut, told without waiting. Raises JournalFailed, also where
        it does and the journal has failed since: what comes after it could not be recorded."""
        if seq >= self._durable:
            return False
        self.journal.sync(seq)  # which is at once for what is durable, and knows whether the journal works
        return True

    def soon(self) -> None:
        """Begin to make all that is recorded by now durable, for who waits for it later; nothing is waited for."""
        self._flushing.soon()

    def durable(self, seq: int) -> Coroutine[Any, Any, None]:
        """To be awaited: done once entry `seq` survives a power cut. Raises JournalFailed."""
        return self._flushing.until(lambda: seq < self._durable)

    def _flush(self) -> None:
        """Make all that is recorded by now durable, details first."""
        with self.lock:
            newest = self.journal.next_seq - 1
            details, self._unsynced = self._unsynced, {}
        try:
            if self._details is not None:
                for country, seq in details.items():
                    self._details.sync(country, seq)
            self.journal.sync(newest)
        except BaseException:
            with self.lock:
                self._unsynced = details | self._unsynced  # of two numbers of one country the newer stands
            raise
        with self.lock:
            self._durable = max(self._durable, newest + 1)
