"""A session under about() gives nothing of yet another person whose law does not let it be read there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.lowlevel
import anyio.to_thread
import pytest
from sqlalchemy import bindparam, delete, event, exists, func, insert, or_, select, text, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import (
    Bundle,
    aliased,
    column_property,
    defer,
    joinedload,
    load_only,
    make_transient_to_detached,
    query_expression,
    registry,
    selectinload,
    subqueryload,
    undefer,
    with_expression,
    with_loader_criteria,
)  # fmt: skip
from sqlalchemy.orm import Session as Session_

from residency import about, about_many
from residency.adapters.pins_memory import PinsMemory
from residency.errors import Refused, UsageError
from residency.integrations.sqlalchemy import async_sessionmaker, sessionmaker
from residency.model import Pin
from tests.related_world import DEPLOYMENT, ONE, Badge, Member, Photo, Post, Reply, Topic, World
from tests.rows import BACKENDS, places_of
from tests.world import SINGAPORE

pytestmark = pytest.mark.anyio
Session = async_sessionmaker("people")
Blocking = sessionmaker("people")
POSTS = select(Post).order_by(Post.id)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BACKENDS[:2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, places_of(request.param, tmp_path, request), DEPLOYMENT + ONE)
    await made.prepare()
    yield made
    await made.stores.aclose()


async def test_what_a_relationship_brings_of_another_is_refused_where_their_law_forbids_it(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("chua"), Session() as session:
            (post,) = await session.scalars(
                select(Post).where(Post.author == "chua").options(selectinload(Post.replies), joinedload(Post.writer))
            )
            assert [reply.id for reply in post.replies] == ["r3"]  # of Beng, whose law lets it
        async with about("beng"):
            async with Session() as session:
                (post,) = await session.scalars(select(Post).where(Post.author == "beng"))  # nothing comes along
            async with Session() as session:
                with pytest.raises(Refused) as error:
                    await session.scalars(select(Post).where(Post.author == "beng").options(selectinload(Post.replies)))
                assert not any(
                    isinstance(each, Reply) and each.author == "anh" for each in session.identity_map.values()
                )
            assert error.value.reason == "only_in_country"
            # By what its key leads to, by the SELECT itself, by key, and as it is loaded later.
            asks: list[Callable[[AsyncSession], Awaitable[object]]] = [
                lambda session: session.scalars(POSTS),
                lambda session: session.get(Member, "anh"),
                lambda session: session.execute(select(Reply, Member).join(Member, Reply.author == Member.id)),
            ]
            for ask in asks:
                async with Session() as session:
                    with pytest.raises(Refused):
                        await ask(session)
    refused = [(entry.reason, entry.sink) for entry in world.entries if entry.kind == "refusal"]
    assert set(refused) == {("only_in_country", "people-sg")}
    assert len(refused) == 4


async def test_a_group_is_of_all_its_members_and_nobody_else(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        many = await about_many(["beng", "chua"])
        (group,) = many.groups
        async with group, Session() as session:
            found = await session.scalars(POSTS.where(Post.author.in_(group.asked)))
            assert [post.id for post in found] == ["p-beng", "p-chua"]
            with pytest.raises(Refused):
                await session.scalars(POSTS)


async def test_a_blocking_session_looks_too_and_a_request_of_ones_own_does_not(world: World) -> None:
    def read() -> None:
        with Blocking() as session:
            (post,) = session.scalars(select(Post).where(Post.author == "beng"))
            with pytest.raises(Refused):
                list(post.replies)  # loaded as it is asked for
            # Whose a row is that leads there over two tables is asked in between.
            assert [each.id for each in session.scalars(select(Photo).where(Photo.id == "f-beng"))] == ["f-beng"]
            assert list(session.scalars(select(Photo.post_id).where(Photo.id == "f-beng"))) == ["p-beng"]
            for statement in (select(Photo), select(Photo.id).where(Photo.post_id == "p-anh")):
                with pytest.raises(Refused):
                    session.scalars(statement).all()

    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"):
            await anyio.to_thread.run_sync(read)
    with world.request("GET", "/somebody", SINGAPORE, "beng"):
        async with Session() as session:
            assert len((await session.scalars(POSTS)).all()) == 3


posts = Post.__table__
OTHER = aliased(Post)
OWN = {"residency_own_rows": True}
# What each statement gives in a session about Beng, by Sue in Singapore.
GIVEN: list[tuple[Any, list[Any]]] = [
    (select(Post.id).where(Post.author == "beng"), ["p-beng"]),
    (select(posts.c.id).where(posts.c.author == "beng"), ["p-beng"]),
    (select(OTHER.id).where(OTHER.author.in_(["beng"]), or_(OTHER.id == "p-beng", OTHER.topic_id == "t")), ["p-beng"]),
    (select(func.count()).select_from(Reply).where(Reply.author == "beng"), [1]),
    (select(func.count(Reply.id) + 1).where(Reply.author == "beng"), [2]),
    (select(Post.id).where(Post.id == "p-beng"), ["p-beng"]),  # whose it is is asked for
    (select(Post.id).where(Post.author.in_(["beng", "chua"])).order_by(Post.id), ["p-beng", "p-chua"]),  # may be read
    # Joined to what says it, by a key or by the subject; whatever else it is joined to only filters.
    (
        select(Member.name).join(Post, Post.author == Member.id).where(Post.id == "p-beng", Member.id == "beng"),
        ["Beng"],
    ),
    (select(Photo.id).join(Post).join(Member).where(Member.id == "beng"), ["f-beng"]),
    (select(Photo.id).where(Photo.post_id == "p-beng"), ["f-beng"]),
    (select(Photo.id).where(Photo.id == "f-beng"), ["f-beng"]),
    (select(Reply.id).join(Post).where(Reply.author == "beng", Post.id == "p-chua"), ["r3"]),
    (select(Post.id).where(Post.author == "beng", Post.writer.has(Member.id == "beng")), ["p-beng"]),
    (select(Topic.id).where(exists().where(Post.topic_id == Topic.id, Post.author == "beng")), ["t"]),
    (select(Post.id, Post).where(Post.author == "beng").with_only_columns(Post.id), ["p-beng"]),
    (select(Member.id).outerjoin(Post, Post.author == Member.id).where(Member.id == "beng"), ["beng"]),
    (
        select(Post.id).select_from(Member).outerjoin(Post, Post.author == Member.id).where(Member.id == "beng"),
        ["p-beng"],
    ),
    (select(select(Post.id).where(Post.author == "beng").subquery()), ["p-beng"]),
    (select(select(Post.id).where(Post.author == "beng").cte()), ["p-beng"]),
    (select(Topic.id), ["t", "u"]),
    (select(select(func.max(Post.id)).where(Post.author == "beng").scalar_subquery()), ["p-beng"]),
    (union_all(*[select(each.id).where(each.author == "beng") for each in (Post, Reply)]), ["p-beng", "r3"]),
    (text("SELECT id FROM topic"), ["t", "u"]),
    (text("SELECT id FROM post WHERE author = 'beng'").execution_options(**OWN), ["p-beng"]),
    (select(func.count()).select_from(Post).execution_options(**OWN), [3]),
]
# They tell of rows, and not whose.
LOOSE: list[Any] = [
    # What only filters tells, too.
    select(Reply.id).join(Post).where(Reply.author == "beng", Post.topic_id == "u"),
    select(Topic.id).join(Post),
    select(Topic.id).where(Topic.posts.any(Post.author != "beng")),
    select(Post).where(Post.author == "beng", Post.replies.any(Reply.id != "r1")),
    select(Post).join(Post.replies).where(Post.author == "beng", Reply.id != "r1"),
    select(Post).from_statement(text("SELECT post.* FROM post JOIN reply ON reply.post_id = post.id")),
    select(Topic).order_by(select(func.max(Post.id)).scalar_subquery()),
    select(Post.id),
    select(posts),
    select(func.count()).select_from(Post),
    select(func.max(Post.id)),
    select(Bundle("post", Post.id)),
    select(Topic.id, Post.id).join(Post),
    select(Post.id).where(Post.topic_id == "t"),
    select(Post.id).where(or_(Post.author == "beng", Post.topic_id == "t")),
    select(Post.id).where(Post.author != "anh"),
    select(Post.id).where(Post.author == "beng", text("1 = 1 OR 2 = 2")),
    select(Post.id).where(func.lower(Post.author) == "beng"),
    select(Post.id).having(Post.author == "beng").group_by(Post.id),
    select(Post.id).join(OTHER, Post.topic_id == OTHER.topic_id).where(OTHER.author == "beng"),
    select(Reply.id).join(Post).where(Post.author == "beng"),  # others' replies
    select(Post.id).outerjoin(Reply, Post.author == "beng"),
    select(Post.id).outerjoin(Reply, Reply.author == Post.author).where(Reply.id == "r3"),
    select(Photo.id).join(Post),
    select(Photo.id).where(Photo.post_id.in_(select(Post.id).where(Post.author == "beng"))),
    select(select(Post.id).subquery()),
    select(select(Post).cte()),
    select(select(func.count(Post.id)).scalar_subquery()),
    select(Topic.id, select(Post.id).where(Post.topic_id == Topic.id).limit(1).scalar_subquery()),
    select(select(Post.id).exists()),
    select(func.coalesce(select(func.max(Post.id)).scalar_subquery(), "none")),
    select(Topic.id).where(func.length(func.coalesce(text("(SELECT max(id) FROM post)"), "")) > 0),
    select(Post.id).where(Post.author == "beng").union(select(Reply.id)),
    select(text("id")).select_from(Post),
    select(text("(SELECT max(id) FROM post)")),
    text("SELECT id FROM post"),
    select(Post.id).where(Post.author == bindparam("who", "beng", literal_execute=True)),
    select(Topic.id).suffix_with("UNION SELECT id FROM post"),
    select(Topic.id).with_statement_hint("UNION SELECT id FROM post"),
    select(Topic).options(with_loader_criteria(Topic, Topic.id.in_(select(Post.topic_id)))),
    select(Topic).options(with_loader_criteria(Topic, lambda each: each.id.in_(select(Post.topic_id)))),
    select(Post.id).where(Post.author == "beng").suffix_with("OR 1 = 1"),
    text('select id from "post" -- of beng'),
    text("SELECT id FROM topic UNION SELECT id FROM reply"),
    text("SELECT id FROM post").columns(Post.id),
    select(Post.id).from_statement(text("SELECT id FROM post")),
]
# They say that it is Anh's too, whose law does not let it be read here.
FORBIDDEN: list[Any] = [
    select(Post.id).where(Post.author == "anh"),
    select(Post.id).where(Post.author.in_(["beng", "anh"])),
    select(Post.id).where(Post.id == "p-anh"),
    select(Photo.id).where(Photo.id == "f-anh"),
    select(Photo.id).where(Photo.post_id == "p-anh"),
    select(Photo),
    select(Photo).options(load_only(Photo.id)),
    select(Reply).options(defer(Reply.author)),
    select(Post).options(load_only(Post.id)),
    select(Post).from_statement(text("SELECT * FROM post")),
    select(Post).options(subqueryload(Post.replies)).where(Post.id == "p-beng"),
]


async def test_columns_are_given_where_the_statement_says_whose_they_are(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"):
            for statement, given in GIVEN:
                async with Session() as session:
                    assert list(await session.scalars(statement)) == given, statement
                    told = await (await session.connection()).execute(statement)
                    assert [each[0] for each in told] == given, statement


async def test_pins_of_all_whom_a_statement_names_are_asked_for_at_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    waiting, most = set[str](), 0

    class Far(PinsMemory):
        def peek(self, subject: str) -> tuple[Pin | None, bool]:
            return None, False

        async def get(self, subject: str) -> Pin | None:
            nonlocal most
            waiting.add(subject)
            await anyio.lowlevel.checkpoint()
            most = max(most, len(waiting))
            waiting.discard(subject)
            return await super().get(subject)

    made = World(tmp_path, places_of("sqlite", tmp_path, request), DEPLOYMENT + ONE, pins=Far())
    await made.prepare()
    with made.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            people = ["beng", "chua", *(f"p{number}" for number in range(6))]
            found = await session.scalars(select(Post.id).where(Post.author.in_(people)).order_by(Post.id))
            assert list(found) == ["p-beng", "p-chua"]
    assert most == 7
    await made.stores.aclose()


async def test_what_does_not_say_whose_rows_it_tells_of_is_refused_with_what_to_write(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            for statement in LOOSE:
                with pytest.raises(UsageError, match=r"under about\(\) tells of rows of '\w+'.*add WHERE \w+ ="):
                    await session.execute(statement)
            connection = await session.connection()
            for statement in (select(Post), select(Post).from_statement(text("SELECT * FROM post"))):
                with pytest.raises(UsageError):
                    await connection.execute(statement)  # no objects are made of it
            with pytest.raises(UsageError):
                await connection.exec_driver_sql("SELECT id FROM post")
    with world.request("GET", "/somebody", SINGAPORE, "beng"):  # who asks for themselves
        async with Session() as session:
            for statement in LOOSE:
                await session.execute(statement)
    assert not [entry for entry in world.entries if entry.kind == "refusal"]


async def test_what_is_streamed_is_looked_at_on_its_way(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            options = {"yield_per": 1}
            stream = await session.stream_scalars(select(Photo).order_by(Photo.id.desc()), execution_options=options)
            given: list[str] = []

            async def read() -> None:
                async for photo in stream:
                    given.append(photo.id)

            with pytest.raises(Refused):
                await read()
            assert given == ["f-beng"]


async def test_columns_and_objects_of_whose_law_forbids_it_are_refused_by_it(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"):
            for statement in FORBIDDEN:
                async with Session() as session:
                    with pytest.raises(Refused) as error:
                        await session.scalars(statement)
                    assert error.value.reason == "only_in_country", statement


async def test_a_change_tells_of_no_rows_but_those_it_says(world: World) -> None:
    change = update(Post).values(topic_id=None).execution_options(synchronize_session=False)
    with world.request("POST", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            assert list(await session.scalars(change.where(Post.author == "beng").returning(Post.id))) == ["p-beng"]
            with pytest.raises(UsageError):
                await session.execute(change.returning(Post.id))
            with pytest.raises(UsageError):
                await session.execute(text("DELETE FROM post RETURNING id"))
            for loose in (
                change.where(Post.topic_id == "none"),
                delete(Reply),
                change.where(Post.author == "beng", Post.id == Reply.post_id),
                text("UPDATE post SET topic_id = NULL"),
                insert(Badge).from_select(["id", "member"], select(Post.id, Post.author)),
            ):
                with pytest.raises(UsageError, match="nothing in it says whose"):
                    await session.execute(loose)
            # Theirs may be read, and are changed under about() of them.
            taken = (await session.run_sync(dialect_of)).insert(Post).values(id="p-chua", author="beng")
            with pytest.raises(UsageError, match="nothing in it says whose"):
                await session.execute(taken.on_conflict_do_update(index_elements=["id"], set_={"topic_id": None}))
            own = taken.on_conflict_do_update(
                index_elements=["id"], set_={"topic_id": None}, where=Post.author == "beng"
            )
            assert (await session.execute(own.returning(Post.id))).all() == []  # nothing of Chua's
            for theirs in (
                change.where(Post.author == "chua"),
                change.where(Post.id == "p-chua"),
                delete(Reply).where(Reply.id == "r2"),
            ):
                with pytest.raises(UsageError, match=r"changes rows of '\w+' that are somebody else's"):
                    await session.execute(theirs)
            with pytest.raises(UsageError, match="somebody else's"):
                await session.execute(update(Post), [{"id": "p-chua", "topic_id": None}])
            for bulk in (
                lambda sync: sync.bulk_update_mappings(Post, [{"id": "p-chua", "topic_id": None}]),
                lambda sync: sync.bulk_save_objects([stored(Post(id="p-chua", topic_id=None))]),
            ):
                await session.rollback()
                with pytest.raises(UsageError, match="somebody else's"):
                    await session.run_sync(bulk)
            await session.rollback()
            theirs_too = await session.get_one(Post, "p-chua")
            theirs_too.topic_id = None
            with pytest.raises(UsageError, match="somebody else's"):
                await session.flush()
            await session.rollback()
            (post,) = await session.scalars(select(Post).where(Post.author == "beng"))
            post.topic_id = "t"
            await session.commit()


def dialect_of(session: Session_) -> Any:
    """The upserts of the database that a session is on."""
    return postgresql if session.get_bind().dialect.name == "postgresql" else sqlite


def stored(post: Post) -> Post:
    """As if it had been read before."""
    make_transient_to_detached(post)
    post.topic_id = "u"
    return post


async def test_what_is_read_within_a_flush_is_looked_at(world: World) -> None:
    """A hook of the app's own asks what it likes."""
    told: list[Any] = []

    def hook(session: Session_, *_: Any) -> None:
        told.append(session.scalars(select(Post.id)).all())

    with world.request("POST", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            event.listen(session.sync_session, "before_flush", hook)
            session.add(Badge(id="new", member="beng"))
            with pytest.raises(UsageError, match="nothing in it says whose"):
                await session.flush()
    assert told == []


class Counted:
    """A post with what its model computes."""

    of_writer: Any
    of_all: Any
    more: Any


orm = registry()
orm.map_imperatively(
    Counted,
    posts,
    properties={
        "of_writer": column_property(
            select(func.count(Member.id)).where(Member.id == posts.c.author).correlate(posts).scalar_subquery()
        ),
        "of_all": column_property(select(func.count(Member.id)).scalar_subquery(), deferred=True),
        "more": query_expression(),
    },
)


async def test_what_a_model_computes_is_of_whom_its_row_is(world: World) -> None:
    own = select(Counted).where(posts.c.author == "beng")
    of_all = select(func.max(Reply.id)).scalar_subquery()
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            (counted,) = await session.scalars(own)
            assert counted.of_writer == 1
            for loose in (own.options(undefer(Counted.of_all)), own.options(with_expression(Counted.more, of_all))):
                with pytest.raises(UsageError, match="nothing in it says whose"):
                    await session.scalars(loose)
            with pytest.raises(UsageError, match="nothing in it says whose"):
                await session.refresh(counted, ["of_all"])


async def test_who_is_not_known_is_not_taken_for_whom_they_name(world: World) -> None:
    with world.request("GET", "/somebody/beng", SINGAPORE, ""):
        async with Session() as session:
            assert list(await session.scalars(select(Post.id).where(Post.author == "beng"))) == ["p-beng"]
            with pytest.raises(UsageError, match="nothing in it says whose"):
                await session.scalars(select(Post.id))
            with pytest.raises(Refused):
                await session.scalars(POSTS)


async def test_in_an_activity_about_nobody_each_row_is_judged_by_its_own_law(world: World) -> None:
    with world.request("GET", "/people", SINGAPORE, "sue"):
        async with Session() as session:
            assert [each.id for each in await session.scalars(POSTS.where(Post.author != "anh"))] == [
                "p-beng",
                "p-chua",
            ]
            assert list(await session.scalars(select(Post.id).where(Post.author.in_(["beng", "chua"])))) != []
            assert list(await session.scalars(select(Topic.id))) == ["t", "u"]
            for statement in (select(func.count()).select_from(Post), text("SELECT id FROM post")):
                with pytest.raises(UsageError, match="nothing in it says whose"):
                    await session.execute(statement)
                await session.execute(statement, execution_options=OWN)
            for forbidden in (POSTS, select(Post.id).where(Post.author == "anh")):
                with pytest.raises(Refused) as error:
                    await session.scalars(forbidden)
                assert error.value.reason == "only_in_country"


async def test_a_request_that_names_somebody_else_than_who_asks_is_looked_at(world: World) -> None:
    with world.request("GET", "/somebody/beng", SINGAPORE, "sue"):
        async with Session() as session:
            assert list(await session.scalars(select(Post.id).where(Post.author == "beng"))) == ["p-beng"]
            for statement in (POSTS, select(Post.id).where(Post.id == "p-anh")):
                with pytest.raises(Refused):
                    await session.scalars(statement)
    with world.request("GET", "/somebody/beng", SINGAPORE, "beng"):
        async with Session() as session:
            assert len((await session.scalars(POSTS)).all()) == 3


async def test_a_store_without_records_is_no_way_to_rows_of_another_in_the_same_sink(world: World) -> None:
    opened, blocking = async_sessionmaker("one"), sessionmaker("one")

    def read() -> None:
        with blocking() as session, pytest.raises(Refused):
            session.get(Post, "p-anh")

    with world.request("GET", "/one", SINGAPORE, "sue"):
        async with about("beng"):
            await anyio.to_thread.run_sync(read)
            for statement, given in GIVEN:
                async with opened() as session:
                    assert list(await session.scalars(statement)) == given, statement
            async with opened() as session:
                for statement in LOOSE:
                    with pytest.raises(UsageError):
                        await session.execute(statement)
            for statement in FORBIDDEN:
                async with opened() as session:
                    with pytest.raises(Refused):
                        await session.scalars(statement)
    with world.request("GET", "/all", SINGAPORE, "sue"):
        async with opened() as session:
            assert [each.id for each in await session.scalars(POSTS.where(Post.author == "beng"))] == ["p-beng"]
            with pytest.raises(Refused):
                await session.scalars(POSTS)
    with world.request("POST", "/one", SINGAPORE, "sue"):
        async with about("beng"):
            for change in (
                insert(Reply).values(id="r9", author="chua", post_id="p-chua"),
                update(Post).where(Post.id == "p-chua").values(topic_id=None),
            ):
                async with opened() as session:
                    with pytest.raises(UsageError, match="somebody else"):
                        await session.execute(change)


async def test_a_row_that_leads_to_somebody_else_is_not_written(world: World) -> None:
    """By the one table that is between, whether it is about another than who asks or not."""
    with world.request("POST", "/somebody", SINGAPORE, "beng"):
        async with Session() as session:
            for theirs in (
                insert(Post).values(id="new", author="chua"),
                update(Post).where(Post.id == "p-beng").values(author="chua"),
            ):
                with pytest.raises(UsageError, match="its column 'author' that it is somebody else's"):
                    await session.execute(theirs)
            session.add(Post(id="new", author="chua"))
            with pytest.raises(UsageError, match="somebody else's"):
                await session.flush()
            await session.rollback()
            with pytest.raises(UsageError, match="cannot be looked at"):
                await session.execute(update(Post).values(author=func.lower("BENG")))
            session.add(Post(id="new", author="beng"))
            await session.commit()


async def test_a_row_that_leads_to_somebody_else_over_two_tables_is_not_written_under_about(world: World) -> None:
    with world.request("POST", "/somebody", SINGAPORE, "sue"):
        async with about("chua"), Session() as session:
            session.add(Photo(id="f-chua", post_id="p-chua"))
            await session.flush()
            await session.rollback()
        async with about("beng"), Session() as session:
            for theirs in (
                insert(Photo).values(id="new", post_id="p-chua"),
                update(Photo).where(Photo.id == "f-beng").values(post_id="p-chua"),
            ):
                with pytest.raises(UsageError, match="a row that leads to one of 'post' is of whom that is"):
                    await session.execute(theirs)
            await session.merge(Photo(id="f-chua", post_id="p-chua"))
            with pytest.raises(UsageError, match="a row that leads to one of 'post'"):
                await session.flush()
            await session.rollback()
            session.add(Photo(id="new", post_id="p-beng"))
            await session.commit()
