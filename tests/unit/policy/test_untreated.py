"""What would come in, or rest, otherwise than a rule asks is refused; what is satisfied by itself is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.model import AnchorFinding, Decision, Effect, Finding, Reason, Trust
from residency.policy.compiler import Policy
from residency.policy.explain import explain
from residency.policy.prove_duties import duty_reports
from residency.policy.uncarried import undone
from tests.proof_files import NOW, law, policy, rule

ALL = "anchor: [territory, citizenship, residence, collection]"
MASK_IN = "{protect: [{field: phone, direction: in, transform: mask}]}"
MASK_REST = "{protect: [{field: phone, direction: rest, transform: mask}]}"
ENCRYPT_REST = "{protect: [{field: phone, direction: rest, transform: encrypt}]}"
HERE = AnchorFinding(frozenset({"VN"}), frozenset(), Trust.VERIFIED)
NOWHERE = AnchorFinding(frozenset({"US"}), frozenset(), Trust.VERIFIED)
FIELDS = "fields: {phone: [personal], name: [personal]}\n"


def activity(operation: str, *more: str) -> str:
    said = "".join(f", {each}" for each in ("store: all", *more))
    return f'activities:\n  - {{route: "POST /a", subject: app, data: [health], operation: {operation}{said}}}\n'


def decided(of: Policy, covered: AnchorFinding = HERE) -> Decision:
    finding = Finding(covered, covered, covered, covered)
    return of.decide(of.deployment.activities[0], finding, frozenset(), of.facts, NOW)


def asked(duty: str, doing: str, *more: str, applies: str = ALL) -> Policy:
    return policy(law("VN", rule("vn.one", f"{{{applies}}}", duty, *more)), activities=doing, more=FIELDS)


@pytest.mark.parametrize("operation", ["write", "post", "process"])
def test_what_would_take_a_field_in_is_refused_and_reading_is_not(operation: str) -> None:
    decision = decided(asked(MASK_IN, activity(operation)))
    assert (decision.effect, decision.reason) == (Effect.DENY, Reason.CANNOT_BE_TREATED)
    assert [each.id for each in decision.rules] == ["vn.one"]
    for harmless in ("read", "erase"):
        assert decided(asked(MASK_IN, activity(harmless))).effect is Effect.PERMIT


def test_it_is_refused_without_a_store_too_and_of_nobody_whom_the_law_does_not_cover() -> None:
    storeless = 'activities:\n  - {route: "POST /a", subject: app, data: [health], operation: process}\n'
    of = asked(MASK_IN, storeless)
    assert decided(of).reason is Reason.CANNOT_BE_TREATED
    assert decided(of, NOWHERE).effect is Effect.PERMIT


@pytest.mark.parametrize(
    ("listed", "taken"),
    [("fields: [phone]", True), ("fields: [name]", False), ("media: [phone]", True), ("media: [video]", False)],
)
def test_an_activity_that_lists_what_it_takes_in_takes_no_other_field(listed: str, *, taken: bool) -> None:
    of = asked(MASK_IN, activity("write", listed))
    decision = decided(of)
    assert (decision.effect is Effect.DENY) is taken
    assert bool(undone(of.deployment, decision)) is taken, "it is told exactly where it is refused"


@pytest.mark.parametrize("operation", ["write", "post"])
def test_what_would_rest_untreated_is_refused_and_reading_is_not(operation: str) -> None:
    decision = decided(asked(MASK_REST, activity(operation)))
    assert (decision.effect, decision.reason) == (Effect.DENY, Reason.CANNOT_BE_TREATED)
    assert {verdict.reason for verdict in decision.sinks} == {Reason.CANNOT_BE_TREATED}, "at home as abroad"
    for harmless in ("read", "process", "erase"):
        assert decided(asked(MASK_REST, activity(harmless))).effect is Effect.PERMIT


def test_a_sink_that_encrypts_satisfies_what_asks_for_no_more() -> None:
    verdicts = {each.sink.name: each.reason for each in decided(asked(ENCRYPT_REST, activity("write"))).sinks}
    assert verdicts == {"vn": None, "sg": None, "de": Reason.CANNOT_BE_TREATED}
    both = "{protect: [{field: a, direction: rest, transform: encrypt}, {field: b, direction: rest, transform: hash}]}"
    assert decided(asked(both, activity("write"))).effect is Effect.DENY


def test_what_a_reader_puts_into_a_cache_rests_there() -> None:
    of = asked(MASK_REST, activity("read"))
    sinks = of.deployment.sinks
    cache = replace(sinks["sg"], sink=replace(sinks["sg"].sink, scope="cache"))
    deployment = replace(of.deployment, sinks={**sinks, "sg": cache})
    cached = Policy(deployment, of.laws, of.facts, of.digest, of.base, ())
    assert {each.sink.name: each.reason for each in decided(cached).sinks} == {
        "vn": None,
        "sg": Reason.CANNOT_BE_TREATED,
        "de": None,
    }


def test_a_rule_that_only_watches_and_a_filing_that_is_missing_come_first() -> None:
    assert decided(asked(MASK_REST, activity("write"), "mode: observe")).effect is Effect.PERMIT
    asks = MASK_IN.replace("{protect", '{require: ["filing:vn.dossier"], protect')
    assert decided(asked(asks, activity("write"))).reason is Reason.FILING_MISSING


def test_a_rule_about_sinks_that_wants_what_comes_in_treated_stands_against_these_sinks() -> None:
    abroad = f"{ALL}, sink: {{abroad: true}}"
    verdicts = {
        each.sink.name: each.reason for each in decided(asked(MASK_IN, activity("write"), applies=abroad)).sinks
    }
    assert verdicts == {"vn": None, "sg": Reason.CANNOT_BE_TREATED, "de": Reason.CANNOT_BE_TREATED}


def test_what_is_refused_so_is_told_with_the_field_and_what_would_help() -> None:
    for duty, where in ((MASK_IN, "POST /a"), (MASK_REST, "vn")):
        of = asked(duty, activity("write"))
        told = explain(decided(of), None).lines
        assert any(
            f"{where}: fields must be treated where they come in or rest (mask `phone`)" in line for line in told
        )
        assert any("an exemption in a register lifts the rule" in line for line in told)
        (found,) = [each for each in duty_reports(of, NOW) if each.kind == "untreated"]
        assert "wants fields treated where they come in or rest" in found.problem.message
