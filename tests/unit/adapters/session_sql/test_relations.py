"""Views, partitions and functions behind which the database reads tables of somebody: nothing says whose rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, column, func, insert, select, table, text, update
from sqlalchemy.orm import aliased, column_property, joinedload, registry, relationship, selectinload

from residency import about
from residency.errors import UsageError
from residency.integrations.sqlalchemy import async_sessionmaker
from tests.related_world import DEPLOYMENT, ONE, Member, Post, Topic, World
from tests.rows import BACKENDS, places_of
from tests.world import SINGAPORE

pytestmark = pytest.mark.anyio
Session = async_sessionmaker("people")
OWN = {"residency_own_rows": True}
BOTH = [
    "CREATE VIEW post_view AS SELECT id, author, topic_id FROM post",
    'CREATE VIEW "Nested" AS SELECT p.id FROM post_view p',
    "CREATE VIEW topic_view AS SELECT id FROM topic",
]
POSTGRES = [
    "CREATE MATERIALIZED VIEW stored_view AS SELECT count(*) AS id FROM reply",
    "CREATE TABLE post_old () INHERITS (post)",
    "CREATE TABLE anything (id varchar)",
    "ALTER TABLE reply INHERIT anything",
    "CREATE TABLE ruled (id varchar)",
    "CREATE RULE tells AS ON INSERT TO ruled DO ALSO SELECT id FROM post",
    "CREATE FUNCTION newest() RETURNS varchar LANGUAGE sql AS 'SELECT max(id) FROM post_view'",
    "CREATE FUNCTION titled() RETURNS SETOF varchar BEGIN ATOMIC SELECT id FROM post; END",
    "CREATE FUNCTION told(what text) RETURNS text LANGUAGE plpgsql AS 'BEGIN EXECUTE what; RETURN NULL; END'",
    "CREATE VIEW by_function AS SELECT newest() AS id",
    "CREATE FUNCTION plain(what text) RETURNS text LANGUAGE sql AS 'SELECT upper(what)'",
]
SQLITE = ["CREATE VIRTUAL TABLE found USING fts5(id, content='post')"]
orm = registry()
POST_VIEW: Any = table("post_view", column("id", String), column("author", String), column("topic_id", String))


class PostView:
    """What the view gives, as an app maps it."""

    id: Any
    author: Any


class TopicSeen:
    """A topic that brings along what a view gives."""

    id: Any
    posts: Any


orm.map_imperatively(PostView, POST_VIEW, primary_key=[POST_VIEW.c.id])
orm.map_imperatively(
    TopicSeen,
    Topic.__table__,
    properties={
        "posts": relationship(
            PostView,
            primaryjoin=Topic.__table__.c.id == POST_VIEW.c.topic_id,
            foreign_keys=[POST_VIEW.c.topic_id],
            viewonly=True,
        ),
        "newest": column_property(func.coalesce("x", "y")),
    },
)
READS: list[Any] = [
    select(POST_VIEW.c.id),
    select(POST_VIEW.c.id).where(POST_VIEW.c.author == "beng"),
    select(PostView),
    select(aliased(PostView).id),
    select(Topic.id).join(POST_VIEW, POST_VIEW.c.topic_id == Topic.id),
    select(Member.name).where(Member.id == "beng", select(POST_VIEW.c.id).exists()),
    select(TopicSeen).options(selectinload(TopicSeen.posts)),
    select(TopicSeen).options(joinedload(TopicSeen.posts)),
    select(column("id")).select_from(table("Nested")),
    text('SELECT * FROM "Nested"'),
    text("SELECT id FROM topic UNION SELECT id FROM Post_View"),
    select(Topic.id).where(Topic.id.in_(text("SELECT id FROM post_view").columns(column("id")))),
]
ON_POSTGRES: list[Any] = [
    select(column("id")).select_from(table("stored_view")),
    select(column("id")).select_from(table("by_function")),
    select(table("post_old", column("id")).c.id),
    select(table("anything", column("id")).c.id),
    select(table("ruled", column("id")).c.id),
    select(func.newest()),
    select(Topic.id).where(Topic.id == func.coalesce(func.newest(), "")),
    select(func.titled().table_valued("titled").render_derived().c.titled),
    select(column("titled")).select_from(func.titled()),
    select(func.public.titled()),
    select(func.told("SELECT id FROM post")),
    select(func.query_to_xml("SELECT id FROM post", True, False, "")),
    text("SELECT * FROM titled()"),
    text("SELECT newest()"),
    text("SELECT count(*) FROM pg_largeobject"),
]
ON_SQLITE: list[Any] = [
    select(column("id")).select_from(table("nested")),
    text("SELECT id FROM 'Post_View'"),
    text("SELECT id FROM found"),
]
TAKEN: list[Any] = [
    select(column("id")).select_from(table("topic_view")),
    select(Topic.id, func.upper(Topic.id)),
    text("SELECT id FROM topic_view"),
    select(Post.id).where(Post.author == "beng"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BACKENDS[:2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, places_of(request.param, tmp_path, request), DEPLOYMENT + ONE)
    await made.prepare()
    for sink in (made.sg, made.vn):
        async with sink.engine.begin() as connection:
            for each in (*BOTH, *(SQLITE if request.param == "sqlite" else POSTGRES)):
                await connection.execute(text(each))
    yield made
    await made.stores.aclose()


def on_postgres(world: World) -> bool:
    return not world.places["sg"].url.startswith("sqlite")


async def test_what_a_view_or_a_function_reads_is_of_nobody_that_the_statement_names(world: World) -> None:
    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"), Session() as session:
            refused = [*READS, *(ON_POSTGRES if on_postgres(world) else ON_SQLITE)]
            for statement in refused:
                for _ in range(2):
                    with pytest.raises(UsageError, match=r"behind '\w+' the database reads.*residency_own_rows"):
                        await session.execute(statement)
                if statement is not ON_POSTGRES[-4]:  # it gives XML
                    await session.execute(statement, execution_options=OWN)
            taken = [*TAKEN, select(func.plain("x"))] if on_postgres(world) else TAKEN
            for statement in taken:
                assert (await session.execute(statement)).all(), statement
            topic = await session.get_one(TopicSeen, "t")
            with pytest.raises(UsageError, match="behind 'post_view'"):  # as it is loaded later
                await session.run_sync(lambda _: list(topic.posts))
    with world.request("GET", "/people", SINGAPORE, "sue"):  # about nobody
        async with Session() as session:
            with pytest.raises(UsageError, match="behind 'post_view'"):
                await session.execute(READS[0])
    with world.request("GET", "/somebody", SINGAPORE, "beng"):  # who asks for themselves
        async with Session() as session:
            for statement in READS:
                await session.execute(statement)


async def test_what_is_changed_by_a_view_is_of_nobody_that_the_statement_names(world: World) -> None:
    changes: list[Any] = [
        update(POST_VIEW).where(POST_VIEW.c.id == "p-chua").values(topic_id="t"),
        insert(POST_VIEW).values(id="new", author="chua"),
        text("UPDATE post_view SET topic_id = 't'"),
        text("DELETE FROM post_view WHERE id = 'none'"),
    ]
    with world.request("POST", "/somebody", SINGAPORE, "beng"):
        for change in changes:
            async with Session() as session:
                with pytest.raises(UsageError, match=r"behind '(post_view|POST_VIEW)'"):
                    await session.execute(change)
                await session.rollback()
                assert (await session.execute(select(func.count()).select_from(POST_VIEW))).scalar_one() == 3
                if on_postgres(world):  # SQLite changes nothing by a view
                    await session.execute(change, execution_options=OWN)


@pytest.mark.parametrize("world", BACKENDS[:1], indirect=True)
async def test_a_view_that_is_made_meanwhile_is_known_a_minute_later(world: World) -> None:
    late = text("SELECT id FROM late")

    async def read(statement: Any) -> None:
        with world.request("GET", "/somebody", SINGAPORE, "sue"):
            async with about("beng"), Session() as session:
                await session.execute(statement)

    await read(TAKEN[0])
    async with world.sg.engine.begin() as connection:
        await connection.execute(text("CREATE VIEW late AS SELECT id FROM post_view"))
    await read(late)
    world.clock.advance(60_000_000)
    with pytest.raises(UsageError, match="behind 'LATE'"):
        await read(late)
