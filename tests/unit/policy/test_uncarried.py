"""Each duty that a rule orders and a deployment does not carry out is told at the rule, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.model import Activity, AnchorFinding, Decision, Duty, Finding, Operation, SubjectSource, Trust
from residency.policy.compiler import Policy
from residency.policy.explain import explain
from residency.policy.explain_words import LANGUAGES, Language
from residency.policy.prove_reports import Report
from residency.policy.uncarried import BY_DETAIL, BY_ENTRY, gaps, uncarried_reports, undone
from tests.proof_files import NOW, law, policy, rule

ALL = "anchor: [territory, citizenship, residence, collection]"
DETAIL = "audit: {detail: {VN: ./detail-vn}}\n"
NAMED = "records: {all: {people: {subject: id, data: [health]}}}\n"
READS = 'activities:\n  - {route: "GET /people", subject: app, data: [health], operation: read, store: all}\n'
ABROAD = 'activities:\n  - {route: "POST /a", subject: app, data: [health], operation: write, store: abroad}\n'
TERM = "deadlines: [{task: a.b, within: 2 days, from: commencement}]"


def told(of: Policy, now: int = NOW) -> list[Report]:
    return list(uncarried_reports(of, now))


def decided(of: Policy) -> Decision:
    """What is decided of the first activity, of somebody whom Vietnamese law covers."""
    here = AnchorFinding(frozenset({"VN"}), frozenset(), Trust.VERIFIED)
    return of.decide(of.deployment.activities[0], Finding(here, here, here, here), frozenset(), of.facts, NOW)


def ordered(duty: str, *more: str, applies: str = ALL, **deployment: str) -> list[Report]:
    return told(policy(law("VN", rule("vn.one", f"{{{applies}}}", duty, *more)), **deployment))


def test_a_log_that_has_no_place_is_told_at_the_rule_that_orders_it() -> None:
    (found,) = ordered("{log: [ip, account]}")
    assert (found.level, found.kind, found.rules) == ("warning", "not_carried_out", ("vn.one",))
    assert found.activities == ("POST /people",)
    assert (found.problem.file, found.problem.line, found.problem.column) == ("vn.yaml", 12, 17)
    assert "`log: account, ip` is not carried out here: `audit.detail` has no VN" in found.problem.message
    assert ordered("{log: [ip, account]}", more=DETAIL) == []


@pytest.mark.parametrize("field", sorted({*BY_DETAIL, *BY_ENTRY}))
def test_what_a_detail_or_an_entry_holds_is_carried_out(field: str) -> None:
    assert ordered(f"{{log: [{field}]}}", more=DETAIL) == []


def test_a_field_of_a_log_that_nobody_here_knows_is_told_wherever_details_lie() -> None:
    (found,) = ordered("{log: [device, ip]}", more=DETAIL)
    assert "`log: device` is not carried out here" in found.problem.message
    assert "log it in the app" in found.problem.message


def test_a_law_of_another_place_has_its_own_details() -> None:
    log = rule("de.one", f"{{{ALL}}}", "{log: [ip]}")
    (found,) = told(policy(law("DE", log), more=DETAIL))
    assert "has no DE" in found.problem.message


def test_what_is_to_be_kept_or_deleted_in_a_store_that_records_do_not_name_is_told() -> None:
    duty = "{retain: [{at_least: 24 months, from: last_use}, {at_most: 20 days, from: erasure_request}]}"
    (found,) = ordered(duty)
    assert "`retain: at_least from last_use, at_most from erasure_request`" in found.problem.message
    assert "`records:` does not name what `all` holds" in found.problem.message
    assert ordered(duty, more=NAMED) == []


def test_what_a_service_keeps_is_a_matter_of_its_contract() -> None:
    route = 'route: "POST /a", subject: app, data: [health], operation: write, store: home, http: plain'
    call = f"activities:\n  - {{{route}}}\n"
    home, service = ordered("{retain: [{at_most: 20 days, from: erasure_request}]}", activities=call)
    assert "`records:` does not name what `home` holds" in home.problem.message
    assert "what the service `plain` keeps" in service.problem.message


def test_retention_of_what_no_activity_keeps_is_not_told() -> None:
    assert ordered("{retain: [{at_least: 24 months, from: last_use, data: tracking}]}") == []


def test_a_scope_that_no_sink_has_is_told() -> None:
    duty = "{retain: [{at_least: 24 months, from: last_use, scope: backup}]}"
    (found,) = ordered(duty, more=NAMED)
    assert "no sink of the scope backup is named" in found.problem.message


def test_a_log_that_is_to_be_kept_for_a_time_asks_for_a_place_and_not_for_records() -> None:
    duty = "{retain: [{at_least: 12 months, from: creation, data: log}]}"
    (found,) = ordered(duty)
    assert "`audit.detail` has no VN" in found.problem.message
    assert ordered(duty, more=DETAIL) == []


def test_a_ceiling_that_evidence_could_lift_is_left_to_a_request_and_told() -> None:
    duty = "{retain: [{at_most: 24 months, from: last_use}]}"
    (found,) = ordered(duty, applies=f'{ALL}, unless: ["consent:keep"]', more=NAMED)
    assert "what `unless` could lift" in found.problem.message


@pytest.mark.parametrize(("direction", "word"), [("in", "nobody looks into what comes in"), ("rest", "by itself")])
def test_fields_to_be_treated_where_nobody_treats_them_are_told_with_the_refusal(direction: str, word: str) -> None:
    duty = f"{{protect: [{{field: phone, direction: {direction}, transform: mask}}]}}"
    (found,) = ordered(duty)
    assert "`protect: phone` is not carried out here" in found.problem.message
    assert word in found.problem.message
    assert "cannot_be_treated" in found.problem.message
    assert ordered(duty, activities=READS) == [], "who only reads takes nothing in, and writes nothing"


def test_what_is_refused_anyway_needs_no_treatment() -> None:
    assert ordered("{effect: deny, protect: [{field: id_image, direction: in, transform: refuse}]}") == []


def test_encryption_at_rest_is_carried_out_by_sinks_that_encrypt() -> None:
    duty = "{protect: [{field: phone, direction: rest, transform: encrypt}]}"
    (found,) = ordered(duty)
    assert "`protect: phone`" in found.problem.message, "one of the sinks, de, is not encrypted"
    assert ordered(duty, activities=ABROAD) == []


def test_a_term_that_nobody_asks_for_is_a_note_that_names_the_register() -> None:
    (found,) = ordered("{deadlines: [{task: filing.dossier, within: 60 days, from: first_processing}]}")
    assert found.level == "note"
    assert "residency requests add" in found.problem.message
    assert ordered("{deadlines: [{task: subject.erase, within: 20 days, from: request}]}") == []


def test_what_is_held_is_not_kept_for_whoever_looks_at_it_and_that_is_noted() -> None:
    (found,) = ordered("{effect: hold}")
    assert found.level == "note"
    assert "an exemption in a register lets it pass" in found.problem.message


@pytest.mark.parametrize(
    "duty", ["{copies: VN}", "{first_write: VN}", "{only: VN}", "{effect: deny}", "{label: [ai.interaction]}"]
)
def test_what_is_carried_out_everywhere_is_not_told(duty: str) -> None:
    assert ordered(duty) == []


@pytest.mark.parametrize(
    "more", ["mode: observe", 'mode: "off"', "in_force: {from: 2020-01-01, to: 2021-01-01}", "mode: warn"]
)
def test_a_rule_that_binds_no_more_or_never_orders_nothing(more: str) -> None:
    assert ordered("{log: [ip]}", more) == []


def test_a_rule_that_will_bind_is_told_now() -> None:
    assert len(ordered("{log: [ip]}", "in_force: {from: 2030-01-01}")) == 1
    assert len(ordered("{log: [ip]}", "mode: observe", "mode_from: [{from: 2027-01-01, mode: enforce}]")) == 1


def test_a_rule_about_other_operators_or_data_orders_nothing_here() -> None:
    assert ordered("{log: [ip]}", applies=f"{ALL}, operator: {{public_body: true}}") == []
    assert ordered("{log: [ip]}", applies=f"{ALL}, data: tracking") == []


def test_a_joined_duty_is_told_of_all_laws_that_cover() -> None:
    of = policy(law("VN", rule("vn.one", f"{{{ALL}}}", "{log: [ip]}")), more=DETAIL)
    activity = Activity("a", "POST", "/a", SubjectSource("app"), frozenset({"health"}), Operation.WRITE)
    duty = Duty(log=frozenset({"ip", "device"}))
    (here,) = gaps(of.deployment, duty, ("DE", "VN"), (activity,))
    assert (here.slot, here.what) == ("log", ("device",))
    (nowhere, _) = gaps(of.deployment, duty, ("DE",), (activity,))
    assert (nowhere.slot, nowhere.what) == ("log", ("ip",))


def test_a_decision_is_told_with_what_of_its_duty_nothing_carries_out() -> None:
    of = policy(law("VN", rule("vn.one", f"{{{ALL}}}", f"{{log: [device], {TERM}}}")))
    decision = decided(of)
    left = undone(of.deployment, decision)
    assert [(gap.slot, gap.what, gap.level) for gap in left] == [
        ("log", ("device",), "warning"),
        ("deadlines", ("a.b",), "note"),
    ]
    told = explain(decision, None, undone=left)
    assert told.data["undone"][0] == {
        "duty": "log",
        "what": ["device"],
        "why": "neither entries nor details hold it: log it in the app",
    }
    (section,) = [each for each in told.page("en").sections if each.title == "What of it nothing here carries out"]
    assert [item.text for item in section.items] == [gap.text() for gap in left]
    (vietnamese,) = [each for each in told.page("vi").sections if each.title == "Những việc chưa được thực hiện ở đây"]
    assert "hãy ghi trong ứng dụng" in vietnamese.items[0].text
    assert "What of it nothing here carries out" not in "\n".join(explain(decision, None).lines)


def test_of_a_decision_that_binds_nothing_or_is_of_no_activity_nothing_is_left_undone() -> None:
    of = policy(law("VN", rule("vn.one", f"{{{ALL}}}", "{log: [device]}")))
    decision = decided(of)
    assert undone(of.deployment, decision)
    assert undone(of.deployment, replace(decision, mode="observe")) == ()
    assert undone(of.deployment, replace(decision, activity=None)) == ()


def test_the_sink_that_the_data_best_goes_to_says_what_is_owed() -> None:
    abroad = rule("vn.abroad", f"{{{ALL}, sink: {{abroad: true}}}}", "{log: [device]}")
    of = policy(law("VN", abroad, rule("vn.home", f"{{{ALL}}}", "{only: [VN]}")))
    assert undone(of.deployment, decided(of)) == ()
    of = policy(law("VN", abroad), activities=ABROAD)
    assert [gap.what for gap in undone(of.deployment, decided(of))] == [("device",)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_is_told_in_both_languages(language: Language) -> None:
    duties = (
        "{log: [ip, device]}",
        "{retain: [{at_least: 2 days, from: last_use, scope: backup}]}",
        "{retain: [{at_most: 2 days, from: last_use}]}",
        "{protect: [{field: a, direction: in, transform: mask}, {field: a, direction: rest, transform: mask}]}",
        f"{{{TERM}}}",
        "{effect: hold}",
    )
    for duty in duties:
        of = policy(law("VN", rule("vn.one", f'{{{ALL}, unless: ["consent:keep"]}}', duty)))
        (parsed,) = of.laws[0].rules
        for gap in gaps(of.deployment, parsed.duty, ("VN",), of.deployment.activities):
            assert "{" not in gap.text(language)
            assert gap.slot in gap.text(language)
