"""Nothing in, the operating system's time out."""

from __future__ import annotations

import time

__all__ = ["SystemClock"]


class SystemClock:
    """The `Clock` port over the operating system's clocks."""

    __slots__ = ()

    def now(self) -> int:
        """Microseconds since the epoch, UTC; may step when the system's clock is set."""
        return time.time_ns() // 1000

    def monotonic(self) -> int:
        """Microseconds of a clock that never goes backwards."""
        return time.monotonic_ns() // 1000
