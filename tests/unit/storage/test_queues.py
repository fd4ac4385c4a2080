"""Jobs that lie at home, and the workers that may take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.adapters.sink_memory import MemorySink
from residency.errors import JournalFailed, SinkUnavailable, UsageError
from residency.storage.queues import Worker, format_job, queue_key
from tests.cache_world import CacheWorld
from tests.world import SG, SINGAPORE, VN

pytestmark = pytest.mark.anyio


@pytest.fixture
def world(tmp_path: Path) -> CacheWorld:
    """The deployment with its law."""
    return CacheWorld(tmp_path)


def worker(world: CacheWorld, place: str = "VN", **more: float) -> Worker:
    """A worker of the queue `mail` in every sink of the store."""
    sinks = [world.jobs_sg, world.jobs_vn]
    settings: dict[str, float] = {"idle": 60.0, "tries": 5, **more}
    return Worker(
        sinks, point=lambda: world.point, store="jobs", queue="mail", place=place, name="w",
        idle=settings["idle"], tries=int(settings["tries"]),
    )  # fmt: skip


async def push(world: CacheWorld, payload: bytes, who: str = "an", **more: str) -> None:
    """One job of `who`."""
    with world.request(method="POST", store="jobs", who=who, **more) as jobs:
        await jobs.push("mail", payload)


async def test_a_job_goes_home_and_a_worker_there_takes_it_with_all_it_must_know(world: CacheWorld) -> None:
    await push(world, b"hello\nan\x00")
    assert not world.jobs_sg._queues
    async with worker(world).take(0) as job:
        assert job is not None
        assert (job.store, job.queue, job.home, job.subject, job.payload, job.tries) == (
            "jobs", "mail", "VN", "an", b"hello\nan\x00", 1,
        )  # fmt: skip
        assert job.activity == "POST /me"
    assert await worker(world).depth() == 0
    assert world.acts() == [("jobs-vn", "write", "committed"), ("jobs-vn", "process", "committed")]
    (written, _), (taken, _) = world.intents
    assert taken.note == "operator: a job of 'POST /me' is taken from queue 'mail'"
    assert (taken.subject, taken.store, taken.region) == (written.subject, "jobs", "vn-han")
    assert taken.subject is not None


async def test_a_worker_abroad_never_takes_a_job_of_home(world: CacheWorld) -> None:
    await push(world, b"of vn")
    await push(world, b"of sg", "tan", address=SINGAPORE)
    abroad = worker(world, "SG")
    async with abroad.take(0) as job:
        assert job is not None
        assert job.payload == b"of sg"
    async with abroad.take(0) as job:
        assert job is None
    assert await worker(world).depth() == 1


async def test_a_job_of_home_that_lies_in_the_queue_of_another_place_is_not_handed_out(world: CacheWorld) -> None:
    await world.jobs_sg.push(queue_key("test", "jobs", "SG", "mail"), format_job("jobs", "VN", "x", "an", b"secret"))
    with pytest.raises(SinkUnavailable, match="jobs-sg") as caught:
        await worker(world, "SG").take(0).__aenter__()
    assert "secret" not in str(caught.value)


async def test_what_a_worker_fails_at_is_handed_out_again_and_in_the_end_set_aside(world: CacheWorld) -> None:
    await push(world, b"bad")
    hand = worker(world, idle=0.001, tries=3)
    tried = []
    for _ in range(5):
        try:
            async with hand.take(0.02) as job:
                if job is None:
                    break
                tried.append(job.tries)
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    assert tried == [1, 2, 3]
    assert world.acts()[1:] == [("jobs-vn", "process", "failed")] * 3
    assert (await hand.depth(), await hand.dead()) == (0, 1)


@pytest.mark.parametrize("job", [b"", b"{}\n", b"[]\nx", b"\xff\xff", b'{"v":2,"store":"jobs","home":"VN"}\n'])
async def test_what_is_no_job_is_set_aside(world: CacheWorld, job: bytes) -> None:
    await world.jobs_vn.push(queue_key("test", "jobs", "VN", "mail"), job)
    async with worker(world).take(0) as taken:
        assert taken is None
    assert await worker(world).dead() == 1


async def test_a_worker_says_what_it_lacks(world: CacheWorld) -> None:
    good: dict[str, Any] = {"point": lambda: world.point, "store": "s", "queue": "q", "place": "VN", "name": "w"}
    sinks = [world.jobs_vn]
    for wrong in ({"queue": "Q!"}, {"place": "nowhere"}, {"name": ""}):
        with pytest.raises(UsageError):
            Worker(sinks, **{**good, **wrong})
    with pytest.raises(UsageError):
        Worker([], **good)
    with pytest.raises(UsageError):
        Worker(sinks, **good, tries=0)
    with pytest.raises(UsageError):
        Worker(sinks, **good, idle=0)
    with pytest.raises(UsageError, match="has no queues"):
        Worker([MemorySink("files", SG)], **good)
    assert isinstance(CacheMemory("x", VN), CacheMemory)


@pytest.mark.parametrize("queue", ["", "A", "a b", "x" * 65, "a{b}", "-a"])
async def test_a_queue_that_is_no_word_is_refused_before_any_act(world: CacheWorld, queue: str) -> None:
    with world.request(method="POST", store="jobs") as jobs, pytest.raises(UsageError):
        await jobs.push(queue, b"x")
    assert world.acts() == []


async def test_an_activity_that_reads_may_push_and_gives_nobody_a_home_by_it(world: CacheWorld) -> None:
    with world.request(store="jobs") as jobs:
        await jobs.push("mail", b"x")
        assert jobs._current.pin is None
        with pytest.raises(UsageError):
            await jobs.push("mail", b"x" * ((8 << 20) + 1))
    assert world.acts() == [("jobs-vn", "process", "committed")]


async def test_what_may_not_be_recorded_or_lies_elsewhere_is_not_handed_out(world: CacheWorld) -> None:
    await push(world, b"1")
    world.stores.misplaced = frozenset({"jobs-vn"})
    with pytest.raises(SinkUnavailable, match="is not shown to lie"):
        await worker(world).take(0).__aenter__()
    world.stores.misplaced = frozenset()
    world.journal.fail()
    with pytest.raises(JournalFailed):
        await worker(world, idle=1e-9).take(1).__aenter__()
    assert await worker(world).depth() == 1


async def test_of_a_job_that_was_done_and_perhaps_not_taken_away_nobody_knows(world: CacheWorld) -> None:
    await push(world, b"1")
    taking = worker(world).take(0)
    assert await taking.__aenter__() is not None
    await world.jobs_vn.aclose()
    with pytest.raises(SinkUnavailable):
        await taking.__aexit__(None, None, None)
    assert world.acts()[1:] == [("jobs-vn", "process", "unknown")]
