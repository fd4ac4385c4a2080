"""Whose data, not who asks: one subject or row, many of them in groups, who reads them from where, their entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from starlette.authentication import SimpleUser

from residency.adapters.pins_memory import PinsMemory
from residency.adapters.sink_memory import MemorySink
from residency.audit.recall import Beside, Recall
from residency.enforcement.about import key_text, row_of
from residency.enforcement.context import about, about_many, current
from residency.enforcement.current import Current
from residency.enforcement.point import Refusal, Request
from residency.errors import (
    NotFound,
    PinsUnavailable,
    RecordConflict,
    Refused,
    SinkUnavailable,
    UnknownStore,
    UsageError,
)
from residency.jurisdiction.pins import first_pin
from residency.model import Filing, FilingResult, Finding, Pin, Reason, StopOrder
from residency.policy.archive import facts_digest
from residency.policy.replay import Replayer
from residency.storage.locator import LocatorMemory, Locators
from tests.world import HANOI, HOME, NEVER, SG, SINGAPORE, VN, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
readers: record
sinks:
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [sg, vn], other: [vn]}
activities:
  - {route: "POST /people", subject: user, data: [personal], operation: write, store: people}
  - {route: "GET /people/{id}", subject: path.id, data: [personal], operation: read, store: people}
  - {route: "GET /people", subject: user, data: [personal], operation: read, store: people}
  - {route: "GET /both", subject: user, data: [personal], operation: read, store: [people, other]}
"""
HERE = ("mode: enforce\n", "mode: enforce\naudit: {region: sg}\n")
DECIDE = ("readers: record\n", "")
"""Where data is read is asked about, as it is where a deployment says nothing."""


def digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=32).hexdigest()


class World(Deployed):
    """People at home in Vietnam and in Singapore, and a locator of the store `people` in each."""

    def __init__(
        self, folder: Path, *, replace: Sequence[tuple[str, str]] = (), rules: Sequence[str] = (HOME,), **options: Any
    ) -> None:
        policy = load_policy(write_deployment(folder, DEPLOYMENT, rules, replace))
        self.vn, self.sg = MemorySink("vn", VN), MemorySink("sg", SG)
        super().__init__(policy, [self.sg, self.vn], **options)
        self.located = {"VN": LocatorMemory("VN"), "SG": LocatorMemory("SG")}
        self.stores.locators = Locators(self.located, digest)
        self.recorder.facts(self.facts.current())

    def request(
        self, method: str = "GET", path: str = "/people", address: str = SINGAPORE, who: str = "sue"
    ) -> Current:
        """A request as its handler has it."""
        user = SimpleUser(who) if who else None
        here = self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), user))
        assert isinstance(here, Current)
        return here

    async def settle(self, who: str, address: str) -> None:
        """`who` writes from `address`, and so gets a home."""
        with handling(self.request("POST", "/people", address, who)) as here:
            await here.store("people").put(who, who.encode())

    async def own(self, key: str, who: str, place: str = "VN") -> None:
        """The row (person, key) of a sink in `place` is `who`'s."""
        assert self.stores.locators is not None
        await self.stores.locators.note("people", place, [("person", key_text(key), self.point.perception.digest(who))])

    def since(self, mark: int) -> list[tuple[str, str | None, str | None, str | None]]:
        """(kind, sink, act, note) of every entry after the first `mark`."""
        return [(entry.kind, entry.sink, entry.act, entry.note) for entry in self.entries[mark:]]

    def replayed(self) -> set[tuple[str, ...]]:
        """What of the log's decisions comes out otherwise when they are made again."""
        facts = self.facts.current()
        replayer = Replayer({self.policy.digest: self.policy}.get, {facts_digest(facts): facts}.get)
        recall = Recall()
        taken = [recall.take(entry) for entry in self.entries]
        return {replayer.replay(*each).wrong for each in taken if not isinstance(each, Beside)}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    for who in ("an", "binh"):
        await made.settle(who, HANOI)
    for who in ("tan", "lim"):
        await made.settle(who, SINGAPORE)
    return made


# -- rows ------------------------------------------------------------------------------------------------------


