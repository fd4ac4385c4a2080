"""Lists over several sinks of rows: one order, pages that lose and repeat nothing, and what is missing said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Numeric, String, func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

import residency
from residency.adapters.pins_memory import PinsMemory
from residency.adapters.session_sql import open_session
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_sql import SqlSink
from residency.errors import CallerError, NoDecision, Refused, UsageError
from residency.integrations.sqlalchemy import async_sessionmaker, create_all, uuid7_key
from residency.model import Anchor, Pin, Trust
from residency.storage.gather import Page
from residency.storage.under_way import end, set_out
from tests.rows import BACKENDS, Place, Rows, places_of
from tests.world import HANOI, SG, SINGAPORE, VN, Deployed, load_policy, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
readers: record
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn], uploads: [objects]}
activities:
  - {route: "POST /people", subject: user, data: [personal], operation: write, store: people}
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
  - {route: "GET /mine", subject: user, data: [personal], operation: read, store: people}
  - {route: "GET /uploads", subject: none, data: [content], operation: read, store: uploads}
"""
Session = async_sessionmaker("people")


class Base(DeclarativeBase):
    """This test's models."""


class Person(Base):
    """A row with a column of each kind that lists are sorted by."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    name: Mapped[str]
    age: Mapped[int | None]
    born: Mapped[date | None]
    seen: Mapped[datetime | None]
    owes: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    number: Mapped[UUID | None]
    nick: Mapped[str | None] = mapped_column(
        String(collation="NOCASE").with_variant(String(collation="und-x-icu"), "postgresql")
    )


class World(Rows):
    """Two sinks of people, and who was put there."""

    def __init__(self, folder: Path, places: dict[str, Place], replace: Sequence[tuple[str, str]] = ()) -> None:
        self.folder, self.places = folder, places
        self.vn = SqlSink("people-vn", VN, places["vn"].url)
        self.sg = SqlSink("people-sg", SG, places["sg"].url)
        policy = load_policy(write_deployment(folder, DEPLOYMENT, replace=replace))
        Deployed.__init__(self, policy, [self.vn, self.sg, MemorySink("objects", VN)], open_session=open_session)

    async def prepare(self) -> None:
        await create_all(Base.metadata, self.stores, "people")

    async def put(self, address: str, people: Iterable[Person]) -> None:
        """These are of people who write from `address`."""
        with self.request(address=address, who=f"who-{address}"):
            async with Session.begin() as session:
                session.add_all(people)

    async def page(
        self,
        statement: Any,
        limit: int,
        cursor: str | None = None,
        *,
        method: str = "GET",
        path: str = "/people",
        who: str = "sue",
    ) -> Page[Any]:
        """One page of a list."""
        with self.request(method, path, SINGAPORE, who):
            async with residency.gather("people") as people:
                return await people.scalars(statement, limit=limit, cursor=cursor)

    async def pages(
        self, statement: Any, limit: int, *, address: str = HANOI, path: str = "/people", wait: float | None = 30
    ) -> list[Page[Any]]:
        """Every page of a list, each got by a request of its own."""
        pages: list[Page[Any]] = []
        cursor = None
        while not pages or cursor is not None:
            with self.request("GET", path, address):
                async with residency.gather("people", wait=wait) as people:
                    pages.append(await people.scalars(statement, limit=limit, cursor=cursor))
            cursor = pages[-1].cursor
        return pages


@pytest.fixture(params=BACKENDS[:2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, places_of(request.param, tmp_path, request))
    await made.stores.start()
    await made.prepare()
    yield made
    await made.stores.aclose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


BY_NAME = select(Person).order_by(Person.name)
VN_NAMES, SG_NAMES = ["Anh", "Chi", "Đức", "an", "Z"], ["Ah", "Beng", "Chi", "Émile", "a", "z", "😀"]


def down(name: str) -> list[int]:
    """What sorts a text the other way."""
    return [*(-ord(each) for each in name), 1]


async def full(world: World) -> None:
    for address, names in ((HANOI, VN_NAMES), (SINGAPORE, SG_NAMES)):
        await world.put(address, [Person(name=name, age=len(name) if len(name) % 2 else None) for name in names])


@pytest.mark.parametrize("world", BACKENDS, indirect=True)
async def test_people_of_two_sinks_come_in_one_order_page_by_page(world: World) -> None:
    await full(world)
    for limit in (1, 2, 5, 12, 50):
        pages = await world.pages(select(Person).order_by(Person.name), limit)
        assert [person.name for page in pages for person in page] == sorted(VN_NAMES + SG_NAMES)
        assert all(len(page) == limit for page in pages[:-1])
        assert not any(page.partial for page in pages)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ([Person.name.desc()], lambda p: down(p.name)),
        ([Person.age, Person.name], lambda p: (p.age is None, p.age or 0, p.name)),
        ([Person.age.desc(), Person.name], lambda p: (p.age is None, -(p.age or 0), p.name)),
        ([Person.age.desc().nulls_first(), Person.name], lambda p: (p.age is not None, -(p.age or 0), p.name)),
        ([Person.age.nulls_first(), Person.name.desc()], lambda p: (p.age is not None, p.age or 0, down(p.name))),
        ([Person.age.label("years"), Person.id], lambda p: (p.age is None, p.age or 0, p.id)),
        ([func.lower(Person.name), Person.id], lambda p: None),
    ],
    ids=["desc", "nulls-last", "desc-nulls-last", "desc-nulls-first", "mixed", "label", "expression"],
)  # fmt: skip
async def test_every_order_is_kept_and_nothing_is_lost_or_told_twice(world: World, order: Any, key: Any) -> None:
    await full(world)
    for limit in (1, 3, 7):
        pages = await world.pages(select(Person).order_by(*order), limit)
        people = [person for page in pages for person in page]
        assert len({person.id for person in people}) == len(people) == 12
        keys = [key(person) for person in people]
        if None not in keys:
            assert keys == sorted(keys)


async def test_text_sorts_by_its_code_points_however_its_column_does(world: World) -> None:
    for address, names in ((HANOI, VN_NAMES), (SINGAPORE, SG_NAMES)):
        await world.put(address, [Person(name="x", nick=name) for name in names])
    for limit in (2, 50):
        pages = await world.pages(select(Person).order_by(Person.nick, Person.id), limit)
        assert [person.nick for page in pages for person in page] == sorted(VN_NAMES + SG_NAMES)


async def test_rows_that_come_and_go_between_pages_move_no_others(world: World) -> None:
    await full(world)
    statement = select(Person).order_by(Person.name)
    with world.request("GET", "/people"):
        async with residency.gather("people") as people:
            first = await people.scalars(statement, limit=4)
    await world.put(HANOI, [Person(name="0 before"), Person(name="zz behind")])
    with world.request("POST", "/people", HANOI, f"who-{HANOI}"):
        async with Session.begin() as session:
            await session.execute(text("DELETE FROM person WHERE name = 'Anh'"))  # the last row of a sink on that page
    told = list(first)
    cursor = first.cursor
    while cursor is not None:
        with world.request("GET", "/people"):
            async with residency.gather("people") as people:
                page = await people.scalars(statement, limit=4, cursor=cursor)
        told += page
        cursor = page.cursor
    names = [person.name for person in told]
    assert sorted(names) == sorted([*VN_NAMES, *SG_NAMES, "zz behind"])


async def test_values_of_each_kind_survive_the_cursor(world: World) -> None:
    numbers = [UUID(int=number << 64 | 7) for number in range(6)]
    made = [
        {
            "name": f"p{number}", "age": number, "born": date(2000, 1, number + 1), "owes": Decimal(f"{number}.50"),
            "seen": datetime(2026, 1, 1, number, tzinfo=UTC).replace(tzinfo=None), "number": numbers[number],
        }
        for number in range(6)
    ]  # fmt: skip
    await world.put(HANOI, [Person(**each) for each in made[::2]])
    await world.put(SINGAPORE, [Person(**each) for each in made[1::2]])
    for column in (Person.age, Person.born, Person.seen, Person.owes, Person.number):
        pages = await world.pages(select(Person).order_by(column), 1)
        assert [person.name for page in pages for person in page] == [f"p{number}" for number in range(6)]


@pytest.mark.parametrize("down", [False, True])
async def test_nan_sorts_as_the_database_has_it(world: World, *, down: bool) -> None:
    nan = Decimal("NaN")  # larger than all numbers on PostgreSQL, no value on SQLite
    await world.put(HANOI, [Person(name="a", owes=Decimal(1)), Person(name="d", owes=nan), Person(name="f")])
    await world.put(SINGAPORE, [Person(name="b", owes=Decimal(2)), Person(name="c", owes=nan), Person(name="e")])
    pages = await world.pages(select(Person).order_by(Person.owes.desc() if down else Person.owes, Person.name), 1)
    told = "".join(person.name for page in pages for person in page)
    assert told in (("cdbaef", "bacdef") if down else ("abcdef",)), "in order, each once"


async def test_rows_of_columns_come_as_they_were_selected(world: World) -> None:
    await full(world)
    with world.request("GET", "/people"):
        async with residency.gather("people") as people:
            page = await people.rows(select(Person.name, Person.age).order_by(Person.age.desc(), Person.name), limit=2)
            assert list(page) == [("Émile", 5), ("Anh", 3)]
            assert page[0] == ("Émile", 5)
            table = Person.__table__
            assert len(await people.rows(select(table.c.name).order_by(table.c.name), limit=3)) == 3


async def test_each_sink_is_an_act_of_its_own_under_the_law_of_its_place(world: World) -> None:
    await full(world)
    mark = len(world.entries)
    await world.pages(select(Person).order_by(Person.name), 50, address=SINGAPORE)
    intents = [entry for entry in world.entries[mark:] if entry.kind == "intent"]
    assert {(e.sink, e.operation, e.jurisdictions, e.subject, e.note) for e in intents} == {
        ("people-vn", "read", ("VN",), None, "read_from:SG"),
        ("people-sg", "read", (), None, None),
    }
    assert [entry.act for entry in world.entries[mark:] if entry.kind == "outcome"] == ["committed"] * 2


async def test_a_sink_that_may_not_be_read_is_missing_and_the_refusal_recorded(world: World) -> None:
    await full(world)
    world.stop("people-vn")
    page = await world.page(BY_NAME, 50)
    assert [person.name for person in page] == sorted(SG_NAMES)
    assert (page.partial, page.missing, page.cursor) == (True, {"people-vn": "stop_order"}, None)
    assert any(entry.kind == "refusal" and entry.sink == "people-vn" for entry in world.entries)


async def test_a_sink_that_answers_again_tells_its_rows_with_the_next_page(world: World) -> None:
    await full(world)
    world.stop("people-vn")
    first = await world.page(BY_NAME, 2)
    assert [person.name for person in first] == sorted(SG_NAMES)[:2]
    world.stop()
    rest = await world.page(BY_NAME, 50, first.cursor)
    assert [person.name for person in rest] == sorted([*VN_NAMES, *sorted(SG_NAMES)[2:]])
    assert not rest.partial


async def test_where_no_sink_may_be_read_the_list_is_refused_and_not_empty(world: World) -> None:
    await full(world)
    with world.request("GET", "/people"):
        world.stop("people-vn", "people-sg")
        async with residency.gather("people") as people:
            with pytest.raises(Refused) as caught:
                await people.scalars(BY_NAME, limit=50)
    assert caught.value.reason == "stop_order"


@pytest.mark.parametrize("world", BACKENDS[1:2], indirect=True)
async def test_a_sink_that_is_slow_is_missing_once_the_wait_is_over(world: World) -> None:
    await full(world)
    slow = select(Person).where(
        text("(SELECT name FROM person LIMIT 1) <> 'Ah' AND pg_sleep(60) IS NOT NULL OR name = 'z'")
    )
    with world.request("GET", "/people"):
        async with residency.gather("people", wait=3) as people:
            page = await people.scalars(slow.order_by(Person.name), limit=5)
    assert [person.name for person in page] == ["z"]
    assert page.missing == {"people-vn": "sink_unavailable"}


async def test_a_sink_without_its_tables_is_missing(world: World) -> None:
    await full(world)
    with world.request("POST", "/people", HANOI, f"who-{HANOI}"):
        async with Session.begin() as session:
            await session.execute(text("DROP TABLE person"))
    page = await world.page(BY_NAME, 50)
    assert [person.name for person in page] == sorted(SG_NAMES)
    assert page.missing == {"people-vn": "sink_unavailable"}


async def test_a_cursor_tells_nothing_and_opens_for_its_list_and_caller_alone(world: World) -> None:
    await full(world)
    page = await world.page(BY_NAME, 3)
    assert page.cursor is not None
    assert page[-1].name not in page.cursor
    assert (await world.page(BY_NAME, 3)).cursor != page.cursor
    middle = len(page.cursor) // 2
    changed = page.cursor[:middle] + ("A" if page.cursor[middle] != "A" else "B") + page.cursor[middle + 1 :]
    for wrong in ("", "x", "é", changed, page.cursor[:-3], "A" * 20_000):
        with pytest.raises(CallerError) as caught:
            await world.page(BY_NAME, 3, wrong)
        assert wrong == "" or wrong not in str(caught.value)
    for other in (BY_NAME.where(Person.age > 1), BY_NAME.where(Person.age > 2), select(Person).order_by(Person.id)):
        with pytest.raises(CallerError):
            await world.page(other, 3, page.cursor)
    with pytest.raises(CallerError):
        await world.page(BY_NAME, 3, page.cursor, who="eve")
    with pytest.raises(CallerError):
        await world.page(BY_NAME, 3, page.cursor, path="/mine")
    assert len(await world.page(BY_NAME, 3, page.cursor)) == 3


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        select(Person),
        select(Person).order_by(Person.name).limit(5),
        select(Person).order_by(Person.name).offset(5),
        select(Person.name).order_by(Person.name).distinct(),
        select(Person.name, func.count()).group_by(Person.name).order_by(Person.name),
        select(Person).order_by("name"),
        select(aliased(Person)).order_by(text("name")),
        select(text("1")).order_by(text("1")),
    ],
)
async def test_a_select_that_cannot_be_paged_is_refused(world: World, statement: Any) -> None:
    mark = len(world.entries)
    with pytest.raises(UsageError):
        await world.page(statement, 5)
    assert not world.entries[mark:]


@pytest.mark.parametrize("world", ["sqlite"], indirect=True)
async def test_a_list_is_of_a_page_of_rows_and_read_in_a_request_that_reads(world: World) -> None:
    for limit in (0, -1, 10_001):
        with pytest.raises(UsageError):
            await world.page(BY_NAME, limit)
    with pytest.raises(UsageError, match="declared `write`"):
        await world.page(BY_NAME, 5, method="POST")
    with pytest.raises(NoDecision):
        async with residency.gather("people"):
            pytest.fail("nothing happens inside")
    with world.request("GET", "/uploads"):
        async with residency.gather("uploads") as uploads:
            with pytest.raises(UsageError, match="no store of rows"):
                await uploads.scalars(BY_NAME, limit=5)


async def test_a_caller_who_is_known_lists_too_and_the_request_s_own_decision_stands(world: World) -> None:
    await full(world)
    with world.request("GET", "/mine", SINGAPORE, "sue") as here:
        async with residency.gather("people") as people:
            assert people.sinks == ("people-sg", "people-vn")
            assert len(await people.scalars(BY_NAME, limit=50)) == 12
            assert residency.current() is here


async def test_an_observing_deployment_lists_the_sink_where_the_data_is(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = World(tmp_path, places_of("sqlite", tmp_path, request), [("mode: enforce", "mode: observe")])
    await made.sg.start()
    async with made.sg.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)  # the other sink is not even made
    await made.put(HANOI, [Person(name="An")])
    page = await made.page(BY_NAME, 5)
    assert ([person.name for person in page], page.partial) == (["An"], False)
    # Once people are moved, also while observing, they are found where they are then.
    await made.vn.start()
    async with made.vn.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Person).values(id="b", name="Binh"))
    await set_out(made.point.homes, made.point.perception.digest, "SG", "VN")
    await end(made.point.homes, made.point.perception.digest)
    page = await made.page(BY_NAME, 5)
    assert [person.name for person in page] == ["An", "Binh"]
    await made.stores.aclose()


TOLD = (
    "stores: {",
    """records:
  people:
    person: {subject: id, data: [personal]}
    letter: {via: {author: person}, data: [content]}
    note: {via: {owner: elsewhere}, data: [content]}
    elsewhere: {subject: id, data: [personal]}
