"""Whether a copy may be made now: by which activities, with what evidence, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.sink_memory import MemorySink
from residency.model import Anchor, Operation, Pin, SubjectId, Trust
from residency.storage.outbox import Owner, Permit, Wanted
from residency.storage.records import Record
from residency.wiring.deciding import CopyDeciding
from tests.world import SG, VN, Deployed, load_policy, write_deployment

pytestmark = pytest.mark.anyio
TEXT = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [vn, sg], others: [vn, sg]}
activities:
  - {name: enter, route: "POST /people", subject: app, data: [personal], store: people, basis: consent}
  - {name: read, route: "GET /people", subject: app, data: [personal, health], store: people}
  - {name: other, route: "POST /others", subject: app, data: [personal], store: others}
"""


@pytest.fixture
def anyio_backend() -> str:
    """One of the two: nothing here knows which."""
    return "asyncio"


_RULE = """
  - id: test.{name}
    article: art. {name}
    text: It is so.
    applies: {{anchor: territory, data: [{data}]{more}}}
    duty: {duty}
"""


def rule(name: str, duty: str, data: str = "personal", more: str = ", sink: {abroad: true}") -> str:
    return _RULE.format(name=name, duty=duty, data=data, more=more)


async def permit(
    folder: Path, *rules: str, data: str = "personal", home: str = "VN", text: str = TEXT
) -> tuple[Permit, CopyDeciding, Owner, Deployed]:
    """What is said of a copy of a record of such data in `sg`."""
    policy = load_policy(write_deployment(folder, text, rules))
    deployed = Deployed(policy, [MemorySink("vn", VN), MemorySink("sg", SG)])
    digest = deployed.point.digest(SubjectId("an"))
    anchors = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
    await deployed.pins.put(Pin(digest, home, anchors, "ab" * 16, "first_write", "0" * 64, 1))
    deciding = CopyDeciding("people", lambda: deployed.point, b"k" * 32)
    owner = (await deciding.owners(["an"]))["an"]
    sinks = policy.deployment.sinks
    record = Record("people", "1", "an", frozenset({data}), b"x")
    return deciding.judge(record, owner, sinks["sg"].sink, sinks["vn"].sink), deciding, owner, deployed


FIRST = rule("first", "{first_write: VN}", more="")
RESTING = rule("resting", "{protect: [{field: phone, direction: rest, transform: mask}]}", more="")
MASKED = rule("masked", "{protect: [{field: phone, direction: out, transform: mask}]}", more="")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ((rule("health", "{effect: deny}", data="health"),), None),
        ((FIRST,), None),
        ((rule("copy", "{copies: VN}", more=""),), None),
        ((rule("only", "{only: [VN]}", more=""),), "only_in_country"),
        ((FIRST, rule("filing", '{require: ["filing:x.y"]}')), "filing_missing"),
        ((FIRST, rule("consent", '{require: ["consent:transfer"]}')), "consent_missing"),
        ((FIRST, rule("phone", '{require: ["identity:phone"]}')), "identity_missing"),
        ((FIRST, rule("basis", '{require: ["basis:consent"]}')), None),
        ((FIRST, rule("basis", '{require: ["basis:contract"]}')), "filing_missing"),
        ((FIRST, rule("hold", "{effect: hold}")), "hold"),
        ((rule("hold", "{effect: hold}"),), "hold"),
        ((FIRST, rule("deny", "{effect: deny}")), "law_forbids"),
        ((FIRST, rule("health", "{effect: deny}", data="health")), None),
        ((FIRST, rule("elsewhere", "{first_write: SG}", more="")), "conflict"),
        ((MASKED,), None),
        ((FIRST, MASKED), None),
        ((MASKED, rule("hold", "{effect: hold}")), "hold"),
        ((FIRST, MASKED, rule("hold", "{effect: hold}")), "hold"),
        ((MASKED, rule("filing", '{require: ["filing:x.y"]}')), "filing_missing"),
        ((FIRST, MASKED, rule("filing", '{require: ["filing:x.y"]}')), "filing_missing"),
        ((RESTING,), None),
        ((FIRST, RESTING), None),
        ((RESTING, rule("hold", "{effect: hold}")), "hold"),
    ],
)
async def test_what_stands_against_a_copy(tmp_path: Path, rules: tuple[str, ...], reason: str | None) -> None:
    said, _, _, _ = await permit(tmp_path, *rules)
    assert said.reason == reason
    ways = {direction for asks, direction in ((MASKED, "out"), (RESTING, "rest")) if asks in rules and reason is None}
    treated = {("phone", direction, "mask") for direction in ways}
    assert {(each.field, each.direction, each.transform) for each in said.asked} == treated


