"""Activities that nobody may use, that wait for a filing, and laws that cannot both be met."""

from __future__ import annotations

from residency.policy.compiler import Policy
from residency.policy.prove_duties import duty_reports
from residency.policy.prove_reports import Report
from tests.proof_files import NOW, law, policy, rule

ALL = "anchor: [territory, citizenship, residence, collection]"
ABROAD = """\
activities:
  - {route: "POST /a", subject: app, data: [health], operation: write, store: abroad}
  - {route: "POST /b", subject: app, data: [content], operation: write, store: abroad}
"""


def told(of: Policy) -> list[Report]:
    return list(duty_reports(of, NOW))


def test_a_copy_that_no_sink_of_the_store_can_hold_is_told_once_for_all_activities() -> None:
    (found,) = told(policy(law("VN", rule("vn.copy", f"{{{ALL}}}", "{copies: [VN]}")), activities=ABROAD))
    assert (found.level, found.kind, found.rules) == ("warning", "no_sink", ("vn.copy",))
    assert found.activities == ("POST /a", "POST /b")
    assert "no sink of its store (sg in SG) can meet the law of VN: a copy in VN" in found.problem.message
    assert found.problem.file == "d.yaml"


def test_only_where_no_sink_lies_is_told() -> None:
    (found,) = told(policy(law("VN", rule("vn.only", f"{{{ALL}}}", "{only: [JP, KR]}"))))
    assert "only JP or KR" in found.problem.message


def test_of_several_stores_the_one_that_lacks_something_is_named_and_what_it_lacks() -> None:
    activities = """\
activities:
  - {route: "POST /a", subject: app, data: [health], operation: write, store: [home, plain]}
"""
    sealed = rule("vn.sealed", f"{{{ALL}, sink: {{encrypted: false}}}}", "{copies: [VN], require: [sink:encrypted]}")
    (found,) = told(policy(law("VN", sealed), activities=activities))
    assert "no sink of its store (de in DE) can meet the law of VN: sink:encrypted" in found.problem.message


def test_what_begins_later_is_told_with_its_day() -> None:
    later = law("VN", rule("vn.copy", f"{{{ALL}}}", "{copies: [VN]}"), since="2027-05-01")
    (found,) = told(policy(later, activities=ABROAD))
    assert ", from 2027-05-01 on: " in found.problem.message


def test_what_a_law_forbids_to_everybody_and_what_nothing_proves_are_told() -> None:
    (forbids,) = told(policy(law("VN", rule("vn.no", f"{{{ALL}}}", "{effect: deny}"))))
    assert forbids.kind == "forbidden"
    (asks,) = told(policy(law("VN", rule("vn.asks", f"{{{ALL}}}", '{require: ["basis:contract"]}'))))
    assert asks.kind == "unmeetable"
    assert "basis:contract" in asks.problem.message


def test_what_waits_for_a_filing_is_a_note_until_it_is_filed() -> None:
    asks = law("VN", rule("vn.asks", f"{{{ALL}}}", '{require: ["filing:vn.dossier"]}'))
    (found,) = told(policy(asks))
    assert (found.level, found.kind) == ("note", "filing_missing")
    assert "until the register has filing:vn.dossier" in found.problem.message
    filed = 'filings:\n  - {kind: vn.dossier, number: "1", date: 2026-01-01, result: filed}\n'
    assert told(policy(asks, register=filed)) == []


def test_laws_that_cannot_both_be_met_are_told_with_the_smallest_set_of_rules() -> None:
    vietnam = law(
        "VN",
        rule("vn.copy", f"{{{ALL}}}", "{copies: [VN]}"),
        rule("vn.log", f"{{{ALL}}}", "{log: [ip]}"),
        rule("vn.also", f"{{{ALL}}}", "{only: [VN, DE]}"),
    )
    germany = law("DE", rule("de.only", f"{{{ALL}}}", "{only: [DE]}"))
    (found,) = [each for each in told(policy(vietnam, germany)) if each.kind == "conflict"]
    assert set(found.rules) == {"vn.copy", "de.only"}
    assert "laws that cannot both be met: a copy is required outside `only`" in found.problem.message


def test_three_laws_that_only_together_leave_no_region_are_told() -> None:
    of = policy(
        law("VN", rule("vn.only", f"{{{ALL}}}", "{only: [VN, DE]}")),
        law("DE", rule("de.only", f"{{{ALL}}}", "{only: [DE, SG]}")),
        law("SG", rule("sg.only", f"{{{ALL}}}", "{only: [SG, VN]}")),
    )
    (found,) = [each for each in told(of) if each.kind == "conflict"]
    assert set(found.rules) == {"vn.only", "de.only", "sg.only"}


def test_an_overridden_rule_is_in_no_conflict() -> None:
    vietnam = law("VN", rule("vn.copy", f"{{{ALL}}}", "{copies: [VN]}"))
    germany = law("DE", rule("de.only", f"{{{ALL}}}", "{only: [DE]}", "overrides: [vn.copy]"))
    assert [each.kind for each in told(policy(vietnam, germany))] == []


LOGS = rule("vn.logs", f"{{{ALL}}}", "{log: [ip], retain: [{at_least: 12 months, data: log, from: creation}]}")


def test_logs_that_a_law_wants_kept_and_no_place_keeps_are_told() -> None:
    (found,) = told(policy(law("VN", LOGS)))
    assert (found.level, found.kind, found.rules) == ("warning", "log_not_kept", ("vn.logs",))
    assert "`audit.detail` has no VN" in found.problem.message
    assert told(policy(law("VN", LOGS), more="audit: {detail: {VN: ./detail-vn}}\n")) == []


def test_a_place_for_details_that_no_law_in_use_asks_for_is_told_at_its_line() -> None:
    (found,) = told(policy(law("EU", LOGS), more="audit: {detail: {EU: ./eu, DE: ./de}}\n"))
    assert (found.level, found.kind) == ("warning", "detail_of_no_law")
    assert "no law in use is one of DE" in found.problem.message
    assert found.problem.line > 1


MASKED = rule("vn.masked", f"{{{ALL}}}", "{protect: [{field: phone, direction: out, transform: mask}]}")


def test_a_store_abroad_of_what_must_be_treated_first_is_told_with_what_to_do_instead() -> None:
    (found,) = told(policy(law("VN", MASKED), activities=ABROAD))
    assert (found.level, found.kind, found.rules) == ("warning", "untreated", ("vn.masked",))
    assert found.activities == ("POST /a", "POST /b")
    message = found.problem.message
    assert "the law of VN lets it go to sg in SG only with fields treated (mask `phone`)" in message
    assert "`copies:`" in message
    assert (found.problem.file, found.problem.line, found.problem.column) == ("d.yaml", 14, 5)
    assert told(policy(law("VN", MASKED))) == []  # it has a sink at home


def test_reading_where_the_instance_runs_of_what_must_be_treated_first_is_told() -> None:
    reads = 'activities:\n  - {route: "GET /a", subject: user, data: [health], operation: read, store: all}\n'
    (found,) = told(policy(law("VN", MASKED), activities=reads, more="audit: {region: sin}\n"))
    assert (found.kind, found.rules, found.activities) == ("untreated", ("vn.masked",), ("GET /a",))
    assert "read where this runs (`audit.region`) only with fields treated (mask `phone`)" in found.problem.message
    assert "hand_over" in found.problem.message
    for more in ("audit: {region: han}\n", "audit: {region: sin}\nreaders: record\n", ""):
        assert told(policy(law("VN", MASKED), activities=reads, more=more)) == []
