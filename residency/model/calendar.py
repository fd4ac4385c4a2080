"""Terms such as "60 days" and "15 working days" in, the instant at which they have run out, out.

A term counts whole days on the clocks of its law: it starts on the day of its event, that day is day 0, and it has run
out when the last of its days is over. Day 60 is the last on which a term of 60 days still runs.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

__all__ = ["PLAIN", "Calendar", "Term", "deadline"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FOREVER: Final = 1 << 62
_LONGEST: Final = 20_000
"""Days that are counted one by one at most: a longer term in working days is refused by the parser."""


@dataclass(frozen=True, slots=True, order=True)
class Term:
    """So many months, then days (working days where `working`), then hours."""

    months: int = 0
    days: int = 0
    hours: int = 0
    working: bool = False


@dataclass(frozen=True, slots=True)
class Calendar:
    """A jurisdiction's clocks and working days: minutes east of UTC, weekdays off (0 = Monday), days off."""

    offset: int = 0
    weekend: frozenset[int] = frozenset({5, 6})
    holidays: frozenset[date] = frozenset()

    def works(self, day: date) -> bool:
        """Whether `day` is a working day."""
        return day.weekday() not in self.weekend and day not in self.holidays


PLAIN: Final = Calendar()


def deadline(event: int, term: Term, calendar: Calendar = PLAIN) -> int:
    """The first microsecond (UTC) at which `term` has run out, counted from the instant `event` (microseconds, UTC).

    Hours are counted from the instant itself. Past the end of the calendar there is no deadline (a very late instant),
    and of an event before its beginning the deadline is long past.
    """
    try:
        if not term.months and not term.days:
            return event + term.hours * 3_600_000_000
        there = _EPOCH + timedelta(microseconds=event, minutes=calendar.offset)
        day = _months_later(there.date(), term.months)
        if term.working:
            left = min(term.days, _LONGEST)
            while left:
                day += timedelta(days=1)
                left -= calendar.works(day)
        else:
            day += timedelta(days=term.days)
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=term.hours)
        return (end - _EPOCH - timedelta(minutes=calendar.offset)) // _MICROSECOND
    except (OverflowError, ValueError):
        # What began before the calendar has run out, what would end after it never does.
        return _FOREVER if event >= 0 else -_FOREVER


def _months_later(day: date, months: int) -> date:
    """The same day of a later month; the month's last where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
