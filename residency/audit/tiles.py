"""Where things lie in a log folder (C2SP tlog-tiles): tile coordinates in, paths out; entries in, bundle bytes out.

A tile is up to 256 hashes of one level. `tile/<L>/<N>` holds roots of perfect subtrees of 256^L leaves; a tile that is
not full yet lies at `tile/<L>/<N>.p/<W>`. `tile/entries/<N>` holds the entries of tile N of level 0, each framed by its
length in two bytes, big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from residency.errors import VerificationError

__all__ = [
    "HASH_BYTES",
    "TILE_WIDTH",
    "bundle_path",
    "format_bundle",
    "parse_bundle",
    "parse_tile",
    "tile_path",
    "tile_sizes",
]

HASH_BYTES: Final = 32
TILE_WIDTH: Final = 256
_LENGTH = struct.Struct(">H")


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Path of tile `index` of `level`, `width` hashes wide (256 = full), below the log folder."""
    return f"tile/{level}/{_number(index, width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """Path of the entry bundle `index`, `width` entries wide (256 = full), below the log folder."""
    return f"tile/entries/{_number(index, width)}"


def _number(index: int, width: int) -> str:
    # Groups of three digits, all but the last marked with x, so that no folder grows beyond a thousand names.
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    path = "/".join(reversed(groups))
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def tile_sizes(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, full tiles, width of the partial tile or 0) of each level that a tree of `size` entries has."""
    level = 0
    while size > 0:
        yield level, size >> 8, size & 0xFF
        level, size = level + 1, size >> 8


def format_bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of an entry bundle. Each entry is at most 65,535 bytes."""
    parts: list[bytes] = [b""] * (2 * len(entries))
    parts[::2] = map(_LENGTH.pack, map(len, entries))
    parts[1::2] = entries
    return b"".join(parts)


def parse_bundle(data: bytes, width: int, where: str) -> tuple[bytes, ...]:
    """The `width` entries of a bundle; `where` names it in the error. Raises: VerificationError."""
    entries: list[bytes] = []
    offset = 0
    for _ in range(width):
        body = offset + _LENGTH.size
        if body > len(data):
            raise VerificationError(f"{where} ends at byte {len(data)}, after {len(entries)} of {width} entries")
        offset = body + (data[offset] << 8 | data[offset + 1])
        if offset > len(data):
            raise VerificationError(f"{where} ends at byte {len(data)}, within entry {len(entries)} of {width}")
        entries.append(data[body:offset])
    if offset != len(data):
        raise VerificationError(f"{where} has {len(data) - offset} bytes after its {width} entries")
    return tuple(entries)


def parse_tile(data: bytes, width: int, where: str) -> tuple[bytes, ...]:
    """The `width` hashes of a tile; `where` names it in the error. Raises: VerificationError."""
    if len(data) != width * HASH_BYTES:
        raise VerificationError(f"{where} is {len(data)} bytes, not {width} hashes of {HASH_BYTES}")
    return tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))
