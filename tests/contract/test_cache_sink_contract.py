"""What `CacheSink` and `QueueSink` promise, over the reference, real Redis and Valkey, and a Cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from residency.adapters.cache_memory import CacheMemory
from residency.adapters.sink_redis import RedisSink
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.caches import CacheSink
from residency.storage.namespace import MARK
from residency.storage.queues import QueueSink
from residency.storage.stores import Stores
from tests.cache_world import redis_sink_at
from tests.servers import Server, Servers, eventually

REGION = Region("vn-han", "VN")
MINUTE = 60_000
SHORT = (60, 600, 6_000)
"""Milliseconds to wait for the end of. A busy machine may need longer than the first to do something before it."""
M = b"m" * MARK
Sink = CacheMemory | RedisSink


KINDS = [
    "memory",
    pytest.param("redis", marks=pytest.mark.needs("redis")),
    pytest.param("valkey", marks=pytest.mark.needs("valkey")),
    pytest.param("cluster", marks=pytest.mark.needs("redis")),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which adapter."""
    return str(request.param)


@pytest.fixture
def anyio_backend() -> str:
    """Real servers are reached on asyncio."""
    return "asyncio"


@pytest.fixture
async def sink(
    kind: str, anyio_backend: str, started: Callable[[str], list[Server]], tmp_path: Path
) -> AsyncIterator[Sink]:
    """An empty sink that serves."""
    made: Sink
    if kind == "memory":
        made = CacheMemory("cache-vn", REGION)
    else:
        servers = started(kind)
        url = servers[0].url.replace("redis", "redis+cluster") if kind == "cluster" else servers[0].url
        made = redis_sink_at(tmp_path, url + "?socket_timeout=10")  # this machine may have other work
    await made.start()
    yield made
    await made.aclose()


pytestmark = pytest.mark.anyio


async def test_it_is_of_the_kind_that_stores_look_for(sink: Sink) -> None:
    assert isinstance(sink, CacheSink)
    assert isinstance(sink, QueueSink)
    assert (sink.name, sink.region) == ("cache-vn", REGION)
    Stores({sink.name: sink}, {"cache": (sink.name,)})
    await sink.ping()


async def test_what_was_kept_is_fetched_in_the_order_of_the_keys_and_what_was_not_is_none(sink: Sink) -> None:
    values = {b"k%d" % n: b"\x00v\r\n%d" % n for n in range(50)}
    await sink.keep(values, MINUTE)
    keys = [b"none", *reversed(values), b"k0", b"none"]
    assert await sink.fetch(keys) == [values.get(key) for key in keys]
    assert await sink.fetch([b"k7"]) == [values[b"k7"]]


async def test_the_later_value_stands_for_its_own_time(sink: Sink) -> None:
    await sink.keep({b"k": b"one"}, 30)
    await sink.keep({b"k": b"two"}, MINUTE)
    await anyio.sleep(0.06)
    assert await sink.fetch([b"k"]) == [b"two"]


async def test_what_has_run_out_is_gone_and_touch_keeps_what_is_there(sink: Sink) -> None:
    touched = short = 0
    for short in SHORT:
        await sink.keep({b"gone": b"1", b"kept": b"2"}, short)
        if touched := await sink.touch([b"kept", b"none"], MINUTE):
            break
    assert touched == 1
    await anyio.sleep(short / 1_000 + 0.04)
    assert await sink.fetch([b"gone", b"kept"]) == [None, b"2"]
    assert await sink.touch([b"gone"], MINUTE) == 0


async def test_of_many_that_add_at_once_one_is_kept(sink: Sink) -> None:
    kept: list[bytes] = []

    async def add(value: bytes) -> None:
        if await sink.add(b"k", value, MINUTE):
            kept.append(value)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(add, b"%d" % number)
    assert len(kept) == 1
    assert await sink.fetch([b"k"]) == kept


async def test_remove_tells_how_many_there_were(sink: Sink) -> None:
    await sink.keep({b"a": b"1", b"b": b"2"}, MINUTE)
    assert await sink.remove([b"a", b"b", b"c"]) == 2
    assert await sink.remove([b"a"]) == 0
    assert await sink.fetch([b"a", b"b"]) == [None, None]


async def test_counting_is_exact_under_many_at_once_begins_under_its_mark_and_keeps_the_time(sink: Sink) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(40):
            group.start_soon(sink.count, b"n", 1, M, MINUTE)
    assert await sink.count(b"n", -45, b"x" * MARK, MINUTE) == -5
    assert await sink.fetch([b"n"]) == [M + b"-5"]
    counted = short = 0
    for short in SHORT:
        await sink.remove([b"short"])
        await sink.count(b"short", 3, M, short)
        if (counted := await sink.count(b"short", 3, M, MINUTE)) == 6:
            break
    assert counted == 6
    await anyio.sleep(short / 1_000 + 0.04)
    assert await sink.fetch([b"short"]) == [None]


async def test_what_is_no_number_is_not_counted_on_and_stays(sink: Sink) -> None:
    await sink.keep({b"n": M + b"12a"}, MINUTE)
    with pytest.raises(UsageError):
        await sink.count(b"n", 1, M, MINUTE)
    assert await sink.fetch([b"n"]) == [M + b"12a"]


async def test_wiping_takes_every_key_of_a_prefix_and_no_other_whatever_signs_are_in_it(sink: Sink) -> None:
    prefix = b"a:[x]*?:"
    mine = {prefix + b"%d" % n: b"v" for n in range(1500)}
    others = {b"a:x:1": b"v", b"a:[x]*": b"v", b"b:" + prefix: b"v"}
    await sink.keep(mine, MINUTE)
    await sink.keep(others, MINUTE)
    among = frozenset([b"1", b"22", b"no"])
    await sink.keep({prefix + key: b"x" for key in (b"1:a", b"22:a", b"2:a", b"1a:b")}, 60_000)
    assert await sink.wipe(prefix, among) == 2, "what goes on with one of these and a colon"
    assert await sink.wipe(prefix, frozenset()) == 0
    assert await sink.wipe(prefix) == 1502
    assert await sink.fetch([*others, prefix + b"7"]) == [b"v", b"v", b"v", None]


