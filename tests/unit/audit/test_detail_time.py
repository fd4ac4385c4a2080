"""No clock that is set, ahead or back, once or often, makes a detail go before its floor; time that passes does."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from residency.audit.detail_head import FOREVER, Head
from residency.audit.detail_time import APART, Count, Moment, Span, count_on, span_of

DAY = 86_400_000_000
YEAR = 365 * DAY
NOW = 1_800_000_000_000_000


def head(at: int, *, keep: int | None = None, erase: int | None = None) -> Head:
    floor, ceiling = (None if days is None else at + days * DAY for days in (keep, erase))
    return Head("log.example", "0.1", "ab" * 32, None, at, "log", floor, ceiling)


def test_within_a_boot_the_count_goes_on_by_the_monotonic_clock_whatever_the_wall_clock_says() -> None:
    begun = count_on(None, Moment(NOW, "a", 5), None)
    assert begun == Count(NOW, "a", 5)
    for wall in (NOW + 10 * YEAR, NOW - 10 * YEAR, NOW):
        assert count_on(begun, Moment(wall, "a", 5 + DAY), None) == Count(NOW + DAY, "a", 5 + DAY)


def test_time_between_two_boots_is_not_counted() -> None:
    begun = Count(NOW, "a", 9 * DAY)
    assert count_on(begun, Moment(NOW + 40 * DAY, "b", 12 * DAY), None) == Count(NOW, "b", 12 * DAY)


def test_clocks_that_were_read_before_another_process_counted_on_count_nothing_twice() -> None:
    begun = Count(NOW, "a", 100)
    behind = count_on(begun, Moment(NOW, "a", 60), None)
    assert count_on(behind, Moment(NOW, "a", 130), None).time == NOW + 30


def test_a_count_that_was_lost_begins_no_later_than_the_newest_detail() -> None:
    assert count_on(None, Moment(NOW + 10 * YEAR, "a", 0), NOW - DAY).time == NOW - DAY
    assert count_on(None, Moment(NOW, "a", 0), NOW + 10 * YEAR).time == NOW


def test_a_floor_takes_as_much_counted_time_as_the_law_asks() -> None:
    count = Count(NOW, "a", 0)
    span = span_of(head(NOW, keep=365), NOW, count)
    assert not span.ended(replace(count, time=NOW + YEAR - 1), NOW + YEAR)
    assert span.ended(replace(count, time=NOW + YEAR), NOW)


def test_a_ceiling_is_reached_by_the_clock_while_it_is_believed_and_else_by_the_count() -> None:
    count = Count(NOW, "a", 0)
    span = span_of(head(NOW, erase=90), NOW, count)
    end = NOW + 90 * DAY
    assert span.ended(replace(count, time=end - APART), end)
    assert not span.ended(replace(count, time=end - APART - 1), end)
    assert not span.ended(count, NOW + 10 * YEAR)
    assert span.ended(replace(count, time=end), NOW)


def test_a_ceiling_that_comes_before_its_floor_waits_for_it() -> None:
    span = span_of(head(NOW, keep=365, erase=30), NOW, Count(NOW, "a", 0))
    assert not span.ended(Count(NOW + YEAR - 1, "a", 0), NOW + YEAR)
    assert span.ended(Count(NOW + YEAR, "a", 0), NOW + YEAR)


def test_a_floor_without_an_end_never_ends() -> None:
    for at in (NOW, NOW + 10 * YEAR, 0):
        unending = replace(head(at), keep_until=FOREVER)
        span = span_of(unending, NOW, Count(NOW, "a", 0))
        assert not span.ended(Count(NOW + 100 * YEAR, "a", 0), NOW + 100 * YEAR)


def test_a_detail_that_was_recorded_by_a_clock_that_stood_elsewhere_has_its_whole_floor() -> None:
    count = Count(NOW, "a", 0)
    for at in (NOW - 10 * YEAR, NOW + 10 * YEAR):
        span = span_of(head(at, keep=365), NOW - 1_000_000, count)
        early = span.free - NOW
        assert YEAR - 1_000_000 <= early <= YEAR
        assert not span.ended(Count(NOW + YEAR - 1_000_001, "a", 0), NOW + 30 * YEAR)
        assert span.ended(Count(NOW + YEAR, "a", 0), NOW + 30 * YEAR)


def test_what_was_brought_from_elsewhere_counts_from_when_it_was_recorded() -> None:
    span = span_of(head(NOW - YEAR, keep=365, erase=700), None, Count(NOW, "a", 0))
    assert span == Span(NOW + 335 * DAY, NOW + 335 * DAY, NOW)


STEPS = st.lists(st.tuples(st.integers(-20 * YEAR, 20 * YEAR), st.integers(0, 200 * DAY), st.booleans()), max_size=12)


@given(st.integers(-20 * YEAR, 20 * YEAR), STEPS, st.integers(1, 800), st.none() | st.integers(1, 800))
def test_however_the_clock_is_set_and_the_machine_restarted_no_floor_is_cut_short(
    first: int, steps: list[tuple[int, int, bool]], keep: int, erase: int | None
) -> None:
    # `real` is the time that nobody here can see; the wall clock is off from it by what it was last set to.
    real = monotonic = boots = 0
    off = first
    count = count_on(None, Moment(NOW + off, "0", 0), None)
    recorded = head(NOW + off, keep=keep, erase=erase)
    span = span_of(recorded, count.time, count)
    for aside, passed, restarted in steps:
        off = aside
        real += passed
        monotonic += passed
        if restarted:
            boots += 1
            monotonic = 0
        now = Moment(NOW + real + off, str(boots), monotonic)
        count = count_on(count, now, None)
        if span.ended(count, now.wall):
            assert real >= keep * DAY
    if not any(restarted for *_, restarted in steps) and real >= max(keep, erase or 0) * DAY:
        assert span.ended(count, NOW + real + off), "what really passed is counted"
