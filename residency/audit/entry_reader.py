"""The bytes of many entries in, one after the other; the entries out, at a fifth of what parsing each would cost.

Most entries of a log differ from others in their number, times, alias and commitment only. `EntryReader` parses the
first of a kind by `parse_entry`, and remembers the bytes around those values. Bytes that are what is remembered, with
values of the right form between, are the canonical form of an entry: nothing needs to be parsed to know the rest of it.
All that is remembered was put together from an entry that was checked, so a wrong guess of where a value stands costs
time and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Final

from residency.audit.entry import Entry, entry_pieces, parse_entry

__all__ = ["EntryReader"]

_BOUND: Final = 4096
_APART: Final = frozenset({"at", "collected", "decided", "detail", "id", "of", "requested", "subject"})
# Narrower than what the format allows: what does not match is parsed.
_INTEGER: Final = r"(0|[1-9][0-9]{0,14}|[1-8][0-9]{15})"
_ID: Final = r"((?:0|[1-9][0-9]{0,8})\.(?:0|[1-9][0-9]{0,15}))"
_VALUES: Final = re.compile(
    rf'{_INTEGER},"collected":(?:null|{_INTEGER}),"decided":(?:null|{_INTEGER}),"detail":(?:null|"([0-9a-f]{{64}})")'
    rf' "{_ID}" (?:null|"{_ID}") (?:null|{_INTEGER}) (?:null|"((?:[0-9a-f]{{2}}){{8,64}})")'.encode(),
    re.ASCII,
)


class EntryReader:
    """Reads entries as `parse_entry` does. Memory is bounded."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, ...], dict[str, Any]] = {}

    def read(self, data: bytes) -> Entry:
        """The entry that `data` is the canonical form of. Raises: EntryError."""
        # 1. Cut where the values seem to stand; what is not found gives pieces that nothing is remembered under.
        at = data.find(b',"at":') + 6
        effect = data.find(b',"effect":', at)
        number = data.find(b',"id":', effect) + 6
        places = data.find(b',"jurisdictions":', number)
        of = data.find(b',"of":', places) + 6
        operation = data.find(b',"operation":', of)
        requested = data.find(b',"requested":', operation) + 13
        rules = data.find(b',"rules":', requested)
        subject = data.find(b',"subject":', rules) + 11
        end = data.rfind(b",", subject)
        named = data[of:operation]
        # An outcome names its intent and nothing else does: with `of` or without it are two kinds.
        pieces = (data[:at], data[effect:number], data[places:of], data[operation:requested], data[rules:subject])
        known = self._known.get((*pieces, data[end:], named[:1]))
        if known is None:
            return self._first(data)
        # 2. The values must be of the form that the format gives them.
        found = (data[at:effect], data[number:places], named, data[requested:rules], data[subject:end])
        values = _VALUES.fullmatch(b" ".join(found))
        if values is None:
            return parse_entry(data)
        time, collected, decided, detail, own, intent, asked, alias = values.groups()
        return Entry(
            **known,
            at=int(time),
            collected=None if collected is None else int(collected),
            decided=None if decided is None else int(decided),
            detail=None if detail is None else detail.decode(),
            id=own.decode(),
            of=None if intent is None else intent.decode(),
            requested=None if asked is None else int(asked),
            subject=None if alias is None else alias.decode(),
        )

    def _first(self, data: bytes) -> Entry:
        entry = parse_entry(data)
        if len(self._known) >= _BOUND:
            self._known.clear()
        head, _collected, _decided, _detail, middle, places, operation, rules, end = entry_pieces(entry)
        rest = {field.name: getattr(entry, field.name) for field in fields(Entry) if field.name not in _APART}
        self._known[head, middle, places, operation, rules, end, b"n" if entry.of is None else b'"'] = rest
        return entry
