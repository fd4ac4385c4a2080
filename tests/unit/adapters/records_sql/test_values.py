"""A row comes back from its bytes as it was, and the same row is the same bytes."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.records_sql.values import format_row, instant, parse_row

plain = st.none() | st.booleans() | st.integers() | st.text()
values = st.one_of(
    plain,
    st.floats(allow_nan=False),
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.lists(plain | st.binary() | st.floats(allow_nan=False)),
    st.dictionaries(st.text(), st.integers() | st.text()),
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_a_row_comes_back_as_it_was_and_is_the_same_bytes_again(row: dict[str, object]) -> None:
    told = format_row(row)
    assert parse_row(told) == row
    assert format_row(parse_row(told)) == told


def test_one_instant_is_the_same_bytes_in_each_zone() -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    assert format_row({"at": moment}) == format_row({"at": moment.astimezone(dt.timezone(dt.timedelta(hours=7)))})
    assert format_row({"at": moment}) != format_row({"at": moment.replace(tzinfo=None)})


def test_numbers_that_are_alike_and_not_the_same_are_not_the_same_bytes() -> None:
    assert len({format_row({"x": each}) for each in (1, 1.0, True, "1")}) == 4


def test_what_cannot_be_told_is_an_error_and_no_guess() -> None:
    with pytest.raises(TypeError, match="object"):
        format_row({"x": object()})
    with pytest.raises(ValueError, match="not a row"):
        parse_row(b"[]")
    with pytest.raises(ValueError, match="not a row"):
        parse_row(b'{"x": {"~": ["what", 1]}}')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01 00:00:01", 1_000_000),
        ("1970-01-01T00:00:01+00:00", 1_000_000),
        ("yesterday", None),
        (dt.date(1970, 1, 2), 86_400_000_000),
        (dt.datetime(1970, 1, 1, 7, tzinfo=dt.timezone(dt.timedelta(hours=7))), 0),
        (2, 2_000_000),
        (0.5, 500_000),
        (True, None),
        (None, None),
    ],
)
def test_a_column_is_read_as_an_instant_where_it_is_one(value: object, expected: int | None) -> None:
    assert instant(value) == expected
