"""Many addresses: blocks of lines in, one answer line an address out, written a block at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from residency.cli.locate_tables import Rows, SlowRows
from residency.signals.inet import canonical
from residency.signals.table import Row

__all__ = ["Answers", "Counts", "Source", "blocks", "locate_lines"]

_BLOCK: Final = 1 << 20
_LONGEST: Final = 1024  # bytes of a line that are kept: no address is as long
_SHOWN: Final = 100  # characters of a line that is no address that are shown
_FEW: Final = 20_000  # lines that are answered from an mmdb as it is, before compiling it pays
_NO_ADDRESS: Final = "not an IP address"

Block = tuple[list[str], int]
"""Lines, and how many bytes they were."""


class Source(Protocol):
    """Where lines are read from: a file or a pipe, opened for bytes."""

    def read1(self, size: int, /) -> bytes:
        """What is there, at most `size` bytes; empty at the end."""

    def fileno(self) -> int:
        """Its file descriptor. Raises OSError where it has none."""


def blocks(source: Source) -> Iterator[Block]:
    """The lines of `source` as they come. What is not UTF-8 is escaped, and what is longer than any address is cut."""
    rest = b""
    while data := source.read1(_BLOCK):
        whole, newline, rest_ = (rest + data).rpartition(b"\n")
        rest = rest_[:_LONGEST]
        if newline:
            yield whole.decode("utf-8", "backslashreplace").split("\n"), len(data)
    if rest:
        yield [rest.decode("utf-8", "backslashreplace")], 0


class Answers:
    """The answer lines of texts, one by one joined; a text that is blank has none."""

    def __init__(self, table: Rows, *, as_json: bool) -> None:
        self.bad = 0
        """How many texts were no addresses."""
        self._as_json = as_json
        self._lookup = table.lookup
        self._head = '{"address": "' if as_json else ""
        self._tails = [_json_tail(row) if as_json else f"\t{row.country or '-'}\n" for row in table.rows]

    def of(self, texts: Sequence[str]) -> str:
        """All their answer lines."""
        head, tails, other = self._head, self._tails, self._other
        # An IPv4 address that the table knows has one spelling only: that of most lines, and nothing is cheaper.
        return "".join(
            [
                head + text + tails[row] if row and ":" not in text else other(text)
                for text, row in zip(texts, map(self._lookup, texts), strict=True)
            ]
        )

    def _other(self, text: str) -> str:
        address = canonical(text.strip())
        if address is None:
            return self._no_address(text.strip())
        return self._head + address + self._tails[self._lookup(address)]

    def _no_address(self, text: str) -> str:
        if not text:
            return ""
        self.bad += 1
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        if self._as_json:
            return json.dumps({"address": shown, "error": _NO_ADDRESS}) + "\n"
        # Escaped, so that nobody's log file steers a terminal.
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
        return f"{shown}\t{_NO_ADDRESS}\n"


def _json_tail(row: Row) -> str:
    told = {"country": row.country}
    told |= {name: value for name, value in (("network", row.network), ("second", row.second)) if value is not None}
    return '", ' + json.dumps(told)[1:] + "\n"


class Counts:
    """How many lines were asked, and how many of them were no addresses."""

    def __init__(self) -> None:
        self.lines = self.bad = 0


def locate_lines(
    table: Rows,
    asked: Iterator[Block],
    *,
    as_json: bool,
    write: Callable[[bytes], object],
    located: Callable[[int, int], None],
    swift: Callable[[SlowRows], Rows],
) -> Counts:
    """Answer all blocks: `write` is given one block's answers at a time, and `located` its lines and bytes.

    An mmdb is exchanged for `swift(it)` as soon as more lines are asked than it answers in the time that takes.
    Raises: AddressDataUnavailable.
    """
    counts = Counts()
    answers = Answers(table, as_json=as_json)
    for lines, size in asked:
        counts.lines += len(lines)
        if isinstance(table, SlowRows) and counts.lines > _FEW:
            table = swift(table)
            counts.bad += answers.bad
            answers = Answers(table, as_json=as_json)
        write(answers.of(lines).encode())
        located(len(lines), size)
    counts.bad += answers.bad
    return counts
