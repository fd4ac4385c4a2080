"""A row is known for the one that was noted though columns came or went, and for no other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.storage.fields import fields_of, same_but_for_columns
from residency.storage.records import Record

VALUES = st.none() | st.integers() | st.text(max_size=5) | st.fixed_dictionaries({"~": st.just(["float", "1.5"])})
ROWS = st.dictionaries(st.sampled_from("abcdef"), VALUES, min_size=1)


def record(value: bytes | None) -> Record:
    return Record("people", "k", "an", frozenset(), value)


def row(values: dict[str, object]) -> Record:
    return record(json.dumps(values).encode())


@given(before=ROWS, now=ROWS)
def test_it_is_the_same_where_other_columns_are_there_and_what_both_have_is_equal(
    before: dict[str, object], now: dict[str, object]
) -> None:
    (noted,) = fields_of(row(before))
    both = before.keys() & now.keys()
    same = before.keys() != now.keys() and bool(both) and all(before[each] == now[each] for each in both)
    assert same_but_for_columns(noted, row(now)) == same


@pytest.mark.parametrize("value", [None, b"text/plain\0{}", b"{not a row", b""])
def test_what_is_no_row_has_no_fields_and_is_no_other_one(value: bytes | None) -> None:
    assert fields_of(record(value)) == frozenset()
    (noted,) = fields_of(row({"a": 1}))
    assert not same_but_for_columns(noted, record(value))
    assert not same_but_for_columns("ab" * 32, row({"a": 1}))
