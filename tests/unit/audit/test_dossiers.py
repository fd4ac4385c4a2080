"""Dossiers: which filing is due until when, what it leaves out, and whether log and facts tell one first transfer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from residency.audit.dossiers import Dossier, State, dossiers
from residency.audit.transfers import Flow, FlowKey, Ground
from residency.model import Event, FactSet, Filing, FilingResult
from residency.policy.compiler import Policy
from tests.recorded_log import DAY
from tests.world import load_policy, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [sg]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
DOSSIER = """
  - id: test.dossier
    article: art. 20
    text: A dossier within 60 days.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}
  - id: test.sooner
    article: art. 21
    text: And within 30 where it is sensitive.
    applies: {anchor: territory, data: [sensitive], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 30 days, after: first_transfer}]}
  - id: test.home
    article: art. 22
    text: A filing for what never leaves.
    applies: {anchor: territory, data: [personal]}
    duty: {require: [{any: "filing:vn.processing_dossier", within: 60 days, after: in_use}]}
"""


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


FIRST = at("2026-09-01T10:00:00+00:00")
NOTED = FactSet(1, events=(Event("first_transfer", "VN", FIRST),))
FILED = Filing("vn.transfer_dossier", "7", FIRST + 20 * DAY, FilingResult.FILED)


def flow(sink: str = "sg", first: int = FIRST, rule: str = "test.dossier") -> Flow:
    key = FlowKey("VN", "POST /people", "write", ("personal",), "", sink, "sg", "SG", "SG", "SG", ("region",))
    return Flow(key, first, 0, first, 1, grounds={Ground((rule,), (), (), ()): 1})


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Dossier]:
    policy: list[Policy] = []

    def one(
        flows: list[Flow], facts: FactSet, now: int, rules: str = DOSSIER.partition("  - id: test.sooner")[0]
    ) -> Dossier:
        if not policy:
            policy.append(load_policy(write_deployment(tmp_path, DEPLOYMENT, (rules,))))
        (found,) = dossiers(policy[0], facts, flows, now)
        return found

    return one


Ask = Callable[..., Dossier]


def test_the_sixtieth_day_is_the_last_on_which_the_clock_runs(ask: Ask) -> None:
    found = ask([flow()], NOTED, FIRST + 59 * DAY)
    assert (found.state, found.days_since, found.days_left, found.term) == (State.CLOCK_RUNNING, 59, 1, "60-days")
    assert found.deadline == at("2026-11-01T00:00:00+00:00")
    found = ask([flow()], NOTED, found.deadline - 1)
    assert (found.state, found.days_since, found.days_left, list(found.problems())) == (State.CLOCK_RUNNING, 60, 0, [])
    found = ask([flow()], NOTED, found.deadline)
    assert (found.state, found.days_left) == (State.OVERDUE, -1)
    assert list(found.problems()) == ["vn.transfer_dossier (VN): overdue"]


def test_without_a_transfer_no_dossier_is_needed(ask: Ask) -> None:
    found = ask([], FactSet(0), FIRST)
    assert (found.state, found.began, found.deadline, found.days_left) == (State.NOT_NEEDED, None, None, None)
    elsewhere = flow(rule="test.of_another_law")
    assert ask([elsewhere], FactSet(0), FIRST).state is State.NOT_NEEDED


def test_an_event_that_another_instance_noted_earlier_starts_the_clock(ask: Ask) -> None:
    facts = FactSet(1, events=(Event("first_transfer", "VN", FIRST - 10 * DAY),))
    found = ask([flow()], facts, FIRST)
    assert (found.began, found.days_since, found.disagreement) == (FIRST - 10 * DAY, 10, None)


@pytest.mark.parametrize("noted", [None, FIRST + DAY])
def test_a_transfer_before_the_event_that_stands_is_told_and_starts_the_clock(ask: Ask, noted: int | None) -> None:
    events = () if noted is None else (Event("first_transfer", "VN", noted),)
    found = ask([flow()], FactSet(1, events=events), FIRST + 2 * DAY)
    assert (found.began, found.days_since) == (FIRST, 2)
    assert found.disagreement == ("dossier_event_not_noted" if noted is None else "dossier_event_later_than_the_log")
    assert len(list(found.problems())) == 1


def test_an_event_that_a_register_expects_has_not_happened(ask: Ask) -> None:
    facts = FactSet(1, events=(Event("first_transfer", "VN", FIRST + 5 * DAY),))
    found = ask([], facts, FIRST)
    assert (found.state, found.noted) == (State.NOT_NEEDED, None)


def test_what_was_filed_before_the_first_transfer_starts_no_clock(ask: Ask) -> None:
    found = ask([flow(first=FIRST + 30 * DAY)], FactSet(1, (FILED,)), FIRST + 40 * DAY)
    assert (found.state, found.disagreement) == (State.FILED, None)


@pytest.mark.parametrize(
    ("result", "state", "amiss"),
    [(FilingResult.PASSED, State.PASSED, 0), (FilingResult.FAILED, State.FAILED, 2),
     (FilingResult.SUSPENDED, State.SUSPENDED, 2)],
)  # fmt: skip
def test_the_newest_result_of_a_filing_is_the_state(ask: Ask, result: FilingResult, state: State, amiss: int) -> None:
    later = replace(FILED, changes=((FILED.date + DAY, result),))
    facts = replace(NOTED, filings=(later,))
    assert ask([flow()], facts, FILED.date).state is State.FILED
    found = ask([flow()], facts, FILED.date + 2 * DAY)
    assert (found.state, len(list(found.problems()))) == (state, amiss)
    assert (
        ask([flow()], replace(NOTED, filings=(replace(FILED, expires=FILED.date + DAY),)), FILED.date + 2 * DAY).state
        is State.EXPIRED
    )


def test_flows_that_no_standing_filing_names_are_listed(ask: Ask) -> None:
    facts = replace(NOTED, filings=(replace(FILED, sinks=frozenset({"sg"})),))
    found = ask([flow("sg"), flow("us")], facts, FIRST + 40 * DAY)
    assert [f.key.sink for f in found.not_mentioned] == ["us"]
    assert list(found.problems()) == [
        "vn.transfer_dossier (VN): no filing that stands mentions: POST /people > us"
    ]  # fmt: skip
    assert found.data()["not_mentioned"] == [["POST /people", "us"]]
    for_all = ask([flow("sg"), flow("us")], replace(NOTED, filings=(FILED,)), FIRST + 40 * DAY)
    assert for_all.not_mentioned == ()


def test_flows_that_began_after_the_filing_are_pointed_out(ask: Ask) -> None:
    found = ask([flow(), flow("us", FIRST + 30 * DAY)], replace(NOTED, filings=(FILED,)), FIRST + 40 * DAY)
    assert [f.key.sink for f in found.begun_after] == ["us"]


def test_of_several_terms_for_one_filing_the_shortest_counts_and_others_are_not_of_transfers(ask: Ask) -> None:
    found = ask([flow()], NOTED, FIRST, rules=DOSSIER)
    assert (found.rules, found.term) == (("test.dossier", "test.sooner"), "30-days")
    assert found.deadline == at("2026-10-02T00:00:00+00:00")


def test_a_dossier_that_was_filed_after_its_term_is_late(ask: Ask) -> None:
    facts = replace(NOTED, filings=(replace(FILED, date=FIRST + 61 * DAY),))
    found = ask([flow()], facts, FIRST + 62 * DAY)
    assert (found.state, found.late, list(found.problems())) == (
        State.FILED, True, ["vn.transfer_dossier (VN): filed after its term"]
    )  # fmt: skip
    assert not ask([flow()], replace(NOTED, filings=(FILED,)), FIRST + 62 * DAY).late