async def test_a_row_is_judged_by_its_subject_whose_id_nobody_needs_to_know(world: World) -> None:
    await world.own("7", "an")
    mark = len(world.entries)
    with handling(world.request()):
        async with about(row=("person", 7)) as other:
            assert current() is other
            assert other.subject is None
            assert other.detail["account"] is None
            assert await other.store("people").get("an") == b"an"
    pin = await world.pins.get(world.point.perception.digest("an"))
    assert pin is not None
    assert {entry.subject for entry in world.entries[mark:] if entry.kind != "outcome"} == {pin.alias}
    assert [(kind, sink, act) for kind, sink, act, _ in world.since(mark)] == [
        ("decision", None, None), ("intent", "vn", None), ("outcome", "vn", "committed"),
    ]  # fmt: skip
    assert world.replayed() == {()}


async def test_a_row_that_nobody_has_is_not_found_and_no_sink_is_asked(world: World) -> None:
    mark = len(world.entries)
    with handling(world.request()) as here:
        with pytest.raises(NotFound) as caught:
            async with about(row=("person", "an")):
                pytest.fail("nothing happens inside")
        assert isinstance(caught.value, LookupError)
        assert "an" not in str(caught.value).split()
        assert current() is here
    assert world.since(mark) == []


async def test_the_locator_of_another_store_or_table_does_not_answer(world: World) -> None:
    await world.own("7", "an")
    with handling(world.request("GET", "/both")):
        for row, store in ((("note", 7), "people"), (("person", 7), "other")):
            with pytest.raises(NotFound):
                async with about(row=row, store=store):
                    pytest.fail("nothing happens inside")


async def test_where_an_activity_uses_several_stores_the_app_says_which(world: World) -> None:
    await world.own("7", "an")
    with handling(world.request("GET", "/both")):
        with pytest.raises(UsageError, match="store="):
            async with about(row=("person", 7)):
                pytest.fail("nothing happens inside")
        async with about(row=("person", 7), store="people") as other:
            assert other.pin is not None
    with handling(world.request()), pytest.raises(UnknownStore):
        async with about(row=("person", 7), store="other"):
            pytest.fail("nothing happens inside")


async def test_a_locator_that_is_away_is_no_miss(world: World) -> None:
    class Away(LocatorMemory):
        async def owners(self, keys: Sequence[str]) -> tuple[str | None, ...]:
            raise SinkUnavailable("the locator of VN cannot be reached")

    await world.own("7", "tan", "SG")
    assert world.stores.locators is not None
    world.stores.locators.by_place["VN"] = Away("VN")
    with handling(world.request()):
        async with about(row=("person", 7)) as other:  # somebody knows, so nothing is left open
            assert other.pin is not None
        assert current().trail.refusal is None
        with pytest.raises(SinkUnavailable):
            async with about(row=("person", 8)):
                pytest.fail("nothing happens inside")
        noted = current().trail.refusal
        assert noted is not None
        assert noted.reason is Reason.SINK_UNAVAILABLE


async def test_a_key_that_two_people_have_in_two_countries_is_each_one_s_own(world: World) -> None:
    await world.own("7", "an")
    await world.own("7", "tan", "SG")
    digest = world.point.perception.digest
    for who, address in (("an", HANOI), ("tan", SINGAPORE)):
        with handling(world.request(address=address, who=who)):
            async with about(row=("person", 7)) as other:
                assert other.subject_digest == digest(who)
    # Whom a request is about comes before who makes it.
    with handling(world.request(path="/people/an", who="tan")):
        async with about(row=("person", 7)) as other:
            assert other.subject_digest == digest("an")
    with handling(world.request(who="sue")):
        async with about("tan"), about(row=("person", 7)) as other:
            assert other.subject_digest == digest("tan")
        mark = len(world.entries)
        with pytest.raises(RecordConflict, match="about_many"):
            async with about(row=("person", 7)):
                pytest.fail("nothing happens inside")
        assert world.since(mark) == []
        many = await about_many(rows=[("person", 7), ("person", 8)])
        assert {group.sink: group.asked for group in many.groups} == {
            "vn": (("person", 7),), "sg": (("person", 7),),
        }  # fmt: skip
        assert many.unknown == (("person", 8),)
        for group in many.groups:
            async with group:
                (member,) = group.members
                assert member.subject_digest == digest({"vn": "an", "sg": "tan"}[group.sink])


