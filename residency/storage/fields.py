"""Rows in; digests of their fields out, which tell after a migration whether a row is still the one that was noted.

A column that comes or goes changes the bytes of every row. By these alone no copy would be known for ours any more:
none would be followed, and none withdrawn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from residency.storage.records import Record

__all__ = ["fields_of", "same_but_for_columns"]

_WORD: Final = "fields:"
_DIGITS: Final = 16


def fields_of(record: Record) -> frozenset[str]:
    """What a ledger notes of a row beside the digest of its bytes; nothing of what is no row."""
    fields = _fields(record)
    return frozenset() if fields is None else frozenset({_WORD + json.dumps(fields, sort_keys=True)})


def same_but_for_columns(noted: str, record: Record) -> bool:
    """Whether `record` has other columns than this note tells of, and the noted values in all those that both have."""
    if not noted.startswith(_WORD):
        return False
    before, now = json.loads(noted.removeprefix(_WORD)), _fields(record)
    if now is None or before.keys() == now.keys():
        return False
    both = before.keys() & now.keys()
    return bool(both) and all(before[name] == now[name] for name in both)


def _fields(record: Record) -> Mapping[str, str] | None:
    if record.value is None or not record.value.startswith(b"{"):
        return None
    try:
        row = json.loads(record.value)
    except ValueError:
        return None  # an object that begins so
    return {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]
        for name, value in row.items()
    }
