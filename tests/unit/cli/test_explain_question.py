"""What options tell of a person becomes the question that the pipeline would ask."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from residency.adapters.policy_files import load
from residency.cli.explain_question import Person, activity_of, given, instant_of, seen_of
from residency.model import Anchor
from residency.policy.compiler import Policy

ROOT = Path(__file__).resolve().parents[3]
VIETNAM = "14.160.0.1"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(ROOT / "policies" / "deployments" / "social-api.yaml", {})


@pytest.mark.parametrize(
    ("pin", "caller", "signals"), [(None, "unknown", 2), ("VN", "unknown_pinned", 0)], ids=["no pin", "a pin"]
)
def test_an_unknown_caller_of_a_named_subject_is_said_to_be_so(
    policy: Policy, pin: str | None, caller: str, signals: int
) -> None:
    match = policy.activities.match("GET", "/v1/people/an")
    asked = seen_of(policy, match, Person(ip=VIETNAM, pin=pin), None)
    assert (asked.caller, len(asked.signals or ())) == (caller, signals)


def test_a_finding_in_words_takes_the_deployments_presumptions(policy: Policy) -> None:
    asked = given(policy, ["territory:VN:established:network"], ["identity:phone age:at_least_16"])
    assert asked.finding.presume == policy.deployment.presume
    assert asked.finding.anchor(Anchor.TERRITORY).established == {"VN"}
    assert asked.evidence == {"identity:phone", "age:at_least_16"}
    assert asked.signals is None


def test_an_activity_is_asked_for_by_its_name(policy: Policy) -> None:
    assert activity_of(policy, "GET /v1/posts").path == "/v1/posts"
    with pytest.raises(typer.Exit):
        activity_of(policy, "GET /v1/post")


@pytest.mark.parametrize(
    ("text", "instant"),
    [("1970-01-02", 129_600_000_000), ("1970-01-01T00:00:01", 1_000_000), ("1970-01-01T07:00:00+07:00", 0)],
)
def test_a_day_is_its_noon_and_an_instant_is_itself(text: str, instant: int) -> None:
    assert instant_of(text) == (instant, text)
