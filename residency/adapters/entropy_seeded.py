"""A seed in, bytes that anybody with the seed can predict out: for reproducible tests, never for anything else."""

from __future__ import annotations

import hashlib
import threading

__all__ = ["UnsafeSeededEntropy"]


class UnsafeSeededEntropy:
    """The `Entropy` port's shape without its promise: predictable. MUST NOT BE USED OUTSIDE TESTS."""

    __slots__ = ("_count", "_lock", "_seed")

    def __init__(self, seed: bytes = b"test") -> None:
        self._seed = seed
        self._count = 0
        self._lock = threading.Lock()

    def token(self, size: int) -> bytes:
        """The next `size` bytes of the seed's stream. Raises: ValueError below 1."""
        if size < 1:
            raise ValueError("at least one byte")
        with self._lock:
            self._count += 1
            count = self._count
        return hashlib.shake_256(self._seed + count.to_bytes(8, "big")).digest(size)
