"""Names of sinks that no act may use in; one set of them all, however many have barred some, out.

Every act asks twice whether its sink is among them, so to ask is one look-up, without a call of Python's own. Those who
change what is barred pay instead: they do so once in minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

__all__ = ["Barred"]


class Barred(set[str]):
    """A set that is replaced as a whole, and tells whoever follows it. It is read from any thread, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._followers: list[Callable[[], object]] = []

    def bar(self, names: Callable[[], Iterable[str]]) -> None:
        """Have it hold what `names` answers, and nothing else. What stays barred is barred throughout."""
        with self._lock:  # asked within, so that of two who change it at a time the later one knows both
            now = frozenset(names())
            self.update(now)
            self.intersection_update(now)
            for each in self._followers:
                each()

    def follow(self, changed: Callable[[], object]) -> None:
        """Call `changed` now, and after each change, in the thread that makes it."""
        with self._lock:
            self._followers.append(changed)
            changed()
