"""The times of a decision: the request's own, and when the data was collected; kept, recorded and decided again by."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from residency.adapters.detail_files import DetailFiles
from residency.adapters.journal_memory import JournalMemory
from residency.adapters.sink_memory import MemorySink
from residency.audit.detail import commit, parse_detail
from residency.audit.recall import Beside, Recall, Told
from residency.enforcement.context import about, identify
from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.errors import Refused, UsageError
from residency.policy.archive import facts_digest
from residency.policy.compiler import Policy
from residency.policy.recorded import When
from residency.policy.replay import Gap, Replayer
from tests.detail_world import open_detail
from tests.world import HANOI, SG, VN, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DAY = 86_400_000_000
KEY = b"k" * 32
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn]}
activities:
  - {route: "WS /chat", subject: app, data: [content], operation: write, store: people}
  - {route: "GET /chat", subject: app, data: [personal], operation: write, store: people}
"""
# The clock of a world stands at 2027-01-15, 08:00 UTC.
ASKED = """
  - id: test.asked
    article: art. 1
    text: Who asks from the 17th on is refused.
    clock: request
    in_force: {from: 2027-01-17}
    applies: {anchor: territory, data: [content]}
    duty: {effect: deny}
"""
COLLECTED = """
  - id: test.collected
    article: art. 2
    text: What was collected before July 2026 rests in Vietnam.
    clock: collection
    in_force: {from: 2026-01-01, to: 2026-07-01}
    applies: {anchor: territory, data: [personal]}
    duty: {only: [VN]}
"""
MAY, AUGUST = datetime(2026, 5, 1, 9, 30, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)


class Timed(Deployed):
    """A deployment whose rules go by the times of a request."""

    def __init__(self, folder: Path, *rules: str) -> None:
        self.regional = JournalMemory()
        details = DetailFiles({"VN": self.regional}, lambda country: KEY, lambda size: b"t" * size)
        policy = load_policy(write_deployment(folder, DEPLOYMENT, rules))
        super().__init__(policy, [MemorySink("sg", SG), MemorySink("vn", VN)], details=details)
        self.recorder.facts(self.facts.current())

    def open(self, method: str) -> Current:
        """A request as its handler has it."""
        here = self.point.admit(Request(method, "/chat", b"/chat", (), (HANOI, 50_000)))
        assert isinstance(here, Current)
        return here

    def replayed(self, candidate: Policy | None = None, *, details: bool = False) -> list[Any]:
        """What becomes of every decision of the log."""
        facts = self.facts.current()
        told = {}
        for record in self.regional.records if details else ():
            entry, data = open_detail("VN", record, KEY)
            fields = parse_detail(data)
            if "evidence" in fields:
                collected = fields.get("collected")
                told[entry] = Told(
                    commit(data), str(fields["evidence"]), collected if isinstance(collected, int) else None
                )
        replayer = Replayer({self.policy.digest: self.policy}.get, {facts_digest(facts): facts}.get, candidate)
        recall = Recall(told)
        taken = [recall.take(entry) for entry in self.entries]
        return [replayer.replay(*each) for each in taken if not isinstance(each, Beside)]


async def test_an_act_is_judged_by_when_its_request_came_however_long_that_lasts(tmp_path: Path) -> None:
    world = Timed(tmp_path, ASKED)
    here = world.open("WS")
    with handling(here):
        await here.identify("an", {}, verified=True)
        world.clock.advance(5 * DAY)
        await here.store("people").put("k", b"v")
        world.clock.advance(1)
        async with about("binh") as other:
            assert other.requested == here.requested
            assert other.decision.permitted
    with pytest.raises(Refused):
        await world.open("WS").identify("an", {}, verified=True)
    times = [(entry.kind, entry.decided, entry.requested) for entry in world.entries if entry.decided is not None]
    start = 1_800_000_000_000_000
    assert times == [
        ("decision", start, None),
        ("intent", start + 5 * DAY, start),
        ("decision", start + 5 * DAY + 1, start),
        ("refusal", start + 5 * DAY + 1, None),
    ]
    assert {each.wrong for each in world.replayed()} == {()}


async def test_a_record_that_hides_when_the_request_came_is_found(tmp_path: Path) -> None:
    world = Timed(tmp_path, ASKED)
    here = world.open("WS")
    with handling(here):
        await here.identify("an", {}, verified=True)
        world.clock.advance(5 * DAY)
        await here.store("people").put("k", b"v")
    recall = Recall()
    facts = {facts_digest(world.facts.current()): world.facts.current()}
    replayer = Replayer({world.policy.digest: world.policy}.get, facts.get)
    for entry in world.entries:
        taken = recall.take(entry)
        if not isinstance(taken, Beside) and entry.requested is not None:
            assert replayer.replay(*taken).wrong == ()
            assert "effect" in replayer.replay(taken[0], When(taken[1].now)).wrong


