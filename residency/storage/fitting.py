"""How much was read in; how many records are read next, so that what is held at a time stays small, out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from residency.storage.records import Record

__all__ = ["MOST", "Fitting", "weight"]

MOST: Final = 1 << 24
"""Bytes of records that are held at a time, about; a few times over while they are compared and put."""


class Fitting:
    """`now` = how many are read next: one at first, then twice as many, `most` at last; fewer where they are large."""

    __slots__ = ("_most", "now")

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = 1

    def saw(self, count: int, size: int) -> None:
        """`count` of them carried `size` bytes."""
        self.now = min(self._most, self.now * 2 if size * 2 <= MOST else max(1, count * MOST // (size * 2)))


def weight(records: Iterable[Record]) -> int:
    """The bytes that these hold in memory."""
    return sum(len(record.value or b"") for record in records)
