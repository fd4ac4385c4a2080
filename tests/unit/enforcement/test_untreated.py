"""What a law lets go abroad only with fields treated is neither read there nor sent there as it is, by any way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.sink_memory import MemorySink
from residency.audit.recall import Beside, Recall
from residency.enforcement.context import about, about_many, current
from residency.enforcement.current import Current
from residency.enforcement.point import Refusal, Request
from residency.enforcement.untreated import sending
from residency.errors import Refused
from residency.integrations.sqlalchemy import create_all
from residency.model import Effect, Reason
from residency.policy.archive import facts_digest
from residency.policy.replay import Replayer
from residency.storage.gather import Gathering, Listing
from residency.storage.judged import Found
from residency.storage.listed import SortKey
from tests.cache_world import CacheWorld
from tests.rows import DEPLOYMENT as ROWS
from tests.rows import Base, Person, Rows, Session, places_of
from tests.service_world import ServiceWorld, asks, whole
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


@pytest.mark.parametrize("direction", ["in", "rest"])
async def test_what_is_to_be_treated_where_it_comes_in_or_rests_is_read_and_not_written(
    tmp_path: Path, direction: str
) -> None:
    world = World(tmp_path, [rule(direction)])
    refusal = world.admit("POST", "/people", HANOI, "an")
    assert (refusal.reason, [each.id for each in refusal.rules]) == (Reason.CANNOT_BE_TREATED, ["test.masked"])
    assert world.entries[-1].reason == "cannot_be_treated"
    with handling(world.admit("GET", "/people", SINGAPORE, "sue")):
        async with about("an") as other:
            assert await other.store("people").get("an") is None, "nothing lies there, and asking is not refused"
    assert isinstance(world.admit("POST", "/people", SINGAPORE, "tan"), Current), "whom no law covers may write"


async def test_what_would_rest_untreated_goes_on_and_is_told_while_it_is_observed(tmp_path: Path) -> None:
    world = World(tmp_path, [rule("rest")], replace=[("mode: enforce", "mode: observe")])
    with handling(world.admit("POST", "/people", HANOI, "an")) as here:
        await here.store("people").put("an", b"an")
    assert [(intent.reason, word) for intent, word in world.intents] == [("cannot_be_treated", "committed")]


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


# -- what is sent ------------------------------------------------------------------------------------------------------

ALONE = "stores: {people: [vn, sg]}", "stores: {people: [sg]}"
LOOSE = rule()  # nothing of it asks for a copy at home: a law that lets data rest abroad, with its phones masked


def replayed(world: Deployed) -> set[tuple[str, ...]]:
    facts = world.facts.current()
    replayer = Replayer({world.policy.digest: world.policy}.get, {facts_digest(facts): facts}.get)
    taken = [Recall().take(entry) for entry in world.entries]
    return {replayer.replay(*each).wrong for each in taken if not isinstance(each, Beside)}


def refused(world: Deployed) -> list[tuple[str | None, tuple[str, ...]]]:
    return [(entry.reason, entry.rules) for entry in world.entries if entry.kind == "refusal"]


async def test_objects_are_not_put_abroad_untreated_and_are_at_home(tmp_path: Path) -> None:
    world = World(tmp_path)
    with handling(world.admit("POST", "/people", HANOI, "an")) as here:
        await here.store("people").put("an", b"an")
        assert here.store("people").sink_name == "vn"
        with pytest.raises(Refused, match="may not take"):
            await here.store("people").put("an", b"an", sink="sg")
    assert refused(world) == [("cannot_be_treated", ("test.masked",))]
    with handling(world.admit("POST", "/people", SINGAPORE, "tan")) as here:
        await here.store("people").put("tan", b"tan", sink="sg")
    assert replayed(world) == {()}


async def test_a_store_that_lies_abroad_alone_takes_nothing_untreated_and_erases(tmp_path: Path) -> None:
    world = World(tmp_path, replace=[ALONE])
    no = world.admit("POST", "/people", HANOI, "an")
    assert isinstance(no, Refusal)
    assert (no.reason, [ref.id for ref in no.rules]) == (Reason.CANNOT_BE_TREATED, ["test.masked"])
    assert isinstance(world.admit("DELETE", "/people", HANOI, "an"), Current)
    assert isinstance(world.admit("GET", "/people", HANOI, "an"), Current)  # what comes home by being read goes not out
    assert isinstance(world.admit("POST", "/people", SINGAPORE, "tan"), Current)
    assert replayed(world) == {()}


async def test_a_deployment_that_observes_writes_as_before_and_tells(tmp_path: Path) -> None:
    world = World(tmp_path, replace=[ALONE, ("mode: enforce", "mode: observe")])
    with handling(world.admit("POST", "/people", HANOI, "an")) as here:
        await here.store("people").put("an", b"an")
    assert [entry.reason for entry in world.entries if entry.kind in ("decision", "intent") and entry.reason] == [
        "cannot_be_treated"
    ]
    assert replayed(world) == {()}


async def test_rows_are_not_written_abroad_untreated(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = ROWS.replace("stores: {people: [people-sg, people-vn]", "stores: {people: [people-sg]")
    world = Rows(tmp_path, places_of("sqlite", tmp_path, request), ROWS, rules=[LOOSE])
    await create_all(Base.metadata, world.stores, "people")
    with world.request():
        async with Session() as session, session.begin():
            session.add(Person(name="an"))
        with pytest.raises(Refused):
            async with Session(sink="people-sg") as session, session.begin():
                session.add(Person(name="an again"))
    assert (world.names("vn"), world.names("sg")) == (["an"], [])
    assert refused(world) == [("cannot_be_treated", ("test.masked",))]
    (tmp_path / "alone").mkdir()
    alone = Rows(tmp_path / "alone", places_of("sqlite", tmp_path, request), text, rules=[LOOSE])
    assert isinstance(
        alone.point.admit(Request("POST", "/people", b"/people", (), (HANOI, 50_000), SimpleUser("an"))), Refusal
    )
    for sink in (world.vn, world.sg):
        await sink.aclose()


async def test_a_cache_abroad_is_done_without_whatever_the_activity_does(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, rules=[LOOSE])
    for method in ("GET", "POST"):
        with world.request(method=method, store="abroad") as cache:
            assert not await cache.set("k", b"an's")
            assert await cache.get("k") is None
    assert not world.sg._values
    assert {entry.reason for entry in world.refusals()} == {"cannot_be_treated"}
    assert replayed(world) == {()}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_sessions_and_jobs_stay_at_home_also_of_an_activity_that_reads(tmp_path: Path, method: str) -> None:
    world = CacheWorld(tmp_path, rules=[LOOSE], replace=[("jobs: [jobs-sg, jobs-vn]", "jobs: [jobs-sg]")])
    if method == "POST":
        here = world.point.admit(Request("POST", "/me", b"/me", (), (HANOI, 50_000), SimpleUser("an")))
        assert isinstance(here, Refusal)
        return
    with world.request(method=method, store="jobs") as jobs:
        for way in (lambda: jobs.push("mail", b"an's"), lambda: jobs.set("k", b"an's")):
            with pytest.raises(Refused):
                await way()
        assert await jobs.get("k") is None
    assert not world.jobs_sg._values
    assert {(entry.reason, entry.rules) for entry in world.refusals()} == {("cannot_be_treated", ("test.masked",))}
    assert replayed(world) == {()}


async def test_what_reads_and_keeps_something_abroad_is_told_where_it_is_observed(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, "observe", rules=[LOOSE], replace=[("jobs: [jobs-sg, jobs-vn]", "jobs: [jobs-sg]")])
    with world.request(store="jobs") as jobs:
        await jobs.push("mail", b"an's")
        await jobs.get("k")
    told = [(entry.operation, entry.reason) for entry in world.entries if entry.kind == "intent"]
    assert told == [("process", "cannot_be_treated"), ("read", None)]
    assert replayed(world) == {()}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_service_abroad_is_sent_nothing_untreated_whatever_the_activity_does(
    tmp_path: Path, method: str
) -> None:
    world = ServiceWorld(tmp_path, rules=[LOOSE])
    with world.request(method=method) as llm:
        with pytest.raises(Refused):
            await whole(await llm.send(asks(), sink="llm-sg"))
        await whole(await llm.send(asks(), sink="llm-vn"))
    assert (len(world.sg.sent), len(world.vn.sent)) == (0, 1)
    assert refused(world) == [("cannot_be_treated", ("test.masked",))]
    assert replayed(world) == {()}


async def test_sending_is_judged_by_the_rules_that_hold_at_the_sink(tmp_path: Path) -> None:
    world = World(tmp_path)
    with handling(world.admit("GET", "/people", HANOI, "an")) as here:
        verdicts = {sink: here.decision.sink(sink) for sink in ("vn", "sg")}
        told = {sink: sending(here, verdict) for sink, verdict in verdicts.items() if verdict is not None}
        assert current() is here
    assert [(sink, verdict.effect, verdict.reason) for sink, verdict in told.items()] == [
        ("vn", Effect.PERMIT, None),
        ("sg", Effect.DENY, Reason.CANNOT_BE_TREATED),
    ]
