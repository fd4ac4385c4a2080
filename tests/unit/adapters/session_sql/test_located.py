"""Rows that the ORM flushes are noted before they are committed, and those that are deleted afterwards taken out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import ForeignKey, String, event, insert, inspect, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from residency.adapters.session_sql import RoutedSession
from residency.enforcement.about import key_text
from residency.enforcement.context import about, about_many, current
from residency.enforcement.current import Current
from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.integrations.sqlalchemy import create_all
from residency.storage.locator import LocatorMemory, Locators
from tests.rows import OWNED, Rows, places_of
from tests.world import HANOI, SINGAPORE

pytestmark = pytest.mark.anyio


class Base(DeclarativeBase):
    """This test's models."""


class Person(Base):
    """A row whose attribute has another name than its column."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    whose: Mapped[str | None] = mapped_column("account", String)


class Employee(Person):
    """A person with a row in a second table."""

    __tablename__ = "employee"
    id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    desk: Mapped[str | None]


class Other(Base):
    """A row of a table that `records:` does not name."""

    __tablename__ = "other"
    id: Mapped[str] = mapped_column(String, primary_key=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rows]:
    made = Rows(tmp_path, places_of("sqlite", tmp_path, request), OWNED)
    made.stores.locators = Locators(
        {place: LocatorMemory(place) for place in ("VN", "SG")}, made.point.perception.digest
    )
    await made.stores.start()
    await create_all(Base.metadata, made.stores, "people")
    yield made
    await made.stores.aclose()


def session() -> AsyncSession:
    return AsyncSession(sync_session_class=RoutedSession, store="people", expire_on_commit=False)


async def about_row(row: object) -> Current:
    async with about(row=row) as other:
        return other


async def owners(world: Rows, *keys: str, record: str = "person") -> tuple[str | None, ...]:
    return await world.stores.owners("people", [(record, key_text(key)) for key in keys])


async def test_rows_are_noted_with_their_commit_and_found_by_whose_they_are(world: Rows) -> None:
    with world.request(who="an") as here:
        async with session() as work, work.begin():
            work.add(Person(id="k", whose="an"))
            await work.flush()
            work.add_all([Person(id="l"), Other(id="o")])
        assert await owners(world, "k", "l") == (here.subject_digest, here.subject_digest)
    assert await owners(world, "o", record="other") == (None,)
    assert world.stores.locators is not None
    assert await world.stores.locators.by_place["SG"].forget_subject(here.subject_digest or "") == 0


async def test_rows_that_are_deleted_are_taken_out_once_that_is_committed(world: Rows) -> None:
    with world.request(who="an") as here:
        async with session() as work:
            work.add_all([person := Person(id="k"), Person(id="stays")])
            await work.commit()
            await work.delete(person)
            await work.flush()
            await work.rollback()
            assert (await owners(world, "k"))[0] == here.subject_digest
            again = await work.get(Person, "k")
            assert again is not None
            await work.delete(again)
            await work.commit()
    assert await owners(world, "k", "stays") == (None, here.subject_digest)


async def test_a_row_that_a_hook_of_the_apps_own_adds_to_the_commit_is_noted_too(world: Rows) -> None:
    with world.request(who="an") as here:
        async with session() as work:
            event.listen(work.sync_session, "before_commit", lambda sync: sync.add(Person(id="late")), once=True)
            work.add(Person(id="k"))
            await work.commit()
        assert await owners(world, "k", "late") == (here.subject_digest, here.subject_digest)
    assert world.acts() == [("people-vn", "committed")]


async def test_a_row_that_came_and_went_in_one_transaction_is_never_noted(world: Rows) -> None:
    with world.request(who="an"):
        async with session() as work, work.begin():
            work.add(person := Person(id="k"))
            await work.flush()
            await work.delete(person)
    assert await owners(world, "k") == (None,)


async def test_a_key_that_is_somebody_else_s_is_not_committed(world: Rows) -> None:
    assert world.stores.locators is not None
    await world.stores.locators.note("people", "VN", [("person", key_text("k"), "b" * 64)])
    with world.request(who="an"):
        async with session() as work:
            work.add(Person(id="k"))
            with pytest.raises(RecordConflict):
                await work.commit()
            await work.rollback()
    assert world.places["vn"].query("SELECT count(*) FROM person") == [(0,)]
    assert {word for _, word in world.acts()} <= {"failed", "rolled_back"}


async def test_a_group_s_rows_are_of_whom_their_column_names(world: Rows) -> None:
    with world.request(who="an", address=HANOI):
        (group,) = (await about_many(["binh", "chi"], store="people")).groups
        async with group:
            assert current() is group
            async with session() as work, work.begin():
                work.add_all([Person(id="b", whose="binh"), Person(id="c", whose="chi")])
            digest = world.point.perception.digest
            assert await owners(world, "b", "c") == (digest("binh"), digest("chi"))
            for whose in ("zoe", None):
                async with session() as work:
                    work.add(Person(id="x", whose=whose))
                    with pytest.raises(UsageError, match=r"one of them|somebody else's"):
                        await work.commit()
                    await work.rollback()


async def test_without_a_locator_or_records_nothing_is_kept(world: Rows) -> None:
    world.stores.locators = None
    with world.request(who="an"):
        async with session() as work, work.begin():
            work.add(Person(id="k"))
            await work.flush()
            assert "residency.located" not in work.sync_session.info


def _written(work: Session, write: Callable[[Session], object]) -> None:
    write(work)
    work.flush()


@pytest.mark.parametrize("located", [True, False])
async def test_a_row_of_somebody_else_is_written_under_a_decision_on_them_or_not_at_all(
    world: Rows, located: bool
) -> None:
    if not located:
        world.stores.locators = None
    two = [{"id": "c", "whose": "tan"}, {"id": "d", "whose": "binh"}]
    table = Base.metadata.tables["person"]
    writes: list[Callable[[Session], object]] = [
        lambda work: work.add(Person(id="a", whose="binh")),
        lambda work: work.execute(insert(Person).values(id="b", whose="binh")),
        lambda work: work.execute(insert(Person), two),
        lambda work: work.execute(insert(Person).values(two)),
        lambda work: work.execute(update(Person).values(whose="binh")),
        lambda work: work.execute(insert(table).values(id="g", account="binh")),
        lambda work: work.bulk_insert_mappings(inspect(Person), two),
    ]
    with world.request(who="tan", address=SINGAPORE):
        async with session() as work:
            work.add_all([Person(id="own", whose="tan"), Person(id="nobody's")])
            await work.commit()
        for write in writes:
            async with session() as work:
                with pytest.raises(UsageError, match="'account' that it is somebody else's"):
                    await work.run_sync(_written, write)
                await work.rollback()
        async with session() as work:
            own = await work.get_one(Person, "own")
            own.whose = "binh"
            with pytest.raises(UsageError, match="somebody else's"):
                await work.commit()
            await work.rollback()
        async with session() as work:
            await work.execute(update(Person).where(Person.id == "own").values(whose=None))
            await work.execute(update(Person).where(Person.whose == "tan").values(id="x"))
            await work.commit()
    kept = world.places["sg"].query("SELECT id, account FROM person ORDER BY id")
    assert kept == [("nobody's", None), ("own", None)]


async def test_a_deployment_that_observes_lets_the_app_write_as_before(tmp_path: Path, world: Rows) -> None:
    made = Rows(tmp_path / "observing", world.places, OWNED, mode="observe")
    made.stores.locators = world.stores.locators
    with made.request(who="tan", address=SINGAPORE):
        async with session() as work:
            work.add(Person(id="k", whose="binh"))
            await work.commit()
    made.stores.locators = None
    await made.stores.aclose()
    assert await owners(world, "k") == (world.point.perception.digest("binh"),)


async def test_one_that_observes_is_not_held_up_by_a_locator_that_is_away_and_says_so_once(
    tmp_path: Path, world: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    made = Rows(tmp_path / "observing", world.places, OWNED, mode="observe")
    made.stores.locators = Locators({}, world.point.perception.digest)  # none is known here for any country
    for key in ("a", "b"):
        with made.request(who="tan", address=SINGAPORE):
            async with session() as work:
                work.add(Person(id=key, whose="tan"))
                await work.commit()
    with made.request(who="tan", address=SINGAPORE):
        async with session() as work:
            await work.delete(await work.get_one(Person, "a"))
            await work.commit()
    made.stores.locators = None
    await made.stores.aclose()
    assert world.places["sg"].query("SELECT id FROM person") == [("b",)]
    told = [each.getMessage() for each in caplog.records if "sinks locate" in each.getMessage()]
    assert len(told) == 1
    assert "tan" not in told[0]


async def test_who_forgot_to_identify_writes_as_before_while_a_deployment_observes(tmp_path: Path, world: Rows) -> None:
    made = Rows(tmp_path / "observing", world.places, OWNED, mode="observe")
    made.stores.locators = world.stores.locators
    with made.request(who="", address=SINGAPORE):  # nobody is signed in, or nobody said who
        async with session() as work:
            work.add_all([Person(id="told", whose="binh"), Person(id="untold", whose=None)])
            await work.commit()
    made.stores.locators = None
    await made.stores.aclose()
    assert world.places["sg"].query("SELECT id FROM person ORDER BY id") == [("told",), ("untold",)]
    assert await owners(world, "told") == (world.point.perception.digest("binh"),)
    assert await owners(world, "untold") == (None,)


async def test_an_activity_about_nobody_is_told_to_say_whose_a_row_is(tmp_path: Path, world: Rows) -> None:
    made = Rows(tmp_path / "nobody", world.places, OWNED.replace("subject: user", "subject: none"))
    made.stores.locators = world.stores.locators
    with made.request(who="", address=SINGAPORE):
        async with session() as work:
            work.add(Person(id="k", whose=None))
            with pytest.raises(UsageError, match=r"'person' is somebody's, .* identify\(\)"):
                await work.commit()
            await work.rollback()
    made.stores.locators = None
    await made.stores.aclose()


async def test_of_whom_only_a_key_was_given_the_rows_are_told_by_their_digest(world: Rows) -> None:
    with world.request(who="an"):
        async with session() as work:
            work.add(Person(id="k", whose="an"))
            await work.commit()
    with world.request(who="binh"):
        async with about(row=("person", "k"), store="people") as other:
            assert other.subject is None
            async with session() as work:
                await work.execute(update(Person).where(Person.id == "k").values(whose="an"))
                await work.commit()
            async with session() as work:
                work.add(Person(id="l", whose="binh"))
                with pytest.raises(UsageError, match="somebody else's"):
                    await work.commit()
                await work.rollback()


async def test_what_a_savepoint_took_back_neither_came_nor_went(world: Rows) -> None:
    with world.request(who="an") as here:
        async with session() as work:
            kept = Person(id="k", whose="an")
            work.add(kept)
            await work.commit()
            work.add(Person(id="o", whose="an"))  # before the savepoint, so it stays where that is taken back
            await work.flush()
            undone = await work.begin_nested()
            await work.delete(kept)
            work.add(Person(id="l", whose="an"))
            await work.flush()
            inner = await work.begin_nested()
            work.add(Person(id="m", whose="an"))
            await inner.commit()
            await undone.rollback()
            done = await work.begin_nested()
            work.add(Person(id="n", whose="an"))
            await done.commit()
            await work.commit()
    digest = here.subject_digest
    assert await owners(world, "k", "l", "m", "n", "o") == (digest, None, None, digest, digest)


async def test_a_locator_that_is_away_after_the_commit_makes_no_error_of_it(world: Rows) -> None:
    class Away(LocatorMemory):
        async def forget(self, keys: object) -> int:
            raise SinkUnavailable("away")

    with world.request(who="an"):
        async with session() as work:
            gone = Person(id="k", whose="an")
            work.add(gone)
            await work.commit()
            assert world.stores.locators is not None
            world.stores.locators.by_place["VN"] = Away("VN")
            await work.delete(gone)
            await work.commit()
    assert world.places["vn"].query("SELECT id FROM person") == []
    assert [act[-1] for act in world.acts()] == ["committed", "committed"]


async def test_a_row_of_joined_tables_is_noted_and_compared_by_the_table_that_records_name(world: Rows) -> None:
    with world.request(who="an") as here:
        async with session() as work:
            employee = Employee(id="e", whose="an", desk="7")
            work.add(employee)
            await work.commit()
            assert (await about_row(employee)).subject_digest == here.subject_digest
        async with session() as work:
            work.add(Employee(id="f", whose="binh", desk="8"))
            with pytest.raises(UsageError, match="somebody else's"):
                await work.commit()
    assert await owners(world, "e") == (here.subject_digest,)


async def test_a_row_that_gets_another_key_is_noted_under_that_one_alone(world: Rows) -> None:
    with world.request(who="an") as here:
        async with session() as work:
            person = Person(id="k", whose="an")
            work.add(person)
            await work.commit()
            person.id = "l"
            await work.commit()
            person.whose = None
            await work.commit()
            assert await owners(world, "k", "l") == (None, here.subject_digest)
            await work.delete(person)
            await work.commit()
    assert await owners(world, "k", "l") == (None, None)
