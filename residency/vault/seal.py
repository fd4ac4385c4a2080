"""Envelope encryption of one value: key, nonce, plaintext and context in, sealed bytes out, and back.

Sealed = 0x01 (version) | 12-byte nonce | AES-256-GCM ciphertext and tag. Version and context are authenticated: a value
sealed for one place does not open in another.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from residency.errors import SealError

__all__ = ["KEY_BYTES", "NONCE_BYTES", "seal", "unseal"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_VERSION: Final = b"\x01"
_TAG_BYTES: Final = 16


def seal(key: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> bytes:
    """`plaintext` sealed under a 32-byte key; the 12-byte nonce must never serve twice with one key.

    Raises: SealError on a key or nonce of the wrong size.
    """
    if len(nonce) != NONCE_BYTES:
        raise SealError(f"a nonce is {NONCE_BYTES} bytes")
    return _VERSION + nonce + _cipher(key).encrypt(nonce, plaintext, _VERSION + context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plaintext that was sealed under `key` for `context`. Raises: SealError."""
    if len(sealed) < 1 + NONCE_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
        raise SealError("not a sealed value of version 1")
    nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return _cipher(key).decrypt(nonce, ciphertext, _VERSION + context)
    except InvalidTag:
        raise SealError("a sealed value does not open under this key and context") from None


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise SealError(f"a sealing key is {KEY_BYTES} bytes")
    return AESGCM(key)
