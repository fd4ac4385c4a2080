"""Lists of people under several laws: each row is told only where `about()` of its subject would let it be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters.pins_memory import PinsMemory
from residency.audit.recall import Beside, Recall
from residency.enforcement.current import Current
from residency.enforcement.moving import FOLLOWED
from residency.errors import PinsUnavailable, Refused
from residency.model import Anchor, Effect, Pin, SubjectId, Trust
from residency.policy.archive import facts_digest
from residency.policy.replay import Replayer
from residency.storage.gather import Gathering, Listing, Page
from residency.storage.judged import Found, Lying
from residency.storage.listed import SortKey
from residency.storage.under_way import end, set_out
from tests.listing import DEPLOYMENT, PLACES, THREE, list_request, three_sinks
from tests.world import HANOI, HOME, SINGAPORE, Deployed, handling, load_policy, write_deployment

pytestmark = pytest.mark.anyio
AMERICA = "8.8.8.8"
LAWS = ("laws: [vn/test]", "laws: [vn/test, sg/test]")
COVERED = ("presume: {territory: not_covered}", "presume: {territory: covered}")
OBSERVED = ("mode: enforce", "mode: observe")
ABROAD = """
  - id: sg.abroad
    article: s. 26
    text: Nothing of a resident is read in the United States.
    applies: {anchor: residence, data: [personal], sink: {in: US}}
    duty: {effect: deny}
"""
DOSSIER = """
  - id: test.dossier
    article: art. 20
    text: A dossier within 60 days.
    applies: {anchor: territory, data: [personal], sink: {abroad: true}}
    duty: {require: [{any: "filing:vn.transfer_dossier", within: 60 days, after: first_transfer}]}
