"""Policy files replaced under a runtime that serves, well and badly: whole or not at all, and said either way."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from residency import ResidencyMiddleware, current
from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import PolicyFiles, load
from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import Residency, build
from residency.enforcement.current import Current
from residency.enforcement.request import Refusal, Request
from residency.errors import JournalFailed, Refused, UnknownStore
from residency.observe import names
from residency.policy.archive import facts_digest, parse_archive, policy_path
from residency.policy.bundle import format_bundle
from residency.policy.signatures import PolicySigner, ed25519_signer, format_policy_key
from residency.storage.handle import backend_of
from tests.world import HANOI, handling, write_deployment

DEPLOYMENT = """
registers: [register.yaml]
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  vn2: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [vn, vn2]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
exempt: [GET /healthz]
activities:
  - {route: "PUT /people", subject: none, data: [personal], store: people}
  - {route: "GET /plain", subject: none, data: [content]}
  - {route: "WS /chat", subject: none, data: [personal], operation: write, store: people}
"""
REGISTER = "residency: 1\nkind: register\nname: test\n"
STOPPED = REGISTER + 'stop_orders: [{number: "7", sink: vn, since: 2026-01-01}]\n'


class Running:
    """A runtime that is open and whose watch looks when the test says."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.file = write_deployment(folder, DEPLOYMENT)
        self.law = folder / "laws" / "vn" / "test.yaml"
        self.register = folder / "register.yaml"
        self.register.write_text(REGISTER)
        self.runtime: Residency = build(self.file, env={}, **options)
        self.open()

    def open(self) -> None:
        self.runtime.open()
        assert self.runtime.watch is not None
        self.runtime.watch.stop()

    def look(self, times: int = 3) -> None:
        assert self.runtime.watch is not None
        for _ in range(times):
            self.runtime.watch.look()

    def edit(self, old: str, new: str, path: Path | None = None) -> None:
        path = path or self.file
        text = path.read_text()
        assert old in text
        rename(path, text.replace(old, new).encode())

    def admit(self, method: str = "GET", path: str = "/plain") -> Any:
        return self.runtime.point.admit(Request(method, path, path.encode(), (), (HANOI, 5)))

    def request(self, method: str = "GET", path: str = "/plain") -> Current:
        here = self.admit(method, path)
        assert isinstance(here, Current)
        return here

    @property
    def outcomes(self) -> dict[str, int]:
        assert self.runtime.watch is not None
        return {name: count for name, count in self.runtime.watch.outcomes.items() if count}

    @property
    def entries(self) -> list[Entry]:
        found = []
        for segment in sorted((self.folder / "audit" / "journal").glob("*/*.seg")):
            records = scan(segment.read_bytes(), RECORDS_AT, None).records
            found += [parse_entry(bytes(record.payload)) for record in records]
        assert found[0].note == "begins"  # the instance, before any policy's own entry
        return found[1:]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    asyncio.run(made.runtime.aclose())


def rename(path: Path, content: bytes) -> None:
    path.with_name(f"{path.name}.new").write_bytes(content)
    path.with_name(f"{path.name}.new").rename(path)


def in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


# -- what is taken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("put", [rename, in_place])
def test_each_request_has_one_policy_from_start_to_end_and_the_next_has_the_new_one(
    running: Running, put: Callable[[Path, bytes], None]
) -> None:
    before = running.runtime.policy.digest
    began = running.request("PUT", "/people")
    put(running.law, running.law.read_bytes().replace(b"duty: {only: [VN]}", b"duty: {effect: deny}"))
    running.look()
    after = running.runtime.policy.digest
    assert (running.outcomes, after != before) == ({"taken": 1}, True)
    # Who began before ends under what they began with: acts, records and all.
    with handling(began):
        act = began.store("people").begin()
        assert act.sink == "vn"
        act.outcome("failed")
    assert began.decision.policy == before
    refusal = running.admit("PUT", "/people")
    assert isinstance(refusal, Refusal)
    assert [(entry.kind, entry.policy) for entry in running.entries] == [
        ("system", before), ("system", after), ("intent", before), ("outcome", before), ("refusal", after),
    ]  # fmt: skip


