"""A primary and its standby in one country, and a database abroad: acts wait for home, and never go elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from sqlalchemy import select

from residency.adapters.sink_sql import SqlSink
from residency.errors import SinkUnavailable
from residency.integrations.sqlalchemy import create_all
from tests.postgres import PASSWORD, Postgres, new_server
from tests.rows import Base, Person, Place, Rows, Session
from tests.world import VN

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.needs("postgres")]


@dataclass(frozen=True, slots=True)
class Home:
    """A primary in Vietnam with its standby, and a server in Singapore that is always well."""

    primary: Postgres
    standby: Postgres
    abroad: Postgres

    def promote(self) -> None:
        """Make the standby the primary, as whoever runs the servers does."""
        self.standby.query("SELECT pg_promote(true)")


@pytest.fixture
def home() -> Iterator[Home]:
    with new_server("127.0.0.6") as primary, new_server("127.0.0.7") as standby, new_server("127.0.0.8") as abroad:
        primary.make()
        with (primary.data / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all 127.0.0.0/8 md5\n")
        primary.start()
        for name in ("vn", "sg"):
            (primary if name == "vn" else abroad.make().start()).query(f"CREATE DATABASE {name}")
        standby.standby_of(primary).start()
        yield Home(primary, standby, abroad)


@pytest.fixture(params=["asyncpg", "psycopg"])
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def world_of(home: Home, driver: str, folder: Path) -> Rows:
    """A world whose sink at home has two members."""
    places = {
        "vn": Place(home.primary.url(driver, "vn"), lambda statement: home.standby.query(statement, "vn")),
        "sg": Place(home.abroad.url(driver, "sg"), lambda statement: home.abroad.query(statement, "sg")),
    }
    made = Rows(folder, places)
    urls = [server.url(driver, "vn") + "?connect_timeout=4" for server in (home.primary, home.standby)]
    sinks = {"people-vn": SqlSink("people-vn", VN, urls[0], members=urls[1:])}
    made.stores._sinks.update(sinks)
    return made


async def add(world: Rows, name: str) -> None:
    """One row of a Vietnamese person's."""
    with world.request():
        async with Session.begin() as session:
            session.add(Person(name=name))


async def refused(world: Rows, name: str) -> None:
    with pytest.raises(SinkUnavailable, match="people-vn") as caught:
        await add(world, name)
    assert PASSWORD not in str(caught.value)
    assert "127.0.0" not in str(caught.value)


async def soon(world: Rows, name: str) -> None:
    """Try until a member takes the row."""
    with anyio.fail_after(30):
        while True:
            with suppress(SinkUnavailable):
                await add(world, name)
                return
            await anyio.sleep(0.2)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGSTOP], ids=["dead", "paused"])
async def test_when_the_primary_goes_acts_wait_for_the_standby_at_home_and_none_goes_abroad(
    home: Home, driver: str, how: signal.Signals, tmp_path: Path
) -> None:
    world = world_of(home, driver, tmp_path)
    await world.stores.start()
    await create_all(Base.metadata, world.stores, "people")
    await add(world, "before")
    await anyio.to_thread.run_sync(caught_up, home)
    for sink in world.stores._sinks.values():
        await sink.aclose()  # as connections do that nobody uses: a paused server's would be waited for
    if how is signal.SIGQUIT:
        home.primary.stop()
    else:
        assert home.primary._process is not None
        home.primary._process.send_signal(how)  # it takes connections and says nothing
    # The standby has the rows and takes no writes: nowhere, then.
    await refused(world, "meanwhile")
    await anyio.to_thread.run_sync(home.promote)
    await soon(world, "after")
    with world.request("GET"):
        async with Session() as session:
            assert sorted(await session.scalars(select(Person.name))) == ["after", "before"]
    # The old primary comes back, takes writes, and lacks a row: nobody finds less than was there.
    if how is signal.SIGQUIT:
        await anyio.to_thread.run_sync(home.primary.start)
    else:
        home.primary._process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]  # asserted above
    for sink in world.stores._sinks.values():
        await sink.aclose()
    await anyio.sleep(6)  # for as long as its circuit rests
    with world.request("GET"):
        async with Session() as session:
            assert sorted(await session.scalars(select(Person.name))) == ["after", "before"]
    assert (world.names("vn"), world.names("sg")) == (["before", "after"], [])
    assert {sink for sink, _ in world.acts()} == {"people-vn"}
    await world.stores.aclose()


async def test_a_primary_says_who_follows_it_to_a_user_that_may_see_it(home: Home, driver: str) -> None:
    sink = SqlSink("people-vn", VN, home.primary.url(driver, "vn"))
    told = await sink.which()
    assert len(told.words) == 1
    assert told.followers == ("127.0.0.1",)  # from where the standby connects
    assert told.reached == (home.primary.address,)
    await sink.aclose()


def caught_up(home: Home) -> None:
    """Wait until the standby has all that the primary has."""
    from tests.servers import eventually

    def holds() -> bool:
        there = home.primary.query("SELECT pg_current_wal_lsn()")[0][0]
        return bool(home.standby.query(f"SELECT pg_last_wal_replay_lsn() >= '{there}'::pg_lsn")[0][0])

    eventually(holds, what="the standby")
