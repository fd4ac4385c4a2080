"""The Indonesian packs: the ways of art. 56, operators of public scope, the date of the implementing regulation."""

from __future__ import annotations

import pytest

from residency.model import Term
from tests.law_asks import SINKS, World, cited, filed, lives_in, moves, observed, person, reason, store

PDP, GR71, GR33 = "id/pdp-27-2022", "id/gr-71-2019", "id/gr-33-2026"
WHO = lives_in("ID")
LAW = World((PDP,))


@pytest.mark.parametrize(
    "way", ["id.equal_level", "contract.id_safeguards", "contract.asean_mcc_1", "contract.asean_mcc_2"]
)
def test_data_leaves_to_an_equal_level_or_under_safeguards_the_asean_clauses_among_them(way: str) -> None:
    assert store(LAW.ask(WHO)) == {"ID"}
    assert store(LAW.filing(filed(way, "SG")).ask(WHO)) == {"ID", "SG"}


def test_consent_stands_in_for_both() -> None:
    assert store(LAW.ask(WHO, "consent:cross_border")) == set(SINKS)
    assert reason(LAW.ask(WHO, "consent:service"), "SG") != "only_in_country"
    assert not moves(LAW.ask(WHO, "consent:service"), "SG")


def test_it_covers_who_is_in_indonesia_or_lives_there_from_2024_10_17_on() -> None:
    for who in (person("ID", "VN", "VN"), person("SG", "ID", "ID")):
        assert LAW.ask(who).jurisdictions == ("ID",)
    assert LAW.ask(person("SG", "ID", "SG")).jurisdictions == ()
    assert moves(LAW.ask(WHO, day="2024-10-16", zone="+07:00"), "SG")
    assert not moves(LAW.ask(WHO, day="2024-10-17", zone="+07:00"), "SG")


@pytest.mark.parametrize(
    "operator", ["{established_in: ID, public_body: true}", "{established_in: ID, sectors: [public_scope]}"]
)
def test_operators_of_public_scope_store_in_indonesia_only(operator: str) -> None:
    decision = World((GR71,), operator).ask(WHO)
    assert store(decision) == {"ID"}
    assert reason(decision, "SG") == "only_in_country"
    assert store(World((GR71,), operator).ask(WHO, day="2019-10-09", zone="+07:00")) == set(SINKS)


def test_a_public_body_of_another_country_is_not_of_public_scope() -> None:
    assert store(World((GR71,), "{established_in: VN, public_body: true}").ask(WHO)) == set(SINKS)


def test_a_body_that_is_appointed_too_is_cited_once() -> None:
    decision = World((GR71,), "{established_in: ID, public_body: true, sectors: [public_scope]}").ask(WHO)
    assert cited(decision, "SG") == {"id.gr71.public"}


def test_operators_of_private_scope_may_store_abroad_and_give_access() -> None:
    decision = World((GR71,), "{established_in: ID}").ask(WHO)
    assert store(decision) == set(SINKS)
    assert "id.gr71.private" in cited(decision, "SG")
    assert "id.gr71.private" not in cited(decision, "ID")


def test_the_breach_notice_of_three_times_24_hours_begins_on_2027_01_16() -> None:
    before = World((GR33,)).ask(WHO, day="2027-01-15", zone="+07:00")
    assert (before.duty.deadlines, observed(before)) == (frozenset(), {})
    (deadline,) = World((GR33,)).ask(WHO, day="2027-01-16", zone="+07:00").duty.deadlines
    assert (deadline.task, deadline.term, deadline.event) == ("breach.notify", Term(hours=72), "detection")


def test_a_state_agency_of_indonesia_with_users_in_vietnam_cannot_keep_both_laws_and_is_told() -> None:
    operator = "{established_in: [ID, VN], public_body: true}"
    decision = World((GR71, "vn/decree-333-2026"), operator).ask(person("VN", "ID", "ID"))
    assert reason(decision) == "conflict"
    assert {"id.gr71.public", "vn.d333.19.2"} <= cited(decision)
