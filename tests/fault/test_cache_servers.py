"""Caches and queues on Redis and Valkey whose servers die, hang, fill up, refuse, change roles."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.crc import key_slot

from residency.adapters.sink_redis import RedisSink
from residency.errors import PolicyError, SinkUnavailable
from residency.storage.queues import Worker
from tests.cache_world import CacheWorld, redis_sink_at
from tests.servers import Servers, eventually

pytestmark = [pytest.mark.needs("redis"), pytest.mark.anyio]
MINUTE = 60_000
SECRET = "s3cret-of-a-server"


@contextmanager
def lasts_at_most(seconds: float) -> Iterator[None]:
    """A bound that is no measurement: without one a hanging server would be waited for without end."""
    with anyio.fail_after(seconds):
        yield


async def test_a_dead_server_is_a_miss_for_the_app_and_serves_again_when_it_lives(
    tmp_path: Path, redis_servers: Servers
) -> None:
    server = redis_servers.single()
    sink = redis_sink_at(tmp_path, server.url)
    world = CacheWorld(tmp_path / "w", caches=(CacheWorld(tmp_path / "o").sg, sink))
    await sink.start()
    with world.request() as cache:
        assert await cache.set("k", b"v")
        assert await cache.get("k") == b"v"
        server.kill()
        for _ in range(5):
            assert await cache.get("k") is None
            assert not await cache.set("k", b"v")
        assert await cache.incr("n") is None
        server.start()
        await anyio.sleep(1.1)  # it is left alone for a second
        assert await cache.set("k", b"new")
        assert await cache.get("k") == b"new"
    words = {word for _, _, word in world.acts()}
    assert words == {"committed", "failed", "unknown"}
    await sink.aclose()


async def test_a_server_that_hangs_is_waited_for_once_and_then_left_alone(
    tmp_path: Path, redis_servers: Servers
) -> None:
    server = redis_servers.single()
    sink = redis_sink_at(tmp_path, server.url + "?socket_timeout=0.5")
    await sink.start()
    await sink.keep({b"k": b"v"}, MINUTE)
    server.pause()
    with lasts_at_most(30):
        for _ in range(200):  # of half a second each they would take a hundred
            with pytest.raises(SinkUnavailable, match="cache-vn"):
                await sink.fetch([b"k"])
    server.resume()
    await anyio.sleep(1.1)
    with lasts_at_most(30):
        assert await sink.fetch([b"k"]) == [b"v"]
    await sink.aclose()


async def test_a_cache_that_is_away_keeps_nobody_from_starting_and_what_is_no_cache_does(
    tmp_path: Path, redis_servers: Servers
) -> None:
    server = redis_servers.single()
    server.kill()
    cache = redis_sink_at(tmp_path, server.url)
    await cache.start()
    await cache.ping()
    with pytest.raises(SinkUnavailable):
        await cache.fetch([b"k"])
    jobs = redis_sink_at(tmp_path, server.url, scope="primary")
    with pytest.raises(SinkUnavailable, match="cannot be reached"):
        await jobs.start()
    with pytest.raises(SinkUnavailable):
        await jobs.ping()
    await cache.aclose()
    await jobs.aclose()


@pytest.mark.parametrize("login", ["", ":wrong-" + SECRET + "@", "nobody:" + SECRET + "@"])
@pytest.mark.parametrize("scope", ["cache", "primary"])
async def test_wrong_credentials_are_told_at_the_start_and_not_repeated(
    tmp_path: Path, redis_servers: Servers, login: str, scope: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_servers.single("redis", "--requirepass", SECRET, wait=False)
    sink = redis_sink_at(tmp_path, server.url.replace("//", "//" + login), scope=scope)
    with pytest.raises(SinkUnavailable) as caught:
        await sink.start()
    assert str(caught.value) == "sink 'cache-vn' does not accept the credentials in its URL"
    assert SECRET not in caplog.text + repr(caught.value)
    await sink.aclose()
    right = redis_sink_at(tmp_path, server.url.replace("//", f"//:{SECRET}@"), scope=scope)
    await right.start()
    await right.keep({b"k": b"v"}, MINUTE)
    await right.aclose()


async def test_a_replica_takes_and_answers_nothing(tmp_path: Path, redis_servers: Servers) -> None:
    primary = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", f"127.0.0.1 {primary.port}")
    eventually(lambda: b"up" in bytes(str(replica.client.info("replication")["master_link_status"]), "ascii"))
    sink = redis_sink_at(tmp_path, replica.url, scope="primary")
    with pytest.raises(SinkUnavailable, match="is a replica"):
        await sink.start()
    await sink.aclose()


async def test_a_primary_that_becomes_a_replica_is_noticed_by_its_next_write(
    tmp_path: Path, redis_servers: Servers
) -> None:
    one, two = redis_servers.single(), redis_servers.single()
    sink = redis_sink_at(tmp_path, one.url)
    await sink.start()
    await sink.keep({b"k": b"v"}, MINUTE)
    one.client.replicaof("127.0.0.1", two.port)
    with pytest.raises(SinkUnavailable, match="is a replica"):
        await sink.keep({b"k": b"v2"}, MINUTE)
    await sink.aclose()


async def test_a_cache_that_evicts_misses_and_is_no_place_for_sessions_and_jobs(
    tmp_path: Path, redis_servers: Servers
) -> None:
    server = redis_servers.single("redis", "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
    jobs = redis_sink_at(tmp_path, server.url, scope="primary")
    with pytest.raises(SinkUnavailable, match="evicts what it holds"):
        await jobs.start()
    await jobs.aclose()
    cache = redis_sink_at(tmp_path, server.url)
    await cache.start()
    keys = [b"k%d" % number for number in range(300)]
    for key in keys:
        await cache.keep({key: key * 5000}, MINUTE)
    found = await cache.fetch(keys)
    assert None in found
    assert all(value is None or value == key * 5000 for key, value in zip(keys, found, strict=True))
    await cache.aclose()


async def test_a_full_server_refuses_by_name(tmp_path: Path, redis_servers: Servers) -> None:
    server = redis_servers.single("redis", "--maxmemory", "3mb")
    sink = redis_sink_at(tmp_path, server.url, scope="primary")
    await sink.start()
    full = ""
    for _ in range(300):
        try:
            await sink.push(b"{q}", b"x" * 50_000)
        except SinkUnavailable as error:
            full = str(error)
            break
    assert full == "sink 'cache-vn' is full"
    await sink.aclose()


async def test_a_server_with_no_connection_left_is_named(tmp_path: Path, redis_servers: Servers) -> None:
    server = redis_servers.single()
    server.client.config_set("maxclients", 1)
    sink = redis_sink_at(tmp_path, server.url, scope="primary")
    with pytest.raises(SinkUnavailable, match="sink 'cache-vn'") as caught:
        await sink.start()
    assert "127.0.0.1" not in str(caught.value)
    await sink.aclose()


async def test_sentinels_new_primary_takes_over(tmp_path: Path, redis_servers: Servers) -> None:
    primary = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", f"127.0.0.1 {primary.port}")
    sentinels = redis_servers.sentinels(primary)
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    sink = redis_sink_at(tmp_path, f"redis+sentinel://{hosts}/pins")
    await sink.start()
    await sink.keep({b"k": b"v"}, MINUTE)
    eventually(lambda: replica.client.exists("k"), what="the replica to have it")
    primary.kill()
    end = time.monotonic() + 60
    found: list[bytes | None] = [None]
    while found == [None] and time.monotonic() < end:
        try:
            found = await sink.fetch([b"k"])
        except SinkUnavailable:
            await anyio.sleep(0.2)
    assert found == [b"v"]
    await sink.keep({b"k": b"after"}, MINUTE)
    assert replica.client.get("k") == b"after"
    await sink.aclose()


async def test_a_slot_that_moves_to_another_server_of_a_cluster_is_followed(
    tmp_path: Path, redis_servers: Servers
) -> None:
    nodes = redis_servers.cluster(primaries=2)
    sink = redis_sink_at(tmp_path, nodes[0].url.replace("redis", "redis+cluster"))
    await sink.start()
    keys = [b"k%d" % number for number in range(100)]
    await sink.keep({key: key for key in keys}, MINUTE)
    assert {bool(node.client.dbsize()) for node in nodes} == {True}
    asked: list[Any] = [node.client for node in nodes]  # some of its methods carry no types
    ids = [str(client.execute_command("CLUSTER", "MYID"), "ascii") for client in asked]
    slot = key_slot(b"k0")
    owner = next(n for n, client in enumerate(asked) if client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))
    for name in asked[owner].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        asked[owner].delete(name)
    asked[1 - owner].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    asked[owner].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1 - owner])
    for client in (asked[1 - owner], asked[owner]):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1 - owner])
    with lasts_at_most(30):
        await sink.keep({b"k0": b"moved"}, MINUTE)
        assert await sink.fetch([b"k0"]) == [b"moved"]
    assert nodes[1 - owner].client.get("k0") == b"moved"
    await sink.aclose()


async def test_a_worker_that_dies_with_a_job_leaves_it_to_another(tmp_path: Path, redis_servers: Servers) -> None:
    server = redis_servers.single()
    world = CacheWorld(tmp_path / "w")
    sink = redis_sink_at(tmp_path, server.url, name="jobs-vn", scope="primary")
    world.stores._sinks["jobs-vn"] = sink
    await sink.start()
    with world.request(method="POST", store="jobs") as jobs:
        await jobs.push("mail", b"to an")

    def worker(name: str, place: str = "VN") -> Worker:
        return Worker([sink], point=lambda: world.point, store="jobs", queue="mail", place=place, name=name, idle=0.05)

    async with worker("abroad", "SG").take(0.01) as job:
        assert job is None
    with suppress(ZeroDivisionError):
        async with worker("dies").take(1) as job:
            assert job is not None
            raise ZeroDivisionError
    await anyio.sleep(0.1)
    async with worker("lives").take(1) as job:
        assert job is not None
        assert (job.payload, job.subject, job.home, job.tries) == (b"to an", "an", "VN", 2)
    assert await worker("lives").depth() == 0
    await sink.aclose()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("redis://cache.example.vn", "not encrypted"),
        ("redis+cluster://127.0.0.1,cache.example.vn", "not encrypted"),
        ("redis://u:" + SECRET + "@127.0.0.1:x", "cannot be read"),
        ("redis://127.0.0.1/nothing", "the number of a database"),
        ("redis+sentinel://127.0.0.1", "the name of the service"),
    ],
)
async def test_a_url_that_does_not_hold_is_told_at_its_line_without_it(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(PolicyError, match=what) as caught:
        redis_sink_at(tmp_path, url)
    assert SECRET not in str(caught.value)
    assert "test.yaml:" in str(caught.value)


async def test_a_sink_of_another_event_loop_is_not_used(tmp_path: Path, redis_servers: Servers) -> None:
    sink = redis_sink_at(tmp_path, redis_servers.single().url)
    await sink.start()

    def elsewhere() -> str:
        async def use() -> str:
            try:
                await sink.fetch([b"k"])
            except SinkUnavailable as error:
                return str(error)
            return ""

        return anyio.run(use)

    assert "another event loop" in await anyio.to_thread.run_sync(elsewhere)
    await sink.aclose()


def test_trio_is_told(tmp_path: Path) -> None:
    sink = redis_sink_at(tmp_path, "redis://127.0.0.1:1")

    async def start(made: RedisSink) -> str:
        try:
            await made.start()
        except SinkUnavailable as error:
            return str(error)
        return ""

    assert anyio.run(start, sink, backend="trio") == "sink 'cache-vn' needs asyncio"


async def test_a_server_is_judged_at_each_new_connection_by_where_it_leads(
    tmp_path: Path, redis_servers: Servers
) -> None:
    server = redis_servers.single()
    abroad: set[str] = set()
    sink = redis_sink_at(tmp_path, server.url, scope="primary", elsewhere=abroad.__contains__)
    await sink.start()
    await sink.keep({b"k": b"v"}, MINUTE)
    abroad.add("127.0.0.1")
    assert await sink.fetch([b"k"]) == [b"v"], "it was at home when it was connected to"
    server.kill()
    server.start()
    with suppress(SinkUnavailable):
        await sink.fetch([b"k"])  # over the connection that was cut
    await anyio.sleep(1.1)
    with pytest.raises(SinkUnavailable, match=r"^sink 'cache-vn' has an address in another country than it says$"):
        await sink.keep({b"k": b"v"}, MINUTE)
    abroad.clear()
    await anyio.sleep(1.1)  # it is left alone for a second
    assert await sink.fetch([b"k"]) == [None]
    await sink.aclose()


async def test_a_server_says_which_it_is_and_who_follows_it(tmp_path: Path, redis_servers: Servers) -> None:
    server, other = redis_servers.single(), redis_servers.single()
    sink, twin, second = (
        redis_sink_at(tmp_path, url) for url in (server.url, server.url.replace("127.0.0.1", "localhost"), other.url)
    )
    for each in (sink, twin, second):
        await each.start()
    told = await sink.which()
    assert told == await twin.which()
    assert told.words.isdisjoint((await second.which()).words)
    assert told.followers == ()
    redis_servers.single("redis", "--replicaof", "127.0.0.1", str(server.port), wait=False)
    with lasts_at_most(30):
        while (await sink.which()).followers != ("127.0.0.1",):  # noqa: ASYNC110 - a server tells nobody
            await anyio.sleep(0.05)
    server.kill()
    with pytest.raises(SinkUnavailable):
        await sink.which()
    for each in (sink, twin, second):
        await each.aclose()
