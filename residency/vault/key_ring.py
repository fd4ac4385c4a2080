"""32 bytes by name and kind in, the keys that they are out: what every key store shares."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.errors import KeysUnavailable

__all__ = ["BYTES", "KeyRing"]

BYTES: Final = 32
"""The size of every key."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class KeyRing(ABC):
    """The `Keys` port over `_bytes_of`, which is the key store's own."""

    @abstractmethod
    def _bytes_of(self, name: str, kind: str) -> bytes:
        """The 32 bytes called `name` of a kind: `ed25519`, `mldsa44` (seeds) or `secret`. Raises: KeysUnavailable."""

    def signing_key(self, name: str) -> Ed25519PrivateKey:
        """The Ed25519 key called `name`. Raises: KeysUnavailable."""
        return Ed25519PrivateKey.from_private_bytes(self._get(name, "ed25519"))

    def ml_dsa_44_key(self, name: str) -> MLDSA44PrivateKey:
        """The ML-DSA-44 key called `name`. Raises: KeysUnavailable, also where the algorithm cannot be had."""
        try:
            return MLDSA44PrivateKey.from_seed_bytes(self._get(name, "mldsa44"))
        except UnsupportedAlgorithm:
            raise KeysUnavailable("ML-DSA-44 needs a `cryptography` over OpenSSL 3.5 or later, or AWS-LC") from None

    def secret(self, name: str) -> bytes:
        """The 32-byte secret called `name`. Raises: KeysUnavailable."""
        return self._get(name, "secret")

    def _get(self, name: str, kind: str) -> bytes:
        if _NAME.fullmatch(name) is None:
            raise KeysUnavailable("a key's name is 1 to 64 of a-z, 0-9, dot, dash and underscore")
        return self._bytes_of(name, kind)
