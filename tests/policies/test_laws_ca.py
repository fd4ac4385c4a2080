"""The Canadian packs: Quebec's section 17, even towards another province; PIPEDA's accountability without a border."""

from __future__ import annotations

from tests.law_asks import SINKS, World, cited, clauses, filed, lives_in, moves, person, reason, store

QUEBEC, PIPEDA = "ca/quebec-p39-1", "ca/pipeda"
LAW = World((QUEBEC,))
WHO = person("CA-QC", "CA", "CA-QC")
ASSESSED, AGREED = "ca.qc.assessment", "contract.ca_qc_agreement"


def test_another_province_is_outside_quebec() -> None:
    decision = LAW.ask(WHO)
    assert store(decision) == {"CA-QC"}
    assert reason(decision, "CA-ON") == "filing_missing"
    assert cited(decision, "CA-ON") == {"ca.qc.17"}


def test_both_the_assessment_and_the_agreement_are_asked() -> None:
    assert clauses(LAW.ask(WHO), "US") == {
        frozenset({"filing:ca.qc.assessment"}),
        frozenset({"contract:ca_qc_agreement"}),
    }
    assert not moves(LAW.filing(filed(ASSESSED, "CA-ON")).ask(WHO), "CA-ON")
    assert not moves(LAW.filing(filed(AGREED, "CA-ON")).ask(WHO), "CA-ON")
    assert store(LAW.filing(filed(ASSESSED, "CA-ON"), filed(AGREED, "CA-ON")).ask(WHO)) == {"CA-QC", "CA-ON"}


def test_of_whom_only_canada_is_known_may_be_in_quebec_and_who_is_in_ontario_is_not() -> None:
    assert not moves(LAW.ask(lives_in("CA")), "CA-ON")
    assert LAW.ask(lives_in("CA-ON")).jurisdictions == ()
    assert LAW.ask(person("FR", lives="CA-QC")).jurisdictions == ("CA-QC",)


def test_section_17_begins_on_2023_09_22() -> None:
    assert moves(LAW.ask(WHO, day="2023-09-21", zone="-05:00"), "US")
    assert not moves(LAW.ask(WHO, day="2023-09-22", zone="-05:00"), "US")


def test_pipeda_marks_what_leaves_canada_and_refuses_nothing() -> None:
    decision = World((PIPEDA,)).ask(lives_in("CA-ON"))
    assert store(decision) == set(SINKS)
    assert cited(decision, "US") == {"ca.pipeda.accountability"}
    assert cited(decision, "CA-QC") == set()
    assert World((PIPEDA,)).ask(lives_in("CA-ON"), day="2003-12-31", zone="-05:00").jurisdictions == ()
    assert World((PIPEDA,)).ask(lives_in("CA-ON"), day="2004-01-01", zone="-05:00").jurisdictions == ("CA",)


def test_a_vietnamese_student_in_montreal_is_under_both_laws() -> None:
    both = World((QUEBEC, "vn/personal-data-91-2025"), activity="data: [personal, account], basis: contract")
    both = both.since("first_transfer", "VN", "2026-01-05")
    who = person("CA-QC", "VN", "CA-QC")
    assert both.ask(who).jurisdictions == ("CA-QC", "VN")
    quebec = both.filing(filed(ASSESSED), filed(AGREED))
    assert any(rule.startswith("vn.l91.20") for rule in cited(quebec.ask(who), "US"))
    assert moves(quebec.filing(filed("vn.transfer_dossier")).ask(who), "US")
