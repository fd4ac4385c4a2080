"""Locators and pins, which hold digests of people, and instances that people are handed over to: looked at as sinks
are, and connected to in their country alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from residency import wiring
from residency.adapters import location_probe
from residency.adapters.locator_redis import LocatorRedis
from residency.adapters.pins_redis import PinsRedis
from residency.adapters.resolver_table import TableResolver
from residency.bootstrap import build
from residency.errors import FactsUnavailable, PinsUnavailable, SinkUnavailable, Unavailable
from residency.storage.location import Which
from residency.storage.locator import Located
from residency.wiring.caches import which_redis
from residency.wiring.location import location_watch
from tests.servers import Servers, eventually
from tests.world import HANOI, NETWORK, SINGAPORE, load_policy, write_deployment

pytestmark = pytest.mark.anyio
AT = Located("0" * 64, "1" * 64)
ABROAD = "the locator of VN has an address in another country than it says"
DEPLOYMENT = """
location: {drift: refuse}
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "memory:"}
stores: {people: [vn, sg]}
records: {people: {person: {subject: id, data: [personal]}}}
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """The port of somebody who answers nothing, and what they are sent, once for each connection."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                heard.append(client.recv(65_536))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield server.getsockname()[1], heard
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


async def pins(url: str) -> None:
    await anyio.to_thread.run_sync(lambda: PinsRedis(url, timeout=0.2, elsewhere="127.0.0.1".__eq__))


async def noted(url: str) -> None:
    text = f'mode: enforce\npins: {{url: "{url}", region: vn-han}}\n'
    folder = Path(url.rpartition("/")[2])
    deployment = load_policy(write_deployment(folder, DEPLOYMENT, replace=[("mode: enforce\n", text)])).deployment
    wiring.open_noted(deployment, folder.joinpath, timeout=0.2, elsewhere="127.0.0.1".__eq__).events()


async def locator(url: str) -> None:
    await LocatorRedis(url, deployment="test", place="VN", elsewhere="127.0.0.1".__eq__).owners([AT.key])


@pytest.mark.parametrize(
    ("use", "error", "told"),
    [
        (pins, PinsUnavailable, "the pins' server has an address in another country than `pins.region` says"),
        (noted, FactsUnavailable, "the store of what is noted of the operator cannot be reached"),
        (locator, SinkUnavailable, ABROAD),
    ],
)
async def test_nothing_is_sent_to_an_address_elsewhere_no_password_either(
    use: Callable[[str], Awaitable[None]],
    error: type[Unavailable],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with listening() as (port, heard):
        with pytest.raises(error) as caught:
            await use(f"redis://app:secret@127.0.0.1:{port}/0")
        assert str(caught.value) == told
        await anyio.to_thread.run_sync(lambda: eventually(lambda: heard, what="a connection"))
    assert set(heard) == {b""}


@pytest.mark.needs("redis")
async def test_a_locator_that_moves_abroad_gets_no_new_connection_and_is_used_once_it_is_back(
    redis_servers: Servers,
) -> None:
    server = redis_servers.single()
    abroad: set[str] = set()
    locator = LocatorRedis(server.url, deployment="test", place="VN", elsewhere=abroad.__contains__)
    assert await locator.note([AT]) == 1
    abroad.add("127.0.0.1")
    assert await locator.owners([AT.key]) == (AT.subject,), "it is connected to where it was"
    server.client.client_kill_filter(skipme=True)
    with pytest.raises(SinkUnavailable, match=ABROAD):
        await locator.owners([AT.key])
    abroad.clear()
    assert await locator.owners([AT.key]) == (AT.subject,)
    await locator.aclose()


@pytest.mark.needs("redis")
async def test_each_node_of_a_cluster_is_judged(redis_servers: Servers) -> None:
    nodes = redis_servers.cluster()
    url = nodes[0].url.replace("redis", "redis+cluster", 1)
    asked: list[str] = []

    def judge(address: str) -> bool:
        asked.append(address)
        return False

    at_home = LocatorRedis(url, deployment="test", place="VN", elsewhere=judge)
    assert await at_home.note([AT]) == 1
    assert set(asked) == {"127.0.0.1"}
    await at_home.aclose()
    abroad = LocatorRedis(url, deployment="test", place="VN", elsewhere="127.0.0.1".__eq__)
    with pytest.raises(SinkUnavailable, match=ABROAD):
        await abroad.owners([AT.key])
    with pytest.raises(PinsUnavailable, match=r"another country than `pins\.region` says"):
        await pins(url)


@pytest.mark.needs("redis")
async def test_pins_whose_server_moves_abroad_are_not_asked_there(redis_servers: Servers) -> None:
    server = redis_servers.single()
    abroad: set[str] = set()
    store = await anyio.to_thread.run_sync(
        lambda: PinsRedis(server.url, stale_for=1_000_000, elsewhere=abroad.__contains__)
    )
    try:
        assert await store.get("5" * 64) is None
        abroad.add("127.0.0.1")
        await anyio.to_thread.run_sync(lambda: eventually(lambda: _gone(store, server.client.client_kill_filter)))
        abroad.clear()
        await anyio.to_thread.run_sync(lambda: eventually(lambda: not store.is_stale(), what="pins to be back"))
        assert await store.get("5" * 64) is None
    finally:
        await store.aclose()


@pytest.mark.needs("redis")
async def test_one_server_behind_two_names_keeps_nothing_of_two_countries_and_who_follows_abroad_is_told(
    redis_servers: Servers, tmp_path: Path
) -> None:
    one, twin, other = redis_servers.single(), "localhost", redis_servers.single()
    redis_servers.single("redis", "--replicaof", "127.0.0.1", str(other.port), "--replica-announce-ip", HANOI)
    eventually(lambda: other.client.info("replication")["connected_slaves"], what="the replica")
    told = f"""mode: enforce
