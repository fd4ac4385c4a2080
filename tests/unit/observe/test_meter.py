"""The enforcement point's meter counts each decision in the series that belong to it."""

from __future__ import annotations

import pytest

from residency.model import Activity, Anchor, Decision, Duty, Effect, Finding, Operation, Reason, SubjectSource
from residency.observe import names
from residency.observe.cells import Metrics
from residency.observe.meter import DecisionMeter


def decision(jurisdiction: str, effect: Effect = Effect.PERMIT, reason: Reason | None = None) -> Decision:
    activity = Activity(
        name="POST /v1/chat",
        method="POST",
        path="/v1/chat",
        subject=SubjectSource("jwt", "sub"),
        data=frozenset({"content"}),
        operation=Operation.PROCESS,
        stores=("chat",),
    )
    return Decision(
        activity=activity,
        effect=effect,
        mode="enforce",
        reason=reason,
        duty=Duty(),
        sinks=(),
        rules=(),
        observed=(),
        jurisdictions=(jurisdiction,),
        presumed=(),
        finding=Finding(),
        evidence=frozenset(),
        policy="0" * 64,
        epoch=1,
    )


def test_the_same_decision_and_an_equal_one_count_in_the_same_series() -> None:
    metrics = Metrics()
    meter = DecisionMeter(metrics)
    refused = decision("VN", Effect.DENY, Reason.NOT_HOME)
    for counted in (refused, refused, decision("VN", Effect.DENY, Reason.NOT_HOME)):
        meter.decided(counted)
    assert metrics.value(names.DECISIONS, "VN", "deny", "chat") == 3
    assert metrics.value(names.REFUSALS, "not_home") == 3


def test_a_claim_that_cannot_be_read_is_counted_each_time_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    meter = DecisionMeter(metrics)
    for anchor in (Anchor.CITIZENSHIP, Anchor.RESIDENCE, Anchor.CITIZENSHIP):
        meter.unread_claim(anchor)
    assert metrics.value(names.UNREAD_CLAIMS, "citizenship") == 2
    assert metrics.value(names.UNREAD_CLAIMS, "residence") == 1
    assert [record.message.split(" names ")[0] for record in caplog.records] == [
        "a claim that says citizenship",
        "a claim that says residence",
    ]


def test_distinct_decisions_never_share_cells_however_many_come_and_go() -> None:
    metrics = Metrics()
    meter = DecisionMeter(metrics)
    for number in range(2_000):
        meter.decided(decision("VN" if number % 2 else "SG"))
    assert metrics.value(names.DECISIONS, "VN", "permit", "chat") == 1_000
    assert metrics.value(names.DECISIONS, "SG", "permit", "chat") == 1_000
