"""Decisions made again a group at a time come out as made again one by one, whatever lies between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from residency.audit.entry import Entry, format_entry
from residency.audit.entry_reader import EntryReader
from residency.audit.recall import Beside, Recall
from residency.audit.redecide import Redecide, Wrong
from residency.errors import VerificationError
from residency.model import Event, FactSet, StopOrder
from residency.policy.archive import facts_digest
from residency.policy.compiler import Policy
from residency.policy.replay import Gap, Replayer
from tests.recorded_log import IN_SINGAPORE, IN_VIETNAM, RecordedLog
from tests.world import HOME, load_policy, write_deployment

DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn, sg]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
exempt: [GET /healthz]
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
  - {route: "GET /posts", subject: none, data: [content], operation: read}
  - {route: "GET /people", subject: app, data: [personal], operation: read, store: people}
"""
LATER = """
  - id: test.later
    article: art. 5
    text: From 2026-11-20 nobody reads this.
    in_force: {from: 2026-11-20}
    applies: {anchor: territory, data: [content]}
    duty: {effect: deny}
"""
BOUNDARY = 1_795_132_800_000_000  # 2026-11-20
HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_policy(write_deployment(tmp_path_factory.mktemp("world"), DEPLOYMENT, (HOME, LATER)))


def replayer(policy: Policy, facts: Sequence[FactSet]) -> Replayer:
    named = {facts_digest(each): each for each in facts}
    return Replayer(lambda digest: policy if digest == policy.digest else None, named.get)


def together(entries: Sequence[Entry], policy: Policy, facts: Sequence[FactSet], width: int = 5) -> Redecide:
    redecide, reader = Redecide(replayer(policy, facts)), EntryReader()
    for start in range(0, len(entries), width):
        bundle = [format_entry(entry) for entry in entries[start : start + width]]
        redecide.take(start, *reader.scan(start, bundle))
    redecide.finish()
    return redecide


def one_by_one(
    entries: Sequence[Entry], policy: Policy, facts: Sequence[FactSet]
) -> tuple[int, list[int], Counter[Gap]]:
    recall, again = Recall(), replayer(policy, facts)
    right, wrong, gaps = 0, [], Counter[Gap]()
    for index, entry in enumerate(entries):
        taken = recall.take(entry)
        if isinstance(taken, Beside):
            continue
        answer = again.replay(*taken)
        if answer.gap is not None:
            gaps[answer.gap] += 1
        elif answer.wrong:
            wrong.append(index)
        else:
            right += 1
    return right, wrong, gaps


asked = st.lists(
    st.tuples(
        st.sampled_from(["POST /people", "GET /posts", "move"]),
        st.sampled_from([(IN_VIETNAM,), (IN_SINGAPORE,), ()]),
        st.integers(1, 3 * HOUR),
        st.sampled_from(["", "", "", "reason", "policy", "decided"]),
    ),
    max_size=14,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=asked, width=st.integers(1, 20))
def test_a_group_at_a_time_answers_as_one_by_one(
    policy: Policy, asked: list[tuple[str, tuple[str, ...], int, str]], width: int
) -> None:
    log = RecordedLog(policy, BOUNDARY - 12 * HOUR)
    facts = [log.facts]
    forged = []
    for route, finding, wait, lie in asked:
        if route == "move":
            log.adopt(policy, replace(policy.facts, stop_orders=(StopOrder("x", "vn", BOUNDARY),)))
            facts.append(log.facts)
        else:
            number = len(log.journal.records)
            log.ask(route, finding=finding, wait=wait)
            forged.append((number, lie))
    entries = log.entries
    for number, lie in forged:
        entry = entries[number]
        if lie == "reason":
            entries[number] = replace(entry, reason="only" if entry.reason is None else None)
        elif lie == "policy":
            entries[number] = replace(entry, policy="00" * 32)
        elif lie == "decided":
            entries[number] = replace(entry, decided=BOUNDARY + 99 * HOUR)
    found = together(entries, policy, facts, width)
    right, wrong, gaps = one_by_one(entries, policy, facts)
    assert (found.right, [each.number for each in found.wrong], found.gaps) == (right, wrong, gaps)
    assert found.decisions == found.replayed + sum(gaps.values())


