"""Where Vietnam's laws pull two ways: each contradiction of the legal facts, and how the packs treat it."""

from __future__ import annotations

from dataclasses import replace

from residency.adapters.policy_files import available_laws
from residency.audit.entry import Entry
from residency.model import Bound, Conflict, Decision, Exemption, FactSet, Reason, SinkVerdict, retained_until
from residency.policy.compiler import Policy, compile_policy
from residency.policy.times import instant
from tests.law_asks import World, cited, filed, person, reason, store

ALL = tuple(sorted(name for name in available_laws(()) if name.startswith("vn/")))
DOMESTIC = "{established_in: VN, roles: [controller], service_lines: [social_network]}"
FOREIGN = "{established_in: US, roles: [controller], service_lines: [social_network]}"
RESIDENT = person("VN", "VN", "VN")
CITIZEN_IN_BERLIN = person("DE", "VN", "DE")
GERMAN_IN_HANOI = person("VN", "DE", "DE")
DAY = "2026-09-01"
READ = "data: [personal, account], operation: read"


def world(activity: str = "data: [personal, account]", operator: str = DOMESTIC, **more: object) -> World:
    return replace(World(ALL, operator=operator, activity=activity), **more)  # type: ignore[arg-type]


def ask(asked: World, who: object = RESIDENT, *evidence: str, day: str = DAY) -> Decision:
    return asked.ask(who, *evidence, day=day, zone="+07:00")  # type: ignore[arg-type]


def test_contradiction_the_floor_outlasts_an_erasure_request_and_both_stand_in_the_duty() -> None:
    # Hold the erasure, with the end date and the reason: the duty has the floor and the ceiling, the erasure itself
    # stays permitted, and nothing here is a conflict that would stop the service.
    decision = ask(world("data: [personal, account], operation: erase"))
    assert decision.permitted
    kept = {(r.bound, r.months, r.days, r.start) for r in decision.duty.retain if r.category == "personal"}
    assert (Bound.AT_LEAST, 24, 0, "account_end") in kept
    assert (Bound.AT_MOST, 0, 20, "erasure_request") in kept
    assert decision.duty.conflicts == frozenset()
    assert {"vn.d333.20.1", "vn.l91.14"} <= cited(decision)
    ended, asked = instant("2026-09-01", "+07:00"), instant("2026-09-05", "+07:00")
    events = {"account_end": ended, "last_use": ended, "creation": ended, "erasure_request": asked}
    record = retained_until(decision.duty.retain, ["personal"], events)
    assert not record.may_erase(instant("2028-09-01", "+07:00"))
    assert record.must_erase(instant("2028-09-03", "+07:00"))
    assert "erasure_request" in {ceiling.start for ceiling in record.overdue}
    assert (Bound.AT_LEAST, 24) in {(floor.bound, floor.months) for floor in record.floors}


def test_contradiction_identity_is_verified_by_number_or_eid_and_images_are_refused() -> None:
    posts = world("data: content, operation: post")
    assert ask(posts).reason is Reason.IDENTITY_MISSING
    for proof in ("identity:phone", "identity:national_id", "identity:eid"):
        assert ask(posts, RESIDENT, proof).permitted
    for images in (
        "data: [personal, identity_document], operation: write",
        "data: personal, operation: write, media: [id_image], purpose: registration",
    ):
        refused = ask(world(images), RESIDENT, "identity:national_id", "consent:registration")
        assert refused.reason is Reason.LAW_FORBIDS
        assert cited(refused) == {"vn.l91.29"}
    paying = world("data: [personal, identity_document], operation: write, purpose: payment, basis: contract")
    assert ask(paying).permitted
    elsewhere = world("data: [personal, identity_document], basis: contract", "{established_in: VN}")
    assert ask(elsewhere).permitted


