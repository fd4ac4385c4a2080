"""Jobs that wait where their subject does not live are counted, and none is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.model import Pin
from residency.storage.misplaced import Homing
from residency.storage.misplaced_jobs import JobsLeft, jobs_left
from residency.storage.queues import format_job, queue_key
from tests.cache_world import CacheWorld
from tests.world import SG

pytestmark = pytest.mark.anyio


class Pinned(Homing):
    """Homes as the pins say."""

    __slots__ = ()

    def home(self, finding: object, pin: Pin | None) -> str | None:
        return None if pin is None else pin.home


async def test_jobs_are_counted_where_their_subject_does_not_live_and_stay(tmp_path: Path) -> None:
    world = CacheWorld(tmp_path)
    sink = CacheMemory(world.jobs_sg.name, SG)
    point = world.point
    homing = Pinned(point.policy, ["jobs"], point.facts.current(), 0)
    for home, subject in (("SG", "an"), ("SG", "an"), ("SG", "binh"), ("VN", "an"), ("SG", None)):
        key = queue_key("test", "jobs", home, "mail")
        await sink.push(key, format_job("jobs", home, "POST /me", subject, b"x"))
    homes = {"an": "VN", "binh": "SG"}

    async def pin_of(digest: str) -> Pin | None:
        home = homes[digest]
        return Pin(digest, home, (), "a" * 32, "move", "p", 1)

    found = await jobs_left("test", "jobs", sink, {"SG", "VN"}, homing, pin_of, lambda who: who, {})
    assert found == [JobsLeft("jobs", sink.name, "SG", 2, 1)]
    assert await sink.depth(queue_key("test", "jobs", "SG", "mail")) == 4
