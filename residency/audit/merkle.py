"""The Merkle tree of RFC 6962 section 2 (RFC 9162 section 2.1): hashes and integers in, roots and proofs out.

Leaf hash = SHA-256(0x00 || entry), node hash = SHA-256(0x01 || left || right). A tree of n leaves splits at the largest
power of two below n, so it is a row of perfect subtrees, one per set bit of n, largest first: the frontier. Everything
here follows from that row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from residency.errors import VerificationError

__all__ = [
    "EMPTY_ROOT",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

_sha256 = hashlib.sha256
EMPTY_ROOT: Final = _sha256(b"").digest()
# Hashes that have begun with the prefix of a leaf or a node: copied, they cost a tenth less than a call with all of it.
_leaf: Final = _sha256(b"\x00").copy
_node: Final = _sha256(b"\x01").copy

Subtree = Callable[[int, int], bytes]
"""`subtree(level, index)`: root of the perfect subtree over leaves [index * 2^level, (index + 1) * 2^level)."""


def leaf_hash(entry: bytes) -> bytes:
    """The 32-byte leaf hash of one entry."""
    begun = _leaf()
    begun.update(entry)
    return begun.digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The leaf hash of each entry, in order."""
    hashes: list[bytes] = []
    for entry in entries:
        begun = _leaf()
        begun.update(entry)
        hashes.append(begun.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of an inner node."""
    begun = _node()
    begun.update(left + right)
    return begun.digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    if not leaves:
        return EMPTY_ROOT
    # Pair by pair and level by level; the last of an odd row goes up as it is. That is the same tree as splitting at
    # the largest power of two, and cheaper than growing it leaf by leaf.
    row = leaves
    while len(row) > 1:
        odd = row[-1:] if len(row) & 1 else ()
        pairs = iter(row)
        above: list[bytes] = []
        for left, right in zip(pairs, pairs, strict=False):
            begun = _node()
            begun.update(left + right)
            above.append(begun.digest())
        row = [*above, *odd]
    return row[0]


def inclusion_proof(index: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The audit path of leaf `index` in the tree of `size` leaves, nearest sibling first.

    Raises: VerificationError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise VerificationError(f"index {index} is not in a tree of {size} entries")
    return tuple(_path(index, 0, size, subtree))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` (a leaf hash) is number `index` in the tree of `size` leaves under `root` (RFC 9162 2.1.3.2).

    Raises: VerificationError.
    """
    # 1. The index must lie in the tree; index 0 is a number like any other.
    if not 0 <= index < size:
        raise VerificationError(f"index {index} is not in a tree of {size} entries")
    # 2. Climb: a set low bit, or being the last node of a level, means that the sibling is on the left.
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError("an inclusion proof is longer than the tree is high")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node != 0:  # levels in which the last node has no sibling
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    # 3. The climb must end at the root, with nothing left to climb.
    if last != 0:
        raise VerificationError("an inclusion proof is shorter than the tree is high")
    if computed != root:
        raise VerificationError(f"the inclusion proof of entry {index} does not lead to the root")


def consistency_proof(old: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """Proof that the tree of `old` leaves is a prefix of that of `size` leaves.

    Raises: VerificationError unless 0 <= old <= size.
    """
    if not 0 <= old <= size:
        raise VerificationError(f"a tree of {old} entries is not a prefix of one of {size}")
    if old in (0, size):
        return ()
    return tuple(_prefix(old, 0, size, subtree, whole=True))


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Check that the tree (`old`, `old_root`) is a prefix of (`size`, `root`) (RFC 9162 2.1.4.2).

    Raises: VerificationError.
    """
    if not 0 <= old <= size:
        raise VerificationError(f"a tree of {old} entries is not a prefix of one of {size}")
    if old == size or old == 0:
        expected = root if old == size else EMPTY_ROOT
        if proof or old_root != expected:
            raise VerificationError("a consistency proof between trivial sizes does not hold")
        return
    node, last, path = old - 1, size - 1, list(proof)
    while node & 1:
        node, last = node >> 1, last >> 1
    # Where `old` is a power of two its root is itself the first node of the climb.
    seed = path.pop(0) if node and path else old_root
    if node and not proof:
        raise VerificationError("a consistency proof is empty")
    before = after = seed
    for sibling in path:
        if last == 0:
            raise VerificationError("a consistency proof is too long")
        if node & 1 or node == last:
            before, after = node_hash(sibling, before), node_hash(sibling, after)
            while not node & 1 and node != 0:
                node, last = node >> 1, last >> 1
        else:
            after = node_hash(after, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or before != old_root or after != root:
        raise VerificationError(f"the log of {size} entries does not continue the log of {old} entries")


def _fold(row: Sequence[bytes]) -> bytes:
    if not row:
        return EMPTY_ROOT
    root = row[-1]
    for left in reversed(row[:-1]):
        root = node_hash(left, root)
    return root


def _range_root(start: int, stop: int, subtree: Subtree) -> bytes:
    """Root over leaves [start, stop), where `start` is a multiple of the largest power of two that fits."""
    row: list[bytes] = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        row.append(subtree(level, start >> level))
        start += 1 << level
    return _fold(row)


def _split(start: int, stop: int) -> int:
    return start + (1 << ((stop - start - 1).bit_length() - 1))


def _path(index: int, start: int, stop: int, subtree: Subtree) -> list[bytes]:
    if stop - start == 1:
        return []
    middle = _split(start, stop)
    if index < middle:
        return [*_path(index, start, middle, subtree), _range_root(middle, stop, subtree)]
    return [*_path(index, middle, stop, subtree), _range_root(start, middle, subtree)]


def _prefix(old: int, start: int, stop: int, subtree: Subtree, *, whole: bool) -> list[bytes]:
    if old == stop:
        return [] if whole else [_range_root(start, stop, subtree)]
    middle = _split(start, stop)
    if old <= middle:
        return [*_prefix(old, start, middle, subtree, whole=whole), _range_root(middle, stop, subtree)]
    return [*_prefix(old, middle, stop, subtree, whole=False), _range_root(start, middle, subtree)]
