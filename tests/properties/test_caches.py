"""Whatever people do from wherever, what a cache keeps of those at home stays home, and is handed to nobody else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from residency.adapters.cache_memory import CacheMemory
from tests.cache_world import CacheWorld
from tests.world import HANOI, SINGAPORE

CANARY = "canary-of-{who}-{number}"
PEOPLE = ("an", "binh", "tan")  # the first two of Hanoi, the third of Singapore
steps = st.lists(
    st.tuples(
        st.sampled_from(PEOPLE),
        st.sampled_from(["set", "get", "delete", "session", "push", "add", "shared", "incr"]),
        st.sampled_from(["GET", "POST"]),
        st.sampled_from(["cache", "abroad", "jobs"]),
        st.sampled_from(["a", "b"]),
        st.booleans(),
    ),
    max_size=25,
)


def held(sink: CacheMemory) -> bytes:
    """All bytes that a sink holds."""
    values = [key + value for key, (value, _) in sink._values.items()]
    return b"".join([*values, *(job for queue in sink._queues.values() for job, _, _ in queue.values())])


async def walk(world: CacheWorld, taken: list[tuple[str, str, str, str, str, bool]]) -> None:
    """Take the steps, and look at each answer."""
    await world.settle_home("tan", SINGAPORE)
    await world.settle_home("an", HANOI)
    await world.settle_home("binh", HANOI)
    kept: dict[tuple[str, str, str], bytes] = {}
    for number, (who, what, method, store, key, away) in enumerate(taken):
        # People travel; whose data it is does not change by it. The law here follows the place of use.
        address = SINGAPORE if away and who == "tan" else HANOI if who != "tan" else SINGAPORE
        canary = CANARY.format(who=who, number=number).encode()
        with world.request(method=method, address=address, who=who, store=store) as cache:
            match what:
                case "set" if await cache.set(key, canary):
                    kept[store, who, key] = canary
                case "add" if await cache.add(key, canary):
                    kept[store, who, key] = canary
                case "get":
                    assert await cache.get(key) in (None, kept.get((store, who, key)))
                case "delete":
                    await cache.delete(key)
                    kept.pop((store, who, key), None)
                    assert await cache.get(key) is None
                case "shared":
                    found = await cache.get("all", shared=True)
                    home = b"tan" if who == "tan" else b"an binh"
                    assert found is None or found.split(b"-")[2] in home.split()
                    await cache.set("all", canary, shared=True)
                case "session" if store == "jobs":
                    async with cache.session() as session:
                        session["x"] = canary.decode()
                case "push" if store == "jobs":
                    await cache.push("q", canary)
                case "incr":
                    await cache.incr("n" + key)
                case _:
                    pass


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_byte_of_somebody_at_home_lies_abroad_and_nobody_is_handed_anothers(
    taken: list[tuple[str, str, str, str, str, bool]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = CacheWorld(Path(folder))
        anyio.run(walk, world, taken)
        for sink in (world.sg, world.jobs_sg):
            assert b"canary-of-an" not in held(sink)
            assert b"canary-of-binh" not in held(sink)
            assert b":VN:" not in held(sink)
        assert {word for _, _, word in world.acts()} <= {"committed"}
