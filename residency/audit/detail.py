"""The regional detail: personal and statutory fields in, bytes to be kept in the subject's country out.

The tree holds only `commit(detail)`. A random salt inside the detail keeps the commitment from being guessed (there are
only 2^32 IPv4 addresses); once the detail is deleted, what stays in the tree says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final, NoReturn

from residency.errors import EntryError

__all__ = ["SALT_BYTES", "commit", "format_detail", "parse_detail"]

SALT_BYTES: Final = 16
_SALT: Final = "salt"
_INTEGER_LIMIT: Final = 2**53


def format_detail(fields: Mapping[str, str | int | None], salt: bytes) -> bytes:
    """Canonical JSON of `fields` and the 16-byte random `salt`. Raises: EntryError."""
    if len(salt) != SALT_BYTES:
        raise EntryError("a detail's salt is 16 bytes")
    if _SALT in fields:
        raise EntryError("a detail's fields may not be called `salt`")
    for name, value in fields.items():
        if not name.isascii() or not name:
            raise EntryError("a detail's field names are ASCII")
        if (
            value is not None
            and not isinstance(value, str)
            and (type(value) is not int or abs(value) >= _INTEGER_LIMIT)
        ):
            raise EntryError("a detail's values are texts, integers below 2^53 and null")
    document = {**fields, _SALT: salt.hex()}
    try:
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise EntryError("a detail holds text that is not Unicode") from None


def commit(detail: bytes) -> str:
    """What the tree holds of `detail`: its sha256, hex."""
    return hashlib.sha256(detail).hexdigest()


def parse_detail(data: bytes) -> dict[str, str | int | None]:
    """The fields of a detail, without its salt. Raises: EntryError."""
    try:
        document = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError):
        raise EntryError("a detail is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get(_SALT), str):
        raise EntryError("a detail has no salt")
    try:
        salt = bytes.fromhex(document.pop(_SALT))
    except ValueError:
        raise EntryError("a detail's salt is not hex") from None
    if format_detail(document, salt) != data:
        raise EntryError("a detail is not in canonical form")
    return document


def _no_float(_text: str) -> NoReturn:
    raise ValueError("not an integer")
