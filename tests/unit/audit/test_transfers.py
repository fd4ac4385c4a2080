"""Transfers: what went abroad is counted once, with where to and why; what did not happen or has no place is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from residency.audit import transfers
from residency.audit.entry import Entry
from residency.audit.transfers import Flow, Transfers
from residency.enforcement.current import READ_FROM
from residency.model import FactSet
from residency.policy.archive import facts_digest
from residency.policy.compiler import Policy
from tests.recorded_log import DAY, IN_SINGAPORE, IN_VIETNAM, RecordedLog
from tests.world import load_policy, write_deployment

START = 1_788_000_000_000_000  # 2026-08-29
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  cloud: {region: vn-han, provider: US, keys: VN, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn], clouds: [cloud], home: [vn]}
activities:
  - {route: "POST /people", subject: app, data: [personal, account], purpose: profile, store: people}
  - {route: "DELETE /people", subject: app, data: [personal], store: people}
  - {route: "POST /cloud", subject: app, data: [personal], store: clouds}
  - {route: "POST /home", subject: app, data: [personal], store: home}
"""
DOSSIER = """
  - id: test.dossier
    article: art. 20
    text: A dossier within 60 days.
    applies: {anchor: territory, data: [personal], operation: [read, write], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}
"""
Recorded = Callable[..., RecordedLog]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    def build(*changes: tuple[str, str], facts: FactSet | None = None) -> RecordedLog:
        policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, (DOSSIER,), changes))
        return RecordedLog(policy, START, facts)

    return build


def taken(log: RecordedLog, *, known: bool = True, **period: int) -> Transfers:
    """What the register says of a log, whose policy is archived or not."""
    policies: dict[str, Policy] = {log.policy.digest: log.policy} if known else {}
    facts = {facts_digest(log.facts): log.facts}
    found = Transfers(policies.get, facts.get, **period)
    for index, entry in enumerate(log.entries):
        found.add(index, entry)
    return found


def flows(log: RecordedLog) -> list[Flow]:
    return list(taken(log).flows())


def test_a_flow_tells_whose_data_goes_where_since_when_and_on_what_ground(recorded: Recorded) -> None:
    log = recorded()
    first = log.ask("POST /people", subject="aa" * 8)
    log.ask("POST /people", subject="aa" * 8)
    last = log.ask("POST /people", subject="bb" * 8)
    (flow,) = flows(log)
    key = flow.key
    assert (key.jurisdiction, key.activity, key.operation, key.categories, key.purpose) == (
        "VN", "POST /people", "write", ("account", "personal"), "profile"
    )  # fmt: skip
    assert (key.sink, key.region, key.place, key.provider, key.keys) == ("sg", "sg", "SG", "SG", "SG")
    assert key.how == ("region", "provider", "keys")
    assert (flow.first, flow.first_index, flow.last, flow.count) == (first.at, 1, last.at, 3)
    assert (len(flow.subjects), flow.subjects_exact, flow.unknown) == (2, True, 0)
    ((ground, count),) = flow.grounds.items()
    assert (ground.rules, ground.met, count) == (("test.dossier",), (), 3)
    assert ground.running == ("clock:first_transfer.VN/60-days",)
    assert ground.refused is None


def test_data_at_home_that_is_read_from_abroad_is_a_flow_to_the_reader(recorded: Recorded) -> None:
    assert transfers._READ_FROM == READ_FROM
    log = recorded()
    log.ask("POST /home")
    found = taken(log)
    entries = list(log.entries)
    for note in ("read_from:SG", "stale_pin read_from:ZZ,SG", "read_from:VN"):
        for index, entry in enumerate(entries):
            found.add(index, replace(entry, note=note if entry.kind == "intent" else entry.note))
    told = {(flow.key.sink, flow.key.place, flow.key.how, flow.count) for flow in found.flows()}
    assert told == {("vn", "SG", ("reader",), 2), ("vn", "ZZ", ("reader",), 1)}
    assert found.acts == 4


def test_what_failed_was_undone_or_erases_is_no_transfer(recorded: Recorded) -> None:
    log = recorded()
    log.ask("POST /people", how="failed")
    log.ask("POST /people", how="rolled_back")
    log.ask("DELETE /people")
    assert flows(log) == []


@pytest.mark.parametrize("how", ["unknown", None])
def test_an_act_whose_end_is_not_known_counts_and_is_told_apart(recorded: Recorded, how: str | None) -> None:
    log = recorded()
    log.ask("POST /people", how=how)
    (flow,) = flows(log)
    assert (flow.count, flow.unknown) == (1, 1)


def test_what_stays_at_home_or_concerns_nobody_covered_is_no_transfer_but_an_act(recorded: Recorded) -> None:
    log = recorded()
    log.ask("POST /home")
    log.ask("POST /people", finding=(IN_SINGAPORE,))
    found = taken(log)
    assert (found.flows(), found.acts, found.unplaced) == ((), 2, 0)


def test_a_foreign_providers_cloud_at_home_is_abroad_by_its_provider_alone(recorded: Recorded) -> None:
    log = recorded()
    log.ask("POST /cloud")
    (flow,) = flows(log)
    assert (flow.key.place, flow.key.how) == ("VN", ("provider",))
    assert next(iter(flow.grounds)).rules == ()


