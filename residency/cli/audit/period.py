"""Days and instants as options tell them in; microseconds out, and back. And text of a log, fit for a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import typer

__all__ = ["day", "instant", "iso", "printable"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str | None, option: str) -> int | None:
    """The instant (microseconds) of a day (its first moment in UTC) or of a time such as 2026-09-01T08:00+07:00.

    Raises: BadParameter, naming `option`.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a day or a time, as in 2026-09-01 or 2026-09-01T08:00Z", param_hint=option) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def iso(at: int | None) -> str | None:
    """An instant (microseconds) as ISO 8601 in UTC; None stays None."""
    if at is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{at} us"


def day(at: int | None, offset: int = 0) -> str:
    """The day of an instant on clocks `offset` minutes east of UTC; a dash where there is none."""
    return "-" if at is None else (iso(at + offset * 60_000_000) or "")[:10]


def printable(text: str) -> str:
    """A line without what a terminal would obey: a log may hold any text."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