async def test_a_deployment_without_a_locator_says_so(world: World) -> None:
    world.stores.locators = None
    with handling(world.request()), pytest.raises(UsageError, match="no locator"):
        async with about(row=("person", 7)):
            pytest.fail("nothing happens inside")


async def test_about_takes_a_subject_or_a_row(world: World) -> None:
    with handling(world.request()):
        for given in ({}, {"subject": "an", "row": ("person", 7)}):
            with pytest.raises(UsageError, match="a subject or a row"):
                async with about(**given):  # type: ignore[arg-type]  # what a caller may get wrong
                    pytest.fail("nothing happens inside")


def test_a_key_is_the_same_from_a_column_and_from_a_path() -> None:
    number = UUID("0192a0b0-0000-7000-8000-00000000000a")
    assert row_of(("person", 7)) == row_of(("person", "7")) == ("person", '["7"]')
    for text in (str(number), str(number).upper(), number.hex):
        assert row_of(("person", number)) == row_of(("person", text))
    assert row_of(("seat", {"row": 1, "no": "A"})) == row_of(("seat", {"no": "A", "row": "1"})) == ("seat", '["A","1"]')
    assert row_of(("person", {"id": 7})) == row_of(("person", 7))
    assert key_text({"a": 1, "b": 2}) != key_text({"a": 2, "b": 1})


@pytest.mark.parametrize(
    "row",
    [7, ("person",), ("person", None), ("person", True), ("person", 1.5), ("seat", (1, "A")), (1, 2), object()],
)
def test_what_is_no_row_is_refused(row: object) -> None:
    with pytest.raises(UsageError, match="a row"):
        row_of(row)


# -- many ------------------------------------------------------------------------------------------------------


async def test_many_subjects_and_rows_fall_into_a_group_for_each_sink(world: World) -> None:
    await world.own("7", "binh")
    await world.own("8", "lim", "SG")
    with handling(world.request()):
        many = await about_many(["an", "tan"], rows=[("person", 7), ("person", 8), ("person", 9)])
    assert {group.sink: group.asked for group in many.groups} == {
        "vn": ("an", ("person", 7)),
        "sg": ("tan", ("person", 8)),
    }
    assert many.unknown == (("person", 9),)
    assert many.refused == ()


async def test_one_subject_is_not_taken_for_as_many_as_its_id_has_letters(world: World) -> None:
    with handling(world.request()), pytest.raises(UsageError, match="several subjects"):
        await about_many("an")


async def test_one_act_of_a_group_leaves_an_intent_and_an_outcome_for_each_member(world: World) -> None:
    mark = len(world.entries)
    with handling(world.request()) as here:
        many = await about_many(["an", "binh", "an"])
        (group,) = many.groups
        assert group.asked == ("an", "an", "binh")
        assert len(group.members) == 2
        async with group:
            assert current() is group
            assert await current().store("people").get("an") == b"an"
        assert current() is here
    told = world.since(mark)
    assert [each[0] for each in told] == ["decision"] * 2 + ["intent"] * 2 + ["outcome"] * 2
    aliases = {(await world.pins.get(world.point.perception.digest(who))).alias for who in ("an", "binh")}  # type: ignore[union-attr]
    for kind in ("decision", "intent"):
        assert {entry.subject for entry in world.entries[mark:] if entry.kind == kind} == aliases
    assert world.replayed() == {()}


async def test_people_who_are_found_alike_share_one_decision(world: World) -> None:
    with handling(world.request()):
        many = await about_many(["x" * number for number in range(1, 501)])
    (group,) = many.groups
    assert {id(member.decision) for member in group.members} == {id(group.decision)}
    assert len({member.alias for member in group.members}) == 500


async def test_who_is_refused_stands_apart_with_the_reason_and_a_record(world: World) -> None:
    world.stop("vn")
    mark = len(world.entries)
    with handling(world.request()):
        many = await about_many(["an", "tan"])
    assert [group.sink for group in many.groups] == ["sg"]
    ((asked, error),) = many.refused
    assert asked == "an"
    assert isinstance(error, Refused)
    assert [kind for kind, *_ in world.since(mark)].count("refusal") == 1


