"""A disk that really fills up under the journal: refused with a reason, nothing told is lost, served again after."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import Residency, ResidencyMiddleware, build, current
from residency.audit.checkpoint import parse_verifier_key
from residency.audit.entry import parse_entry
from residency.audit.verify import read_checkpoint, verify_entries
from residency.errors import JournalFull

pytestmark = pytest.mark.needs("tmpfs")
POLICY = """
residency: 1
kind: deployment
name: full
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
audit: {folder: "${AUDIT}"}
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
exempt: [GET /healthz]
activities:
  - {route: "POST /put/{name}", subject: none, data: [personal], operation: write, store: uploads}
  - {route: "GET /plain", subject: none, data: [content]}
"""


async def put(request: Request) -> PlainTextResponse:
    """Stores a value."""
    await current().store("uploads").put(request.path_params["name"], b"x")
    return PlainTextResponse("stored")


async def plain(request: Request) -> PlainTextResponse:
    """Does nothing."""
    return PlainTextResponse("plain")


def make(tmp_path: Path, disk: Path) -> Residency:
    """A runtime whose audit folder lies on `disk`."""
    file = tmp_path / "full.yaml"
    file.write_text(POLICY)
    return build(file, env={"AUDIT": str(disk / "audit")})


def serve(runtime: Residency) -> ResidencyMiddleware:
    """The app under the middleware."""
    routes = [Route("/put/{name}", put, methods=["POST"]), Route("/plain", plain), Route("/healthz", plain)]
    return ResidencyMiddleware(Starlette(routes=routes), policy=runtime)


def fill(disk: Path) -> Path:
    """Take all the room that is left, and the file to remove to give it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            with suppress(OSError):  # ENOSPC is what we are after
                while True:
                    file.write(bytes(size))
    return filler


def committed(disk: Path) -> int:
    """How many acts the verified log says were committed."""
    log = disk / "audit" / "log"

    def read(path: str) -> bytes | None:
        file = log / path
        return file.read_bytes() if file.is_file() else None

    key = read("log.vkey")
    assert key is not None
    entries = verify_entries(read, read_checkpoint(read, parse_verifier_key(key.decode().strip())))
    return sum(entry.kind == "outcome" and entry.act == "committed" for entry in map(parse_entry, entries))


def test_without_room_for_a_first_segment_the_start_fails_and_requests_are_refused(
    tmp_path: Path, tmpfs: Callable[[str], Path]
) -> None:
    disk = tmpfs("1m")
    client = TestClient(serve(make(tmp_path, disk)))
    answer = client.get("/plain")
    assert (answer.status_code, answer.json()["reason"]) == (503, "journal_full")
    assert answer.headers["content-type"] == "application/problem+json"
    with pytest.raises(JournalFull), client:
        pytest.fail("it does not start")


def test_a_disk_that_fills_up_refuses_and_serves_again_once_there_is_room(
    tmp_path: Path, tmpfs: Callable[[str], Path]
) -> None:
    # Room for the segment in use, its spare, and only after the filler is gone for a third one and the log.
    disk = tmpfs("120m")
    runtime = make(tmp_path, disk)
    acknowledged = 0
    with TestClient(serve(runtime)) as client:
        assert client.post("/put/first").status_code == 200
        acknowledged += 1
        deadline = 200
        while not list((disk / "audit" / "journal" / "0").glob("00000001.seg")) and deadline:
            deadline -= 1
            client.get("/healthz")
        filler = fill(disk)
        # Fill the segments themselves, as much traffic would.
        recorder = runtime.point.recorder
        for size in (60_000, 600, 1):
            with suppress(JournalFull):
                while True:
                    recorder.system("x" * size)
        refused = [client.post("/put/second"), client.get("/plain"), client.get("/healthz"), client.get("/unknown")]
        assert [answer.status_code for answer in refused] == [503] * 4
        assert {json.loads(answer.content)["reason"] for answer in refused} == {"journal_full"}
        assert not (tmp_path / "files" / "second").exists()
        filler.unlink()
        answer = client.post("/put/third")
        assert answer.status_code == 200, answer.text
        acknowledged += 1
    assert committed(disk) == acknowledged


def test_acknowledged_acts_are_in_the_log_after_a_life_that_ended_full(
    tmp_path: Path, tmpfs: Callable[[str], Path]
) -> None:
    disk = tmpfs("40m")
    runtime = make(tmp_path, disk)
    acknowledged = 0
    with TestClient(serve(runtime)) as client:
        for number in range(20):
            acknowledged += client.post(f"/put/{number}").status_code == 200
        filler = fill(disk)
        client.post("/put/last-before")
        # The log cannot be written either: what is recorded waits in the journal.
    filler.unlink()

    async def life() -> None:
        again = make(tmp_path, disk)
        await again.start()
        await again.aclose()

    asyncio.run(life())
    assert committed(disk) >= acknowledged == 20
