"""The shipped laws of Vietnam, asked as a lawyer would: whom, on which day, for which operator, what is only told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.model import Anchor, AnchorFinding, Decision, Finding, Order, Presume, Reason, Term, Trust
from residency.model.calendar import deadline
from residency.policy.compiler import Policy, compile_policy
from residency.policy.times import instant

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3_600_000_000


def at(place: str, trust: Trust = Trust.NETWORK) -> AnchorFinding:
    return AnchorFinding(frozenset({place}), trust=trust)


def person(where: str, citizen: str | None = None, lives: str | None = None) -> Finding:
    finding = Finding(territory=at(where), collection=at(where))
    if citizen is not None:
        finding = replace(finding, citizenship=at(citizen, Trust.VERIFIED))
    return finding if lives is None else replace(finding, residence=at(lives, Trust.VERIFIED))


RESIDENT = person("VN")
CITIZEN_IN_BERLIN = person("DE", "VN", "DE")
GERMAN_IN_HANOI = person("VN", "DE", "DE")
AMERICAN = person("US")
UNKNOWN = Finding()


@pytest.fixture(scope="module")
def domestic() -> Policy:
    return load(ROOT / "policies" / "deployments" / "social-api.yaml", {})


@pytest.fixture(scope="module")
def foreign(domestic: Policy) -> Policy:
    operator = replace(domestic.deployment.operator, established_in=frozenset({"US"}))
    return compile_policy(replace(domestic.deployment, operator=operator), domestic.laws, [], "d")


def ask(policy: Policy, day: str, who: Finding, route: str = "POST /v1/people", moment: int | None = None) -> Decision:
    method, path = route.split()
    now = instant(day, "+07:00") if moment is None else moment
    return policy.decide(policy.activities.match(method, path, None).activity, who, frozenset(), policy.facts, now)


def permitted(decision: Decision) -> set[str]:
    return {verdict.sink.name for verdict in decision.sinks if verdict.effect.word == "permit"}


def cited(decision: Decision) -> set[str]:
    return {rule.id for rule in decision.rules} | {rule.id for v in decision.sinks for rule in v.rules}


DAYS = ("2026-06-15", "2026-07-15", "2026-09-01", "2027-01-15")


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("who", [RESIDENT, CITIZEN_IN_BERLIN, GERMAN_IN_HANOI, UNKNOWN])
def test_a_domestic_operator_keeps_whoever_vietnam_covers_in_vietnam_on_every_day(
    domestic: Policy, day: str, who: Finding
) -> None:
    assert permitted(ask(domestic, day, who)) == {"people-vn"}


@pytest.mark.parametrize("day", DAYS)
def test_a_visitor_from_the_us_is_under_no_vietnamese_law(domestic: Policy, foreign: Policy, day: str) -> None:
    for policy in (domestic, foreign):
        decision = ask(policy, day, AMERICAN)
        assert permitted(decision) == {"people-vn", "people-sg"}
        assert decision.jurisdictions == ()
        assert decision.rules == ()
        assert decision.observed == ()


CYBER = ("vn.l24", "vn.d53", "vn.l116", "vn.d330", "vn.d331", "vn.d333")
PERSONAL = {"vn.d356.5", "vn.d356.12", "vn.l91.14", "vn.l91.21", "vn.l91.23"}


@pytest.mark.parametrize(
    ("day", "rules"),
    [
        ("2026-06-15", {"vn.d53.26.2", "vn.d53.27", "vn.d53.27.log"}),
        ("2026-07-15", {"vn.l116.25.3"}),
        (
            "2026-09-01",
            {
                "vn.l116.25.3", "vn.d330.34.1.c", "vn.d331.31.2.d", "vn.d333.16.3", "vn.d333.19.2", "vn.d333.19.4",
                "vn.d333.19.5", "vn.d333.20.1", "vn.d333.20.3",
            },
        ),
    ],
)  # fmt: skip
def test_the_instrument_in_force_on_the_day_is_cited_and_no_other(domestic: Policy, day: str, rules: set[str]) -> None:
    found = {rule.id for rule in ask(domestic, day, RESIDENT).rules}
    assert {rule for rule in found if rule.startswith(CYBER)} == rules
    assert found - rules == PERSONAL


@pytest.mark.parametrize("who", [RESIDENT, GERMAN_IN_HANOI])
def test_the_answer_at_four_dates_is_that_of_the_timeline(domestic: Policy, foreign: Policy, who: Finding) -> None:
    # A foreign operator stores in Vietnam only while the statute stood alone; a domestic one always. What is kept, what
    # is logged and who may post change with the decree.
    told = {day: (ask(domestic, day, who), ask(foreign, day, who)) for day in DAYS}
    assert all(at_home.duty.copies == {"VN"} for at_home, _ in told.values())
    assert {day for day, (_, abroad) in told.items() if abroad.duty.copies} == {"2026-07-15"}
    floors = {
        day: {(r.category, r.months, r.start) for r in at_home.duty.retain if r.bound == "at_least" and r.months}
        for day, (at_home, _) in told.items()
    }
    assert ("log", 12, "creation") in floors["2026-06-15"]
    assert ("personal", 24, "order") in floors["2026-06-15"]
    assert floors["2026-07-15"] == set()
    assert {("personal", 24, "last_use"), ("personal", 24, "account_end")} <= floors["2026-09-01"]
    assert floors["2026-09-01"] == floors["2027-01-15"]
    logs = {day: "source_port" in at_home.duty.log for day, (at_home, _) in told.items()}
    assert logs == {"2026-06-15": False, "2026-07-15": False, "2026-09-01": True, "2027-01-15": True}


def test_laws_begin_and_end_at_midnight_in_hanoi(domestic: Policy) -> None:
    begins = instant("2026-08-19", "+00:00") - 7 * HOUR
    before = cited(ask(domestic, "", RESIDENT, moment=begins - 1))
    after = cited(ask(domestic, "", RESIDENT, moment=begins))
    assert not any(rule.startswith("vn.d333") for rule in before)
    assert "vn.d333.19.2" in after
    ended = instant("2026-07-01", "+00:00") - 7 * HOUR
    assert "vn.d53.26.2" in cited(ask(domestic, "", RESIDENT, moment=ended - 1))
    assert "vn.l116.25.3" in cited(ask(domestic, "", RESIDENT, moment=ended))


def test_account_data_of_a_citizen_abroad_is_personal_and_needs_a_dossier_to_leave(
    domestic: Policy, foreign: Policy
) -> None:
    for policy, rule in ((domestic, "vn.l91.20.2"), (foreign, "vn.l91.20.2.foreign")):
        decision = ask(policy, "2026-09-01", CITIZEN_IN_BERLIN, "POST /v1/posts")
        assert permitted(decision) == {"people-vn"}
        abroad = decision.sink("people-sg")
        assert abroad is not None
        assert abroad.reason is Reason.FILING_MISSING
        assert [ref.id for ref in abroad.rules] == [rule]


@pytest.mark.parametrize("day", DAYS[2:])
def test_a_foreign_operator_needs_no_copy_in_vietnam_until_the_minister_decides(foreign: Policy, day: str) -> None:
    decision = ask(foreign, day, GERMAN_IN_HANOI)
    assert permitted(decision) == {"people-vn", "people-sg"}
    assert not any(rule.startswith("vn.d333.19") for rule in cited(decision))


def test_twelve_months_after_the_ministers_decision_a_foreign_operator_stores_in_vietnam(foreign: Policy) -> None:
    order = Order("vn.localisation_decision", "1", instant("2026-10-01", "+07:00"))
    facts = replace(foreign.facts, epoch=1, orders=(order,))
    activity = foreign.deployment.activities[0]

    def on(day: str) -> Decision:
        return foreign.decide(activity, GERMAN_IN_HANOI, frozenset(), facts, instant(day, "+07:00"))

    told = on("2026-10-01")
    assert permitted(told) == {"people-vn", "people-sg"}
    assert "localisation.comply" in {deadline.task for deadline in told.duty.deadlines}
    assert ("personal", 24, "order") in {(r.category, r.months, r.start) for r in told.duty.retain}
    assert permitted(on("2027-10-01")) == {"people-vn", "people-sg"}  # the term's last day runs out at its midnight
    assert permitted(on("2027-10-02")) == {"people-vn"}
    lifted = replace(facts, epoch=2, orders=(replace(order, lifted=instant("2028-01-01", "+07:00")),))
    later = foreign.decide(activity, GERMAN_IN_HANOI, frozenset(), lifted, instant("2028-01-01", "+07:00"))
    assert permitted(later) == {"people-vn", "people-sg"}


def test_the_statute_alone_bound_foreign_operators_too(foreign: Policy) -> None:
    assert permitted(ask(foreign, "2026-07-15", GERMAN_IN_HANOI)) == {"people-vn"}


def test_the_personal_data_law_asks_a_foreign_operator_for_citizens_only(foreign: Policy) -> None:
    for who in (GERMAN_IN_HANOI, AMERICAN):
        decision = ask(foreign, "2026-09-01", who)
        assert not any(rule.startswith("vn.l91") for rule in cited(decision))
        assert not any(rule.id.startswith("vn.l91") for rule in decision.observed)
    assert "vn.l91.14.foreign" in cited(ask(foreign, "2026-09-01", CITIZEN_IN_BERLIN))


def test_a_domestic_operator_erases_for_a_german_in_hanoi_as_for_a_citizen(domestic: Policy) -> None:
    for who in (RESIDENT, CITIZEN_IN_BERLIN, GERMAN_IN_HANOI):
        assert "vn.l91.14" in cited(ask(domestic, "2026-09-01", who))


def test_relationships_bind_until_the_decree_and_are_recommended_after_it(domestic: Policy) -> None:
    activity = replace(domestic.deployment.activities[0], data=frozenset({"relationship"}))

    def told(day: str) -> Decision:
        return domestic.decide(activity, RESIDENT, frozenset(), domestic.facts, instant(day, "+07:00"))

    assert permitted(told("2026-06-15")) == permitted(told("2026-07-15")) == {"people-vn"}
    after = told("2026-08-19")
    assert permitted(after) == {"people-vn", "people-sg"}
    assert "vn.l116.25.3.relationship" in {rule.id for rule in after.observed}


def test_posting_needs_a_verified_account_on_social_networks_first_and_everywhere_from_the_decree_on(
    domestic: Policy, foreign: Policy
) -> None:
    for policy in (domestic, foreign):
        assert ask(policy, "2024-12-24", RESIDENT, "POST /v1/posts").permitted
        assert ask(policy, "2024-12-25", RESIDENT, "POST /v1/posts").reason is Reason.IDENTITY_MISSING
        other = replace(policy.deployment.operator, service_lines=frozenset({"online_applications"}))
        policy = compile_policy(replace(policy.deployment, operator=other), policy.laws, [], "d")
        assert ask(policy, "2026-08-18", RESIDENT, "POST /v1/posts").permitted
        assert ask(policy, "2026-08-19", RESIDENT, "POST /v1/posts").reason is Reason.IDENTITY_MISSING
        assert ask(policy, "2026-08-19", CITIZEN_IN_BERLIN, "POST /v1/posts").permitted


def test_nobody_is_presumed_vietnamese_because_nobody_asked(domestic: Policy) -> None:
    assert dict(domestic.deployment.presume)[Anchor.CITIZENSHIP] is Presume.AS_RESIDENCE
    assert ask(domestic, "2026-09-01", person("DE")).jurisdictions == ()


# High-confidence rules that only record, because the facts themselves say that they do not bind anybody.
RECORDED = {
    "vn.l24.26.3": "not enforced in practice",
    "vn.dir57.state": "not directly enforceable",
    "vn.dir57.state.transfer": "not directly enforceable",
    "vn.dir57.ai": "not directly enforceable",
    "vn.dir57.identity": "not directly enforceable",
}


def test_no_rule_of_low_confidence_binds_and_says_so_and_no_sure_one_only_records(domestic: Policy) -> None:
    for law in domestic.laws:
        for rule in law.rules:
            if rule.confidence == "low":
                assert rule.mode in ("observe", "warn"), rule.id
                assert "onfidence" in rule.note, rule.id
            if rule.confidence == "high" and rule.mode == "observe":
                assert RECORDED[rule.id] in rule.note.lower(), rule.id


def test_every_rule_has_its_article_source_date_and_both_languages(domestic: Policy) -> None:
    for law in domestic.laws:
        assert law.title_vi, law.name
        assert "not legal advice" in law.note.lower(), law.name
        for rule in law.rules:
            assert all((rule.text_vi, rule.text, rule.article, rule.source)), rule.id
            assert rule.checked == "2026-11-21", rule.id


def test_vietnams_working_days_know_tet_and_national_day(domestic: Policy) -> None:
    law = next(law for law in domestic.laws if law.name == "vn/decree-356-2025")
    counted = {law.name for law in domestic.laws for rule in law.rules for d in rule.duty.deadlines if d.term.working}
    calendars = {law.calendar.holidays for law in domestic.laws if law.name in counted}
    assert calendars == {law.calendar.holidays}
    asked = instant("2026-02-13", "+07:00")  # the Friday before Tet: Monday to Friday are off
    assert deadline(asked, Term(days=2, working=True), law.calendar) == instant("2026-02-25", "+07:00")
