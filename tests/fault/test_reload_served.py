"""Policies replaced under real servers that are asked without pause, and killed: nobody is failed, nothing is mixed."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.policy_files import PolicyFiles
from residency.audit.entry import Entry, parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.errors import PolicyError
from residency.policy.archive import parse_archive, policy_path
from residency.policy.bundle import format_bundle
from residency.policy.signatures import ed25519_signer, format_policy_key
from tests.ports import free_port, wait_for_server
from tests.servers import eventually
from tests.world import write_deployment

ROOT = Path(__file__).resolve().parents[2]
OPS = ed25519_signer("ops", b"\1" * 32)
DEPLOYMENT = """
sinks:
  a: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  b: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {people: [a, b]}
audit: {folder: ./audit, publish_every: 1 s}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "PUT /people", subject: none, data: [personal], store: people}
"""
APP = '''
"""Says under which policy it was when it began and when it ended, and which sinks it was given."""
import asyncio, json, os
from residency import ResidencyMiddleware, build, current

runtime = build(os.environ["POLICY"])
runtime.watch._check_every = 0.05

async def people(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    first = current().decision.policy
    sinks = []
    for _ in range(3):
        store = current().store("people")
        await store.put("x", b"x")
        sinks.append(store.sink_name)
        await asyncio.sleep(0.003)
    body = json.dumps([first, current().decision.policy, sinks]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

app = ResidencyMiddleware(people, policy=runtime)
'''


class Policies:
    """Two versions of one deployment that differ in the sink they use, and how each is put on the disk."""

    def __init__(self, folder: Path, *, signed: bool) -> None:
        self.folder, self.signed = folder, signed
        self.source = write_deployment(folder, DEPLOYMENT)
        self.keys = folder / "keys.vkey"
        self.keys.write_text(format_policy_key(OPS.key))
        self.target = folder / ("served.bundle" if signed else "test.yaml")
        text = self.source.read_text()
        self.texts = {"a": text, "b": text.replace("people: [a, b]", "people: [b, a]")}
        self.digests: dict[str, str] = {}
        self._sources: dict[str, Any] = {}
        for sink, content in self.texts.items():
            self.source.write_text(content)
            policy = PolicyFiles(self.source, {}, unsigned=True).read().policy
            self.digests[policy.digest] = sink
            self._sources[sink] = policy.sources
        self.source.write_text(text)
        self.version = 0
        self.put("a")

    def content(self, sink: str) -> bytes:
        """The next version of the file, which uses `sink`."""
        self.version += 1
        if not self.signed:
            return self.texts[sink].encode()
        return format_bundle("test", self._sources[sink], version=self.version, signers=[OPS])

    def put(self, sink: str) -> None:
        """Replace the file, whole."""
        LogFiles(self.folder).write(self.target.name, self.content(sink))

    def tear(self, sink: str) -> None:
        """Write part of the file over the old one, and leave it so."""
        content = self.content(sink)
        self.target.write_bytes(content[: len(content) // 2])


@contextmanager
def serving(policies: Policies, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """(process, port) of uvicorn, which is ended at the end."""
    (policies.folder / "served.py").write_text(APP)
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "POLICY": str(policies.target)}
    if policies.signed:
        environment["RESIDENCY_POLICY_KEYS"] = str(policies.keys)
    command = [sys.executable, "-m", "uvicorn", "served:app", "--port", str(port), "--log-level", "warning", *options]
    log = policies.folder / "uvicorn.log"
    with log.open("ab") as told:
        process = subprocess.Popen(
            command, cwd=policies.folder, env=environment, stdout=told, stderr=told, start_new_session=True
        )
    try:
        wait_for_server(process, port, log)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


class Asking(threading.Thread):
    """Asks over one connection without pause; what was not as it must be is in `wrong`."""

    def __init__(self, port: int, digests: dict[str, str]) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.seen: list[str] = []
        self._port, self._digests = port, digests
        self._enough = threading.Event()

    def run(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            while not self._enough.is_set():
                try:
                    connection.request("PUT", "/people")
                    with connection.getresponse() as answer:
                        body = answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.wrong.append(repr(error))
                    return
                if answer.status != 200:
                    self.wrong.append(f"{answer.status} {body!r}")
                    return
                first, last, sinks = json.loads(body)
                if first != last or sinks != [self._digests.get(first)] * 3:
                    self.wrong.append(f"mixed: {body!r}")
                self.seen.append(first)

    def enough(self) -> None:
        self._enough.set()
        self.join(60)


def entries(folder: Path) -> list[Entry]:
    found = []
    for segment in sorted((folder / "audit" / "journal").glob("*/*.seg")):
        records = scan(segment.read_bytes(), RECORDS_AT, None).records
        found += [parse_entry(bytes(record.payload)) for record in records]
    return found


def check_entries(policies: Policies) -> set[str]:
    """Every entry is of one policy, which is archived whole, and whose sink it used; the digests seen."""
    files = LogFiles(policies.folder / "audit")
    told = set()
    for entry in entries(policies.folder):
        assert entry.policy is not None
        assert entry.policy in policies.digests
        if entry.kind in ("intent", "outcome"):
            assert entry.sink == policies.digests[entry.policy]
        told.add(entry.policy)
    for digest in told:
        archive = files.read(policy_path(digest))
        assert archive is not None
        assert parse_archive(archive, digest, {}).digest == digest
    return told


@pytest.mark.parametrize(("signed", "workers"), [(True, 2), (False, 1)])
def test_under_load_no_request_fails_and_none_sees_two_policies(tmp_path: Path, signed: bool, workers: int) -> None:
    policies = Policies(tmp_path, signed=signed)
    with serving(policies, "--workers", str(workers)) as (_, port):
        asking = [Asking(port, policies.digests) for _ in range(4)]
        for thread in asking:
            thread.start()
        chance = random.Random(workers)
        for turn in range(12):
            policies.put("ba"[turn % 2])
            time.sleep(chance.uniform(0.15, 0.5))
            if turn % 3 == 2:
                policies.tear("ab"[turn % 2])
                time.sleep(chance.uniform(0.15, 0.5))
        policies.put("b")
        last = next(digest for digest, sink in policies.digests.items() if sink == "b")
        eventually(
            lambda: all(thread.seen[-40:] == [last] * 40 for thread in asking), within=60, what="the last policy"
        )
        for thread in asking:
            thread.enough()
    assert [thread.wrong for thread in asking] == [[]] * 4
    seen = [digest for thread in asking for digest in thread.seen]
    assert set(seen) == set(policies.digests)
    assert check_entries(policies) == set(policies.digests)


def test_a_server_killed_while_policies_change_leaves_entries_that_all_can_be_decided_again(tmp_path: Path) -> None:
    policies = Policies(tmp_path, signed=True)
    chance = random.Random(9)
    for life in range(3):
        with serving(policies) as (process, port):
            asking = Asking(port, policies.digests)
            asking.start()
            until = time.monotonic() + chance.uniform(0.3, 1.2)
            turn = 0
            while time.monotonic() < until or not asking.seen:
                policies.put("ba"[turn % 2])
                time.sleep(chance.uniform(0.0, 0.2))
                turn += 1
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            asking.enough()
        assert [line for line in asking.wrong if "mixed" in line or line[0].isdigit()] == [], life
        check_entries(policies)
    with serving(policies):
        pass
    assert [entry.note for entry in entries(tmp_path) if entry.note is not None and "start" in entry.note][3:]


PACKER = """
import itertools, os, sys
from residency.cli import main
source, out = sys.argv[1:]
for version in itertools.count(1):
    sys.argv = ["residency", "bundle", "pack", source, "--out", out, "--version", str(version), "--json"]
    try:
        main()
    except SystemExit as done:
        assert not done.code
    os.write(2, b".")
