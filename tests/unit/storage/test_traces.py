"""What caches and locators hold of a subject goes with them, and of nobody else."""

from __future__ import annotations

import hashlib

import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.policy.compiler import Policy
from residency.storage.locator import LocatorMemory, Locators, record_key
from residency.storage.namespace import namespace
from residency.storage.queues import format_job, queue_key
from residency.storage.retention import Copy
from residency.storage.traces import CacheTrace, LocatorTrace, forget_moved, located
from tests.record_world import MemoryRecords, copy_of, policy_in, row, sink_of
from tests.world import SG, VN

pytestmark = pytest.mark.anyio
AN, BINH = "aa" * 32, "bb" * 32


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return policy_in(tmp_path_factory.mktemp("policy"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_cache_loses_values_and_sessions_of_the_subject_at_every_home() -> None:
    sink = CacheMemory("cache-vn", VN)
    await sink.start()

    async def keep(what: str, home: str, subject: str | None) -> bytes:
        space = namespace(what, "test", "cache", home, subject, 0)
        key, number = space.key("page")
        await sink.keep({key: space.seal(number, b"value")}, 60_000)
        return key

    gone = [await keep(what, home, AN) for what in ("cache", "session") for home in ("VN", "SG")]
    kept = [await keep("cache", "VN", BINH), await keep("cache", "VN", None)]
    trace = CacheTrace("test", "cache", sink, "cache-vn", {"SG", "VN"})
    assert trace.name == "cache/cache-vn"
    assert await trace.forget("an", AN) == 4
    assert await sink.fetch(gone) == [None] * 4
    assert None not in await sink.fetch(kept)
    assert await trace.forget("an", AN) == 0


async def test_of_who_moved_nothing_is_left_under_the_home_that_they_had_and_of_others_all() -> None:
    sink = CacheMemory("cache-sg", SG)
    await sink.start()

    async def keep(what: str, home: str, subject: str | None) -> bytes:
        key, _ = namespace(what, "test", "cache", home, subject, 0).key("page")
        await sink.keep({key: b"value"}, 60_000)
        return key

    gone = [await keep(what, "SG", who) for what in ("cache", "session") for who in (AN, BINH)]
    kept = [await keep("cache", "SG", "cc" * 32), await keep("cache", "SG", None), await keep("cache", "VN", AN)]
    assert await forget_moved("test", "cache", sink, "SG", [AN, BINH]) == 4
    assert await sink.fetch(gone) == [None] * 4
    assert None not in await sink.fetch(kept)
    assert await forget_moved("test", "cache", sink, "SG", [AN, BINH]) == 0


async def test_a_queue_loses_jobs_of_the_subject_also_those_under_way_and_set_aside() -> None:
    sink = CacheMemory("cache-vn", VN)
    await sink.start()
    mine, others = (format_job("cache", "VN", "POST /x", whose, b"payload") for whose in ("an", "anna"))
    nobody = format_job("cache", "VN", "POST /x", None, b"an")
    mails, dead = queue_key("test", "cache", "VN", "mails"), queue_key("test", "cache", "SG", "films") + b":dead"
    for queue in (mails, dead, queue_key("test", "cache2", "VN", "mails")):
        for job in (mine, others, nobody, b"no job"):
            await sink.push(queue, job)
    assert await sink.pull(mails, "worker", 60_000, 0) is not None
    assert await CacheTrace("test", "cache", sink, "cache-vn", {"SG", "VN"}).forget("an", AN) == 2
    left = [await sink.depth(queue) for queue in (mails, dead, queue_key("test", "cache2", "VN", "mails"))]
    assert left == [3, 3, 4]


async def test_locators_forget_all_of_a_subject(policy: Policy) -> None:
    locators = Locators({"VN": LocatorMemory("VN"), "SG": LocatorMemory("SG")}, digest)
    await locators.note("people", "VN", [("person", record_key('{"id":"1"}'), AN), ("person", "[2]", BINH)])
    await locators.note("people", "SG", [("person", "[3]", AN)])
    trace = LocatorTrace(locators)
    assert await trace.forget("an", AN) == 2
    rows = [("person", record_key('{"id":"1"}')), ("person", "[2]"), ("person", "[3]")]
    assert await locators.owners("people", rows, ("VN", "SG")) == (None, BINH, None)


async def test_a_key_that_is_deleted_is_forgotten_and_one_that_changed_is_not(policy: Policy) -> None:
    locators = Locators({"VN": LocatorMemory("VN")}, digest)
    plain, held = copy_of(policy, "vn", [row("1", "an"), row("2", "an")])
    for key in ("1", "2"):
        await locators.note("people", "VN", [("person", record_key(key), AN)])
    copy = located(plain, locators)
    first, second = [record async for record in copy.records.read(("an",))]
    held.change("person", "2")
    assert await copy.records.delete([second]) == 0
    assert await copy.records.delete([first]) == 1
    rows = [("person", record_key(key)) for key in ("1", "2")]
    assert await locators.owners("people", rows, ("VN",)) == (None, AN)
    assert copy.records.sink == "vn"
    assert await copy.records.subjects() == ("an",)
    assert await copy.records.count() == {"person": 1}
    assert await copy.records.write([row("9", "an")]) == 1


def test_a_copy_without_a_locator_is_as_it_was(policy: Policy) -> None:
    plain, _ = copy_of(policy, "sg")
    assert located(plain, None) is plain
    assert located(plain, Locators({"VN": LocatorMemory("VN")}, digest)) is plain
    assert Copy("people", sink_of(policy, "vn"), MemoryRecords("vn")).store == "people"
