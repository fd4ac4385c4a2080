"""A session under about() gives nothing of yet another person whose law does not let it be read there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio.to_thread
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload, selectinload

from residency import about, about_many
from residency.errors import Refused
from residency.integrations.sqlalchemy import async_sessionmaker, sessionmaker
from tests.related_world import DEPLOYMENT, Member, Post, Reply, World
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
    made = World(tmp_path, places_of(request.param, tmp_path, request), DEPLOYMENT)
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

    with world.request("GET", "/somebody", SINGAPORE, "sue"):
        async with about("beng"):
            await anyio.to_thread.run_sync(read)
    with world.request("GET", "/somebody", SINGAPORE, "beng"):
        async with Session() as session:
            assert len((await session.scalars(POSTS)).all()) == 3