def test_a_filing_that_stands_is_the_ground_from_its_day_on(recorded: Recorded, tmp_path: Path) -> None:
    register = "registers: [register.yaml]\nactivities:"
    (tmp_path / "register.yaml").write_text(
        "residency: 1\nkind: register\nname: r\nfilings:\n"
        "  - {kind: vn.transfer_dossier, number: '7', date: 2026-09-03, result: filed, sinks: [sg]}\n"
    )
    log = recorded(("activities:", register))
    log.ask("POST /people")
    log.ask("POST /people", wait=10 * DAY)
    (flow,) = flows(log)
    before, after = flow.grounds
    assert (before.met, bool(before.running)) == ((), True)
    assert (after.met, after.running) == (("filing:vn.transfer_dossier",), ())


def test_a_further_filing_for_the_sink_joins_the_ground_though_entries_tell_the_same(
    tmp_path: Path,
) -> None:
    either = DOSSIER.replace(
        '[{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]',
        '[["filing:vn.transfer_dossier", "filing:contract.own"]]',
    )
    (tmp_path / "register.yaml").write_text(
        "residency: 1\nkind: register\nname: r\nfilings:\n"
        "  - {kind: contract.own, number: '1', date: 2026-01-01, result: filed}\n"
        "  - {kind: vn.transfer_dossier, number: '7', date: 2026-09-03, result: filed, sinks: [sg]}\n"
    )
    changes = [("activities:", "registers: [register.yaml]\nactivities:")]
    log = RecordedLog(load_policy(write_deployment(tmp_path, DEPLOYMENT, (either,), changes)), START)
    first, second = log.ask("POST /people"), log.ask("POST /people", wait=10 * DAY)
    assert (first.evidence, first.running) == (second.evidence, second.running)
    (flow,) = flows(log)
    assert [ground.met for ground in flow.grounds] == [
        ("filing:contract.own",), ("filing:contract.own", "filing:vn.transfer_dossier")
    ]  # fmt: skip


def test_what_an_observing_deployment_let_pass_has_no_ground_but_the_reason_against_it(recorded: Recorded) -> None:
    log = recorded(("mode: enforce", "mode: observe"), ("stores: {people: [sg, vn]", "stores: {people: [sg]"))
    log.adopt(log.policy, FactSet(0, stop_orders=log.facts.stop_orders))
    log.ask("POST /people")
    strict = [replace(e, effect="deny", reason="filing_missing") if e.kind == "intent" else e for e in log.entries]
    found = Transfers({log.policy.digest: log.policy}.get, lambda digest: None)
    for index, entry in enumerate(strict):
        found.add(index, entry)
    (flow,) = found.flows()
    assert next(iter(flow.grounds)).refused == "filing_missing"


def test_acts_under_a_policy_that_is_not_archived_are_counted_as_not_placed(recorded: Recorded) -> None:
    log = recorded()
    log.ask("POST /people")
    log.ask("POST /home")
    found = taken(log, known=False)
    assert (found.flows(), found.acts, found.unplaced) == ((), 2, 2)


def test_an_outcome_from_another_slot_may_come_before_its_intent(recorded: Recorded) -> None:
    log = recorded()
    log.ask("POST /people")
    log.ask("POST /people", how="failed")
    intents = [e for e in log.entries if e.kind == "intent"]
    outcomes = [replace(e, id=f"1.{i}") for i, e in enumerate(e for e in log.entries if e.kind == "outcome")]
    found = Transfers({log.policy.digest: log.policy}.get, lambda digest: None)
    for index, entry in enumerate([*outcomes, *intents]):
        found.add(index, entry)
    (flow,) = found.flows()
    assert (flow.count, flow.unknown) == (1, 0)


def test_a_period_counts_the_acts_that_began_in_it(recorded: Recorded) -> None:
    log = recorded()
    begun = [log.ask("POST /people", wait=DAY) for _ in range(4)]
    (flow,) = taken(log, since=begun[1].at, until=begun[3].at).flows()
    assert (flow.first, flow.last, flow.count) == (begun[1].at, begun[2].at, 2)


def test_coverage_by_presumption_alone_is_counted(recorded: Recorded) -> None:
    log = recorded(("presume: {territory: not_covered}", "presume: {territory: covered}"))
    log.ask("POST /people", finding=())
    log.ask("POST /people", finding=(IN_VIETNAM,))
    (flow,) = flows(log)
    assert (flow.count, flow.presumed) == (2, 1)


def test_past_the_bound_subjects_are_a_lower_bound(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "SUBJECTS_KEPT", 2)
    log = recorded()
    for number in range(5):
        log.ask("POST /people", subject=f"{number:016x}")
    (flow,) = flows(log)
    assert (len(flow.subjects), flow.subjects_exact, flow.count) == (2, False, 5)
    assert flow.data()["subjects_exact"] is False


def test_acts_without_a_sink_and_changes_of_pins_are_passed_over() -> None:
    found = Transfers(lambda digest: None, lambda digest: None)
    found.add(0, Entry(id="0.0", kind="intent", at=1, effect="permit", policy="ab" * 32, operation="pin"))
    found.add(1, Entry(id="0.1", kind="outcome", at=1, effect="permit", policy="ab" * 32, act="committed", of="0.0"))
    assert (found.flows(), found.acts) == ((), 0)
