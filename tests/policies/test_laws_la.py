"""The Lao pack: whom it covers, consent on collection, the transfer rule that warns, the ASEAN clauses."""

from __future__ import annotations

from tests.law_asks import World, cited, filed, law, lives_in, moves, observed, person, reason

NAME = "la/electronic-data-25-na-2017"
LAOS = World((NAME,), activity="data: [personal, account], purpose: service")
ENFORCED = World((NAME,), activity="data: [personal], operation: read")


def test_collection_needs_the_consent_to_its_purpose_and_tells_of_the_notice() -> None:
    refused = LAOS.ask(lives_in("LA"))
    assert reason(refused) == "consent_missing"
    assert cited(refused) == {"la.edp.consent"}
    assert LAOS.ask(lives_in("LA"), "consent:marketing").reason == refused.reason
    given = LAOS.ask(lives_in("LA"), "consent:service")
    assert given.permitted
    assert given.duty.label == {"notice.collection"}


def test_without_a_purpose_no_consent_is_to_it() -> None:
    unsaid = World((NAME,)).ask(lives_in("LA"), "consent:service", "consent:{purpose}")
    assert reason(unsaid) == "consent_missing"


def test_it_covers_who_is_in_laos_or_lives_there_and_nobody_else() -> None:
    for who in (person("LA"), person("VN", lives="LA"), person("LA", "DE", "DE")):
        assert LAOS.ask(who).jurisdictions == ("LA",)
    assert LAOS.ask(person("VN", "LA", "VN")).jurisdictions == ()
    assert LAOS.ask(person("VN")).permitted


def test_foreign_operators_without_a_presence_and_organisations_as_subjects_are_in_scope() -> None:
    for operator in ("{established_in: LA}", "{established_in: US}"):
        here = World((NAME,), operator=operator, activity="data: [personal], purpose: service")
        assert cited(here.ask(lives_in("LA"), "subject:organisation")) == {"la.edp.consent"}


def test_the_law_begins_on_its_promulgation() -> None:
    assert LAOS.ask(lives_in("LA"), day="2017-06-22", zone="+07:00").permitted
    assert not LAOS.ask(lives_in("LA"), day="2017-06-23", zone="+07:00").permitted


def test_the_transfer_rule_of_low_confidence_warns_and_does_not_bind() -> None:
    decision = ENFORCED.ask(lives_in("LA"))
    assert moves(decision, "SG")
    assert observed(decision) == {"la.edp.transfer": "warn"}
    (rule,) = [rule for rule in law(NAME).rules if rule.id == "la.edp.transfer"]
    assert (rule.confidence, "Low confidence" in rule.note) == ("low", True)


def test_where_a_deployment_enforces_it_the_asean_clauses_and_consent_let_data_leave() -> None:
    bound = World((NAME,), activity=ENFORCED.activity, modes={"la.edp.transfer": "enforce"})
    assert reason(bound.ask(lives_in("LA"), "consent:cross_border"), "SG") == "filing_missing"
    for module in ("contract.asean_mcc_1", "contract.asean_mcc_2", "la.recipient_protection"):
        clauses = bound.filing(filed(module, "SG"))
        assert reason(clauses.ask(lives_in("LA")), "SG") == "consent_missing"
        consenting = clauses.ask(lives_in("LA"), "consent:cross_border")
        assert moves(consenting, "SG")
        assert not moves(consenting, "US")


def test_a_lao_in_hanoi_is_under_both_laws() -> None:
    both = World((NAME, "vn/decree-333-2026"), "{established_in: VN}", "data: [personal, account], purpose: service")
    decision = both.ask(person("VN", "LA", "LA"))
    assert decision.jurisdictions == ("LA", "VN")
    assert decision.duty.copies == {"VN"}
    assert cited(decision) >= {"la.edp.consent"}
