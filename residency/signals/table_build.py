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
from itertools import chain, groupby
from struct import Struct, iter_unpack
from typing import Final

from residency.errors import AddressDataUnavailable
from residency.signals.table import ALIGN, BUCKET, FORMAT, HEADER, MAGIC, SECTIONS, Row
from residency.signals.table_layers import ALIASED, SPECIAL, Alias, Intervals, Layer, Overlaid, layer_of, overlay

__all__ = ["ALIASED", "SPECIAL", "Alias", "Intervals", "Layer", "Overlaid", "build", "count_in", "layer_of", "overlay"]

_V4: Final = 1 << 32
_V6: Final = 1 << 128
_LOW: Final = (1 << 64) - 1
_BISECTED: Final = 64  # entries in a bucket at most; fewer means more nodes, of 1 KB each


def build(
    v4: Intervals, v6: Intervals, rows: Sequence[Row], meta: Mapping[str, object], aliases: Sequence[Alias] = ()
) -> bytes:
    """The table's bytes. `meta` must be JSON; format, counts of rows and of Vietnamese addresses are added to it.

    Raises: AddressDataUnavailable where there are more rows than two-byte cells can tell apart.
    """
    if sys.byteorder != "little":
        raise AddressDataUnavailable("address tables are little-endian, and this machine is not")
    if len(rows) > 65_534:
        raise AddressDataUnavailable("the sources tell more kinds of addresses apart than a table holds")
    sections = _pack_v4(v4, len(rows)) | _pack_v6(v6, len(rows))
    places: dict[str, tuple[int, int, str]] = {}
    body = bytearray()
    for name in SECTIONS:
        data = sections[name].tobytes()
        places[name] = (len(body), len(data), sections[name].typecode)
        body += data + bytes(-len(data) % ALIGN)
    four, six = count_in("VN", v4, v6, rows)
    head = {
        "meta": {**meta, "format": FORMAT, "vn_addresses": {"ipv4": four, "ipv6_64": six}},
        "rows": [list(asdict(row).values()) for row in rows],
        "aliases": [[f"{prefix:x}", length] for prefix, length in sorted(aliases)],
        "sections": places,
    }
    text = json.dumps(head, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-(HEADER.size + len(text)) % ALIGN)
    digest = hashlib.sha256(text)
    digest.update(body)
    return b"".join((HEADER.pack(MAGIC, len(text), len(body), digest.digest()), text, body))


def count_in(country: str, v4: Intervals, v6: Intervals, rows: Sequence[Row]) -> tuple[int, int]:
    """(IPv4 addresses, IPv6 /64s) that lie in `country` by the main database."""
    inside = {index for index, row in enumerate(rows) if row.country == country}
    counts = []
    for intervals, end in ((v4, _V4), (v6, _V6)):
        starts, last = intervals.starts, len(intervals.starts) - 1
        within = [at for at, value in enumerate(intervals.values) if value in inside]
        counts.append(sum((starts[at + 1] if at < last else end) - starts[at] for at in within))
    return counts[0], counts[1] >> 64


class _Places(dict[bytes, int]):
    """Where each distinct key lies if one takes `size`, in the order of first asking, from `first` on."""

    def __init__(self, size: int = 1, first: int = 0) -> None:
        self._size, self._first = size, first

    def __missing__(self, key: bytes) -> int:
        self[key] = place = self._first + len(self) * self._size
        return place


def _kind(largest: int) -> str:
    """The smallest unsigned array type that holds `largest`."""
    return "B" if largest < 1 << 8 else "H" if largest < 1 << 16 else "I"


def _pack_v4(intervals: Intervals, rows: int) -> dict[str, array[int]]:
    starts, values = intervals.starts, intervals.values
    kind = _kind(rows + 1)
    width = array(kind).itemsize
    cell = [value.to_bytes(width, "little") for value in range(rows + 1)]
    # 1. One cell for each /24, written run by run; the marks below overwrite a run's ragged ends.
    cells = bytearray()
    at = 0
    for end, value in zip(chain(starts[1:], (_V4,)), values, strict=True):
        upto = end >> 8
        if upto > at:
            cells += cell[value] * (upto - at)
            at = upto
    # 2. Each /24 in which an interval begins, address by address, as 16 parts.
    numbers: dict[int, array[int]] = {}  # top 16 bits -> the number of each mixed /24
    parts = array("I")
    known = _Places()
    sixteen = Struct(f"{16 * width}s" * 16).unpack
    for block, ragged in groupby((at for at, start in enumerate(starts) if start & 255), lambda at: starts[at] >> 8):
        inside = bytearray()
        filled = before = 0
        for at in ragged:
            upto = starts[at] & 255
            inside += cell[values[at - 1]] * (upto - filled)
            filled, before = upto, at
        inside += cell[values[before]] * (256 - filled)
        cells[block * width : (block + 1) * width] = cell[rows]
        if block >> 8 not in numbers:
            numbers[block >> 8] = array("I", bytes(1024))
        numbers[block >> 8][block & 255] = len(parts) >> 4
        parts.extend(map(known.__getitem__, sixteen(inside)))
    mixed_blocks = array("I", bytes(4 << 16))
    for place, top in enumerate(numbers):
        mixed_blocks[top] = place << 8
    # 3. Blocks of 256 cells, equal ones once.
    whole = _Places(256)
    blocks = array("I", map(whole.__getitem__, chain.from_iterable(iter_unpack(f"{256 * width}s", cells))))
    return {
        "v4_blocks": blocks,
        "v4_cells": array(kind, b"".join(whole)),
        "v4_mixed_blocks": array(_kind(len(numbers) << 8), mixed_blocks),
        "v4_mixed": array(_kind(len(parts) >> 4), chain.from_iterable(numbers.values())),
        "v4_parts": array(_kind(len(known)), parts),
        "v4_ends": array(kind, b"".join(known)),
    }


