"""Whether a benchmark's bars hold in; how its process ends, out: that a bar was missed is no failure to run."""

from __future__ import annotations

from typing import Final

__all__ = ["MISSED", "end"]

MISSED: Final = 3
"""The exit code of a benchmark that ran to its end and missed a bar of its own. A failure is Python's own 1."""


def end(holds: bool) -> None:
    """Raises: SystemExit where a bar was missed."""
    if not holds:
        raise SystemExit(MISSED)
