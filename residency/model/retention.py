"""Retentions of a joined duty and what is known of one record in; how long it must, may and can no longer stay, out.

Floors and ceilings of several laws stand side by side in a duty. They meet in a record, each counted from its own
event:

1. A floor or ceiling speaks of the record where its category is, or lies above, one of the record's, and its scope is
   that of the copy or every copy's.
2. A floor whose event has not happened runs on without an end: unknown is not no. A ceiling whose event has not
   happened does not limit yet.
3. The longest floor and the shortest ceiling count. What a floor holds beyond a ceiling is kept: `overdue` names the
   ceilings that it outlasts, `floors` why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from residency.model.calendar import PLAIN, Calendar, Term, deadline
from residency.model.data import expand
from residency.model.duty import Bound, Retention

__all__ = ["OPEN", "Retained", "retained_until"]

OPEN: Final = 1 << 62
"""The instant of a floor that has no end yet: its event has not happened, or it lasts as long as the system."""


@dataclass(frozen=True, slots=True)
class Retained:
    """How long one record stays, in microseconds; None = no floor, no ceiling.

    `until` is when it may go at the earliest (`OPEN` = no end is known), by `floors`; `erase_by` is when it must be
    gone, by `ceilings`. Where floors outlast ceilings, `overdue` names those, `until` counts and `erase_by` is None.
    """

    until: int | None = None
    erase_by: int | None = None
    floors: tuple[Retention, ...] = ()
    ceilings: tuple[Retention, ...] = ()
    overdue: tuple[Retention, ...] = ()

    def may_erase(self, now: int) -> bool:
        """Whether no floor holds the record at `now` (microseconds)."""
        return self.until is None or now >= self.until

    def must_erase(self, now: int) -> bool:
        """Whether the record must be gone at `now` (microseconds): a ceiling has passed, and no floor holds it."""
        passed = bool(self.overdue) or (self.erase_by is not None and now >= self.erase_by)
        return passed and self.may_erase(now)


def retained_until(
    retain: Iterable[Retention],
    categories: Iterable[str],
    events: Mapping[str, int],
    *,
    scope: str = "",
    calendar: Calendar = PLAIN,
) -> Retained:
    """What `retain` comes to for a record of these categories whose `events` (microseconds by name) have happened.

    `scope` is that of the copy (`backup` …; "" = the primary one); days end on the clocks of `calendar`.
    """
    own = expand(categories) | {"*"}
    about = sorted(r for r in retain if r.category in own and r.scope in ("", scope))
    floors = [(_end(r, events, calendar), r) for r in about if r.bound is Bound.AT_LEAST]
    ceilings = [(_end(r, events, calendar), r) for r in about if r.bound is Bound.AT_MOST]
    until = max((end for end, _ in floors), default=None)
    limits = [(end, r) for end, r in ceilings if end != OPEN]
    erase_by = min((end for end, _ in limits), default=None)
    overdue = tuple(r for end, r in limits if until is not None and end < until)
    return Retained(
        until,
        None if overdue else erase_by,
        tuple(r for end, r in floors if end == until),
        tuple(r for end, r in limits if end == erase_by),
        overdue,
    )


def _end(retention: Retention, events: Mapping[str, int], calendar: Calendar) -> int:
    event = events.get(retention.start)
    if retention.lifetime or event is None:
        return OPEN
    return deadline(event, Term(retention.months, retention.days), calendar)
