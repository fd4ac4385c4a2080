"""The Chinese packs: export by one of three ways, bands by people in a year, critical operators, AI, logs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.law_asks import World, cited, clauses, filed, law, lives_in, moves, observed, person, reason, store

PIPL, BANDS = "cn/pipl-2021", "cn/cac-provisions-2024"
STRICT = World((PIPL,))
BANDED = World((PIPL, BANDS))
CRITICAL = "{established_in: CN, critical: true}"
WAYS = ("cn.security_assessment", "cn.certification", "contract.cn_scc")
CONSENT = "consent:cross_border"
WHO = lives_in("CN")


def test_an_export_needs_one_of_three_ways_and_a_separate_consent() -> None:
    nothing = STRICT.ask(WHO)
    assert store(nothing) == {"CN"}
    assert cited(nothing, "SG") == {"cn.pipl.38"}
    for way in WAYS:
        by = STRICT.filing(filed(way, "SG"))
        assert reason(by.ask(WHO), "SG") == "consent_missing"
        assert store(by.ask(WHO, CONSENT)) == {"CN", "SG"}
    assert reason(STRICT.ask(WHO, CONSENT), "SG") == "filing_missing"


def test_it_covers_who_is_in_china_lives_there_or_gives_data_there_and_no_citizen_elsewhere() -> None:
    for who in (person("CN"), person("SG", lives="CN"), person("CN", "US", "US")):
        assert STRICT.ask(who).jurisdictions == ("CN",)
    assert STRICT.ask(person("SG", "CN", "SG")).jurisdictions == ()


def test_erasing_abroad_needs_nothing() -> None:
    erasing = World((PIPL, BANDS), activity="data: [personal], operation: erase").ask(WHO)
    assert moves(erasing, "SG")


def test_below_the_bands_no_way_is_needed_from_2024_03_22_and_every_export_needed_one_before() -> None:
    before = BANDED.ask(WHO, CONSENT, day="2024-03-21", zone="+08:00")
    assert cited(before, "SG") == {"cn.pipl.38"}
    after = BANDED.ask(WHO, CONSENT, day="2024-03-22", zone="+08:00")
    assert moves(after, "SG")
    assert {rule.id for rule in after.outranked} == {"cn.pipl.38"}
    assert reason(BANDED.ask(WHO), "SG") == "consent_missing"
    assert BANDED.ask(WHO, day="2021-10-31", zone="+08:00").jurisdictions == ()


def test_sensitive_data_is_in_the_middle_band_from_the_first_person_on() -> None:
    health = World((PIPL, BANDS), activity="data: [health]")
    assert cited(health.ask(WHO, CONSENT), "SG") == {"cn.cac.2024.middle"}
    for way in (*WAYS, "cn.export_exemption"):
        assert moves(health.filing(filed(way, "SG")).ask(WHO, CONSENT), "SG")


def test_the_middle_band_begins_at_100000_people() -> None:
    middle = BANDED.escalated("cn.cac.2024.100k")
    assert cited(middle.ask(WHO, CONSENT), "SG") == {"cn.cac.2024.middle"}
    assert moves(middle.filing(filed("contract.cn_scc", "SG")).ask(WHO, CONSENT), "SG")


@pytest.mark.parametrize("up", ["cn.cac.2024.1m", "cn.cac.2024.sensitive_10k"])
def test_in_the_top_band_only_an_assessment_or_an_exemption_helps(up: str) -> None:
    top = World((PIPL, BANDS), activity="data: [health]").escalated(up)
    contract = top.filing(filed("contract.cn_scc", "SG")).ask(WHO, CONSENT)
    assert cited(contract, "SG") == {"cn.cac.2024.top"}
    assert clauses(contract, "SG") == {frozenset({"filing:cn.security_assessment", "filing:cn.export_exemption"})}
    for way in ("cn.security_assessment", "cn.export_exemption"):
        assert moves(top.filing(filed(way, "SG")).ask(WHO, CONSENT), "SG")
    assert observed(contract)["cn.pipl.40.volume"] == "warn"
    bound = replace(top, modes={"cn.pipl.40.volume": "enforce"}).ask(WHO, CONSENT)
    assert bound.duty.copies == {"CN"}
    assert bound.duty.only is None


def test_the_thresholds_are_those_of_the_provisions_and_count_by_calendar_year() -> None:
    found = {e.id: (e.subjects, e.becomes, e.per) for e in law(BANDS).escalations}
    assert found == {
        "cn.cac.2024.100k": (100_000, "important", "calendar_year"),
        "cn.cac.2024.1m": (1_000_000, "core", "calendar_year"),
        "cn.cac.2024.sensitive_10k": (10_000, "core", "calendar_year"),
    }


def test_chinese_bands_raise_nothing_under_the_laws_of_others() -> None:
    both = World((PIPL, BANDS, "vn/decree-165-2025"), "{established_in: VN}")
    calm, raised = both.ask(lives_in("VN")), both.escalated("cn.cac.2024.1m").ask(lives_in("VN"))
    assert (raised.rules, raised.sinks, raised.observed) == (calm.rules, calm.sinks, calm.observed)


def test_critical_operators_keep_a_copy_in_china_and_the_bands_are_not_theirs() -> None:
    critical = World((PIPL, BANDS), CRITICAL)
    decision = critical.ask(WHO, CONSENT)
    assert decision.duty.copies == {"CN"}
    reading = World((PIPL, BANDS), CRITICAL, "data: [personal], operation: read").ask(WHO, CONSENT)
    assert cited(reading, "SG") == {"cn.pipl.38"}


def test_a_critical_operator_of_another_country_owes_no_copy_and_needs_one_of_the_three_ways_below_the_bands_too() -> (
    None
):
    reading = World((PIPL, BANDS), "{established_in: VN, critical: true}", "data: [personal], operation: read")
    decision = reading.ask(WHO, CONSENT)
    assert decision.duty.copies == frozenset()
    assert cited(decision, "SG") == {"cn.pipl.38"}


def test_read_strictly_their_data_is_in_china_only_until_an_assessment_is_passed() -> None:
    strict = World((PIPL,), CRITICAL, "data: [personal], operation: read", readings={"cn.pipl.40": "only"})
    assert reason(strict.ask(WHO, CONSENT), "SG") == "only_in_country"
    assert reason(strict.filing(filed("cn.security_assessment", "SG")).ask(WHO, CONSENT), "SG") == "only_in_country"
    assert moves(strict.filing(filed("cn.security_assessment")).ask(WHO, CONSENT), "SG")


def test_generative_services_that_may_form_opinion_are_assessed_and_filed_unless_they_say_they_do_not() -> None:
    def ask(ai: str, *filings: str, day: str = "2026-11-22") -> str | None:
        here = World(("cn/genai-measures-2023",), activity=f"data: [content], operation: process, ai: {{{ai}}}")
        found = here.filing(*map(filed, filings)).ask(lives_in("CN"), day=day, zone="+08:00")
        return reason(found)

    unsaid = "system: chat"
    assert ask(unsaid) == "filing_missing"
    assert ask(unsaid, "cn.genai_filing") == "filing_missing"
    assert ask(unsaid, "cn.genai_filing", "cn.genai_assessment") is None
    assert ask(unsaid, day="2023-08-14") is None
    assert ask("system: chat, influence: none") is None
    assert ask("system: chat, audience: internal") is None
    assert ask("system: sort, generates: nothing") is None


def test_labels_of_generated_content_begin_on_2025_09_01() -> None:
    here = World(("cn/genai-measures-2023",), activity="data: [content], ai: {system: chat, influence: none}")
    assert here.ask(lives_in("CN"), day="2025-08-31", zone="+08:00").duty.label == frozenset()
    assert here.ask(lives_in("CN"), day="2025-09-01", zone="+08:00").duty.label == {"ai.machine_readable_mark"}
    for outside in ("generates: nothing", "audience: internal"):
        other = World(("cn/genai-measures-2023",), activity=f"data: [content], ai: {{influence: none, {outside}}}")
        assert other.ask(lives_in("CN")).duty.label == frozenset()


def test_the_log_rule_of_low_confidence_is_observed() -> None:
    decision = World(("cn/csl-logs-2017",)).ask(WHO)
    assert observed(decision) == {"cn.csl.log": "observe"}
    assert decision.duty.retain == frozenset()


def test_chinese_only_and_a_copy_in_vietnam_and_a_first_recording_in_russia_are_a_conflict_that_is_told() -> None:
    laws = (PIPL, "vn/decree-333-2026", "ru/152-fz")
    operator = "{established_in: [CN, VN], critical: true}"
    three = World(laws, operator, readings={"cn.pipl.40": "only"})
    decision = three.ask(person("VN", "RU", "CN"), CONSENT)
    assert decision.jurisdictions == ("CN", "RU", "VN")
    assert decision.duty.only == frozenset({"CN"})
    assert decision.duty.first_write == {"RU"}
    assert decision.duty.copies == {"CN", "VN"}
    assert reason(decision) == "conflict"
    assert {"cn.pipl.40", "cn.pipl.40.only", "ru.152fz.18.5", "vn.d333.19.2"} <= cited(decision)
    assert store(decision) == set()
