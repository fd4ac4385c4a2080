"""An open connection in; whether the store is the one it was, and of the same key, out.

Beside the pins lies a mark: which key their subjects are digested with, and a random name that the store got when it
was first used. A process that has seen the name and finds it gone or another knows that the store was emptied or
replaced: then "no pin" means nothing, and each person would get a home anew. In a cluster each primary can be emptied
alone, so there are marks all over the slots.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Final

from redis.crc import key_slot
from redis.exceptions import ResponseError

from residency.adapters.pins_redis.exchange import Wire
from residency.errors import PinsUnavailable

__all__ = ["SLOTS", "Marks"]

_log = logging.getLogger("residency")
SLOTS: Final = 16_384
"""Hash slots of a cluster."""
_BAND: Final = 256
"""Slots that share one mark: a primary that holds 511 slots in a row holds a mark."""


class Marks:
    """The marks of one store, and which of their names this process has seen."""

    __slots__ = ("_keys", "_mark", "_seen")

    def __init__(self, prefix: bytes, key_mark: str | None, *, cluster: bool) -> None:
        """`key_mark` tells the key under which subjects are digested from any other, without telling the key."""
        self._mark = (key_mark or "-").encode()
        self._seen: dict[bytes, bytes] = {}
        self._keys = _spread(prefix) if cluster else {prefix + b"key_mark": 0}

    def keys(self, owned: Callable[[int], bool]) -> list[bytes]:
        """The marks in slots that are `owned`."""
        return [key for key, slot in self._keys.items() if owned(slot)]

    def adopt(self, wire: Wire, keys: list[bytes]) -> None:
        """Check the marks, and set those that nobody has seen. Raises: PinsUnavailable, FAILURES."""
        missing = 0
        for key in keys:
            if key not in self._seen:
                # SET NX: of processes that start at once on a new store, one names it.
                name = secrets.token_hex(8).encode()
                missing += wire.ask("SET", key, self._mark + b" " + name, "NX") is not None
            self.check(key, wire.ask("GET", key))
        if missing:
            # Whether it is new or was emptied while nobody looked, only people know.
            _log.warning(
                "the pins' store holds no mark (%d of %d missing): right for a new one; one that was in use has lost"
                " homes, so stop now and restore its data",
                missing,
                len(keys),
            )

    def check(self, key: bytes, found: object) -> None:
        """Check one mark as it was read. Raises: PinsUnavailable, ResponseError."""
        if isinstance(found, ResponseError):
            raise found
        if found is not None and not isinstance(found, bytes):
            raise PinsUnavailable("the pins' mark is not a text")
        if found is not None and found.partition(b" ")[0] != self._mark:
            raise PinsUnavailable("the pins were written under another `subjects` key: bring that key back")
        if found is None or self._seen.setdefault(key, found) != found:
            raise PinsUnavailable(
                "the pins' server came back without what it held: restore its data, or restart this service to go on"
                " with none"
            )


def _spread(prefix: bytes) -> dict[bytes, int]:
    """A key in each band of slots."""
    found: dict[int, tuple[bytes, int]] = {}
    number = 0
    while len(found) < SLOTS // _BAND:
        key = prefix + b"key_mark:%d" % number
        slot = key_slot(key)
        found.setdefault(slot // _BAND, (key, slot))
        number += 1
    return dict(found.values())
