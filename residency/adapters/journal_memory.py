"""The `Journal` port in memory: for tests and for trying things out. Nothing survives the process."""

from __future__ import annotations

import threading
from typing import Final

from residency.audit.journal import record_size
from residency.errors import JournalFailed, JournalFull

__all__ = ["JournalMemory"]


class JournalMemory:
    """A bounded list of payloads with the contract of `residency.enforcement.ports.Journal`."""

    def __init__(
        self, slot: int = 0, *, capacity: int = 64 * 1024 * 1024, headroom: int = 0, entry_limit: int = 65_535
    ) -> None:
        self.slot: Final = slot
        self.records: Final[list[bytes]] = []
        self.durable = 0  # entries below this number have been synchronised
        self._room = capacity
        self._headroom = headroom
        self._entry_limit = entry_limit
        self._failed: str | None = None
        self._lock = threading.Lock()

    @property
    def next_seq(self) -> int:
        """The number that the next `append` will return."""
        return len(self.records)

    def append(self, payload: bytes) -> int:
        """Record `payload`. Raises: JournalFull, JournalFailed."""
        with self._lock:
            self._must_work()
            if not 0 < len(payload) <= self._entry_limit:
                raise JournalFailed(f"an entry is 1 to {self._entry_limit} bytes")
            if record_size(len(payload)) > self._room:
                raise JournalFull("the journal in memory has no room left")
            self._room -= record_size(len(payload))
            self.records.append(payload)
            return len(self.records) - 1

    def ready(self) -> None:
        """Raise JournalFull or JournalFailed where an act's entries might not find room."""
        self._must_work()
        if self._room < max(self._headroom, record_size(self._entry_limit)):
            raise JournalFull("the journal in memory has no room left for an act")

    def sync(self, seq: int) -> None:
        """Note that entry `seq` is asked to be durable. Raises: JournalFailed."""
        with self._lock:
            self._must_work()
            if not 0 <= seq < len(self.records):
                raise JournalFailed("an entry that was never recorded cannot be made durable")
            self.durable = len(self.records)

    def fail(self) -> None:
        """Behave from now on as a journal whose disk has failed."""
        self._failed = "the journal in memory was told to fail"

    def close(self) -> None:
        """Refuse from now on; idempotent."""
        self._failed = "the journal is closed"

    def _must_work(self) -> None:
        if self._failed is not None:
            raise JournalFailed(self._failed)
