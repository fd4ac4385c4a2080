"""Statements that may write a row of somebody else: upserts, what a database computes, INSERT from SELECT, SQL text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, bindparam, delete, func, insert, literal, literal_column, null, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from residency.adapters.session_sql import RoutedSession
from residency.errors import UsageError
from tests.rows import BACKENDS, OWNED, Rows, opened, places_of

pytestmark = pytest.mark.anyio
OWN = {"residency_own_rows": True}


class Base(DeclarativeBase):
    """This test's models."""


class Person(Base):
    """A row whose attribute has another name than its column."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    whose: Mapped[str | None] = mapped_column("account", String)
    name: Mapped[str | None]


class Other(Base):
    """A row of a table that `records:` does not name."""

    __tablename__ = "other"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    account: Mapped[str | None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BACKENDS[:2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rows]:
    async with opened(Rows(tmp_path, places_of(request.param, tmp_path, request), OWNED), Base.metadata) as made:
        yield made


def session() -> AsyncSession:
    return AsyncSession(sync_session_class=RoutedSession, store="people", expire_on_commit=False)


def upsert(**values: Any) -> Callable[[Session, Any], Any]:
    """An upsert of an's own row that sets these where it is there."""

    def make(work: Session, whose: Any) -> Any:
        made = postgresql if work.get_bind().dialect.name == "postgresql" else sqlite
        statement = made.insert(Person).values(id="k", account="an")
        told = {name: whose if value is ... else value for name, value in values.items()}
        if told.get("account") == "excluded":
            told["account"] = statement.excluded.account
        elif told.get("account") == "bound":
            told["account"] = bindparam("theirs", whose)
        return statement.on_conflict_do_update(index_elements=["id"], set_=told, where=Person.whose == "an")

    return make


def plain(statement: Callable[[Any], Any]) -> Callable[[Session, Any], Any]:
    return lambda work, whose: statement(whose)


OWNS: Any = Person.whose == "an"
# Each can be looked at: it is taken where it is of the session's subject, and refused where of somebody else.
LOOKED_AT = {
    "upsert": upsert(account=...),
    "upsert of two": upsert(account=..., name="n"),
    "upsert by a parameter": upsert(account="bound"),
    "insert by a parameter": plain(lambda who: insert(Person).values(id="p", whose=bindparam("theirs", who))),
    "update by a parameter": plain(lambda who: update(Person).where(OWNS).values(whose=bindparam("theirs", who))),
    "update in order": plain(
        lambda who: update(Person).where(OWNS).ordered_values((Person.whose, who), (Person.name, "n"))
    ),
}
# None of these can; the app may say that they are the subject's.
UNSEEN = {
    "upsert by an expression": upsert(account=func.lower("AN")),
    "upsert by another column": upsert(account=Person.name),
    "insert by an expression": plain(lambda who: insert(Person).values(id="e", whose=func.lower("AN"))),
    "insert of several": plain(
        lambda who: insert(Person).values([{"id": "f", "whose": func.lower("AN")}, {"id": "g", "whose": "an"}])
    ),
    "insert of a literal": plain(lambda who: insert(Person).values(id="h", whose=literal_column("'an'"))),
    "update by an expression": plain(lambda who: update(Person).values(whose=func.lower(Person.whose))),
    "insert from a select": plain(
        lambda who: insert(Person).from_select(["id", "account"], select(literal("i"), literal("an")))
    ),
    "text": plain(lambda who: text("INSERT INTO person (id, account) VALUES ('j', 'an')")),
    "text with parameters": plain(
        lambda who: text("insert into Person values (:i, :w, NULL)").bindparams(i="l", w="an")
    ),
    "text that updates": plain(lambda who: text("UPDATE person SET account = 'an' WHERE id = 'k'")),
    "text that upserts": plain(
        lambda who: text(
            "INSERT INTO person (id, name) VALUES ('k', 'x') ON CONFLICT (id) DO UPDATE SET account = 'an'"
        )
    ),
    "a part of another insert": plain(
        lambda who: insert(Other).from_select(
            ["id"], select(insert(Person).values(id="m", whose=func.lower("AN")).returning(Person.id).cte("new").c.id)
        )
    ),
}
# These leave the column alone, write nothing of anybody's, or take it from what was looked at.
HARMLESS = {
    "upsert": upsert(name="n"),
    "upsert of what is inserted": upsert(account="excluded"),
    "upsert of nothing": upsert(account=None),
    "insert": plain(lambda who: insert(Person).values(id="n", whose=null())),
    "update": plain(lambda who: update(Person).where(OWNS).values(name=func.lower("N"))),
    "insert from a select": plain(lambda who: insert(Person).from_select(["id"], select(literal("o")))),
    "text that inserts": plain(lambda who: text("INSERT INTO person (id, name) VALUES ('q', 'n')")),
    "text that only reads it": plain(lambda who: text("WITH p AS (SELECT 1 FROM person) UPDATE other SET id = 'o'")),
    "text that reads": plain(lambda who: text("SELECT account FROM person")),
    "delete": plain(lambda who: delete(Person).where(OWNS)),
    "locks": plain(lambda who: select(Person).with_for_update()),
    "another table": plain(lambda who: text("INSERT INTO other (id, account) VALUES ('r', 'binh')")),
    "from the table": plain(lambda who: insert(Other).from_select(["id", "account"], select(Person.id, Person.whose))),
}