def test_entries_that_no_decision_is_behind_name_the_policy_that_their_request_began_under(running: Running) -> None:
    before, old = running.runtime.policy.digest, running.runtime.point
    running.edit("exempt: [GET /healthz]", "exempt: [GET /healthz, GET /docs]")
    running.look()
    after = running.runtime.policy.digest
    assert running.admit("GET", "/docs") is None
    assert old.admit(Request("GET", "/healthz", b"/healthz", (), (HANOI, 5))) is None
    assert isinstance(running.admit("GET", "/plain/../x"), Refusal)
    told = [(entry.activity, entry.policy) for entry in running.entries if entry.kind != "system"]
    assert told == [("GET /docs", after), ("GET /healthz", before), (None, after)]


def test_every_policy_that_was_in_force_is_archived_with_the_facts_it_began_on(running: Running) -> None:
    running.register.write_text(STOPPED)
    running.look()
    running.edit("mode: enforce", "mode: observe")
    running.look()
    assert running.outcomes == {"taken": 2}
    files = LogFiles(running.folder / "audit")
    systems = [entry for entry in running.entries if entry.kind == "system"]
    assert [entry.note for entry in systems] == ["start", "reload", "register: came stop_orders 7", "reload"]
    systems = [entry for entry in systems if entry.facts is not None]
    for entry in systems:
        archive = files.read(policy_path(str(entry.policy)))
        assert archive is not None
        policy = parse_archive(archive, str(entry.policy), {})
        assert facts_digest(policy.facts) == entry.facts
    assert len({entry.policy for entry in systems}) == 3
    assert [entry.epoch for entry in systems] == [0, 1, 1]


def test_a_stop_order_reaches_acts_of_requests_that_are_under_way(running: Running) -> None:
    began = running.request("PUT", "/people")
    with handling(began):
        act = began.store("people").begin()
        assert act.sink == "vn"
        running.register.write_text(STOPPED)
        running.look()
        assert running.runtime.facts.epoch() == 1
        with pytest.raises(Refused) as caught:
            asyncio.run(act.confirm())
        assert caught.value.reason == "stop_order"
        assert began.store("people").sink_name == "vn2"
    (told,) = [entry for entry in running.entries if entry.note == "register: came stop_orders 7"]
    entries = [entry for entry in running.entries if entry != told]
    # What the new epoch stands for is told before anything is decided on it.
    assert [(e.kind, e.epoch) for e in entries] == [
        ("system", 0), ("intent", 0), ("system", 1), ("refusal", 1), ("outcome", 1),
    ]  # fmt: skip
    assert entries[3].policy == entries[0].policy  # the policy stays; only the facts moved


def test_what_came_while_requests_were_served_outlives_a_reload(running: Running) -> None:
    facts = running.runtime.facts
    facts.replace(replace(facts.current(), escalated=frozenset({"vn.core"})))
    running.register.write_text(STOPPED)
    running.look()
    assert (facts.epoch(), facts.current().escalated) == (2, frozenset({"vn.core"}))
    running.edit("mode: enforce", "mode: observe")
    running.look()
    assert (facts.epoch(), [order.sink for order in facts.current().stop_orders]) == (2, ["vn"])


