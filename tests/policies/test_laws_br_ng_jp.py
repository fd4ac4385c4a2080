"""Brazil, Nigeria, Japan: one article on transfers each; who is covered, which records open a sink, from when."""

from __future__ import annotations

import pytest

from tests.law_asks import World, cited, clauses, filed, law, lives_in, moves, person, store

BR, NG, JP = World(("br/lgpd",)), World(("ng/ndpa-2023",)), World(("jp/appi",))


@pytest.mark.parametrize(
    "way",
    ["br.adequacy", "contract.br_anpd_scc", "contract.br_approved_clauses", "contract.br_bcr", "br.direct_collection"],
)
def test_each_way_of_the_lgpd_opens_its_sink(way: str) -> None:
    who = lives_in("BR")
    assert store(BR.ask(who)) == {"BR"}
    assert cited(BR.ask(who), "US") == {"br.lgpd.33"}
    assert store(BR.filing(filed(way, "US")).ask(who)) == {"BR", "US"}


def test_the_lgpd_pack_begins_when_contracts_had_to_carry_the_clauses() -> None:
    assert moves(BR.ask(lives_in("BR"), day="2025-08-22", zone="-03:00"), "US")
    assert not moves(BR.ask(lives_in("BR"), day="2025-08-23", zone="-03:00"), "US")


def test_in_nigeria_a_basis_is_recorded_and_from_2025_09_19_an_approved_instrument_is_one() -> None:
    who = lives_in("NG")
    assert store(NG.ask(who)) == {"NG"}
    for way in ("ng.adequate_protection", "ng.derogation"):
        for day in ("2023-06-12", "2025-09-18", "2025-09-19"):
            assert store(NG.filing(filed(way, "GB")).ask(who, day=day, zone="+01:00")) == {"NG", "GB"}
    instrument = NG.filing(filed("contract.ng_approved_instrument", "GB"))
    assert not moves(instrument.ask(who, day="2025-09-18", zone="+01:00"), "GB")
    assert moves(instrument.ask(who, day="2025-09-19", zone="+01:00"), "GB")
    assert moves(NG.ask(who, day="2023-06-11", zone="+01:00"), "GB")


def test_nigeria_is_cited_by_section_41_and_never_by_25() -> None:
    for rule in law("ng/ndpa-2023").rules:
        assert rule.article.startswith("s. 41-43")
        assert rule.duty.log == {"transfer_basis"}


def test_from_japan_data_goes_freely_to_the_european_economic_area_and_the_united_kingdom() -> None:
    assert store(JP.ask(lives_in("JP"))) == {"JP", "DE", "GB", "NO"}
    (rule,) = law("jp/appi").rules
    assert rule.sink is not None
    assert rule.sink.outside == frozenset({"EU", "IS", "LI", "NO", "GB"})


def test_elsewhere_consent_or_an_equivalent_system_is_asked() -> None:
    who = lives_in("JP")
    assert clauses(JP.ask(who), "VN") == {frozenset({"consent:cross_border", "filing:jp.equivalent_system"})}
    assert moves(JP.ask(who, "consent:cross_border"), "VN")
    assert store(JP.filing(filed("jp.equivalent_system", "VN")).ask(who)) == {"JP", "DE", "GB", "NO", "VN"}
    assert moves(JP.ask(who, day="2022-03-31", zone="+09:00"), "VN")


@pytest.mark.parametrize(("world", "place"), [(BR, "BR"), (NG, "NG"), (JP, "JP")])
def test_each_covers_who_is_there_or_lives_there_and_no_citizen_elsewhere(world: World, place: str) -> None:
    assert world.ask(person(place, "VN", "VN")).jurisdictions == (place,)
    assert world.ask(person("VN", "VN", place)).jurisdictions == (place,)
    assert world.ask(person("VN", place, "VN")).jurisdictions == ()


def test_a_japanese_in_hanoi_is_under_the_copy_in_vietnam_and_what_goes_there_is_a_transfer_from_japan() -> None:
    both = World(("jp/appi", "vn/decree-333-2026"), "{established_in: VN}", "data: [personal, account]")
    decision = both.ask(person("VN", "JP", "JP"))
    assert decision.jurisdictions == ("JP", "VN")
    assert store(decision) == set()
    assert cited(decision, "VN") == {"jp.appi.28"}
    assert store(both.ask(person("VN", "JP", "JP"), "consent:cross_border")) == {"VN"}
