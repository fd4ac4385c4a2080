"""A pin comes back from its stored form as it was, and nothing else comes back as a pin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.adapters.pins_redis.scripts import format_pin, parse_pin
from residency.errors import PinsUnavailable
from residency.model import Anchor, Pin, Trust

PLACES = st.sampled_from(["VN", "US", "CA-QC", "EU"])
PINS = st.builds(
    Pin,
    subject=st.just("5" * 64),
    home=PLACES,
    anchors=st.lists(st.tuples(st.sampled_from(Anchor), PLACES, st.sampled_from(Trust)), max_size=4).map(tuple),
    alias=st.text("0123456789abcdef", min_size=1, max_size=32),
    set_by=st.text(st.characters(exclude_categories=("C", "Z")), max_size=20),
    policy=st.text("0123456789abcdef", max_size=64),
    at=st.integers(0, 2**53),
    version=st.integers(1, 2**40),
)


@given(pin=PINS)
def test_a_pin_comes_back_whole(pin: Pin) -> None:
    assert parse_pin(pin.subject, format_pin(pin)) == pin


def test_nothing_and_a_tombstone_are_no_pin() -> None:
    assert parse_pin("5", None) is None
    assert parse_pin("5", b'{"gone":true,"alias":"a","version":3,"at":"1"}') is None


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"no",
        b"[]",
        b"{}",
        b"\xff",
        b'{"gone":1}',
        b'{"home":"VN","anchors":[],"alias":"a","set_by":"w","policy":"0","at":1,"version":"1"}',
        b'{"home":"VN","anchors":[],"alias":"a","set_by":"w","policy":"0","at":1,"version":true}',
        b'{"home":1,"anchors":[],"alias":"a","set_by":"w","policy":"0","at":1,"version":1}',
        b'{"home":"VN","anchors":[["birth","VN",2]],"alias":"a","set_by":"w","policy":"0","at":1,"version":1}',
        b'{"home":"VN","anchors":[["territory","vn",2]],"alias":"a","set_by":"w","policy":"0","at":1,"version":1}',
        b'{"home":"Nowhere","anchors":[],"alias":"a","set_by":"w","policy":"0","at":1,"version":1}',
        b'{"home":"VN","anchors":[],"alias":"a","set_by":"\\u001b[2J","policy":"0","at":1,"version":1}',
        b'{"home":"VN","anchors":[["territory","VN",9]],"alias":"a","set_by":"w","policy":"0","at":1,"version":1}',
        b"[" * 5000,
    ],
)
def test_what_is_no_pin_is_never_taken_for_one_nor_for_none(stored: bytes) -> None:
    with pytest.raises(PinsUnavailable):
        parse_pin("5", stored)
