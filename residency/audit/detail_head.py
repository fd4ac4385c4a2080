"""What is said of a regional detail beside its sealed bytes: a head in, the bytes of a record out, and back.

A record is `0x02 | length of the head (2 bytes, big-endian) | head | sealed detail`; the head is JSON in ASCII with its
keys in order. It names no person: origin, entry, commitment and alias stand in the log too, the rest are terms.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from residency.audit.entry import parse_entry_id
from residency.errors import EntryError, JournalCorrupt

__all__ = ["FILLER", "FOREVER", "Head", "format_record", "parse_record", "seal_context"]

FOREVER: Final = 2**53 - 1
"""An end (microseconds) that is not known yet, or never comes: the year 2255."""
FILLER: Final = b"\x00"
"""What a record begins with that says nothing and only takes room."""
_VERSION: Final = b"\x02"
_PREFIX: Final = 3
_HEX: Final = frozenset("0123456789abcdef")
_FIELDS: Final = ("alias", "at", "commitment", "entry", "erase_by", "keep_until", "keeping", "origin")


@dataclass(frozen=True, slots=True)
class Head:
    """Which entry of which log a detail belongs to, and how long it is kept.

    `commitment` (hex) is what the tree holds of it, `alias` the subject's stand-in in that entry, `keeping` the class
    in words. `at` (recorded), `keep_until` (not before) and `erase_by` (not after) are microseconds, UTC; None = no
    floor, no ceiling.
    """

    origin: str
    entry: str
    commitment: str
    alias: str | None
    at: int
    keeping: str
    keep_until: int | None
    erase_by: int | None

    @property
    def due(self) -> int:
        """When it is erased by itself (microseconds): at its ceiling, or where it has none, at the end of its floor."""
        if self.erase_by is not None:
            return self.erase_by
        return self.at if self.keep_until is None else self.keep_until

    def held(self, now: int) -> bool:
        """Whether a law still asks at `now` (microseconds) that it be kept."""
        return self.keep_until is not None and now < self.keep_until


def format_record(head: Head, sealed: bytes) -> bytes:
    """The record of a sealed detail. Raises: EntryError where the head is longer than 65,535 bytes."""
    # Written by hand: a record is made for each request, and this is what json.dumps would write.
    text = (
        f'{{"alias":{"null" if head.alias is None else _text(head.alias)},"at":{head.at}'
        f',"commitment":{_text(head.commitment)},"entry":{_text(head.entry)},"erase_by":{_number(head.erase_by)}'
        f',"keep_until":{_number(head.keep_until)},"keeping":{_known(head.keeping)},"origin":{_known(head.origin)}}}'
    ).encode()
    if len(text) > 0xFFFF:
        raise EntryError("the head of a detail is too long")
    return _VERSION + len(text).to_bytes(2, "big") + text + sealed


def parse_record(record: bytes) -> tuple[Head, bytes] | None:
    """(head, sealed detail) of a record; None for one that only takes room. Raises: JournalCorrupt, EntryError."""
    if record[:1] == FILLER:
        return None
    if record[:1] != _VERSION or len(record) < _PREFIX:
        raise JournalCorrupt("a detail record is not of version 2")
    end = _PREFIX + int.from_bytes(record[1:_PREFIX], "big")
    try:
        document = json.loads(record[_PREFIX:end])
    except (ValueError, RecursionError):
        raise JournalCorrupt("a detail record does not name its entry") from None
    if end > len(record) or not isinstance(document, dict) or tuple(sorted(document)) != _FIELDS:
        raise JournalCorrupt("a detail record does not name its entry")
    head = Head(**document)
    _check(head)
    return head, record[end:]


def _text(value: str) -> str:
    return f'"{value}"' if value.isascii() and value.isalnum() else json.dumps(value)


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


_known = lru_cache(maxsize=256)(json.dumps)  # few classes and origins are in use


def seal_context(country: str, head: Head) -> bytes:
    """What a detail is sealed for: it opens in no other country, for no other entry and as no other detail."""
    return f"residency detail 2\n{country}\n{head.origin}\n{head.entry}\n{head.commitment}".encode()


def _check(head: Head) -> None:
    texts = (head.origin, head.entry, head.commitment, head.keeping)
    if not all(isinstance(text, str) for text in texts) or not isinstance(head.alias, str | None):
        raise JournalCorrupt("a detail record's texts are not texts")
    if len(head.commitment) != 64 or not _HEX.issuperset(head.commitment):
        raise JournalCorrupt("a detail record's commitment is no sha256")
    ends = [at for at in (head.keep_until, head.erase_by) if at is not None]
    if any(type(at) is not int or abs(at) > FOREVER for at in (head.at, *ends)):
        raise JournalCorrupt("a detail record's times are no instants")
    parse_entry_id(head.entry)
