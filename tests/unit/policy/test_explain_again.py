"""A question comes back from the command line that asks it again."""

from __future__ import annotations

import shlex

from residency.jurisdiction.found import parse_finding
from residency.model import AnchorFinding, Finding, Trust
from residency.policy.explain_again import explain_again


def test_the_command_tells_the_whole_question_and_nothing_that_the_policy_gives_itself() -> None:
    finding = Finding(
        AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK),
        AnchorFinding(contested=frozenset({"DE", "US"}), trust=Trust.VERIFIED),
    )
    line = explain_again("a b.yaml", "GET /{id}", finding, {"identity:phone", "filing:x", "sink:encrypted"}, 1)
    words = shlex.split(line)
    assert words[:2] == ["residency", "explain"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert (options["--policy"], options["--activity"]) == ("a b.yaml", "GET /{id}")
    assert parse_finding(options["--finding"].split()) == finding
    assert options["--evidence"] == "identity:phone"
    assert options["--at"] == "1970-01-01T00:00:00.000001+00:00"


def test_a_silent_person_without_evidence_is_told_as_such() -> None:
    words = shlex.split(explain_again("f", "a", Finding(), (), 0))
    assert words[words.index("--finding") + 1] == ""
    assert "--evidence" not in words
