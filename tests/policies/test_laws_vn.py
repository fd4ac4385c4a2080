"""The shipped laws of Vietnam, asked as a lawyer would: whom, on which day, for which operator, what is only told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.model import Anchor, AnchorFinding, Decision, Finding, Presume, Reason, Trust
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


@pytest.mark.parametrize(
    ("day", "rules"),
    [
        ("2026-06-15", {"vn.d53.26.2", "vn.d53.27", "vn.d53.27.log", "vn.l91.20.2", "vn.l91.14"}),
        ("2026-07-15", {"vn.l116.25.3", "vn.l91.20.2", "vn.l91.14"}),
        (
            "2026-09-01",
            {"vn.l116.25.3", "vn.d333.19.2", "vn.d333.20.1", "vn.d333.20.3", "vn.l91.20.2", "vn.l91.14"},
        ),
    ],
)
def test_the_instrument_in_force_on_the_day_is_cited_and_no_other(domestic: Policy, day: str, rules: set[str]) -> None:
    found = cited(ask(domestic, day, RESIDENT))
    assert found - {"vn.l91.20.2"} == rules - {"vn.l91.20.2"}


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
    assert {rule.id for rule in decision.observed} == {"vn.d333.19.3", "vn.d333.20.1.foreign"}
    ordered = compile_policy(
        replace(foreign.deployment, modes={"vn.d333.19.3": "enforce", "vn.d333.20.1.foreign": "enforce"}),
        foreign.laws,
        [],
        "d",
    )
    assert permitted(ask(ordered, day, GERMAN_IN_HANOI)) == {"people-vn"}


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


def test_posting_needs_a_verified_account_from_the_decree_on(domestic: Policy, foreign: Policy) -> None:
    for policy in (domestic, foreign):
        assert ask(policy, "2026-08-18", RESIDENT, "POST /v1/posts").permitted
        assert ask(policy, "2026-08-19", RESIDENT, "POST /v1/posts").reason is Reason.IDENTITY_MISSING
        assert ask(policy, "2026-08-19", CITIZEN_IN_BERLIN, "POST /v1/posts").permitted


def test_nobody_is_presumed_vietnamese_because_nobody_asked(domestic: Policy) -> None:
    assert dict(domestic.deployment.presume)[Anchor.CITIZENSHIP] is Presume.AS_RESIDENCE
    assert ask(domestic, "2026-09-01", person("DE")).jurisdictions == ()


def test_no_rule_of_low_confidence_binds_and_every_rule_speaks_vietnamese(domestic: Policy) -> None:
    for law in domestic.laws:
        assert law.title_vi
        for rule in law.rules:
            assert rule.confidence != "low" or rule.mode != "enforce", rule.id
            assert all((rule.text_vi, rule.text, rule.article)), rule.id
