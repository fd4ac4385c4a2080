"""Days and times in options mean one instant; what a log holds is shown without being obeyed."""

from __future__ import annotations

import pytest
import typer

from residency.cli.audit.period import day, instant, iso, printable


@pytest.mark.parametrize(
    ("text", "at"),
    [("1970-01-02", 86_400_000_000), ("1970-01-01T07:00+07:00", 0), ("1970-01-01T00:00:01Z", 1_000_000),
     ("1970-01-01T00:00:00.000001", 1), ("1969-12-31", -86_400_000_000)],
)  # fmt: skip
def test_a_day_or_time_is_an_instant_in_utc_unless_it_says_otherwise(text: str, at: int) -> None:
    assert instant(text, "--from") == at
    assert instant(iso(at), "--from") == at


def test_what_is_no_day_is_wrong_use_and_nothing_stays_nothing() -> None:
    with pytest.raises(typer.BadParameter, match="2026-09-01"):
        instant("yesterday", "--from")
    assert (instant(None, "--from"), iso(None), day(None)) == (None, None, "-")


def test_the_day_of_an_instant_is_that_of_the_given_clocks() -> None:
    assert (day(0), day(-1), day(17 * 3_600_000_000, 420)) == ("1970-01-01", "1969-12-31", "1970-01-02")
    assert iso(1 << 62) == f"{1 << 62} us"


def test_control_characters_are_not_passed_on_to_a_terminal() -> None:
    assert printable("a\x1b[31mb\u202ec Đ") == "a\ufffd[31mb\ufffdc Đ"
