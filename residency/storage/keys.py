"""Time and entropy in, keys unique across sinks out; object keys in, an error or nothing out.

Two sinks that both count ids from 1 hand out another person's record. So rows on routed stores are keyed by UUIDv7
(RFC 9562 section 5.7): 48 bits of milliseconds, then random bits, sortable by time and unique without asking anybody.
"""

from __future__ import annotations

import re
import threading
from typing import Final

from residency.enforcement.ports import Clock, Entropy
from residency.errors import UsageError

__all__ = ["RESERVED", "KeyMaker", "check_app_key", "check_key", "is_hidden", "uuid7"]

RESERVED: Final = ".residency/"
"""What the keys of this package's own objects begin with. Listings do not tell them, but to who asks for them."""

_RANDOM_BYTES: Final = 10
_KEY_LIMIT: Final = 512  # characters
_KEY_BYTES: Final = 900  # S3 and GCS take 1,024 with the prefix of the sink, and a key must fit every sink of its store
_plain: Final = re.compile(r"[\w-]+(?:[./][\w-]+)*", re.ASCII).fullmatch
"""Knows keys as most are: words joined by single dots and slashes, of which nothing but the length can be wrong."""


def uuid7(now_us: int, entropy: bytes) -> str:
    """The UUIDv7 of a time (microseconds since the epoch, UTC) and 10 random bytes, in lower-case text form.

    Raises: ValueError where the time does not fit 48 bits of milliseconds or the entropy is not 10 bytes.
    """
    milliseconds = now_us // 1000
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError("the time does not fit a UUIDv7")
    if len(entropy) != _RANDOM_BYTES:
        raise ValueError("a UUIDv7 takes exactly 10 bytes of entropy")
    raw = bytearray(milliseconds.to_bytes(6, "big") + entropy)
    raw[6] = raw[6] & 0x0F | 0x70  # version 7
    raw[8] = raw[8] & 0x3F | 0x80  # variant 10
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class KeyMaker:
    """Makes UUIDv7 keys that grow strictly within this process, even where the wall clock steps back.

    Within one millisecond the random part of the last key is counted up (RFC 9562 section 6.2, method 2); each new
    millisecond draws anew, with the counter's top bit clear so that it has room to count.
    """

    __slots__ = ("_clock", "_counter", "_entropy", "_lock", "_millisecond")

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._millisecond = -1
        self._counter = 0

    def new_key(self) -> str:
        """A key that nobody else has, greater than every key this maker gave before."""
        tail = self._entropy.token(6)
        now = self._clock.now() // 1000
        with self._lock:
            if now > self._millisecond:
                self._millisecond = now
                # 4 bits of version are overwritten in the first byte, 2 of variant in the third: 12 + 14 bits count.
                self._counter = int.from_bytes(self._entropy.token(4), "big") & (1 << 25) - 1
            else:
                self._counter += 1
                if self._counter >> 26:
                    self._millisecond += 1
                    self._counter = 0
            counter = self._counter
            millisecond = self._millisecond
        head = (counter >> 14).to_bytes(2, "big") + (counter & 0x3FFF).to_bytes(2, "big")
        return uuid7(millisecond * 1000, head + tail)


def check_key(key: str) -> None:
    """Hold an object key to the contract: 1 to 512 printable characters, no leading slash, no `..`, 900 bytes of UTF-8.

    Raises: UsageError; the message does not repeat the key, which may name a person.
    """
    if not 0 < len(key) <= _KEY_LIMIT:
        raise UsageError("an object key has 1 to 512 characters")
    if _plain(key) is not None:
        return
    if not key.isprintable():
        raise UsageError("an object key has printable characters only")
    if len(key) > _KEY_BYTES // 4 and len(key.encode()) > _KEY_BYTES:
        raise UsageError("an object key has at most 900 bytes of UTF-8")
    if key.startswith("/") or "\\" in key:
        raise UsageError("an object key has no leading slash and no backslash")
    if ".." in key or "//" in key or key[-1] == "/" or "/./" in f"/{key}/":
        raise UsageError("an object key has no `..` and no empty or `.` segment")


def check_app_key(key: str) -> None:
    """As `check_key`, and that the key is none of this package's own: an app's key may come from anybody.

    Raises: UsageError.
    """
    check_key(key)
    if key.startswith(RESERVED):
        raise UsageError(f"keys that begin with {RESERVED} are this package's own")


def is_hidden(key: str, prefix: str) -> bool:
    """Whether a listing of the keys that begin with `prefix` leaves `key` out, for it is this package's own."""
    return key.startswith(RESERVED) and not prefix.startswith(RESERVED)
