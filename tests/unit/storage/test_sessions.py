"""Sessions that lie in their subject's home."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from residency.errors import UsageError
from tests.cache_world import CacheWorld
from tests.world import HOME, VERIFIED

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    """The deployment with its law."""
    return CacheWorld(tmp_path)


async def begun(world: CacheWorld, who: str = "an") -> str:
    """The id of a session of `who` that holds a cart."""
    with world.request(method="POST", store="jobs", who=who) as store:
        async with store.session() as session:
            session["cart"] = [1, 2]
    return session.id


async def test_a_session_lies_at_home_comes_back_and_its_id_is_random(world: CacheWorld) -> None:
    number = await begun(world)
    assert re.fullmatch(r"[0-9a-f]{64}", number)
    assert number != await begun(world)
    with world.request(store="jobs") as store:
        async with store.session(number) as session:
            assert session == {"cart": [1, 2]}
            assert session.id == number
    assert not world.jobs_sg._values
    assert not any(number.encode() in key for key in world.jobs_vn._values)


async def test_another_subject_is_not_given_it_and_begins_anew_under_another_id(world: CacheWorld) -> None:
    number = await begun(world, "an")
    with world.request(store="jobs", who="binh") as store:
        async with store.session(number) as session:
            assert session == {}
            assert session.id != number


@pytest.mark.parametrize("came", ["0" * 64, "", "../../x", "A" * 64, "x" * 10_000])
async def test_an_id_that_nobody_was_given_becomes_no_session(world: CacheWorld, came: str) -> None:
    with world.request(method="POST", store="jobs") as store:
        async with store.session(came) as session:
            assert session.id != came
            session["x"] = 1
        async with store.session(came) as again:
            assert again == {}


async def test_what_was_not_changed_is_not_stored_and_an_error_stores_nothing(world: CacheWorld) -> None:
    number = await begun(world)
    before = len(world.acts())
    with world.request(method="POST", store="jobs") as store:
        async with store.session(number):
            pass
        assert len(world.acts()) == before + 1
        with pytest.raises(ZeroDivisionError):
            await fails(store.session(number))
        async with store.session(number) as session:
            assert session == {"cart": [1, 2]}


async def fails(entered: object) -> None:
    """Change a session and raise."""
    async with entered as session:  # type: ignore[attr-defined]  # a session
        session["cart"] = []
        raise ZeroDivisionError


async def test_a_changed_depth_of_it_is_seen(world: CacheWorld) -> None:
    number = await begun(world)
    with world.request(method="POST", store="jobs") as store:
        async with store.session(number) as session:
            session["cart"].append(3)
        async with store.session(number) as session:
            assert session["cart"] == [1, 2, 3]


async def test_renewed_it_has_another_id_and_the_old_one_is_of_no_use(world: CacheWorld) -> None:
    number = await begun(world)
    with world.request(method="POST", store="jobs") as store:
        async with store.session(number) as session:
            session.renew()
        async with store.session(number) as old:
            assert old == {}
        async with store.session(session.id) as new:
            assert new == {"cart": [1, 2]}


async def test_ended_it_is_gone(world: CacheWorld) -> None:
    number = await begun(world)
    with world.request(method="POST", store="jobs") as store:
        async with store.session(number) as session:
            session.end()
        assert not world.jobs_vn._values
        async with store.session() as never:
            never.end()
    assert not world.jobs_vn._values


async def test_what_json_cannot_hold_is_refused_and_too_much_too(world: CacheWorld) -> None:
    with world.request(method="POST", store="jobs") as store:
        for value in (object(), "x" * (1 << 20)):
            session = store.session()
            await session.__aenter__()
            session["x"] = value
            with pytest.raises(UsageError):
                await session.__aexit__(None, None, None)
    assert not world.jobs_vn._values


async def test_what_is_stored_in_a_sessions_place_and_is_none_begins_anew(world: CacheWorld) -> None:
    number = await begun(world)
    for key, (value, end) in dict(world.jobs_vn._values).items():
        world.jobs_vn._values[key] = (value[:16] + b"[1", end)
    with world.request(store="jobs") as store:
        async with store.session(number) as session:
            assert session == {}
            assert session.id != number


async def test_a_change_of_policy_ends_no_session(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path / "a")
    number = await begun(world)
    later = CacheWorld(tmp_path / "b", rules=(HOME, VERIFIED))
    assert later.policy.digest != world.policy.digest
    later.jobs_vn._values.update(world.jobs_vn._values)
    with later.request(store="jobs") as store:
        async with store.session(number) as session:
            assert session == {"cart": [1, 2]}
