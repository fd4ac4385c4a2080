"""A journal that has failed or is stuck refuses requests with its reason, a slow one is waited for; a full one:
test_full_disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import Residency, ResidencyMiddleware, build, current
from residency.adapters.journal_files import JournalFiles
from residency.observe import names

POLICY = """
residency: 1
kind: deployment
name: pressed
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
audit: {folder: ./audit, max_loss: 30 s}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
activities:
  - {route: "POST /put/{name}", subject: none, data: [personal], operation: write, store: uploads}
  - {route: "GET /get/{name}", subject: none, data: [personal], operation: read, store: uploads}
  - {route: "GET /plain", subject: none, data: [content]}
"""


async def put(request: Request) -> PlainTextResponse:
    """Stores a value."""
    await current().store("uploads").put(request.path_params["name"], b"x")
    return PlainTextResponse("stored")


async def get(request: Request) -> PlainTextResponse:
    """Reads a value."""
    return PlainTextResponse(await current().store("uploads").get(request.path_params["name"]) or b"")


async def plain(request: Request) -> PlainTextResponse:
    """Does nothing."""
    return PlainTextResponse("plain")


class Disk:
    """What fdatasync answers: the real thing, an error, or nothing until it is let go."""

    def __init__(self) -> None:
        self._sync = os.fdatasync
        self._goes = threading.Event()
        self._goes.set()
        self.error: OSError | None = None

    def __call__(self, fd: int) -> None:
        assert self._goes.wait(60)
        if self.error is not None:
            raise self.error
        self._sync(fd)

    def hang(self) -> None:
        self._goes.clear()

    def go(self) -> None:
        self._goes.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr(os, "fdatasync", made)
    yield made
    made.go()


@pytest.fixture
def mode() -> str:
    """The deployment's."""
    return "enforce"


@pytest.fixture
def runtime(tmp_path: Path, mode: str) -> Residency:
    file = tmp_path / "pressed.yaml"
    file.write_text(POLICY.replace("mode: enforce", f"mode: {mode}"))
    return build(file, env={}, reload=False)


@pytest.fixture
def client(runtime: Residency, disk: Disk) -> Iterator[TestClient]:
    routes = [Route("/put/{name}", put, methods=["POST"]), Route("/get/{name}", get), Route("/plain", plain)]
    with TestClient(ResidencyMiddleware(Starlette(routes=routes), policy=runtime)) as client:
        assert client.post("/put/first").status_code == 200
        yield client
        disk.error = None
        disk.go()


def journal_of(runtime: Residency) -> JournalFiles:
    journal = runtime.point.recorder._journal
    assert isinstance(journal, JournalFiles)
    return journal


def record_now(runtime: Residency) -> None:
    """An entry that the journal's helper is about to make durable."""
    runtime.point.recorder.system("what is to be flushed")
    journal_of(runtime)._wake.set()


def refused(client: TestClient, runtime: Residency, tmp_path: Path) -> None:
    """A write and a plain read are refused as what they are, and nothing was written."""
    before = runtime.metrics.value(names.REFUSALS, "journal_failed")
    for answer in (client.post("/put/second"), client.get("/plain")):
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["reason"] == "journal_failed"
    assert not (tmp_path / "files" / "second").exists()
    assert runtime.metrics.value(names.REFUSALS, "journal_failed") == before + 2


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_journal_that_failed_refuses_until_it_is_opened_anew(
    client: TestClient, runtime: Residency, disk: Disk, tmp_path: Path
) -> None:
    disk.error = OSError(5, "Input/output error")
    assert client.post("/put/second").status_code == 503
    disk.error = None  # the next sync would succeed, and prove nothing
    refused(client, runtime, tmp_path)


def test_a_journal_whose_disk_does_not_answer_refuses(
    client: TestClient, runtime: Residency, disk: Disk, tmp_path: Path
) -> None:
    journal = journal_of(runtime)
    journal._stuck_after = 0.1
    disk.hang()
    record_now(runtime)
    wait_until(lambda: (journal._flushing_since or time.monotonic()) + 0.1 < time.monotonic())
    refused(client, runtime, tmp_path)


def test_while_a_journal_is_too_slow_for_max_loss_requests_wait_and_are_served_as_soon_as_it_is_not(
    client: TestClient, runtime: Residency, disk: Disk
) -> None:
    journal = journal_of(runtime)
    disk.hang()
    record_now(runtime)
    journal._max_loss = 0.05
    wait_until(lambda: journal._flushing_since is not None and journal._is_late())
    before = journal.next_seq
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: client.get("/plain").status_code)
        with pytest.raises(TimeoutError):
            answer.result(timeout=0.3)
        assert journal.next_seq == before  # it has not even been recorded
        disk.go()
        assert answer.result(timeout=30) == 200
    journal._max_loss = 30
    assert client.post("/put/third").status_code == 200


@pytest.mark.parametrize("mode", ["observe"])
def test_a_deployment_that_only_observes_waits_for_no_slow_disk_and_counts_what_may_be_lost(
    client: TestClient, runtime: Residency, disk: Disk
) -> None:
    journal = journal_of(runtime)
    disk.hang()
    record_now(runtime)
    journal._max_loss = 0.05
    wait_until(lambda: journal._flushing_since is not None and journal._is_late())
    before = journal.next_seq
    assert client.get("/plain").status_code == 200
    assert client.get("/get/first").text == "x"
    assert journal.next_seq == before + 3, "an entry, an intent and an outcome: recorded, and not durable yet"
    assert journal._durable <= before
    assert runtime.metrics.value(names.JOURNAL_LATE) == 3
    assert runtime.metrics.value(names.REFUSALS, "journal_failed") == 0
    disk.go()
    journal._max_loss = 30
    assert client.post("/put/third").status_code == 200


def test_who_waits_for_a_slow_disk_that_does_not_answer_is_refused(
    client: TestClient, runtime: Residency, disk: Disk, tmp_path: Path
) -> None:
    journal = journal_of(runtime)
    journal._stuck_after = 0.5
    disk.hang()
    record_now(runtime)
    journal._max_loss = 0.05
    wait_until(lambda: journal._flushing_since is not None and journal._is_late())
    refused(client, runtime, tmp_path)
