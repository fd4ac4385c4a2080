"""How many records are read next: more and more while they are small, and few at once where they are large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from residency.storage.fitting import MOST, Fitting, weight
from residency.storage.records import Record


def test_it_begins_with_one_and_doubles_while_they_are_small() -> None:
    fit, seen = Fitting(50), []
    for _ in range(8):
        seen.append(fit.now)
        fit.saw(fit.now, fit.now * 100)
    assert seen == [1, 2, 4, 8, 16, 32, 50, 50]


@given(each=st.integers(1, 4 * MOST), rounds=st.integers(1, 20))
def test_of_records_of_one_size_no_more_are_read_than_fit_and_never_none(each: int, rounds: int) -> None:
    fit = Fitting(1000)
    for _ in range(rounds):
        assert fit.now == 1 or fit.now * each <= MOST
        fit.saw(fit.now, fit.now * each)


def test_what_is_streamed_weighs_nothing() -> None:
    some = [Record("files", key, "an", frozenset(), value) for key, value in (("1", b"1234"), ("2", None))]
    assert weight(some) == 4
