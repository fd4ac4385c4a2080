"""A log's files and its checkpoint in; single bundles of entries, each proven to be in the tree, out.

One inclusion proof shows a whole bundle: the siblings of its first entry are made of all its other entries, so that a
proof which leads to the signed root binds each of them.
"""

from __future__ import annotations

from collections.abc import Callable

from residency.audit.checkpoint import Checkpoint
from residency.audit.merkle import Subtree, inclusion_proof, leaf_hash, root_of, verify_inclusion
from residency.audit.tiles import TILE_WIDTH, bundle_path, parse_bundle
from residency.audit.verify import tile_subtree
from residency.errors import VerificationError

__all__ = ["ProvenBundles"]

Read = Callable[[str], bytes | None]


class ProvenBundles:
    """The bundles of one log under one checkpoint, in any order. The last one read is kept."""

    def __init__(self, read: Read, checkpoint: Checkpoint) -> None:
        self._read = read
        self._checkpoint = checkpoint
        self._subtree: Subtree = tile_subtree(read, checkpoint.size)
        self._held: tuple[int, tuple[bytes, ...]] | None = None

    def entry(self, index: int) -> bytes:
        """Entry number `index`. Raises: VerificationError where it is not in the tree."""
        if not 0 <= index < self._checkpoint.size:
            raise VerificationError(f"index {index} is not in a log of {self._checkpoint.size} entries")
        return self.bundle(index // TILE_WIDTH)[index % TILE_WIDTH]

    def bundle(self, number: int) -> tuple[bytes, ...]:
        """The entries of bundle `number`, 256 or fewer. Raises: VerificationError."""
        if self._held is not None and self._held[0] == number:
            return self._held[1]
        start, size = number * TILE_WIDTH, self._checkpoint.size
        width = min(TILE_WIDTH, size - start)
        entries = self._load(number, width)
        leaves = [leaf_hash(entry) for entry in entries]

        def subtree(level: int, index: int) -> bytes:
            first = index << level
            if start <= first < start + width and level < 8:
                return root_of(leaves[first - start : first - start + (1 << level)])
            return self._subtree(level, index)

        proof = inclusion_proof(start, size, subtree)
        try:
            verify_inclusion(leaves[0], start, size, proof, self._checkpoint.root)
        except VerificationError:
            raise VerificationError(
                f"{bundle_path(number, width)}, or a tile above it, does not lead to the root in the checkpoint"
            ) from None
        self._held = number, entries
        return entries

    def _load(self, number: int, width: int) -> tuple[bytes, ...]:
        # tlog-tiles: a partial file may be gone once the full one is there.
        for path, there in ((bundle_path(number, width), width), (bundle_path(number), TILE_WIDTH)):
            data = self._read(path)
            if data is not None:
                return parse_bundle(data, there, path)[:width]
        raise VerificationError(f"{bundle_path(number, width)} is missing from the log")
