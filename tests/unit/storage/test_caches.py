"""What a handle of caches does under decisions: acts, isolation, misses where nothing may be kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.enforcement.context import current, identify
from residency.errors import Refused, SinkUnavailable, SubjectUnknown, UsageError
from residency.model import Operation, Pin, Reason, SubjectId
from tests.cache_world import CacheWorld
from tests.world import HOME, SINGAPORE

pytestmark = pytest.mark.anyio
MASK = """
  - id: test.mask
    article: art. 9
    text: Phones are masked.
    applies: {anchor: territory, data: [personal], operation: read}
    duty: {protect: [{field: phone, direction: out, transform: mask}]}
"""


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    """The deployment with its law."""
    return CacheWorld(tmp_path)


def held(sink: CacheMemory) -> dict[bytes, bytes]:
    """Every key that the sink holds, and its value with the mark."""
    return {key: value for key, (value, _) in sink._values.items()}


async def test_a_value_is_kept_at_home_and_comes_back_and_each_call_is_one_act(world: CacheWorld) -> None:
    with world.request() as cache:
        assert await cache.get("profile") is None
        assert await cache.set("profile", b"an's", 60)
        assert await cache.get("profile") == b"an's"
        assert await cache.set_many({"a": b"1", "b": b"2"})
        assert await cache.get_many(["a", "profile", "none"]) == {"a": b"1", "profile": b"an's"}
        assert await cache.delete("a", "none") == 1
        assert await cache.touch("b", 60)
        assert not await cache.touch("a", 60)
    assert not held(world.sg)
    read, process = ("cache-vn", "read", "committed"), ("cache-vn", "process", "committed")
    assert world.acts() == [read, process, read, process, read, process, process, process]


async def test_nothing_of_a_person_and_no_key_of_the_apps_stands_in_a_key(world: CacheWorld) -> None:
    with world.request(who="nguyen.van.an@example.vn") as cache:
        await cache.set("mail:nguyen.van.an@example.vn", b"v")
    (key,) = held(world.vn)
    assert b"nguyen" not in key
    assert key.startswith(b"residency:test:cache:cache:VN:")


async def test_one_persons_value_is_nobody_elses_unless_the_app_says_shared(world: CacheWorld) -> None:
    with world.request(who="an") as cache:
        await cache.set("k", b"an's")
        await cache.set("k", b"all's", shared=True)
    with world.request(who="binh") as cache:
        assert await cache.get("k") is None
        assert await cache.get("k", shared=True) == b"all's"
    with world.request(who="an") as cache:
        assert await cache.get("k") == b"an's"


async def test_the_subjects_own_value_is_found_by_a_colleague_who_asks_about_them(world: CacheWorld) -> None:
    await world.settle_home("an")
    with world.request(who="an") as cache:
        await cache.set("k", b"v")
        assert await cache.get("k") == b"v"
    with world.request("/people/an", who="boss") as cache:
        assert await cache.get("k") == b"v"


async def test_people_of_two_homes_share_nothing_though_one_cache_serves_both(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, rules=(HOME.replace("[personal]", "[account]"),))
    for who, home in (("an", "VN"), ("tan", "SG")):
        pin = Pin(world.point.digest(SubjectId(who)), home, (), who * 8, "test", "0" * 64, 1)
        await world.pins.put(pin)
    with world.request(who="an", store="abroad") as cache:
        await cache.set("k", b"of vn", shared=True)
    with world.request(who="tan", store="abroad") as cache:
        assert await cache.get("k", shared=True) is None
        await cache.set("k", b"of sg", shared=True)
    with world.request(who="an", store="abroad") as cache:
        assert await cache.get("k", shared=True) == b"of vn"
    assert len(held(world.sg)) == 2


async def test_who_comes_home_again_is_not_given_what_lay_there_before(world: CacheWorld) -> None:
    await world.settle_home("an")
    with world.request() as cache:
        await cache.set("k", b"before")
        pin = cache._current.pin
    assert pin is not None
    for version, home in ((2, "SG"), (3, "VN")):
        await world.pins.put(replace(pin, home=home, version=version))
    with world.request() as cache:
        assert await cache.get("k") is None


async def test_a_value_is_not_handed_to_another_decision_and_the_new_one_replaces_it(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, rules=(HOME, MASK))
    with world.request(method="POST") as cache:  # here phones are not masked
        await cache.set("person", b"+84 912 345 678")
    with world.request(method="GET") as cache:
        assert await cache.get("person") is None
        await cache.set("person", b"+84 *** *** 678")
        assert await cache.get("person") == b"+84 *** *** 678"
    with world.request(method="POST") as cache:
        assert await cache.get("person") is None
        assert await cache.delete("person") == 1  # under whichever decision it was kept
    with world.request(method="GET") as cache:
        assert await cache.get("person") is None
    assert not held(world.vn)


async def test_a_counter_counts_on_whatever_the_decision_becomes(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, rules=(HOME, MASK))
    with world.request(method="POST") as cache:
        assert await cache.incr("tries") == 1
    with world.request(method="GET") as cache:
        assert await cache.incr("tries", 2) == 3
        assert await cache.get("tries") == b"3"
        assert not await cache.add("tries", b"0")
        await cache.set("word", b"x")
        with pytest.raises(UsageError):
            await cache.incr("word")
    assert world.acts()[-1] == ("cache-vn", "process", "failed")


async def test_where_no_sink_may_hold_the_data_it_is_a_miss_and_one_refusal(world: CacheWorld) -> None:
    with world.request(store="abroad") as cache:
        assert not await cache.set("k", b"v")
        assert await cache.get("k") is None
        assert await cache.get_many(["a", "b"]) == {}
        assert not await cache.add("k", b"v")
        assert await cache.incr("k") is None
        assert not await cache.touch("k")
        assert await cache.delete("k") == 0
        assert cache._current.trail.refusal is None  # the request itself goes on
    assert not held(world.sg)
    assert [(entry.reason, entry.sink) for entry in world.refusals()] == [("only_in_country", "cache-sg")]
    assert world.acts() == []


async def test_a_decision_that_changes_is_asked_again(world: CacheWorld) -> None:
    with world.request(store="abroad") as cache:
        assert not await cache.set("k", b"v")
        world.stop("files-sg")
        assert not await cache.set("k", b"v")
    assert len(world.refusals()) == 2


async def test_an_observing_deployment_keeps_where_it_always_did(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, mode="observe")
    with world.request() as cache:
        assert await cache.set("k", b"v")
        assert await cache.get("k") == b"v"
    assert held(world.sg)
    assert not held(world.vn)


async def test_caching_gives_nobody_a_home(world: CacheWorld) -> None:
    with world.request(method="POST", address=SINGAPORE) as cache:
        await cache.set("k", b"v")
        assert cache._current.pin is None
    with world.request(method="POST", store="jobs") as cache:
        await cache.push("mail", b"job")
        assert cache._current.pin is not None  # a job is kept for its own sake


async def test_a_subject_must_be_known_first(world: CacheWorld) -> None:
    with world.request("/login", "POST") as cache:
        with pytest.raises(SubjectUnknown):
            await cache.get("k")
        await identify("an")
        assert await cache.get("k") is None


async def test_without_a_subject_all_is_shared_by_place(world: CacheWorld) -> None:
    with world.request("/open", who="an") as cache:
        await cache.set("k", b"v")
    with world.request("/open", who="binh") as cache:
        assert await cache.get("k") == b"v"
    with world.request("/open", who="binh", address=SINGAPORE) as cache:
        assert await cache.get("k") is None


async def test_a_cache_that_is_away_misses_and_the_acts_tell_what_is_known(world: CacheWorld) -> None:
    await world.vn.aclose()
    with world.request() as cache:
        assert await cache.get("k") is None
        assert not await cache.set("k", b"v")
        assert await cache.incr("k") is None
        assert await cache.delete("k") == 0
        assert current().trail.refusal is None  # the request goes on without
    words = [word for _, _, word in world.acts()]
    assert words == ["failed", "unknown", "unknown", "unknown"]


async def on_the_way_home(world: CacheWorld, who: str) -> None:
    """Let somebody whose data lies abroad be moved home just now."""
    digest = world.point.digest(SubjectId(who))
    known, _ = world.pins.peek(digest)
    version = 1 if known is None else known.version + 1
    await world.pins.put(Pin(digest, "VN", (), "a1" * 16, "move", "0" * 64, 2, version, moving="SG"))


async def test_of_who_is_being_moved_home_no_cache_keeps_anything_abroad(world: CacheWorld) -> None:
    await on_the_way_home(world, "an")
    with world.request() as cache:
        assert await cache.get("k") is None
        assert not await cache.set("k", b"an's")
        assert not await cache.add("k", b"an's")
        assert await cache.incr("n") is None
    assert not held(world.sg)
    assert not held(world.vn), "a value there would be older than what is moved"


async def test_who_is_being_moved_home_stays_signed_in_and_changes_nothing_abroad(world: CacheWorld) -> None:
    with world.request("/me", "POST", address=SINGAPORE, who="tan", store="jobs") as store:
        async with store.session() as session:
            session["cart"] = [1, 2]
    await on_the_way_home(world, "tan")
    before = held(world.jobs_sg)
    with world.request(address=SINGAPORE, who="tan", store="jobs") as store:
        async with store.session(session.id) as found:
            assert found == {"cart": [1, 2]}
        with pytest.raises(Refused, match="is being moved"):
            async with store.session(session.id) as found:
                found["cart"] = [3]
    assert held(world.jobs_sg) == before


async def test_what_is_no_cache_raises_where_it_may_not_or_cannot(world: CacheWorld) -> None:
    await world.jobs_vn.aclose()
    with world.request(method="POST", store="jobs") as jobs:
        with pytest.raises(SinkUnavailable, match="jobs-vn"):
            await jobs.push("mail", b"job")
        noted = current().trail.refusal
        assert noted is not None
        assert (noted.reason, noted.seq) == (Reason.SINK_UNAVAILABLE, None)
        world.stop("jobs-vn")
        with pytest.raises(Refused):
            await jobs.push("mail", b"job")


async def test_another_requests_handle_is_of_no_use(world: CacheWorld) -> None:
    with world.request() as kept:
        await kept.set("k", b"v")
    with world.request(), pytest.raises(UsageError):
        await kept.get("k")


async def test_everything_of_a_subject_is_forgotten_and_of_nobody_else(world: CacheWorld) -> None:
    for who in ("an", "binh"):
        with world.request(who=who, method="POST") as cache:
            await cache.set_many({f"k{n}": b"v" for n in range(5)})
            async with cache.session() as session:
                session["x"] = 1
    with world.request(who="an", method="DELETE") as cache:
        assert await cache.forget() == 6
    assert len(held(world.vn)) == 6
    assert world.acts()[-1] == ("cache-vn", Operation.ERASE.value, "committed")
    with world.request("/open") as cache, pytest.raises(UsageError):
        await cache.forget()


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 31 * 86_400])
async def test_a_time_that_is_none_is_refused_before_any_act(world: CacheWorld, ttl: float) -> None:
    with world.request() as cache:
        for call in (cache.set("k", b"v", ttl), cache.add("k", b"v", ttl), cache.incr("k", 1, ttl)):
            with pytest.raises(UsageError):
                await call
        with pytest.raises(UsageError):
            await cache.touch("k", ttl)
    assert world.acts() == []


@pytest.mark.parametrize("key", ["", "x" * 5000, 7])
async def test_a_key_that_is_none_is_refused_and_not_repeated(world: CacheWorld, key: str) -> None:
    with world.request() as cache, pytest.raises(UsageError, match="a key of a cache"):
        await cache.set(key, b"v")


async def test_values_are_bytes_and_nothing_is_asked_for_nothing(world: CacheWorld) -> None:
    with world.request() as cache:
        for call in (cache.set("k", "v"), cache.add("k", None), cache.push("q", "v")):  # type: ignore[arg-type]
            with pytest.raises(UsageError):
                await call
        assert await cache.get_many([]) == {}
        assert await cache.set_many({})
        assert await cache.delete() == 0
        with pytest.raises(UsageError):
            await cache.incr("k", 1 << 40)
        with pytest.raises(UsageError, match="may lose"):
            await cache.push("q", b"v")
    assert world.acts() == []


async def test_while_observing_nobody_s_value_is_the_next_one_s(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path, mode="observe")
    with world.request("/login", "POST", who="an") as cache:
        assert not await cache.set("profile", b"an's")  # the app did not say yet whose it is
        assert await cache.set("prices", b"everybody's", shared=True)
    with world.request("/login", "POST", who="binh") as cache:
        assert await cache.get("profile") is None
        assert await cache.get("prices", shared=True) == b"everybody's"
        await identify("binh")
        assert await cache.set("profile", b"binh's")
        assert await cache.get("profile") == b"binh's"
    assert b"an's" not in b"".join([*held(world.vn).values(), *held(world.sg).values()])
