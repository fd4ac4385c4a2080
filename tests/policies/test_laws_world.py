"""What holds of every pack outside Vietnam: dates and sources, both languages, modes by confidence, kinds on record."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import available_laws
from residency.model import Anchor, AnchorFinding, Finding, Operation, Presume, Trust
from residency.model.data import CATEGORIES, parents
from residency.policy.parsed import LawDoc, Span
from residency.policy.times import instant
from tests.law_asks import World, cited, filed, law, lives_in

JURISDICTIONS = ("la", "cn", "eu", "in", "id", "br", "ng", "jp", "ca", "ru")
NAMES = sorted(name for name in available_laws(()) if name.split("/")[0] in JURISDICTIONS)
LAWS = [pytest.param(law(name), id=name) for name in NAMES]
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "filing-kinds.md"


def test_every_jurisdiction_has_a_pack() -> None:
    assert {name.split("/")[0] for name in NAMES} == set(JURISDICTIONS)
    assert not any(name.startswith("asean/") for name in available_laws(()))


@pytest.mark.parametrize("one", LAWS)
def test_each_rule_has_article_source_and_day_and_speaks_both_languages(one: LawDoc) -> None:
    assert one.title
    assert one.title_vi
    assert one.not_covered
    for rule in one.rules:
        assert all((rule.article, rule.source, rule.text, rule.text_vi)), rule.id
        assert rule.checked == "2026-11-21"


@pytest.mark.parametrize("one", LAWS)
def test_what_is_surely_known_binds_and_what_is_not_does_not_and_says_so(one: LawDoc) -> None:
    for rule in one.rules:
        if rule.confidence == "low":
            assert rule.mode in ("observe", "warn"), rule.id
            assert "Low confidence" in rule.note, rule.id
        elif rule.confidence == "high":
            assert rule.mode == "enforce", rule.id


THREE = {"territory", "residence", "collection"}
PERSONAL = {"personal", "account", "relationship", "health", "child"}
USING = {"read", "write", "process", "post"}


@dataclass(frozen=True)
class Case:
    """A rule in a world where it speaks of somebody at home in `place`, and all that it is about."""

    rule: str
    place: str
    world: World
    day: str = "2026-11-22"
    kinds: set[str] = field(default_factory=lambda: set(PERSONAL))
    operations: set[str] = field(default_factory=lambda: set(USING))
    anchors: set[str] = field(default_factory=lambda: set(THREE))
    consents: tuple[str, ...] = ()


EVERY = {operation.value for operation in Operation}
CRITICAL, PAYING = "{established_in: CN, critical: true}", "{established_in: IN, service_lines: [online_payment]}"
PIPL, BANDS, DPDP = (
    World(("cn/pipl-2021",)),
    World(("cn/pipl-2021", "cn/cac-provisions-2024")),
    World(("in/dpdp-2023",)),
)
FIDUCIARY = DPDP.order("in.significant_fiduciary", "2027-05-20")
PUBLIC = World(("id/gr-71-2019",), "{established_in: ID, public_body: true}")
FOUR = THREE | {"citizenship"}
CASES = [
    Case(
        "la.edp.consent",
        "LA",
        World(("la/electronic-data-25-na-2017",)),
        kinds=set(CATEGORIES),
        operations={"write", "post"},
    ),
    Case("la.edp.transfer", "LA", World(("la/electronic-data-25-na-2017",)), kinds=PERSONAL | {"transaction"}),
    Case("cn.pipl.38", "CN", PIPL),
    Case("cn.pipl.39", "CN", PIPL.filing(filed("contract.cn_scc"))),
    Case("cn.pipl.40", "CN", World(PIPL.laws, CRITICAL), operations=EVERY),
    Case("cn.pipl.40.only", "CN", World(PIPL.laws, CRITICAL, readings={"cn.pipl.40": "only"})),
    Case("cn.pipl.40.volume", "CN", BANDS.escalated("cn.cac.2024.1m"), kinds=PERSONAL | {"core"}, operations=EVERY),
    Case(
        "cn.cac.2024.exempt_band",
        "CN",
        BANDS.filing(filed("contract.cn_scc")),
        operations=EVERY,
        consents=("consent:cross_border",),
    ),
    Case("cn.cac.2024.middle", "CN", BANDS.escalated("cn.cac.2024.100k"), kinds=PERSONAL | {"important", "core"}),
    Case("cn.cac.2024.top", "CN", BANDS.escalated("cn.cac.2024.1m"), kinds=PERSONAL | {"core"}),
    Case(
        "cn.csl.log", "CN", World(("cn/csl-logs-2017",)), kinds=set(CATEGORIES), operations=EVERY, anchors={"territory"}
    ),
    Case("eu.gdpr.44", "DE", World(("eu/gdpr",))),
    Case("in.dpdp.16", "IN", DPDP.order("in.transfer_restriction", "2027-05-20"), "2027-06-02"),
    Case("in.dpdp.significant", "IN", FIDUCIARY, "2027-06-02"),
    Case(
        "in.dpdp.significant.copy",
        "IN",
        replace(FIDUCIARY, readings={"in.listed_data": "copy"}),
        "2027-06-02",
        operations=EVERY,
    ),
    Case("in.dpdp.r8.3", "IN", DPDP, "2027-06-02", kinds=PERSONAL | {"log"}, operations=EVERY),
    Case("in.rbi.2018", "IN", World(("in/rbi-payment-data-2018",), PAYING), kinds={"financial", "transaction"}),
    Case(
        "in.rbi.2018.banks",
        "IN",
        World(("in/rbi-payment-data-2018",), "{established_in: IN, sectors: [banking]}"),
        kinds={"financial", "transaction"},
    ),
    Case("id.pdp.56", "ID", World(("id/pdp-27-2022",))),
    Case("id.gr71.public", "ID", PUBLIC, kinds=set(CATEGORIES), anchors=FOUR),
    Case(
        "id.gr71.public.appointed",
        "ID",
        World(PUBLIC.laws, "{established_in: ID, sectors: [public_scope]}"),
        kinds=set(CATEGORIES),
        anchors=FOUR,
    ),
    Case("id.gr71.private", "ID", World(PUBLIC.laws), kinds=set(CATEGORIES), operations=EVERY, anchors=FOUR),
    Case("id.gr33.breach", "ID", World(("id/gr-33-2026",)), "2027-01-17", operations=EVERY),
    Case("br.lgpd.33", "BR", World(("br/lgpd",))),
    Case("br.lgpd.33.publish", "BR", World(("br/lgpd",)).filing(filed("br.adequacy")), operations=EVERY),
    Case("ng.ndpa.41", "NG", World(("ng/ndpa-2023",)), "2025-01-01"),
    Case("ng.ndpa.41.gaid", "NG", World(("ng/ndpa-2023",))),
    Case("jp.appi.28", "JP", World(("jp/appi",))),
    Case("ca.qc.17", "CA-QC", World(("ca/quebec-p39-1",))),
    Case("ca.pipeda.accountability", "CA-ON", World(("ca/pipeda",)), operations=EVERY),
    Case("ru.152fz.18.5", "RU", World(("ru/152-fz",)), operations={"write", "post"}, anchors={"citizenship"}),
    Case("ru.23fz.18.5", "RU", World(("ru/152-fz",)), operations={"write", "post"}, anchors={"citizenship"}),
    Case(
        "ru.23fz.export", "RU", World(("ru/152-fz",)).exempt("ru.23fz.18.5", "ru.152fz.18.5"), anchors={"citizenship"}
    ),
]
SILENT_IS_OUT = tuple((anchor, Presume.NOT_COVERED) for anchor in Anchor)


def speaks(case: Case, who: Finding, data: str, operation: str) -> bool:
    bound = replace(case.world, activity=f"data: [{data}], operation: {operation}", modes={case.rule: "enforce"})
    found = bound.ask(who, *case.consents, day=case.day)
    return case.rule in cited(found) | cited(found, "US")


def test_each_rule_of_the_packs_that_is_not_about_ai_is_a_case_here() -> None:
    rules = {rule.id for name in NAMES for rule in law(name).rules if rule.ai is None}
    assert {case.rule for case in CASES} == rules


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_each_rule_covers_by_these_anchors_these_kinds_of_data_and_these_operations(case: Case) -> None:
    there = AnchorFinding(frozenset({case.place}), trust=Trust.VERIFIED)
    home = Finding(there, there, there, there)
    one = min(case.kinds)
    operation = "write" if "write" in case.operations else min(case.operations)
    only = {
        "territory": Finding(territory=there, presume=SILENT_IS_OUT),
        "citizenship": Finding(citizenship=there, presume=SILENT_IS_OUT),
        "residence": Finding(residence=there, presume=SILENT_IS_OUT),
        "collection": Finding(collection=there, presume=SILENT_IS_OUT),
    }
    assert {anchor for anchor, who in only.items() if speaks(case, who, one, operation)} == case.anchors
    asked = {"personal", "account", "relationship", "health", "child", "financial", "transaction", "content", "log"}
    expected = {kind for kind in asked if not case.kinds.isdisjoint(parents(kind))}
    assert {kind for kind in asked if speaks(case, home, kind, operation)} == expected
    assert {word for word in EVERY if speaks(case, home, one, word)} == case.operations


# When each instrument begins, and those of its rules that begin later or end; on which clocks.
BEGINS = {
    "br/lgpd": ("2025-08-23", "-03:00"),
    "ca/pipeda": ("2004-01-01", "-05:00"),
    "ca/quebec-p39-1": ("2023-09-22", "-05:00"),
    "cn/cac-provisions-2024": ("2024-03-22", "+08:00"),
    "cn/csl-logs-2017": ("2017-06-01", "+08:00"),
    "cn/genai-measures-2023": ("2023-08-15", "+08:00"),
    "cn/pipl-2021": ("2021-11-01", "+08:00"),
    "eu/ai-act": ("2026-08-02", "+01:00"),
    "eu/gdpr": ("2018-05-25", "+01:00"),
    "id/gr-33-2026": ("2027-01-16", "+07:00"),
    "id/gr-71-2019": ("2019-10-10", "+07:00"),
    "id/pdp-27-2022": ("2024-10-17", "+07:00"),
    "in/dpdp-2023": ("2025-11-14", "+05:30"),
    "in/rbi-payment-data-2018": ("2018-10-15", "+05:30"),
    "jp/appi": ("2022-04-01", "+09:00"),
    "la/electronic-data-25-na-2017": ("2017-06-23", "+07:00"),
    "ng/ndpa-2023": ("2023-06-12", "+01:00"),
    "ru/152-fz": ("2015-09-01", "+03:00"),
}
LATER = {
    "cn.genai.labels": ("2025-09-01", None),
    "eu.ai.annex_iii": ("2027-12-02", None),
    "eu.ai.annex_i": ("2028-08-02", None),
    "eu.ai.logs": ("2027-12-02", None),
    "in.dpdp.16": ("2027-05-13", None),
    "in.dpdp.significant": ("2027-05-13", None),
    "in.dpdp.significant.copy": ("2027-05-13", None),
    "in.dpdp.r8.3": ("2027-05-13", None),
    "ng.ndpa.41": ("2023-06-12", "2025-09-19"),
    "ng.ndpa.41.gaid": ("2025-09-19", None),
    "ru.23fz.18.5": ("2025-07-01", None),
    "ru.23fz.export": ("2025-07-01", None),
}


def test_each_instrument_begins_at_midnight_of_its_day_and_none_has_ended() -> None:
    assert {name: law(name).span for name in NAMES} == {
        name: Span(instant(day, zone)) for name, (day, zone) in BEGINS.items()
    }


def test_rules_that_begin_later_or_end_have_these_days() -> None:
    spans = {rule.id: (rule.span, name) for name in NAMES for rule in law(name).rules if rule.span != Span()}
    assert {rule: span for rule, (span, _) in spans.items()} == {
        rule: Span(instant(day, BEGINS[name][1]), None if end is None else instant(end, BEGINS[name][1]))
        for rule, (day, end) in LATER.items()
        for name in [spans[rule][1]]
    }


def test_terms_of_keeping_are_these() -> None:
    kept = {
        (rule.id, r.category, r.months, r.start) for name in NAMES for rule in law(name).rules for r in rule.duty.retain
    }
    assert kept == {
        ("cn.csl.log", "log", 6, "creation"),
        ("eu.ai.logs", "log", 6, "creation"),
        ("in.dpdp.r8.3", "log", 12, "creation"),
        ("in.dpdp.r8.3", "personal", 12, "last_use"),
        ("in.dpdp.r8.3", "account", 12, "last_use"),
        ("in.dpdp.r8.3", "relationship", 12, "last_use"),
    }


def test_rules_about_ai_cover_by_these_anchors() -> None:
    anchors = {
        rule.id: {anchor.value for anchor in rule.anchors}
        for name in NAMES
        for rule in law(name).rules
        if rule.ai is not None
    }
    assert {rule: found for rule, found in anchors.items() if rule.startswith("cn.")} == {
        "cn.genai.filing": {"territory"},
        "cn.genai.labels": {"territory"},
    }
    assert {frozenset(found) for rule, found in anchors.items() if rule.startswith("eu.")} == {
        frozenset({"territory", "residence"})
    }


def test_notices_and_marks_are_these() -> None:
    labels = {rule.id: set(rule.duty.label) for name in NAMES for rule in law(name).rules if rule.duty.label}
    assert labels == {
        "la.edp.consent": {"notice.collection"},
        "cn.pipl.39": {"notice.cross_border"},
        "cn.genai.labels": {"ai.machine_readable_mark"},
        "eu.ai.50": {"ai.interaction"},
        "eu.ai.50.generated": {"ai.machine_readable_mark"},
        "eu.ai.annex_iii": {"ai.high_risk"},
        "eu.ai.annex_i": {"ai.high_risk"},
        "id.gr71.private": {"authority.access"},
        "br.lgpd.33.publish": {"notice.transfers"},
        "jp.appi.28": {"notice.country"},
        "ca.pipeda.accountability": {"transfer.accountable"},
    }


def test_the_page_of_kinds_names_what_the_packs_ask_for_and_nothing_else() -> None:
    rules = [rule for name in NAMES for rule in law(name).rules]
    asked = {token for rule in rules for clause in (*rule.duty.require, rule.unless) for token in clause}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    table = "".join(line for line in lines if line.startswith("| `"))
    assert set(re.findall(r"`((?:filing|contract|portal|consent):[^`]+)`", table)) == asked
    (told,) = (line for line in lines if line.startswith("Orders that put rules in force"))
    assert set(re.findall(r"`([^`]+)`", told)) == {rule.trigger.order for rule in rules if rule.trigger is not None}


def test_all_packs_load_side_by_side_and_cover_each_their_own() -> None:
    everywhere = World(tuple(NAMES), activity="data: [personal], operation: read")
    for place in ("LA", "CN", "DE", "IN", "ID", "BR", "NG", "JP", "CA-ON", "RU", "VN", "US"):
        covering = everywhere.ask(lives_in(place), day="2027-06-01").jurisdictions
        assert covering == {"DE": ("EU",), "CA-ON": ("CA",), "VN": (), "US": ()}.get(place, (place,))
