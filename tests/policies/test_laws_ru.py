"""The Russian pack: first recording at home, from 2025-07-01 no base abroad on collection, export after a filing."""

from __future__ import annotations

from tests.law_asks import World, cited, filed, law, lives_in, moves, person, reason, store

LAW = World(("ru/152-fz",))
READING = World(("ru/152-fz",), activity="data: [personal], operation: read")
WHO = lives_in("RU")


def test_collection_is_recorded_in_russia_first_since_2015() -> None:
    assert not LAW.ask(WHO, day="2015-08-31", zone="+03:00").duty.first_write
    decision = LAW.ask(WHO, day="2015-09-01", zone="+03:00")
    assert decision.duty.first_write == {"RU"}
    assert store(decision) == {"RU"}
    assert reason(decision, "DE") == "not_home"


def test_from_2025_07_01_a_base_abroad_is_forbidden_on_collection_and_a_filing_does_not_help() -> None:
    assert reason(LAW.ask(WHO, day="2025-06-30", zone="+03:00"), "DE") == "not_home"
    noticed = LAW.filing(filed("ru.transfer_notice"))
    decision = noticed.ask(WHO, day="2025-07-01", zone="+03:00")
    assert reason(decision, "DE") == "law_forbids"
    assert cited(decision, "DE") == {"ru.23fz.18.5"}
    assert store(decision) == {"RU"}


def test_later_export_is_possible_after_a_filing() -> None:
    assert reason(READING.ask(WHO), "DE") == "filing_missing"
    assert store(READING.filing(filed("ru.transfer_notice", "DE")).ask(WHO)) == {"RU", "DE"}
    assert moves(READING.ask(WHO, day="2025-06-30", zone="+03:00"), "DE")


def test_it_is_about_citizens_wherever_they_are_and_not_about_visitors() -> None:
    assert LAW.ask(person("VN", "RU", "VN")).jurisdictions == ("RU",)
    assert LAW.ask(person("RU", "VN", "VN")).jurisdictions == ()


def test_one_of_the_four_exceptions_is_an_exemption_with_its_number() -> None:
    decision = LAW.exempt("ru.23fz.18.5", "ru.152fz.18.5").filing(filed("ru.transfer_notice")).ask(WHO)
    assert moves(decision, "DE")
    assert {rule.id for rule in decision.exempted} == {"ru.23fz.18.5", "ru.152fz.18.5"}
    assert decision.exemptions == ("EX-1",)


def test_the_fine_is_told() -> None:
    assert {rule.fine for rule in law("ru/152-fz").rules if rule.id.endswith("18.5")} == {
        "1 to 6 million RUB; repeat up to 18 million RUB"
    }


def test_a_first_recording_in_russia_and_a_copy_in_vietnam_have_no_one_sink() -> None:
    both = World(("ru/152-fz", "vn/decree-333-2026"), "{established_in: VN}", "data: [personal, account]")
    decision = both.ask(person("VN", "RU", "VN"))
    assert decision.duty.first_write == {"RU"}
    assert decision.duty.copies == {"VN"}
    assert store(decision) == set()
    assert {"ru.152fz.18.5", "vn.d333.19.2"} <= cited(decision)
