"""Terms and their deadlines: working days, month ends, time zones, against a calendar that is counted day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.model import PLAIN, Calendar, Term, deadline

HOUR = 3_600_000_000
DAY = 24 * HOUR
VIETNAM = Calendar(420, holidays=frozenset({date(2026, 9, 1), date(2026, 9, 2), date(2027, 1, 1)}))

instants = st.integers(0, 60_000 * DAY)
terms = st.builds(Term, st.integers(0, 40), st.integers(0, 200), st.integers(0, 100), st.booleans())
calendars = st.builds(
    Calendar,
    st.integers(-12 * 60, 14 * 60),
    st.frozensets(st.integers(0, 6), max_size=6),
    st.frozensets(st.dates(date(2000, 1, 1), date(2030, 1, 1)), max_size=20),
)


def at(text: str) -> int:
    """Microseconds of an ISO instant."""
    return (datetime.fromisoformat(text).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


def counted(event: int, term: Term, calendar: Calendar) -> int:
    """The same by hand: numbered days, one after another, each with its date."""
    if not term.months and not term.days:
        return event + term.hours * HOUR
    shift = calendar.offset * 60_000_000
    number = (event + shift) // DAY  # days since 1970-01-01 on the law's clocks
    number = _months_later(number, term.months)
    left = term.days
    while left:
        number += 1
        day = date(1970, 1, 1) + timedelta(days=number)
        if not term.working or (day.weekday() not in calendar.weekend and day not in calendar.holidays):
            left -= 1
    return (number + 1) * DAY - shift + term.hours * HOUR


def _months_later(number: int, months: int) -> int:
    start = date(1970, 1, 1) + timedelta(days=number)
    day = start
    for _ in range(months):
        day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)  # the first of the next month
    while months and day.day < start.day and (day + timedelta(days=1)).month == day.month:
        day += timedelta(days=1)
    return (day - date(1970, 1, 1)).days


@given(instants, terms, calendars)
def test_a_deadline_is_what_counting_day_by_day_gives(event: int, term: Term, calendar: Calendar) -> None:
    assert deadline(event, term, calendar) == counted(event, term, calendar)


@given(instants, st.integers(0, 400 * DAY), terms, calendars)
def test_a_later_event_has_no_earlier_deadline(event: int, later: int, term: Term, calendar: Calendar) -> None:
    assert deadline(event, term, calendar) <= deadline(event + later, term, calendar)


@given(instants, terms, st.integers(0, 12), st.integers(0, 60), st.integers(0, 48), calendars)
def test_a_longer_term_has_no_earlier_deadline(
    event: int, term: Term, months: int, days: int, hours: int, calendar: Calendar
) -> None:
    longer = Term(term.months + months, term.days + days, term.hours + hours, term.working)
    assert deadline(event, term, calendar) <= deadline(event, longer, calendar)


@given(instants, terms, calendars)
def test_a_term_has_not_run_out_at_its_event_and_working_days_take_no_less(
    event: int, term: Term, calendar: Calendar
) -> None:
    end = deadline(event, term, calendar)
    assert end > event or term == Term(working=term.working)
    plain = deadline(event, Term(term.months, term.days, term.hours), calendar)
    working = deadline(event, Term(term.months, term.days, term.hours, working=True), calendar)
    assert plain <= working


@given(instants, terms, calendars, st.dates(date(2000, 1, 1), date(2030, 1, 1)))
def test_one_more_holiday_never_brings_a_deadline_forward(
    event: int, term: Term, calendar: Calendar, day: date
) -> None:
    more = Calendar(calendar.offset, calendar.weekend, calendar.holidays | {day})
    assert deadline(event, term, calendar) <= deadline(event, term, more)


@pytest.mark.parametrize(
    ("event", "term", "end"),
    [
        # Day 60 is the last on which a term of 60 days runs: it is over at midnight in Vietnam.
        ("2026-01-01T12:00+07:00", Term(days=60), "2026-03-03T00:00+07:00"),
        # 18:00 UTC is the next day in Vietnam.
        ("2026-01-01T18:00+00:00", Term(days=1), "2026-01-04T00:00+07:00"),
        ("2026-01-01T16:59:59.999999+00:00", Term(days=1), "2026-01-03T00:00+07:00"),
        # Month ends: the last day where the month has no such day, leap years too.
        ("2026-01-31T08:00+07:00", Term(months=1), "2026-03-01T00:00+07:00"),
        ("2028-01-31T08:00+07:00", Term(months=1), "2028-03-01T00:00+07:00"),
        ("2026-08-31T08:00+07:00", Term(months=6), "2027-03-01T00:00+07:00"),
        ("2024-02-29T08:00+07:00", Term(months=12), "2025-03-01T00:00+07:00"),
        ("2026-11-30T08:00+07:00", Term(months=3, days=1), "2027-03-02T00:00+07:00"),
        # Working days: from a Friday over a weekend and two holidays (1 and 2 September).
        ("2026-08-28T08:00+07:00", Term(days=1, working=True), "2026-09-01T00:00+07:00"),
        ("2026-08-28T08:00+07:00", Term(days=2, working=True), "2026-09-04T00:00+07:00"),
        ("2026-08-29T08:00+07:00", Term(days=1, working=True), "2026-09-01T00:00+07:00"),
        # Hours are counted from the instant, across holidays, and after whole days where both are written.
        ("2026-09-01T23:30+07:00", Term(hours=72), "2026-09-04T23:30+07:00"),
        ("2026-09-03T10:00+07:00", Term(days=1, hours=3), "2026-09-05T03:00+07:00"),
    ],
)
def test_terms_as_the_statutes_count_them(event: str, term: Term, end: str) -> None:
    assert deadline(at(event), term, VIETNAM) == at(end)


def test_a_calendar_without_working_days_or_past_the_last_year_has_no_deadline() -> None:
    never = Calendar(0, frozenset(range(7)))
    assert deadline(0, Term(days=1, working=True), never) == 1 << 62
    assert deadline(at("9999-12-30T00:00+00:00"), Term(months=1), PLAIN) == 1 << 62
    assert deadline(1 << 70, Term(days=1), PLAIN) == 1 << 62


def test_working_days_are_neither_weekends_nor_holidays() -> None:
    week = [date(2026, 8, 31) + timedelta(days=n) for n in range(7)]
    assert [VIETNAM.works(day) for day in week] == [True, False, False, True, True, False, False]
    assert [Calendar(0, frozenset({4})).works(day) for day in week] == [True, True, True, True, False, True, True]


def test_a_term_from_before_the_calendar_has_long_run_out() -> None:
    first = -62_135_596_800_000_000  # 0001-01-01T00:00Z, in microseconds
    assert deadline(first, Term(days=60), Calendar(-720)) < first
