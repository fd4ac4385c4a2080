"""A document of plain values and a signer in, a signed note of it out; and back, where the signature holds.

The note's text is one line that names the kind and its version, and one line of JSON. A log's key may sign it: the
first line of a checkpoint is the log's name, so neither can be taken for the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from residency.audit.note import Signer, VerifierKey, format_note, verify_note
from residency.errors import VerificationError

__all__ = ["ERASURE", "EXPORT", "format_receipt", "instant", "parse_receipt"]

ERASURE: Final = "residency erasure receipt 1"
EXPORT: Final = "residency export manifest 1"


def format_receipt(kind: str, document: Mapping[str, Any], signer: Signer) -> bytes:
    """The signed note over a document of `kind`. Raises: ValueError where it is not plain JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return format_note(f"{kind}\n{text}\n", signer)


def parse_receipt(kind: str, data: bytes, key: VerifierKey) -> dict[str, Any]:
    """The document of a note of `kind` that `key` signed. Raises: VerificationError."""
    lines = verify_note(data, key).split("\n")
    if len(lines) != 3 or lines[0] != kind or lines[2]:
        raise VerificationError(f"this is no {kind}")
    try:
        document = json.loads(lines[1])
    except (ValueError, RecursionError):
        raise VerificationError(f"this {kind} is not JSON") from None
    if not isinstance(document, dict):
        raise VerificationError(f"this {kind} is no JSON object")
    return document


def instant(at: int) -> str:
    """An instant (microseconds, UTC) as documents write it, to the second."""
    return datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
