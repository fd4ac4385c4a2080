"""What a session changes or deletes is of whom it is for, also where that is who asks; keys of several columns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from sqlalchemy import ForeignKey, delete, event, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Mapped, make_transient_to_detached, mapped_column, relationship
from sqlalchemy.orm import Session as Session_

from residency import about
from residency.errors import UsageError
from residency.integrations.sqlalchemy import async_sessionmaker, sessionmaker
from tests.rows import BACKENDS, Rows, opened, places_of
from tests.world import SINGAPORE

pytestmark = pytest.mark.anyio
Session = async_sessionmaker("people")
Blocking = sessionmaker("people")
OWN = {"residency_own_rows": True}
DEPLOYMENT = """
readers: record
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn], uploads: [objects]}
records:
  people:
    member: {subject: id, data: [personal]}
    seat: {subject: account, data: [personal]}
    letter: {via: {writer: member}, data: [content]}
    line: {via: {letter: letter}, data: [content]}
activities:
  - {route: "POST /mine", subject: user, data: [personal], operation: write, store: people}
  - {route: "POST /nightly", subject: none, data: [personal], operation: write, store: people}
"""


class Base(DeclarativeBase):
    """This test's models."""


class Member(Base):
    """Somebody."""

    __tablename__ = "member"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Seat(Base):
    """Says whose it is, and has a key of two columns."""

    __tablename__ = "seat"
    hall: Mapped[str] = mapped_column(primary_key=True)
    no: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str | None]
    note: Mapped[str | None]


class Letter(Base):
    """Leads to its writer."""

    __tablename__ = "letter"
    id: Mapped[str] = mapped_column(primary_key=True)
    writer: Mapped[str] = mapped_column(ForeignKey("member.id"))
    read: Mapped[bool] = mapped_column(default=False)
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")


class Line(Base):
    """Leads to its writer by its letter."""

    __tablename__ = "line"
    id: Mapped[str] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(ForeignKey("letter.id"))
    words: Mapped[str | None]


class Counter(Base):
    """Shared by all; `records:` does not name it."""

    __tablename__ = "counter"
    name: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