@pytest.mark.parametrize(
    ("collected", "sinks"), [(None, {"vn"}), (MAY, {"vn"}), (AUGUST, {"vn", "sg"})], ids=["unknown", "before", "after"]
)
async def test_what_the_app_says_of_when_data_was_collected_decides(
    tmp_path: Path, collected: datetime | None, sinks: set[str]
) -> None:
    world = Timed(tmp_path, COLLECTED)
    here = world.open("GET")
    with handling(here):
        await identify("an", collected=collected)
        assert {v.sink.name for v in here.decision.sinks if v.reason is None} == sinks
        async with about("binh", collected=collected) as other:
            assert other.collected == here.collected
    assert [each.wrong for each in world.replayed()] == [(), ()]
    assert [each.wrong for each in world.replayed(details=True)] == [(), ()]


async def test_the_time_of_collection_is_kept_for_its_subject_and_forgotten_with_them(tmp_path: Path) -> None:
    here = Timed(tmp_path, COLLECTED).open("GET")
    with handling(here):
        await identify("an", collected=AUGUST)
        await identify("an", citizenship="VN")
        assert here.collected is not None
        async with about("binh") as other:
            assert other.collected is None
        await identify("binh")
        assert here.collected is None


async def test_an_entry_has_an_edge_of_the_law_and_the_detail_alone_the_instant(tmp_path: Path) -> None:
    world = Timed(tmp_path, COLLECTED)
    with handling(world.open("GET")):
        await identify("an", collected=MAY)
    entry = world.entries[-1]
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1_000_000)
    assert entry.collected == start
    exact = int(MAY.timestamp() * 1_000_000)
    assert not any(str(exact).encode() in record for record in world.journal.records)
    _, data = open_detail("VN", world.regional.records[-1], KEY)
    assert json.loads(data)["collected"] == exact


@pytest.mark.parametrize(
    "wrong",
    [datetime(2026, 5, 1), "2026-05-01", 1_800_000_000, datetime(2030, 1, 1, tzinfo=UTC)],
    ids=["naive", "text", "number", "future"],
)
async def test_what_is_no_instant_that_has_been_is_refused_and_changes_nothing(tmp_path: Path, wrong: Any) -> None:
    here = Timed(tmp_path, COLLECTED).open("GET")
    with handling(here):
        with pytest.raises(UsageError, match="collected"):
            await identify("an", collected=wrong)
        with pytest.raises(UsageError, match="collected"):
            async with about("an", collected=wrong):
                pytest.fail("nothing happens inside")
        assert here.subject is None
        assert here.collected is None


async def test_an_instant_of_another_zone_is_the_same_instant_and_a_clock_ahead_is_now(tmp_path: Path) -> None:
    world = Timed(tmp_path, COLLECTED)
    here = world.open("GET")
    hanoi = timezone(timedelta(hours=7))
    with handling(here):
        await identify("an", collected=MAY.astimezone(hanoi))
        assert here.collected == int(MAY.timestamp() * 1_000_000)
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=world.clock.now())
        await identify("an", collected=now + timedelta(minutes=1))
        assert here.collected == world.clock.now()


async def test_a_candidate_that_asks_more_exactly_is_a_gap_unless_the_detail_tells(tmp_path: Path) -> None:
    world = Timed(tmp_path / "a", COLLECTED)
    finer = load_policy(
        write_deployment(tmp_path / "b", DEPLOYMENT, (COLLECTED.replace("from: 2026-01-01", "from: 2026-04-01"),))
    )
    for when in (MAY, AUGUST, None):
        with handling(world.open("GET")):
            await identify("an", collected=when)
    assert [each.gap for each in world.replayed(finer)] == [Gap.COLLECTION_NOT_RECORDED, None, None]
    assert [each.gap for each in world.replayed(finer, details=True)] == [None, None, None]
    assert [each.change for each in world.replayed(world.policy)] == [None, None, None]


async def test_a_detail_that_tells_another_time_than_the_entry_is_found(tmp_path: Path) -> None:
    world = Timed(tmp_path, COLLECTED)
    with handling(world.open("GET")):
        await identify("an", collected=MAY)
    facts = world.facts.current()
    replayer = Replayer({world.policy.digest: world.policy}.get, {facts_digest(facts): facts}.get)
    recall = Recall()
    (taken,) = [t for t in map(recall.take, world.entries) if not isinstance(t, Beside)]
    recorded, when = taken
    assert replayer.replay(recorded, when).wrong == ()
    later = when._replace(exactly=int(AUGUST.timestamp() * 1_000_000))
    assert "collected" in replayer.replay(recorded, later).wrong
    assert "collected" in replayer.replay(recorded, when._replace(collected=MAY.year)).wrong