stores: {""",
)


class Letter(Base):
    """A row that leads to its subject by another table."""

    __tablename__ = "letter"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    author: Mapped[str]
    text: Mapped[str]


class Note(Base):
    """A row that leads to its subject by a table that no model here has."""

    __tablename__ = "note"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    owner: Mapped[str]


async def twice(folder: Path, places: dict[str, Place]) -> World:
    """A world in which anh is on her way to Vietnam, and all of hers lies in both places; beng stays in Singapore."""
    made = World(folder, places, [TOLD])
    await made.stores.start()
    await made.prepare()
    for sink in (made.vn, made.sg):
        async with sink.engine.begin() as connection:
            await connection.execute(insert(Person).values(id="anh", name="Anh"))
            await connection.execute(insert(Letter).values(id="l1", author="anh", text="a"))
            await connection.execute(insert(Note).values(id="n1", owner="anh"))
            if sink is made.sg:
                await connection.execute(insert(Person).values(id="beng", name="Beng"))
                await connection.execute(insert(Letter).values(id="l2", author="beng", text="b"))
    homes, digest = made.point.homes, made.point.perception.digest
    await homes.pins.put(Pin(digest("anh"), "VN", (), "a" * 32, "move", "p", 0, moving="SG"))
    await set_out(homes, digest, "SG", "VN")
    return made


@pytest.mark.parametrize("backend", BACKENDS[:2])
async def test_who_is_on_their_way_is_listed_once_by_whatever_leads_to_them(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = await twice(tmp_path, places_of(backend, tmp_path, request))
    people, letters = select(Person).order_by(Person.name), select(Letter).order_by(Letter.text)
    for _ in range(2):
        assert [person.id for page in await world.pages(people, 1) for person in page] == ["anh", "beng"]
        pages = await world.pages(letters, 50)
        assert [letter.id for letter in pages[0]] == ["l1", "l2"]
        assert not pages[0].repeats
        pin, _ = world.point.homes.peek(world.point.perception.digest("anh"))
        assert pin is not None
        if pin.moving is not None:
            await world.point.homes.pins.put(replace(pin, moving=None, version=2))
    page = await world.page(select(Note).order_by(Note.id), 50)
    assert ([note.id for note in page], page.repeats) == (["n1", "n1"], True)
    await end(world.point.homes, world.point.perception.digest)
    assert not (await world.page(select(Note).order_by(Note.id), 50)).repeats
    await world.stores.aclose()


@pytest.mark.parametrize("backend", BACKENDS[:2])
async def test_each_row_is_told_only_where_the_law_of_all_whose_it_is_lets_it(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = await twice(tmp_path, places_of(backend, tmp_path, request))
    homes, digest = world.point.homes, world.point.perception.digest
    await end(homes, digest)
    pins = homes.pins
    assert isinstance(pins, PinsMemory)
    covered = ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
    # Anh's rows lie in Singapore still, as before there was any law; nobody moves her.
    pins._pins[digest("anh")] = Pin(digest("anh"), "VN", covered, "a" * 32, "first_write", "p", 0)
    other = aliased(Person)
    for statement, told, left_out in (
        (select(Person).order_by(Person.name), [("vn", "anh"), ("sg", "beng")], 1),
        (select(Letter).order_by(Letter.text), [("vn", "l1"), ("sg", "l2")], 1),
        # What is brought along counts too: an entity, a column, an expression, an alias.
        (select(Letter, Person).join(Person, Person.id != Letter.author).order_by(Letter.id), [], 2),
        (select(Letter.id, other.name).join(other, other.id != Letter.author).order_by(Letter.id), [], 2),
        (select(Letter.id, func.lower(other.name)).join(other, other.id != Letter.author).order_by(Letter.id), [], 2),
        # Nobody can tell of whom these are: they are presumed not to be covered here.
        (select(Note).order_by(Note.id), [("vn", "n1"), ("sg", "n1")], 0),
    ):
        page = await world.page(statement, 50)
        assert (len(page), page.withheld) == (len(told), {"only_in_country": left_out} if left_out else {}), statement
        assert page.partial is bool(left_out)
    pages = await world.pages(select(Person).order_by(Person.name), 1)
    assert [person.id for page in pages for person in page] == ["anh", "beng"]
    assert sum(page.withheld.get("only_in_country", 0) for page in pages) == 1
    await world.stores.aclose()