async def test_who_is_being_moved_is_read_in_a_batch_where_their_data_still_lies(world: World) -> None:
    pin = await world.pins.get(world.point.perception.digest("an"))
    assert pin is not None
    await world.sg.put("an", b"an, not moved yet")
    await world.pins.put(dataclasses.replace(pin, moving="SG", version=pin.version + 1))
    with handling(world.request()):
        many = await about_many(["an", "binh", "tan"])
        assert sorted((group.sink, group.asked) for group in many.groups) == [
            ("sg", ("an",)),
            ("sg", ("tan",)),
            ("vn", ("binh",)),
        ]
        (group,) = [group for group in many.groups if group.asked == ("an",)]
        async with group:
            assert await current().store("people").get("an") == b"an, not moved yet"
    assert many.refused == ()
    with handling(world.request("POST", "/people", SINGAPORE)):  # who writes waits
        many = await about_many(["an"])
    assert [(asked, error.reason) for asked, error in many.refused] == [("an", "subject_moving")]


async def test_a_rule_against_the_whole_activity_refuses_whom_it_covers(tmp_path: Path) -> None:
    """Read of relationships, which the law forbids of its own people."""
    both = '{route: "GET /people", subject: user, data: [%s]'
    world = World(tmp_path, rules=(HOME, NEVER), replace=[(both % "personal", both % "relationship")])
    await world.settle("an", HANOI)
    with handling(world.request()):
        many = await about_many(["an", "tan"])
    assert [(asked, error.reason) for asked, error in many.refused] == [("an", "law_forbids")]
    assert [group.asked for group in many.groups] == [("tan",)]


async def test_a_group_whose_member_got_another_home_meanwhile_does_nothing(world: World) -> None:
    with handling(world.request()):
        many = await about_many(["an", "binh"])
        (group,) = many.groups
        pin = await world.pins.get(world.point.perception.digest("binh"))
        assert pin is not None
        await world.pins.put(dataclasses.replace(pin, home="SG", version=pin.version + 1))
        mark = len(world.entries)
        async with group:
            with pytest.raises(Refused) as caught:
                await current().store("people").get("an")
    assert caught.value.reason == "facts_moved"
    assert "committed" not in {act for _, _, act, _ in world.since(mark)}
    assert {word for _, word in world.intents} <= {"committed", "failed"}


async def test_a_group_writes_for_each_and_gives_each_a_home(world: World) -> None:
    with handling(world.request("POST", "/people", HANOI, "chi")):
        many = await about_many(["new-1", "new-2"])
        (group,) = many.groups
        async with group:
            await current().store("people").put("both", b"1")
            with pytest.raises(UsageError, match="several people"):
                await current().identify("an", {}, verified=True)
    pins: list[Pin | None] = [await world.pins.get(world.point.perception.digest(f"new-{n}")) for n in (1, 2)]
    assert {pin.home for pin in pins if pin is not None} == {group.members[0].decision.sinks[0].sink.place}
    assert None not in pins


async def test_a_group_that_a_stop_order_overtakes_ends_as_failed_for_each(world: World) -> None:
    with handling(world.request("POST", "/people", HANOI, "chi")):
        (group,) = (await about_many(["an", "binh"])).groups
        async with group:
            act = current().begin("people", "vn")
            world.stop("vn")
            with pytest.raises(Refused):
                await act.confirm()
    assert [word for _, word in world.intents[-2:]] == ["failed", "failed"]


async def test_pins_that_are_not_held_here_are_asked_for_at_once_and_one_that_fails_fails_all(tmp_path: Path) -> None:
    class Far(PinsMemory):
        fails = False

        def peek(self, subject: str) -> tuple[Pin | None, bool]:
            return None, False

        async def get(self, subject: str) -> Pin | None:
            if self.fails:
                raise PinsUnavailable("pins cannot be read")
            return await super().get(subject)

    pins = Far()
    world = World(tmp_path, pins=pins)
    await pins.put(
        first_pin(
            subject=world.point.perception.digest("an"), home="VN", finding=Finding(),
            alias="a" * 32, set_by="first_write", policy="p", at=1,
        )
    )  # fmt: skip
    with handling(world.request()):
        many = await about_many(["an", *(f"n{number}" for number in range(70))])
        assert {group.sink: "an" in group.asked for group in many.groups}["vn"] is True
        pins.fails = True
        with pytest.raises(PinsUnavailable):
            await about_many(["an"])


