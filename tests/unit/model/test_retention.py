"""How long one record stays under floors and ceilings of several laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.model import OPEN, Bound, Calendar, Retained, Retention, retained_until

HANOI = Calendar(offset=420)
TWO_YEARS = Retention("personal", Bound.AT_LEAST, 24, 0, "account_end")
TWENTY_DAYS = Retention("personal", Bound.AT_MOST, 0, 20, "erasure_request")
LOGS = Retention("log", Bound.AT_LEAST, 12, 0, "creation")
SYSTEM = Retention("log", Bound.AT_LEAST, 0, 0, "creation", lifetime=True)
BACKUPS = Retention("personal", Bound.AT_LEAST, 36, 0, "account_end", scope="backup")
ALL = (TWO_YEARS, TWENTY_DAYS, LOGS, BACKUPS)

instants = st.integers(0, 4_000_000_000_000_000)
retentions = st.builds(
    Retention,
    st.sampled_from(["personal", "health", "log", "*"]),
    st.sampled_from(Bound),
    st.integers(0, 36),
    st.integers(0, 90),
    st.sampled_from(["creation", "last_use", "erasure_request"]),
    st.booleans(),
    st.sampled_from(["", "backup"]),
)


def at(day: str) -> int:
    """The first instant of a day in Hanoi, in microseconds."""
    there = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=7)
    return int(there.timestamp()) * 1_000_000


ENDED = {"account_end": at("2026-09-01"), "erasure_request": at("2026-09-01")}


def test_a_floor_beyond_a_ceiling_is_kept_and_says_what_it_outlasts() -> None:
    kept = retained_until(ALL, ["personal"], ENDED, calendar=HANOI)
    assert kept == Retained(at("2028-09-02"), None, (TWO_YEARS,), (TWENTY_DAYS,), (TWENTY_DAYS,))
    assert not kept.may_erase(at("2028-09-02") - 1)
    assert kept.must_erase(at("2028-09-02"))
    assert not kept.must_erase(at("2028-09-02") - 1)


def test_a_ceiling_after_the_floor_says_by_when_it_must_be_gone() -> None:
    kept = retained_until(ALL, ["health"], ENDED | {"account_end": at("2024-01-01")}, calendar=HANOI)
    assert (kept.until, kept.erase_by, kept.overdue) == (at("2026-01-02"), at("2026-09-22"), ())
    assert kept.may_erase(at("2026-09-10"))
    assert not kept.must_erase(at("2026-09-22") - 1)
    assert kept.must_erase(at("2026-09-22"))


@pytest.mark.parametrize(
    ("events", "until", "overdue"),
    [
        ({"account_end": at("2026-09-01")}, at("2028-09-02"), ()),
        ({"erasure_request": at("2026-09-01")}, OPEN, (TWENTY_DAYS,)),
        ({}, OPEN, ()),
    ],
    ids=["nobody asked for erasure", "the account has not ended", "nothing has happened"],
)
def test_a_floor_holds_before_its_event_and_a_ceiling_does_not(
    events: dict[str, int], until: int, overdue: tuple[Retention, ...]
) -> None:
    kept = retained_until((TWO_YEARS, TWENTY_DAYS), ["personal"], events, calendar=HANOI)
    assert (kept.until, kept.erase_by, kept.overdue) == (until, None, overdue)


def test_each_copy_and_each_category_has_its_own() -> None:
    assert retained_until(ALL, ["personal"], ENDED, scope="backup", calendar=HANOI).floors == (BACKUPS,)
    assert retained_until(ALL, ["log"], {"creation": at("2026-01-01")}, calendar=HANOI).until == at("2027-01-02")
    assert retained_until(ALL, ["content"], ENDED) == Retained()
    anything = Retention("*", Bound.AT_MOST, 1, 0, "creation")
    assert retained_until([anything], ["content"], {"creation": 0}).ceilings == (anything,)


def test_the_systems_lifetime_has_no_end() -> None:
    kept = retained_until([LOGS, SYSTEM], ["log"], {"creation": 0})
    assert (kept.until, kept.floors) == (OPEN, (SYSTEM,))
    assert not kept.may_erase(at("2099-01-01"))


@given(st.frozensets(retentions, max_size=4), st.frozensets(retentions, max_size=4), instants, instants, instants)
def test_another_law_keeps_a_record_no_shorter_and_its_ceiling_no_longer(
    one: frozenset[Retention], other: frozenset[Retention], created: int, used: int, now: int
) -> None:
    events = {"creation": created, "last_use": used}
    alone, both = (retained_until(r, ["health"], events) for r in (one, one | other))
    assert alone.may_erase(now) or not both.may_erase(now)
    assert not (both.must_erase(now) and not both.may_erase(now))
    # What one law must have gone, two must, unless a floor holds it.
    assert not alone.must_erase(now) or both.must_erase(now) or not both.may_erase(now)
