"""What relationships bring along in a list is told only where the law of those whose it is lets it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ForeignKey, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, defer, joinedload, mapped_column, relationship, selectinload
from sqlalchemy.orm.exc import DetachedInstanceError

import residency
from residency.adapters.pins_memory import PinsMemory
from residency.errors import UsageError
from residency.integrations.sqlalchemy import create_all
from residency.model import Anchor, Pin, Trust
from residency.storage.gather import Page
from tests.rows import BACKENDS, Place, Rows, places_of
from tests.world import SINGAPORE

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
readers: record
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn], one: [people-sg], uploads: [objects]}
records:
  people:
    member: {subject: id, data: [personal]}
    post: {via: {author: member}, data: [content]}
    reply: {subject: author, data: [content]}
    topic: {data: [content]}
activities:
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
"""


class Base(DeclarativeBase):
    """This test's models."""


class Member(Base):
    """Somebody."""

    __tablename__ = "member"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    posts: Mapped[list[Post]] = relationship(back_populates="writer")
    replies: Mapped[list[Reply]] = relationship(back_populates="writer")
    badges: Mapped[list[Badge]] = relationship()


class Post(Base):
    """Leads to its author by a key."""

    __tablename__ = "post"
    id: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(ForeignKey("member.id"))
    topic_id: Mapped[str | None] = mapped_column(ForeignKey("topic.id"))
    writer: Mapped[Member] = relationship(back_populates="posts")
    replies: Mapped[list[Reply]] = relationship(back_populates="post", order_by="Reply.id")
    topic: Mapped[Topic | None] = relationship()


class Reply(Base):
    """Says itself whose it is."""

    __tablename__ = "reply"
    id: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(ForeignKey("member.id"))
    post_id: Mapped[str] = mapped_column(ForeignKey("post.id"))
    writer: Mapped[Member] = relationship(back_populates="replies")
    post: Mapped[Post] = relationship(back_populates="replies")


class Topic(Base):
    """Nobody's, and the deployment says so."""

    __tablename__ = "topic"
    id: Mapped[str] = mapped_column(primary_key=True)


class Badge(Base):
    """The deployment says nothing of these."""

    __tablename__ = "badge"
    id: Mapped[str] = mapped_column(primary_key=True)
    member: Mapped[str] = mapped_column(ForeignKey("member.id"))
    holder: Mapped[Member] = relationship(overlaps="badges")


ROWS: list[tuple[type[Base], dict[str, Any]]] = [
    (Topic, {"id": "t"}),
    (Member, {"id": "anh", "name": "Anh"}),
    (Member, {"id": "beng", "name": "Beng"}),
    (Member, {"id": "chua", "name": "Chua"}),
    (Post, {"id": "p-anh", "author": "anh", "topic_id": "t"}),
    (Post, {"id": "p-beng", "author": "beng", "topic_id": "t"}),
    (Post, {"id": "p-chua", "author": "chua", "topic_id": None}),
    (Reply, {"id": "r1", "author": "anh", "post_id": "p-beng"}),
    (Reply, {"id": "r2", "author": "chua", "post_id": "p-beng"}),
    (Reply, {"id": "r3", "author": "beng", "post_id": "p-chua"}),
    (Badge, {"id": "b", "member": "beng"}),
]


class World(Rows):
    """Anh is covered by Vietnam's law, and her rows lie in Singapore still, beside those of Beng and Chua."""

    async def prepare(self) -> None:
        await self.stores.start()
        await create_all(Base.metadata, self.stores, "people")
        async with AsyncEngine(self.sg.bind(read_only=False, blocking=False)).begin() as connection:
            for table, values in ROWS:
                await connection.execute(insert(table).values(**values))
        digest, covered = self.point.perception.digest, ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
        assert isinstance(self.pins, PinsMemory)
        self.pins._pins[digest("anh")] = Pin(digest("anh"), "VN", covered, "a" * 32, "first_write", "p", 0)

    async def page(self, statement: Any) -> Page[Any]:
        """A page of a list."""
        with self.request("GET", "/people", SINGAPORE, "sue"):
            async with residency.gather("people") as people:
                return await people.scalars(statement, limit=50)


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
]


async def test_a_row_is_told_only_where_the_law_of_all_that_comes_along_lets_it(world: World) -> None:
    for statement, told, left_out in TOLD:
        page = await world.page(statement)
        assert ([each.id for each in page], page.withheld) == (told, {"only_in_country": left_out}), statement
        assert page.partial


async def test_what_was_not_loaded_cannot_be_reached(world: World) -> None:
    (post, *_) = await world.page(POSTS)
    with pytest.raises(DetachedInstanceError):
        _ = post.replies


REFUSED: list[tuple[Any, str]] = [
    (MEMBERS.options(selectinload(Member.badges)), "rows of table 'badge' come along .* add `badge: {subject: "),
    (select(Member, Badge).join(Badge).order_by(Member.id), "rows of table 'badge' come along"),
    (select(Member, Badge.id).join(Badge).order_by(Member.id), "rows of table 'badge' come along"),
    (select(Badge).order_by(Badge.id).options(joinedload(Badge.holder)), "table 'member' come along with rows of"),
    (POSTS.options(joinedload(Post.replies)), "loads collections by selectinload"),
]


async def test_what_nothing_says_whose_it_is_comes_along_in_no_list_over_several_countries(world: World) -> None:
    for statement, words in REFUSED:
        with pytest.raises(UsageError, match=words):
            await world.page(statement)
    assert [each.id for each in await world.page(select(Badge).order_by(Badge.id))] == ["b"]  # alone, as it was


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
