"""Days as policy files write them in; instants in microseconds since the epoch (UTC) out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from residency.policy.words import DATE

__all__ = ["instant", "offset_minutes", "parse_date"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def parse_date(text: str) -> date | None:
    """The calendar day that `text` (YYYY-MM-DD) names, None where there is none."""
    if DATE.fullmatch(text) is None or not text.isascii():
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def offset_minutes(offset: str) -> int:
    """Minutes east of UTC of a fixed offset such as "+07:00"."""
    sign = -1 if offset[0] == "-" else 1
    return sign * (int(offset[1:3]) * 60 + int(offset[4:6]))


def instant(text: str, offset: str, *, days: int = 0) -> int:
    """The first microsecond (UTC) of the day `text`, plus `days`, on clocks that stand at `offset` ("+07:00").

    Raises:
        ValueError: where `text` is no day or lies past the calendar.
    """
    day = parse_date(text)
    if day is None:
        raise ValueError("not a day")
    # Shift as a difference: the first and the last day of the calendar have no neighbour to shift into.
    naive = datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH
    return (naive + timedelta(days=days) - timedelta(minutes=offset_minutes(offset))) // _MICROSECOND
