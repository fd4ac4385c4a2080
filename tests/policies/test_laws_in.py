"""The Indian packs: export until it is restricted, what significant fiduciaries keep, one year, payment data."""

from __future__ import annotations

import pytest

from tests.law_asks import SINKS, World, cited, filed, lives_in, moves, person, reason, store

DPDP, RBI = "in/dpdp-2023", "in/rbi-payment-data-2018"
READING = "data: [personal, account], operation: read"
ACT = World((DPDP,), activity=READING)
WHO = lives_in("IN")
FROM = "2027-05-13"


def at(world: World, day: str) -> set[str]:
    return store(world.ask(WHO, day=day, zone="+05:30"))


def test_until_2027_05_13_no_rule_speaks_and_from_then_on_export_is_free_while_nothing_is_restricted() -> None:
    assert ACT.ask(WHO, day="2027-05-12", zone="+05:30").jurisdictions == ()
    assert ACT.ask(WHO, day=FROM, zone="+05:30").jurisdictions == ("IN",)
    assert at(ACT, FROM) == set(SINKS)


def test_once_exports_are_restricted_each_sink_abroad_needs_a_record_that_its_country_is_not() -> None:
    restricted = ACT.order("in.transfer_restriction", "2027-06-01", lifted="2028-01-01")
    assert at(restricted, "2027-05-31") == set(SINKS)
    assert at(restricted, "2027-06-02") == {"IN"}
    assert at(restricted.filing(filed("in.country_not_restricted", "SG")), "2027-06-02") == {"IN", "SG"}
    assert at(restricted, "2028-01-02") == set(SINKS)
    early = ACT.order("in.transfer_restriction", "2026-12-01")
    assert at(early, "2027-05-12") == set(SINKS)
    assert at(early, FROM) == {"IN"}


def test_a_significant_fiduciary_keeps_listed_data_in_india_only_or_in_copy_as_it_is_read() -> None:
    only = ACT.order("in.significant_fiduciary", "2027-06-01")
    assert at(only, "2027-06-02") == {"IN"}
    assert reason(only.ask(WHO, day="2027-06-02"), "SG") == "only_in_country"
    copy = World((DPDP,), activity=READING, readings={"in.listed_data": "copy"})
    copy = copy.order("in.significant_fiduciary", "2027-06-01")
    assert at(copy, "2027-06-02") == set(SINKS)
    assert copy.ask(WHO, day="2027-06-02").duty.copies == {"IN"}


def test_data_and_logs_are_kept_for_a_year() -> None:
    kept = ACT.ask(WHO, day=FROM, zone="+05:30").duty.retain
    assert {(r.category, r.months, r.start) for r in kept} == {
        ("log", 12, "creation"),
        ("personal", 12, "last_use"),
        ("account", 12, "last_use"),
        ("relationship", 12, "last_use"),
    }


PAYMENT = "data: [transaction], operation: process"


@pytest.mark.parametrize(
    ("operator", "bound"),
    [
        ("{established_in: IN, service_lines: [online_payment]}", True),
        ("{established_in: US, service_lines: [payment_intermediary]}", True),
        ("{established_in: IN, sectors: [banking]}", True),
        ("{established_in: IN, service_lines: [e_commerce]}", False),
    ],
)
def test_payment_data_of_payment_operators_and_banks_is_in_india_only(operator: str, bound: bool) -> None:
    decision = World((RBI,), operator, PAYMENT).ask(WHO)
    assert store(decision) == ({"IN"} if bound else set(SINKS))
    assert cited(World((RBI,), operator, READING).ask(WHO)) == set()


def test_payment_data_of_who_is_not_in_india_may_lie_anywhere() -> None:
    operator = "{established_in: IN, service_lines: [online_payment]}"
    assert store(World((RBI,), operator, PAYMENT).ask(lives_in("VN"))) == set(SINKS)
    assert moves(World((RBI,), operator, PAYMENT).ask(WHO, day="2018-10-14", zone="+05:30"), "SG")


def test_an_indian_payment_and_a_copy_in_vietnam_and_a_first_recording_in_russia_are_a_conflict_that_is_told() -> None:
    operator = "{established_in: [IN, VN], service_lines: [online_payment]}"
    three = World((RBI, "ru/152-fz", "vn/decree-333-2026"), operator, "data: [personal, account, financial]")
    decision = three.ask(person("VN", "RU", "IN"))
    assert decision.duty.only == frozenset({"IN"})
    assert decision.duty.first_write == {"RU"}
    assert decision.duty.copies == {"VN"}
    assert reason(decision) == "conflict"
    assert {"in.rbi.2018", "ru.152fz.18.5", "vn.d333.19.2"} <= cited(decision)
