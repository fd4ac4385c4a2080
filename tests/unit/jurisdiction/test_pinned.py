"""A pin comes back from its line as it was; anything else is refused, never guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.jurisdiction.pinned import format_pin, parse_pin
from residency.model.finding import Anchor, Trust
from residency.model.subject import Pin

places = st.sampled_from(["VN", "CA-QC", "EU"])
anchors = st.lists(st.tuples(st.sampled_from(Anchor), places, st.sampled_from(Trust)), max_size=5).map(tuple)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
pins = st.builds(
    Pin,
    texts,
    places,
    anchors,
    texts,
    texts,
    texts,
    st.integers(0, 2**62),
    st.integers(min_value=1, max_value=2**31),
    st.none() | places,
)
LINE = format_pin(Pin("d1", "VN", ((Anchor.TERRITORY, "VN", Trust.NETWORK),), "a1", "first_write", "p", 1))


@given(pins)
def test_a_pin_comes_back_as_it_was(pin: Pin) -> None:
    assert parse_pin(format_pin(pin)) == pin
    assert "\n" not in format_pin(pin)


@pytest.mark.parametrize(
    ("key", "value"),
    [("version", "1"), ("version", True), ("home", None), ("anchors", [["territory", "VN"]]), ("anchors", "VN"),
     ("anchors", [["nowhere", "VN", 2]]), ("anchors", [["territory", "VN", 9]]), ("more", 1),
     ("home", "Atlantis"), ("home", ""), ("home", "vn"), ("home", "VNM"), ("moving", "Atlantis"), ("moving", None),
     ("anchors", [["territory", "QQ", 2]]),
     ("anchors", [["territory", 84, 2]])],
)  # fmt: skip
def test_what_is_no_pin_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the contract names no more
        parse_pin(json.dumps({**json.loads(LINE), key: value}))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_pin(text)
