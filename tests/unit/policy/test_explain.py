"""Explaining a decision: what was seen, whose law, which rules, where data goes, what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.model import Anchor, AnchorFinding, Finding, Signal, Trust
from residency.policy.compiler import Policy, compile_policy
from residency.policy.explain import explain
from residency.policy.times import instant

ROOT = Path(__file__).resolve().parents[3]
NOW = instant("2026-09-01", "+00:00")
VN = Finding(AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK))
SIGNALS = (Signal(Anchor.TERRITORY, "VN", Trust.NETWORK, "address"),)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(ROOT / "policies" / "deployments" / "social-api.yaml", {})


def test_a_refusal_tells_the_article_and_what_is_missing(policy: Policy) -> None:
    activity = policy.activities.match("POST", "/v1/posts", None).activity
    told = explain(policy.decide(activity, VN, frozenset(), policy.facts, NOW), SIGNALS, route="POST /v1/posts")
    text = "\n".join(told.lines)
    assert "POST /v1/posts: refused (identity_missing)" in text
    assert "VN (Vietnam): territory established, citizenship presumed" in text
    assert "Decree 333/2026/ND-CP art. 16(2)" in text
    assert "identity:eid or identity:national_id or identity:phone" in text
    assert (told.data["effect"], told.data["policy_version"]) == ("deny", 0)
    assert "vn.d333.16.2" in [rule["id"] for rule in told.data["rules"]]
    assert json.loads(json.dumps(told.data)) == told.data


def test_only_rules_in_force_on_the_day_are_cited(policy: Policy) -> None:
    activity = policy.activities.match("POST", "/v1/people", None).activity
    day = instant("2026-07-15", "+00:00")
    told = explain(policy.decide(activity, VN, frozenset(), policy.facts, day), SIGNALS)
    assert not any("333/2026" in line for line in told.lines)
    assert any("116/2025" in line for line in told.lines)


def test_silence_and_an_unnamed_route_are_told_too(policy: Policy) -> None:
    told = explain(policy.decide(None, Finding(), frozenset(), policy.facts, NOW), ())
    assert "  No signal speaks; presumptions decide." in told.lines
    assert "  No activity names this route." in told.lines


def test_a_term_is_no_way_to_meet_a_clause_that_is_not_met(policy: Policy) -> None:
    """Where clocks are strict none is given, and else one that still meets a clause leaves nothing missing."""
    strict = compile_policy(replace(policy.deployment, strict_clocks=True), policy.laws, [], "d")
    german = Finding(
        AnchorFinding(frozenset({"DE"})), citizenship=AnchorFinding(frozenset({"VN"}), trust=Trust.VERIFIED)
    )
    asked = [
        strict.decide(activity, german, frozenset(), strict.facts, NOW) for activity in strict.deployment.activities
    ]
    clauses = {clause for decision in asked for verdict in decision.sinks for clause in verdict.unmet}
    assert any(token.startswith("clock:") for clause in clauses for token in clause)
    for decision in asked:
        told = explain(decision, ())
        text = json.dumps([told.data, told.lines, told.markdown("vi")], ensure_ascii=False)
        assert "clock:" not in json.dumps([told.data["missing"], told.data["sinks"]])
        assert "a term that still runs" not in text
        assert "thời hạn chưa hết" not in text