async def run(make: Callable[[Session, Any], Any], whose: str, options: dict[str, Any] | None = None) -> None:
    async with session() as work:
        await work.run_sync(lambda sync: sync.execute(make(sync, whose), execution_options=options or {}))
        await work.commit()


async def emptied() -> None:
    async with session() as work:
        await work.execute(delete(Person), execution_options=OWN)
        await work.execute(delete(Other))
        await work.commit()
    await run(HARMLESS["upsert"], "an")


async def test_what_can_be_looked_at_is_the_subject_s_or_is_not_written(world: Rows) -> None:
    with world.request(who="an"):
        for make in LOOKED_AT.values():
            await emptied()
            for whose in ("an", "binh", "an", "binh"):  # SQLAlchemy knows the statement from the second on
                if whose == "an":
                    await emptied()
                    await run(make, whose)
                    continue
                for options in (None, OWN):  # what can be seen counts, whatever the app says
                    with pytest.raises(UsageError, match="'account' that it is somebody else's"):
                        await run(make, whose, options)
    assert {row[0] for row in world.places["vn"].query("SELECT account FROM person")} == {"an"}


async def test_what_cannot_be_looked_at_is_written_where_the_app_says_whose_it_is(world: Rows) -> None:
    on_sqlite = world.places["vn"].url.startswith("sqlite")
    with world.request(who="an"):
        for name, make in UNSEEN.items():
            await emptied()
            for options in (None, None, {"residency_own_rows": False}):
                with pytest.raises(
                    UsageError, match=r"'person' a 'account' that cannot be looked at.*residency_own_rows"
                ):
                    await run(make, "an", options)
            if name != "a part of another insert" or not on_sqlite:  # SQLite has no such statements
                await run(make, "an", OWN)


async def test_what_leaves_that_column_alone_is_written_as_before(world: Rows) -> None:
    with world.request(who="an"):
        for make in HARMLESS.values():
            for _ in range(2):
                await emptied()
                await run(make, "an")


async def test_an_object_that_is_given_an_expression_is_refused(world: Rows) -> None:
    with world.request(who="an"):
        async with session() as work:
            person = Person(id="k", whose="an")
            work.add(person)
            await work.flush()
            person.whose = func.lower("BINH")
            with pytest.raises(UsageError, match="cannot be looked at"):
                await work.flush()
            await work.rollback()


@pytest.mark.parametrize("world", BACKENDS[:1], indirect=True)
async def test_statements_that_a_driver_is_given_are_read_too_and_an_app_that_is_observed_writes_as_before(
    world: Rows, tmp_path: Path
) -> None:
    with world.request(who="an"):
        async with session() as work:
            with pytest.raises(UsageError, match="cannot be looked at"):
                await (await work.connection()).exec_driver_sql("REPLACE INTO 'person' VALUES ('x', 'binh', NULL)")
            await work.rollback()
    observed = Rows(tmp_path / "observed", world.places, OWNED, mode="observe")
    with observed.request(who="an"):
        for each in UNSEEN:
            if each not in ("a part of another insert", "insert of several"):
                await run(UNSEEN[each], "an")
    await observed.stores.aclose()