def on_a_foreign_cloud(asked: World) -> SinkVerdict:
    """What is said of a sink in Vietnam whose provider is from the US."""
    policy = asked.policy()
    deployment = policy.deployment
    sinks = dict(deployment.sinks)
    sinks["VN"] = replace(sinks["VN"], sink=replace(sinks["VN"].sink, provider="US"))
    changed: Policy = compile_policy(replace(deployment, sinks=sinks), policy.laws, [], "d")
    activity = changed.deployment.activities[0]
    now = instant(DAY, "+07:00")
    verdict = changed.decide(activity, RESIDENT, frozenset(), asked.facts, now).sink("VN")
    assert verdict is not None
    return verdict


def test_contradiction_a_foreign_clouds_region_in_vietnam_is_storage_and_may_be_a_transfer() -> None:
    lenient = on_a_foreign_cloud(world())
    assert lenient.reason is None
    strict = world(readings={"vn.provider_abroad": "strict"})
    running = on_a_foreign_cloud(strict)
    assert (running.reason, [clock.event for clock in running.clocks]) == (None, ["first_transfer"])
    late = on_a_foreign_cloud(strict.since("first_transfer", "VN", "2026-06-01"))
    assert late.reason is Reason.FILING_MISSING
    assert [ref.id for ref in late.rules] == ["vn.l91.20.1.provider"]
    dossier = strict.since("first_transfer", "VN", "2026-06-01").filing(filed("vn.transfer_dossier"))
    assert on_a_foreign_cloud(dossier).reason is None


def test_contradiction_transfers_run_sixty_days_without_a_dossier_and_then_end() -> None:
    reads = world(READ)
    assert reason(ask(reads, CITIZEN_IN_BERLIN), "SG") is None  # no transfer yet: this one is the first
    begun = reads.since("first_transfer", "VN", "2026-09-01")
    day_60 = ask(begun, CITIZEN_IN_BERLIN, day="2026-10-31")
    assert reason(day_60, "SG") is None
    abroad = day_60.sink("SG")
    assert abroad is not None
    (clock,) = abroad.clocks
    assert clock.deadline == instant("2026-11-01", "+07:00")
    day_61 = ask(begun, CITIZEN_IN_BERLIN, day="2026-11-01")
    assert reason(day_61, "SG") == "filing_missing"
    assert cited(day_61, "SG") == {"vn.l91.20.2"}
    assert reason(ask(begun.filing(filed("vn.transfer_dossier")), CITIZEN_IN_BERLIN, day="2026-11-01"), "SG") is None
    policy = reads.policy()
    strict = compile_policy(replace(policy.deployment, strict_clocks=True), policy.laws, [], "d")
    activity, now = strict.deployment.activities[0], instant(DAY, "+07:00")
    verdict = strict.decide(activity, CITIZEN_IN_BERLIN, frozenset(), FactSet(0), now).sink("SG")
    assert verdict is not None
    assert verdict.reason is Reason.FILING_MISSING


def test_an_exemption_of_art_20_6_lifts_the_dossier_and_is_cited() -> None:
    late = world(READ).since("first_transfer", "VN", "2026-01-01")
    assert reason(ask(late, CITIZEN_IN_BERLIN), "SG") == "filing_missing"
    start, end = instant("2026-08-01", "+07:00"), instant("2026-12-31", "+07:00")
    ground = "art. 20(6), own employees' data on a cloud"
    waiver = Exemption("EX-3", frozenset({"vn.l91.20.2"}), "protection officer", ground, start, end)
    lifted = replace(late, facts=replace(late.facts, exemptions=(waiver,)))
    decision = ask(lifted, CITIZEN_IN_BERLIN)
    assert reason(decision, "SG") is None
    assert decision.exemptions == ("EX-3",)
    assert {ref.id for ref in decision.exempted} == {"vn.l91.20.2"}
    assert reason(ask(lifted, CITIZEN_IN_BERLIN, day="2027-01-01"), "SG") == "filing_missing"


def test_state_bodies_need_no_dossier_and_keep_their_data_at_home_all_the_same() -> None:
    body = world(READ, "{established_in: VN, public_body: true}").since("first_transfer", "VN", "2026-01-01")
    decision = ask(body, CITIZEN_IN_BERLIN)
    assert store(decision) == {"VN"}
    assert reason(decision, "SG") == "only_in_country"
    assert cited(decision, "SG") == {"vn.d163.30.1"}


