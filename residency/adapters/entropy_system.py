"""Nothing in, the operating system's unpredictable bytes out."""

from __future__ import annotations

import os

__all__ = ["SystemEntropy"]


class SystemEntropy:
    """The `Entropy` port over the operating system's generator."""

    __slots__ = ()

    def token(self, size: int) -> bytes:
        """`size` unpredictable bytes. Raises: ValueError below 1."""
        if size < 1:
            raise ValueError("at least one byte")
        return os.urandom(size)
