"""A row's values in, canonical bytes out, and back: the same content is the same bytes in each database of a store."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

__all__ = ["format_row", "instant", "parse_row"]

_TAG: Final = "~"
_PLAIN: Final = (str, int, bool)


def format_row(row: Mapping[str, Any]) -> bytes:
    """`row` (column to value) as JSON with sorted keys; what JSON has no word for stands under its type's name.

    Raises: TypeError for a value of a type that is not known here.
    """
    return json.dumps(
        {name: value if value is None or type(value) in _PLAIN else _told(value) for name, value in row.items()},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()


def parse_row(text: bytes) -> dict[str, Any]:
    """The row that `format_row` wrote. Raises: ValueError for anything else."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not a row")
    return {name: _meant(value) if isinstance(value, dict) else value for name, value in found.items()}


def instant(value: object) -> int | None:
    """A column's value as microseconds since the epoch; a time without a zone is UTC, a number is in seconds."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=dt.UTC)
        return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value * 1_000_000)
    return None


def _told(value: object) -> object:
    match value:
        case float():
            return {_TAG: ["float", repr(value)]}
        case bytes() | bytearray() | memoryview():
            return {_TAG: ["bytes", base64.b64encode(bytes(value)).decode()]}
        case Decimal():
            return {_TAG: ["decimal", str(value)]}
        case UUID():
            return {_TAG: ["uuid", str(value)]}
        case dt.datetime():
            # The same instant is the same bytes, in whichever zone a server tells it.
            moment = value if value.tzinfo is None else value.astimezone(dt.UTC)
            return {_TAG: ["datetime", moment.isoformat()]}
        case dt.date():
            return {_TAG: ["date", value.isoformat()]}
        case dt.time():
            return {_TAG: ["time", value.isoformat()]}
        case dt.timedelta():
            return {_TAG: ["interval", value // dt.timedelta(microseconds=1)]}
        case dict():
            return {_TAG: ["json", json.dumps(value, sort_keys=True)]}
        case list() | tuple():
            return {_TAG: ["list", [each if type(each) in _PLAIN or each is None else _told(each) for each in value]]}
        case str():
            return str(value)
        case _:
            raise TypeError(f"a column holds a {type(value).__name__}, which cannot be told as bytes")


def _meant(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    kind, told = value[_TAG]
    match kind:
        case "float":
            return float(told)
        case "bytes":
            return base64.b64decode(told)
        case "decimal":
            return Decimal(told)
        case "uuid":
            return UUID(told)
        case "datetime":
            return dt.datetime.fromisoformat(told)
        case "date":
            return dt.date.fromisoformat(told)
        case "time":
            return dt.time.fromisoformat(told)
        case "interval":
            return dt.timedelta(microseconds=told)
        case "json":
            return json.loads(told)
        case "list":
            return [_meant(each) for each in told]
        case _:
            raise ValueError("not a row")