"""


def test_a_packer_killed_at_any_moment_leaves_the_old_bundle_or_the_new_one(tmp_path: Path) -> None:
    policies = Policies(tmp_path, signed=False)
    out = tmp_path / "app.bundle"
    chance = random.Random(3)
    packed = 0
    for turn in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", PACKER, str(policies.source), str(out)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as packer:  # fmt: skip
            assert packer.stderr is not None
            for _ in range(1 + turn % 2):
                while packer.stderr.read(1) != b".":
                    assert packer.poll() is None
            time.sleep(chance.uniform(0, 0.3))
            packer.kill()
        loaded = PolicyFiles(out, {}).read()
        assert loaded.policy.digest in policies.digests
        packed = max(packed, loaded.version)
    assert packed > 1


def test_a_file_torn_by_a_writer_that_was_killed_leaves_the_server_as_it_was(tmp_path: Path) -> None:
    policies = Policies(tmp_path, signed=True)
    with serving(policies) as (_, port):
        asking = Asking(port, policies.digests)
        asking.start()
        eventually(lambda: asking.seen, within=60, what="the first answer")
        policies.tear("b")
        told = tmp_path / "uvicorn.log"
        eventually(lambda: "not taken (untrusted)" in told.read_text(), within=60, what="the torn file")
        with pytest.raises(PolicyError, match="torn"):
            PolicyFiles(policies.target, {}).read()
        asking.enough()
        assert {policies.digests[digest] for digest in asking.seen} == {"a"}
        again = Asking(port, policies.digests)
        again.start()
        policies.put("b")
        eventually(lambda: policies.digests[again.seen[-1]] == "b" if again.seen else False, within=60, what="the next")
        again.enough()
    assert asking.wrong == again.wrong == []
