"""Django's cache API over the caches of a deployment, async and from sync views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from residency.errors import NoDecision, UsageError
from residency.integrations.django_cache import ResidencyCache
from tests.cache_world import CacheWorld

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Django is on asyncio."""
    return "asyncio"


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    """The deployment with its law."""
    return CacheWorld(tmp_path)


async def test_values_of_any_kind_come_back_and_are_the_subjects_own(world: CacheWorld) -> None:
    cache = ResidencyCache("cache", {})
    with world.request(who="an"):
        await cache.aset("k", {"a": [1, None, "ă"]})
        assert await cache.aget("k") == {"a": [1, None, "ă"]}
        assert await cache.aget("none", "other") == "other"
        assert await cache.aset_many({"x": 1, "y": "2"}) == []
        assert await cache.aget_many(["x", "y", "z"]) == {"x": 1, "y": "2"}
        assert await cache.aget("k", version=2) is None
        assert not await cache.aadd("k", 1)
        assert await cache.aadd("new", 1)
        assert await cache.atouch("k")
        assert await cache.ahas_key("k")
        assert await cache.adelete("k")
        assert not await cache.adelete("k")
        await cache.adelete_many(["x", "y"])
        assert await cache.aget_many(["x", "y"]) == {}
    with world.request(who="binh"):
        assert await cache.aget("new") is None
    assert not world.sg._values


async def test_shared_it_is_everybodys_of_the_same_home(world: CacheWorld) -> None:
    cache = ResidencyCache("cache", {"OPTIONS": {"shared": True}})
    with world.request(who="an"):
        await cache.aset("k", "v")
        with pytest.raises(UsageError):
            await cache.aclear()
    with world.request(who="binh"):
        assert await cache.aget("k") == "v"


async def test_numbers_count_and_where_none_is_it_is_an_error_of_djangos(world: CacheWorld) -> None:
    cache = ResidencyCache("cache", {})
    with world.request():
        with pytest.raises(ValueError, match="no number"):
            await cache.aincr("n")
        await cache.aset("n", 5)
        assert await cache.aincr("n", 2) == 7
        assert await cache.adecr("n") == 6
        assert await cache.aget("n") == 6


async def test_a_time_of_none_is_long_and_one_of_zero_is_none(world: CacheWorld) -> None:
    cache = ResidencyCache("cache", {"TIMEOUT": None})
    with world.request():
        await cache.aset("k", 1)
        assert await cache.aget("k") == 1
        await cache.aset("k", 2, timeout=0)
        assert await cache.aget("k") is None
        assert await cache.aadd("k", 2, timeout=-1)
        assert await cache.aget("k") is None
        await cache.aset("k", 3, timeout=10**9)
        assert not await cache.aadd("k", 2, timeout=0)
        assert await cache.atouch("k", timeout=0)
        assert await cache.aget("k") is None


async def test_where_no_cache_may_hold_the_data_all_is_a_miss(world: CacheWorld) -> None:
    cache = ResidencyCache("abroad", {})
    with world.request():
        assert await cache.aset_many({"k": 1}) == ["k"]
        assert await cache.aget("k", "none") == "none"
        with pytest.raises(ValueError, match="no number"):
            await cache.aincr("k")
    assert not world.sg._values


async def test_a_sync_view_has_the_same_in_its_thread(world: CacheWorld) -> None:
    cache = ResidencyCache("cache", {})

    def view() -> list[Any]:
        cache.set("k", "v")
        cache.set_many({"n": 1, "m": 2})
        said = [cache.get("k"), cache.get_many(["n", "none"]), cache.incr("n"), cache.decr("m"), cache.add("k", 1)]
        said += [cache.has_key("k"), cache.touch("k"), cache.delete("k"), "k" in cache]
        cache.delete_many(["n"])
        cache.clear()
        return [*said, cache.get("m")]

    with world.request(method="DELETE"):
        said = await sync_to_async(view)()
    assert said == ["v", {"n": 1}, 2, 1, False, True, True, True, False, None]


async def test_outside_a_request_it_is_an_error_and_no_default(world: CacheWorld) -> None:
    with pytest.raises(NoDecision):
        await ResidencyCache("cache", {}).aget("k")
    with world.request(), pytest.raises(UsageError, match="no cache"):
        await ResidencyCache("files", {}).aget("k")


@pytest.mark.parametrize(("store", "options"), [("", {}), ("cache", {"sharde": True})])
def test_what_is_mistaken_in_the_settings_is_told(store: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ResidencyCache(store, {"OPTIONS": options})
