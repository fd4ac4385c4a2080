"""Terms and counts of several processes: raced for, killed in the middle, the store away, emptied, failed over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.authentication import SimpleUser

from residency import Residency, load, wiring
from residency.audit.journal import RECORDS_AT, scan
from residency.enforcement.current import Current
from residency.enforcement.point import Refusal, Request
from residency.enforcement.ports import Noted
from residency.errors import FactsUnavailable, ResidencyError
from residency.model import Event
from tests.servers import Servers, eventually
from tests.world import HANOI, handling, load_policy, write_deployment

LAW = """
  - id: test.transfer
    article: art. 5
    text: A dossier within 60 days of the first transfer.
    applies: {anchor: territory, data: transaction, sink: {abroad: true}}
    duty: {require: [{any: "filing:dossier", within: 60 days, after: first_transfer}]}
  - id: test.core
    article: art. 7
    text: Core data is not handled.
    applies: {anchor: territory, data: core}
    duty: {effect: deny}
escalations:
  - {id: test.many, article: art. 7, data: account, subjects: 3, becomes: core, falls_below: 2}
"""
DEPLOYMENT = """
sinks: {sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://./sg"}}
stores: {people: [sg]}
audit: {folder: ./audit}
keys: {folder: ../keys}
pins: {url: "${PINS_URL}", stale_for: 1 s}
signals: {client_address: {strategy: peer}, identity: {user: verified}}
activities:
  - {route: "POST /pay", subject: none, data: [transaction], operation: write, store: people}
  - {route: "POST /account", subject: user, data: [account], operation: write, store: people}
"""
SQLITE = "sqlite:///./pins.db"
PRELUDE = "import sys; from tests.fault.test_facts_shared import *; folder, url = Path(sys.argv[1]), sys.argv[2]\n"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"


def place(folder: Path) -> Path:
    """The folder of a deployment, written if it is not there."""
    if not (folder / "test.yaml").exists():
        folder.mkdir(exist_ok=True)
        write_deployment(folder, DEPLOYMENT, [LAW])
    return folder


@contextmanager
def serving(folder: Path, url: str = SQLITE) -> Iterator[Residency]:
    """The deployment of a folder, open, and closed as a server closes it."""
    runtime = Residency(load(folder / "test.yaml", {"PINS_URL": url}))
    anyio.run(runtime.start)
    try:
        yield runtime
    finally:
        anyio.run(runtime.aclose)


def act(runtime: Residency, path: str = "/pay", who: str = "an") -> str:
    """One act of one request; the reason of its refusal, or "done"."""

    async def handle() -> str:
        point = runtime.point
        here = point.admit(Request("POST", path, path.encode(), (), (HANOI, 5), SimpleUser(who)))
        if isinstance(here, Current) and not here.decided:
            here = await point.settle(here)
        if isinstance(here, Refusal):
            return here.reason.value
        assert isinstance(here, Current)
        with handling(here):
            try:
                await here.store("people").put("k", b"v")
            except ResidencyError as error:
                return f"{type(error).__name__}: {error}"
            finally:
                point.close(here)
        return "done"

    return anyio.run(handle)


def entries(folder: Path) -> list[dict[str, Any]]:
    """Every entry of the folder's journals."""
    return [
        json.loads(bytes(record.payload))
        for segment in sorted(folder.rglob("*.seg"))
        for record in scan(segment.read_bytes(), RECORDS_AT, None).records
    ]


def process(script: str, folder: Path, url: str = SQLITE) -> subprocess.Popen[str]:
    """Another process that runs `script` with `folder` and `url`."""
    argv = [sys.executable, "-c", PRELUDE + script, str(folder), url]
    return subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


def ended(running: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit code, what was printed)."""
    out, _ = running.communicate(timeout=60)
    return running.returncode, out


RACE = """
with serving(folder, url) as runtime:
    print("ready", flush=True)
    import time
    while not (folder / "go").exists():
        time.sleep(0.001)
    how = act(runtime)
    assert how == "done", how
    print(how, runtime.facts.current().events[0].at, runtime.point.keeper.events["begun"], flush=True)
"""


def test_of_processes_that_race_for_the_first_event_one_begins_it_and_all_go_by_it(tmp_path: Path) -> None:
    folder = place(tmp_path / "one")
    racers = [process(RACE, folder) for _ in range(3)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    (folder / "go").touch()
    told = [ended(racer) for racer in racers]
    assert [code for code, _ in told] == [0, 0, 0]
    words = [out.split() for _, out in told]
    assert {word for word, _, _ in words} == {"done"}
    assert len({at for _, at, _ in words}) == 1
    assert sorted(begun for _, _, begun in words) == ["0", "0", "1"]


@pytest.mark.parametrize("when", ["noted", "put"])
def test_a_process_killed_between_note_and_effect_leaves_a_term_that_runs(tmp_path: Path, when: str) -> None:
    folder = place(tmp_path / "one")
    target = "runtime.point.keeper._noted, 'note'" if when == "noted" else "runtime.stores.sinks_of('people')[0], 'put'"
    script = f"""
with serving(folder, url) as runtime:
    owner, name = {target}
    kept = getattr(type(owner), name)
    def die(self, *args, **options):
        {"kept(self, *args, **options)" if when == "noted" else "pass"}
        {KILL}
    setattr(type(owner), name, die)
    act(runtime)
"""
    code, _ = ended(process(script, folder))
    assert code == -signal.SIGKILL
    with serving(folder) as runtime:
        (event,) = runtime.facts.current().events
        assert event.kind == "first_transfer"
        assert act(runtime) == "done"
        assert runtime.facts.current().events == (event,), "it was the first, though its data never came to be"


def test_who_was_not_handed_over_when_the_process_was_killed_is_counted_at_the_next_write(tmp_path: Path) -> None:
    folder = place(tmp_path / "one")
    script = f"""
with serving(folder, url) as runtime:
    runtime.point.keeper.beat()
    for who in ("an", "binh"):
        print(act(runtime, "/account", who), flush=True)
    {KILL}
"""
    code, _ = ended(process(script, folder))
    assert code == -signal.SIGKILL
    with serving(folder) as runtime:
        for who in ("an", "binh"):
            assert act(runtime, "/account", who) == "done"
        runtime.point.keeper.beat()
        assert runtime.point.keeper.counts == {"VN:account": 2}
        assert act(runtime, "/account", "chi") == "done"
    with serving(folder) as runtime:
        assert runtime.facts.current().escalated == {"test.many"}, "counted when it was closed, in force at the start"
        assert act(runtime, "/account", "an") == "law_forbids"


@pytest.mark.needs("redis")
def test_while_the_server_is_away_first_events_are_refused_and_known_terms_serve(
    tmp_path: Path, redis_servers: Servers
) -> None:
    proxy = redis_servers.proxy(redis_servers.single())
    with serving(place(tmp_path / "one"), proxy.url) as one, serving(place(tmp_path / "two"), proxy.url) as two:
        assert act(one) == "done"
        eventually(lambda: two.facts.current().events == one.facts.current().events, what="the other to hear of it")
        for keeper in (one.point.keeper, two.point.keeper):
            assert keeper.events["failed"] == 0
        proxy.refusing.set()
        proxy.cut()
        eventually(lambda: one.point.keeper.events["failed"] > 0, what="the beat to fail")
        assert act(one) == act(two) == "done", "a term that is known cannot change"
        one.facts.change(lambda facts: replace(facts, events=()))
        assert act(one).startswith("FactsUnavailable")
        eventually(
            lambda: act(one, "/account") in ("facts_unavailable", "pins_unavailable"), what="the end of stale_for"
        )
        proxy.refusing.clear()
        eventually(lambda: act(one) == "done", what="the server to be back")
        assert len(one.facts.current().events) == 1


@pytest.mark.needs("redis")
def test_a_threshold_is_crossed_by_all_processes_together(tmp_path: Path, redis_servers: Servers) -> None:
    url = redis_servers.single().url
    with serving(place(tmp_path / "one"), url) as one, serving(place(tmp_path / "two"), url) as two:
        for runtime, who in ((one, "an"), (two, "an"), (two, "binh"), (one, "chi")):
            assert act(runtime, "/account", who) == "done"
        for runtime in (one, two):
            eventually(lambda runtime=runtime: runtime.facts.current().escalated == {"test.many"}, what="the crossing")  # type: ignore[misc]
            assert act(runtime, "/account", "an") == "law_forbids"
        assert one.point.keeper.events["escalated"] + two.point.keeper.events["escalated"] == 1
    for folder in (tmp_path / "one", tmp_path / "two"):
        (told,) = [entry["note"] for entry in entries(folder) if "escalated" in (entry["note"] or "")]
        assert told == "test.many escalated, 3 subjects"


def noted(tmp_path: Path, url: str) -> Noted:
    """The store that a deployment with these pins has."""
    folder = place(tmp_path / "noted")
    text = (folder / "test.yaml").read_text().replace("${PINS_URL}", url)
    (folder / "test.yaml").write_text(text)
    return wiring.open_noted(load_policy(folder / "test.yaml").deployment, lambda path: folder / path, timeout=1.5)


def in_time(holds: Callable[[], bool]) -> None:
    """`holds()` is true as soon as the store is there, and a slow replica has answered."""

    def there() -> bool:
        try:
            return holds()
        except FactsUnavailable:
            return False

    eventually(there, within=30, what="the store")


FIRST = Event("first_transfer", "VN", 7)


@pytest.mark.needs("redis")
def test_a_server_that_comes_back_empty_is_not_believed(tmp_path: Path, redis_servers: Servers) -> None:
    server = redis_servers.single()
    store = noted(tmp_path, server.url)
    store.note(FIRST)
    server.kill()
    with pytest.raises(FactsUnavailable, match="cannot be reached"):
        store.events()
    server.start()
    for work in (store.events, lambda: store.note(Event("first_transfer", "VN", 9)), lambda: store.count({}, ["a"])):
        with pytest.raises(FactsUnavailable, match="without what it held"):
            work()
    later = noted(tmp_path, server.url)
    assert later.events() == (), "who begins anew begins with none"
    with pytest.raises(FactsUnavailable, match="without what it held"):
        store.events()
    later.close()
    store.close()


@pytest.mark.needs("redis")
def test_what_no_replica_has_is_not_called_noted(tmp_path: Path, redis_servers: Servers) -> None:
    primary = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", "127.0.0.1", str(primary.port))
    eventually(lambda: primary.client.info("replication").get("connected_slaves") == 1, what="the replica")
    eventually(lambda: primary.client.wait(1, 100) == 1, what="the replica")
    store = noted(tmp_path, primary.url)
    in_time(lambda: store.note(FIRST) == FIRST)
    replica.pause()
    with pytest.raises(FactsUnavailable, match="no replica"):
        store.note(Event("in_use", "VN", 8))
    with pytest.raises(FactsUnavailable, match="no replica"):
        store.count({"a": ["ab"]}, ["a"])
    replica.resume()
    in_time(lambda: store.note(Event("in_use", "VN", 9)) == Event("in_use", "VN", 8))
    in_time(lambda: store.count({"a": ["ab"]}, ["a"]) == {"a": 1})
    store.close()


@pytest.mark.needs("redis")
def test_after_a_failover_what_was_noted_stands(tmp_path: Path, redis_servers: Servers) -> None:
    primary = redis_servers.single()
    replica = redis_servers.single("redis", "--replicaof", "127.0.0.1", str(primary.port))
    eventually(lambda: primary.client.wait(1, 100) == 1, what="the replica")
    sentinels = redis_servers.sentinels(primary)
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
    store = noted(tmp_path, f"redis+sentinel://{hosts}/pins")
    in_time(lambda: store.note(FIRST) == FIRST)
    in_time(lambda: store.count({"a": ["ab"]}, ["a"]) == {"a": 1})
    primary.kill()
    in_time(lambda: store.events() == (FIRST,))
    in_time(lambda: store.note(Event("first_transfer", "VN", 9)) == FIRST)
    in_time(lambda: store.count({"a": ["ab", "cd"]}, ["a"]) == {"a": 2})
    assert replica.client.role()[0] in (b"master", "master")
    store.close()