locators: {{VN: "{one.url}", SG: "{one.url.replace("127.0.0.1", twin)}"}}
pins: {{url: "{other.url}", region: sg}}
"""
    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=[("mode: enforce\n", told)]))
    watch = location_watch(
        policy.deployment, NETWORK, filings=tuple, now=lambda: 1_800_000_000_000_000, tell=lambda note: None
    )
    await watch.look()
    whys = {name: "; ".join(each.verdict.why) for name, each in watch.watched.items() if each.drift}
    assert whys == {
        "locators/VN": "it is the same as locators/SG, which is said to lie in SG",
        "locators/SG": "it is the same as locators/VN, which is said to lie in VN",
    }
    assert watch.misplaced == set(whys)
    assert watch.watched["pins/url"].verdict.followed == ("a server that follows it has an address in VN",)


async def test_who_is_asked_which_server_it_is_is_asked_at_home_alone() -> None:
    with listening() as (port, heard):
        url = f"redis://app:secret@127.0.0.1:{port}/0"
        assert await anyio.to_thread.run_sync(lambda: which_redis(url, "127.0.0.1".__eq__)) == Which()
        await anyio.to_thread.run_sync(lambda: eventually(lambda: heard, what="a connection"))
    assert set(heard) == {b""}


def _gone(store: PinsRedis, cut: Callable[..., object]) -> bool:
    cut(skipme=True)
    try:
        anyio.run(store.get, "6" * 64)
    except PinsUnavailable:
        return True
    return False


async def test_a_look_sees_them_as_it_does_sinks_and_a_register_attests_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(address: str, port: int) -> None:
        return None

    monkeypatch.setattr(location_probe, "_connect", connect)
    told = """mode: enforce
registers: [register.yaml]
locators: {VN: "rediss://:secret@l.example", SG: "sqlite:///sg.db"}
pins: {url: "rediss://:secret@p.example", region: vn-han}
hand_over: {VN: "https://vn.example/base", DE: {url: "https://de.example", how: proxy}}
"""
    (tmp_path / "register.yaml").write_text(
        "residency: 1\nkind: register\nname: test\nfilings:\n  - {kind: location, number: 1/2026, date: 2026-01-01,"
        ' result: passed, sinks: ["locators/SG", "hand_over/DE", vn, sg], expires: 2099-01-01}\n'
    )
    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT, replace=[("mode: enforce\n", told)]))
    notes: list[str] = []
    watch = location_watch(
        policy.deployment,
        NETWORK,
        filings=lambda: policy.facts.filings,
        now=lambda: 1_800_000_000_000_000,
        tell=notes.append,
        resolver=TableResolver(
            {
                "l.example": [(HANOI,), (SINGAPORE,)],
                "p.example": [(SINGAPORE,), (HANOI,)],
                "vn.example": [(HANOI,), (SINGAPORE,)],
                "de.example": [("10.0.0.1",)],
            }
        ),
    )
    await watch.look()
    assert {name: each.verdict.standing.value for name, each in watch.watched.items()} == {
        "vn": "consistent", "sg": "consistent",
        "locators/VN": "consistent", "locators/SG": "consistent", "pins/url": "contradicted",
        "hand_over/VN": "consistent", "hand_over/DE": "consistent",
    }  # fmt: skip
    await watch.look()
    assert watch.misplaced == {"locators/VN", "hand_over/VN"}
    assert notes == [
        "location pins/url contradicted: it has an address in SG",
        "location locators/VN contradicted: it has an address in SG",
        "location hand_over/VN contradicted: it has an address in SG",
        "location pins/url well: it has an address in VN",
    ]


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_a_locator_that_is_not_shown_to_lie_at_home_is_not_used_where_anything_is_refused(
    mode: str, tmp_path: Path
) -> None:
    told = f'mode: {mode}\nlocators: {{VN: "memory:", SG: "memory:"}}\n'
    runtime = build(write_deployment(tmp_path, DEPLOYMENT, replace=[("mode: enforce\n", told)]))
    await anyio.to_thread.run_sync(runtime.open)
    try:
        locators = runtime.stores.locators
        assert locators is not None
        runtime._location.misplaced.bar(lambda: {"locators/VN"})
        assert await locators.note("people", "SG", [("person", "1", "1" * 64)]) == 1
        if mode == "observe":
            assert await locators.note("people", "VN", [("person", "1", "1" * 64)]) == 1
            return
        with pytest.raises(SinkUnavailable, match="the locator of VN is not used now: it is not shown to lie there"):
            await locators.note("people", "VN", [("person", "1", "1" * 64)])
        with pytest.raises(SinkUnavailable, match="the locator of VN is not used now"):
            await locators.forget_subject("1" * 64)
    finally:
        await runtime.aclose()
