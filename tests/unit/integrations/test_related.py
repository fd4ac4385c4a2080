"""What relationships bring along in a list is told only where the law of those whose it is lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import exists, func, select
from sqlalchemy.orm import defer, joinedload, selectinload
from sqlalchemy.orm.exc import DetachedInstanceError

import residency
from residency.errors import UsageError
from tests.related_world import DEPLOYMENT, ONE, Badge, Member, Post, Reply, Topic, World
from tests.rows import BACKENDS, Place, places_of
from tests.world import SINGAPORE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=BACKENDS[:2])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, places_of(request.param, tmp_path, request), DEPLOYMENT)
    await made.prepare()
    yield made
    await made.stores.aclose()


POSTS = select(Post).order_by(Post.id)
MEMBERS = select(Member).order_by(Member.id)
TOPICS = select(Topic).order_by(Topic.id)


TOLD: list[tuple[Any, list[str], int]] = [
    (POSTS, ["p-beng", "p-chua"], 1),  # nothing comes along
    # Replies say whose they are by a column of theirs; that of Anh may not be told from there.
    (POSTS.options(selectinload(Post.replies)), ["p-chua"], 2),
    # Where that column was not loaded, and where another table tells it, it is asked for.
    (POSTS.options(selectinload(Post.replies).options(defer(Reply.author))), ["p-chua"], 2),
    (select(Reply).order_by(Reply.id).options(joinedload(Reply.post)), ["r2", "r3"], 1),
    (select(Reply).order_by(Reply.id).options(joinedload(Reply.post).joinedload(Post.writer)), ["r2", "r3"], 1),
    # However far away, and by whatever way back.
    (MEMBERS.options(selectinload(Member.posts).selectinload(Post.replies)), ["chua"], 2),
    (MEMBERS.options(selectinload(Member.replies).joinedload(Reply.post).selectinload(Post.replies)), ["beng"], 2),
    # What is nobody's comes along.
    (POSTS.options(joinedload(Post.topic)), ["p-beng", "p-chua"], 1),
    # Nobody's rows bring along somebody's.
    (TOPICS.options(selectinload(Topic.posts)), ["u"], 1),
    (TOPICS.options(selectinload(Topic.posts).selectinload(Post.replies)), ["u"], 1),
]


async def test_a_row_is_told_only_where_the_law_of_all_that_comes_along_lets_it(world: World) -> None:
    for statement, told, left_out in TOLD:
        page = await world.page(statement)
        assert ([each.id for each in page], page.withheld) == (told, {"only_in_country": left_out}), statement
        assert page.partial


async def test_a_list_of_a_store_without_records_is_judged_by_those_of_another_in_the_same_sink(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = World(tmp_path, places_of("sqlite", tmp_path, request), DEPLOYMENT + ONE)
    await world.prepare()
    for statement, told, left_out in TOLD:
        page = await world.page(statement, "/all", "one")
        assert ([each.id for each in page], page.withheld) == (told, {"only_in_country": left_out}), statement
    with pytest.raises(UsageError, match="tells of rows of 'post' of store 'one'"):
        await world.page(select(Topic).where(Topic.posts.any()).order_by(Topic.id), "/all", "one")
    page = await world.page(TOPICS, "/all", "one")
    assert (len(page), page.partial) == (2, False)  # nobody's
    await world.stores.aclose()


async def test_a_subquery_of_the_rows_own_person_is_told_with_them(world: World) -> None:
    with world.request("GET", "/people", SINGAPORE, "sue"):
        async with residency.gather("people") as people:
            page = await people.rows(select(Member.id, COUNTED).order_by(Member.id), limit=50)
    assert (list(page), page.withheld) == ([("beng", 1), ("chua", 1)], {"only_in_country": 1})


async def test_a_filter_of_the_rows_own_person_is_one(world: World) -> None:
    for own in (exists().where(Reply.author == Member.id, Reply.id != "r1"), Member.replies.any(Reply.id != "r1")):
        page = await world.page(MEMBERS.where(own))
        assert ([each.id for each in page], page.withheld) == (["beng", "chua"], {})


async def test_what_was_not_loaded_cannot_be_reached(world: World) -> None:
    (post, *_) = await world.page(POSTS)
    with pytest.raises(DetachedInstanceError):
        _ = post.replies


COUNTED = select(func.count()).where(Post.author == Member.id).scalar_subquery()
OF_ALL = select(func.count()).select_from(Post).scalar_subquery()
GROUPED = select(Post.author, func.count().label("posts")).group_by(Post.author).subquery()
REFUSED: list[tuple[Any, str]] = [
    (select(Member.id, OF_ALL).order_by(Member.id), "tells of rows of 'post' of store 'people' by a subquery"),
    (select(Topic.id, OF_ALL).order_by(Topic.id), "tells of rows of 'post' of store 'people' by a subquery"),
    (
        select(Member.id, GROUPED.c.posts).join(GROUPED, GROUPED.c.author == Member.id).order_by(Member.id),
        "tells of rows of 'post' of store 'people' by a subquery",
    ),
    # What only filters or sorts tells by what it leaves out, and by where it stands.
    (TOPICS.where(Topic.posts.any(Post.author == "anh")), "tells of rows of 'post' of store 'people' by .* a filter"),
    (TOPICS.join(Post), "tells of rows of 'post'"),
    (POSTS.where(Post.replies.any(Reply.id == "r1")), "tells of rows of 'reply'"),
    (select(Member).order_by(OF_ALL), "tells of rows of 'post'"),
    (MEMBERS.options(selectinload(Member.badges)), "rows of table 'badge' come along .* add `badge: {subject: "),
    (select(Member, Badge).join(Badge).order_by(Member.id), "rows of table 'badge' come along"),
    (select(Member, Badge.id).join(Badge).order_by(Member.id), "rows of table 'badge' come along"),
    (
        select(Badge).order_by(Badge.id).options(joinedload(Badge.holder)),
        "'member' come along with rows of table 'badge', .* add `badge: ",
    ),
    (
        TOPICS.options(selectinload(Topic.posts).joinedload(Post.writer).selectinload(Member.badges)),
        "rows of table 'badge' come along",
    ),
    (POSTS.options(joinedload(Post.replies)), "loads collections by selectinload"),
]


async def test_what_nothing_says_whose_it_is_comes_along_in_no_list_over_several_countries(world: World) -> None:
    for statement, words in REFUSED:
        with pytest.raises(UsageError, match=words):
            await world.page(statement)
    assert [each.id for each in await world.page(select(Badge).order_by(Badge.id))] == ["b"]  # alone, as it was
    for statement in (TOPICS, select(Topic.id).order_by(Topic.id)):
        page = await world.page(statement)
        assert (len(page), page.partial) == (2, False)  # nobody's, with nothing along


@pytest.mark.parametrize("change", ["mode", "one sink", "no records"])
async def test_where_nothing_is_judged_everything_comes_along(
    change: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    changes: dict[str, Callable[[str], str]] = {
        "mode": lambda text: text,
        "one sink": lambda text: text.replace("[people-sg, people-vn]", "[people-sg]"),
        "no records": lambda text: text[: text.index("records:")] + text[text.index("activities:") :],
    }
    places: dict[str, Place] = places_of("sqlite", tmp_path, request)
    mode = "observe" if change == "mode" else "enforce"
    world = World(tmp_path, places, changes[change](DEPLOYMENT), mode=mode)
    await world.prepare()
    page: Sequence[Any] = await world.page(MEMBERS.options(selectinload(Member.badges)))
    assert [len(each.badges) for each in page if each.id == "beng"] == [1]
    await world.stores.aclose()
