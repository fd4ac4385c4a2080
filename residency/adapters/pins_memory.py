"""Pins in, pins out, for as long as this process lives: for tests and for a single worker without a disk."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Pin

__all__ = ["PinsMemory"]


class PinsMemory:
    """The `Pins` port over a dict."""

    __slots__ = ("_closed", "_lock", "_pins")

    def __init__(self) -> None:
        self._pins: dict[str, Pin] = {}
        self._lock = threading.Lock()
        self._closed = False

    def peek(self, subject: str) -> tuple[Pin | None, bool]:
        """(pin, True): all there is, is here. Raises: PinsUnavailable once closed."""
        if self._closed:
            self._open()
        return self._pins.get(subject), True

    def is_stale(self) -> bool:
        """Never: what `peek` answers is the store itself."""
        return False

    async def get(self, subject: str) -> Pin | None:
        """The newest pin of `subject`. Raises: PinsUnavailable once closed."""
        self._open()
        return self._pins.get(subject)

    async def put(self, pin: Pin) -> None:
        """Store `pin` if it is the stored one's next version. Raises: StaleVersion, PinsUnavailable once closed."""
        self._open()
        with self._lock:
            stored = self._pins.get(pin.subject)
            if pin.version != (1 if stored is None else stored.version + 1):
                raise StaleVersion("the pin has another version than the one this was based on")
            self._pins[pin.subject] = pin

    async def put_all(self, pins: Sequence[Pin]) -> frozenset[str]:
        """As `put`, of many; the subjects whose pin was stale. Raises: PinsUnavailable once closed."""
        stale = []
        for pin in pins:
            try:
                await self.put(pin)
            except StaleVersion:
                stale.append(pin.subject)
        return frozenset(stale)

    async def forget(self, subject: str, version: int) -> None:
        """Remove the pin whose version is `version`. Raises: StaleVersion, PinsUnavailable once closed."""
        self._open()
        with self._lock:
            stored = self._pins.get(subject)
            if stored is None or stored.version != version:
                raise StaleVersion("the pin has another version than the one to forget")
            del self._pins[subject]

    async def aclose(self) -> None:
        """Answer nothing any more; idempotent."""
        self._closed = True

    def _open(self) -> None:
        if self._closed:
            raise PinsUnavailable("pins are closed")