@pytest.mark.anyio
async def test_a_websocket_that_outlives_a_reload_keeps_its_policy_and_sees_the_facts_of_now(running: Running) -> None:
    said: list[str] = []

    async def chat(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            try:
                await current().store("people").put("x", b"x")
                said.append(current().store("people").sink_name)
            except Refused as refused:
                said.append(refused.reason)
        await send({"type": "websocket.close"})

    app = ResidencyMiddleware(chat, policy=running.runtime)
    await running.runtime.start()
    assert running.runtime.watch is not None
    running.runtime.watch.stop()

    async def talk(*steps: Callable[[], None]) -> None:
        yet = iter(steps)

        async def receive() -> Message:
            step = next(yet, None)
            if step is None:
                return {"type": "websocket.disconnect", "code": 1000}
            step()
            return {"type": "websocket.receive", "text": "x"}

        async def send(message: Message) -> None:
            sent.append(message["type"])

        sent: list[str] = []
        scope = {
            "type": "websocket", "path": "/chat", "raw_path": b"/chat", "query_string": b"", "root_path": "",
            "headers": [], "client": (HANOI, 5), "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        await app(scope, receive, send)
        assert sent[0] == "websocket.accept"

    def narrow() -> None:
        running.edit("people: [vn, vn2]", "people: [vn2]")
        running.look()

    def order() -> None:
        running.register.write_text(STOPPED)
        running.look()

    nothing = lambda: None  # noqa: E731
    # The first message is the connect. The policy is narrowed to vn2, then an order stops vn.
    await talk(nothing, nothing, narrow, order)
    assert said == ["vn", "vn", "vn2"]
    said.clear()
    await talk(nothing, nothing)
    assert said == ["vn2"]


def test_a_store_that_is_narrowed_is_so_for_new_requests_only(running: Running) -> None:
    began = running.request("PUT", "/people")
    running.edit("people: [vn, vn2]", "people: [vn2]")
    running.look()
    now = running.request("PUT", "/people")
    with handling(now):
        assert now.store("people").sink_name == "vn2"
        with pytest.raises(UnknownStore):
            backend_of(now.store("people"), "vn")
    with handling(began):
        assert began.store("people").sink_name == "vn"


def test_a_law_added_to_a_folder_that_a_glob_reads_is_taken(running: Running) -> None:
    running.edit("laws: [vn/test]", 'laws: ["vn/test*"]')
    running.look()
    more = running.law.read_text().replace("test.home", "test.more").replace("Test law", "Another")
    running.law.with_name("test-more.yaml").write_text(more)
    running.look(4)  # one reading more: the first one finds a file that nobody has seen hold still
    assert sorted(law.name for law in running.runtime.policy.laws) == ["vn/test", "vn/test-more"]


def test_a_folder_swapped_by_a_link_as_kubernetes_does_is_taken_and_moves_nothing_that_is_open(tmp_path: Path) -> None:
    link, where = tmp_path / "..data", f"{{folder: {tmp_path / 'audit'}}}"
    for version, mode in (("one", "enforce"), ("two", "observe")):
        (tmp_path / version).mkdir()
        file = write_deployment(tmp_path / version, DEPLOYMENT, replace=[("mode: enforce", f"mode: {mode}")])
        file.write_text(file.read_text().replace("{folder: ./audit}", where))
        (tmp_path / version / "register.yaml").write_text(REGISTER)
    link.symlink_to("one")
    for name in ("test.yaml", "register.yaml", "laws"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    runtime = build(tmp_path / "test.yaml", env={})
    runtime.open()
    watch = runtime.watch
    assert watch is not None
    watch.stop()
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(link)
    for _ in range(3):
        watch.look()
    assert runtime.policy.deployment.mode == "observe"
    assert runtime.path("./keys") == tmp_path / "one" / "keys"  # where the open files are
    asyncio.run(runtime.aclose())


def test_metrics_say_what_is_in_force(running: Running) -> None:
    def shown(name: str) -> Any:
        return next(family.series for family in running.runtime.metrics.families() if family.spec.name == name)

    running.edit("mode: enforce", "mode: observe")
    running.look()
    assert shown(names.INFO) == (((running.runtime.policy.digest, "test", "0"), 1.0),)
    assert shown(names.POLICY_BEHIND) == (((), 0.0),)
    running.edit("mode: observe", "mode: obsevre")
    running.look()
    assert dict(shown(names.POLICY_EVENTS)) == {
        ("taken",): 1, ("invalid",): 1, ("same",): 0, ("untrusted",): 0, ("older",): 0, ("restart_needed",): 0,
        ("not_recorded",): 0,
    }  # fmt: skip
    assert shown(names.POLICY_BEHIND) == (((), 1.0),)


def test_a_change_between_two_lives_is_seen_in_the_second(running: Running) -> None:
    asyncio.run(running.runtime.aclose())
    running.edit("mode: enforce", "mode: observe")
    running.look()
    assert running.outcomes == {"not_recorded": 1}  # nothing is open that could record it
    running.open()
    running.look()
    assert running.runtime.policy.deployment.mode == "observe"


def test_the_watch_of_a_runtime_that_is_open_takes_a_change_by_itself(running: Running) -> None:
    watch = running.runtime.watch
    assert watch is not None
    watch._check_every = 0.01
    watch.start()
    running.edit("mode: enforce", "mode: observe")
    for _ in range(2000):
        if watch.outcomes["taken"]:
            break
        watch._stop.wait(0.01)
    assert running.runtime.policy.deployment.mode == "observe"


# -- what is not ---------------------------------------------------------------------------------------------------


def test_a_file_that_does_not_hold_leaves_the_old_one_and_is_told_with_its_line(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    before = running.runtime.point
    good = running.file.read_text()
    running.edit("mode: enforce", "mode: enfroce")
    running.look()
    assert running.runtime.point is before
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert f"{running.file}:5:7: mode: expected" in told
    assert "a change was not taken (invalid), and what was in force stays" in told
    rename(running.file, good.encode())
    running.look()
    assert (running.runtime.point, running.outcomes) == (before, {"invalid": 1, "same": 1})


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"memory:"}\n  vn2', '"file://x"}\n  vn2', "sinks"),
        ("{folder: ./audit}", "{folder: ./audit, origin: other}", "audit"),
        ("{folder: ./keys}", "{folder: ./other}", "keys"),
        ("registers:", "signals: {client_address: {strategy: server}}\nregisters:", "signals"),
        ("registers:", "metrics: /metrics\nregisters:", "metrics"),
    ],
)  # fmt: skip
def test_what_needs_a_restart_is_refused_whole_with_all_that_comes_with_it(
    running: Running, caplog: pytest.LogCaptureFixture, old: str, new: str, key: str
) -> None:
    before = running.runtime.point
    running.edit(old, new)
    running.edit("mode: enforce", "mode: observe")
    running.register.write_text(STOPPED)
    running.look()
    assert running.outcomes == {"restart_needed": 1}
    assert running.runtime.point is before
    assert running.runtime.facts.epoch() == 0
    assert running.runtime.policy.deployment.mode == "enforce"
    assert f"{key}: cannot change while requests are served" in caplog.text
    assert "restart to apply" in caplog.text


