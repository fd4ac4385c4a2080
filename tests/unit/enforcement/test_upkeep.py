"""An operator's acts: intent before, outcome after, under the alias and no id; and a subject who is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.sink_memory import MemorySink
from residency.audit.recall import OPERATOR
from residency.enforcement.upkeep import Upkeep
from residency.errors import JournalFull, SinkUnavailable
from residency.model import AnchorFinding, Finding, Operation, Pin, Trust
from tests.world import SG, VN, Deployed, load_policy, write_deployment

pytestmark = pytest.mark.anyio
ALIAS = "ab" * 16
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [vn, sg]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""


@pytest.fixture
def deployed(tmp_path: Path) -> Deployed:
    policy = load_policy(write_deployment(tmp_path, TEXT))
    return Deployed(policy, [MemorySink("vn", VN), MemorySink("sg", SG)])


async def test_an_act_leaves_an_intent_then_an_outcome_under_the_alias(deployed: Deployed) -> None:
    sink = deployed.policy.deployment.sinks["vn"].sink
    upkeep = Upkeep(deployed.point)
    act = await upkeep.begin("people", sink, Operation.ERASE, "erasure", alias=ALIAS, rules=("test.home",))
    assert deployed.recorder.open_intents == 1
    outcome = await act.ended("committed", "erasure, 3 records")
    assert deployed.recorder.open_intents == 0
    intent, ended = deployed.entries[-2:]
    assert (intent.id, ended.id, ended.of, ended.act) == (act.id, outcome, act.id, "committed")
    assert (intent.kind, intent.operation, intent.store, intent.sink, intent.region) == (
        "intent", "erase", "people", "vn", "vn-han",
    )  # fmt: skip
    assert (intent.subject, ended.subject, intent.rules) == (ALIAS, ALIAS, ("test.home",))
    assert (intent.note, ended.note) == (f"{OPERATOR}erasure", f"{OPERATOR}erasure, 3 records")
    assert (intent.policy, ended.policy) == (deployed.policy.digest, deployed.policy.digest)


async def test_what_nobody_knows_of_is_told_as_unknown(deployed: Deployed) -> None:
    sink = deployed.policy.deployment.sinks["vn"].sink
    act = await Upkeep(deployed.point).begin("people", sink, Operation.ERASE, "retention")
    await act.broke(SinkUnavailable("sink 'vn' cannot be reached"))
    assert deployed.entries[-1].act == "unknown"
    assert deployed.entries[-1].subject is None


async def test_nothing_is_begun_where_there_is_no_room_to_record_it(deployed: Deployed) -> None:
    def full() -> None:
        raise JournalFull("no room")

    before = len(deployed.entries)
    deployed.journal.ready = full  # type: ignore[method-assign]  # a full journal
    with pytest.raises(JournalFull):
        await Upkeep(deployed.point).begin("people", deployed.policy.deployment.sinks["vn"].sink, Operation.ERASE, "x")
    assert len(deployed.entries) == before


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_nothing_is_begun_in_a_sink_that_drifts_while_a_run_goes_on(mode: str, tmp_path: Path) -> None:
    policy = load_policy(write_deployment(tmp_path, TEXT, replace=[("mode: enforce", f"mode: {mode}")]))
    deployed = Deployed(policy, [MemorySink("vn", VN), MemorySink("sg", SG)])
    vn, sg = (deployed.policy.deployment.sinks[name].sink for name in ("vn", "sg"))
    await Upkeep(deployed.point).begin("people", vn, Operation.ERASE, "retention")
    deployed.stores.misplaced = frozenset({"vn"})
    await Upkeep(deployed.point).begin("people", sg, Operation.ERASE, "retention")
    before = len(deployed.entries)
    if mode == "observe":
        await Upkeep(deployed.point).begin("people", vn, Operation.ERASE, "retention")
        return
    with pytest.raises(SinkUnavailable, match="sink 'vn' is not shown to lie where it must"):
        await Upkeep(deployed.point).begin("people", vn, Operation.ERASE, "retention")
    assert len(deployed.entries) == before


async def test_a_subject_is_forgotten_by_counts_and_pins(deployed: Deployed) -> None:
    pin = Pin("aa" * 32, "VN", (), ALIAS, "first_write", "0" * 64, 1)
    await deployed.pins.put(pin)
    deployed.noted.count({"counter": {"aa" * 32, "bb" * 32}}, ["counter"])
    assert await Upkeep(deployed.point).forget("aa" * 32, pin)
    assert await deployed.pins.get("aa" * 32) is None
    counts: Mapping[str, int] = deployed.noted.count({}, ["counter"])
    assert counts == {"counter": 1}
    assert await Upkeep(deployed.point).forget("aa" * 32, None)


async def test_a_pin_that_was_changed_meanwhile_stays(deployed: Deployed) -> None:
    pin = Pin("aa" * 32, "VN", (), ALIAS, "first_write", "0" * 64, 1)
    await deployed.pins.put(pin)
    await deployed.pins.put(replace(pin, home="SG", version=2))
    assert not await Upkeep(deployed.point).forget("aa" * 32, pin)
    assert await deployed.pins.get("aa" * 32) is not None


async def test_an_act_that_a_decision_permits_says_whose_law_covers_and_its_first_word_stands(
    deployed: Deployed,
) -> None:
    policy = deployed.policy
    finding = Finding(territory=AnchorFinding(frozenset({"VN"}), trust=Trust.VERIFIED))
    decision = policy.decide(policy.deployment.activities[0], finding, frozenset(), policy.facts, 1_795_000_000_000_000)
    upkeep = Upkeep(deployed.point)
    sink = policy.deployment.sinks["sg"].sink
    act = upkeep.begun("people", sink, Operation.WRITE, "copy", alias=ALIAS, decision=decision)
    await upkeep.durable()
    assert deployed.entries[-1].jurisdictions == ("VN",)
    assert deployed.entries[-1].activity == "POST /people"
    assert "test.home" in deployed.entries[-1].rules
    act.told("committed", "copy, 1 records")
    act.told("failed", "copy, 0 records")
    await act.broke(SinkUnavailable("sink 'sg' cannot be reached"))
    assert [entry.act for entry in deployed.entries if entry.of == act.id] == ["committed"]
