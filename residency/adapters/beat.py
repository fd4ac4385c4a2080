"""Work that is to be done again and again in; a thread of its own that does it, out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Beat"]

_log = logging.getLogger("residency")
_PATIENCE: Final = 5.0  # seconds that `stop` waits for work that is under way


class Beat:
    """Calls `work` every so many seconds until it is stopped. A forked child makes its own."""

    __slots__ = ("_every", "_stop", "_thread", "_work")

    def __init__(self, work: Callable[[], object], *, every: float, name: str) -> None:
        """`every` is in seconds, `name` the thread's. What `work` raises is logged, and it is called again."""
        self._work = work
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """End; work that is under way is waited for."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._work()
            except Exception:  # noqa: BLE001 - whatever went wrong, the next beat comes
                _log.exception("%s: a beat failed", self._thread.name)
