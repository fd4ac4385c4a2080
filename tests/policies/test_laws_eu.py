"""The packs of the Union: transfers by chapter V, the dates of the AI Act, and a Vietnamese citizen in Berlin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.law_asks import SINKS, World, cited, clauses, filed, lives_in, moves, observed, person, reason, store

GDPR = World(("eu/gdpr",), activity="data: [personal, account], basis: contract")
BERLIN = lives_in("DE")
WAYS = ("eu.adequacy", "contract.eu_scc", "contract.eu_bcr", "eu.derogation")


def test_data_rests_anywhere_in_the_union_and_nothing_is_localised() -> None:
    decision = GDPR.ask(lives_in("FR"))
    assert store(decision) == {"DE"}
    assert decision.duty.copies == frozenset()
    assert decision.duty.only is None


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_chapter_v_opens_the_sink_that_it_is_recorded_for(way: str) -> None:
    assert store(GDPR.filing(filed(way, "JP")).ask(BERLIN)) == {"DE", "JP"}
    assert store(GDPR.filing(filed(way)).ask(BERLIN)) == set(SINKS)


def test_without_any_of_them_the_article_is_cited_with_what_would_help() -> None:
    decision = GDPR.ask(BERLIN)
    assert reason(decision, "US") == "filing_missing"
    assert cited(decision, "US") == {"eu.gdpr.44"}
    assert len(clauses(decision, "US")) == 1


def test_a_way_that_has_expired_or_was_recorded_later_does_not_help() -> None:
    past = filed("contract.eu_scc", "US", expires="2026-11-01")
    later = filed("contract.eu_scc", "US", on="2026-12-01")
    assert not moves(GDPR.filing(past, later).ask(BERLIN), "US")


def test_no_country_is_taken_for_adequate_unless_somebody_has_recorded_it() -> None:
    assert {place for place in SINKS if reason(GDPR.ask(BERLIN), place) is None} == {"DE"}


def test_it_covers_who_is_in_the_union_or_lives_there_and_begins_on_2018_05_25() -> None:
    for who in (person("FR", "VN", "VN"), person("VN", "VN", "FR")):
        assert GDPR.ask(who).jurisdictions == ("EU",)
    assert GDPR.ask(person("US", "DE", "US")).jurisdictions == ()
    assert GDPR.ask(BERLIN, day="2018-05-24", zone="+01:00").permitted
    assert store(GDPR.ask(BERLIN, day="2018-05-24", zone="+01:00")) == set(SINKS)


def test_a_vietnamese_citizen_in_berlin_is_under_both_laws_and_each_asks_for_its_own_record() -> None:
    both = World(("eu/gdpr", "vn/personal-data-91-2025"), activity=GDPR.activity)
    both = both.since("first_transfer", "VN", "2026-01-05")
    who = person("DE", "VN", "DE")
    neither = both.ask(who)
    assert neither.jurisdictions == ("EU", "VN")
    dossier, scc = filed("vn.transfer_dossier"), filed("contract.eu_scc")
    only_scc = both.filing(scc).ask(who)
    assert any(rule.startswith("vn.l91.20") for rule in cited(only_scc, "SG"))
    assert cited(both.filing(dossier).ask(who), "SG") == {"eu.gdpr.44"}
    assert moves(both.filing(dossier, scc).ask(who), "SG")


def test_the_asean_clauses_stand_for_neither() -> None:
    both = World(("eu/gdpr", "vn/personal-data-91-2025"), activity=GDPR.activity)
    both = both.since("first_transfer", "VN", "2026-01-05").filing(filed("contract.asean_mcc_2"))
    decision = both.ask(person("DE", "VN", "DE"))
    assert len(clauses(decision, "SG")) >= 2


def labels(ai: str, day: str, since: str = "2026-09-01") -> set[str]:
    world = World(("eu/ai-act",), activity=f"data: [content], since: {since}, ai: {{system: s, {ai}}}")
    return set(world.ask(BERLIN, day=day, zone="+01:00").duty.label)


def test_transparency_begins_on_2026_08_02_and_older_generators_mark_from_december_on() -> None:
    old = "2026-06-01"
    assert labels("risk: low", "2026-08-01", old) == set()
    assert labels("risk: low", "2026-08-02", old) == {"ai.interaction"}
    assert labels("risk: low", "2026-12-01", old) == {"ai.interaction"}
    assert labels("risk: low", "2026-12-02", old) == {"ai.interaction", "ai.machine_readable_mark"}
    assert labels("risk: low", "2026-09-01") == {"ai.interaction", "ai.machine_readable_mark"}
    assert labels("generates: nothing", "2027-01-01") == {"ai.interaction"}


@pytest.mark.parametrize(
    ("annex", "begins", "before"),
    [
        ("risk: high, annex: iii", "2027-12-02", "2027-12-01"),
        ("risk: high, annex: i", "2028-08-02", "2028-08-01"),
        ("risk: high", "2027-12-02", "2027-12-01"),
    ],
)
def test_high_risk_begins_by_annex_and_the_earlier_day_counts_where_none_is_said(
    annex: str, begins: str, before: str
) -> None:
    assert "ai.high_risk" not in labels(annex, before)
    assert "ai.high_risk" in labels(annex, begins)
    assert "ai.high_risk" not in labels(annex.replace("high", "low"), begins)


def test_the_log_rule_of_low_confidence_is_observed() -> None:
    world = World(("eu/ai-act",), activity="data: [content], ai: {system: s, risk: high}")
    assert observed(world.ask(BERLIN, day="2027-12-02", zone="+01:00")) == {"eu.ai.logs": "observe"}
    low = replace(world, activity="data: [content], ai: {system: s, risk: low}")
    assert observed(low.ask(BERLIN, day="2027-12-02", zone="+01:00")) == {}


def test_a_system_that_names_its_annex_is_under_that_one_alone() -> None:
    for annex, rule in (("iii", "eu.ai.annex_iii"), ("i", "eu.ai.annex_i")):
        world = World(
            ("eu/ai-act",), activity=f"data: [content], ai: {{risk: high, generates: nothing, annex: {annex}}}"
        )
        assert cited(world.ask(BERLIN, day="2029-01-01")) == {"eu.ai.50", rule}


def test_routes_without_an_ai_system_are_not_spoken_of() -> None:
    assert World(("eu/ai-act",)).ask(BERLIN, day="2028-09-01").duty.label == frozenset()
