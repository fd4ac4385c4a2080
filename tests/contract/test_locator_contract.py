"""What `Locator` promises, over every adapter."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import anyio
import pytest

from residency.adapters.locator_redis import LocatorRedis
from residency.adapters.locator_sqlite import LocatorSqlite
from residency.errors import RecordConflict
from residency.storage.locator import Located, Locator, LocatorMemory
from tests.servers import Server

pytestmark = pytest.mark.anyio
Make = Callable[[], Locator]


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def at(key: str, subject: str) -> Located:
    return Located(digest(key), digest(subject))


REDIS = [
    pytest.param("redis", marks=pytest.mark.needs("redis")),
    pytest.param("valkey", marks=pytest.mark.needs("valkey")),
    pytest.param("cluster", marks=pytest.mark.needs("redis")),
]


@pytest.fixture(params=["memory", "sqlite", *REDIS])
def make(request: pytest.FixtureRequest, tmp_path: Path, started: Callable[[str], list[Server]]) -> Make:
    """Opens the same, at first empty locator once more, as another process would."""
    match request.param:
        case "memory":
            one = LocatorMemory("VN")
            return lambda: one
        case "sqlite":
            return lambda: LocatorSqlite(tmp_path / "VN.db", place="VN")
        case what:
            servers = started(what)
            kind = "redis+cluster" if what == "cluster" else "redis"
            url = servers[0].url.replace("redis", kind, 1)
            return lambda: LocatorRedis(url, deployment="test", place="VN")


async def test_what_is_noted_is_found_and_nothing_else(make: Make) -> None:
    locator = make()
    assert await locator.owners([]) == ()
    assert await locator.owners([digest("k")]) == (None,)
    assert await locator.note([at("k", "an"), at("l", "binh")]) == 2
    assert await locator.owners([digest(key) for key in ("l", "m", "k", "l")]) == (
        digest("binh"), None, digest("an"), digest("binh"),
    )  # fmt: skip
    await locator.aclose()


async def test_another_process_finds_it(make: Make) -> None:
    one, two = make(), make()
    await one.note([at("k", "an")])
    assert await two.owners([digest("k")]) == (digest("an"),)
    await two.forget([digest("k")])
    assert await one.owners([digest("k")]) == (None,)
    await one.aclose()
    await two.aclose()


async def test_what_is_noted_alike_is_left_alone_and_not_counted(make: Make) -> None:
    locator = make()
    assert await locator.note([]) == 0
    assert await locator.note([at("k", "an"), at("k", "an")]) == 1
    assert await locator.note([at("k", "an"), at("l", "an")]) == 1
    await locator.aclose()


async def test_a_key_that_is_another_subject_s_is_refused_and_nothing_is_noted(make: Make) -> None:
    locator = make()
    await locator.note([at("k", "an")])
    for wrong in ([at("new", "binh"), at("k", "binh")], [at("new", "an"), at("new", "binh")]):
        with pytest.raises(RecordConflict) as caught:
            await locator.note(wrong)
        assert "VN" in str(caught.value)
        assert digest("k") not in str(caught.value)
    assert await locator.owners([digest("k"), digest("new")]) == (digest("an"), None)
    await locator.aclose()


async def test_what_is_forgotten_may_be_somebody_else_s(make: Make) -> None:
    locator = make()
    await locator.note([at("k", "an"), at("l", "an")])
    assert await locator.forget([digest("k"), digest("m")]) == 1
    assert await locator.forget([]) == 0
    assert await locator.note([at("k", "binh")]) == 1
    assert await locator.forget_subject(digest("an")) == 1
    assert await locator.owners([digest("k"), digest("l")]) == (digest("binh"), None)
    await locator.aclose()


async def test_a_subject_who_is_forgotten_has_nothing_left_however_much_there_was(make: Make) -> None:
    locator = make()
    await locator.note([at(f"k{number}", "an") for number in range(1200)])
    await locator.note([at("l", "binh")])
    assert await locator.forget_subject(digest("an")) == 1200
    assert await locator.forget_subject(digest("an")) == 0
    keys = [digest(f"k{number}") for number in range(1200)]
    assert set(await locator.owners(keys)) == {None}
    assert await locator.owners([digest("l")]) == (digest("binh"),)
    await locator.aclose()


async def test_of_two_who_note_a_key_at_once_one_is_right_and_the_other_told(make: Make) -> None:
    locators = [make() for _ in range(4)]
    told: list[str] = []

    async def note(locator: Locator, who: str) -> None:
        try:
            await locator.note([at("k", who)])
            told.append(who)
        except RecordConflict:
            pass

    async with anyio.create_task_group() as tasks:
        for number, locator in enumerate(locators):
            tasks.start_soon(note, locator, f"who-{number}")
    (winner,) = told
    assert await locators[0].owners([digest("k")]) == (digest(winner),)
    for locator in locators:
        await locator.aclose()


async def test_closing_twice_is_closing_once(make: Make) -> None:
    locator = make()
    await locator.note([at("k", "an")])
    await locator.aclose()
    await locator.aclose()
