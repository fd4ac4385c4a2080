"""What is counted adds up, comes in the order of its weight, and names no person."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

from residency.model import RuleRef
from residency.policy.recorded import Change
from residency.policy.replay import Gap, Replayed
from residency.policy.tally import Tally

DENIED = Change(
    activity="POST /posts",
    what=("effect", "reason", "sinks", "rules"),
    before=("permit", None),
    after=("deny", "identity_missing"),
    sink=None,
    sinks_before=("vn", "sg"),
    sinks_after=(),
    gained=("test.phone",),
    lost=(),
)
CITED = replace(DENIED, what=("rules",), after=("permit", None), sinks_after=("vn", "sg"), lost=("test.other",))
ALIAS = "ab" * 16


def counted() -> Tally:
    """Ten answers: one gap, one wrong, eight replayed of which four change and one is cited otherwise."""
    tally = Tally()
    answers = [
        Replayed(Gap.POLICY_MISSING), Replayed(wrong=("effect",)), Replayed(), Replayed(), Replayed(),
        Replayed(change=CITED), Replayed(change=replace(DENIED, activity="GET /posts")),
        Replayed(change=DENIED), Replayed(change=DENIED), Replayed(change=DENIED),
    ]  # fmt: skip
    for index, answer in enumerate(answers):
        tally.add(index, ALIAS if index % 2 else None, "cd" * 32, answer)
    return tally


def test_counts_add_up() -> None:
    tally = counted()
    assert (tally.decisions, tally.replayed, tally.wrongs, tally.changed) == (10, 8, 1, 4)
    assert (tally.coverage, tally.share) == (Fraction(9, 10), Fraction(1, 2))
    data = tally.data()
    assert data["changed"]["by_activity"] == {"POST /posts": 3, "GET /posts": 1}
    assert data["changed"]["by_rule"] == {"test.phone": {"decides": 4, "no_longer": 0}}
    assert sum(change["decisions"] for change in data["changed"]["changes"]) == tally.changed
    assert data["changed"]["subjects"] == 1
    assert data["cited_otherwise"] == 1
    assert data["verified"]["first"] == [{"index": 1, "fields": ["effect"]}]
    assert json.loads(json.dumps(data)) == data


def test_nothing_counted_is_no_coverage_and_not_full_coverage() -> None:
    assert (float(Tally().coverage), float(Tally().share), Tally().decisions) == (0.0, 0.0, 0)
    assert next(Tally().lines({}, candidate=None)) == "Coverage: 0 of 0 recorded decisions can be decided again"


def test_lines_tell_coverage_first_and_show_of_an_alias_its_beginning_alone() -> None:
    rule = RuleRef("test.phone", "VN", "Test law", "art. 2", "", "high", "enforce")
    lines = list(counted().lines({"test.phone": rule}, candidate="new"))
    text = "\n".join(lines)
    assert lines[0] == "Coverage: 9 of 10 (90.00%) recorded decisions can be decided again"
    assert lines[1] == "  1 cannot: its policy is not archived"
    assert "Verified: 1 records tell another decision than the policy that they name gives" in lines
    assert "Changed under new: 4 of 8 (50.00%) decisions, of 1 people" in lines
    assert "  test.phone: decides in 4 [Test law art. 2]" in lines
    assert "         3  POST /posts: permit -> deny (identity_missing)" in lines
    assert "            data may go to no sink; before, to vn or sg" in lines
    assert "entry 7 (abababab…)" in text
    assert ALIAS not in text