async def test_a_job_is_handed_out_once_until_it_is_finished_in_order(sink: Sink) -> None:
    queue = b"{q:in-order}"
    ids = [await sink.push(queue, b"%d" % n) for n in range(3)]
    assert len(set(ids)) == 3
    taken = [await sink.pull(queue, f"w{n % 2}", MINUTE, 1) for n in range(4)]
    assert [None if each is None else (each.id, each.job, each.times) for each in taken] == [
        (ids[0], b"0", 1), (ids[1], b"1", 1), (ids[2], b"2", 1), None,
    ]  # fmt: skip
    assert await sink.depth(queue) == 3
    assert await sink.finish(queue, ids[1])
    assert not await sink.finish(queue, ids[1])
    assert await sink.depth(queue) == 2


async def test_what_was_taken_and_not_finished_is_handed_out_again_and_counted(sink: Sink) -> None:
    queue = b"{q:again}"
    await sink.push(queue, b"job")
    first = await sink.pull(queue, "dies", MINUTE, 1)
    assert first is not None
    assert await sink.pull(queue, "other", MINUTE, 1) is None
    await anyio.sleep(0.03)
    second = await sink.pull(queue, "other", 20, 1)
    assert second is not None
    assert (second.id, second.job, second.times) == (first.id, b"job", 2)
    assert await sink.finish(queue, second.id)
    await anyio.sleep(0.03)
    assert await sink.pull(queue, "other", 20, 1) is None


async def test_one_that_is_idle_behind_many_that_are_not_is_found(sink: Sink) -> None:
    queue = b"{q:behind}"
    for number in range(15):  # a server looks through ten at once
        await sink.push(queue, b"%d" % number)
    for _ in range(15):
        assert await sink.pull(queue, "busy", MINUTE, 1) is not None
    await anyio.sleep(1.05)
    for _ in range(14):  # handed out again just now: all but the last are held by somebody who lives
        assert await sink.pull(queue, "busy", 1000, 1) is not None
    found = await sink.pull(queue, "other", 1000, 1)
    assert found is not None
    assert found.job == b"14"


async def test_a_worker_that_waits_is_handed_a_job_that_comes(sink: Sink) -> None:
    queue = b"{q:waits}"
    taken: list[object] = []

    async def wait() -> None:
        taken.append(await sink.pull(queue, "w", MINUTE, 5000))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(0.05)
        await sink.push(queue, b"job")
    assert taken != [None]


async def test_a_closed_sink_serves_nothing_closes_again_and_serves_after_a_start(sink: Sink, kind: str) -> None:
    await sink.keep({b"k": b"v"}, MINUTE)
    await sink.aclose()
    await sink.aclose()
    for asked in (
        lambda: sink.fetch([b"k"]), lambda: sink.keep({b"k": b"v"}, 1), lambda: sink.add(b"k", b"v", 1),
        lambda: sink.remove([b"k"]), lambda: sink.touch([b"k"], 1), lambda: sink.count(b"k", 1, M, 1),
        lambda: sink.wipe(b"k"), lambda: sink.push(b"{q}", b"j"), lambda: sink.pull(b"{q}", "w", 1, 1),
        lambda: sink.finish(b"{q}", "1-1"), lambda: sink.depth(b"{q}"), sink.ping,
    ):  # fmt: skip
        with pytest.raises(SinkUnavailable, match="cache-vn"):
            await asked()
    await sink.start()
    assert await sink.fetch([b"k"]) == [b"v"]


async def test_jobs_are_taken_away_by_what_they_are_in_all_queues_of_a_kind(sink: Sink) -> None:
    queues = [b"{jobs:VN:a}", b"{jobs:VN:b}:dead", b"{jobs:SG:a}"]
    for queue in queues:
        for number in range(1100):
            await sink.push(queue, b"theirs" if number % 2 else b"another's")
    held = await sink.pull(queues[0], "worker", MINUTE, 0)
    assert held is not None
    assert await sink.purge(b"{jobs:VN:", lambda job: job == b"theirs") == 1100
    assert [await sink.depth(queue) for queue in queues] == [550, 550, 1100]
    assert await sink.finish(queues[0], held.id)
    assert await sink.purge(b"{jobs:VN:", lambda job: job == b"theirs") == 0


async def test_a_cancelled_call_leaves_no_answer_for_the_next_one(sink: Sink) -> None:
    values = {b"k%d" % n: b"%d" % n * 1000 for n in range(20)}
    await sink.keep(values, MINUTE)
    for number in range(200):
        with anyio.move_on_after(0.00002 * (number % 30)):
            await sink.fetch([b"k%d" % (number % 20)])
        other = b"k%d" % ((number + 7) % 20)
        assert await sink.fetch([other]) == [values[other]]


@pytest.mark.needs("redis")
async def test_a_server_that_starts_anew_is_served_by_again(tmp_path: Path, redis_servers: Servers) -> None:
    server = redis_servers.single()
    sink = redis_sink_at(tmp_path, server.url)
    await sink.start()
    await sink.keep({b"k": b"v"}, MINUTE)
    server.kill()
    server.start()
    # Its connections were cut: the next call finds out, and is answered all the same.
    assert await sink.fetch([b"k"]) == [None]
    await sink.aclose()
    eventually(server.client.ping)
