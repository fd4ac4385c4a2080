"""A record and what a decision asks of fields that leave or rest in; the record as it may be copied, or None, out.

A treatment makes the same of the same value each time, so that a copy can be compared with what it should be. What
cannot be carried out (a field that is no column, a number to be masked, a file) is answered as None: no copy.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from residency.model import Protection, treatment
from residency.storage.records import Record

__all__ = ["treated"]

_DIRECTIONS: Final = frozenset({"out", "rest"})
_MASK: Final = "***"


def treated(record: Record, asked: Iterable[Protection], key: bytes) -> Record | None:
    """`record` with its fields treated; `key` is a secret of 32 bytes that stays at home. None = it cannot be done."""
    wanted: dict[str, set[str]] = {}
    for each in asked:
        if each.direction in _DIRECTIONS:
            wanted.setdefault(each.field, set()).add(each.transform)
    if not wanted:
        return record
    row = _object(record.value)
    names = _object(record.key.encode())
    if row is None or names is None:
        return None
    for field, transforms in wanted.items():
        transform = treatment(frozenset(transforms))
        if transform is None or field not in row or field in names:
            return None
        if row[field] is None:
            continue
        made = _treat(row[field], transform, field, key)
        if made is None:
            return None
        row[field] = made[0]
    value = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return replace(record, value=value)


def _treat(value: object, transform: str, field: str, key: bytes) -> tuple[str | None] | None:
    """(what takes the value's place,), None where this cannot be done."""
    if transform == "drop":
        return (None,)
    if not isinstance(value, str):
        return None
    match transform:
        case "mask":
            return (_MASK,)
        case "hash" | "tokenise":
            made = hmac.new(key, f"copies\0{transform}\0{field}\0{value}".encode(), hashlib.sha256).hexdigest()
            return (made if transform == "hash" else f"tok_{made[:32]}",)
        case _:
            return None  # what is refused is not copied; what is encrypted would have to be opened again by somebody


def _object(text: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
