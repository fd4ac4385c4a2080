"""A log and a checkpoint that somebody saw of it earlier in; nothing out, once the one continues the other.

Who remembers a checkpoint can be shown no other history: a log that was rolled back, cut or rewritten since then has no
consistency proof from it, however well it is signed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from residency.audit.checkpoint import Checkpoint
from residency.audit.merkle import EMPTY_ROOT, consistency_proof, node_hash, verify_consistency
from residency.audit.verify import tile_subtree
from residency.errors import VerificationError

__all__ = ["check_continues", "check_not_older", "root_at"]

Read = Callable[[str], bytes | None]


def check_not_older(checkpoint: Checkpoint, seen: Checkpoint) -> None:
    """That the log is the one that was seen, and has not become shorter: what the checkpoints alone tell.

    Raises: VerificationError, with both roots.
    """
    if checkpoint.origin != seen.origin:
        raise VerificationError(f"this is the log {checkpoint.origin}, and what was seen is of {seen.origin}")
    if checkpoint.size < seen.size:
        raise VerificationError(f"the log has become shorter: {_both(checkpoint, seen)}")
    if checkpoint.size == seen.size and checkpoint.root != seen.root:
        raise VerificationError(f"the log is not the one that was seen: {_both(checkpoint, seen)}")


def check_continues(read: Read, checkpoint: Checkpoint, seen: Checkpoint) -> None:
    """That the log under `checkpoint`, whose files `read` reads, continues the one that was seen.

    Verify the files first: what their tiles hold is believed as far as it leads to both roots.

    Raises: VerificationError, with both roots.
    """
    check_not_older(checkpoint, seen)
    proof = consistency_proof(seen.size, checkpoint.size, tile_subtree(read, checkpoint.size))
    try:
        verify_consistency(seen.size, checkpoint.size, proof, seen.root, checkpoint.root)
    except VerificationError:
        raise VerificationError(f"the log does not continue the one that was seen: {_both(checkpoint, seen)}") from None


def _both(checkpoint: Checkpoint, seen: Checkpoint) -> str:
    return f"seen {_told(seen)}, now {_told(checkpoint)}"


def _told(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.size} entries under root {base64.b64encode(checkpoint.root).decode()}"


def root_at(read: Read, checkpoint: Checkpoint, size: int) -> bytes:
    """The root that the first `size` entries of the log under `checkpoint` have. Raises: VerificationError."""
    if not 0 <= size <= checkpoint.size:
        raise VerificationError(f"there are no {size} entries in a log of {checkpoint.size}")
    subtree = tile_subtree(read, checkpoint.size)
    row: list[bytes] = []
    start = 0
    while start < size:  # the perfect subtrees of that tree, largest first
        level = (size - start).bit_length() - 1
        row.append(subtree(level, start >> level))
        start += 1 << level
    if not row:
        return EMPTY_ROOT
    root = row.pop()
    while row:
        root = node_hash(row.pop(), root)
    return root
