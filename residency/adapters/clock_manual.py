"""A time set by hand in, that time out: for tests and for deciding "as of" a date."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """The `Clock` port over two numbers that only its owner moves."""

    __slots__ = ("_monotonic", "_now")

    def __init__(self, now: int = 1_800_000_000_000_000) -> None:
        """`now` in microseconds since the epoch, UTC."""
        self._now = now
        self._monotonic = 0

    def now(self) -> int:
        """Microseconds since the epoch, UTC, as last set."""
        return self._now

    def monotonic(self) -> int:
        """Microseconds advanced so far."""
        return self._monotonic

    def advance(self, microseconds: int) -> None:
        """Let both clocks run on. Raises: ValueError for a negative step."""
        if microseconds < 0:
            raise ValueError("a clock is advanced forwards; set_wall lets the wall clock step back")
        self._now += microseconds
        self._monotonic += microseconds

    def set_wall(self, now: int) -> None:
        """Step the wall clock alone, backwards too, as an operator setting the time would."""
        self._now = now
