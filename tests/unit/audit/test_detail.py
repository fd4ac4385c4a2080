"""A detail comes back whole, and its commitment tells nothing without it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.detail import commit, format_detail, parse_detail
from residency.errors import EntryError

SALT = bytes(range(16))
FIELDS = st.dictionaries(
    st.text(st.characters(codec="ascii"), min_size=1).filter(lambda name: name != "salt"),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**53) + 1, 2**53 - 1),
)


@given(FIELDS, st.binary(min_size=16, max_size=16))
def test_a_detail_comes_back_from_its_bytes(fields: dict[str, str | int | None], salt: bytes) -> None:
    assert parse_detail(format_detail(fields, salt)) == fields


def test_the_same_fields_under_another_salt_commit_to_something_else() -> None:
    fields: dict[str, str | int | None] = {"ip": "203.0.113.7", "port": 443}
    assert commit(format_detail(fields, SALT)) != commit(format_detail(fields, bytes(16)))


def test_the_order_in_which_fields_were_given_does_not_matter() -> None:
    assert format_detail({"a": 1, "b": None}, SALT) == format_detail({"b": None, "a": 1}, SALT)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_detail_or_an_entry_error(data: bytes) -> None:
    with pytest.raises(EntryError):
        parse_detail(data)


SALT_JSON = b'"' + b"00" * 16 + b'"'


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{}",
        b'{"salt":1}',
        b'{"salt":"zz"}',
        b'{"a":1.5,"salt":' + SALT_JSON + b"}",
        b'{"salt": ' + SALT_JSON + b"}",
        b'{"a":[],"salt":' + SALT_JSON + b"}",
    ],
)
def test_a_detail_not_in_canonical_form_is_refused(data: bytes) -> None:
    with pytest.raises(EntryError):
        parse_detail(data)


@pytest.mark.parametrize("fields", [{"salt": "x"}, {"é": 1}, {"a": True}, {"a": 2**53}, {"a": "\ud800"}, {"": 1}])
def test_fields_that_could_not_be_read_back_are_refused(fields: dict[str, str | int | None]) -> None:
    with pytest.raises(EntryError):
        format_detail(fields, SALT)


def test_a_salt_of_another_size_is_refused() -> None:
    with pytest.raises(EntryError):
        format_detail({}, b"short")