@pytest.mark.parametrize("fails", ["archive", "journal"])
def test_what_cannot_be_archived_or_recorded_is_not_in_force_until_it_can(
    running: Running, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    before, point = running.runtime.policy, running.runtime.point
    running.edit("mode: enforce", "mode: observe")
    running.register.write_text(STOPPED)
    folder = running.folder / "audit" / "policies"
    with monkeypatch.context() as broken:
        if fails == "archive":
            folder.rename(folder.with_name("away"))
            folder.write_text("a file where a folder must be")
        else:

            def full(payload: bytes) -> int:
                raise JournalFailed("the disk is away")

            broken.setattr(point.recorder._journal, "append", full)
        running.look(5)
        assert running.outcomes == {"not_recorded": 1}
        assert (running.runtime.policy, running.runtime.point) == (before, point)
        assert running.runtime.facts.epoch() == 0
    if fails == "archive":
        folder.unlink()
        folder.with_name("away").rename(folder)
    running.look(1)
    assert running.outcomes == {"not_recorded": 1, "taken": 1}
    assert running.runtime.policy.deployment.mode == "observe"


# -- bundles -------------------------------------------------------------------------------------------------------

OPS, THIEF = ed25519_signer("ops", b"\1" * 32), ed25519_signer("ops", b"\2" * 32)


class Bundled(Running):
    """The same from a signed bundle of version 5."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = write_deployment(folder, DEPLOYMENT)
        self.file = folder / "test.bundle"
        self.register = folder / "register.yaml"
        self.register.write_text(REGISTER)
        keys = folder / "keys.vkey"
        keys.write_text(format_policy_key(OPS.key))
        rename(self.file, self.packed(5))
        self.runtime = build(self.file, env={}, keys=keys)
        self.open()

    def packed(self, version: int, signer: PolicySigner = OPS, mode: str = "enforce") -> bytes:
        text = self.source.read_text()
        self.source.write_text(text.replace("mode: enforce", f"mode: {mode}"))
        policy = PolicyFiles(self.source, {}, unsigned=True).read().policy
        self.source.write_text(text)
        return format_bundle("test", policy.sources, version=version, signers=[signer])


@pytest.fixture
def bundled(tmp_path: Path) -> Iterator[Bundled]:
    made = Bundled(tmp_path)
    yield made
    asyncio.run(made.runtime.aclose())


def test_a_newer_signed_bundle_is_taken_and_told_by_version(bundled: Bundled, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "residency")
    bundled.admit()
    rename(bundled.file, bundled.packed(6, mode="observe"))
    bundled.look()
    assert bundled.request().decision.policy_version == 6
    bundled.admit("GET", "/healthz")
    bundled.admit("GET", "/../plain")
    told = [(entry.kind, entry.policy_version) for entry in bundled.entries]
    assert told[:2] == [("system", 5), ("decision", 5)]
    assert len(told) > 5
    assert {version for _, version in told[2:]} == {6}
    assert bundled.runtime.policy.deployment.mode == "observe"
    notes = [entry.note for entry in bundled.entries if entry.kind == "system"]
    assert notes == ["start: version 5", "reload: version 6"]
    assert "version 6, signed by ops (Ed25519) is in force" in caplog.text
    info = next(f.series for f in bundled.runtime.metrics.families() if f.spec.name == names.INFO)
    assert info == (((bundled.runtime.policy.digest, "test", "6"), 1.0),)


def test_an_older_bundle_however_well_signed_is_not_taken_again(
    bundled: Bundled, caplog: pytest.LogCaptureFixture
) -> None:
    rename(bundled.file, bundled.packed(4, mode="observe"))
    bundled.look()
    assert bundled.outcomes == {"older": 1}
    assert bundled.runtime.policy.deployment.mode == "enforce"
    assert "version 4 lies there and version 5 is in force" in caplog.text


@pytest.mark.parametrize("how", ["another key of that name", "cut", "one bit", "a loose file", "nothing signed"])
def test_what_is_damaged_or_not_signed_is_not_taken(
    bundled: Bundled, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    good = bundled.packed(6, mode="observe")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    policy = PolicyFiles(bundled.source, {}, unsigned=True).read().policy
    bad = {
        "another key of that name": bundled.packed(6, THIEF, "observe"),
        "cut": good[: len(good) // 2],
        "one bit": bytes(flipped),
        "a loose file": bundled.source.read_bytes(),
        "nothing signed": format_bundle("test", policy.sources, version=6),
    }
    rename(bundled.file, bad[how])
    bundled.look()
    assert bundled.outcomes == {"untrusted": 1}
    assert bundled.runtime.policy.deployment.mode == "enforce"
    assert f"{bundled.file}:1:1: " in caplog.text
    assert OPS.key.public.hex() not in caplog.text
    rename(bundled.file, good)
    bundled.look()
    assert bundled.runtime.policy.deployment.mode == "observe"


def test_keys_are_rotated_without_a_restart(bundled: Bundled) -> None:
    new = ed25519_signer("next", b"\3" * 32)
    (bundled.folder / "keys.vkey").write_text(f"{format_policy_key(OPS.key)}\n{format_policy_key(new.key)}\n")
    bundled.look()
    rename(bundled.file, bundled.packed(6, new, "observe"))
    bundled.look()
    (bundled.folder / "keys.vkey").write_text(format_policy_key(new.key))
    bundled.look()
    assert bundled.outcomes == {"same": 2, "taken": 1}
    rename(bundled.file, bundled.packed(7, OPS))
    bundled.look()
    assert bundled.outcomes == {"same": 2, "taken": 1, "untrusted": 1}


# -- any of it, in any order ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_to_the_files_what_is_in_force_was_written_whole_by_somebody(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    running = Bundled(tmp_path) if seed % 2 else Running(tmp_path)
    file = running.file
    base = file.read_bytes()
    if isinstance(running, Bundled):
        versions = [running.packed(6 + n, mode=("observe", "enforce")[n % 2]) for n in range(4)]
    else:
        versions = [base.replace(b"GET /plain", b"GET /plain%d" % n) for n in range(4)]
    digests = {running.runtime.policy.digest}
    other = tmp_path / "other"
    other.mkdir()
    for content in versions:
        if isinstance(running, Bundled):
            (other / "x.bundle").write_bytes(content)
            digests.add(PolicyFiles(other / "x.bundle", {}, unsigned=True).read().policy.digest)
        else:
            file.write_bytes(content)
            digests.add(load(file, {}).digest)
    file.write_bytes(base)
    try:
        for _ in range(60):
            content = chance.choice(versions)
            match chance.randrange(6):
                case 0:
                    rename(file, content)
                case 1:
                    in_place(file, content)
                case 2:  # a torn write that goes on later: no two looks see it hold still
                    file.write_bytes(content[: chance.randrange(len(content))])
                    running.look(1)
                    file.write_bytes(content)
                case 3:
                    file.write_bytes(chance.randbytes(len(content)))
                case 4:
                    file.unlink(missing_ok=True)
                case _:
                    running.register.write_text(running.register.read_text())
            running.look(chance.randrange(4))
            assert running.runtime.policy.digest in digests
            assert running.runtime.point.policy is running.runtime.policy
            here = running.admit("PUT", "/people")
            assert isinstance(here, Current)
            assert here.decision.policy == running.runtime.policy.digest
        rename(file, versions[-1])
        running.look(4)
        assert not running.runtime.watch.is_behind  # type: ignore[union-attr]
    finally:
        asyncio.run(running.runtime.aclose())
