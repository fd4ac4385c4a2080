"""On a Cluster: slots move and primaries die while pins are read and written."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from redis.crc import key_slot

from residency.adapters.pins_redis import PinsRedis
from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Pin
from tests.servers import Server, Servers, eventually

pytestmark = pytest.mark.needs("redis")
PIN = Pin("5" * 64, "VN", (), "a1" * 16, "write", "0" * 64, 1_800_000_000_000_000)
KEY = "residency:pin:" + PIN.subject
SLOT = key_slot(KEY.encode())


def numbered(number: int, version: int = 1) -> Pin:
    return dataclasses.replace(PIN, subject=f"{number:064x}", version=version)


@pytest.fixture
def opened() -> Iterator[Callable[..., PinsRedis]]:
    """A factory of adapters with short times, closed with the test."""
    found: list[PinsRedis] = []

    def make(nodes: list[Server], **more: Any) -> PinsRedis:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2])
        found.append(PinsRedis(url, **{"stale_for": 4_000_000, "wait": 1000, **more}))
        return found[-1]

    yield make
    for pins in found:
        anyio.run(pins.aclose)


def get(pins: PinsRedis, subject: str) -> Pin | None:
    return anyio.run(pins.get, subject)


def refused(pins: PinsRedis, subject: str, match: str = "") -> bool:
    try:
        get(pins, subject)
    except PinsUnavailable as error:
        return match in str(error)
    return False


def say(node: Server, *command: str | int) -> Any:
    return node.client.execute_command(*command)  # type: ignore[no-untyped-call]


class Move:
    """One slot on its way from one node to another."""

    def __init__(self, source: Server, target: Server, slot: int) -> None:
        self.source, self.target, self.slot = source, target, slot
        self.ids = [say(node, "CLUSTER", "MYID").decode() for node in (source, target)]

    def begin(self) -> None:
        say(self.target, "CLUSTER", "SETSLOT", self.slot, "IMPORTING", self.ids[0])
        say(self.source, "CLUSTER", "SETSLOT", self.slot, "MIGRATING", self.ids[1])

    def keys(self) -> None:
        for key in say(self.source, "CLUSTER", "GETKEYSINSLOT", self.slot, 100):
            say(self.source, "MIGRATE", "127.0.0.1", self.target.port, key, 0, 1000)

    def end(self) -> None:
        for node in (self.target, self.source):
            say(node, "CLUSTER", "SETSLOT", self.slot, "NODE", self.ids[1])


@pytest.mark.parametrize("flavour", ["redis", pytest.param("valkey", marks=pytest.mark.needs("valkey"))])
def test_a_slot_moves_and_every_step_of_it_is_followed(
    redis_servers: Servers, opened: Callable[..., PinsRedis], flavour: str
) -> None:
    nodes = redis_servers.cluster(flavour)
    owner = SLOT * 3 // 16_384
    source, target = nodes[owner], nodes[(owner + 1) % 3]
    ours, theirs = opened(nodes), opened(nodes)
    anyio.run(theirs.put, PIN)
    eventually(lambda: get(ours, PIN.subject) == PIN and ours.peek(PIN.subject)[1])
    move = Move(source, target, SLOT)
    move.begin()
    assert get(ours, PIN.subject) == PIN, "still at its source"
    move.keys()
    eventually(lambda: ours.peek(PIN.subject) == (None, False), what="the source to say that the key has gone")
    assert get(ours, PIN.subject) == PIN, "handed over: asked for at the target"
    assert ours.peek(PIN.subject) == (None, False), "and not held, for the target is not the owner yet"
    anyio.run(theirs.put, dataclasses.replace(PIN, version=2))
    assert get(ours, PIN.subject) == dataclasses.replace(PIN, version=2)
    assert ours.counters.redirected >= 2
    move.end()
    for pins in (ours, theirs):
        eventually(lambda pins=pins: not pins.is_stale(), what="the new share")  # type: ignore[misc]
    anyio.run(theirs.put, dataclasses.replace(PIN, version=3))
    eventually(
        lambda: get(ours, PIN.subject) == dataclasses.replace(PIN, version=3) and ours.peek(PIN.subject)[1],
        what="the copy to hold it again",
    )
    anyio.run(theirs.put, dataclasses.replace(PIN, version=4))
    eventually(lambda: ours.peek(PIN.subject) == (None, False), what="the new owner's invalidation")
    assert ours.counters.distrusted == 0


def test_a_primary_that_dies_takes_no_other_pins_with_it_and_its_replica_takes_over(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    nodes = redis_servers.cluster(primaries=3, replicas=1)
    pins = opened(nodes[1:])
    at_first, elsewhere = _of_share(0), _of_share(1)
    for pin in (at_first, elsewhere):
        anyio.run(pins.put, pin)
    eventually(lambda: get(pins, elsewhere.subject) and pins.peek(elsewhere.subject)[1])
    over = threading.Event()
    acknowledged = {at_first.subject: 1, elsewhere.subject: 1}
    wrong: list[str] = []

    async def write() -> None:
        while not over.is_set():
            for subject in acknowledged:
                try:
                    found = await pins.get(subject)
                    version = 1 if found is None else found.version + 1
                    if version <= acknowledged[subject]:
                        wrong.append(f"{acknowledged[subject]} acknowledged, then {found}")
                    await pins.put(dataclasses.replace(PIN, subject=subject, version=version))
                    acknowledged[subject] = version
                except (PinsUnavailable, StaleVersion):
                    continue
            await anyio.sleep(0.005)

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(anyio.run, write)
        nodes[0].kill()
        time.sleep(0.3)
        before = acknowledged[elsewhere.subject]
        eventually(lambda: acknowledged[elsewhere.subject] > before, what="the others to serve on")
        eventually(
            lambda: any(p.node == ("127.0.0.1", nodes[3].port) and p.lease is not None for p in pins._group.all()),
            what="the failover",
            within=60,
        )
        before = acknowledged[at_first.subject]
        eventually(lambda: acknowledged[at_first.subject] > before, what="the replica to serve")
        over.set()
        writing.result(timeout=10)
    assert wrong == []


def test_one_primary_of_a_cluster_that_came_back_empty_is_not_believed(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    nodes = redis_servers.cluster()
    pins = opened(nodes)
    for number in range(6):
        anyio.run(pins.put, numbered(number))
    nodes[0].client.flushall()
    eventually(lambda: refused(pins, _of_share(0).subject, "without what it held"), what="the loss to be noticed")


def test_a_primary_that_is_paused_is_waited_for_by_nobody_and_by_no_other_pin(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    nodes = redis_servers.cluster(primaries=3, replicas=0)
    pins = opened(nodes, stale_for=1_500_000, timeout=0.5)
    at_first, elsewhere = _of_share(0), _of_share(1)
    nodes[0].pause()
    with ThreadPoolExecutor(1) as thread:
        eventually(lambda: refused(pins, at_first.subject), what="the pause to be noticed")
        assert thread.submit(refused, pins, at_first.subject).result(timeout=5)
        # The cluster does not serve while a share of it is down, and nobody waits for it either.
        eventually(lambda: refused(pins, elsewhere.subject), what="the cluster to be down")
        assert thread.submit(refused, pins, elsewhere.subject).result(timeout=5)
    nodes[0].resume()
    eventually(lambda: not refused(pins, at_first.subject) and not refused(pins, elsewhere.subject), within=60)


def _of_share(share: int) -> Pin:
    """A pin whose slot the node `share` of three holds at first."""
    return next(
        pin
        for pin in map(numbered, range(100))
        if key_slot(b"residency:pin:" + pin.subject.encode()) * 3 // 16_384 == share
    )
