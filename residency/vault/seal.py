"""Envelope encryption of values: a country's key, plaintext and context in, sealed bytes out, and back.

Sealed = 0x03 (version) | 16-byte salt | 12-byte nonce | AES-256-GCM ciphertext and tag. The key of the cipher is
HKDF-SHA256 (RFC 5869) of the country's key and the salt, with the info `residency seal 3`: a random salt for every
million values, so that no key comes near the 2^32 random nonces that NIST SP 800-38D lets one have. Version and context
are authenticated: a value sealed for one place does not open in another.

What was sealed before (0x01 | nonce | ciphertext and tag, under the country's key itself) is still opened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from residency.errors import SealError

__all__ = ["KEY_BYTES", "VALUES", "Sealer", "derive", "unseal"]

KEY_BYTES: Final = 32
VALUES: Final = 1 << 20
"""How many values one derived key seals in one process; children that it forks count for themselves."""
_INFO: Final = b"residency seal 3"
_VERSION: Final = b"\x03"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_STARTS: Final = {_VERSION: 1 + _SALT_BYTES, b"\x01": 1}
"""By version, where the nonce is."""


class Sealer:
    """Seals under one country's 32-byte key; `token(size)` answers unpredictable bytes. Not to be shared by threads."""

    __slots__ = ("_cipher", "_key", "_left", "_salt", "_token")

    def __init__(self, key: bytes, token: Callable[[int], bytes]) -> None:
        """Raises: SealError on a key of the wrong size."""
        _check(key)
        self._key = key
        self._token = token
        self._left = 0

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """`plaintext` sealed for `context`."""
        if self._left == 0:
            self._salt = self._token(_SALT_BYTES)
            self._cipher = AESGCM(derive(self._key, self._salt, _INFO))
            self._left = VALUES
        self._left -= 1
        nonce = self._token(_NONCE_BYTES)
        return _VERSION + self._salt + nonce + self._cipher.encrypt(nonce, plaintext, _VERSION + context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The plaintext that was sealed under `key` for `context`. Raises: SealError."""
    _check(key)
    version = sealed[:1]
    start = _STARTS.get(version)
    if start is None or len(sealed) < start + _NONCE_BYTES + _TAG_BYTES:
        raise SealError("not a sealed value of version 3 or 1")
    cipher = AESGCM(key) if start == 1 else _derived(key, sealed[1:start])
    end = start + _NONCE_BYTES
    try:
        return cipher.decrypt(sealed[start:end], sealed[end:], version + context)
    except InvalidTag:
        raise SealError("a sealed value does not open under this key and context") from None


def derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


@lru_cache(maxsize=64)  # whoever reads many finds few salts
def _derived(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(derive(key, salt, _INFO))


def _check(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise SealError(f"a sealing key is {KEY_BYTES} bytes")