# -- who reads -------------------------------------------------------------------------------------------------


async def test_a_colleague_abroad_is_noted_on_what_is_done_with_the_data(world: World) -> None:
    mark = len(world.entries)
    with handling(world.request(address=SINGAPORE)):
        async with about("an") as other:
            await other.store("people").get("an")
        async with about("tan") as other:
            await other.store("people").get("tan")
    notes = [(kind, note) for kind, _, _, note in world.since(mark) if kind != "outcome"]
    assert notes == [
        ("decision", "about read_from:SG"),
        ("intent", "read_from:SG"),
        ("decision", "about"),
        ("intent", None),
    ]


async def test_a_colleague_at_home_is_not_noted_and_one_whose_place_nobody_knows_is(world: World) -> None:
    for address, note in ((HANOI, None), ("10.0.0.1", "read_from:ZZ")):
        mark = len(world.entries)
        with handling(world.request(address=address)):
            async with about("an") as other:
                async with about("binh") as nested:  # it knows from whom it is
                    assert nested.readers == other.readers
                await other.store("people").get("an")
        assert [n for kind, _, _, n in world.since(mark) if kind == "intent"] == [note]


async def test_a_path_that_names_somebody_else_is_read_by_who_asks(world: World) -> None:
    mark = len(world.entries)
    with handling(world.request(path="/people/an", address=SINGAPORE)) as here:
        await here.store("people").get("an")
    with handling(world.request(path="/people/an", address=SINGAPORE, who="an")) as here:
        await here.store("people").get("an")
    assert [n for kind, _, _, n in world.since(mark) if kind == "intent"] == ["read_from:SG", None]


async def test_an_instance_abroad_is_noted_on_every_act_that_reads(tmp_path: Path) -> None:
    world = World(tmp_path, replace=[HERE])
    await world.settle("an", HANOI)
    with handling(world.request(address=HANOI, who="an")) as here:
        await here.store("people").get("an")
    assert [entry.note for entry, _ in world.intents] == ["read_from:SG", "read_from:SG"]
    assert world.replayed() == {()}


FILED = """
  - id: test.filed
    article: art. 20
    text: What goes abroad is filed.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [["filing:vn.transfer_dossier"]]}
"""
NOBODY_READS = """
  - id: test.nobody_reads
    article: art. 4
    text: Nobody abroad reads it, though it may lie there.
    applies: {anchor: territory, data: [personal], sink: {abroad: true, scope: reader}}
    duty: {effect: deny}
"""


@pytest.mark.parametrize(
    ("rule", "reason"),
    [(HOME, "only_in_country"), (FILED, "filing_missing"), (NOBODY_READS, "law_forbids")],
)
async def test_who_reads_abroad_is_refused_what_may_not_go_there_by_the_rules_about_sinks(
    tmp_path: Path, rule: str, reason: str
) -> None:
    world = World(tmp_path, replace=[DECIDE], rules=[rule])
    for who, address in (("an", HANOI), ("binh", HANOI), ("tan", SINGAPORE)):
        await world.settle(who, address)
    for address, may in ((HANOI, True), (SINGAPORE, False), ("10.0.0.1", False)):  # nobody knows where that is
        mark = len(world.entries)
        with handling(world.request(address=address)):
            async with about("tan") as other:  # no law here covers him
                await other.store("people").get("tan")
            if may:
                async with about("an") as other:
                    await other.store("people").get("an")
                continue
            with pytest.raises(Refused) as caught:
                async with about("an"):
                    pass
            many = await about_many(["an", "tan", "binh"])
        assert (caught.value.reason, len(caught.value.rules)) == (reason, 1)
        assert [each for each, error in many.refused if error.reason == reason] == ["an", "binh"]
        told = [entry for entry in world.entries[mark:] if entry.kind == "refusal"]
        assert [(entry.reason, entry.rules == caught.value.rules) for entry in told] == [(reason, True)] * 3
        read = "reader:ZZ" if address == "10.0.0.1" else "reader:SG"
        assert {entry.evidence for entry in told} == {(read,)}
    here = world.point.admit(Request("GET", "/people/an", b"/people/an", (), (SINGAPORE, 1), SimpleUser("sue")))
    assert isinstance(here, Refusal)
    assert here.reason.value == reason
    assert world.replayed() == {()}


