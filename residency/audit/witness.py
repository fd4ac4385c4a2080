"""A log's checkpoint and the one that a witness remembers of it in; whether the one continues the other, out.

A witness believes no log: it cosigns a checkpoint once a proof, made of the log's own tiles, leads from what it signed
before to what it is to sign now. A log that shows something else has signed two histories; both notes are the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from residency.audit.checkpoint import Checkpoint, VerifierKey, verify_checkpoint
from residency.audit.cosignature import Cosignature, require_cosignatures
from residency.audit.merkle import EMPTY_ROOT, node_hash
from residency.audit.remembered import check_continues, check_not_older
from residency.audit.verify import tile_subtree
from residency.errors import VerificationError

__all__ = ["Judgement", "judge", "verify_witnessed"]

Read = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a witness found: the log's checkpoint, the one it remembered, and why it must not cosign (None = it may)."""

    checkpoint: Checkpoint
    seen: Checkpoint | None
    conflict: str | None = None


def judge(
    note: bytes, key: VerifierKey, remembered: bytes | None, read: Read, *, origin: str | None = None
) -> Judgement:
    """Whether the checkpoint in `note` continues the one in the note `remembered` (None = nothing is remembered yet).

    `key` is the log's; `origin` its origin, None = the key's name. `read` gives the log's files.

    Raises: VerificationError where a note does not verify or tiles are missing: nothing is known then, nothing proved.
    """
    # 1. Signed by the log, both of them: what was kept badly is not "nothing remembered".
    checkpoint = verify_checkpoint(note, key, origin)
    seen = None
    if remembered is not None:
        try:
            seen = verify_checkpoint(remembered, key, origin)
        except VerificationError as error:
            raise VerificationError(f"the checkpoint that is remembered of this log: {error}") from None
    # 2. What two checkpoints contradict alone, they prove alone.
    if seen is not None:
        try:
            check_not_older(checkpoint, seen)
        except VerificationError as error:
            return Judgement(checkpoint, seen, str(error))
    # 3. The log's tiles lead to its root; a first checkpoint is believed that far.
    if _root(read, checkpoint.size) != checkpoint.root:
        raise VerificationError(f"the log's tiles do not lead to the root of its {checkpoint.size} entries")
    # 4. And from what was remembered to it.
    if seen is not None:
        try:
            check_continues(read, checkpoint, seen)
        except VerificationError as error:
            return Judgement(checkpoint, seen, str(error))
    return Judgement(checkpoint, seen)


def _root(read: Read, size: int) -> bytes:
    subtree = tile_subtree(read, size)
    root, stop = EMPTY_ROOT, size
    while stop:  # the perfect subtrees that `size` is made of, the smallest and last one first
        level = (stop & -stop).bit_length() - 1
        peak = subtree(level, (stop >> level) - 1)
        root = peak if stop == size else node_hash(peak, root)
        stop -= 1 << level
    return root


def verify_witnessed(
    read: Read,
    newest: Checkpoint,
    note: bytes,
    log_key: VerifierKey,
    witnesses: Sequence[VerifierKey],
    quorum: int,
    now: int | None = None,
) -> tuple[Checkpoint, tuple[Cosignature, ...]]:
    """The checkpoint that `quorum` of `witnesses` cosigned, in `note`, and their cosignatures; `newest` continues it.

    A log's newest checkpoint is a moment old and cosigned by nobody yet: `note` may be an older one. `now` in seconds.

    Raises: VerificationError; ValueError where the quorum is below one or beyond what the keys could reach.
    """
    witnessed = verify_checkpoint(note, log_key, newest.origin)
    held = require_cosignatures(note, witnesses, quorum, now)
    check_continues(read, newest, witnessed)
    return witnessed, held
