"""Once everybody who had data has a pin, an app that is observed serves new people from where their law wants them."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import pytest

from residency.adapters.pins_memory import PinsMemory
from residency.errors import PinsUnavailable
from residency.integrations.sqlalchemy import async_sessionmaker, sessionmaker
from residency.model import Pin
from residency.storage.homes_known import _MARK, are_known, learned, make_known
from tests.object_world import HANOI, SINGAPORE, ObjectWorld
from tests.rows import Base, Person, Rows, places_of

pytestmark = pytest.mark.anyio


MARK = f"{sum(_MARK.encode()):064x}"  # as the world makes digests


class PinsApart(PinsMemory):
    """Pins that lie elsewhere: their copy here holds those of subjects, and never the mark."""

    __slots__ = ("away",)

    def __init__(self) -> None:
        super().__init__()
        self.away = False

    def peek(self, subject: str) -> tuple[Pin | None, bool]:
        """(None, False): ask."""
        return (None, False) if subject == MARK else super().peek(subject)

    async def get(self, subject: str) -> Pin | None:
        """The newest pin."""
        if self.away:
            raise PinsUnavailable("away")
        return await super().get(subject)


async def test_the_mark_is_set_once_and_is_seen_at_once(tmp_path: Path) -> None:
    made = ObjectWorld(tmp_path, "observe")
    homes, digest = made.point.homes, made.point.perception.digest
    assert are_known(homes, digest) is False
    assert await make_known(homes, digest, "SG")
    assert are_known(homes, digest)
    assert not await make_known(homes, digest, "VN")


async def test_from_then_on_who_is_new_begins_at_home_and_is_found_there_while_observing(tmp_path: Path) -> None:
    made = ObjectWorld(tmp_path, "observe")
    await made.stores.start()
    with made.request("POST", HANOI, "an") as handle:
        await handle.put("cv", b"old")
    assert await made.sg.get("cv") == b"old", "where the app always kept it"
    assert await make_known(made.point.homes, made.point.perception.digest, "SG")
    with made.request("GET", HANOI, "an") as handle:
        assert await handle.get("cv") == b"old", "who has data has a pin, and it leads there"
    with made.request("POST", HANOI, "binh") as handle:
        await handle.put("new", b"in Vietnam")
    assert await made.vn.get("new") == b"in Vietnam"
    assert await made.sg.get("new") is None
    with made.request("GET", SINGAPORE, "binh") as handle:
        assert await handle.get("new") == b"in Vietnam", "wherever they ask from"
    with made.request("POST", SINGAPORE, "cara") as handle:
        await handle.put("third", b"in Singapore")
    assert await made.sg.get("third") == b"in Singapore", "whom no law sends anywhere goes to the first sink"


async def test_where_pins_lie_elsewhere_the_mark_is_asked_for_before_anybody_new_begins(tmp_path: Path) -> None:
    made = ObjectWorld(tmp_path, "observe", pins=PinsApart())
    await made.stores.start()
    homes, digest = made.point.homes, made.point.perception.digest
    assert are_known(homes, digest) is None, "nobody was asked yet"
    assert not await learned(homes, digest)
    with made.request("POST", HANOI, "an") as handle:
        await handle.put("cv", b"old")
    assert await made.sg.get("cv") == b"old"
    assert await make_known(homes, digest, "SG")
    assert are_known(homes, digest) is None, "what is told by waiting alone"
    with made.request("POST", HANOI, "binh") as handle:
        await handle.put("new", b"in Vietnam")
    assert await made.vn.get("new") == b"in Vietnam"


async def test_where_they_do_not_answer_nobody_new_begins_anywhere(tmp_path: Path) -> None:
    pins = PinsApart()
    made = ObjectWorld(tmp_path, "observe", pins=pins)
    await made.stores.start()
    pins.away = True
    with made.request("POST", HANOI, "an") as handle:
        with pytest.raises(PinsUnavailable, match="away"):
            await handle.put("cv", b"new")
        with pytest.raises(PinsUnavailable, match="where people without a pin begin"):
            handle.begin()
    assert await made.sg.get("cv") is None
    assert made.acts() == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_session_of_rows_asks_for_it_on_the_loop_and_in_a_thread(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = Rows(tmp_path, places_of("sqlite", tmp_path, request), mode="observe", pins=PinsApart())
    await made.stores.start()
    for sink in (made.vn, made.sg):
        async with sink.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
    assert await make_known(made.point.homes, made.point.perception.digest, "SG")
    with made.request(who="an"):
        async with async_sessionmaker("people").begin() as session:
            session.add(Person(name="an"))

    def write() -> None:
        with sessionmaker("people").begin() as session:
            session.add(Person(name="binh"))

    with made.request(who="binh"):
        await anyio.to_thread.run_sync(write)
    assert (made.names("vn"), made.names("sg")) == (["an", "binh"], [])
    await made.stores.aclose()
