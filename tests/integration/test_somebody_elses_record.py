"""A colleague abroad reads records of people at home, one by one, in a batch, as a list; the log holds and says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.authentication import SimpleUser
from typer.testing import CliRunner

import residency
from residency import about, about_many, gather
from residency.adapters.locator_sqlite import LocatorSqlite
from residency.bootstrap import Residency, build
from residency.cli.audit import audit_app
from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.integrations.sqlalchemy import async_sessionmaker, create_all, uuid7_key
from residency.storage.locator import Locators
from residency.storage.stores import Stores
from tests.world import HANOI, HOME, SINGAPORE, handling, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
readers: record
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
signals: {identity: {user: verified}}
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite+aiosqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///vn.db"}
stores: {people: [people-sg, people-vn]}
activities:
  - {route: "POST /people", subject: user, data: [personal], operation: write, store: people}
  - {route: "GET /people/{key}", subject: user, data: [personal], operation: read, store: people}
  - {route: "GET /people", subject: none, data: [personal], operation: read, store: people}
"""
Session = async_sessionmaker("people")


class Base(DeclarativeBase):
    """This test's models."""


class Person(Base):
    """Somebody's row."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=uuid7_key)
    name: Mapped[str]


@contextmanager
def request(runtime: Residency, method: str, path: str, address: str, who: str) -> Iterator[Current]:
    asked = Request(method, path, path.encode(), (), (address, 50_000), SimpleUser(who))
    with handling(runtime.point.admit(asked)) as here:
        yield here


async def test_a_colleague_abroad_reads_records_at_home_and_the_log_tells_it(tmp_path: Path) -> None:
    runtime = build(write_deployment(tmp_path, DEPLOYMENT, [HOME]), reload=False)
    await runtime.start()
    digest = runtime.point.perception.digest
    located = {place: LocatorSqlite(tmp_path / f"located-{place}.db", place=place) for place in ("VN", "SG")}
    locators = Locators(located, digest)
    stores = runtime.point.stores
    assert isinstance(stores, Stores)
    stores.locators = locators
    await create_all(Base.metadata, stores, "people")
    keys: dict[str, str] = {}
    for who, address in (("an", HANOI), ("binh", HANOI), ("tan", SINGAPORE)):
        with request(runtime, "POST", "/people", address, who) as here:
            async with Session.begin() as session:
                person = Person(name=who)
                session.add(person)
        assert here.pin is not None
        keys[who] = person.id
        await locators.note("people", here.pin.home, [("person", json.dumps([person.id]), digest(who))])

    # One, by the key of the row; then the very instance that was read.
    with request(runtime, "GET", f"/people/{keys['an']}", SINGAPORE, "sue"):
        async with about(row=("person", keys["an"].upper())), Session() as session:
            person = (await session.scalars(select(Person).where(Person.id == keys["an"]))).one()
        async with about(row=person), Session() as session:
            assert (await session.scalars(select(Person.name))).all() == ["an", "binh"]
        with pytest.raises(residency.NotFound):
            async with about(row=("person", uuid7_key())):
                pytest.fail("nothing happens inside")

        # A batch: one session for each group, one act for each member.
        many = await about_many(["binh"], rows=[("person", keys[who]) for who in ("an", "tan")])
        found: dict[str, list[str]] = {}
        for group in many.groups:
            async with group, Session() as session:
                names = await session.scalars(select(Person.name).order_by(Person.name))
                found[group.sink] = list(names)
        assert found == {"people-vn": ["an", "binh"], "people-sg": ["tan"]}
        assert {group.sink: len(group.members) for group in many.groups} == {"people-vn": 2, "people-sg": 1}

    # A list.
    with request(runtime, "GET", "/people", SINGAPORE, "sue"):
        async with gather("people") as people:
            page = await people.scalars(select(Person).order_by(Person.name), limit=2)
            assert ([each.name for each in page], page.partial) == (["an", "binh"], False)
            rest = await people.scalars(select(Person).order_by(Person.name), limit=2, cursor=page.cursor)
            assert ([each.name for each in rest], rest.cursor) == (["tan"], None)
    await runtime.aclose()
    await locators.aclose()

    log = tmp_path / "audit" / "log"
    verified = CliRunner().invoke(audit_app, ["verify", str(log), "--json", "--strict"])
    report: dict[str, Any] = json.loads(verified.stdout)
    assert verified.exit_code == 0, verified.output
    assert (report["holds"], report["open_intents"]) == (True, 0)
    told = CliRunner().invoke(audit_app, ["register", str(log), "--json"])
    flows = json.loads(told.stdout)["flows"]
    # Vietnamese data read in Singapore: two of one person, two of the batch, one of the list (its first page had all).
    assert {(f["place"], tuple(f["how"])): 0 for f in flows} == {("SG", ("reader",)): 0}
    assert sum(flow["count"] for flow in flows) == 5
