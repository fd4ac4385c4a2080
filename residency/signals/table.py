"""The address table: the bytes that `table_build` made in, a small int for an address out.

Theory. A *row* is what can be said of an address (country, network class, country by a second database); there are few
of them, and a lookup answers one's index, 0 for nothing known. The bytes are read where they lie, so that workers share
one mapped file. Layout, little-endian: MAGIC, length of the head (8 bytes), the head (JSON, padded with spaces), then
sections, each at a multiple of ALIGN. Cells are one byte, or two where there are too many rows for one.

- IPv4: `v4_blocks` has for the top 16 bits the place of a block of 256 `v4_cells`, one cell per /24; equal blocks are
  kept once. Where a /24 is not all alike its cell is the mark MIXED, and `v4_starts`, the low 16 bits of the intervals
  in such /24s, is bisected between the bounds that `v4_bounds` has for the top 16 bits.
- IPv6: `v6_tops` has for the top 16 bits the place of a node of 256 `v6_nodes`, one for each next byte. A node's number
  n is a row; or beyond the rows a bucket: `v6_starts`, the top halves of addresses, is bisected between v6_bounds[n]
  and v6_bounds[n + 1] (n less the rows); or from DEEP on the place of a deeper node. Where a /64 is
  not all alike its cell is MIXED, and `low_starts` is bisected likewise by the low half.
- The mark ALIASED stands for IPv6 addresses that are answered as the IPv4 address within them (the head's `aliases`).
"""

from __future__ import annotations

import hashlib
import json
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct
from typing import Any, Final, Literal

from residency.errors import AddressDataUnavailable

__all__ = [
    "ALIASED_CELL",
    "ALIGN",
    "DEEP",
    "FORMAT",
    "FORMATS",
    "MAGIC",
    "MIXED",
    "AddressTable",
    "CachedLookup",
    "Row",
]

FORMAT: Final = 1
MAGIC: Final = b"residency table" + bytes([FORMAT])
ALIGN: Final = 64
MIXED: Final = {1: 0xFE, 2: 0xFFFE}
ALIASED_CELL: Final = {1: 0xFF, 2: 0xFFFF}
"""The two marks by the width of a cell in bytes; rows are below them."""
DEEP: Final = 1 << 24
"""Numbers in IPv6 nodes from here on are deeper nodes."""

_HALVES: Final = Struct(">HH").unpack
_TOP_HALF: Final = Struct(">Q8x").unpack
_LOW_HALF: Final = Struct(">8xQ").unpack

Buffer = Any  # bytes, or whatever memoryview takes and stays as it is: an mmap above all


@dataclass(frozen=True, slots=True)
class Row:
    """What one small int stands for. None: unknown or unannounced; an ordinary network; no second database's word."""

    country: str | None
    network: str | None = None
    second: str | None = None


class AddressTable:
    """The table in `buffer`, which must not change. Raises AddressDataUnavailable for what is no whole table.

    `check` reads all of it and compares its SHA-256; without it only lengths are looked at.
    """

    __slots__ = ("_countries", "lookup", "meta", "rows")

    rows: tuple[Row, ...]
    """Rows by their index; the first is Row(None)."""
    meta: Mapping[str, object]
    """What the maker said of the table: sources, dates, counts."""
    lookup: Callable[[str], int]
    """The row index of an address in any spelling; 0 for what is no address. Never raises on a str."""

    def __init__(self, buffer: Buffer, *, check: bool = True) -> None:
        head, sections = _opened(memoryview(buffer), check)
        try:
            self.meta = head["meta"]
            self.rows = tuple(Row(*row) for row in head["rows"])
            aliases = tuple((int(prefix, 16), length) for prefix, length in head["aliases"])
            self.lookup = _lookup(sections, len(self.rows), aliases)
        except (KeyError, TypeError, ValueError) as error:
            raise AddressDataUnavailable("an address table's head is not in a form that is known here") from error
        if not self.rows or self.rows[0] != Row(None):
            raise AddressDataUnavailable("an address table's first row is not the unknown one")
        self._countries = tuple(row.country for row in self.rows)

    def country(self, address: str) -> str | None:
        """The ISO 3166-1 code of `address`; None = unknown, unannounced or no address."""
        return self._countries[self.lookup(address)]


class CachedLookup(dict[str, int]):
    """A bounded cache before a table's lookup: index it by an address. Cleared when full."""

    __slots__ = ("_limit", "_lookup")

    def __init__(self, lookup: Callable[[str], int], limit: int = 65_536) -> None:
        self._lookup = lookup
        self._limit = limit

    def __missing__(self, text: str) -> int:
        if len(self) >= self._limit:
            self.clear()
        self[text] = row = self._lookup(text)
        return row


@dataclass(frozen=True, slots=True)
class Sections:
    """The arrays that a lookup reads."""

    v4_blocks: memoryview
    v4_cells: memoryview
    v4_bounds: memoryview
    v4_starts: memoryview
    v4_values: memoryview
    v6_tops: memoryview
    v6_nodes: memoryview
    v6_bounds: memoryview
    v6_starts: memoryview
    v6_values: memoryview
    low_keys: memoryview
    low_bounds: memoryview
    low_starts: memoryview
    low_values: memoryview


_Format = Literal["B", "H", "I", "Q"]

