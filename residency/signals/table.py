"""The address table: the bytes that `table_build` made in, a small int for an address out.

Theory. A *row* is what can be said of an address (country, network class, country by a second database); there are few
of them, and a lookup answers one's number, 0 for nothing known. The bytes are read where they lie: workers share one
mapped file. Layout, little-endian: HEADER, the head (JSON, padded with spaces), then the sections, each at a
multiple of ALIGN; the head has each one's place, length and the type of its integers.

- IPv4: `v4_blocks` has for the top 16 bits the place of a block of 256 `v4_cells`, one cell per /24; equal blocks are
  kept once. Where a /24 is not all alike its cell is the mark `rows`. Then `v4_mixed` (one block for each top 16 bits
  that has such a /24, its place in `v4_mixed_blocks`) numbers the /24, `v4_parts` has the places of its 16 /28s, and
  `v4_ends` a cell for each address; equal /28s are kept once.
- IPv6: `v6_tops` has for the top 16 bits the place of a node of 256 `v6_nodes`, one for each next byte. A number n in
  a node is a row; or, from `rows` on, the place of a deeper node; or, from BUCKET on, n less it is
  (first << 8 | count) of the `v6_starts`, top halves of addresses, between which to bisect; how many of all are not
  greater is the place in `v6_values`. Where a /64 is not all alike its cell is the mark `rows`, and `low_starts` is
  bisected likewise by the low half, within the bounds of its top half in `low_keys`.
- The mark `rows + 1` stands for IPv6 that is answered as the IPv4 address within it (the head's `aliases`).
"""

from __future__ import annotations

import hashlib
import json
import sys
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from socket import AF_INET, AF_INET6, inet_pton
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, whatever its own name
from typing import Any, Final, Literal, get_args

from residency.errors import AddressDataUnavailable

__all__ = ["ALIGN", "BUCKET", "FORMAT", "HEADER", "MAGIC", "SECTIONS", "AddressTable", "Row"]

FORMAT: Final = 1
MAGIC: Final = b"residency table" + bytes([FORMAT])
ALIGN: Final = 64
HEADER: Final = Struct("<16sQQ32s")
"""MAGIC, length of the head, length of the sections, SHA-256 of both."""
BUCKET: Final = 1 << 24
"""Numbers in IPv6 nodes from here on are buckets."""