async def test_a_home_that_is_not_where_it_must_be_recorded_first_gives_no_copies(tmp_path: Path) -> None:
    policy = load_policy(write_deployment(tmp_path, TEXT, [FIRST]))
    deployed = Deployed(policy, [MemorySink("vn", VN), MemorySink("sg", SG)])
    digest = deployed.point.digest(SubjectId("an"))
    anchors = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
    await deployed.pins.put(Pin(digest, "SG", anchors, "ab" * 16, "first_write", "0" * 64, 1))
    deciding = CopyDeciding("people", lambda: deployed.point, b"k" * 32)
    owner = (await deciding.owners(["an"]))["an"]
    sinks = policy.deployment.sinks
    record = Record("people", "1", "an", frozenset({"personal"}), b"x")
    sg = sinks["sg"].sink
    assert deciding.judge(record, owner, sg, sg).reason == "not_home"


async def test_data_that_nobody_writes_is_asked_of_by_itself(tmp_path: Path) -> None:
    said, _, _, _ = await permit(tmp_path, rule("health", "{effect: deny}", data="health"), data="health")
    assert said.reason == "law_forbids"


async def test_what_changes_is_heard_of_and_a_sink_that_drifts_gets_none(tmp_path: Path) -> None:
    said, deciding, owner, deployed = await permit(tmp_path, FIRST)
    assert said.reason is None
    sinks = deployed.policy.deployment.sinks
    record = Record("people", "1", "an", frozenset({"personal"}), b"x")
    before = deciding.version()
    deployed.stop("sg")
    assert deciding.version() != before
    assert deciding.judge(record, owner, sinks["sg"].sink, sinks["vn"].sink).reason == "stop_order"
    deployed.stop()
    deployed.stores.misplaced = frozenset({"sg"})
    assert deciding.judge(record, owner, sinks["sg"].sink, sinks["vn"].sink).reason == "sink_misplaced"


async def test_a_record_past_its_ceiling_there_is_not_copied(tmp_path: Path) -> None:
    ceiling = rule("ceiling", "{retain: [{at_most: 5 days, from: creation}]}", more="")
    said, deciding, owner, deployed = await permit(tmp_path, ceiling)
    assert said.reason is None
    sinks = deployed.policy.deployment.sinks
    old = Record("people", "1", "an", frozenset({"personal"}), b"x", {"creation": deployed.clock.now() - 10**12})
    assert deciding.judge(old, owner, sinks["sg"].sink, sinks["vn"].sink).reason == "past_its_term"


async def test_acts_are_durable_before_they_are_done_and_name_alias_and_law(tmp_path: Path) -> None:
    said, deciding, owner, deployed = await permit(tmp_path, FIRST)
    sink = deployed.policy.deployment.sinks["sg"].sink
    (act,) = await deciding.begin([Wanted(sink, Operation.WRITE, owner, said, "copy of 1 records from vn")])
    act.told("committed", "copy, 1 records")
    await deciding.settled()
    entry, word = deployed.intents[-1]
    assert (entry.subject, entry.activity, entry.jurisdictions, word) == ("ab" * 16, "enter", ("VN",), "committed")


async def test_the_first_copy_is_the_event_that_a_term_waits_for(tmp_path: Path) -> None:
    clause = '{require: [{any: ["filing:x.y"], within: 60 days, after: first_transfer}]}'
    said, deciding, owner, deployed = await permit(tmp_path, FIRST, rule("term", clause))
    assert said.reason is None
    sink = deployed.policy.deployment.sinks["sg"].sink
    before = deciding.version()
    await deciding.begin([Wanted(sink, Operation.WRITE, owner, said, "copy of 1 records from vn")])
    assert deployed.facts.current().event("first_transfer", "VN") is not None
    assert deciding.version() != before
