"""One server, killed, paused, cut off, emptied, restarted, under load: no pin older than it may be, no endless wait."""

from __future__ import annotations

import dataclasses
import datetime
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from residency.adapters.pins_redis import PinsRedis
from residency.adapters.pins_redis.urls import parse_redis_url
from residency.errors import PinsUnavailable, StaleVersion
from residency.model import Pin
from tests.ports import free_port
from tests.servers import Servers, eventually

pytestmark = pytest.mark.needs("redis")
PIN = Pin("5" * 64, "VN", (), "a1" * 16, "write", "0" * 64, 1_800_000_000_000_000)
NEXT = dataclasses.replace(PIN, home="SG", version=2)
S = PIN.subject
T = TypeVar("T")
HANGS = 0.5
"""Seconds to wait for an answer in a test in which one does not come, or a refusal that is tried for twice as long."""
Open = Callable[..., PinsRedis]


def run(work: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """What an async method answers."""
    return anyio.run(work, *arguments)


@pytest.fixture
def opened() -> Iterator[Open]:
    """A factory of adapters that soon refuse and long wait, closed with the test. Where nothing answers: HANGS."""
    found: list[PinsRedis] = []

    def make(url: str, **more: Any) -> PinsRedis:
        found.append(PinsRedis(url, **{"stale_for": 1_500_000, "timeout": 5.0, **more}))
        return found[-1]

    yield make
    for pins in found:
        run(pins.aclose)


def held(pins: PinsRedis) -> Pin | None:
    """Ask until the copy holds the answer, for good: the invalidation of a write of our own comes after the write."""

    def settled() -> bool:
        run(pins.get, S)
        time.sleep(0.05)
        return pins.peek(S)[1]

    eventually(settled, what="the copy to hold it")
    return pins.peek(S)[0]


def refuses(work: Callable[[], Any], match: str = "") -> bool:
    """Whether it raises PinsUnavailable."""
    try:
        work()
    except PinsUnavailable as error:
        return match in str(error)
    return False


def bounded(work: Callable[[], T]) -> T:
    """`work`, which must end before a test would hang: many times its own timeouts."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result(timeout=10)


@pytest.mark.parametrize("flavour", ["redis", pytest.param("valkey", marks=pytest.mark.needs("valkey"))])
def test_a_change_by_another_process_is_pushed_and_the_copy_lets_go(
    redis_servers: Servers, opened: Open, flavour: str
) -> None:
    server = redis_servers.single(flavour)
    ours, theirs = opened(server.url), opened(server.url)
    assert held(ours) is None
    run(theirs.put, PIN)
    eventually(lambda: ours.peek(S) != (None, True), what="the invalidation")
    assert held(ours) == PIN
    run(theirs.put, NEXT)
    eventually(lambda: ours.peek(S) != (PIN, True), what="the invalidation")
    assert held(ours) == NEXT
    run(theirs.forget, S, 2)
    eventually(lambda: ours.peek(S) != (NEXT, True), what="the invalidation")
    assert held(ours) is None
    assert ours.counters.invalidations >= 3
    assert (ours.counters.reconnects, ours.counters.clears) == (0, 1)


@pytest.mark.parametrize("flavour", ["redis", "valkey"])
def test_an_answer_behind_thousands_of_changes_is_read(redis_servers: Servers, flavour: str) -> None:
    server = redis_servers.single(flavour)
    place, told = parse_redis_url(server.url), list[Any]()
    wire = place.wire(place.nodes[0], 5.0)
    wire.open(told.append)
    try:
        wire.ask("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "many:")
        for number in range(5000):  # one by one: the changes of one turn of the server's come in one push
            server.client.set(f"many:{number}", "x")
        assert wire.ask_all([("GET", "many:7"), ("PING",)]) == [b"x", b"PONG"]
        assert sum(len(push[1]) for push in told) == 5000
        assert len(told) > 2 * sys.getrecursionlimit()
    finally:
        wire.close()


def test_a_reply_overtaken_by_its_own_invalidation_is_discarded(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    proxy = redis_servers.proxy(server)
    ours, theirs = opened(proxy.url), opened(server.url)
    run(theirs.put, PIN)
    run(ours.get, "6" * 64)  # a command connection is there, and the first invalidation has passed
    eventually(lambda: ours.counters.invalidations >= 1)
    before = ours.counters.invalidations
    proxy.holds = lambda said: S.encode() in said  # the answer to GET stays in the proxy, pushes pass
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(run, ours.get, S)
        eventually(lambda: ours._mirror._asked, what="the question")
        time.sleep(0.1)  # the server has answered; the answer waits in the proxy
        run(theirs.put, NEXT)
        eventually(lambda: ours.counters.invalidations > before, what="the invalidation to overtake the reply")
        proxy.holds = lambda said: False
        assert asking.result() == PIN, "the reply is the older pin"
    assert ours.counters.poisoned == 1
    assert ours.peek(S) == (None, False), "and it is not held"
    assert held(ours) == NEXT


def test_without_a_change_the_same_delayed_reply_is_held(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    proxy = redis_servers.proxy(server)
    ours, theirs = opened(proxy.url), opened(server.url)
    before = ours.counters.invalidations  # of the mark that it set itself
    run(theirs.put, PIN)
    run(ours.get, "6" * 64)
    eventually(lambda: ours.counters.invalidations > before)
    proxy.holds = lambda said: S.encode() in said
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(run, ours.get, S)
        eventually(lambda: ours._mirror._asked, what="the question")
        proxy.holds = lambda said: False
        assert asking.result() == PIN
    assert ours.peek(S) == (PIN, True)


@pytest.mark.parametrize("fault", ["kill", "pause", "stall"])
def test_away_the_copy_serves_for_stale_for_says_so_and_then_refuses(
    redis_servers: Servers, opened: Open, fault: str
) -> None:
    server = redis_servers.single()
    proxy = redis_servers.proxy(server)
    pins = opened(proxy.url, timeout=HANGS)
    run(pins.put, PIN)
    assert held(pins) == PIN
    eventually(lambda: not pins.is_stale(), what="an answer to the newest PING")
    lease = pins._group.all()[0].lease
    assert lease is not None
    match fault:
        case "kill":
            server.kill()
        case "pause":
            server.pause()
        case _:
            proxy.stall()
    eventually(pins.is_stale, what="it to be noticed")
    try:
        assert pins.peek(S) == (PIN, True), "within stale_for the copy serves"
    except PinsUnavailable:
        assert time.monotonic() > lease.until, "this machine was too busy to ask in time"
    eventually(lambda: refuses(lambda: pins.peek(S), "stale_for"), what="the end of stale_for")
    assert bounded(lambda: refuses(lambda: run(pins.get, "6" * 64), "reached"))
    assert bounded(lambda: refuses(lambda: run(pins.put, NEXT), "reached"))
    assert refuses(lambda: pins.peek("7" * 64)) or pins.peek("7" * 64) == (None, False), "unknown is never 'none'"
    assert pins.gauges()["connected"] == 0 or fault != "kill"


def test_how_long_the_copy_serves_is_counted_from_when_a_ping_was_sent_however_late_its_answer(
    redis_servers: Servers, opened: Open
) -> None:
    proxy = redis_servers.proxy(redis_servers.single())
    pins = opened(proxy.url)
    (primary,) = pins._group.all()
    lease = primary.lease
    assert lease is not None

    def answered_late() -> bool:
        before = primary.heard
        proxy.stall()
        time.sleep(0.5)  # more than a beat
        passed = time.monotonic()
        proxy.stalled.clear()
        eventually(lambda: primary.heard > before, what="the answer")
        return primary.heard < passed and lease.until - 1.5 < passed

    eventually(answered_late, what="a PING under way while nothing passes")
    assert primary.lease is lease


def test_a_command_that_is_under_way_when_the_server_stops_ends_within_its_timeout(
    redis_servers: Servers, opened: Open
) -> None:
    server = redis_servers.single()
    pins = opened(server.url, stale_for=60_000_000, timeout=HANGS)
    run(pins.put, PIN)
    server.pause()
    assert bounded(lambda: refuses(lambda: run(pins.get, S), "reached"))
    assert bounded(lambda: refuses(lambda: run(pins.put, NEXT), "reached"))
    server.resume()
    eventually(lambda: not pins.is_stale(), what="the server to be back")
    found = run(pins.get, S)
    assert found in (PIN, NEXT), "a write that timed out may have happened; nothing else has"
    assert held(pins) == found


def test_what_changed_while_we_were_cut_off_is_never_answered_from_the_old_copy_again(
    redis_servers: Servers, opened: Open
) -> None:
    server = redis_servers.single()
    proxy = redis_servers.proxy(server)
    ours, theirs = opened(proxy.url, stale_for=30_000_000), opened(server.url)
    run(theirs.put, PIN)
    assert held(ours) == PIN
    proxy.stall()
    run(theirs.put, NEXT)
    assert ours.peek(S) == (PIN, True), "the stated residue: nobody told us, and stale_for is not over"
    proxy.refusing.set()
    proxy.cut()
    proxy.stalled.clear()
    eventually(ours.is_stale)
    proxy.refusing.clear()
    eventually(lambda: ours.counters.reconnects == 1, what="the reconnection")
    assert ours.peek(S) == (None, False), "a reconnection empties the copy"
    assert held(ours) == NEXT
    assert ours.counters.clears == 2
    assert ours.counters.replayed == 0, "the same server has lost nothing"


def test_a_reply_under_way_while_the_tracking_connection_breaks_is_not_held(
    redis_servers: Servers, opened: Open
) -> None:
    server = redis_servers.single()
    proxy = redis_servers.proxy(server)
    ours = opened(proxy.url, timeout=HANGS)
    run(ours.put, PIN)
    proxy.holds = lambda said: S.encode() in said
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(lambda: refuses(lambda: run(ours.get, S)))
        eventually(lambda: ours._mirror._asked, what="the question")
        server.client.client_kill_filter(_type="normal", skipme=True)
        asking.result()
        proxy.holds = lambda said: False
    assert ours.peek(S)[1] is False


def test_a_server_that_came_back_empty_is_not_believed(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    pins = opened(server.url)
    run(pins.put, PIN)
    run(pins.put, dataclasses.replace(PIN, subject="6" * 64))
    server.kill()
    server.start()
    eventually(lambda: refuses(lambda: pins.peek("7" * 64), "without what it held"), what="the loss to be noticed")
    for subject in (S, "6" * 64, "7" * 64):
        assert refuses(lambda subject=subject: run(pins.get, subject), "without what it held")  # type: ignore[misc]
    assert pins.counters.distrusted == 1
    # What an operator decides: a process that starts now goes on with the store as it is.
    again = opened(server.url, recent=lambda: [PIN])
    assert run(again.get, S) == PIN, "and puts back what its audit log tells of"
    assert again.counters.replayed == 1


def test_emptied_while_we_listen_it_is_not_believed_either(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    pins = opened(server.url)
    run(pins.put, PIN)
    assert held(pins) == PIN
    keys = ["residency:pin:key_mark", "residency:pin:" + S]
    kept = {key: server.client.get(key) or b"" for key in keys}
    server.client.flushall()
    eventually(lambda: refuses(lambda: pins.peek(S)), what="the loss to be noticed")
    assert pins.counters.clears == 2, "a null invalidation empties the copy"
    server.client.mset(kept)
    eventually(lambda: not refuses(lambda: run(pins.get, S)), what="restored data to be served")
    assert run(pins.get, S) == PIN


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, each line up to its first colon, semicolon or bracket."""
    return [re.split(r"[;:(]", record.getMessage())[0].strip() for record in caplog.records]


def test_an_outage_is_logged_when_it_begins_and_when_it_ends_and_not_between(
    redis_servers: Servers, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_servers.single("redis", "--appendonly", "yes", "--appendfsync", "always")
    pins = opened(server.url)
    caplog.clear()
    server.kill()
    eventually(lambda: refuses(lambda: run(pins.get, S)), what="the outage to be noticed")
    time.sleep(0.5)  # several attempts to connect
    server.start()
    eventually(lambda: not refuses(lambda: run(pins.get, S)), what="it to serve again")
    eventually(lambda: len(caplog.records) == 2, what="the end to be told")
    assert logged(caplog) == ["the pins' server cannot be reached", "the pins' store is heard of again"]


def test_a_store_without_a_mark_is_told_at_the_start_and_one_in_use_is_not(
    redis_servers: Servers, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    server = redis_servers.single()
    opened(server.url)
    assert logged(caplog) == ["the pins' store holds no mark"]
    caplog.clear()
    opened(server.url)
    assert logged(caplog) == []
    server.client.flushall()
    opened(server.url)
    assert "the pins' store holds no mark" in logged(caplog)


def test_a_server_restarted_with_its_data_is_asked_anew(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single("redis", "--appendonly", "yes", "--appendfsync", "always")
    pins = opened(server.url)
    run(pins.put, PIN)
    assert held(pins) == PIN
    server.kill()
    server.start()
    eventually(lambda: pins.counters.reconnects == 1, what="the reconnection")
    assert held(pins) == PIN
    run(pins.put, NEXT)
    assert run(pins.get, S) == NEXT


def test_scripts_that_the_server_has_forgotten_are_sent_again(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    pins = opened(server.url)
    run(pins.put, PIN)
    server.client.script_flush()
    run(pins.put, NEXT)
    assert run(pins.get, S) == NEXT


def test_another_server_behind_the_same_address_is_not_asked_while_the_first_is_tracked(
    redis_servers: Servers, opened: Open
) -> None:
    first, second = redis_servers.single(), redis_servers.single()
    proxy = redis_servers.proxy(first)
    pins = opened(proxy.url)
    proxy._target = (second.address, second.port)  # new connections go elsewhere, the tracking one stays
    assert refuses(lambda: run(pins.get, S), "reached")
    assert pins.peek(S) == (None, False)


def test_a_replica_that_does_not_confirm_fails_the_write_which_is_there_all_the_same(
    redis_servers: Servers, opened: Open
) -> None:
    server = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", "127.0.0.1", str(server.port))
    eventually(lambda: server.client.set("other", 1) and server.client.wait(1, 100), what="the replica")
    run(opened(server.url, wait=30_000).put, PIN)
    pins = opened(server.url, wait=100)
    assert replica.client.exists("residency:pin:" + S), "acknowledged by the replica"
    replica.pause()
    assert refuses(lambda: run(pins.put, NEXT), "no replica")
    assert pins.counters.wait_failed == 1
    assert run(pins.get, S) == NEXT
    with pytest.raises(StaleVersion):
        run(pins.put, NEXT)
    replica.resume()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "evict"),
        (("--requirepass", "x"), "refuses our user"),
    ],
)
def test_a_server_that_cannot_be_relied_on_is_refused_at_the_start(
    redis_servers: Servers, opened: Open, options: tuple[str, ...], says: str
) -> None:
    server = redis_servers.single("redis", *options, wait=False)
    assert bounded(lambda: refuses(lambda: opened(server.url, timeout=HANGS), says))


def test_a_replica_is_refused_at_the_start(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", "127.0.0.1", str(server.port))
    assert bounded(lambda: refuses(lambda: opened(replica.url, timeout=HANGS), "is a replica"))


def test_nobody_there_is_told_at_the_start_without_the_url(opened: Open) -> None:
    with pytest.raises(PinsUnavailable) as caught:
        opened(f"redis://user:secret@127.0.0.1:{free_port()}", timeout=HANGS)
    assert "secret" not in str(caught.value)
    assert "127" not in str(caught.value)


def test_pins_of_another_key_are_refused(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    opened(server.url, key_mark="one")
    opened(server.url, key_mark="one")
    assert refuses(lambda: opened(server.url, key_mark="two"), "another `subjects` key")
    opened(server.url, key_mark="two", prefix="other:")


def test_passwords_and_users_of_the_url_are_used(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single("redis", "--requirepass", "s:c/ret", wait=False)
    pins = opened(f"redis://:s%3Ac%2Fret@127.0.0.1:{server.port}/3")
    run(pins.put, PIN)
    assert run(pins.get, S) == PIN


def test_over_tls_a_change_is_pushed_as_well(redis_servers: Servers, opened: Open, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    redis_servers.single("redis", "--tls-port", str(port), *files, "--tls-auth-clients", "no")
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}&ssl_check_hostname=no"
    ours, theirs = opened(url), opened(url)
    for number in range(1, 200):
        run(theirs.put, dataclasses.replace(PIN, version=number))
    eventually(lambda: ours.counters.invalidations >= 199, what="the pushes")
    assert held(ours) == dataclasses.replace(PIN, version=199)
    assert ours.counters.reconnects == 0
    assert refuses(lambda: opened(f"rediss://127.0.0.1:{port}", timeout=HANGS)), "a certificate nobody vouches for"


def test_over_a_unix_socket_as_well(redis_servers: Servers, opened: Open) -> None:
    with tempfile.TemporaryDirectory() as name:  # a socket's path is short
        redis_servers.single("redis", "--unixsocket", f"{name}/s")
        ours, theirs = opened(f"unix://{name}/s"), opened(f"unix://{name}/s")
        run(theirs.put, PIN)
        assert held(ours) == PIN


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


def test_a_user_that_may_do_only_what_pins_need_is_enough(redis_servers: Servers, opened: Open) -> None:
    server = redis_servers.single()
    rights = "~residency:pin:* -@all +hello +ping +info +get +set +eval +evalsha +wait +client|tracking"
    server.client.execute_command("ACL", "SETUSER", "pins", "on", ">pw", *rights.split())  # type: ignore[no-untyped-call]
    url = f"redis://pins:pw@127.0.0.1:{server.port}"
    ours, theirs = opened(url), opened(url)
    run(ours.put, PIN)
    assert held(theirs) == PIN
    run(ours.put, NEXT)
    eventually(lambda: theirs.peek(S) != (PIN, True))
    run(ours.forget, S, 2)
    assert run(theirs.get, S) is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_lets_its_copy_go_without_waiting_and_the_parent_goes_on(
    redis_servers: Servers, opened: Open
) -> None:
    server = redis_servers.single()
    pins = opened(server.url)
    run(pins.put, PIN)
    assert held(pins) == PIN
    with pins._mirror._lock:  # whatever the parent's threads hold, they hold for ever in the child
        child = os.fork()
        if child == 0:
            done = anyio.run(lambda: _left(pins))
            os._exit(0 if done else 1)
    assert bounded(lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) == 0
    assert pins.peek(S) == (PIN, True)
    run(pins.put, NEXT)
    assert held(pins) == NEXT
    assert pins.counters.reconnects == 0


async def _left(pins: PinsRedis) -> bool:
    await pins.aclose()
    return refuses(lambda: pins.peek(S))


class Load:
    """One process writes, all read, while `disturb` runs; `wrong` tells who saw a version go back."""

    SUBJECTS = tuple(f"{number:064x}" for number in range(4))

    def __init__(self, instances: list[PinsRedis]) -> None:
        self.instances = instances
        self.acknowledged = dict.fromkeys(self.SUBJECTS, 0)
        self.wrong: list[str] = []
        self._over = threading.Event()

    def run(self, disturb: Callable[[], None]) -> None:
        with ThreadPoolExecutor(len(self.instances) + 1) as threads:
            jobs = [threads.submit(anyio.run, self._read, pins) for pins in self.instances]
            jobs.append(threads.submit(anyio.run, self._write, self.instances[0]))
            try:
                disturb()
            finally:
                self._over.set()
            for job in jobs:
                job.result(timeout=10)
        assert self.wrong == []
        assert min(self.acknowledged.values()) > 1
        for pins in self.instances:
            eventually(lambda pins=pins: not pins.is_stale())  # type: ignore[misc]
            for subject, version in self.acknowledged.items():
                eventually(
                    lambda pins=pins, subject=subject, version=version: _version(pins, subject) >= version,  # type: ignore[misc]
                    what="the last version",
                )

    async def _write(self, pins: PinsRedis) -> None:
        while not self._over.is_set():
            for subject in self.SUBJECTS:
                try:
                    with anyio.fail_after(5):
                        found = await pins.get(subject)
                        version = 1 if found is None else found.version + 1
                        await pins.put(dataclasses.replace(PIN, subject=subject, version=version))
                except (StaleVersion, PinsUnavailable):
                    await anyio.sleep(0.001)
                    continue
                self.acknowledged[subject] = version
                seen, known = pins.peek(subject) if not pins.is_stale() else (None, False)
                if known and (seen is None or seen.version < version):
                    self.wrong.append(f"own write {version}, then {seen}")

    async def _read(self, pins: PinsRedis) -> None:
        last = dict.fromkeys(self.SUBJECTS, 0)
        while not self._over.is_set():
            for subject in self.SUBJECTS:
                try:
                    found, known = pins.peek(subject)
                    if not known:
                        with anyio.fail_after(5):
                            found = await pins.get(subject)
                except PinsUnavailable:
                    await anyio.sleep(0.001)
                    continue
                version = 0 if found is None else found.version
                if version < last[subject]:
                    self.wrong.append(f"{last[subject]} seen, then {version}")
                last[subject] = version
            await anyio.sleep(0.0005)


def test_under_load_no_process_sees_a_version_go_back_and_all_end_with_the_last(
    redis_servers: Servers, opened: Open
) -> None:
    server = redis_servers.single()
    proxy = redis_servers.proxy(server)
    load = Load([opened(server.url), opened(proxy.url, stale_for=30_000_000), opened(server.url)])

    def disturb() -> None:
        for number in range(1, 4):
            time.sleep(0.3)
            proxy.cut()
            eventually(lambda number=number: load.instances[1].counters.reconnects == number)  # type: ignore[misc]

    load.run(disturb)
    assert load.instances[1].counters.reconnects == 3
    assert load.instances[0].counters.reconnects == 0


@pytest.mark.slow
@pytest.mark.parametrize("flavour", ["redis", pytest.param("valkey", marks=pytest.mark.needs("valkey"))])
def test_whatever_happens_for_half_a_minute_the_same_holds(redis_servers: Servers, opened: Open, flavour: str) -> None:
    server = redis_servers.single(flavour, "--appendonly", "yes", "--appendfsync", "always")
    proxy = redis_servers.proxy(server)
    load = Load([opened(server.url), opened(proxy.url), opened(server.url, local=3), opened(proxy.url)])
    chance = random.Random(11)

    def disturb() -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.1, 0.6))
            match chance.choice(["cut", "stall", "pause", "kill", "scripts", "clients"]):
                case "cut":
                    proxy.cut()
                case "stall":
                    proxy.stall()
                    time.sleep(chance.uniform(0.1, 2))
                    proxy.stalled.clear()
                case "pause":
                    server.pause()
                    time.sleep(chance.uniform(0.1, 2))
                    server.resume()
                case "kill":
                    server.kill()
                    time.sleep(chance.uniform(0, 1))
                    server.start()
                case "scripts":
                    server.client.script_flush()
                case _:
                    server.client.client_kill_filter(_type="normal", skipme=True)

    load.run(disturb)
    assert all(pins.counters.distrusted == 0 for pins in load.instances)


def _version(pins: PinsRedis, subject: str) -> int:
    found, known = pins.peek(subject)
    if not known:
        found = run(pins.get, subject)
    return 0 if found is None else found.version
