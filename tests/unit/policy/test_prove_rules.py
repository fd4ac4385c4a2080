"""Rules that never decide and why, activities that no law speaks of, answers to open questions that matter."""

from __future__ import annotations

import pytest

from residency.policy.prove_reports import Report
from residency.policy.prove_rules import reading_reports, rule_reports
from tests.proof_files import NOW, law, policy, rule

ALL = "anchor: [territory, citizenship]"
PLAIN = rule("vn.plain", f"{{{ALL}}}", "{effect: deny}")
READING = """\
readings:
  vn.reach: {text: how far, options: [broad, narrow], default: narrow}
"""


def of_kind(kind: str, reports: list[Report]) -> list[Report]:
    return [found for found in reports if found.kind == kind]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (rule("vn.x", f"{{{ALL}, data: [content]}}", "{effect: deny}"), "no activity does"),
        (rule("vn.x", f"{{{ALL}, operation: [erase]}}", "{effect: deny}"), "no activity does"),
        (rule("vn.x", f"{{{ALL}, operator: {{established_in: JP}}}}", "{effect: deny}"), "not about this operator"),
        (rule("vn.x", f"{{{ALL}, sink: {{in: [JP]}}}}", "{effect: deny}"), "no activity uses such a sink"),
        (rule("vn.x", f"{{{ALL}}}", "{effect: deny}", "mode: 'off'"), "mode off"),
        (rule("vn.x", f"{{{ALL}}}", "{effect: deny}", "mode: warn"), "only observed"),
        (rule("vn.x", f"{{{ALL}}}", "{effect: deny}", "reading: {vn.reach: broad}"), "another reading holds here"),
        (rule("vn.x", f"{{{ALL}}}", "{effect: deny}", "in_force: {from: 2020-01-01, to: 2021-01-01}"), "time is over"),
        (rule("vn.x", f"{{{ALL}}}", "{effect: deny}", "trigger: {order: vn.stop}"), "the register has no such order"),
    ],
)
def test_a_rule_that_never_decides_is_told_with_the_reason(text: str, why: str) -> None:
    of = policy(law("VN", PLAIN, text, more=READING))
    (found,) = of_kind("never", list(rule_reports(of, NOW)))
    assert found.rules == ("vn.x",)
    assert why in found.problem.message


def test_rules_that_may_decide_are_not_told() -> None:
    later = ("mode: warn", "mode_from: [{from: 2027-01-01, mode: enforce}]")
    of = policy(law("VN", PLAIN, rule("vn.later", f"{{{ALL}}}", "{effect: deny}", *later)))
    assert of_kind("never", list(rule_reports(of, NOW))) == []


def test_a_rule_that_is_overridden_wherever_it_speaks_is_told_at_its_line() -> None:
    over = rule("vn.over", f"{{{ALL}}}", "{log: [ip]}", "overrides: [vn.plain]")
    (found,) = of_kind("never", list(rule_reports(policy(law("VN", PLAIN, over)), NOW)))
    assert "`vn.over` overrides it" in found.problem.message
    assert found.problem.file == "vn.yaml"
    narrow = rule("vn.over", "{anchor: [citizenship]}", "{log: [ip]}", "overrides: [vn.plain]")
    assert of_kind("never", list(rule_reports(policy(law("VN", PLAIN, narrow)), NOW))) == []


def test_a_rule_of_low_confidence_that_binds_is_a_warning() -> None:
    low = rule("vn.low", f"{{{ALL}}}", "{effect: deny}", "confidence: low")
    (found,) = of_kind("low_confidence", list(rule_reports(policy(law("VN", low)), NOW)))
    assert "`vn.low` binds with low confidence" in found.problem.message
    assert (found.level, found.rules) == ("warning", ("vn.low",))


def test_an_activity_that_no_law_speaks_of_is_a_warning() -> None:
    activities = 'activities:\n  - {route: "GET /news", subject: app, data: [content]}\n'
    of = policy(law("VN", rule("vn.x", f"{{{ALL}, data: [personal]}}", "{effect: deny}")), activities=activities)
    (found,) = of_kind("no_law", list(rule_reports(of, NOW)))
    assert found.activities == ("GET /news",)


def test_another_reading_is_told_where_it_changes_what_is_decided() -> None:
    text = rule("vn.x", f"{{{ALL}}}", "{effect: deny}", "reading: {vn.reach: broad}")
    (found,) = reading_reports(policy(law("VN", text, more=READING)), NOW)
    assert found.problem.file == "vn.yaml"
    assert (
        "`vn.reach` is `narrow` here; as `broad` it would decide otherwise of `POST /people`" in found.problem.message
    )
    assert "permit at vn, sg, de becomes deny (law_forbids)" in found.problem.message
    same = text.replace("effect: deny", "log: [ip]")
    assert list(reading_reports(policy(law("VN", same, more=READING)), NOW)) == []