FORMATS: Final[dict[str, _Format | None]] = {
    "v4_blocks": "I",
    "v4_cells": None,  # cells: as wide as the head says
    "v4_bounds": "I",
    "v4_starts": "H",
    "v4_values": None,
    "v6_tops": "I",
    "v6_nodes": "I",
    "v6_bounds": "I",
    "v6_starts": "Q",
    "v6_values": None,
    "low_keys": "Q",
    "low_bounds": "I",
    "low_starts": "Q",
    "low_values": None,
}


def _opened(view: memoryview, check: bool) -> tuple[dict[str, Any], Sections]:
    """The head and the sections. Raises AddressDataUnavailable."""
    if sys.byteorder != "little":
        raise AddressDataUnavailable("address tables are little-endian, and this machine is not")
    # 1. It says that it is a table, of this format.
    if view[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise AddressDataUnavailable("this is not an address table")
    if view[: len(MAGIC)] != MAGIC:
        raise AddressDataUnavailable("this address table is of another format: compile it again")
    # 2. The head is whole, and the body is as long as the head says, and has its checksum.
    begin = len(MAGIC) + 8
    body = begin + int.from_bytes(view[len(MAGIC) : begin], "little")
    try:
        head = json.loads(bytes(view[begin:body]))
        length, digest = head["body"]
        if body % ALIGN or len(view) != body + length:
            raise AddressDataUnavailable("this address table is cut short or too long")
        if check and hashlib.sha256(view[body:]).hexdigest() != digest:
            raise AddressDataUnavailable("this address table's checksum does not match")
        # 3. The sections lie in it.
        cells: _Format = "B" if head["cell"] == 1 else "H"
        sections = {}
        for name, format_ in FORMATS.items():
            start, size = head["sections"][name]
            if not 0 <= start <= start + size <= length:
                raise AddressDataUnavailable("an address table's section lies outside it")
            # An empty view cannot be cast.
            part = view[body + start : body + start + size] if size else memoryview(bytes(8))[:0]
            sections[name] = part.cast(cells if format_ is None else format_) if size else part
    except (KeyError, TypeError, ValueError) as error:
        raise AddressDataUnavailable("an address table's head cannot be read") from error
    return head, Sections(**sections)


def _lookup(table: Sections, rows: int, aliases: tuple[tuple[int, int], ...]) -> Callable[[str], int]:
    """The lookup over `table`: one flat closure, since a call or an attribute costs as much as the lookup itself."""
    v4_blocks, v4_cells, v4_bounds = table.v4_blocks, table.v4_cells, table.v4_bounds
    v4_starts, v4_values = table.v4_starts, table.v4_values
    v6_tops, v6_nodes, v6_bounds = table.v6_tops, table.v6_nodes, table.v6_bounds
    v6_starts, v6_values = table.v6_starts, table.v6_values
    mixed = MIXED[v4_cells.itemsize]
    deep = DEEP
    halves, top_half = _HALVES, _TOP_HALF
    marked = _marked(table, aliases)

    def lookup(text: str) -> int:
        try:
            if ":" in text:
                packed = inet_pton(AF_INET6, text)
                (high,) = top_half(packed)
                cell: int = v6_nodes[v6_tops[high >> 48] + packed[2]]
                at = 3
                while cell >= deep:
                    cell = v6_nodes[cell - deep + packed[at]]
                    at += 1
                if cell >= rows:
                    cell -= rows
                    cell = v6_values[bisect_right(v6_starts, high, v6_bounds[cell], v6_bounds[cell + 1]) - 1]
                    if cell >= mixed:
                        return marked(packed, cell)
                return cell
            high, low = halves(inet_pton(AF_INET, text))
            cell = v4_cells[v4_blocks[high] + (low >> 8)]
            if cell == mixed:
                return v4_values[bisect_right(v4_starts, low, v4_bounds[high], v4_bounds[high + 1]) - 1]
            return cell
        except (OSError, ValueError):  # ValueError: an embedded NUL, a surrogate
            return 0

    return lookup


def _marked(table: Sections, aliases: tuple[tuple[int, int], ...]) -> Callable[[bytes, int], int]:
    """What an IPv6 address's cell is that is MIXED or ALIASED."""
    keys, bounds, starts, values = table.low_keys, table.low_bounds, table.low_starts, table.low_values
    mixed = MIXED[table.v4_cells.itemsize]
    prefixes = tuple((128 - length, prefix >> (128 - length), 96 - length) for prefix, length in aliases)

    def marked(packed: bytes, cell: int) -> int:
        if cell == mixed:
            (high,), (low,) = _TOP_HALF(packed), _LOW_HALF(packed)
            at = bisect_right(keys, high) - 1
            cell = values[bisect_right(starts, low, bounds[at], bounds[at + 1]) - 1]
            if cell < mixed:
                return cell
        whole = int.from_bytes(packed)
        for shift, prefix, inner in prefixes:
            if whole >> shift == prefix:
                high, low = whole >> inner + 16 & 0xFFFF, whole >> inner & 0xFFFF
                cell = table.v4_cells[table.v4_blocks[high] + (low >> 8)]
                if cell == mixed:
                    first, last = table.v4_bounds[high], table.v4_bounds[high + 1]
                    cell = table.v4_values[bisect_right(table.v4_starts, low, first, last) - 1]
                return cell
        return 0

    return marked