"""
ORDER = (SortKey(),)
Rows = Mapping[str, Sequence[tuple[str, str | None]]]


class World(Deployed):
    """Three sinks, and where their people lie."""

    def __init__(
        self,
        folder: Path,
        replace: Sequence[tuple[str, str]] = (),
        rules: Sequence[str] = (HOME,),
        pins: PinsMemory | None = None,
    ) -> None:
        file = write_deployment(folder, DEPLOYMENT, rules, [THREE, *replace])
        law = (folder / "laws" / "vn" / "test.yaml").read_text()
        (folder / "laws" / "sg").mkdir()
        (folder / "laws" / "sg" / "test.yaml").write_text(
            law[: law.index("rules:")].replace("jurisdiction: VN", "jurisdiction: SG") + "rules:" + ABROAD
        )
        super().__init__(load_policy(file), three_sinks(), pins=pins or PinsMemory())
        self.caller = HANOI if self.point.readers == () else AMERICA

    @contextmanager
    def lister(self) -> Iterator[Current]:
        with handling(self.point.admit(list_request(self.caller))) as here:
            yield here

    def pin(
        self,
        who: str,
        home: str,
        *anchors: tuple[Anchor, str],
        moving: str | None = None,
        trust: Trust = Trust.VERIFIED,
    ) -> None:
        assert isinstance(self.point.homes.pins, PinsMemory)
        digest = self.point.perception.digest(who)
        told = tuple((anchor, place, trust) for anchor, place in anchors)
        self.point.homes.pins._pins[digest] = Pin(digest, home, told, "a" * 32, "move", "p", 0, moving=moving)

    async def page(self, rows: Rows, *, limit: int = 100, cursor: str | None = None, **told: Any) -> Page[Any]:
        """One page of rows, (what, whose) by sink, that sort by what they are."""

        async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
            mine = sorted(row for row in rows.get(listing.sink, ()) if after is None or row[0] > after[0])
            return [Found(f"{listing.sink}:{what}", (what,), whose) for what, whose in mine[:count]]

        how = {"judged": True, "whose": True, **told}
        with self.lister() as here:
            return await Gathering(here, "people").page(fetch, ORDER, "list", limit=limit, cursor=cursor, **how)


COVERS = (Anchor.TERRITORY, "VN")


async def test_who_is_covered_and_was_not_moved_yet_is_not_told_from_abroad(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pin("an", "VN", COVERS)
    world.pin("binh", "SG", COVERS)  # by a law of Vietnam, and pinned abroad before it was in force
    world.pin("tan", "SG", (Anchor.TERRITORY, "SG"))
    page = await world.page(
        {"sg": [("1", "an"), ("2", "binh"), ("3", "tan")], "vn": [("4", "an")], "us": [("5", "an")]}
    )
    assert list(page) == ["sg:3", "vn:4"]
    assert (page.withheld, page.partial, page.missing) == ({"only_in_country": 3}, True, {})


async def test_while_somebody_is_moved_they_are_told_from_where_their_data_lies(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pin("an", "VN", COVERS, moving="SG")
    await set_out(world.point.homes, world.point.perception.digest, "SG", "VN")
    rows = {"sg": [("1", "an")], "vn": [("1", "an")], "us": [("1", "an")]}
    page = await world.page(rows, twice=True)
    assert (list(page), page.withheld) == (["sg:1"], {})
    world.stop("sg")
    page = await world.page(rows, twice=True)
    assert (list(page), page.withheld) == ([], {"stop_order": 1})
    world.stop()
    world.pin("an", "VN", COVERS)
    await end(world.point.homes, world.point.perception.digest)
    page = await world.page(rows)
    assert (list(page), page.withheld) == (["vn:1"], {"only_in_country": 2})


async def test_who_has_no_pin_and_of_whom_nothing_is_told_is_presumed_as_the_deployment_says(tmp_path: Path) -> None:
    rows: Rows = {"sg": [("1", "zoe"), ("2", None)], "vn": [("3", "yen"), ("4", None)]}
    for folder, replace, told, left_out in (
        ("a", [COVERED], ["vn:3", "vn:4"], {"only_in_country": 2}),
        ("b", [], ["sg:1", "sg:2", "vn:3", "vn:4"], {}),
        ("c", [COVERED, OBSERVED], ["sg:1", "sg:2"], {}),  # the app's first sink alone
    ):
        (tmp_path / folder).mkdir()
        world = World(tmp_path / folder, replace)
        page = await world.page(rows)
        assert (list(page), page.withheld) == (told, left_out)
        page = await world.page(rows, whose=False)
        assert len(page) + sum(page.withheld.values()) == (2 if "observe" in str(replace) else 4)
    world = World(tmp_path, [COVERED])
    assert len(await world.page(rows, judged=False)) == 4  # of tables that `records:` does not name


async def test_who_brings_somebody_else_s_data_along_is_told_where_both_may_be(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pin("an", "VN", COVERS)
    world.pin("tan", "SG", (Anchor.TERRITORY, "SG"))

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        both = [Found("both", ("1",), "tan", ("an",)), Found("own", ("2",), "tan", ("tan",))]
        return both if listing.sink == "sg" else []

    with world.lister() as here:
        page = await Gathering(here, "people").page(fetch, ORDER, "x", limit=5, judged=True, whose=True)
    assert (list(page), page.withheld) == (["own"], {"only_in_country": 1})


async def test_a_law_that_bars_a_reader_s_place_bars_their_rows_wherever_they_lie(tmp_path: Path) -> None:
    world = World(tmp_path, [LAWS, ("mode: enforce\n", "mode: enforce\naudit: {region: us}\n")])
    world.pin("sam", "US", (Anchor.RESIDENCE, "SG"))
    world.pin("joe", "US", (Anchor.RESIDENCE, "US"), (Anchor.TERRITORY, "US"))
    page = await world.page({"us": [("1", "sam"), ("2", "joe")]})
    assert list(page) == ["us:2"]
    assert page.withheld == {"law_forbids": 1}


async def test_what_is_left_out_is_counted_once_over_all_pages_which_are_full(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pin("an", "VN", COVERS)
    world.pin("tan", "SG", (Anchor.TERRITORY, "SG"))
    rows = {
        "sg": [(f"{n:03}", "an" if n % 5 else "tan") for n in range(150)],
        "vn": [(f"{n:03}x", "an") for n in range(0, 150, 10)],
    }
    for limit in (1, 7, 200):
        told: list[str] = []
        left_out: Counter[str] = Counter()
        cursor = None
        pages: list[Page[Any]] = []
        while not pages or cursor is not None:
            page = await world.page(rows, limit=limit, cursor=cursor)
            pages.append(page)
            told += page
            left_out.update(page.withheld)
            cursor = page.cursor
        assert [each.partition(":")[2] for each in told] == sorted(
            [what for what, whose in rows["sg"] if whose == "tan"] + [what for what, _ in rows["vn"]]
        )
        assert left_out == {"only_in_country": 120}
        assert all(len(page) == limit for page in pages[:-1])


async def test_what_is_left_out_leaves_an_entry_that_names_nobody_and_is_replayed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pin("an", "VN", COVERS)
    page = await world.page({"sg": [("1", "an"), ("2", "an")]})
    assert page.withheld == {"only_in_country": 2}
    (refused,) = [entry for entry in world.entries if entry.kind == "refusal"]
    assert (refused.sink, refused.reason, refused.subject) == ("sg", "only_in_country", None)
    assert refused.jurisdictions == ("VN",)
    # It is of the decision on such people, and says the same when that is made again.
    facts = world.facts.current()
    replayer = Replayer({world.policy.digest: world.policy}.get, {facts_digest(facts): facts}.get)
    recalled = Recall().take(refused)
    assert not isinstance(recalled, Beside)
    assert replayer.replay(*recalled).wrong == ()


async def test_rows_are_judged_by_what_holds_once_they_were_read(tmp_path: Path) -> None:
    world = World(tmp_path, rules=(DOSSIER,))
    world.pin("an", "SG", COVERS)
    assert list(await world.page({"sg": [("1", "an")]})) == ["sg:1"]
    assert [(event.kind, event.place) for event in world.noted.events()] == [("first_transfer", "VN")]

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        world.clock.advance(90 * 86_400_000_000)
        return [Found("row", ("1",), "an")] if listing.sink == "sg" else []

    with world.lister() as here:
        page = await Gathering(here, "people").page(fetch, ORDER, "x", limit=5, judged=True, whose=True)
    assert (list(page), page.withheld) == ([], {"filing_missing": 1})


async def test_an_order_that_comes_while_a_page_is_read_holds_for_all_of_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.pin("an", "VN", COVERS)
    rows = [Found(f"{n}", (f"{n}",), "an" if n < 3 else "tan") for n in range(9)]

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        if after is not None:
            world.stop("sg")
        return [row for row in rows if after is None or row.key > after][:count] if listing.sink == "sg" else []

    with world.lister() as here:
        page = await Gathering(here, "people").page(fetch, ORDER, "x", limit=4, judged=True, whose=True)
    assert (list(page), page.withheld) == ([], {"stop_order": 9})


async def test_each_look_goes_by_what_holds_then_also_of_people_of_whom_the_same_is_known(tmp_path: Path) -> None:
    world = World(tmp_path)
    for who in ("an", "binh", "chi"):
        world.pin(who, "SG", (Anchor.TERRITORY, "SG"))
    told: list[str | None] = []
    with world.lister() as here:
        lying = Lying(here, PLACES, twice=False)
        for who, stopped in (("an", ()), ("binh", ("sg",)), ("chi", ())):
            world.stop(*stopped)
            found = Found("row", ("1",), who)
            assert lying.look_now([("sg", found)])
            against = lying.against("sg", found)
            told.append(None if against is None else against.reason.value)
            assert lying.clear is (against is None)
    assert told == [None, "stop_order", None]


async def test_what_is_to_be_waited_for_is_not_told_at_once(tmp_path: Path) -> None:
    class Far(PinsMemory):
        def peek(self, subject: str) -> tuple[Pin | None, bool]:
            return None, False

    leaning = World(tmp_path, rules=(DOSSIER,))
    leaning.pin("an", "SG", COVERS)  # reading it is the first event of a term
    (tmp_path / "far").mkdir()
    away = World(tmp_path / "far", pins=Far())
    away.pin("an", "VN", COVERS)
    found = Found("row", ("1",), "an")
    for world, against in ((leaning, None), (away, "only_in_country")):
        with world.lister() as here:
            lying = Lying(here, PLACES, twice=False)
            assert not lying.look_now([("sg", found)])
            await lying.look([("sg", found)])
            answer = lying.against("sg", found)
            assert (None if answer is None else answer.reason.value) == against
    assert [event.kind for event in leaning.noted.events()] == ["first_transfer"]


async def test_where_no_pins_can_be_had_nothing_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert isinstance(world.point.homes.pins, PinsMemory)
    world.point.homes.pins._closed = True
    with pytest.raises(PinsUnavailable):
        await world.page({"sg": [("1", "an")]})


anchors = st.lists(
    st.tuples(st.sampled_from((Anchor.TERRITORY, Anchor.RESIDENCE)), st.sampled_from(("VN", "SG", "US"))), max_size=2
)
person = st.tuples(
    st.booleans(),  # whether there is a pin
    st.sampled_from(("VN", "SG", "US")),
    anchors,
    st.none() | st.sampled_from(("VN", "SG", "US")),
    st.sampled_from((Trust.DECLARED, Trust.VERIFIED)),
)
_worlds: dict[tuple[bool, bool], World] = {}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[bool, bool], World]:
    made = {}
    for covered in (True, False):
        for abroad in (True, False):
            replace = [LAWS, *([COVERED] if covered else [])]
            replace += [("mode: enforce\n", "mode: enforce\naudit: {region: us}\n")] if abroad else []
            made[covered, abroad] = World(tmp_path_factory.mktemp("world"), replace)
    return made


@given(
    covered=st.booleans(),
    abroad=st.booleans(),
    caller=st.sampled_from((HANOI, SINGAPORE, AMERICA)),
    people=st.lists(person, max_size=5),
    stopped=st.sampled_from(("", "sg", "us")),
)
@settings(max_examples=150, deadline=None)
def test_no_row_is_told_that_about_its_subject_would_not_let_be_read_there(
    worlds: dict[tuple[bool, bool], World],
    covered: bool,
    abroad: bool,
    caller: str,
    people: list[tuple[bool, str, list[tuple[Anchor, str]], str | None, Trust]],
    stopped: str,
) -> None:
    world = worlds[covered, abroad]
    assert isinstance(world.point.homes.pins, PinsMemory)
    world.point.homes.pins._pins.clear()
    world.caller = AMERICA if abroad else caller
    world.stop(*([stopped] if stopped else []))
    for number, (pinned, home, told, moving, trust) in enumerate(people):
        if pinned:
            world.pin(f"p{number}", home, *told, moving=None if moving == home else moving, trust=trust)
    rows = {sink: [(f"{number}", f"p{number}") for number in range(len(people))] for sink in PLACES}

    async def allowed() -> set[str]:
        found = set()
        for number in range(len(people)):
            with world.lister() as here:
                try:
                    other = await here.point.about(here, SubjectId(f"p{number}"))
                except Refused:
                    continue
                for verdict in other.decision.sinks:
                    moved = other.pin is not None and other.pin.moving == verdict.sink.place
                    if verdict.effect is Effect.PERMIT or (moved and verdict.reason in FOLLOWED):
                        found.add(f"{verdict.sink.name}:{number}")
        return found

    async def both() -> None:
        may = await allowed()
        try:
            page = await world.page(rows)
        except Refused:
            return  # no sink at all may be read
        shown = set(page)
        assert shown == {each for each in may if each.partition(":")[0] not in page.missing}
        assert len(shown) + sum(page.withheld.values()) == len(people) * (3 - len(page.missing))

    anyio.run(both)
