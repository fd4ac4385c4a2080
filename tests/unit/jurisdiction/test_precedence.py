"""The table covers every anchor, and the screen above it says what it does."""

from __future__ import annotations

import re

import pytest

from residency.jurisdiction import precedence
from residency.jurisdiction.precedence import BESIDE, SPEAKS
from residency.model.finding import Anchor, Trust

ROWS = dict(re.findall(r"^\| (\w+) +\| ([^|]+?) +\| [^|]+\|$", precedence.__doc__ or "", re.MULTILINE))
PINS = dict(re.findall(r"^\| (\w+) +\| [^|]+\| ([^|]+?) +\|$", precedence.__doc__ or "", re.MULTILINE))


@pytest.mark.parametrize("anchor", Anchor)
def test_every_anchor_has_a_row_that_lists_exactly_who_may_speak(anchor: Anchor) -> None:
    speakers = [Trust[word.strip().upper()] for word in ROWS[anchor.value].split(">")]
    assert speakers == sorted((trust for trust in Trust if trust >= SPEAKS[anchor]), reverse=True)


@pytest.mark.parametrize("anchor", Anchor)
def test_every_row_says_how_the_pin_enters(anchor: Anchor) -> None:
    assert PINS[anchor.value].startswith("beside" if anchor in BESIDE else "in the ranking")
