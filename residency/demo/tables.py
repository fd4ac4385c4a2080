"""The demo app's tables, the same in each region's database: SQLAlchemy models, as an app would have them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from residency.integrations.sqlalchemy import uuid7_key

__all__ = ["Base", "Message", "Person", "Post", "Subscription"]


class Base(DeclarativeBase):
    """The app's metadata."""


class Person(Base):
    """An account."""

    __tablename__ = "people"
    # A key that counts up in each region would give two people one id; this one is unique wherever it is made.
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    citizenship: Mapped[str | None] = mapped_column(String(2))


class Post(Base):
    """Something that everybody may read."""

    __tablename__ = "posts"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    author: Mapped[str] = mapped_column(ForeignKey("people.id"))
    body: Mapped[str] = mapped_column(Text)


class Message(Base):
    """One line of chat."""

    __tablename__ = "messages"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    author: Mapped[str] = mapped_column(ForeignKey("people.id"))
    body: Mapped[str] = mapped_column(Text)


class Subscription(Base):
    """Somebody on the mailing service's list."""

    __tablename__ = "subscriptions"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    email: Mapped[str] = mapped_column(Text)
