"""The address table's making: what each source says of which addresses in, the bytes that `table` reads out.

`table_layers` lays the sources over one another; `build` packs the outcome in the layout that `table` explains. Equal
input gives equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate, chain
from typing import Final

from residency.errors import AddressDataUnavailable
from residency.signals.table import ALIASED_CELL, ALIGN, DEEP, FORMAT, FORMATS, MAGIC, MIXED, Row
from residency.signals.table_layers import ALIASED, SPECIAL, Alias, Intervals, Layer, Overlaid, layer_of, overlay

__all__ = ["ALIASED", "SPECIAL", "Alias", "Intervals", "Layer", "Overlaid", "build", "count_in", "layer_of", "overlay"]

_V4: Final = 1 << 32
_V6: Final = 1 << 128
_LOW: Final = (1 << 64) - 1
_BUCKET: Final = 64  # entries that are bisected at most; a smaller number means more nodes, each 1 KB


def build(
    v4: Intervals, v6: Intervals, rows: Sequence[Row], meta: Mapping[str, object], aliases: Sequence[Alias] = ()
) -> bytes:
    """The table's bytes. `meta` must be JSON; format, counts of rows and of Vietnamese addresses are added to it.

    Raises: AddressDataUnavailable where there are more rows than two-byte cells can tell apart.
    """
    if sys.byteorder != "little":
        raise AddressDataUnavailable("address tables are little-endian, and this machine is not")
    width = 1 if len(rows) <= 254 else 2
    if len(rows) > 65_534:
        raise AddressDataUnavailable("the sources tell more kinds of addresses apart than a table holds")
    sections = _pack_v4(v4, width) | _pack_v6(v6, width, len(rows))
    places: dict[str, tuple[int, int]] = {}
    body = bytearray()
    for name in FORMATS:
        data = sections[name].tobytes()
        places[name] = (len(body), len(data))
        body += data + bytes(-len(data) % ALIGN)
    four, six = count_in("VN", v4, v6, rows)
    head = {
        "meta": {**meta, "format": FORMAT, "vn_addresses": {"ipv4": four, "ipv6_64": six}},
        "rows": [list(asdict(row).values()) for row in rows],
        "aliases": [[f"{prefix:x}", length] for prefix, length in sorted(aliases)],
        "cell": width,
        "sections": places,
        "body": [len(body), hashlib.sha256(body).hexdigest()],
    }
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-(len(MAGIC) + 8 + len(text)) % ALIGN)
    return MAGIC + len(text).to_bytes(8, "little") + text + bytes(body)


def count_in(country: str, v4: Intervals, v6: Intervals, rows: Sequence[Row]) -> tuple[int, int]:
    """(IPv4 addresses, IPv6 /64s) that lie in `country` by the main database."""
    inside = {index for index, row in enumerate(rows) if row.country == country}
    counts = []
    for intervals, end in ((v4, _V4), (v6, _V6)):
        ends = chain(intervals.starts[1:], (end,))
        rows_ = zip(intervals.starts, ends, intervals.values, strict=True)
        counts.append(sum(upto - start for start, upto, value in rows_ if value in inside))
    return counts[0], counts[1] >> 64


def _pack_v4(intervals: Intervals, width: int) -> dict[str, array[int]]:
    starts, values = intervals.starts, intervals.values
    kind = "B" if width == 1 else "H"
    # 1. One cell for each /24, written run by run; a run's ragged ends are overwritten by the mark below.
    cells = bytearray()
    for start, end, value in zip(starts, chain(starts[1:], (_V4,)), values, strict=True):
        if runs := (end >> 8) - (start >> 8):
            cells += value.to_bytes(width, "little") * runs
    # 2. Each /24 in which an interval begins: its own start, then theirs.
    mark = MIXED[width].to_bytes(width, "little")
    inner_starts, inner_values = array("H"), array(kind)
    counts = array("I", bytes(4 * 65_536))  # per top 16 bits
    last = -1
    before = 0
    for start, value in zip(starts, values, strict=True):
        if start & 255:
            block = start >> 8
            if block != last:
                last = block
                cells[block * width : (block + 1) * width] = mark
                inner_starts.append(block << 8 & 0xFFFF)
                inner_values.append(before)
                counts[start >> 16] += 1
            inner_starts.append(start & 0xFFFF)
            inner_values.append(value)
            counts[start >> 16] += 1
        before = value
    # 3. Blocks of 256 cells, equal ones once.
    size = 256 * width
    known: dict[bytes, int] = {}
    blocks = array("I")
    for at in range(0, len(cells), size):
        blocks.append(known.setdefault(bytes(cells[at : at + size]), len(known)) * 256)
    bounds = array("I", accumulate(counts, initial=0))
    flat = array(kind)
    flat.frombytes(b"".join(known))
    return {
        "v4_blocks": blocks,
        "v4_cells": flat,
        "v4_bounds": bounds,
        "v4_starts": inner_starts,
        "v4_values": inner_values,
    }


def _pack_v6(intervals: Intervals, width: int, rows: int) -> dict[str, array[int]]:
    kind = "B" if width == 1 else "H"
    starts, values = array("Q"), array(kind)
    keys, low_bounds, low_starts, low_values = array("Q"), array("I"), array("Q"), array(kind)
    # One entry per top half, MIXED where an interval begins within it, with a second level of low halves.
    last = -1  # the newest mixed top half
    before = 0
    for start, value in zip(intervals.starts, intervals.values, strict=True):
        cell = ALIASED_CELL[width] if value == ALIASED else value
        high, low = start >> 64, start & _LOW
        if last >= 0 and starts[-1] == last and high > last and (low or high > last + 1):
            starts.append(last + 1)  # the mixed /64 is over, and what its last interval has goes on
            values.append(before)
        if low == 0:
            starts.append(high)
            values.append(cell)
        else:
            if high != last:
                if starts[-1] == high:
                    values[-1] = MIXED[width]
                else:
                    starts.append(high)
                    values.append(MIXED[width])
                keys.append(high)
                low_bounds.append(len(low_starts))
                low_starts.append(0)
                low_values.append(before)
                last = high
            low_starts.append(low)
            low_values.append(cell)
        before = cell
    if starts[-1] == last and last < _LOW:
        starts.append(last + 1)
        values.append(before)
    low_bounds.append(len(low_starts))
    tops, nodes, bounds = _Nodes(starts, values, rows).packed()
    return {
        "v6_tops": tops,
        "v6_nodes": nodes,
        "v6_bounds": bounds,
        "v6_starts": starts,
        "v6_values": values,
        "low_keys": keys,
        "low_bounds": low_bounds,
        "low_starts": low_starts,
        "low_values": low_values,
    }


class _Nodes:
    """The way from an address's first bytes to the few starts between which to bisect. Equal nodes are kept once."""

    def __init__(self, starts: array[int], values: array[int], rows: int) -> None:
        self._starts, self._values, self._rows = starts, values, rows
        self._mixed = MIXED[values.itemsize]
        self._bounds: dict[tuple[int, int], int] = {}
        self._known: dict[bytes, int] = {}

    def packed(self) -> tuple[array[int], array[int], array[int]]:
        """(tops, nodes, bounds). Raises AddressDataUnavailable where their numbers would run into one another."""
        tops, nodes, bounds = array("I"), array("I"), array("I")
        at = 0
        for top in range(1 << 16):
            upto = bisect_left(self._starts, top + 1 << 48, at)
            tops.append(self._node(at, upto, top, 40))
            at = upto
        nodes.frombytes(b"".join(self._known))
        bounds.extend(chain.from_iterable(self._bounds))
        if self._rows + len(bounds) >= DEEP or len(nodes) >= 1 << 30:
            raise AddressDataUnavailable("the sources list more IPv6 networks than a table holds")
        return tops, nodes, bounds

    def _node(self, at: int, end: int, prefix: int, shift: int) -> int:
        """The place of a node over entries at..end, all below `prefix`; `shift` is how many bits its bytes leave."""
        starts = self._starts
        cells = array("I")
        while at < end:
            byte = starts[at] >> shift & 255
            if gap := byte - len(cells):
                cells.extend([self._alike(at - 1)] * gap)
            below = prefix << 8 | byte
            upto = bisect_left(starts, below + 1 << shift, at, end)
            if upto - at == 1 and starts[at] == below << shift:
                cells.append(self._alike(at))
            elif upto - at <= _BUCKET:
                cells.append(self._bucket(at, upto))
            else:
                cells.append(DEEP + self._node(at, upto, below, shift - 8))
            at = upto
        if gap := 256 - len(cells):
            cells.extend([self._alike(end - 1)] * gap)
        return self._known.setdefault(cells.tobytes(), len(self._known)) * 256

    def _alike(self, at: int) -> int:
        value = self._values[at]
        return value if value < self._mixed else self._bucket(at, at + 1)

    def _bucket(self, at: int, upto: int) -> int:
        return self._rows + 2 * self._bounds.setdefault((at, upto), len(self._bounds))
