"""Invariants: proved where a law forbids, refuted with a case that is permitted, and where neither, said so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from residency.model import Effect
from residency.policy.compiler import Policy
from residency.policy.prove import BOUND, Proof, prove
from tests.proof_files import NOW, day, law, policy, rule

ALL = "anchor: [territory, citizenship, residence, collection]"
STAYS = rule("vn.stay", f"{{{ALL}, data: [sensitive]}}", "{only: [VN]}")
ABROAD = "  - never: {jurisdiction: VN, sink.country: not VN}"


def proof(of: Policy, bound: int = BOUND) -> Proof:
    (found,) = prove(of, NOW, bound=bound)
    return found


def permitted(of: Policy, found: Proof) -> bool:
    """Whether the policy permits the counterexample."""
    case = found.counter
    assert case is not None
    facts = replace(of.facts, escalated=case.escalated)
    decision = of.decide(case.activity, case.finding, case.evidence, facts, case.at, case.requested, case.collected)
    verdict = None if case.sink is None else decision.sink(case.sink.name)
    return decision.effect is Effect.PERMIT and (verdict is None or verdict.effect is Effect.PERMIT)


def test_what_a_law_forbids_is_proved_by_that_law_and_the_others_are_not_even_asked() -> None:
    found = proof(policy(law("VN", STAYS), law("DE", rule("de.x", f"{{{ALL}}}", "{effect: deny}")), must=ABROAD))
    assert (found.holds, found.rules) == (True, ("vn.stay",))
    assert found.meant > 0


def test_an_anchor_that_the_rule_forgets_is_the_counterexample() -> None:
    seen = rule("vn.log", "{anchor: [citizenship]}", "{log: [ip]}")
    only = rule("vn.stay", "{anchor: [territory]}", "{only: [VN]}")
    of = policy(law("VN", only, seen), must=ABROAD)
    found = proof(of)
    assert found.holds is False
    assert permitted(of, found)
    assert found.counter is not None
    assert found.counter.finding.covered("VN", seen_anchor := found.counter.finding.presume[1][0])
    assert seen_anchor.value == "citizenship"


def test_a_rule_that_ends_one_day_holds_until_then_and_the_day_is_told() -> None:
    of = policy(
        law(
            "VN",
            STAYS + "    in_force: {from: 2020-01-01, to: 2027-03-01}\n",
            rule("vn.log", f"{{{ALL}}}", "{log: [ip]}"),
        ),
        must=ABROAD,
    )
    found = proof(of)
    assert found.counter is not None
    assert found.counter.at == day("2027-03-02")
    assert permitted(of, found)


def test_evidence_that_permits_is_found_and_no_more_of_it_is_told_than_needed() -> None:
    asks = rule("vn.asks", f"{{{ALL}}}", "{require: [{any: [identity:phone, consent:ads]}, identity:eid]}")
    of = policy(law("VN", asks), must=ABROAD)
    found = proof(of)
    assert permitted(of, found)
    assert found.counter is not None
    assert found.counter.evidence == {"identity:phone", "identity:eid"}


def test_a_filing_is_given_by_the_register_alone() -> None:
    asks = law("VN", rule("vn.asks", f"{{{ALL}, sink: {{abroad: true}}}}", "{require: [filing:vn.dossier]}"))
    assert proof(policy(asks, must=ABROAD)).holds
    filed = 'filings:\n  - {kind: vn.dossier, number: "1", date: 2026-12-01, result: filed}\n'
    found = proof(policy(asks, must=ABROAD, register=filed))
    assert found.counter is not None
    assert found.counter.at == day("2026-12-01")


def test_an_override_by_whom_another_law_covers_is_gone_through() -> None:
    lifts = rule("de.lifts", "{anchor: [citizenship]}", "{log: [ip]}", "overrides: [vn.stay]")
    of = policy(law("VN", STAYS), law("DE", lifts), must=ABROAD)
    found = proof(of)
    assert permitted(of, found)
    assert found.counter is not None
    assert found.counter.finding.citizenship.established == {"DE"}


def test_what_lifts_an_overriding_rule_is_gone_through_both_ways() -> None:
    lifts = rule("vn.lifts", f"{{{ALL}, unless: [age:at_least_18]}}", "{log: [ip]}", "overrides: [vn.stay]")
    of = policy(law("VN", STAYS, lifts), must=ABROAD)
    found = proof(of)
    assert permitted(of, found)
    assert found.counter is not None
    assert "age:at_least_18" not in found.counter.evidence


def test_a_person_of_whom_nothing_is_known_for_sure_is_gone_through() -> None:
    lifts = rule("vn.lifts", f"{{{ALL}, unless: [known:citizenship]}}", "{log: [ip]}", "overrides: [vn.stay]")
    of = policy(law("VN", STAYS, lifts), must=ABROAD)
    found = proof(of)
    assert permitted(of, found)
    assert found.counter is not None
    assert "VN" in found.counter.finding.citizenship.contested or found.counter.finding.citizenship.trust == 1


def test_an_override_of_what_never_refuses_is_no_work() -> None:
    keeps = rule("vn.keeps", f"{{{ALL}}}", "{retain: [{at_least: 24 months, from: last_use}]}")
    lifts = rule("de.lifts", f"{{{ALL}}}", "{log: [ip]}", "overrides: [vn.keeps]")
    plain = proof(policy(law("VN", STAYS, keeps), must=ABROAD))
    assert proof(policy(law("VN", STAYS, keeps), law("DE", lifts), must=ABROAD)).cases == plain.cases


def test_trust_that_excludes_nobody_leaves_a_person_covered() -> None:
    strict = rule("vn.strict", "{anchor: [citizenship], excluded_by: verified}", "{only: [VN]}")
    loose = rule("vn.loose", "{anchor: [citizenship], excluded_by: pinned}", "{log: [ip]}")
    assert proof(policy(law("VN", strict), must=ABROAD)).holds
    assert proof(policy(law("VN", strict, loose), must=ABROAD)).holds
    turned = policy(law("VN", strict.replace("verified", "pinned"), loose.replace("pinned", "verified")), must=ABROAD)
    assert permitted(turned, proof(turned))


RAISES = """\
escalations:
  - {id: vn.e, article: art. 2, data: [health], subjects: 100, becomes: core, falls_below: 90}