async def test_what_was_filed_for_reading_there_lets_them_read_there_alone(tmp_path: Path) -> None:
    world = World(tmp_path, replace=[DECIDE], rules=[FILED])
    await world.settle("an", HANOI)
    filing = Filing("vn.transfer_dossier", "1", 0, FilingResult.PASSED, sinks=frozenset({"reader:SG"}))
    world.facts.change(lambda now: replace(now, epoch=now.epoch + 1, filings=(filing,)))
    world.recorder.facts(world.facts.current())
    with handling(world.request(address=SINGAPORE)):
        async with about("an") as other:
            await other.store("people").get("an")
    with handling(world.request(address="10.0.0.1")), pytest.raises(Refused):
        async with about("an"):
            pass
    assert world.replayed() == {()}


async def test_a_stop_order_that_comes_meanwhile_stops_reading_abroad_at_the_next_act(tmp_path: Path) -> None:
    harmless = FILED.replace('require: [["filing:vn.transfer_dossier"]]', "label: [seen]")
    world = World(tmp_path, replace=[DECIDE], rules=[harmless])
    await world.settle("an", HANOI)
    with handling(world.request(address=SINGAPORE)):
        async with about("an") as other:
            people = other.store("people")
            await people.get("an")
            order = StopOrder("7", "*", 0)
            world.facts.change(lambda now: replace(now, epoch=now.epoch + 1, stop_orders=(order,)))
            world.recorder.facts(world.facts.current())
            with pytest.raises(Refused) as caught:
                await people.get("an")
    assert caught.value.reason == "stop_order"
    assert world.replayed() == {()}


async def test_an_instance_abroad_serves_nobody_whose_data_may_not_be_read_there_and_erases_it_all_the_same(
    tmp_path: Path,
) -> None:
    erase = '  - {route: "DELETE /people", subject: user, data: [personal], operation: erase, store: people}\n'
    last = '  - {route: "GET /both"'
    world = World(tmp_path, replace=[DECIDE, HERE, (last, erase + last)])
    for method, may in (("GET", False), ("POST", False), ("DELETE", True)):
        here = world.point.admit(Request(method, "/people", b"/people", (), (HANOI, 1), SimpleUser("an")))
        assert isinstance(here, Current) is may
    here = world.point.admit(Request("GET", "/people", b"/people", (), (SINGAPORE, 1), SimpleUser("tan")))
    assert isinstance(here, Current)
    assert world.replayed() == {()}


async def test_an_instance_abroad_sends_home_whom_it_may_not_read_of(tmp_path: Path) -> None:
    other = ("stores: {people", 'hand_over: {VN: "https://vn.example"}\nstores: {people')
    world = World(tmp_path, replace=[DECIDE, HERE, other], rules=[FILED])
    here = world.point.admit(Request("GET", "/people", b"/people", (), (HANOI, 1), SimpleUser("an")))
    assert isinstance(here, Refusal)
    assert (here.reason.value, here.home, world.entries[-1].note) == ("filing_missing", "VN", "handed_over:VN")


async def test_an_office_on_private_addresses_lies_where_the_deployment_says(tmp_path: Path) -> None:
    offices = ("stores: {people", "offices: {VN: [10.1.0.0/16, 10.2.0.1], SG: 10.9.0.0/16}\nstores: {people")
    world = World(tmp_path, replace=[DECIDE, offices])
    await world.settle("an", HANOI)
    for address, read in (("10.1.2.3", True), ("10.2.0.1", True), ("10.9.0.1", False), ("10.3.0.1", False)):
        with handling(world.request(address=address)):
            if read:
                async with about("an") as other:
                    assert await other.store("people").get("an") == b"an"
                continue
            with pytest.raises(Refused):
                async with about("an"):
                    pass
    assert [entry.evidence for entry in world.entries if entry.kind == "refusal"] == [("reader:SG",), ("reader:ZZ",)]
