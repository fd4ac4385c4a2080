"""A log's entries in, in its order; how many acts it tells of that began and have no outcome, and since when, out.

Not a check (`audit.continuity` is one): it is fed with what a sequencer integrates, so it looks at few bytes of each
entry, and passes over what it cannot read. A quote within a string of canonical JSON has a backslash before it, so that
`,"kind":"` stands in an entry once, where the key is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import islice
from typing import Final

from residency.errors import VerificationError

__all__ = ["OPEN_INTENTS_PATH", "OpenIntents", "format_open_intents", "parse_open_intents"]

OPEN_INTENTS_PATH: Final = "open-intents.json"
_VERSION: Final = 1
_LIMIT: Final = 65_536
_KIND, _ID, _AT, _OF = b',"kind":"', b',"id":"', b',"at":', b',"of":"'
_DECISION: Final = _KIND + b'decision"'
_INTENT, _OUTCOME = b"i"[0], b"o"[0]


class OpenIntents:
    """Feed it every entry with `take`. Memory is bounded: of 65,536 open intents each is known, further ones are only
    counted, and their age is not told. May be read from another thread meanwhile."""

    __slots__ = ("_beyond", "_early", "_open", "size")

    def __init__(self) -> None:
        self.size = 0
        """Entries taken in so far."""
        self._open: dict[bytes, int] = {}  # id -> when it was recorded, microseconds
        # Slots are integrated one after the other, so an outcome from another slot may come before its intent.
        self._early: dict[bytes, None] = {}
        self._beyond = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._open) + self._beyond

    @property
    def oldest(self) -> int | None:
        """When the oldest was recorded, microseconds; None where there is none."""
        return min(tuple(self._open.values()), default=None)

    def before(self, at: int) -> int:
        """How many were recorded before the time `at`, microseconds."""
        return sum(begun < at for begun in tuple(self._open.values()))

    def take(self, entries: Sequence[bytes]) -> None:
        """Take in the next entries of the log."""
        guess = 0  # most are decisions, which are no acts, and have the key where the one before had it
        for entry in entries:
            if entry.startswith(_DECISION, guess):
                continue
            guess = entry.find(_KIND)
            place = guess + len(_KIND)
            if guess < 0 or place >= len(entry):
                continue
            # The keys are in alphabetical order: from here `id` is near to the left, `of` to the right.
            if entry[place] == _INTENT:
                own = _text(entry, entry.rfind(_ID, 0, place), len(_ID))
                begun = entry.find(_AT) + len(_AT)
                digits = entry[begun : entry.find(b",", begun)]
                if own and digits.isdigit():
                    self._begin(own, int(digits))
            elif entry[place] == _OUTCOME and (of := _text(entry, entry.find(_OF, place), len(_OF))):
                self._end(of)
        self.size += len(entries)

    def _begin(self, own: bytes, at: int) -> None:
        if own in self._early:
            del self._early[own]
        elif len(self._open) < _LIMIT:
            self._open[own] = at
        else:
            self._beyond += 1

    def _end(self, of: bytes) -> None:
        if self._open.pop(of, None) is not None:
            return
        if self._beyond:
            self._beyond -= 1  # of those that are only counted, most likely
        elif len(self._early) < _LIMIT:
            self._early[of] = None


def _text(entry: bytes, place: int, size: int) -> bytes:
    """The text behind a key of `size` bytes that stands at `place`; empty where there is none."""
    return b"" if place < 0 else entry[place + size : entry.find(b'"', place + size)]


def format_open_intents(known: OpenIntents, origin: str) -> bytes:
    """The file that is kept beside the log: canonical JSON with a checksum of the rest."""
    document: dict[str, object] = {
        "beyond": known._beyond,
        "early": [each.decode("latin-1") for each in known._early],
        "open": {each.decode("latin-1"): at for each, at in known._open.items()},
        "origin": origin,
        "size": known.size,
        "v": _VERSION,
    }
    document["sha256"] = hashlib.sha256(_json(document)).hexdigest()
    return _json(document) + b"\n"


def parse_open_intents(data: bytes, origin: str) -> OpenIntents:
    """What such a file of the log `origin` says. Raises: VerificationError where it is none, or a byte has changed."""
    known = OpenIntents()
    try:
        document = json.loads(data)
        known.size, known._beyond = int(document["size"]), int(document["beyond"])
        known._open = {each.encode("latin-1"): int(at) for each, at in islice(document["open"].items(), _LIMIT)}
        known._early = dict.fromkeys(each.encode("latin-1") for each in document["early"][:_LIMIT])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise VerificationError(f"{OPEN_INTENTS_PATH} does not tell of open intents") from None
    if format_open_intents(known, origin) != data:
        raise VerificationError(f"{OPEN_INTENTS_PATH} fails its checksum, or is of another log")
    return known


def _json(document: dict[str, object]) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
