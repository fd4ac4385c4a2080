"""Who lives in Singapore writes from Hanoi: Vietnam's law covers what they have, to be copied, listed and read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.authentication import SimpleUser
from typer.testing import CliRunner

from residency import about, about_many, gather
from residency.bootstrap import Residency, build
from residency.cli.copies import copies_app
from residency.cli.pin import pin_app
from residency.enforcement.current import Current
from residency.enforcement.point import Request
from residency.enforcement.ports import ObjectSink
from residency.errors import Refused
from residency.integrations.sqlalchemy import async_sessionmaker, create_all
from residency.model import Anchor, Trust
from tests.integration.test_copies_served import until
from tests.upkeep_world import run as run_app
from tests.world import HANOI, SINGAPORE, handling, write_deployment

pytestmark = pytest.mark.anyio
AMERICA = "8.8.8.8"
US = ("sg: {country: SG}}", "sg: {country: SG}, us: {country: US}}")
DEPLOYMENT = """
signals: {identity: {user: verified}}
sinks:
  rows-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite+aiosqlite:///sg.db"}
  rows-us: {region: us, provider: US, keys: US, encrypted: true, url: "sqlite+aiosqlite:///us.db"}
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://files-sg"}
  files-us: {region: us, provider: US, keys: US, encrypted: true, url: "file://files-us"}
stores: {people: [rows-sg, rows-us], files: [files-sg, files-us]}
copies: {people: {to: rows-us, withdraw: true}, files: {to: files-us, withdraw: true}}
records:
  people: {notes: {subject: whose, data: [personal]}}
  files: {"users/{subject}/": {data: [personal]}}
audit: {folder: ./audit, detail: {VN: ./detail, SG: ./detail-sg}}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
activities:
  - {route: "POST /notes", subject: user, data: [personal], operation: write, store: [people, files]}
  - {route: "GET /notes/{key}", subject: user, data: [personal], operation: read, store: people}
  - {route: "GET /notes", subject: none, data: [personal], operation: read, store: people}
"""
NOT_THERE = """
  - id: test.not_there
    article: art. 20
    text: Nothing of who uses the service in Vietnam is in the United States, or is read there.
    applies: {anchor: territory, data: [personal], sink: {in: US}}
    duty: {effect: deny}
"""
Session = async_sessionmaker("people")


class Base(DeclarativeBase):
    """This test's models."""


class Note(Base):
    """What somebody wrote."""

    __tablename__ = "notes"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    whose: Mapped[str]


@contextmanager
def request(runtime: Residency, method: str, path: str, address: str, who: str) -> Iterator[Current]:
    asked = Request(method, path, path.encode(), (), (address, 50_000), SimpleUser(who))
    with handling(runtime.point.admit(asked)) as here:
        yield here


async def write(runtime: Residency, who: str, address: str, key: str) -> Current:
    """One row and one file."""
    with request(runtime, "POST", "/notes", address, who) as here:
        async with Session.begin() as session:
            session.add(Note(id=key, whose=who))
        await here.store("files").put(f"users/{who}/{key}", key.encode())
    return here


async def lying(runtime: Residency, place: str) -> set[str]:
    """The keys of the rows and of the files that lie in this country."""
    names = {sink.name: sink for store in ("people", "files") for sink in runtime.stores.sinks_of(store)}
    rows: Any = names[f"rows-{place}"]
    files = names[f"files-{place}"]
    assert isinstance(files, ObjectSink)
    async with rows.engine.connect() as connection:
        found = {f"row {key}" for key in (await connection.execute(select(Note.id))).scalars()}
    return found | {f"file {meta.key.rpartition('/')[2]}" async for meta in files.list()}


async def listed(runtime: Residency, address: str) -> tuple[list[str], dict[str, int]]:
    """(the keys that a list tells a colleague there, what is withheld by reason)."""
    with request(runtime, "GET", "/notes", address, "sue"):
        async with gather("people") as people:
            page = await people.scalars(select(Note).order_by(Note.id), limit=100)
            return [note.id for note in page], dict(page.withheld)


async def test_what_was_written_from_hanoi_is_copied_listed_and_read_under_vietnams_law_too(tmp_path: Path) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT, [NOT_THERE], [US])
    first = build(file, reload=False)
    await create_all(Base.metadata, first.stores, "people")
    await first.stores.aclose()
    code, said = await anyio.to_thread.run_sync(lambda: run_app(copies_app, "prepare", str(file)))
    assert code == 0, said
    runtime = build(file)
    await runtime.start()
    try:
        for who in ("tan", "sue"):
            await write(runtime, who, SINGAPORE, f"{who}-1")
        both = {f"{kind} {who}-1" for kind in ("row", "file") for who in ("tan", "sue")}

        async def copied(*, less: str) -> bool:
            return await lying(runtime, "us") == {each for each in both if less not in each}

        await until(lambda: copied(less="nobody"))
        assert await listed(runtime, AMERICA) == (["sue-1", "tan-1"], {})
        with request(runtime, "GET", "/notes/tan-1", AMERICA, "sue"):
            async with about("tan"), Session() as session:
                assert await session.get(Note, "tan-1") is not None

        here = await write(runtime, "tan", HANOI, "tan-2")
        assert here.pin is not None
        assert here.pin.home == "SG"
        assert (Anchor.TERRITORY, "VN", Trust.HINT) in here.pin.anchors

        # Not the newest alone: who can tell which of somebody's data was written where.
        assert await listed(runtime, AMERICA) == (["sue-1"], {"law_forbids": 2})
        assert await listed(runtime, SINGAPORE) == (["sue-1", "tan-1", "tan-2"], {})
        with request(runtime, "GET", "/notes/tan-2", AMERICA, "sue"):
            with pytest.raises(Refused):
                async with about("tan"):
                    pytest.fail("nothing is read there")
            many = await about_many(["tan", "sue"])
            assert [member.sink for member in many.groups] == ["rows-sg"]
            assert [who for who, _ in many.refused] == ["tan"]
        # The copies of before go with the next walk (once an hour), or now.
        code, said = await anyio.to_thread.run_sync(lambda: run_app(copies_app, "withdraw", str(file), "--go"))
        assert code == 0, said
        await until(lambda: copied(less="tan"))
        await write(runtime, "tan", SINGAPORE, "tan-3")
        await write(runtime, "sue", SINGAPORE, "sue-2")
        both.update({"row sue-2", "file sue-2"})
        await until(lambda: copied(less="tan"))
        assert {"row tan-1", "row tan-2", "row tan-3", "file tan-3"} <= await lying(runtime, "sg")
    finally:
        await runtime.aclose()
    done = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(pin_app, ["show", "--policy", str(file)], "tan\n"))
    assert "also covered since something was written there, territory: VN (hint)" in done.output
