"""Checkpoints (C2SP tlog-checkpoint): the state of a log in, the text that its signed note carries out, and back.

The text is origin, size and root, a line each. The note around it is `residency.audit.note`'s, whose names most readers
of checkpoints need too.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from residency.audit.note import (
    Signer,
    VerifierKey,
    decode_base64,
    format_note,
    format_verifier_key,
    note_signer,
    parse_verifier_key,
    verify_note,
)
from residency.errors import VerificationError

__all__ = [
    "Checkpoint",
    "Signer",
    "VerifierKey",
    "format_checkpoint",
    "format_note",
    "format_verifier_key",
    "note_signer",
    "parse_checkpoint",
    "parse_verifier_key",
    "verify_checkpoint",
    "verify_note",
]

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_MAX_SIZE: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: its origin, the number of entries, the root over them."""

    origin: str
    size: int
    root: bytes


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The text of a checkpoint, ready to be signed."""
    return f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text; extension lines are allowed and ignored. Raises: VerificationError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise VerificationError("a checkpoint is not origin, size and root")
    if _SIZE.fullmatch(lines[1]) is None or int(lines[1]) > _MAX_SIZE:
        raise VerificationError("a checkpoint's size is not a decimal number")
    root = decode_base64(lines[2], "a checkpoint's root")
    if len(root) != 32:
        raise VerificationError("a checkpoint's root is not 32 bytes")
    return Checkpoint(lines[0], int(lines[1]), root)


def verify_checkpoint(note: bytes, key: VerifierKey, origin: str | None = None) -> Checkpoint:
    """The checkpoint in `note`, signed by `key`, of the log `origin` (None = the one that the key is named after).

    Raises: VerificationError.
    """
    checkpoint = parse_checkpoint(verify_note(note, key))
    if checkpoint.origin != (key.name if origin is None else origin):
        expected = "the verifier key's name" if origin is None else "the one that was asked for"
        raise VerificationError(f"the checkpoint's origin is not {expected}")
    return checkpoint
