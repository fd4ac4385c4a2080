"""What a second place must be given so that it holds the log too: two checkpoints and a reader in, files in order out.

A second place that holds the log under the checkpoint `held` is given what the checkpoint `newest` covers besides. Each
file is checked on the way: the tree of `newest` must continue that of `held`, every hash must lead to the root of
`newest`, every entry to its hash. What comes out may be locked for years, so nothing comes out that is not under a
signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from residency.audit.checkpoint import Checkpoint
from residency.audit.merkle import consistency_proof, leaf_hash, root_of, verify_consistency
from residency.audit.sequencer import Tree
from residency.audit.tiles import (
    HASH_BYTES,
    TILE_WIDTH,
    bundle_path,
    format_bundle,
    parse_bundle,
    parse_tile,
    tile_path,
    tile_sizes,
)
from residency.audit.verify import tile_subtree
from residency.errors import VerificationError

__all__ = ["Lock", "Place", "Required", "check_continues", "replaced", "shipment"]

Read = Callable[[str], bytes | None]
_KNOWN: Final = 64


@dataclass(frozen=True, slots=True)
class Lock:
    """What a store says of one object: put at `put`, under `mode` ("" = none), until `until` (microseconds, UTC)."""

    put: int
    mode: str
    until: int | None


@dataclass(frozen=True, slots=True)
class Required:
    """What lock is asked for: `until` tells, from the instant something was put, the instant it must be locked to
    (microseconds); `days` of default retention are enough for it."""

    until: Callable[[int], int]
    days: int


class Place(Protocol):
    """Where the log is to lie too. Raises Unavailable where it cannot be reached."""

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None."""

    def create(self, path: str, data: bytes) -> bool:
        """Put a final file; False where it is there already. Raises: VerificationError where others are there."""

    def write(self, path: str, data: bytes) -> None:
        """Replace what is at `path`."""

    def prune(self, path: str) -> None:
        """Remove all that lies below `path`."""

    def lock(self, path: str) -> Lock:
        """How long what lies at `path` is locked."""


def check_continues(read: Read, held: Checkpoint | None, newest: Checkpoint) -> None:
    """Check that the log in `read`, under `newest`, begins with what a second place holds. None = it holds nothing.

    Raises: VerificationError, saying how the second place differs.
    """
    if held is None:
        return
    if held.origin != newest.origin:
        raise VerificationError("the mirror holds the log of another origin: each log needs a place of its own")
    if held.size > newest.size:
        raise VerificationError(
            f"the mirror holds {held.size} entries and the log here only {newest.size}: what lies here is not all of "
            "it. A log that lost entries cannot go on under its origin: begin another one (`audit.origin`) that names "
            "this one as its `predecessor`, with a mirror of its own"
        )
    try:
        proof = consistency_proof(held.size, newest.size, tile_subtree(read, newest.size))
        verify_consistency(held.size, newest.size, proof, held.root, newest.root)
    except VerificationError as error:
        raise VerificationError(
            f"the mirror holds {held.size} entries that the log here does not begin with: one of the two is another "
            f"log, or was changed ({error})"
        ) from None


def shipment(read: Read, held: Checkpoint | None, newest: Checkpoint) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of each file that a second place lacks, final ones first; `read` gives the log of `newest`.

    Call `check_continues` before. Raises: VerificationError, naming the file that does not hold.
    """
    old, size = 0 if held is None else held.size, newest.size
    tiles = _Tiles(read, newest)
    # Full files, the oldest first: a place that was cut off goes on where it stood.
    for number in range(old // TILE_WIDTH, size // TILE_WIDTH):
        yield bundle_path(number), tiles.bundle(number, TILE_WIDTH)
        yield tile_path(0, number), b"".join(tiles.hashes(0, number))
        level, index = 0, number
        while (index + 1) % TILE_WIDTH == 0:
            level, index = level + 1, index // TILE_WIDTH
            yield tile_path(level, index), b"".join(tiles.hashes(level, index))
    # Partial files, where something came to them.
    for level, full, width in tile_sizes(size):
        if width and old >> (8 * level) != size >> (8 * level):
            if level == 0:
                yield bundle_path(full, width), tiles.bundle(full, width)
            yield tile_path(level, full, width), b"".join(tiles.hashes(level, full))


def replaced(old: int, size: int) -> Iterator[str]:
    """Folders of partial files that a place which held `old` entries no longer needs once it holds `size`."""
    for level, full, width in tile_sizes(old):
        if width and size >> (8 * (level + 1)) > full:
            yield tile_path(level, full) + ".p"
            if level == 0:
                yield bundle_path(full) + ".p"


class _Tiles:
    """The tiles and bundles under one checkpoint; each leads to its root, or is not given out."""

    def __init__(self, read: Read, checkpoint: Checkpoint) -> None:
        self._read = read
        sizes = list(tile_sizes(checkpoint.size))
        self._full = [full for _, full, _ in sizes]
        # The right edge must hash to the root, so that whatever hashes into it is under the signature.
        self._edges = [self._tile(level, full, width) if width else () for level, full, width in sizes]
        if Tree(checkpoint.size, tuple(self._edges)).root() != checkpoint.root:
            raise VerificationError(f"the tiles of {checkpoint.size} entries do not hash to the root in the checkpoint")
        self._known: dict[tuple[int, int], tuple[bytes, ...]] = {}

    def hashes(self, level: int, index: int) -> tuple[bytes, ...]:
        """The hashes of a tile, checked by the tile above it."""
        if index == self._full[level]:
            return self._edges[level]
        known = self._known.get((level, index))
        if known is None:
            above, within = divmod(index, TILE_WIDTH)
            expected = self.hashes(level + 1, above)[within]
            known = self._tile(level, index, TILE_WIDTH)
            if root_of(known) != expected:
                raise VerificationError(f"{tile_path(level, index)} is not what the tile above it commits to")
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[level, index] = known
        return known

    def bundle(self, number: int, width: int) -> bytes:
        """The bytes of a bundle, each entry checked by its hash."""
        path = bundle_path(number, width)
        data = self._read(path)
        # The log grows meanwhile: a partial file is gone once the full one is there.
        if data is None and width < TILE_WIDTH and (full := self._read(bundle_path(number))) is not None:
            data = format_bundle(parse_bundle(full, TILE_WIDTH, bundle_path(number))[:width])
        if data is None:
            raise VerificationError(f"{path} is missing from the log")
        if tuple(map(leaf_hash, parse_bundle(data, width, path))) != self.hashes(0, number):
            raise VerificationError(f"{path} is not what {tile_path(0, number, width)} commits to")
        return data

    def _tile(self, level: int, index: int, width: int) -> tuple[bytes, ...]:
        path = tile_path(level, index, width)
        data = self._read(path)
        if data is None and width < TILE_WIDTH and (full := self._read(tile_path(level, index))) is not None:
            data = full[: width * HASH_BYTES]
        if data is None:
            raise VerificationError(f"{path} is missing from the log")
        return parse_tile(data, width, path)