def test_a_boundary_between_two_entries_of_one_shape_parts_them(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("GET /posts")
    entries = log.entries
    assert together(entries, policy, [log.facts]).wrongs == 0
    late = replace(entries[-1], id="0.2", decided=BOUNDARY)
    found = together([*entries, late, replace(late, id="0.3", decided=BOUNDARY - 1)], policy, [log.facts])
    assert (found.right, found.wrong) == (2, [(2, *found.wrong[0][1:])])
    assert set(found.wrong[0][1]) >= {"effect", "rules"}


def test_what_tells_of_no_decision_is_counted_for_what_it_is(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("POST /people")
    found = together(log.entries, policy, [log.facts])
    assert found.beside == {Beside.SYSTEM: 1, Beside.OUTCOME: 1}
    assert (found.decisions, found.replayed, found.right) == (1, 1, 1)


def test_facts_that_are_not_archived_are_a_gap_and_never_the_same(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("POST /people")
    found = together(log.entries, policy, [])
    assert (found.replayed, found.gaps) == (0, {Gap.FACTS_UNKNOWN: 1})


def test_a_finding_that_is_none_is_named_with_its_entry(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("POST /people")
    entries = [replace(entry, finding=("x",)) if entry.kind == "intent" else entry for entry in log.entries]
    with pytest.raises(VerificationError, match="entry 1"):
        together(entries, policy, [log.facts])


def parted(policy: Policy, slots: tuple[int, int]) -> tuple[list[Entry], list[FactSet]]:
    """Two starts, in these slots, each with facts of its own under epoch 1, and an entry of one shape after each."""
    stopped = replace(policy.facts, stop_orders=(StopOrder("x", "vn", BOUNDARY - 9 * HOUR),))
    entries: list[Entry] = []
    facts: list[FactSet] = []
    for slot, known in zip(slots, (policy.facts, stopped), strict=True):
        log = RecordedLog(policy, BOUNDARY - 2 * HOUR, known)
        log.ask("POST /people", how=None)
        seq = sum(entry.id.startswith(f"{slot}.") for entry in entries)
        entries += [replace(entry, id=f"{slot}.{seq + at}") for at, entry in enumerate(log.entries)]
        facts.append(log.facts)
    return entries, facts


@pytest.mark.parametrize(("slots", "order"), [((0, 1), (0, 1, 2, 3)), ((0, 1), (0, 2, 1, 3)), ((0, 0), (0, 1, 2, 3))])
def test_an_epoch_means_the_facts_that_its_own_slot_named_last(
    policy: Policy, slots: tuple[int, int], order: tuple[int, ...]
) -> None:
    entries, facts = parted(policy, slots)
    assert together([entries[at] for at in order], policy, facts).right == 2
    # The second is told as the first was, which is right on the first facts alone.
    entries[3] = replace(entries[1], id=entries[3].id)
    found = together([entries[at] for at in order], policy, facts)
    assert (found.right, [each.number for each in found.wrong]) == (1, [3])


def odd(found: Redecide) -> list[list[int]]:
    return [[each.index for each in seen.first] for seen in (found.apart, found.undecided, found.unregistered)]


def test_a_decision_put_on_another_day_is_told_though_that_days_law_decides_it_so(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("GET /posts")
    log.ask("POST /people")
    entries = log.entries
    assert odd(together(entries, policy, [log.facts])) == [[], [], []]
    backdated = replace(entries[1], at=BOUNDARY + 30 * HOUR)  # refused since the boundary
    found = together([entries[0], backdated, *entries[2:]], policy, [log.facts])
    assert (found.wrongs, odd(found)) == (0, [[1], [], []])
    slow = replace(entries[1], at=entries[1].at + 20 * HOUR)  # a request of some hours, told at its end
    ahead = replace(entries[1], at=entries[1].at - HOUR)
    late = replace(entries[2], at=entries[2].at + HOUR)  # an act is decided as it begins
    assert entries[2].kind == "intent"
    assert odd(together([entries[0], slow, late, *entries[3:]], policy, [log.facts])) == [[2], [], []]
    assert odd(together([entries[0], ahead, *entries[2:]], policy, [log.facts])) == [[1], [], []]


def test_an_act_with_no_decision_behind_it_does_not_pass_for_something_else(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("POST /people")
    log.recorder.exempt("GET /healthz", "enforce")
    entries = log.entries
    assert odd(together(entries, policy, [log.facts])) == [[], [], []]
    hidden = [replace(entry, decided=None) if entry.kind == "intent" else entry for entry in entries]
    assert odd(together(hidden, policy, [log.facts])) == [[], [1], []]
    passed = [replace(entry, activity="GET /export") if entry.note == "exempt" else entry for entry in entries]
    assert odd(together(passed, policy, [log.facts])) == [[], [3], []]


def test_facts_that_no_register_holds_are_told_and_those_that_come_up_by_themselves_are_not(policy: Policy) -> None:
    grown = replace(policy.facts, events=(Event("begun", "VN", BOUNDARY),), escalated=frozenset({"x"}))
    stopped = replace(policy.facts, stop_orders=(StopOrder("x", "vn", BOUNDARY - 9 * HOUR),))
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR, grown)
    log.ask("POST /people")
    facts = [log.facts]
    assert odd(together(log.entries, policy, facts)) == [[], [], []]
    log.adopt(policy, stopped)
    facts.append(log.facts)
    assert odd(together(log.entries, policy, facts)) == [[], [], [3]]
    assert odd(together(log.entries, policy, [])) == [[], [], []]  # not archived: a gap, told as such


@pytest.mark.parametrize("field", ["store", "region"])
def test_an_entry_that_puts_an_act_somewhere_else_is_wrong(policy: Policy, field: str) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("POST /people", sink="sg", finding=(IN_SINGAPORE,))
    entries = log.entries
    assert (entries[1].kind, entries[1].sink, entries[1].region) == ("intent", "sg", "sg")
    assert together(entries, policy, [log.facts]).wrongs == 0
    lie: dict[str, Any] = {field: "vn-han"}
    found = together([entries[0], replace(entries[1], **lie), *entries[2:]], policy, [log.facts])
    assert found.wrong == [(1, (field,), (getattr(entries[1], field),))]


def told(policy: Policy, log: RecordedLog, number: int, **lie: Any) -> list[Wrong]:
    """What is wrong of the log once this is forged in its entry of that number."""
    entries = log.entries
    entries[number] = replace(entries[number], **lie)
    return together(entries, policy, [log.facts]).wrong


def test_an_entry_that_tells_of_another_operation_than_its_activity_is_wrong(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("GET /posts")
    log.ask("POST /people")
    assert [entry.kind for entry in log.entries] == ["system", "decision", "intent", "outcome"]
    assert [entry.operation for entry in log.entries[1:3]] == ["read", "write"]
    assert told(policy, log, 1, operation="process") == [(1, ("operation",), ("read",))]
    assert told(policy, log, 1, operation=None) == [(1, ("operation",), ("read",))]
    assert told(policy, log, 2, operation="pin") == [(2, ("operation",), ("write",))]
    assert told(policy, log, 2, operation=None) == [(2, ("operation",), ("write",))]
    # An activity that writes may read on its way, and one that changes data may erase some of it.
    assert told(policy, log, 2, operation="read") == told(policy, log, 2, operation="erase") == []


def test_an_act_that_changes_data_is_wrong_where_its_activity_reads(policy: Policy) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("GET /people")
    assert (log.entries[1].kind, log.entries[1].operation) == ("intent", "read")
    assert told(policy, log, 1, operation="process") == []
    for changing in ("write", "post", "erase"):
        assert told(policy, log, 1, operation=changing) == [(1, ("operation",), ("read",))]


@pytest.mark.parametrize("lie", [None, "server"])
def test_an_entry_that_names_another_strategy_for_addresses_than_its_policy_is_wrong(
    policy: Policy, lie: str | None
) -> None:
    log = RecordedLog(policy, BOUNDARY - 2 * HOUR)
    log.ask("GET /posts")
    assert told(policy, log, 1) == []
    assert told(policy, log, 1, strategy=lie) == [(1, ("strategy",), ("peer",))]
