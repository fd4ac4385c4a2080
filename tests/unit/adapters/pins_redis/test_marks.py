"""Marks lie all over a cluster's slots, and one that is gone or another is noticed."""

from __future__ import annotations

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from residency.adapters.pins_redis.marks import SLOTS, Marks
from residency.errors import PinsUnavailable


def test_any_511_slots_in_a_row_hold_a_mark() -> None:
    marks = Marks(b"p:", None, cluster=True)
    slots = sorted(key_slot(key) for key in marks.keys(lambda slot: True))
    assert max(later - earlier for earlier, later in zip([-1, *slots], [*slots, SLOTS], strict=True)) <= 511


def test_a_single_server_has_one_mark() -> None:
    assert Marks(b"p:", None, cluster=False).keys(lambda slot: True) == [b"p:key_mark"]


def test_a_mark_is_held_to_what_was_first_seen() -> None:
    marks = Marks(b"p:", "key", cluster=False)
    marks.check(b"p:key_mark", b"key name")
    marks.check(b"p:key_mark", b"key name")
    for found in (None, b"key other"):
        with pytest.raises(PinsUnavailable, match="without what it held"):
            marks.check(b"p:key_mark", found)
    marks.check(b"p:key_mark", b"key name")  # restored


def test_another_key_is_told_apart_from_a_loss() -> None:
    with pytest.raises(PinsUnavailable, match="another `subjects` key"):
        Marks(b"p:", "key", cluster=False).check(b"p:key_mark", b"other name")


def test_what_is_no_mark_is_not_taken_for_one() -> None:
    with pytest.raises(PinsUnavailable):
        Marks(b"p:", "key", cluster=False).check(b"p:key_mark", [b"key"])
    with pytest.raises(ResponseError):
        Marks(b"p:", "key", cluster=False).check(b"p:key_mark", ResponseError("WRONGTYPE"))
