"""Decisions on the shipped Vietnamese laws: at the dates that matter, for the people that matter."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.errors import PolicyError
from residency.model import (
    Activity,
    AnchorFinding,
    Decision,
    Effect,
    FactSet,
    Filing,
    FilingResult,
    Finding,
    Reason,
    StopOrder,
    Trust,
)
from residency.policy.compiler import Policy, compile_policy
from residency.policy.times import instant

ROOT = Path(__file__).resolve().parents[3]
VN = Finding(AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK))
US = Finding(AnchorFinding(frozenset({"US"}), trust=Trust.NETWORK))
VIETNAMESE_IN_US = replace(US, citizenship=AnchorFinding(frozenset({"VN"}), trust=Trust.VERIFIED))
NOW = instant("2026-09-01", "+00:00")
PHONE = frozenset({"identity:phone"})


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(ROOT / "policies" / "deployments" / "social-api.yaml", {})


def ask(
    policy: Policy,
    method: str,
    path: str,
    finding: Finding,
    evidence: frozenset[str] = frozenset(),
    facts: FactSet | None = None,
    now: int = NOW,
) -> Decision:
    activity: Activity | None = policy.activities.match(method, path, None).activity
    return policy.decide(activity, finding, evidence, policy.facts if facts is None else facts, now)


def test_a_vietnamese_record_is_written_in_vietnam_and_not_in_singapore(policy: Policy) -> None:
    decision = ask(policy, "POST", "/v1/people", VN)
    assert decision.permitted
    assert [v.sink.name for v in decision.sinks] == ["people-vn", "people-sg"]
    refused = decision.sinks[1]
    assert refused.reason is Reason.NOT_HOME
    assert [rule.id for rule in refused.rules] == ["vn.l116.25.3", "vn.d333.19.2"]
    assert decision.duty.copies == {"VN"}


def test_an_american_is_not_presumed_vietnamese(policy: Policy) -> None:
    decision = ask(policy, "POST", "/v1/people", US)
    assert decision.jurisdictions == ()
    assert all(v.effect is Effect.PERMIT for v in decision.sinks)


def test_a_vietnamese_abroad_needs_the_dossier_but_not_the_copy(policy: Policy) -> None:
    decision = ask(policy, "POST", "/v1/people", VIETNAMESE_IN_US)
    abroad = decision.sink("people-sg")
    assert abroad is not None
    assert abroad.reason is Reason.FILING_MISSING
    assert decision.duty.copies == frozenset()


def test_where_no_signal_speaks_vietnam_covers_by_presumption(policy: Policy) -> None:
    decision = ask(policy, "POST", "/v1/people", Finding())
    assert decision.jurisdictions == ("VN",)
    assert "VN:territory" in decision.presumed


def test_an_unverified_account_may_not_post_and_a_verified_one_may(policy: Policy) -> None:
    refused = ask(policy, "POST", "/v1/posts", VN)
    assert (refused.effect, refused.reason) == (Effect.DENY, Reason.IDENTITY_MISSING)
    assert [rule.id for rule in refused.rules] == ["vn.d147.23.3.e", "vn.d333.16.2"]
    assert refused.unmet == (frozenset({"identity:phone", "identity:national_id", "identity:eid"}),)
    assert ask(policy, "POST", "/v1/posts", VN, PHONE).permitted


@pytest.mark.parametrize(
    ("day", "rules"),
    [
        ("2026-06-15", set()),
        ("2026-07-15", {"vn.l116.25.3"}),
        ("2026-09-01", {"vn.l116.25.3", "vn.d333.19.2"}),
        ("2027-01-15", {"vn.l116.25.3", "vn.d333.19.2"}),
    ],
)
def test_the_answer_follows_the_timeline(policy: Policy, day: str, rules: set[str]) -> None:
    decision = ask(policy, "POST", "/v1/people", VN, now=instant(day, "+00:00"))
    assert {r.id for r in decision.rules} & {"vn.l116.25.3", "vn.d333.19.2"} == rules


def test_a_law_begins_at_midnight_in_hanoi(policy: Policy) -> None:
    begin = instant("2026-08-19", "+07:00")
    for now, begun in ((begin - 1, False), (begin, True), (begin - 1, False)):
        decision = ask(policy, "POST", "/v1/people", VN, now=now)
        assert ("vn.d333.19.2" in {r.id for r in decision.rules}) == begun


def test_a_filed_dossier_opens_the_way_for_reads_and_expires(policy: Policy) -> None:
    day = 86_400_000_000
    filing = Filing("vn.transfer_dossier", "1", NOW, FilingResult.FILED, NOW + day)
    facts = FactSet(1, (filing,))
    for now, reason in ((NOW - 1, Reason.FILING_MISSING), (NOW, None), (NOW + day, Reason.FILING_MISSING)):
        verdict = ask(policy, "GET", "/v1/people/1", VN, facts=facts, now=now).sink("people-sg")
        assert verdict is not None
        assert verdict.reason is reason


def test_facts_that_move_take_the_old_answer_back_even_under_one_epoch(policy: Policy) -> None:
    filed = FactSet(0, (Filing("vn.transfer_dossier", "1", 0, FilingResult.PASSED),))
    stopped = replace(filed, stop_orders=(StopOrder("2", "*", NOW),))
    for facts, reason in (
        (policy.facts, Reason.FILING_MISSING), (filed, None), (stopped, Reason.STOP_ORDER), (filed, None),
    ):  # fmt: skip
        verdict = ask(policy, "GET", "/v1/people/1", VN, facts=facts).sink("people-sg")
        assert verdict is not None
        assert verdict.reason is reason


def test_erasing_abroad_needs_no_dossier(policy: Policy) -> None:
    verdict = ask(policy, "DELETE", "/v1/people/1", VN).sink("people-sg")
    assert verdict is not None
    assert verdict.effect is Effect.PERMIT


def test_a_route_that_nobody_named_is_denied(policy: Policy) -> None:
    decision = ask(policy, "GET", "/nope", VN)
    assert (decision.effect, decision.reason, decision.sinks) == (Effect.DENY, Reason.UNCLASSIFIED_ROUTE, ())


def test_low_confidence_never_binds(policy: Policy) -> None:
    assert all(r.mode != "enforce" for law in policy.laws for r in law.rules if r.confidence == "low")


def test_every_rule_carries_its_article_source_and_both_texts(policy: Policy) -> None:
    for law in policy.laws:
        for rule in law.rules:
            assert re.match(r"art\. |list|on [A-Za-z]|as reported", rule.article), rule.id
            assert rule.source
            assert rule.text
            assert rule.text_vi
            assert rule.checked == "2026-11-21"


def test_a_memoised_decision_is_the_same_object(policy: Policy) -> None:
    assert ask(policy, "POST", "/v1/people", VN) is ask(policy, "POST", "/v1/people", replace(VN), frozenset({"x:y"}))


def compile_with(policy: Policy, **changes: object) -> Policy:
    return compile_policy(replace(policy.deployment, **changes), policy.laws, [], "d")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("vn/decree-333-2025", "; did you mean `vn/decree-333-2026`? vn/ has "),
        ("vn/decree-334", "; did you mean `vn/decree-333-2026`? vn/ has "),  # not the shorter vn/decree-13-2023
        ("VN/nothing-like-it", "; vn/ has "),
        ("xx/nothing-like-it", "; known: "),
    ],
)
def test_an_unknown_law_is_named_with_the_nearest_and_what_its_country_has(
    policy: Policy, name: str, told: str
) -> None:
    with pytest.raises(PolicyError, match=re.escape(f"unknown law `{name}`{told}")):
        compile_with(policy, laws=(name,))


def test_a_mode_for_an_unknown_rule_is_a_problem(policy: Policy) -> None:
    with pytest.raises(PolicyError, match=r"unknown rule `vn\.d333\.19\.9`; did you mean `vn\.d333\.19\.[2-6]`"):
        compile_with(policy, modes={"vn.d333.19.9": "observe"})


def test_a_deployment_may_turn_a_rule_to_observe_in_words(policy: Policy) -> None:
    gates = {"vn.d333.16.2", "vn.d147.23.3.e"}
    decision = ask(compile_with(policy, modes=dict.fromkeys(gates, "observe")), "POST", "/v1/posts", VN)
    assert decision.permitted
    assert gates <= {rule.id for rule in decision.observed}
    assert "vn.d333.16.2" not in [rule.id for rule in decision.rules]


def with_rules(policy: Policy, **overrides: frozenset[str]) -> Policy:
    laws = tuple(
        replace(
            law,
            rules=tuple(replace(r, overrides=overrides.get(r.id.replace(".", "_"), frozenset())) for r in law.rules),
        )
        for law in policy.laws
    )
    return compile_policy(policy.deployment, laws, [], "d")


def test_an_override_takes_out_the_rule_it_names(policy: Policy) -> None:
    changed = with_rules(policy, vn_d333_20_3=frozenset({"vn.d333.16.2", "vn.d147.23.3.e"}))
    decision = ask(changed, "POST", "/v1/posts", VN)
    assert decision.permitted
    assert "vn.d333.16.2" not in {r.id for r in decision.rules}
    assert "vn.d333.20.3" in {r.id for r in decision.rules}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"vn_d333_19_2": frozenset({"vn.d333.99"})}, "unknown rule `vn.d333.99`"),
        ({"vn_l91_20_2": frozenset({"vn.d333.19.2"})}, "a rule about sinks cannot override"),
        ({"vn_d333_19_2": frozenset({"vn.d333.19.2"})}, "override each other"),
        ({"vn_d333_19_2": frozenset({"vn.d333.20.1"}), "vn_d333_20_1": frozenset({"vn.d333.19.2"})}, "each other"),
    ],
)
def test_an_override_that_cannot_be_meant_is_a_problem(
    policy: Policy, overrides: dict[str, frozenset[str]], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        with_rules(policy, **overrides)


def _lifted_by(policy: Policy, tokens: int) -> Policy:
    """The policy with one law more, whose one article stands once for each of so many `unless`."""
    base = next(law for law in policy.laws if law.name == "vn/decree-333-2026")
    rule = next(r for r in base.rules if r.id == "vn.d333.19.2")
    rules = tuple(replace(rule, id=f"l.{n}", unless=frozenset({f"age:band_{n}"})) for n in range(tokens))
    return compile_policy(policy.deployment, (*policy.laws, replace(base, name="vn/l", rules=rules)), [], "d")


def test_too_many_cells_are_a_problem_that_names_what_is_tested(policy: Policy) -> None:
    assert _lifted_by(policy, 11).rule("l.10") is not None  # with the one anchor, 12 predicates: 4,096 cells
    with pytest.raises(PolicyError) as caught:
        _lifted_by(policy, 12)
    first = caught.value.problems[0]
    assert "activity `POST /v1/people`: law `vn/l` would need 8192 table cells, over the cap of 4096" in first.message
    assert "it tests territory, unless age:band_0, unless age:band_1, unless age:band_10," in first.message
    # Posts have data that the article is not about: only the activities that meet it are named.
    assert len(caught.value.problems) == 4
