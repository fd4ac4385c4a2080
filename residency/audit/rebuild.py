"""The bundles of a log and its signed checkpoint in; every hash tile, made again, out.

Bundles hold the entries, and all else follows from them. What follows is the log's only if it leads to the signed root,
so nothing is to be written before `check_bundles` has gone through all of it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from residency.audit.checkpoint import Checkpoint
from residency.audit.sequencer import Tree
from residency.audit.tiles import TILE_WIDTH, tile_path, tile_sizes
from residency.audit.verify import perfect_root, read_bundle
from residency.errors import VerificationError

__all__ = ["check_bundles", "tiles_of"]

Read = Callable[[str], bytes | None]
_sha256 = hashlib.sha256


def check_bundles(read: Read, checkpoint: Checkpoint) -> Iterator[int]:
    """How many entries were hashed so far; exhausted without an error, they lead to the root that is signed.

    Raises: VerificationError, naming a bundle that is missing or not well-formed.
    """
    for hashed, _ in _grow(read, checkpoint):
        yield hashed


def tiles_of(read: Read, checkpoint: Checkpoint) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each tile of the log under `checkpoint`, partial ones last. Raises: VerificationError."""
    for _, tiles in _grow(read, checkpoint):
        yield from tiles


def _grow(read: Read, checkpoint: Checkpoint) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """(entries hashed so far, the tiles that they completed); last of all the partial tiles."""
    size = checkpoint.size
    edges: list[list[bytes]] = [[]]
    for start in range(0, size, TILE_WIDTH):
        entries = read_bundle(read, start // TILE_WIDTH, min(TILE_WIDTH, size - start))
        edges[0] = [_sha256(b"\x00" + entry).digest() for entry in entries]
        tiles: list[tuple[str, bytes]] = []
        level = 0
        while len(edges[level]) == TILE_WIDTH:
            number = ((start + TILE_WIDTH) >> (8 * (level + 1))) - 1
            tiles.append((tile_path(level, number), b"".join(edges[level])))
            if level + 1 == len(edges):
                edges.append([])
            edges[level + 1].append(perfect_root(edges[level]))
            edges[level] = []
            level += 1
        yield start + len(entries), tiles
    if Tree(size, tuple(map(tuple, edges))).root() != checkpoint.root:
        raise VerificationError(f"the {size} entries in the bundles do not hash to the root in the checkpoint")
    yield (
        size,
        [(tile_path(level, full, width), b"".join(edges[level])) for level, full, width in tile_sizes(size) if width],
    )
