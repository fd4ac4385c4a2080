"""In: a folder and where two sinks of rows lie. Out: a deployment over them, its models, and what is really stored.

`BACKENDS` are the parameters of a fixture that runs its tests on SQLite files and on two PostgreSQL servers, by each
driver. What is stored is read without the code under test.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.authentication import SimpleUser

from residency.adapters.pins_memory import PinsMemory
from residency.adapters.session_sql import open_session
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_sql import SqlSink
from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.integrations.sqlalchemy import async_sessionmaker, create_all, uuid7_key
from tests.world import HANOI, HOME, SG, VN, Deployed, handling, load_policy, write_deployment

if TYPE_CHECKING:
    from tests.postgres import Pair

__all__ = [
    "BACKENDS", "DEPLOYMENT", "OWNED", "Base", "Note", "Person", "Place", "Rows", "Session", "opened", "places_of",
]  # fmt: skip

DEPLOYMENT = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn], uploads: [objects]}
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
  - {route: "GET /people", subject: user, data: [personal], store: people}
  - {route: "POST /sign-up", subject: app, data: [personal], store: people}
  - {route: "POST /uploads", subject: user, data: [content], store: uploads}
"""
# Its table says whose its rows are.
OWNED = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [people-sg, people-vn], uploads: [objects]}
records:
  people:
    person: {subject: account, data: [personal]}
activities:
  - {route: "POST /people", subject: user, data: [personal], operation: write, store: people}
"""

BACKENDS = [
    "sqlite",
    pytest.param("asyncpg", marks=pytest.mark.needs("postgres")),
    pytest.param("psycopg", marks=pytest.mark.needs("postgres")),
]


class Base(DeclarativeBase):
    """The test app's models."""


class Person(Base):
    """A row that must lie at home."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    name: Mapped[str] = mapped_column(String, unique=True)


class Note(Base):
    """A row whose foreign key is checked at COMMIT only."""

    __tablename__ = "note"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    person: Mapped[str] = mapped_column(ForeignKey("person.id", deferrable=True, initially="DEFERRED"))


Session = async_sessionmaker("people")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one sink's rows lie: its URL, and a query that reads them from outside."""

    url: str
    query: Callable[[str], list[tuple[Any, ...]]]


def places_of(backend: str, folder: Path, request: pytest.FixtureRequest) -> dict[str, Place]:
    """Empty places for "vn" and "sg" on a backend of `BACKENDS`."""
    if backend == "sqlite":
        return {
            name: Place(f"sqlite:///{folder}/{name}.db", _from_file(folder / f"{name}.db")) for name in ("vn", "sg")
        }
    pair: Pair = request.getfixturevalue("postgres")
    made = {}
    for name, server in (("vn", pair.vn), ("sg", pair.sg)):
        database = server.emptied()
        made[name] = Place(
            server.url(backend, database),
            lambda statement, at=(server, database): at[0].query(statement, at[1]),  # type: ignore[misc]  # bound by default
        )
    return made


def _from_file(file: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute(statement).fetchall()

    return query


class Rows(Deployed):
    """One deployment with two sinks of rows, and the acts on them."""

    def __init__(
        self,
        folder: Path,
        places: dict[str, Place],
        text: str = DEPLOYMENT,
        *,
        mode: str = "enforce",
        pins: PinsMemory | None = None,
        rules: Sequence[str] = (HOME,),
    ) -> None:
        self.folder, self.places = folder, places
        self.vn = SqlSink("people-vn", VN, places["vn"].url)
        self.sg = SqlSink("people-sg", SG, places["sg"].url)
        super().__init__(
            load_policy(write_deployment(folder, text, rules, [("mode: enforce", f"mode: {mode}")])),
            [self.vn, self.sg, MemorySink("objects", VN)],
            open_session=open_session,
            pins=pins,
        )

    def admit(self, method: str, path: str, address: str, who: str) -> Current:
        """The decision on one request."""
        user = SimpleUser(who) if who else None
        here = self.point.admit(Request(method, path, path.encode(), (), (address, 50_000), user))
        assert isinstance(here, Current)
        return here

    @contextmanager
    def request(
        self, method: str = "POST", path: str = "/people", address: str = HANOI, who: str = "an"
    ) -> Iterator[Current]:
        """Code inside runs as a handler of this request."""
        with handling(self.admit(method, path, address, who)) as here:
            yield here

    def names(self, sink: str) -> list[str]:
        """The committed names in one sink's database."""
        return [row[0] for row in self.places[sink].query("SELECT name FROM person ORDER BY id")]

    def acts(self) -> list[tuple[str, str | None]]:
        """(sink, outcome) of every intent, None where it stands open."""
        return [(str(entry.sink), word) for entry, word in self.intents]


@asynccontextmanager
async def opened(made: Rows, tables: MetaData = Base.metadata) -> AsyncIterator[Rows]:
    """A world whose sinks are open and whose tables are made."""
    await made.stores.start()
    await create_all(tables, made.stores, "people")
    yield made
    await made.stores.aclose()
