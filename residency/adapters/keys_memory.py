"""The `Keys` port in memory: made on first use, or refused; gone with the process."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from residency.errors import KeysUnavailable

__all__ = ["KeysMemory"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class KeysMemory:
    """Keys by name. `token(size)` is where new ones come from; with `create=False` there are none but those put in."""

    def __init__(self, *, create: bool = True, token: Callable[[int], bytes] = os.urandom) -> None:
        self._create = create
        self._token = token
        self._made: dict[str, bytes] = {}
        self._lock = threading.Lock()

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
        with self._lock:
            value = self._made.get(f"{name}.{kind}")
            if value is None:
                if not self._create:
                    raise KeysUnavailable(f"there is no {kind} key called {name}")
                value = self._made[f"{name}.{kind}"] = self._token(32)
            return value