_FOUR: Final = Struct(">HBB").unpack
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

    `check` reads all of it and compares its SHA-256; without it only the head is looked at.
    """

    __slots__ = ("_countries", "_sections", "lookup", "lookup_packed", "meta", "rows")

    rows: tuple[Row, ...]
    """Rows by their index; the first is Row(None)."""
    meta: Mapping[str, object]
    """What the maker said of the table: sources, dates, counts."""
    lookup: Callable[[str], int]
    """The row index of an address in any spelling; 0 for what is no address. Never raises on a str."""
    lookup_packed: Callable[[bytes], int]
    """The same of an address as its 4 or 16 bytes."""

    def __init__(self, buffer: Buffer, *, check: bool = True) -> None:
        head, sections = _opened(memoryview(buffer), check)
        try:
            self.meta = dict(head["meta"])
            self.rows = tuple(Row(*row) for row in head["rows"])
            aliases = tuple((int(prefix, 16), length) for prefix, length in head["aliases"])
            self.lookup, self.lookup_packed = _lookups(sections, len(self.rows), aliases)
        except (KeyError, TypeError, ValueError) as error:
            raise AddressDataUnavailable("an address table's head is not in a form that is known here") from error
        if not self.rows or self.rows[0] != Row(None):
            raise AddressDataUnavailable("an address table's first row is not the unknown one")
        self._countries = tuple(row.country for row in self.rows)
        self._sections = sections

    def country(self, address: str) -> str | None:
        """The ISO 3166-1 code of `address`; None = unknown, unannounced or no address."""
        return self._countries[self.lookup(address)]

    def somewhere_in(self, country: str) -> str | None:
        """An address in `country`, always the same: in the first /24 that lies there whole, on an ordinary network.

        None where there is none. Takes a while: for tests and examples.
        """
        rows = {at for at, row in enumerate(self.rows) if row.country == country and row.network is None}
        blocks, cells = self._sections.v4_blocks.tolist(), self._sections.v4_cells
        holding = {block for block in set(blocks) if not rows.isdisjoint(cells[block : block + 256])}
        for high, block in enumerate(blocks):
            if block in holding:
                third = next(at for at in range(256) if cells[block + at] in rows)
                return f"{high >> 8}.{high & 255}.{third}.1"
        return None


@dataclass(frozen=True, slots=True)
class _Sections:
    """The arrays that a lookup reads."""

    v4_blocks: memoryview
    v4_cells: memoryview
    v4_mixed_blocks: memoryview
    v4_mixed: memoryview
    v4_parts: memoryview
    v4_ends: memoryview
    v6_tops: memoryview
    v6_nodes: memoryview
    v6_starts: memoryview
    v6_values: memoryview
    low_keys: memoryview
    low_bounds: memoryview
    low_starts: memoryview
    low_values: memoryview


SECTIONS: Final = tuple(field.name for field in fields(_Sections))
_Kind = Literal["B", "H", "I", "Q"]
_KINDS: Final[tuple[_Kind, ...]] = get_args(_Kind)


def _opened(view: memoryview, check: bool) -> tuple[dict[str, Any], _Sections]:
    """The head and the sections. Raises AddressDataUnavailable."""
    if sys.byteorder != "little":
        raise AddressDataUnavailable("address tables are little-endian, and this machine is not")
    # 1. It says that it is a table, of this format.
    if view[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise AddressDataUnavailable("this is not an address table")
    if view[: len(MAGIC)] != MAGIC:
        raise AddressDataUnavailable("this address table is of another format: compile it again")
    # 2. It is as long as it says, and has its checksum.
    try:
        _, size, length, digest = HEADER.unpack_from(view)
    except StructError as error:
        raise AddressDataUnavailable("this address table is cut short") from error
    body = HEADER.size + size
    if len(view) != body + length:
        raise AddressDataUnavailable("this address table is cut short or too long")
    if check and hashlib.sha256(view[HEADER.size :]).digest() != digest:
        raise AddressDataUnavailable("this address table's checksum does not match")
    # 3. Its head makes sense, and the sections lie in the body.
    try:
        head = json.loads(bytes(view[HEADER.size : body]))
        sections = {}
        for name in SECTIONS:
            start, size, kind = head["sections"][name]
            if not 0 <= start <= start + size <= length:
                raise AddressDataUnavailable("an address table's section lies outside it")
            part = view[body + start : body + start + size]
            sections[name] = part.cast(_KINDS[_KINDS.index(kind)]) if size else part  # an empty view cannot be cast
    except (KeyError, TypeError, ValueError) as error:
        raise AddressDataUnavailable("an address table's head cannot be read") from error
    return head, _Sections(**sections)


def _lookups(
    table: _Sections, rows: int, aliases: tuple[tuple[int, int], ...]
) -> tuple[Callable[[str], int], Callable[[bytes], int]]:
    """The lookups over `table`, by text and by bytes: flat closures, since an attribute costs as much as a step."""
    v4_blocks, v4_cells = table.v4_blocks, table.v4_cells
    v4_mixed_blocks, v4_mixed, v4_parts, v4_ends = (
        table.v4_mixed_blocks,
        table.v4_mixed,
        table.v4_parts,
        table.v4_ends,
    )
    v6_tops, v6_nodes, v6_starts, v6_values = table.v6_tops, table.v6_nodes, table.v6_starts, table.v6_values
    bucket, top_half, four = BUCKET, _TOP_HALF, _FOUR

    def lookup_packed(packed: bytes) -> int:
        if len(packed) != 4:
            return six(packed)
        high, third, fourth = four(packed)
        cell: int = v4_cells[v4_blocks[high] + third]
        if cell < rows:
            return cell
        at = v4_mixed[v4_mixed_blocks[high] + third] << 4
        cell = v4_ends[(v4_parts[at + (fourth >> 4)] << 4) + (fourth & 15)]
        return cell

    def six(packed: bytes) -> int:
        (high,) = top_half(packed)
        cell: int = v6_nodes[v6_tops[high >> 48] + packed[2]]
        if cell < rows:
            return cell
        if cell < bucket:
            cell = v6_nodes[cell + packed[3]]
            if cell < rows:
                return cell
            at = 4
            while cell < bucket:
                cell = v6_nodes[cell + packed[at]]
                if cell < rows:
                    return cell
                at += 1
        at = cell - bucket >> 8
        cell = v6_values[bisect_right(v6_starts, high, at, at + (cell & 255))]
        return cell if cell < rows else marked(packed, cell)

    def lookup(text: str) -> int:
        try:
            return six(inet_pton(AF_INET6, text)) if ":" in text else lookup_packed(inet_pton(AF_INET, text))
        except (OSError, ValueError):  # ValueError: an embedded NUL, a surrogate
            return 0

    keys, bounds, starts, values = table.low_keys, table.low_bounds, table.low_starts, table.low_values
    prefixes = tuple((128 - length, prefix >> (128 - length), 96 - length) for prefix, length in aliases)

    def marked(packed: bytes, cell: int) -> int:
        if cell == rows:
            (high,), (low,) = _TOP_HALF(packed), _LOW_HALF(packed)
            at = bisect_right(keys, high) - 1
            cell = values[bisect_right(starts, low, bounds[at], bounds[at + 1]) - 1]
            if cell < rows:
                return cell
        whole = int.from_bytes(packed)
        for shift, prefix, inner in prefixes:
            if whole >> shift == prefix:
                return lookup_packed((whole >> inner & 0xFFFFFFFF).to_bytes(4))
        return 0

    return lookup, lookup_packed