def _pack_v6(intervals: Intervals, rows: int) -> dict[str, array[int]]:
    kind = _kind(rows + 1)
    mixed, aliased = rows, rows + 1
    cells = [aliased if value == ALIASED else value for value in intervals.values]
    highs = [start >> 64 for start in intervals.starts]
    starts, values = array("Q"), array(kind)
    keys, low_bounds, low_starts, low_values = array("Q"), array("I"), array("Q"), array(kind)
    # One entry per top half, MIXED where an interval begins within it, with a second level of low halves.
    at = 0  # the first interval that is not yet taken
    inside = (at for at, start in enumerate(intervals.starts) if start & _LOW)
    for high, group in groupby(inside, highs.__getitem__):
        ragged = list(group)
        whole = ragged[0] - 1 if highs[ragged[0] - 1] == high else ragged[0]
        starts.extend(highs[at:whole])
        values.extend(cells[at:whole])
        at = ragged[-1] + 1
        starts.append(high)
        values.append(mixed)
        keys.append(high)
        low_bounds.append(len(low_starts))
        low_starts.append(0)
        low_starts.extend(intervals.starts[i] & _LOW for i in ragged)
        low_values.extend(cells[ragged[0] - 1 : at])
        if (highs[at] if at < len(highs) else _LOW + 1) > high + 1:
            starts.append(high + 1)  # what the last interval has goes on
            values.append(cells[at - 1])
    starts.extend(highs[at:])
    values.extend(cells[at:])
    low_bounds.append(len(low_starts))
    tops, nodes = _Nodes(starts, values, rows).packed()
    return {
        "v6_tops": tops,
        "v6_nodes": nodes,
        "v6_starts": starts,
        "v6_values": array(kind, [0]) + values,
        "low_keys": keys,
        "low_bounds": low_bounds,
        "low_starts": low_starts,
        "low_values": low_values,
    }


class _Nodes:
    """The way from an address's first bytes to the few starts between which to bisect. Equal nodes are kept once."""

    def __init__(self, starts: array[int], values: array[int], rows: int) -> None:
        self._starts, self._values, self._rows = starts, values, rows
        self._known = _Places(256, rows)  # no place looks like a row

    def packed(self) -> tuple[array[int], array[int]]:
        """(tops, nodes). Raises AddressDataUnavailable where their numbers would run into one another."""
        tops, nodes = array("I"), array("I")
        at = 0
        for top in sorted({start >> 48 for start in self._starts}):
            if gap := top - len(tops):
                tops.extend([self._node(at, at, 0, 40)] * gap)
            upto = bisect_left(self._starts, top + 1 << 48, at)
            tops.append(self._node(at, upto, top, 40))
            at = upto
        if gap := (1 << 16) - len(tops):
            tops.extend([self._node(at, at, 0, 40)] * gap)
        nodes.frombytes(bytes(4 * self._rows) + b"".join(self._known))
        if len(nodes) >= BUCKET or len(self._starts) >= 1 << 23:
            raise AddressDataUnavailable("the sources list more IPv6 networks than a table holds")
        return tops, nodes

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
            elif upto - at <= _BISECTED:
                cells.append(self._bucket(at, upto))
            else:
                cells.append(self._node(at, upto, below, shift - 8))
            at = upto
        if gap := 256 - len(cells):
            cells.extend([self._alike(end - 1)] * gap)
        return self._known[cells.tobytes()]

    def _alike(self, at: int) -> int:
        value = self._values[at]
        return value if value < self._rows else self._bucket(at, at + 1)

    def _bucket(self, at: int, upto: int) -> int:
        return BUCKET + (at << 8 | upto - at)
