"""Of whom nothing is known: their id is asked for where the deployment presumes that they live, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.authentication import SimpleUser

from residency import about, about_many
from residency.bootstrap import build
from residency.enforcement.point import Request
from residency.integrations.sqlalchemy import async_sessionmaker, create_all
from tests.leaks import canary
from tests.world import HANOI, HOME, handling, write_deployment

pytestmark = pytest.mark.anyio
DEPLOYMENT = """
audit: {folder: ./audit, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
signals: {identity: {user: verified}}
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite+aiosqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///vn.db"}
stores: {people: [people-sg, people-vn]}
activities:
  - {route: "GET /people/{key}", subject: user, data: [personal], operation: read, store: people}
"""
SAID = "presume: {territory: not_covered}\n"
Session = async_sessionmaker("people")


class Base(DeclarativeBase):
    """This test's models."""


class Person(Base):
    """Somebody's row."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)


@pytest.mark.parametrize(("presumed", "abroad"), [("", False), (SAID, True)], ids=["by default", "said not covered"])
async def test_whom_nobody_knows_is_looked_for_where_they_are_presumed_to_live(
    tmp_path: Path, presumed: str, abroad: bool
) -> None:
    runtime = build(write_deployment(tmp_path, DEPLOYMENT, [HOME], [(SAID, presumed)]), reload=False)
    await runtime.start()
    await create_all(Base.metadata, runtime.stores, "people")
    asked: dict[str, list[str]] = {}
    for sink in runtime.stores.sinks_of("people"):
        seen = asked[sink.name] = []

        def note(_: Any, __: Any, statement: str, told: Any, *___: Any, seen: list[str] = seen) -> None:
            seen.append(f"{statement} {told}")

        engine: Any = sink
        for read_only in (True, False):
            event.listen(engine.bind(read_only=read_only, blocking=False), "before_cursor_execute", note)

    who = canary(1)
    request = Request("GET", "/people/x", b"/people/x", (), (HANOI, 50_000), SimpleUser("sue"))
    with handling(runtime.point.admit(request)):
        async with about(who), Session() as session:
            assert (await session.scalars(select(Person).where(Person.id == who))).all() == []
        for group in (await about_many([who])).groups:
            async with group, Session() as session:
                assert (await session.scalars(select(Person).where(Person.id.in_(group.asked)))).all() == []
    await runtime.aclose()
    there = {name: sum(who in each for each in seen) for name, seen in asked.items()}
    assert there == ({"people-sg": 2, "people-vn": 0} if abroad else {"people-sg": 0, "people-vn": 2})
