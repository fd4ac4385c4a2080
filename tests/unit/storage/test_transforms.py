"""Fields of a record that is copied are treated as asked, alike each time, or it is not copied."""

from __future__ import annotations

import json

import pytest

from residency.model import Protection
from residency.storage.records import Record
from residency.storage.transforms import treated

KEY = b"k" * 32
ROW = Record("people", '{"id":"an"}', "an", frozenset({"personal"}), b'{"age":7,"id":"an","name":"An","phone":"0901"}')


def asks(field: str, transform: str, direction: str = "out") -> Protection:
    return Protection(field, direction, transform, "protected")


def row(record: Record | None) -> dict[str, object]:
    assert record is not None
    found: dict[str, object] = json.loads(record.value or b"")
    return found


def test_nothing_asked_or_only_of_what_comes_in_leaves_the_record_as_it_is() -> None:
    assert treated(ROW, (), KEY) is ROW
    assert treated(ROW, [asks("phone", "drop", "in")], KEY) is ROW


def test_a_field_is_dropped_masked_hashed_or_made_a_token_alike_each_time() -> None:
    assert row(treated(ROW, [asks("phone", "drop")], KEY))["phone"] is None
    assert row(treated(ROW, [asks("age", "drop")], KEY))["age"] is None
    assert row(treated(ROW, [asks("phone", "mask", "rest")], KEY))["phone"] == "***"
    hashed = treated(ROW, [asks("phone", "hash")], KEY)
    assert hashed == treated(ROW, [asks("phone", "hash")], KEY)
    assert hashed != treated(ROW, [asks("phone", "hash")], b"o" * 32)
    token = row(treated(ROW, [asks("phone", "tokenise"), asks("phone", "mask")], KEY))["phone"]
    assert str(token).startswith("tok_")
    assert b"0901" not in (treated(ROW, [asks("phone", "hash"), asks("name", "mask")], KEY) or ROW).value  # type: ignore[operator]  # bytes


def test_bytes_that_nothing_is_asked_of_stay_the_same_bytes() -> None:
    same = treated(ROW, [asks("phone", "drop"), asks("name", "drop")], KEY)
    assert same is not None
    assert same.value == b'{"age":7,"id":"an","name":null,"phone":null}'


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        (ROW, [asks("passport", "drop")]),  # no column of that name: nobody knows where it is
        (ROW, [asks("id", "hash")]),  # the copy would have another key
        (ROW, [asks("age", "mask")]),  # a number
        (ROW, [asks("phone", "encrypt")]),
        (ROW, [asks("phone", "refuse")]),
        (ROW, [asks("phone", "hash"), asks("phone", "encrypt")]),
        (Record("users/{subject}/", "users/an/cv", "an", frozenset(), b"text/x\0cv"), [asks("phone", "drop")]),
        (Record("users/{subject}/", "users/an/film", "an", frozenset(), None), [asks("phone", "drop")]),
    ],
)
def test_what_cannot_be_carried_out_is_no_copy(record: Record, asked: list[Protection]) -> None:
    assert treated(record, asked, KEY) is None