def test_contradiction_core_by_volume_keeps_the_personal_data_path() -> None:
    grown = world(READ).escalated("vn.dec20.basic_core")
    big = ask(grown, CITIZEN_IN_BERLIN)
    assert "data.core" in big.duty.label  # the class has risen
    assert reason(big, "SG") is None  # on the clock of the dossier, without approval
    assert {"vn.d165.12", "vn.d165.12.core"} <= {ref.id for ref in big.outranked}
    late = grown.since("first_transfer", "VN", "2026-01-01")
    assert cited(ask(late, CITIZEN_IN_BERLIN), "SG") == {"vn.l91.20.2"}
    # What is core without being personal has no such path, and neither had anything before 2026.
    other = ask(world("data: core, operation: read"), RESIDENT)
    assert store(other) == {"VN"}
    assert cited(other, "SG") == {"vn.d165.12", "vn.d165.12.core"}
    assert store(ask(grown, CITIZEN_IN_BERLIN, day="2025-12-31")) == {"VN"}


def test_core_data_leaves_with_assessment_and_approval() -> None:
    core = world("data: core, operation: read").filing(filed("vn.data_transfer_assessment"))
    assert reason(ask(core), "SG") == "filing_missing"
    assert reason(ask(core.filing(filed("vn.core_data_approval"))), "SG") is None


def test_contradiction_the_office_duty_is_reported_and_not_decided() -> None:
    policy = world().policy()
    law = next(law for law in policy.laws if law.name == "vn/cybersecurity-116-2025")
    assert any("branch or office" in point for point in law.not_covered)
    assert not any("office" in rule.text for rule in law.rules)


def test_contradiction_relationship_data_is_recommended_or_required_by_the_reading() -> None:
    told = ask(world("data: relationship"))
    assert "SG" in store(told)
    assert {ref.id: ref.mode for ref in told.observed} == {"vn.l116.25.3.relationship": "warn"}
    assert "recommended" in told.observed[0].text
    bound = ask(world("data: relationship", readings={"vn.relationship_data": "law"}))
    assert store(bound) == {"VN"}
    assert cited(bound, "SG") == {"vn.l116.25.3.relationship_law"}


def test_contradiction_the_statutory_log_has_its_fields_and_the_audit_tree_none_of_them() -> None:
    duty = ask(world()).duty
    assert {"account", "login_time", "logout_time", "ip", "source_port", "content_handling"} <= duty.log
    assert any((r.category, r.months) == ("log", 12) for r in duty.retain)
    # The tree's entries have no field for any of them; they lie in the detail of the person's own country.
    fields = set(Entry.__dataclass_fields__)
    assert fields.isdisjoint(duty.log)
    assert not any("address" in name or "port" in name for name in fields - {"transport"})


def test_contradiction_citizen_abroad_and_foreigner_in_vietnam_have_the_union_of_duties() -> None:
    for operator, dossier in ((DOMESTIC, "vn.l91.20.2"), (FOREIGN, "vn.l91.20.2.foreign")):
        late = world(READ, operator).since("first_transfer", "VN", "2026-01-01")
        citizen = ask(late, CITIZEN_IN_BERLIN)
        assert (citizen.duty.copies, cited(citizen, "SG")) == (frozenset(), {dossier})
        assert not any(rule.startswith("vn.d333.19") for rule in cited(citizen))
    at_home, abroad = ask(world(READ), GERMAN_IN_HANOI), ask(world(READ, FOREIGN), GERMAN_IN_HANOI)
    assert at_home.duty.copies == {"VN"}
    assert {"vn.d333.19.2", "vn.l91.14"} <= cited(at_home)
    assert not any(rule.startswith("vn.l91") for rule in cited(abroad))
    both = ask(world(READ), RESIDENT)
    assert cited(at_home) <= cited(both)
    assert Conflict.COPY_OUTSIDE_ONLY not in both.duty.conflicts
