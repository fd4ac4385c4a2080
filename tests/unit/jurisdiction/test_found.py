"""A finding comes back from its words, and other words are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.jurisdiction.found import finding_words, parse_finding
from residency.model import Anchor, AnchorFinding, Finding, Trust


@st.composite
def anchors(draw: st.DrawFn) -> AnchorFinding:
    established = draw(st.frozensets(st.sampled_from(["VN", "DE", "CA-QC", "EU"]), max_size=2))
    contested = draw(st.frozensets(st.sampled_from(["US", "FR"]), max_size=2))
    speaks = established or contested
    return AnchorFinding(established, contested, draw(st.sampled_from(Trust)) if speaks else None)


@given(st.builds(Finding, anchors(), anchors(), anchors(), anchors()))
def test_a_finding_comes_back_from_its_words(finding: Finding) -> None:
    assert parse_finding(finding_words(finding)) == finding


def test_a_finding_is_told_anchor_by_anchor_and_silence_is_left_out() -> None:
    finding = Finding(
        territory=AnchorFinding(frozenset({"VN"}), frozenset(), Trust.NETWORK),
        citizenship=AnchorFinding(frozenset(), frozenset({"DE", "US"}), Trust.VERIFIED),
    )
    assert finding_words(finding) == (
        f"{Anchor.TERRITORY}:VN:established:network",
        f"{Anchor.CITIZENSHIP}:DE:contested:verified",
        f"{Anchor.CITIZENSHIP}:US:contested:verified",
    )


@pytest.mark.parametrize(
    "words",
    [
        ["territory:VN"], ["hair:VN:established:network"], ["territory:VN:known:network"],
        ["territory:VN:established:word"], ["territory:VN:established:network", "territory:DE:contested:hint"],
    ],
)  # fmt: skip
def test_words_that_the_format_does_not_know_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="finding"):
        parse_finding(words)
