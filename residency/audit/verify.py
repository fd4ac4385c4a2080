"""The outsider's check: a reader of the log's files and a verifier key in, the entries out once they hold.

Nothing here trusts a byte that it has not recomputed. Memory stays bounded: one bundle, and one edge per tile level.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from residency.audit.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from residency.audit.merkle import Subtree, inclusion_proof, leaf_hash, root_of, verify_inclusion
from residency.audit.sequencer import CHECKPOINT_PATH, Tree
from residency.audit.tiles import TILE_WIDTH, bundle_path, parse_bundle, parse_tile, tile_path
from residency.errors import VerificationError

__all__ = [
    "perfect_root",
    "prove_entry",
    "read_bundle",
    "read_checkpoint",
    "read_entry",
    "read_signed",
    "tile_subtree",
    "verify_bundles",
    "verify_entries",
]

Read = Callable[[str], bytes | None]
_CACHED_TILES = 64
_sha256 = hashlib.sha256


def read_checkpoint(read: Read, key: VerifierKey) -> Checkpoint:
    """The log's newest checkpoint, its signature verified. Raises: VerificationError."""
    return read_signed(read, key)[1]


def read_signed(read: Read, key: VerifierKey) -> tuple[bytes, Checkpoint]:
    """As `read_checkpoint`, with the note as it is signed."""
    note = read(CHECKPOINT_PATH)
    if note is None:
        raise VerificationError("the log has no checkpoint")
    try:
        return note, verify_checkpoint(note, key)
    except VerificationError as error:
        raise VerificationError(f"{CHECKPOINT_PATH}: {error}") from None


def verify_entries(read: Read, checkpoint: Checkpoint) -> Iterator[bytes]:
    """Every entry under `checkpoint`, in order. They hold once the iterator is exhausted without an error.

    Raises: VerificationError, naming the file, and the entry where it is one.
    """
    for _start, entries in verify_bundles(read, checkpoint):
        yield from entries


def verify_bundles(read: Read, checkpoint: Checkpoint) -> Iterator[tuple[int, tuple[bytes, ...]]]:
    """As `verify_entries`, bundle by bundle: (number of its first entry, its entries)."""
    size = checkpoint.size
    edges: list[list[bytes]] = [[]]
    # 1. Each bundle must hash to its tile of level 0, hash by hash.
    for start in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - start)
        entries = read_bundle(read, start // TILE_WIDTH, width)
        leaves = [_sha256(b"\x00" + entry).digest() for entry in entries]
        if read(tile_path(0, start // TILE_WIDTH, width)) != b"".join(leaves):
            path, tile = _tile(read, 0, start // TILE_WIDTH, width)
            for i, (leaf, stored) in enumerate(zip(leaves, tile, strict=True)):
                if leaf != stored:
                    raise VerificationError(f"entry {start + i} is not the one that {path} commits to")
        yield start, entries
        # 2. Each full tile must hash to its place in the tile above; the rest is the right edge.
        edges[0] = leaves
        level = 0
        while len(edges[level]) == TILE_WIDTH:
            if level:
                _compare(read, level, ((start + TILE_WIDTH) >> (8 * (level + 1))) - 1, edges[level])
            if level + 1 == len(edges):
                edges.append([])
            edges[level + 1].append(perfect_root(edges[level]))
            edges[level] = []
            level += 1
    for level in range(1, len(edges)):
        if edges[level]:
            _compare(read, level, (size >> (8 * level)) // TILE_WIDTH, edges[level])
    # 3. The edges must hash to the root that the checkpoint signs.
    if Tree(size, tuple(map(tuple, edges))).root() != checkpoint.root:
        raise VerificationError(f"the {size} entries do not hash to the root in the checkpoint")


def read_entry(read: Read, index: int, size: int) -> bytes:
    """Entry `index` of a log of `size` entries, unverified: see `prove_entry`. Raises: VerificationError."""
    if not 0 <= index < size:
        raise VerificationError(f"index {index} is not in a log of {size} entries")
    number = index // TILE_WIDTH
    return read_bundle(read, number, min(TILE_WIDTH, size - number * TILE_WIDTH))[index % TILE_WIDTH]


def prove_entry(read: Read, index: int, checkpoint: Checkpoint) -> tuple[bytes, tuple[bytes, ...]]:
    """(entry, inclusion proof) of entry `index`, checked against the checkpoint. Raises: VerificationError."""
    entry = read_entry(read, index, checkpoint.size)
    proof = inclusion_proof(index, checkpoint.size, tile_subtree(read, checkpoint.size))
    verify_inclusion(leaf_hash(entry), index, checkpoint.size, proof, checkpoint.root)
    return entry, proof


def tile_subtree(read: Read, size: int) -> Subtree:
    """Roots of perfect subtrees, read from the tiles of a log of `size` entries, for building proofs."""
    cache: dict[tuple[int, int], tuple[bytes, ...]] = {}

    def subtree(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, 8)
        first = index << height  # of 2^height neighbours in one tile
        number = first // TILE_WIDTH
        tile = cache.get((tile_level, number))
        if tile is None:
            width = min(TILE_WIDTH, (size >> (8 * tile_level)) - number * TILE_WIDTH)
            if len(cache) >= _CACHED_TILES:
                cache.clear()
            tile = cache[tile_level, number] = _tile(read, tile_level, number, width)[1]
        within = first % TILE_WIDTH
        return root_of(tile[within : within + (1 << height)])

    return subtree


def read_bundle(read: Read, number: int, width: int) -> tuple[bytes, ...]:
    """The `width` entries of bundle `number`, from its partial file or the full one. Raises: VerificationError."""
    path = bundle_path(number, width)
    data = read(path)
    if data is None and width < TILE_WIDTH:
        # tlog-tiles: a partial file may be gone once the full one is there.
        path = bundle_path(number)
        data = read(path)
        if data is not None:
            return parse_bundle(data, TILE_WIDTH, path)[:width]
    if data is None:
        raise VerificationError(f"{bundle_path(number, width)} is missing from the log")
    return parse_bundle(data, width, path)


def _tile(read: Read, level: int, number: int, width: int) -> tuple[str, tuple[bytes, ...]]:
    path = tile_path(level, number, width)
    data = read(path)
    if data is None and width < TILE_WIDTH:
        path = tile_path(level, number)
        data = read(path)
        if data is not None:
            return path, parse_tile(data, TILE_WIDTH, path)[:width]
    if data is None:
        raise VerificationError(f"{tile_path(level, number, width)} is missing from the log")
    return path, parse_tile(data, width, path)


def _compare(read: Read, level: int, number: int, hashes: list[bytes]) -> None:
    path, tile = _tile(read, level, number, len(hashes))
    for i, (computed, stored) in enumerate(zip(hashes, tile, strict=True)):
        if computed != stored:
            raise VerificationError(f"{path}: hash {i} is not that of the tile below")


def perfect_root(hashes: list[bytes]) -> bytes:
    """The root over a full tile: its hashes in pairs, level by level, which is faster than one by one."""
    while len(hashes) > 1:
        hashes = [
            _sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]
