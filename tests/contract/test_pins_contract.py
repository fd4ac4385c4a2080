"""What `Pins` promises, over every adapter."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from residency.adapters.pins_memory import PinsMemory
from residency.adapters.pins_redis import PinsRedis
from residency.adapters.pins_sqlite import PinsSqlite
from residency.enforcement.ports import Pins
from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Anchor, Pin, Trust
from tests.servers import Server

pytestmark = pytest.mark.anyio
PIN = Pin(
    subject="5" * 64,
    home="VN",
    anchors=((Anchor.TERRITORY, "VN", Trust.NETWORK), (Anchor.CITIZENSHIP, "VN", Trust.VERIFIED)),
    alias="a1" * 16,
    set_by="write",
    policy="0" * 64,
    at=1_800_000_000_000_000,
)
Make = Callable[[], Pins]


REDIS = [
    pytest.param("redis", marks=pytest.mark.needs("redis")),
    pytest.param("valkey", marks=pytest.mark.needs("valkey")),
    pytest.param("cluster", marks=pytest.mark.needs("redis")),
]


@pytest.fixture(params=["memory", "sqlite", *REDIS])
def make(request: pytest.FixtureRequest, tmp_path: Path, started: Callable[[str], list[Server]]) -> Make:
    """A factory of an empty adapter."""
    match request.param:
        case "memory":
            return PinsMemory
        case "sqlite":
            return lambda: PinsSqlite(tmp_path / "pins.db")
        case what:
            servers = started(what)
            kind = "redis+cluster" if what == "cluster" else "redis"
            return lambda: PinsRedis(servers[0].url.replace("redis", kind))


async def test_a_subject_without_a_pin_is_known_to_have_none_or_is_asked_for(make: Make) -> None:
    pins = make()
    assert await pins.get(PIN.subject) is None
    found, _ = pins.peek(PIN.subject)
    assert found is None
    await pins.aclose()


async def test_a_pin_comes_back_whole(make: Make) -> None:
    pins = make()
    await pins.put(PIN)
    assert await pins.get(PIN.subject) == PIN
    found, known = pins.peek(PIN.subject)
    assert found == PIN or not known
    await pins.aclose()


async def test_the_next_version_replaces_and_peek_never_answers_an_older_one(make: Make) -> None:
    pins = make()
    await pins.put(PIN)
    moved = dataclasses.replace(PIN, home="SG", version=2, anchors=())
    await pins.put(moved)
    assert await pins.get(PIN.subject) == moved
    found, known = pins.peek(PIN.subject)
    assert found == moved or not known
    await pins.aclose()


async def test_a_pin_that_tells_of_more_places_keeps_the_rest_and_comes_back_whole(make: Make) -> None:
    pins = make()
    await pins.put(PIN)
    assert pins.peek(PIN.subject)[0] in (PIN, None)
    for version, places in enumerate((("SG",), ("SG", "CA-QC"), ("DE", "EU", "SG", "CA-QC")), start=2):
        more = tuple((anchor, place, Trust.HINT) for anchor in Anchor for place in places)
        wider = dataclasses.replace(PIN, anchors=(*PIN.anchors, *more), version=version, set_by="also_covered")
        await pins.put(wider)
        assert await pins.get(PIN.subject) == wider
        found, known = pins.peek(PIN.subject)
        assert found == wider or not known
    await pins.aclose()


@pytest.mark.parametrize("version", [0, 1, 3, 4])
async def test_any_version_but_the_next_is_stale_and_changes_nothing(make: Make, version: int) -> None:
    pins = make()
    await pins.put(PIN)
    with pytest.raises(StaleVersion):
        await pins.put(dataclasses.replace(PIN, home="SG", version=version))
    assert await pins.get(PIN.subject) == PIN
    await pins.aclose()


@pytest.mark.parametrize("version", [0, 2, 7])
async def test_a_first_pin_has_version_one(make: Make, version: int) -> None:
    pins = make()
    with pytest.raises(StaleVersion):
        await pins.put(dataclasses.replace(PIN, version=version))
    assert await pins.get(PIN.subject) is None
    await pins.aclose()


async def test_forgetting_takes_the_version_that_is_there(make: Make) -> None:
    pins = make()
    await pins.put(PIN)
    with pytest.raises(StaleVersion):
        await pins.forget(PIN.subject, 2)
    assert await pins.get(PIN.subject) == PIN
    await pins.forget(PIN.subject, 1)
    assert await pins.get(PIN.subject) is None
    with pytest.raises(StaleVersion):
        await pins.forget(PIN.subject, 1)
    await pins.aclose()


async def test_of_many_concurrent_first_pins_exactly_one_is_kept(make: Make) -> None:
    pins = make()
    kept: list[str] = []

    async def first(home: str) -> None:
        try:
            await pins.put(dataclasses.replace(PIN, home=home))
        except StaleVersion:
            return
        kept.append(home)

    async with anyio.create_task_group() as group:
        for home in ("VN", "SG", "DE", "US", "LA", "CN"):
            group.start_soon(first, home)
    stored = await pins.get(PIN.subject)
    assert stored is not None
    assert kept == [stored.home]
    await pins.aclose()


async def test_closed_pins_answer_nothing_and_close_again(make: Make) -> None:
    pins = make()
    await pins.put(PIN)
    await pins.aclose()
    await pins.aclose()
    with pytest.raises(PinsUnavailable):
        pins.peek(PIN.subject)
    with pytest.raises(PinsUnavailable):
        await pins.get(PIN.subject)
    with pytest.raises(PinsUnavailable):
        await pins.put(dataclasses.replace(PIN, version=2))
    with pytest.raises(PinsUnavailable):
        await pins.forget(PIN.subject, 1)


async def test_a_pin_that_moves_says_from_where_and_one_that_arrived_says_nothing(make: Make) -> None:
    pins = make()
    await pins.put(PIN)
    moving = dataclasses.replace(PIN, version=2, moving="SG")
    await pins.put(moving)
    assert await pins.get(PIN.subject) == moving
    await pins.put(dataclasses.replace(PIN, version=3))
    found = await pins.get(PIN.subject)
    assert found is not None
    assert found.moving is None
    await pins.aclose()
