"""Behind Sentinel: a failover costs some seconds and no pin that anybody who is left has relied on."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from residency.adapters.pins_redis import PinsRedis
from residency.adapters.pins_redis.scripts import format_pin
from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Pin
from tests.servers import Servers, eventually

pytestmark = pytest.mark.needs("redis")
PIN = Pin("5" * 64, "VN", (), "a1" * 16, "write", "0" * 64, 1_800_000_000_000_000)
PATIENT = 60_000
"""Milliseconds after which a primary is given up in tests without a failover, which a busy machine is not to make."""
FLAVOURS = ["redis", pytest.param("valkey", marks=[pytest.mark.needs("valkey"), pytest.mark.slow])]


def numbered(number: int, version: int = 1) -> Pin:
    return dataclasses.replace(PIN, subject=f"{number:064x}", version=version)


class Guarded:
    """A primary, a replica and three sentinels."""

    def __init__(self, servers: Servers, flavour: str, patience: int = 500) -> None:
        self.primary = servers.single(flavour)
        self.replica = servers.single(flavour, "--replicaof", "127.0.0.1", str(self.primary.port))
        eventually(lambda: self.primary.client.set("other", 1) and self.primary.client.wait(1, 100), what="the replica")
        self.sentinels = servers.sentinels(self.primary, flavour, patience=patience)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/pins"


@pytest.fixture
def opened() -> Iterator[Callable[..., PinsRedis]]:
    """A factory of adapters with short times, closed with the test."""
    found: list[PinsRedis] = []

    def make(url: str, **more: Any) -> PinsRedis:
        found.append(PinsRedis(url, **{"stale_for": 2_000_000, "wait": 1000, **more}))
        return found[-1]

    yield make
    for pins in found:
        anyio.run(pins.aclose)


def get(pins: PinsRedis, subject: str) -> Pin | None:
    return anyio.run(pins.get, subject)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_failover_is_followed_and_what_was_acknowledged_is_there(
    redis_servers: Servers, opened: Callable[..., PinsRedis], flavour: str
) -> None:
    guarded = Guarded(redis_servers, flavour)
    ours, theirs = opened(guarded.url), opened(guarded.url)
    over = threading.Event()
    acknowledged: dict[str, int] = {}

    async def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            subject = numbered(number % 20).subject
            try:
                found = await theirs.get(subject)
                version = 1 if found is None else found.version + 1
                await theirs.put(dataclasses.replace(PIN, subject=subject, version=version))
            except (PinsUnavailable, StaleVersion):
                await anyio.sleep(0.01)
                continue
            acknowledged[subject] = version

    with ThreadPoolExecutor(1) as thread:
        writing = thread.submit(anyio.run, write)
        eventually(lambda: len(acknowledged) == 20, what="writes")
        guarded.primary.kill()
        eventually(
            lambda: theirs.counters.reconnects or _connected_anew(theirs, guarded), what="the failover", within=60
        )
        before = dict(acknowledged)
        eventually(lambda: sum(acknowledged.values()) > sum(before.values()) + 20, what="writes to go on", within=30)
        over.set()
        writing.result(timeout=10)
    eventually(lambda: _connected_anew(ours, guarded), within=30)
    for subject, version in acknowledged.items():
        for pins in (ours, theirs):
            found = get(pins, subject)
            assert found is not None
            assert found.version >= version


def _connected_anew(pins: PinsRedis, guarded: Guarded) -> bool:
    return any(p.node == ("127.0.0.1", guarded.replica.port) and p.lease is not None for p in pins._group.all())


def test_what_the_new_primary_never_heard_of_is_put_back_by_whoever_knows_it(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    guarded = Guarded(redis_servers, "redis")
    told = numbered(9, version=4)
    audit: list[Pin] = []
    pins, other = (opened(guarded.url, stale_for=30_000_000, **more) for more in ({"recent": lambda: audit}, {}))
    for pin in (numbered(1), numbered(1, version=2), numbered(2), numbered(4)):
        anyio.run(pins.put, pin)
    anyio.run(pins.forget, numbered(4).subject, 1)
    # Its change is heard of before it is read: a change that is heard of later makes the copy of it go again.
    eventually(lambda: get(pins, numbered(3).subject) is None and pins.peek(numbered(3).subject)[1])
    anyio.run(other.put, numbered(3))
    eventually(lambda: not pins.peek(numbered(3).subject)[1], what="word of the change")
    audit.append(told)
    eventually(lambda: get(pins, numbered(3).subject) and pins.peek(numbered(3).subject)[1])
    # What a replica that lags would hold; asynchronous replication promises no more.
    behind = guarded.replica.client
    behind.config_set("replica-read-only", "no")
    for pin in (numbered(1), numbered(4)):
        behind.set("residency:pin:" + pin.subject, format_pin(pin))
    for pin in (numbered(2), numbered(3)):
        behind.delete("residency:pin:" + pin.subject)
    anyio.run(other.aclose)
    guarded.primary.kill()
    eventually(lambda: _connected_anew(pins, guarded), what="the failover", within=60)
    assert get(pins, numbered(1).subject) == numbered(1, version=2), "written by this process"
    assert get(pins, numbered(2).subject) == numbered(2)
    assert get(pins, numbered(3).subject) == numbered(3), "written by another, and relied on by this one"
    assert get(pins, numbered(4).subject) is None, "forgotten by this process"
    assert get(pins, told.subject) == told, "told by the audit log"
    assert pins.counters.replayed == 5


def test_a_forgotten_pin_is_not_put_back_by_a_process_that_did_not_hear_of_it(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    server = redis_servers.single()
    pins = opened(server.url)
    anyio.run(pins.put, PIN)
    anyio.run(pins.forget, PIN.subject, 1)
    other = opened(server.url, recent=lambda: [PIN])
    assert get(other, PIN.subject) is None
    assert other.counters.replayed == 0
    later = dataclasses.replace(PIN, alias="b2" * 16, at=PIN.at + 1)
    anyio.run(other.put, later)
    again = opened(server.url, recent=lambda: [dataclasses.replace(PIN, version=7)])
    assert (again.counters.replayed, again.counters.conflicts) == (0, 1)
    assert get(again, PIN.subject) == later, "an older life of the subject, whatever its version, is not the newer pin"


def test_a_primary_that_most_sentinels_do_not_name_is_not_served_from_beyond_stale_for(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    guarded = Guarded(redis_servers, "redis", PATIENT)
    pins = opened(guarded.url)
    anyio.run(pins.put, PIN)
    for sentinel in guarded.sentinels[:2]:
        sentinel.pause()
    # The primary answers every PING, but it may have been replaced on the other side of a partition.
    eventually(lambda: _refused(pins), what="the end of stale_for", within=30)
    # Nor now and then, whenever the one that is left is heard of.
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        assert _refused(pins)
        time.sleep(0.02)
    for sentinel in guarded.sentinels[:2]:
        sentinel.resume()
    eventually(lambda: get_or_none(pins) == PIN, what="service", within=30)


def test_a_sentinel_that_hangs_costs_no_service_while_most_of_them_answer(
    redis_servers: Servers, opened: Callable[..., PinsRedis]
) -> None:
    guarded = Guarded(redis_servers, "redis", PATIENT)
    pins = opened(guarded.url, timeout=1.0)
    anyio.run(pins.put, PIN)
    guarded.sentinels[0].pause()
    time.sleep(3.5)  # it was waited for once by now
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        assert get(pins, PIN.subject) == PIN
        assert not pins.is_stale()
        time.sleep(0.02)


def _refused(pins: PinsRedis) -> bool:
    try:
        get(pins, PIN.subject)
    except PinsUnavailable:
        return True
    return False


def get_or_none(pins: PinsRedis) -> Pin | None:
    try:
        return get(pins, PIN.subject)
    except PinsUnavailable:
        time.sleep(0.05)
        return None
