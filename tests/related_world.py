"""In: a folder and places of rows. Out: people, their posts and replies, and a person whose rows lie abroad unmoved."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

import residency
from residency.adapters.pins_memory import PinsMemory
from residency.integrations.sqlalchemy import create_all
from residency.model import Anchor, Pin, Trust
from residency.storage.gather import Page
from tests.rows import Rows
from tests.world import SINGAPORE

__all__ = ["DEPLOYMENT", "ONE", "Badge", "Member", "Photo", "Post", "Reply", "Topic", "World"]

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
    photo: {via: {post_id: post}, data: [content]}
    topic: {data: [content]}
activities:
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
  - {route: "GET /somebody", subject: user, data: [personal], operation: read, store: people}
  - {route: "GET /somebody/{id}", subject: path.id, data: [personal], operation: read, store: people}
  - {route: "POST /somebody", subject: user, data: [personal], operation: write, store: people}
"""

# Of another store of the same databases, which no `records:` are of.
ONE = """
  - {route: "GET /one", subject: user, data: [personal], operation: read, store: one}
  - {route: "GET /all", subject: none, data: [personal], operation: read, store: one}
  - {route: "POST /one", subject: user, data: [personal], operation: write, store: one}
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
    topic: Mapped[Topic | None] = relationship(back_populates="posts")


class Reply(Base):
    """Says itself whose it is."""

    __tablename__ = "reply"
    id: Mapped[str] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(ForeignKey("member.id"))
    post_id: Mapped[str] = mapped_column(ForeignKey("post.id"))
    writer: Mapped[Member] = relationship(back_populates="replies")
    post: Mapped[Post] = relationship(back_populates="replies")


class Photo(Base):
    """Leads to its subject by its post, and that by its author."""

    __tablename__ = "photo"
    id: Mapped[str] = mapped_column(primary_key=True)
    post_id: Mapped[str] = mapped_column(ForeignKey("post.id"))


class Topic(Base):
    """Nobody's, and the deployment says so."""

    __tablename__ = "topic"
    id: Mapped[str] = mapped_column(primary_key=True)
    posts: Mapped[list[Post]] = relationship(back_populates="topic")


class Badge(Base):
    """The deployment says nothing of these."""

    __tablename__ = "badge"
    id: Mapped[str] = mapped_column(primary_key=True)
    member: Mapped[str] = mapped_column(ForeignKey("member.id"))
    holder: Mapped[Member] = relationship(overlaps="badges")


ROWS: list[tuple[type[Base], dict[str, Any]]] = [
    (Topic, {"id": "t"}),
    (Topic, {"id": "u"}),
    (Member, {"id": "anh", "name": "Anh"}),
    (Member, {"id": "beng", "name": "Beng"}),
    (Member, {"id": "chua", "name": "Chua"}),
    (Post, {"id": "p-anh", "author": "anh", "topic_id": "t"}),
    (Post, {"id": "p-beng", "author": "beng", "topic_id": "t"}),
    (Post, {"id": "p-chua", "author": "chua", "topic_id": "u"}),
    (Photo, {"id": "f-anh", "post_id": "p-anh"}),
    (Photo, {"id": "f-beng", "post_id": "p-beng"}),
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
        async with self.sg.engine.begin() as connection:
            for table, values in ROWS:
                await connection.execute(insert(table).values(**values))
        digest, covered = self.point.perception.digest, ((Anchor.TERRITORY, "VN", Trust.VERIFIED),)
        assert isinstance(self.pins, PinsMemory)
        self.pins._pins[digest("anh")] = Pin(digest("anh"), "VN", covered, "a" * 32, "first_write", "p", 0)

    async def page(self, statement: Any, path: str = "/people", store: str = "people") -> Page[Any]:
        """A page of a list."""
        with self.request("GET", path, SINGAPORE, "sue"):
            async with residency.gather(store) as people:
                return await people.scalars(statement, limit=50)
