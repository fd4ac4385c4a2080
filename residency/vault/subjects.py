"""Names that do not tell: a subject's id and a secret in, a digest out that only the secret's holder can repeat."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from residency.errors import SealError

__all__ = ["subject_digest"]

_SECRET_BYTES: Final = 32
_PURPOSE: Final = b"residency.subj.1"  # BLAKE2b's 16-byte personalisation: no digest of another kind collides


def subject_digest(key: bytes, subject_id: str) -> str:
    """Keyed BLAKE2b-256 of a non-empty subject id, 64 hex digits. Raises: SealError."""
    begun = _begun(key)
    if not subject_id:
        raise SealError("an empty subject id names nobody")
    try:
        encoded = subject_id.encode()
    except UnicodeEncodeError:
        raise SealError("a subject id is not Unicode text") from None
    state = begun.copy()
    state.update(encoded)
    return state.hexdigest()


@lru_cache(maxsize=4)  # a process has one or two; to begin anew takes as long as the rest
def _begun(key: bytes) -> hashlib.blake2b:
    if len(key) != _SECRET_BYTES:
        raise SealError(f"a subject key is {_SECRET_BYTES} bytes")
    return hashlib.blake2b(digest_size=32, key=key, person=_PURPOSE)
