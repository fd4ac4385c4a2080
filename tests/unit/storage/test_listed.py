"""Lists while people are moved and where copies are kept: whatever lies twice is told once, in order, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters.pins_memory import PinsMemory
from residency.enforcement.current import Current
from residency.errors import PinsUnavailable, SinkUnavailable
from residency.model import Pin
from residency.storage.gather import Gathering, Listing, Page
from residency.storage.listed import Found, SortKey, Told, Wanted, rank
from residency.storage.under_way import end, is_under_way, set_out
from tests.listing import PLACES, a_lister

pytestmark = pytest.mark.anyio
ORDER = (SortKey(), SortKey())
Row = tuple[Any, int]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def here() -> Iterator[Current]:
    with a_lister() as made:
        yield made


@dataclass
class Person:
    """Whose rows lie in `at`; copies in others, as they are or with another value to sort by. `turns` = with which page
    their pin says that they are home, for who is moved to `to`, where all of it is copied."""

    at: str
    rows: list[Row]
    pinned: bool
    copies: dict[str, list[Row]]
    to: str | None = None
    turns: int = 0


values = st.none() | st.integers(-2, 2)


@st.composite
def people(draw: st.DrawFn) -> dict[str, Person]:
    numbers = iter(range(100))
    made = {}
    for which in range(draw(st.integers(0, 7))):
        at = draw(st.sampled_from(list(PLACES)))
        rows = [(draw(values), next(numbers)) for _ in range(draw(st.integers(1, 4)))]
        kind = draw(st.sampled_from(("plain", "pinned", "copied", "moved")))
        person = Person(at, rows, kind != "plain", {})
        others = [sink for sink in PLACES if sink != at]
        if kind == "copied":
            for sink in draw(st.lists(st.sampled_from(others), unique=True, min_size=1)):
                changed = draw(st.booleans())
                person.copies[sink] = [(draw(values) if changed else value, number) for value, number in rows]
        elif kind == "moved":
            person.to = draw(st.sampled_from(others))
            person.copies[person.to] = rows
            person.turns = draw(st.integers(0, 5))
        made[f"p{which}"] = person
    return made


def pin_of(here: Current, who: str, person: Person, page: int) -> Pin | None:
    if not person.pinned:
        return None
    pin = Pin(here.point.perception.digest(who), PLACES[person.at], (), "a" * 32, "first_write", "p", 0)
    if person.to is None:
        return pin
    home = PLACES[person.to]
    return replace(pin, home=home, set_by="move", moving=PLACES[person.at] if page < person.turns else None)


def put(here: Current, them: dict[str, Person], page: int) -> None:
    pins = here.point.homes.pins
    assert isinstance(pins, PinsMemory)
    found = [pin_of(here, who, person, page) for who, person in them.items()]
    pins._pins = {pin.subject: pin for pin in found if pin is not None}


def copied(person: Person, sink: str, page: int) -> Sequence[Row]:
    """What lies at a sink of copies: of who is moved a part only, until their pin turns."""
    rows = person.copies.get(sink, [])
    return rows[: page % 3] if person.to == sink and page < person.turns else rows


async def every(here: Current, them: dict[str, Person], limit: int, asked: list[int] | None = None) -> list[Page[Any]]:
    """All pages; pins turn between them. No sink is sent a key but of its own rows: it may not have any other."""
    own: dict[str, set[tuple[Any, ...]]] = {name: set() for name in PLACES}

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        await anyio.lowlevel.checkpoint()
        if asked is not None:
            asked.append(count)
        mine = [
            Found(row[1], row, who)
            for who, person in them.items()
            for row in (person.rows if person.at == listing.sink else copied(person, listing.sink, len(told)))
        ]
        mine.sort(key=lambda found: rank(found.key, ORDER))
        own[listing.sink].update(found.key for found in mine)
        if after is not None:
            assert after in own[listing.sink]
            mine = [found for found in mine if rank(found.key, ORDER) > rank(after, ORDER)]
        return mine[:count]

    told: list[Page[Any]] = []
    cursor = None
    while not told or cursor is not None:
        put(here, them, len(told))
        told.append(
            await Gathering(here, "people").page(
                fetch, ORDER, "list", limit=limit, cursor=cursor, judged=True, whose=True, twice=True
            )
        )
        cursor = told[-1].cursor
    return told


@given(them=people(), limit=st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_every_row_is_told_once_and_in_order_wherever_copies_of_it_lie(
    here: Current, them: dict[str, Person], limit: int
) -> None:
    pages = anyio.run(every, here, them, limit)
    told = [number for page in pages for number in page]
    rows = sorted((row for person in them.values() for row in person.rows), key=lambda row: rank(row, ORDER))
    assert told == [number for _, number in rows]
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == 1 or len(pages[-1]) > 0
    assert not any(page.repeats for page in pages)


@given(
    rows=st.dictionaries(st.sampled_from(list(PLACES)), st.lists(st.tuples(values, st.integers(0, 9)), max_size=8)),
    order=st.tuples(st.builds(SortKey, st.booleans(), st.booleans()), st.builds(SortKey, st.booleans())),
    limit=st.integers(1, 12),
    size=st.integers(1, 9),
)
@settings(max_examples=300, deadline=None)
def test_a_page_of_which_every_row_counts_is_as_one_of_which_each_is_looked_at(
    rows: dict[str, list[Row]], order: tuple[SortKey, SortKey], limit: int, size: int
) -> None:
    # Not sorted here: what a database sorts otherwise than Python stays in its order.
    quick, slow = Told(order, limit), Told(order, limit, floors={"elsewhere": (0, 0)})
    for told in (quick, slow):
        for sink, mine in rows.items():
            told.take(sink, Wanted(None, size), [Found((sink, number), row) for number, row in enumerate(mine[:size])])
    assert quick.page(tuple(PLACES), {}) == slow.page(tuple(PLACES), {})


async def test_what_arrives_while_a_page_is_read_is_on_it(here: Current) -> None:
    """Its new home was read before it came, its old one before it went: the pin says that it is there now."""
    person = Person("sg", [(1, 1)], True, {}, to="vn")
    them = {"anh": person, "binh": Person("vn", [(0, 0), (2, 2)], True, {})}
    put(here, them, 0)
    seen: list[str] = []

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        seen.append(listing.sink)
        anh, binh = Found("anh", (1, 1), "anh"), [Found("b0", (0, 0), "binh"), Found("b2", (2, 2), "binh")]
        if listing.sink == "vn":
            return binh if seen.count("vn") == 1 else [binh[0], anh, binh[1]]
        return [anh] if listing.sink == "sg" else []

    page = await Gathering(here, "people").page(fetch, ORDER, "list", limit=5, judged=True, whose=True, twice=True)
    assert list(page) == ["b0", "anh", "b2"]
    assert seen.count("vn") == 2


async def test_whose_home_the_store_has_no_sink_in_is_told_from_where_they_are_found(here: Current) -> None:
    them = {"anh": Person("sg", [(1, 1)], True, {})}
    put(here, them, 0)
    pins = here.point.homes.pins
    assert isinstance(pins, PinsMemory)
    pins._pins = {key: replace(pin, home="FR") for key, pin in pins._pins.items()}

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        return [Found("anh", (1, 1), "anh")] if listing.sink == "sg" else []

    page = await Gathering(here, "people").page(fetch, ORDER, "list", limit=5, judged=True, whose=True, twice=True)
    assert list(page) == ["anh"]


async def test_who_has_no_pin_yet_and_is_copied_ahead_is_told_once(here: Current) -> None:
    put(here, {}, 0)

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        rows = [Found(f"p{n}", (n, n), f"p{n}") for n in range(1, 7)] if listing.sink in ("sg", "vn") else []
        return [row for row in rows if after is None or row.key > after][:count]

    gathering = Gathering(here, "people")
    page = await gathering.page(fetch, ORDER, "list", limit=4, judged=True, whose=True, twice=True)
    assert list(page) == ["p1", "p2", "p3", "p4"]
    page = await gathering.page(fetch, ORDER, "list", limit=4, cursor=page.cursor, judged=True, whose=True, twice=True)
    assert (list(page), page.cursor) == (["p5", "p6"], None)


async def test_behind_many_copies_a_page_is_full_and_no_more_is_read_than_is_passed(here: Current) -> None:
    them = {f"p{n}": Person("vn", [(n, n)], True, {"sg": [(n - 500, n)]}) for n in range(300)}
    them["sue"] = Person("sg", [(1000, 1000)], True, {})
    asked: list[int] = []
    pages = await every(here, them, 100, asked)
    assert [len(page) for page in pages] == [100, 100, 101 - 0] if len(pages) == 3 else [100, 100, 100, 1]
    assert sum(asked) < 4000


async def test_a_home_that_is_away_is_missing_and_copies_do_not_stand_in_for_it(here: Current) -> None:
    them = {"anh": Person("vn", [(1, 1)], True, {"sg": [(1, 1)]})}
    put(here, them, 0)

    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        if listing.sink == "vn":
            raise SinkUnavailable("away")
        return [Found("copy", (1, 1), "anh")] if listing.sink == "sg" else []

    page = await Gathering(here, "people").page(fetch, ORDER, "list", limit=5, judged=True, whose=True, twice=True)
    assert (list(page), dict(page.missing), page.cursor) == ([], {"vn": "sink_unavailable"}, None)


async def test_nobody_s_pin_is_asked_for_but_while_somebody_is_on_their_way(here: Current) -> None:
    homes, digest = here.point.homes, here.point.perception.digest
    put(here, {}, 0)
    gathering = Gathering(here, "people")
    assert not await gathering.may_repeat()
    await set_out(homes, digest, "SG", "VN")
    await set_out(homes, digest, "SG", "VN")
    assert await gathering.may_repeat()
    await end(homes, digest)
    await end(homes, digest)
    assert not await gathering.may_repeat()
    assert not await is_under_way(homes, digest)


async def test_a_list_that_cannot_tell_whose_rows_are_says_that_some_may_repeat(here: Current) -> None:
    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        return [Found("row", (1, 1))] if listing.sink != "us" else []

    page = await Gathering(here, "people").page(fetch, ORDER, "list", limit=5, judged=True, whose=False, twice=True)
    assert (list(page), page.repeats) == (["row", "row"], True)


async def test_where_no_pins_can_be_had_no_list_is_told(here: Current) -> None:
    async def fetch(listing: Listing, after: tuple[Any, ...] | None, count: int) -> Sequence[Found]:
        return [Found("row", (1, 1), "anh")]

    pins = here.point.homes.pins
    assert isinstance(pins, PinsMemory)
    pins._closed = True
    try:
        with pytest.raises(PinsUnavailable):
            await Gathering(here, "people").page(fetch, ORDER, "list", limit=5, judged=True, whose=True, twice=True)
    finally:
        pins._closed = False