ROWS: list[tuple[type[Base], list[dict[str, Any]]]] = [
    (Member, [{"id": each} for each in ("an", "binh")]),
    (
        Seat,
        [
            {"hall": "A", "no": 1, "account": "an"},
            {"hall": "A", "no": 2, "account": "binh"},
            {"hall": "A", "no": 3, "account": None},
            {"hall": "B", "no": 1, "account": "an"},
        ],
    ),
    (Letter, [{"id": "l-an", "writer": "an"}, {"id": "l-binh", "writer": "binh"}]),
    (Line, [{"id": "w-an", "letter": "l-an"}, {"id": "w-binh", "letter": "l-binh"}]),
    (Counter, [{"name": "visits", "count": 0}]),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BACKENDS[:2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rows]:
    async with opened(Rows(tmp_path, places_of(request.param, tmp_path, request), DEPLOYMENT), Base.metadata) as made:
        async with made.sg.engine.begin() as connection:
            for table, rows in ROWS:
                await connection.execute(insert(table), rows)
        yield made


def upsert(session: Session_, **values: Any) -> Any:
    """An INSERT of the session's database's own kind."""
    made: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return made.insert(Seat).values(**values)


def stored(seat: Seat, note: str = "x") -> Seat:
    """As if it had been read before."""
    make_transient_to_detached(seat)
    seat.note = note
    return seat


OF_SEAT: Any = update(Seat).values(note="x").execution_options(synchronize_session=False)
OF_LINE: Any = update(Line).values(words="x").execution_options(synchronize_session=False)
# What An changes, and what each says of whose it is.
TAKEN: list[Any] = [
    OF_SEAT.where(Seat.account == "an"),
    OF_SEAT.where(Seat.hall == "A", Seat.no == 1),  # it is asked whose that is
    OF_SEAT.where(Seat.hall == "A", Seat.no == 3),  # nobody's yet
    OF_SEAT.where(Seat.hall == "A", Seat.no == 99),  # there is none
    OF_SEAT.where(Seat.hall.in_(["A", "B"]), Seat.no == 1),
    OF_LINE.where(Line.id == "w-an"),
    OF_LINE.where(Line.letter == Letter.id, Letter.writer == "an"),
    delete(Line).where(Line.letter == "l-an"),
    update(Counter).values(count=Counter.count + 1),
    text("UPDATE counter SET count = count + 1"),
    text("INSERT INTO counter SELECT 'seats', count(*) FROM seat"),
    delete(Counter),
]
UNSAID: list[Any] = [
    OF_SEAT,
    OF_SEAT.where(Seat.hall == "A"),
    OF_SEAT.where(Seat.note.is_(None)),
    OF_SEAT.where((Seat.account == "an") | (Seat.no == 2)),
    OF_LINE.where(Line.letter == Letter.id),
    delete(Line),
    delete(Line).where(Line.letter.in_(select(Letter.id).where(Letter.writer == "an"))),
    text("UPDATE seat SET note = 'x' WHERE account = 'an'"),
    text("DELETE FROM line"),
    text("WITH gone AS (SELECT id FROM letter) DELETE FROM Line WHERE letter IN (SELECT id FROM gone)"),
    text("DELETE FROM line RETURNING id").columns(Line.id),
]
THEIRS: list[Any] = [
    OF_SEAT.where(Seat.account == "binh"),
    OF_SEAT.where(Seat.account.in_(["an", "binh"])),
    OF_SEAT.where(Seat.hall == "A", Seat.no == 2),
    OF_SEAT.where(Seat.hall == "A", Seat.no.in_([1, 2])),
    OF_LINE.where(Line.id == "w-binh"),
    OF_LINE.where(Line.letter == Letter.id, Letter.id == "l-binh"),
    delete(Line).where(Line.letter == "l-binh"),
]


async def test_a_session_of_ones_own_changes_ones_own_rows_and_what_is_nobody_s(world: Rows) -> None:
    with world.request("POST", "/mine", SINGAPORE, "an"):
        for statement in TAKEN:
            async with Session() as session:
                await session.execute(statement)
                await session.commit()
        for statement in UNSAID:
            async with Session() as session:
                for _ in range(2):  # SQLAlchemy knows it from the second on
                    with pytest.raises(UsageError, match="nothing in it says whose: add WHERE"):
                        await session.execute(statement)
                await session.execute(statement, execution_options=OWN)
        for statement in THEIRS:
            async with Session() as session:
                for _ in range(2):
                    with pytest.raises(UsageError, match=r"changes rows of '\w+' that are somebody else's"):
                        await session.execute(statement)
                assert (await session.scalars(select(func.count()).select_from(Seat))).one() == 4  # it reads all
    with world.request("POST", "/nightly", SINGAPORE, "an"):  # of everybody, by what it is for
        async with Session() as session:
            await session.execute(UNSAID[0])
            await session.execute(THEIRS[0])


async def test_objects_of_others_are_not_changed_in_a_session_of_ones_own(world: Rows) -> None:
    asked: list[str] = []

    def hear(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT DISTINCT"):
            asked.append(statement)

    event.listen(world.sg.bind(read_only=False, blocking=False), "before_cursor_execute", hear)
    with world.request("POST", "/mine", SINGAPORE, "an"):
        async with Session() as session:
            seats = {(each.hall, each.no): each for each in await session.scalars(select(Seat))}
            letter = await session.get_one(Letter, "l-an")
            seats["A", 1].note, seats["B", 1].no, seats["A", 3].account, letter.read = "x", 7, "an", True
            await session.commit()
            assert len(asked) == 1, asked  # of the seat that said nobody; of all others what was loaded tells it
            seats["A", 2].note = "x"
            with pytest.raises(UsageError, match="changes rows of 'seat' that are somebody else's"):
                await session.commit()
            await session.rollback()
            await session.delete(await session.get_one(Letter, "l-binh"))
            with pytest.raises(UsageError, match=r"changes rows of '\w+' that are somebody else's"):
                await session.commit()
            await session.rollback()
            await session.delete(await session.get_one(Letter, "l-an"))  # and its lines
            await session.commit()
    found = world.places["sg"].query("SELECT hall, no, account, note FROM seat ORDER BY hall, no")
    assert found == [("A", 1, "an", "x"), ("A", 2, "binh", None), ("A", 3, "an", None), ("B", 7, "an", None)]
    assert world.places["sg"].query("SELECT id FROM line") == [("w-binh",)]


async def test_an_object_made_by_hand_is_of_whom_its_key_is(world: Rows) -> None:
    """Whatever it says of itself, and however it came into the session."""
    ways: list[Any] = [
        lambda work: work.add(stored(Seat(hall="A", no=2, account="an"))),
        lambda work: setattr(work.merge(Seat(hall="A", no=2, account="an"), load=True), "note", "x"),
        lambda work: setattr(work.merge(merged(), load=False), "note", "x"),
        lambda work: work.bulk_save_objects([stored(Seat(hall="A", no=2, account="an"))]),
        lambda work: work.bulk_update_mappings(Seat, [{"hall": "A", "no": 2, "note": "x"}]),
        lambda work: work.execute(update(Seat), [{"hall": "A", "no": 2, "note": "x"}]),
        lambda work: work.delete(stored(Seat(hall="A", no=2, account="an"))),
    ]

    def merged() -> Seat:
        seat = Seat(hall="A", no=2, account="an")
        make_transient_to_detached(seat)
        return seat

    def run(work: Session_, way: Any) -> None:
        way(work)
        work.flush()

    with world.request("POST", "/mine", SINGAPORE, "an"):
        for way in ways:
            async with Session() as session:
                with pytest.raises(UsageError, match="changes rows of 'seat' that are somebody else's"):
                    await session.run_sync(run, way)
    with world.request("POST", "/mine", SINGAPORE, "cy"):  # the same under about(), though Binh may be read
        async with about("an"):
            for way in ways:
                async with Session() as session:
                    with pytest.raises(UsageError, match="changes rows of 'seat' that are somebody else's"):
                        await session.run_sync(run, way)
            async with Session() as session:
                seat = await session.get_one(Seat, ("A", 1))
                seat.no = 9
                await session.commit()
                assert list(await session.scalars(select(Seat.no).where(Seat.hall == "A", Seat.no == 9))) == [9]
                with pytest.raises(UsageError, match="nothing in it says whose"):
                    await session.execute(select(Seat.no).where(Seat.hall == "A"))


async def test_an_upsert_changes_the_row_that_is_there_and_that_is_ones_own(world: Rows) -> None:
    def run(work: Session_, whose: str | None, no: int, by: list[str]) -> None:
        made = upsert(work, hall="A", no=no, account="an", note="x")
        own = None if whose is None else Seat.account == whose
        work.execute(made.on_conflict_do_update(index_elements=by, set_={"note": "y"}, where=own))
        work.commit()

    with world.request("POST", "/mine", SINGAPORE, "an"):
        for no in (1, 2, 8):
            async with Session() as session:
                with pytest.raises(UsageError, match="also to what an upsert sets"):
                    await session.run_sync(run, None, no, ["hall", "no"])
                await session.rollback()
                await session.run_sync(run, "an", no, ["hall", "no"])
                with pytest.raises(UsageError, match="somebody else's"):
                    await session.run_sync(run, "binh", no, ["hall", "no"])
    found = world.places["sg"].query("SELECT no, account, note FROM seat WHERE hall = 'A' ORDER BY no")
    assert found == [(1, "an", "y"), (2, "binh", None), (3, None, None), (8, "an", "x")]


async def test_a_blocking_session_is_held_to_whom_it_is_for_too(world: Rows) -> None:
    def work() -> None:
        with Blocking() as session:
            session.execute(TAKEN[1])
            with pytest.raises(UsageError):
                session.execute(THEIRS[2])
            with pytest.raises(UsageError):
                session.execute(UNSAID[0])

    with world.request("POST", "/mine", SINGAPORE, "an"):
        await anyio.to_thread.run_sync(work)


@pytest.mark.parametrize("world", BACKENDS[:1], indirect=True)
async def test_a_deployment_that_observes_refuses_no_change(world: Rows, tmp_path: Path) -> None:
    made = Rows(tmp_path / "observing", world.places, DEPLOYMENT, mode="observe")
    with made.request("POST", "/mine", SINGAPORE, "an"):
        for statement in (*UNSAID, *THEIRS):
            async with Session() as session:
                await session.execute(statement)
    await made.stores.aclose()
