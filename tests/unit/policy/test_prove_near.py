"""Words of activities, operators and registers that are likely others misspelt: told, with the word that is meant."""

from __future__ import annotations

import pytest

from residency.policy.compiler import compile_policy
from residency.policy.parser import parse_deployment, parse_law, parse_register
from residency.policy.prove_near import near_reports
from residency.policy.prove_reports import Report, register_reports

DEPLOYMENT = """\
residency: 1
kind: deployment
name: near
mode: enforce
operator: {established_in: VN, sectors: [%s]}
laws: ["*"]
activities:
  - {route: "POST /people", subject: app, data: personal, %s}
"""
LAW = """\
residency: 1
kind: law
jurisdiction: VN
instrument: Act
in_force: {from: 2020-01-01}
checked: {date: 2026-11-21, confidence: high, source: test}
rules:
  - id: vn.accounts
    article: art. 1
    text: test
    transitions: [{until: 2020-02-01, sector: banking}]
    applies: {anchor: territory, action: register_account, purpose: marketing, operator: {sector: health}}
    duty: {require: ["age:at_least_16", "filing:vn.transfer_dossier", [contract:eu_scc, basis:legal_duty]]}
  - id: vn.ordered
    article: art. 2
    text: test
    trigger: {order: vn.stop}
    applies: {anchor: territory, ai: {risk: [medium, high], general_purpose: true}}
    duty: {require: ["ai:portal_id"]}
"""
REGISTER = """\
residency: 1
kind: register
name: r
time_zone: "+00:00"
"""


def near(activity: str, sector: str = "health") -> list[Report]:
    deployment = parse_deployment((DEPLOYMENT % (sector, activity)).encode(), "d.yaml", {})
    return list(near_reports(compile_policy(deployment, [parse_law(LAW.encode(), "vn.yaml", "vn")], [], "digest")))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("action: regster_account", "register_account"),
        ("action: [other, register_acount]", "register_account"),
        ("purpose: marketting", "marketing"),
        ("basis: legal_dutty", "legal_duty"),
        ("ai: {risk: hihg}", "high"),
        ("ai: {risk: high, portalid: A-1}", "portal_id"),
        ("ai: {risk: high, general_purpos: true}", "general_purpose"),
    ],
)
def test_a_word_that_takes_a_rule_out_and_is_like_one_that_does_not_is_told(written: str, meant: str) -> None:
    (found,) = near(written)
    assert (found.level, found.kind, found.problem.line) == ("warning", "near", 8)
    assert found.problem.message.endswith(f"; did you mean `{meant}`?")
    assert found.activities == ("POST /people",)


@pytest.mark.parametrize(
    "written",
    [
        "action: register_account, purpose: marketing, basis: legal_duty",
        "action: upload, purpose: chess, basis: legitimate_interest",
        "ai: {system: chat, risk: low, portal_id: AI-1, general_purpose: no}",
    ],
)
def test_words_that_rules_know_and_words_of_ones_own_are_not(written: str) -> None:
    assert near(written) == []


def test_a_sector_is_read_with_those_of_transitions() -> None:
    (found,) = near("action: upload", sector="bankin")
    assert found.problem.line == 5
    assert "sector `bankin`; did you mean `banking`?" in found.problem.message
    assert near("action: upload", sector="banking") == []


@pytest.mark.parametrize(
    ("written", "level", "meant"),
    [
        ("filings: [{kind: vn.transfer_dosier, result: filed", "warning", "vn.transfer_dossier"),
        ("filings: [{kind: contract.eu_sc, result: filed", "warning", "contract.eu_scc"),
        ("filings: [{kind: unlike_any, result: filed", "note", None),
        ("orders: [{kind: vn.stopp", "warning", "vn.stop"),
    ],
)
def test_a_filing_or_an_order_of_a_kind_that_no_rule_knows_is_told(written: str, level: str, meant: str | None) -> None:
    deployment = parse_deployment((DEPLOYMENT % ("health", "action: upload")).encode(), "d.yaml", {})
    policy = compile_policy(deployment, [parse_law(LAW.encode(), "vn.yaml", "vn")], [], "digest")
    register = parse_register(f"{REGISTER}{written}, number: '1', date: 2026-01-01}}]".encode(), "r.yaml")
    (found,) = register_reports(policy, [register], 0)
    assert found.level == level
    assert found.problem.line == 5
    assert ("did you mean" in found.problem.message) == (meant is not None)
    assert meant is None or f"did you mean `{meant}`?" in found.problem.message
