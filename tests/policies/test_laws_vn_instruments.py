"""Vietnam's packs one by one: AI, data, identity, children, the state's data, and the clocks that they tell."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import available_laws
from residency.model import Decision, Finding, Reason
from residency.policy.compiler import compile_policy
from residency.policy.parser import parse_law
from residency.policy.times import instant
from residency.policy.yamldoc import parse_yaml
from tests.law_asks import World, cited, filed, law, observed, person, reason, store

ROOT = Path(__file__).resolve().parents[2]
ALL = tuple(sorted(name for name in available_laws(()) if name.startswith("vn/")))
RESIDENT = person("VN", "VN", "VN")
CITIZEN_IN_BERLIN = person("DE", "VN", "DE")
GERMAN_IN_HANOI = person("VN", "DE", "DE")
AMERICAN = person("US", "US", "US")
DAY = "2026-09-01"
PROVIDER = "{established_in: US, roles: [ai_provider]}"
DEPLOYER = "{established_in: VN, roles: [ai_deployer]}"
NETWORK = "{established_in: VN, service_lines: [social_network]}"


def world(activity: str, operator: str = "{established_in: VN}", **more: object) -> World:
    return replace(World(ALL, operator=operator, activity=activity), **more)  # type: ignore[arg-type]


def ask(asked: World, who: Finding = RESIDENT, *evidence: str, day: str = DAY) -> Decision:
    return asked.ask(who, *evidence, day=day, zone="+07:00")


def tasks(decision: Decision) -> set[str]:
    return {deadline.task for deadline in decision.duty.deadlines}


# -- AI


def test_high_risk_needs_its_identifier_and_a_conformity_assessment_whoever_runs_it() -> None:
    for operator in (PROVIDER, DEPLOYER, "{established_in: VN}"):
        bare = ask(world("data: content, ai: {system: triage, risk: high, dossier: D-1}", operator))
        assert bare.reason is Reason.FILING_MISSING
        assert cited(bare) == {"vn.l134.10.3.high", "vn.l134.13"}
        proven = "data: content, ai: {system: triage, risk: high, dossier: D-1, portal_id: AI-1, conformity: C-1}"
        assert ask(world(proven, operator)).permitted


def test_medium_risk_is_notified_by_its_provider_and_not_by_who_deploys_it() -> None:
    chat = "data: content, ai: {system: chat, risk: medium}"
    assert cited(ask(world(chat, PROVIDER))) == {"vn.l134.9", "vn.l134.10.3"}
    assert ask(world(chat, DEPLOYER)).permitted
    register = world(chat, PROVIDER).filing(filed("portal.vn.ai"), filed("vn.ai_classification_dossier"))
    assert ask(register).permitted


def test_a_system_that_states_no_risk_is_taken_for_one_of_high_risk() -> None:
    assert "vn.l134.13" in cited(ask(world("data: content, ai: {system: chat}", DEPLOYER)))
    assert ask(world("data: content, ai: {system: chat, risk: low}", DEPLOYER)).permitted


@pytest.mark.parametrize(
    ("since", "sector", "begins"),
    [
        ("2026-03-01", "retail", "2026-03-01"),
        ("2025-06-01", "retail", "2027-03-01"),
        ("2025-06-01", "health", "2027-09-01"),
    ],
)
def test_older_ai_systems_have_until_march_or_september_2027(since: str, sector: str, begins: str) -> None:
    asked = world(
        f"data: content, since: {since}, ai: {{system: x, risk: high}}",
        f"{{established_in: VN, roles: [ai_deployer], sectors: [{sector}]}}",
    )
    before = {"2026-03-01": "2026-02-28", "2027-03-01": "2027-02-28", "2027-09-01": "2027-08-31"}[begins]
    assert ask(asked, day=before).permitted
    assert ask(asked, day=begins).reason is Reason.FILING_MISSING


def test_bans_forbid_and_labels_are_told() -> None:
    banned = ask(world("data: content, ai: {system: x, risk: low}, action: hide_ai_label"))
    assert (banned.reason, cited(banned)) == (Reason.LAW_FORBIDS, {"vn.l134.7"})
    made = "data: content, ai: {system: x, risk: low, generates: video, imitates: people, interacts: true}"
    labels = ask(world(made)).duty.label
    assert {"ai.interaction", "ai.machine_readable_mark", "ai.visible_label"} <= labels
    assert "ai.visible_label" not in ask(world(made), day="2026-04-30").duty.label
    silent = "data: content, ai: {system: x, risk: low, generates: text, imitates: nobody, interacts: false}"
    assert ask(world(silent)).duty.label.isdisjoint(labels)


def test_what_the_press_reported_is_recorded_from_2027_on_and_binds_nobody() -> None:
    chat = world("data: personal, ai: {system: x, risk: medium, general_purpose: true}", PROVIDER).filing(
        filed("portal.vn.ai"), filed("vn.ai_classification_dossier")
    )
    told = {
        "vn.reported.licence", "vn.reported.impact", "vn.reported.audit", "vn.reported.localisation",
    }  # fmt: skip
    before, after = ask(chat, day="2026-12-31"), ask(chat, day="2027-01-15")
    assert not told & set(observed(before))
    assert {rule: observed(after)[rule] for rule in told} == dict.fromkeys(told, "observe")
    assert (before.effect, store(before)) == (after.effect, store(after))
    assert all((rule.confidence, rule.mode) == ("low", "observe") for rule in law("vn/ai-as-reported-2027").rules)


def test_the_ai_law_localises_nothing() -> None:
    for name in ("vn/ai-134-2025", "vn/decree-142-2026", "vn/decision-33-2026"):
        for rule in law(name).rules:
            assert (rule.duty.copies, rule.duty.only, rule.duty.first_write) == (frozenset(), None, frozenset())


# -- personal data


def test_sensitive_data_needs_consent_to_the_purpose_or_another_basis_and_encryption_to_leave() -> None:
    told = "data: health, operation: read, purpose: care"
    assert ask(world(told)).reason is not None
    assert cited(ask(world(told))) == {"vn.l91.9.sensitive"}
    assert ask(world(told), RESIDENT, "consent:marketing").reason == ask(world(told)).reason
    assert ask(world(told), RESIDENT, "consent:care").permitted
    assert ask(world("data: health, operation: read, basis: contract")).permitted
    rule = next(rule for rule in law("vn/decree-356-2025").rules if rule.id == "vn.d356.4.2")
    assert rule.duty.require == {frozenset({"sink:encrypted"}), frozenset({"sink:in_transit"})}


def test_consent_for_basic_data_is_asked_here_where_the_deployment_says_so() -> None:
    reads = "data: personal, operation: read, purpose: newsletter"
    assert ask(world(reads)).permitted
    here = world(reads, readings={"vn.consent": "here"})
    assert cited(ask(here)) == {"vn.l91.9"}
    assert ask(here, RESIDENT, "consent:newsletter").permitted
    assert ask(replace(here, activity="data: personal, operation: read, basis: contract")).permitted


def test_an_unencrypted_sink_takes_no_personal_data() -> None:
    rule = next(rule for rule in law("vn/decree-356-2025").rules if rule.id == "vn.d356.12")
    assert frozenset({"sink:encrypted"}) in rule.duty.require
    asked = world("data: [personal]")
    policy = asked.policy()
    sinks = dict(policy.deployment.sinks)
    sinks["VN"] = replace(sinks["VN"], sink=replace(sinks["VN"].sink, encrypted=False))
    changed = compile_policy(replace(policy.deployment, sinks=sinks), policy.laws, [], "d")
    decision = changed.decide(
        changed.deployment.activities[0], RESIDENT, frozenset(), asked.facts, instant(DAY, "+07:00")
    )
    assert reason(decision, "VN") == "sink_unfit"


def test_a_childs_data_needs_the_representative_and_the_fines_clause_is_read_widely() -> None:
    child = "data: child, operation: read"
    assert cited(ask(world(child))) == {"vn.l91.24"}
    assert ask(world(child), RESIDENT, "consent:guardian").permitted
    assert ask(world(child), RESIDENT, "age:at_least_16").permitted
    narrow = {"vn.child_consent": "publishing"}
    assert ask(world(child, readings=narrow)).permitted
    assert cited(ask(world("data: child, operation: post", readings=narrow), RESIDENT, "identity:eid")) == {
        "vn.l91.24.publish"
    }


def test_reading_messages_needs_consent_to_its_purpose() -> None:
    looking = "data: content, operation: process, action: inspect_messages, purpose: moderation"
    assert ask(world(looking, NETWORK)).reason is not None
    assert ask(world(looking, NETWORK), RESIDENT, "consent:moderation").permitted


def test_an_order_stops_all_transfers_until_it_is_lifted() -> None:
    reads = world("data: personal, operation: read").filing(filed("vn.transfer_dossier"))
    stopped = reads.order("vn.transfer_stop", "2026-08-01", "2026-10-01")
    assert reason(ask(reads, CITIZEN_IN_BERLIN), "SG") is None
    assert (reason(ask(stopped, CITIZEN_IN_BERLIN), "SG"), store(ask(stopped, CITIZEN_IN_BERLIN))) == (
        "law_forbids",
        {"VN"},
    )
    assert reason(ask(stopped, CITIZEN_IN_BERLIN, day="2026-10-02"), "SG") is None


def test_clocks_of_requests_breaches_and_authorities_are_told() -> None:
    found = tasks(ask(world("data: [personal, biometric, content], basis: contract")))
    assert {
        "subject.reply", "subject.erase", "subject.erase_by_processor", "breach.notify_authority",
        "breach.notify_subject", "authority.deliver", "authority.deliver_urgent", "content.take_down",
        "content.take_down_urgent", "incident.first_notice", "filing.processing_dossier",
    } <= found  # fmt: skip


def test_small_firms_make_no_processing_dossier_unless_data_is_sensitive() -> None:
    small = "{established_in: VN, size: small}"
    assert "filing.processing_dossier" not in tasks(ask(world("data: personal", small)))
    assert "filing.processing_dossier" in tasks(ask(world("data: [health], basis: contract", small)))
    assert "filing.processing_dossier" in tasks(ask(world("data: personal")))


def test_before_2026_decree_13_asks_for_the_dossier() -> None:
    late = world("data: personal, operation: read").since("first_transfer", "VN", "2025-01-01")
    assert cited(ask(late, CITIZEN_IN_BERLIN, day="2025-12-31"), "SG") == {"vn.d13.transfer"}
    assert cited(ask(late, CITIZEN_IN_BERLIN, day="2026-01-01"), "SG") == {"vn.l91.20.2"}
    old = late.filing(filed("vn.transfer_dossier", on="2025-02-01"))
    assert reason(ask(old, CITIZEN_IN_BERLIN), "SG") is None  # an accepted dossier stays valid


# -- identity


def test_commercial_livestreams_need_the_personal_number() -> None:
    streams = world("data: content, operation: post, action: commercial_livestream", NETWORK)
    assert ask(streams, RESIDENT, "identity:phone").reason is Reason.IDENTITY_MISSING
    assert ask(streams, RESIDENT, "identity:national_id").permitted


def test_accounts_of_people_under_16_are_registered_by_a_parent() -> None:
    opens = world("data: account, action: register_account", NETWORK)
    assert cited(ask(opens)) == {"vn.d147.under_16", "vn.l116.children"}
    assert ask(opens, RESIDENT, "age:at_least_16").permitted
    assert ask(opens, RESIDENT, "consent:guardian").permitted


def test_a_small_platform_from_abroad_says_that_it_is_out_of_decree_147() -> None:
    posts, day = "data: content, operation: post", "2026-06-15"
    abroad = "{established_in: US, service_lines: [social_network]}"
    assert cited(ask(world(posts, abroad), day=day)) == {"vn.d147.27.3.b"}
    assert ask(world(posts, abroad, readings={"vn.d147_cross_border": "below"}), day=day).permitted


# -- the state, sectors, what only records


def test_state_data_stays_in_vietnam_and_the_directive_is_only_recorded() -> None:
    decision = ask(world("data: state, operation: read, purpose: ai_training"))
    assert store(decision) == {"VN"}
    assert cited(decision, "SG") == {"vn.d163.30.1.state"}
    assert {rule: mode for rule, mode in observed(decision).items() if rule.startswith("vn.dir57")} == {
        "vn.dir57.state": "observe", "vn.dir57.state.transfer": "observe", "vn.dir57.ai": "observe",
    }  # fmt: skip


def test_health_records_stay_for_the_health_sector_and_contracts_are_kept_three_years() -> None:
    health = "data: health, operation: read, basis: contract"
    clinic = ask(world(health, "{established_in: VN, sectors: [health]}"), CITIZEN_IN_BERLIN, day="2026-11-01")
    assert store(clinic) == {"VN"}
    assert store(ask(world(health), CITIZEN_IN_BERLIN, day="2026-11-01")) != {"VN"}
    shop = ask(world("data: transaction", "{established_in: VN, service_lines: [e_commerce]}"))
    assert ("transaction", 36) in {(r.category, r.months) for r in shop.duty.retain}


def test_user_in_vietnam_read_broadly_follows_who_lives_there_on_a_journey() -> None:
    travelling = person("SG", "DE", "VN")
    assert ask(world("data: personal"), travelling).duty.copies == frozenset()
    habitual = world("data: personal", readings={"vn.user_in_vietnam": "habitual"})
    assert ask(habitual, travelling).duty.copies == {"VN"}
    assert ask(habitual, person("SG", "DE", "DE")).duty.copies == frozenset()


def test_content_is_user_generated_data_only_under_the_broad_reading() -> None:
    writes = "data: content, operation: write"
    assert ask(world(writes)).duty.copies == {"VN"}
    assert ask(world(writes, readings={"vn.content_as_user_data": "narrow"})).duty.copies == frozenset()


def test_volume_raises_the_class_and_its_log_is_kept() -> None:
    grown = ask(world("data: financial, basis: contract").escalated("vn.dec20.financial_important"))
    assert {"data.important", "data.class"} <= grown.duty.label
    assert ("log", 6) in {(r.category, r.months) for r in grown.duty.retain}
    thresholds = {e.id: (e.subjects, e.becomes) for e in law("vn/decision-20-2025").escalations}
    assert thresholds["vn.dec20.sensitive_core"] == (100_000, "core")
    assert thresholds["vn.dec20.basic_core"] == (1_000_000, "core")


def test_no_law_of_vietnam_speaks_of_an_american_in_america() -> None:
    decision = ask(world("data: [personal, account, content], operation: write"), AMERICAN)
    assert (decision.jurisdictions, decision.rules, decision.observed) == ((), (), ())


def test_the_readings_and_modes_of_the_how_to_hold() -> None:
    page = (ROOT / "docs" / "how-to" / "law-packs.md").read_text(encoding="utf-8")
    samples = [parse_yaml(text.encode(), "sample").value for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    samples = [sample for sample in samples if isinstance(sample, dict) and not {"kind", "laws"} & set(sample)]
    said = {key: value for sample in samples if isinstance(sample, dict) for key, value in sample.items()}
    assert set(said) == {"readings", "modes"}
    deployment = world("data: personal", readings=said["readings"], modes=said["modes"]).policy().deployment
    assert deployment.readings == said["readings"]
    assert deployment.modes["vn.d147.server"] == "enforce"
    for row in re.findall(r"^\| .* \| (.*) \|$", page, re.MULTILINE):
        for rule in re.findall(r"`(vn\.l91\.[\d.]+)`", row):
            assert rule in {r.id for r in law("vn/personal-data-91-2025").rules}


def test_the_overlay_of_the_how_to_changes_rules_that_its_pack_has() -> None:
    page = (ROOT / "docs" / "how-to" / "law-packs.md").read_text(encoding="utf-8")
    (text,) = (t for t in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "\nextends: " in t)
    overlay = parse_law(text.encode(), "sample", "acme/decree-333")
    assert overlay.extends == "vn/decree-333-2026"
    known = {rule.id for rule in law(overlay.extends).rules}
    assert {rule.id for rule in overlay.rules} < known
    assert {rule for rule, _why in overlay.dropped} < known
