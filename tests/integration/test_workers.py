"""Servers with several workers: killed, preloaded, reloaded under load, they write one log without gap or double."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from residency.audit.checkpoint import parse_verifier_key
from residency.audit.entry import Entry, parse_entry, parse_entry_id
from residency.audit.pairs import Pairs
from residency.audit.verify import read_checkpoint, verify_entries
from tests.ports import free_port
from tests.servers import eventually

POLICY = """
residency: 1
kind: deployment
name: workers
mode: enforce
operator: {established_in: [VN]}
laws: [vn/*]
regions: {vn-han: {country: VN}}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
audit: {folder: ./audit, publish_every: 200 ms, detail: {VN: ./detail}}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
activities:
  - {route: "POST /put/{who}", subject: path.who, data: [personal], operation: write, store: uploads}
"""
APP = """
import os
from residency import ResidencyMiddleware, current

async def put(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    await current().store("uploads").put(f"{os.getpid()}.txt", b"x")
    body = b"%d" % os.getpid()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})

app = ResidencyMiddleware(put, policy="deployment.yaml")
"""
WORKERS = 3
GUNICORN = ["-m", "gunicorn", "served:app", "-k", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "20"]
# A worker that has not said a word for that long is killed by its supervisor: 5 s pass on a machine that is busy.
UVICORN = ["-m", "uvicorn", "served:app", "--lifespan", "on", "--timeout-worker-healthcheck", "60"]


class Serving:
    """A server in `folder`, and clients that count what it acknowledged."""

    def __init__(self, folder: Path, argv: list[str]) -> None:
        self.folder = folder
        self.sent = 0
        self.acknowledged: Counter[int] = Counter()
        """By process number, the requests that it answered with 200."""
        self.refused: list[int] = []
        """Of all other answers, their status."""
        self._lock = threading.Lock()
        (folder / "served.py").write_text(APP)
        (folder / "deployment.yaml").write_text(POLICY)
        self.port = free_port()
        bind = ["--bind", f"127.0.0.1:{self.port}"] if "gunicorn" in argv else ["--port", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *argv, *bind, "--workers", str(WORKERS)],
                cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def post(self) -> int | None:
        """The number of the process that answered one request on a connection of its own; None where none did."""
        with self._lock:
            self.sent += 1
            who = self.sent % 7
        # One that breaks off in the middle is none: its worker was killed.
        with (
            suppress(OSError, HTTPException),
            closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection,
        ):
            connection.request("POST", f"/put/person-{who}", headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:
                return self._acknowledge(int(body))
            self.refused.append(answer.status)
        return None

    def _acknowledge(self, number: int) -> int:
        with self._lock:
            self.acknowledged[number] += 1
        return number

    @contextmanager
    def load(self) -> Iterator[None]:
        """Requests from four threads, one after the other in each, for as long as this lasts."""
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                self.post()

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def until(self, workers: int) -> set[int]:
        """Send requests until that many processes have answered one since; their numbers."""
        seen: set[int] = set()
        end = time.monotonic() + 60
        # Several at once: of connections that come one by one, the worker that slept last takes each.
        with ThreadPoolExecutor(3 * workers) as clients:
            while len(seen) < workers:
                assert time.monotonic() < end, f"only {seen} answer:\n{self.log.read_text()}"
                answers = [clients.submit(self.post) for _ in range(3 * workers)]
                seen |= {number for answer in answers if (number := answer.result()) is not None}
        return seen

    def sequencing(self) -> int | None:
        """The process that holds the sequencer's lock, by the kernel's word."""
        inode = (self.folder / "audit" / "journal" / "sequencer.lock").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, _, _, pid, where, *_ = line.split()
            if kind == "FLOCK" and int(where.rpartition(":")[2]) == inode:
                return int(pid)
        return None

    def stop(self) -> None:
        """Tell it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def entries(self) -> list[Entry]:
        """Every entry of the log, verified, each slot's numbers without a gap, each outcome with its intent."""

        def read(path: str) -> bytes | None:
            file = self.folder / "audit" / "log" / path
            return file.read_bytes() if file.is_file() else None

        key = read("log.vkey")
        assert key is not None
        checkpoint = read_checkpoint(read, parse_verifier_key(key.decode()))
        found = [parse_entry(data) for data in verify_entries(read, checkpoint)]
        pairs = Pairs()
        for index, entry in enumerate(found):
            pairs.add(index, entry)
        pairs.finish()
        return found

    def whole(self, killed: int) -> list[Entry]:
        """The entries, once it is sure that nothing acknowledged is missing and nothing is claimed twice."""
        found = self.entries()
        intents = [entry.id for entry in found if entry.kind == "intent" and entry.operation == "write"]
        committed = [entry.of for entry in found if entry.kind == "outcome" and entry.act == "committed"]
        assert len(set(intents)) == len(intents)
        assert len(set(committed)) == len(committed)
        acknowledged = sum(self.acknowledged.values())
        assert acknowledged <= len(set(intents) & set(committed)) <= self.sent
        # A worker that is killed leaves open what it was at, and no more: four clients wait for one answer each.
        assert len(set(intents) - set(committed)) <= 4 * killed
        return found


@pytest.fixture(params=["uvicorn", "gunicorn", "gunicorn --preload"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serving]:
    argv = UVICORN if request.param == "uvicorn" else [*GUNICORN, *request.param.split()[1:]]
    server = Serving(tmp_path, argv)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def test_each_worker_has_a_slot_and_when_the_sequencing_one_is_killed_another_goes_on_and_a_new_one_takes_its_slot(
    serving: Serving,
) -> None:
    serving.until(WORKERS)
    with serving.load():
        eventually(serving.sequencing, within=30, what="a sequencer")
        first = serving.sequencing()
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: serving.sequencing() not in (None, first), within=30, what="another sequencer")
    assert first not in serving.until(WORKERS)
    serving.stop()
    found = serving.whole(killed=1)
    assert {parse_entry_id(entry.id)[0] for entry in found} == set(range(WORKERS))


@pytest.mark.timeout(300)
def test_a_graceful_reload_and_end_under_load_lose_and_double_nothing(serving: Serving) -> None:
    before = serving.until(WORKERS)
    with serving.load():
        serving.process.send_signal(signal.SIGHUP)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), within=150, what="the reload")
    after = serving.until(WORKERS)
    assert not before & after
    serving.stop()
    assert serving.process.returncode == 0, serving.log.read_text()
    found = serving.whole(killed=0)
    # Old and new workers serve side by side for a while, and no two of them have one slot.
    assert len({parse_entry_id(entry.id)[0] for entry in found}) in range(WORKERS, 2 * WORKERS + 1)
    assert sum(serving.acknowledged.values()) > 0
    # All had ended in good order: what was begun is finished, and published.
    assert sum(entry.kind == "intent" for entry in found) == sum(entry.kind == "outcome" for entry in found)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("RESIDENCY_POLICY_LAST_GOOD", str(tmp_path / "state" / "last"))
    server = Serving(tmp_path, GUNICORN)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.mark.timeout(300)
def test_workers_that_start_beside_a_bad_file_go_on_with_what_was_in_force_and_no_request_is_refused(
    kept: Serving,
) -> None:
    before = kept.until(WORKERS)
    unanswered = kept.sent - sum(kept.acknowledged.values())  # while it started
    (kept.folder / "deployment.yaml").write_text(POLICY.replace("mode: enforce", "mode: enfroce"))
    with kept.load():
        kept.process.send_signal(signal.SIGHUP)
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before), within=150, what="the restart")
        after = kept.until(WORKERS)
    assert not before & after
    assert kept.refused == [], kept.log.read_text()
    # A worker that ends closes connections of which it has read no request, in any restart: one of each client at most.
    assert kept.sent - sum(kept.acknowledged.values()) - unanswered <= 4 * WORKERS, kept.log.read_text()
    kept.stop()
    log = kept.log.read_text()
    assert log.count("starts on what was in force") == WORKERS
    found = kept.whole(killed=0)
    begun = [entry for entry in found if entry.kind == "intent" and entry.operation == "write"]
    assert len(begun) == sum(kept.acknowledged.values()), "what was not answered was not begun either"
    notes = [entry.note for entry in found if entry.note is not None and entry.note.startswith("start")]
    assert sorted(notes) == ["start"] * WORKERS + ["start: on the last that held"] * WORKERS
