"""What a law lets be read abroad only with fields treated is not read there as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.sink_memory import MemorySink
from residency.audit.recall import Beside, Recall
from residency.enforcement.context import about, about_many
from residency.enforcement.current import Current
from residency.enforcement.point import Refusal, Request
from residency.errors import Refused
from residency.model import Reason
from residency.policy.archive import facts_digest
from residency.policy.replay import Replayer
from residency.storage.gather import Gathering, Listing
from residency.storage.judged import Found
from residency.storage.listed import SortKey
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn, sg]}
activities:
  - {route: "POST /people", subject: user, data: [personal], operation: write, store: people}
  - {route: "GET /people", subject: user, data: [personal], operation: read, store: people}
  - {route: "DELETE /people", subject: user, data: [personal], operation: erase, store: people}
  - {route: "GET /list", subject: none, data: [personal], operation: read, store: people}
  - {route: "GET /news", subject: user, data: [content], operation: read, store: people}
"""
ABROAD = ("mode: enforce\n", "mode: enforce\naudit: {region: sg}\n")


def rule(direction: str = "out", sink: str = "") -> str:
    return f"""
  - id: test.masked
    article: art. 9
    text: Phones are masked.
    applies: {{anchor: territory, data: [personal]{sink}}}
    duty: {{protect: [{{field: phone, direction: {direction}, transform: mask}}]}}
"""


class World(Deployed):
    """An is at home in Vietnam, tan in Singapore."""

    def __init__(self, folder: Path, rules: Sequence[str] = (), replace: Sequence[tuple[str, str]] = ()) -> None:
        policy = load_policy(write_deployment(folder, DEPLOYMENT, rules or (rule(),), replace))
        super().__init__(policy, [MemorySink("sg", SG), MemorySink("vn", VN)])
        self.recorder.facts(self.facts.current())

    def admit(self, method: str, path: str, address: str, who: str) -> Any:
        return self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), SimpleUser(who)))

    async def prepared(self) -> World:
        for who, address in (("an", HANOI), ("tan", SINGAPORE)):
            with handling(self.admit("POST", "/people", address, who)) as here:
                await here.store("people").put(who, who.encode())
        return self

    async def read(self, subject: str, address: str) -> str | None:
        """None where `subject` is read by somebody at `address`, else the reason why not."""
        with handling(self.admit("GET", "/people", address, "sue")):
            try:
                async with about(subject) as other:
                    assert await other.store("people").get(subject) == subject.encode()
            except Refused as error:
                return error.reason
        return None

    def replayed(self) -> set[tuple[str, ...]]:
        facts = self.facts.current()
        replayer = Replayer({self.policy.digest: self.policy}.get, {facts_digest(facts): facts}.get)
        taken = [Recall().take(entry) for entry in self.entries]
        return {replayer.replay(*each).wrong for each in taken if not isinstance(each, Beside)}


@pytest.mark.parametrize("sink", ["", ", sink: {abroad: true}", ", sink: {scope: reader}"])
async def test_what_is_to_be_masked_is_not_read_abroad_and_is_at_home(tmp_path: Path, sink: str) -> None:
    world = await World(tmp_path, [rule(sink=sink)]).prepared()
    mark = len(world.entries)
    assert await world.read("an", SINGAPORE) == "cannot_be_treated"
    assert [(entry.kind, entry.reason, entry.rules) for entry in world.entries[mark:] if entry.kind != "decision"] == [
        ("refusal", "cannot_be_treated", ("test.masked",))
    ]
    assert await world.read("an", HANOI) is None
    assert await world.read("tan", SINGAPORE) is None
    assert await world.read("tan", HANOI) is None  # no law that covers tan asks for it
    assert world.replayed() == {()}


async def test_what_is_to_be_treated_where_it_comes_in_or_rests_is_read(tmp_path: Path) -> None:
    for direction in ("in", "rest"):
        (tmp_path / direction).mkdir()
        world = await World(tmp_path / direction, [rule(direction)]).prepared()
        assert await world.read("an", SINGAPORE) is None


@pytest.mark.parametrize(
    "change", [("mode: enforce", "mode: observe"), ("mode: enforce", "mode: enforce\nreaders: record")]
)
async def test_a_deployment_that_asks_nothing_of_readers_refuses_nothing(
    tmp_path: Path, change: tuple[str, str]
) -> None:
    world = await World(tmp_path, replace=[change]).prepared()
    assert await world.read("an", SINGAPORE) is None


async def test_many_are_refused_one_by_one_and_rows_left_out_of_lists(tmp_path: Path) -> None:
    world = await World(tmp_path).prepared()
    with handling(world.admit("GET", "/people", SINGAPORE, "sue")):
        many = await about_many(["an", "tan"])
    assert [group.asked for group in many.groups] == [("tan",)]
    assert [(who, error.reason) for who, error in many.refused] == [("an", "cannot_be_treated")]

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        people = {"sg": ["an", "tan"], "vn": []}[listing.sink]  # an lies there by a copy, or from before
        return [Found(who, (who,), who) for who in people]

    with handling(world.admit("GET", "/list", SINGAPORE, "sue")) as here:
        page = await Gathering(here, "people").page(fetch, (SortKey(),), "x", limit=5, judged=True, whose=True)
    assert (list(page), page.withheld) == (["tan"], {"cannot_be_treated": 1})


async def test_an_instance_abroad_serves_what_needs_no_treatment_and_erases(tmp_path: Path) -> None:
    await World(tmp_path).prepared()
    (tmp_path / "b").mkdir()
    world = World(tmp_path / "b", replace=[ABROAD])
    refused = world.admit("GET", "/people", HANOI, "an")
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.CANNOT_BE_TREATED
    assert isinstance(world.admit("GET", "/people", SINGAPORE, "tan"), Current)
    assert isinstance(world.admit("DELETE", "/people", HANOI, "an"), Current)
    assert isinstance(world.admit("GET", "/news", HANOI, "an"), Current)
    assert world.replayed() == {()}
