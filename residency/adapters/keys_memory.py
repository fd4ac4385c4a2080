"""The `Keys` port in memory: made on first use, or refused; gone with the process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from residency.errors import KeysUnavailable
from residency.vault.key_ring import BYTES, KeyRing

__all__ = ["KeysMemory"]


class KeysMemory(KeyRing):
    """Keys by name. `token(size)` is where new ones come from; with `create=False` there are none but those put in."""

    def __init__(self, *, create: bool = True, token: Callable[[int], bytes] = os.urandom) -> None:
        self._create = create
        self._token = token
        self._made: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def _bytes_of(self, name: str, kind: str) -> bytes:
        with self._lock:
            value = self._made.get(f"{name}.{kind}")
            if value is None:
                if not self._create:
                    raise KeysUnavailable(f"there is no {kind} key called {name}")
                value = self._made[f"{name}.{kind}"] = self._token(BYTES)
            return value