"""


def test_data_that_its_number_of_subjects_raises_is_meant_too() -> None:
    of = policy(
        law("VN", rule("vn.log", f"{{{ALL}}}", "{log: [ip]}"), more=RAISES),
        must="  - never: {jurisdiction: VN, data: core, sink.country: not VN}",
    )
    found = proof(of)
    assert found.counter is not None
    assert found.counter.escalated == {"vn.e"}
    assert permitted(of, found)


def test_a_rule_that_only_a_raised_class_brings_may_take_another_away() -> None:
    lifts = rule("vn.lifts", f"{{{ALL}, data: [core]}}", "{log: [ip]}", "overrides: [vn.stay]")
    of = policy(law("VN", STAYS, lifts, more=RAISES), must=ABROAD)
    found = proof(of)
    assert found.counter is not None
    assert found.counter.escalated == {"vn.e"}
    assert permitted(of, found)


def test_rules_read_at_the_request_or_the_collection_are_tried_at_earlier_times() -> None:
    young = STAYS + "    clock: request\n    in_force: {from: 2026-01-01}\n"
    of = policy(law("VN", young, rule("vn.log", f"{{{ALL}}}", "{log: [ip]}")), must=ABROAD)
    found = proof(of)
    assert found.counter is not None
    assert found.counter.requested is not None
    assert permitted(of, found)


def test_a_law_within_another_is_covered_only_where_it_must_be() -> None:
    quebec = law("CA-QC", rule("ca.qc", f"{{{ALL}}}", "{effect: deny}"))
    canada = law("CA", rule("ca.log", f"{{{ALL}}}", "{log: [ip]}"))
    of = policy(quebec, canada, must="  - never: {jurisdiction: CA, sink: sg}")
    found = proof(of)
    assert permitted(of, found)  # somebody of Canada, and not of Quebec
    assert found.counter is not None
    assert not found.counter.finding.covered("CA-QC", found.counter.finding.presume[0][0])
    assert proof(policy(quebec, canada, must="  - never: {jurisdiction: CA-QC, sink: sg}")).holds


def test_without_a_jurisdiction_somebody_whom_no_law_covers_is_meant() -> None:
    of = policy(law("VN", STAYS), must="  - never: {sink.country: not VN}")
    found = proof(of)
    assert permitted(of, found)
    assert found.counter is not None
    assert not any(found.counter.finding.covered("VN", anchor) for anchor, _ in found.counter.finding.presume)


def test_what_no_act_meets_holds_of_nothing() -> None:
    found = proof(policy(law("VN", STAYS), must="  - never: {jurisdiction: JP, sink: sg}"))
    assert (found.holds, found.meant) == (True, 0)


def test_more_than_the_bound_is_not_proved_and_the_number_is_told() -> None:
    found = proof(policy(law("VN", STAYS), must=ABROAD), bound=3)
    assert found.holds is None
    assert "combinations, over the bound of 3" in found.why


def test_routes_that_nothing_decides_on_are_never_proved() -> None:
    denies = law("VN", rule("vn.no", f"{{{ALL}}}", "{effect: deny}"))
    of = policy(denies, must="  - never: {jurisdiction: VN}", more="unclassified: permit\n")
    assert proof(of).holds is None
    assert proof(policy(denies, must="  - never: {jurisdiction: VN}")).holds


def test_an_exemption_of_the_register_refutes_while_it_lasts() -> None:
    register = (
        'exemptions:\n  - {number: "X", rules: [vn.stay], approved_by: CISO, ground: art. 9, '
        "from: 2026-12-01, expires: 2026-12-31}\n"
    )
    of = policy(law("VN", STAYS), must=ABROAD, register=register)
    found = proof(of)
    assert permitted(of, found)
    assert found.counter is not None
    assert found.counter.at == day("2026-12-01")


def test_each_activity_has_its_own_counterexample() -> None:
    activities = "activities:\n" + "".join(
        f'  - {{route: "GET /{name}", subject: app, data: [{data}], store: all}}\n'
        for name, data in (("a", "health"), ("b", "content"), ("c", "log"))
    )
    found = proof(policy(law("VN", STAYS), must=ABROAD, activities=activities))
    assert found.counter is not None
    assert [case.activity.path for case in (found.counter, *found.others)] == ["/b", "/c"]


@pytest.mark.parametrize("word", ["jurisdiction: not VN", "jurisdiction: {not: [VN, LA]}"])
def test_whoever_is_not_covered_may_be_meant(word: str) -> None:
    of = policy(law("VN", STAYS), must=f"  - never: {{{word}, sink: sg}}")
    found = proof(of)
    assert permitted(of, found)


def test_a_law_brings_its_own_invariants() -> None:
    of = policy(law("VN", STAYS, more="must:\n  - never: {jurisdiction: VN, sink: sg}\n"))
    found = proof(of)
    assert found.holds
    assert found.source.file == "vn.yaml"
