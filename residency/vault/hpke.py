"""Sealing to a country's public key, for who may keep a value and not read it: plaintext in, sealed bytes out, back.

Sealed = 0x02 (version) | wrapped data key, 80 bytes | 12-byte nonce | AES-256-GCM ciphertext and tag. The data key is
sealed to the public key by HPKE (RFC 9180, base mode: X25519, HKDF-SHA256, AES-256-GCM) under the info `residency home
1`; version and context are authenticated as in `vault.seal`. A data key serves a bounded number of values and is then
forgotten: sealing to the public key costs a hundred times what sealing under a data key does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from residency.errors import SealError

__all__ = ["PUBLIC_BYTES", "HomeBox", "open_box", "public_key"]

PUBLIC_BYTES: Final = 32
VALUES: Final = 1024
"""How many values one data key seals, and how many a memory image of the process could open."""
_VERSION: Final = b"\x02"
_INFO: Final = b"residency home 1"
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_WRAPPED_BYTES: Final = 32 + _KEY_BYTES + 16
_TAG_BYTES: Final = 16


def public_key(private: bytes) -> bytes:
    """The public key (32 bytes) of a private one (any 32 bytes that nobody can predict). Raises: SealError."""
    return _private(private).public_key().public_bytes_raw()


class HomeBox:
    """Seals to one public key (32 bytes); `token(size)` answers unpredictable bytes. Not to be shared by threads.

    The library takes the ephemeral key of HPKE from the system by itself.
    """

    __slots__ = ("_cipher", "_left", "_public", "_token", "_wrapped")

    def __init__(self, public: bytes, token: Callable[[int], bytes]) -> None:
        if len(public) != PUBLIC_BYTES:
            raise SealError(f"a public key is {PUBLIC_BYTES} bytes")
        self._public = X25519PublicKey.from_public_bytes(public)
        self._token = token
        self._left = 0

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """`plaintext` sealed for `context`; nobody without the private key opens it. Raises: SealError."""
        if self._left == 0:
            key = self._token(_KEY_BYTES)
            try:
                self._wrapped = _SUITE.encrypt(key, self._public, info=_INFO)
            except ValueError:  # a point of small order: every secret shared with it would be the same
                raise SealError("a public key of this kind seals nothing") from None
            self._cipher = AESGCM(key)
            self._left = VALUES
        self._left -= 1
        nonce = self._token(_NONCE_BYTES)
        return _VERSION + self._wrapped + nonce + self._cipher.encrypt(nonce, plaintext, _VERSION + context)


def open_box(private: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plaintext that was sealed for `context` to the public key of `private`. Raises: SealError."""
    start = 1 + _WRAPPED_BYTES
    if len(sealed) < start + _NONCE_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
        raise SealError("not a value sealed to a public key, of version 2")
    nonce = sealed[start : start + _NONCE_BYTES]
    try:
        key = _SUITE.decrypt(sealed[1:start], _private(private), info=_INFO)
        return AESGCM(key).decrypt(nonce, sealed[start + _NONCE_BYTES :], _VERSION + context)
    except (InvalidTag, ValueError):
        raise SealError("a value sealed to a public key does not open under this key and context") from None


def _private(raw: bytes) -> X25519PrivateKey:
    if len(raw) != _KEY_BYTES:
        raise SealError(f"a private key is {_KEY_BYTES} bytes")
    return X25519PrivateKey.from_private_bytes(raw)
