"""Bytes of a sample in: one JSON document, a list of them, or JSON lines; its records, one at a time, out.

Nothing that is told of a broken sample quotes it: it holds people's data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from residency.errors import UsageError

__all__ = ["LARGEST", "Record", "records"]

LARGEST: Final = 64 << 20
"""Bytes of a line, or of a document that is not in lines."""


class Record(NamedTuple):
    """One record, and how many bytes of the sample were read for it."""

    value: object
    size: int


class Source(Protocol):
    """Where a sample is read from: a file or a pipe, opened for bytes."""

    def readline(self, size: int, /) -> bytes:
        """The next line, at most `size` bytes of it; empty at the end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""


def records(source: Source) -> Iterator[Record]:
    """The records of a sample. A first line that is JSON by itself says that it is in lines, save a list: its items.

    Raises:
        UsageError: where it is not JSON, is larger than what is read at once, or has no record.
    """
    first, skipped = _line(source, 1), 0
    while first and not first.strip():
        skipped += len(first)
        first = _line(source, 1)
    if not first:
        raise UsageError("the sample is empty")
    begun = _parsed(first)
    if begun is _BROKEN or isinstance(begun.value, list):
        yield from _document(first, source, skipped)
        return
    yield Record(begun.value, skipped + len(first))
    number = 1
    while line := _line(source, number + 1):
        number += 1
        if not line.strip():
            continue
        parsed = _parsed(line)
        if parsed is _BROKEN:
            raise UsageError(f"line {number} of the sample is not JSON")
        yield Record(parsed.value, len(line))


def _document(first: bytes, source: Source, skipped: int) -> Iterator[Record]:
    data = first + source.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UsageError(f"the sample is one document of more than {LARGEST >> 20} MB: give it as JSON lines")
    parsed = _parsed(data)
    if parsed is _BROKEN:
        raise UsageError("the sample is neither JSON nor JSON lines")
    size = skipped + len(data)
    if not isinstance(parsed.value, list):
        yield Record(parsed.value, size)
        return
    if not parsed.value:
        raise UsageError("the sample has no record: its list is empty")
    for number, value in enumerate(parsed.value):
        yield Record(value, 0 if number else size)


def _line(source: Source, number: int) -> bytes:
    line = source.readline(LARGEST + 1)
    if len(line) > LARGEST:
        raise UsageError(f"line {number} of the sample is longer than {LARGEST >> 20} MB")
    return line


def _parsed(data: bytes) -> Record:
    try:
        return Record(json.loads(data), len(data))
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number of thousands of digits, too deep
        return _BROKEN


_BROKEN: Final = Record(None, -1)
