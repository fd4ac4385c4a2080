"""What holds of every pack outside Vietnam: dates and sources, both languages, modes by confidence, kinds on record."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import available_laws
from residency.model import Anchor, AnchorFinding, Finding, Operation, Presume, Trust
from residency.model.data import CATEGORIES, parents
from residency.policy.parsed import LawDoc
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


def test_days_begin_at_midnight_of_the_capital() -> None:
    hours = {"la": 7, "cn": 8, "eu": 1, "in": 5.5, "id": 7, "br": -3, "ng": 1, "jp": 9, "ca": -5, "ru": 3}
    for name in NAMES:
        assert law(name).calendar.offset == 60 * hours[name.split("/")[0]]


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
