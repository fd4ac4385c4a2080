"""What is remembered answers as it did at first: across slices, past the bound, with many threads, for new objects."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from residency.model import AnchorFinding, FactSet, Finding, Trust
from residency.policy import memo
from residency.policy.compiler import Policy
from tests.policy_oracle import answer, compiled, expected
from tests.policy_worlds import World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(116, 120)


@pytest.fixture
def policy(world: World) -> Policy:
    return compiled(world)


def test_a_slice_that_time_comes_back_to_has_its_decisions_still(world: World, policy: Policy) -> None:
    asked = replace(world.questions[0], requested=None, collected=None)
    first = answer(policy, asked)
    edges = policy.boundaries(asked.facts)
    for now in (*edges, *reversed(edges)):
        answer(policy, replace(asked, now=now))
    assert answer(policy, asked) is first


def test_equal_findings_of_other_objects_share_a_decision(policy: Policy) -> None:
    activity, facts = policy.deployment.activities[0], policy.facts
    one, two = (Finding(AnchorFinding(frozenset({"VN"}), trust=Trust.NETWORK)) for _ in range(2))
    first = policy.decide(activity, one, frozenset(), facts, 5)
    assert policy.decide(activity, two, frozenset({"x:y"}), facts, 5) is first


def test_an_activity_of_the_same_name_is_not_taken_for_the_one_that_was_asked_about(policy: Policy) -> None:
    own, facts, nothing = policy.deployment.activities[0], policy.facts, frozenset[str]()
    other = replace(own, path="/elsewhere", stores=())
    table, finding = policy.table(facts, 5), Finding()
    for activity in (own, other, own, replace(own)):
        for decision in (
            policy.decide(activity, finding, nothing, facts, 5), table.decide(activity, finding, nothing)
        ):  # fmt: skip
            assert decision.activity == activity


def test_an_equal_set_of_facts_of_another_object_keeps_the_slice(policy: Policy) -> None:
    activity, facts = policy.deployment.activities[0], policy.facts
    first = policy.decide(activity, Finding(), frozenset(), facts, 5)
    assert policy.decide(activity, Finding(), frozenset(), replace(facts), 5) is first
    assert policy.decide(activity, Finding(), frozenset(), replace(facts, epoch=9), 5).epoch == 9


def test_past_its_bound_it_forgets_and_answers_the_same(
    world: World, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "MEMO", 7)
    monkeypatch.setattr(memo, "_TABLES", 2)
    for asked in (*world.questions, *reversed(world.questions)):
        assert answer(policy, asked) == expected(world, asked)
        table = policy.table(asked.facts, asked.now, asked.requested, asked.collected)
        assert len(table.known) <= 7


def test_a_new_finding_in_the_memory_of_a_dead_one_is_not_taken_for_it(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memo, "MEMO", 5)
    activity, facts = policy.deployment.activities[0], policy.facts
    for number in range(300):
        place = ("VN", "DE", "US")[number % 3]
        finding = Finding(AnchorFinding(frozenset({place}), trust=Trust.NETWORK), strategy=f"s{number % 50}")
        assert policy.decide(activity, finding, frozenset(), facts, 5).finding == finding
        del finding
        if number % 100 == 0:
            gc.collect()


def test_threads_that_cross_boundaries_together_get_what_each_asks(world: World, policy: Policy) -> None:
    right = [(asked, expected(world, asked)) for asked in world.questions]

    def ask(start: int) -> bool:
        turned = right[start:] + right[:start]
        return all(answer(policy, asked) == decision for _ in range(4) for asked, decision in turned)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, (0, 30, 60, 90)))


@pytest.mark.parametrize("now", [-(10**30), -1, 0, 10**30])
def test_every_instant_lies_in_a_slice(policy: Policy, now: int) -> None:
    table = policy.table(FactSet(0), now)
    assert table.start <= now < table.end
    assert policy.table(FactSet(0), now) is table
