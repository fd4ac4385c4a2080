"""How long a detail is kept is what its country's law asks of logs, and what nobody asks for goes in time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.detail_head import FOREVER
from residency.audit.detail_terms import DEFAULT_DAYS, Keeping, Terms, kept_unasked, terms
from residency.model import Bound, Calendar, Retention


def instant(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type, misc]


NOW = instant(2026, 11, 22, 8)
YEAR = Retention("log", Bound.AT_LEAST, 12, 0, "creation")
HALF = Retention("log", Bound.AT_LEAST, 6, 0, "creation")
TWO_YEARS = Retention("log", Bound.AT_MOST, 24, 0, "creation")
MONTH = Retention("log", Bound.AT_MOST, 1, 0, "creation")
FOR_EVER = Retention("log", Bound.AT_LEAST, 0, 0, "creation", lifetime=True)
ANNIVERSARY = instant(2027, 11, 23)


def test_a_floor_holds_for_its_months_by_whole_days() -> None:
    assert terms({YEAR}, NOW) == Terms("log>=12m", ANNIVERSARY, None)
    assert terms({YEAR}, NOW, Calendar(offset=420)).keep_until == ANNIVERSARY - 7 * 3_600_000_000


def test_the_longest_floor_and_the_shortest_ceiling_count() -> None:
    assert terms({YEAR, HALF, TWO_YEARS}, NOW) == Terms("log>=12m,<=24m", ANNIVERSARY, instant(2028, 11, 23))


def test_a_floor_that_outlasts_a_ceiling_is_kept_and_the_class_says_so() -> None:
    assert terms({YEAR, MONTH}, NOW) == Terms("log>=12m,<=1m", ANNIVERSARY, None)


def test_a_ceiling_on_everything_binds_logs_and_a_floor_on_everything_does_not() -> None:
    everything = Retention("*", Bound.AT_MOST, 0, 20, "creation"), Retention("*", Bound.AT_LEAST, 36, 0, "creation")
    assert terms(everything, NOW) == Terms("log<=20d", None, instant(2026, 12, 13))


def test_a_floor_without_an_end_is_kept_until_somebody_erases_it() -> None:
    assert terms({FOR_EVER}, NOW) == Terms("log>=lifetime", FOREVER, None)
    after_order = Retention("log", Bound.AT_LEAST, 24, 0, "order")
    assert terms({after_order}, NOW) == Terms("log>=24m@order", FOREVER, None)


@pytest.mark.parametrize(
    "retain",
    [
        (),
        (Retention("personal", Bound.AT_LEAST, 24, 0, "creation"),),
        (Retention("*", Bound.AT_MOST, 0, 20, "erasure_request"),),
    ],
)
def test_what_no_law_asks_to_be_logged_goes_after_the_default(retain: tuple[Retention, ...]) -> None:
    assert terms(retain, NOW) == kept_unasked("none", NOW)
    assert kept_unasked("none", NOW) == Terms("none", None, instant(2027, 2, 21))
    assert DEFAULT_DAYS == 90


@given(
    st.sets(
        st.builds(
            Retention,
            st.sampled_from(["log", "*", "personal"]),
            st.sampled_from(list(Bound)),
            st.integers(0, 36),
            st.integers(0, 40),
            st.sampled_from(["creation", "order"]),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_a_detail_never_goes_before_a_floor_of_logs_and_always_has_an_end(retain: set[Retention]) -> None:
    kept = terms(retain, NOW)
    floors = [terms({each}, NOW).keep_until for each in retain if (each.category, each.bound) == ("log", "at_least")]
    assert kept.keep_until == max((end for end in floors if end is not None), default=None)
    assert kept.keep_until is not None or kept.erase_by is not None
    if kept.keep_until is not None and kept.erase_by is not None:
        assert kept.keep_until <= kept.erase_by


HERE = Keeping({"VN": "VN", "DE": "DE"}, {YEAR: frozenset({"VN"}), HALF: frozenset({"CN"}), MONTH: frozenset({"DE"})})


def test_a_copy_lies_in_each_country_whose_law_covers_and_that_has_a_place() -> None:
    assert HERE.countries(("VN", "CN", "DE"), None) == (("VN", "DE"), False)
    assert HERE.countries(("CN",), None) == ((), False)


def test_only_keeps_copies_out_of_other_countries_and_bars_where_none_is_left() -> None:
    assert HERE.countries(("VN", "DE"), frozenset({"VN"})) == (("VN",), False)
    assert HERE.countries(("DE",), frozenset({"VN"})) == ((), True)
    assert HERE.countries((), frozenset({"VN"})) == ((), False)
    assert HERE.countries(("DE",), frozenset({"EU"})) == (("DE",), False)


def test_a_spool_lies_where_the_instance_does_and_one_of_unknown_place_nowhere_that_is_let() -> None:
    assert Keeping({"VN": "SG"}).countries(("VN",), frozenset({"VN"})) == ((), True)
    assert Keeping({"VN": "SG"}).countries(("VN",), None) == (("VN",), False)
    assert Keeping({"VN": ""}).countries(("VN",), frozenset({"VN", "SG"})) == ((), True)


def test_each_countrys_copy_is_kept_as_its_own_law_asks() -> None:
    chosen, asked = ("VN", "DE"), {YEAR, MONTH}
    assert HERE.terms("VN", chosen, asked, NOW).keeping == "log>=12m"
    assert HERE.terms("DE", chosen, asked, NOW).keeping == "log<=1m"


def test_what_a_law_without_a_place_asks_binds_the_first_copy() -> None:
    assert HERE.terms("VN", ("VN", "DE"), {HALF}, NOW).keeping == "log>=6m"
    assert HERE.terms("DE", ("VN", "DE"), {HALF}, NOW).keeping == "none"
    assert HERE.terms("DE", ("DE",), {YEAR}, NOW).keeping == "log>=12m"
