"""The audit log in a real store of objects with object lock: shipped, locked, verified from there, unchangeable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from residency import ResidencyMiddleware
from residency.adapters.log_files import LogFiles
from residency.adapters.log_objects import LogObjects
from residency.adapters.mirror import Mirror
from residency.bootstrap import build
from residency.cli.audit import audit_app
from residency.errors import VerificationError
from residency.model.calendar import Term
from residency.observe import names
from residency.wiring.mirror import required_lock
from tests.audit_log import VERIFIER
from tests.conftest import find_weed
from tests.log_mirror import GrowingLog, held
from tests.object_store import Seaweed, aws, seaweed
from tests.servers import eventually

pytestmark = pytest.mark.needs("seaweedfs")
runner = CliRunner()
POLICY = """\
residency: 1
kind: deployment
name: chat-api
mode: enforce
operator: {{established_in: [VN]}}
laws: none
signals: {{client_address: {{strategy: peer}}}}
audit:
  folder: ./audit
  mirror: {{url: "{url}", every: 1 s, locked: 24 months}}
keys: {{folder: ./keys}}
pins: {{url: "memory:"}}
metrics: /metrics
activities:
  - {{route: "GET /", subject: none, data: [content]}}
"""


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A server, with a bucket `locked` that keeps every version for 800 days."""
    with seaweed(find_weed(), tmp_path_factory.mktemp("weed")) as server:
        server.locked_bucket("locked")
        server.locked_bucket("governed", mode="GOVERNANCE")
        server.locked_bucket("short", days=30)
        yield server


@pytest.fixture(autouse=True)
def environment(weed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads to the server."""
    aws(monkeypatch, weed.endpoint)


@pytest.fixture
def log(tmp_path: Path) -> GrowingLog:
    """A log of 600 entries."""
    log = GrowingLog(tmp_path / "audit" / "log")
    log.grow(600)
    return log


def mirror_of(log: GrowingLog, url: str) -> Mirror:
    place = LogObjects(url)
    lock = log.files.folder.parent / "mirror.lock"
    return Mirror(log.files, place, key=VERIFIER, lock=lock, required=required_lock(Term(months=24)))


def test_what_is_shipped_is_locked_and_each_file_lies_there_once(weed: Seaweed, log: GrowingLog) -> None:
    mirror = mirror_of(log, "s3://locked/once")
    for _ in range(3):
        mirror.ship()
        log.grow(300)
    mirror.release()
    keys = [key for key, _ in weed.versions("locked") if key.startswith("once/")]
    assert keys.count("once/checkpoint") == 3
    assert len(keys) == len(set(keys)) + 2
    place = LogObjects("s3://locked/once")
    assert held(place.read) == log.entries[:1200]
    for key in set(keys):
        lock = place.lock(key.removeprefix("once/"))
        assert lock.mode == "COMPLIANCE"
        assert lock.until is not None
        # The server takes the time twice, in seconds: as an upload begins and as it is there.
        assert abs(lock.until - lock.put - 800 * 86_400_000_000) <= 60_000_000


def test_what_is_locked_is_neither_deleted_nor_replaced(weed: Seaweed, log: GrowingLog) -> None:
    mirror = mirror_of(log, "s3://locked/kept")
    mirror.ship()
    versions = [(key, version) for key, version in weed.versions("locked") if key.startswith("kept/")]
    assert len(versions) == 9
    for key, version in versions:
        for headers in ({}, {"x-amz-bypass-governance-retention": "true"}):
            assert weed.ask("DELETE", f"/locked/{key}?versionId={version}", headers=headers).status_code == 403
    # Without a version, a store of versions lays a marker over it, or puts a newer one; what was there stays.
    for key, _ in versions:
        assert weed.ask("DELETE", f"/locked/{key}").status_code == 204
        assert weed.ask("PUT", f"/locked/{key}", b"something else").status_code == 200
    assert set(versions) <= set(weed.versions("locked"))
    for key, version in versions:
        there = weed.ask("GET", f"/locked/{key}?versionId={version}").content
        assert there == log.files.read(key.removeprefix("kept/"))
    # And who ships finds that it is another thing now, and leaves it.
    log.grow(1)
    with pytest.raises(VerificationError, match="checkpoint is not of this log"):
        mirror.ship()
    mirror.release()


def test_what_somebody_hid_is_shipped_again_and_told(
    weed: Seaweed, log: GrowingLog, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = mirror_of(log, "s3://locked/hidden")
    mirror.ship()
    for key in {key for key, _ in weed.versions("locked") if key.startswith("hidden/")}:
        weed.ask("DELETE", f"/locked/{key}")
    assert LogObjects("s3://locked/hidden").read("checkpoint") is None
    mirror.ship()
    mirror.release()
    assert held(LogObjects("s3://locked/hidden").read) == log.entries
    assert "held 600 entries and now says 0" in caplog.text


@pytest.mark.parametrize(
    ("bucket", "says"),
    [
        ("governed", "locked in mode governance"),
        ("short", "locked for 30 days only"),
        ("first-bucket", "locked not at all"),
    ],
)
def test_a_bucket_that_does_not_lock_as_asked_is_refused(log: GrowingLog, bucket: str, says: str) -> None:
    mirror = mirror_of(log, f"s3://{bucket}/refused")
    with pytest.raises(VerificationError, match=f"{says}.*default retention of 733 days"):
        mirror.ship()
    mirror.release()
    assert LogObjects(f"s3://{bucket}/refused").read("checkpoint") is None


def test_an_api_ships_its_log_and_an_outsider_verifies_it_from_the_bucket(tmp_path: Path) -> None:
    policy = tmp_path / "deployment.yaml"
    policy.write_text(POLICY.format(url="s3://locked/chat-api"))

    async def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse("home")

    runtime = build(policy)
    app = Starlette(routes=[Route("/", home)])
    client = TestClient(ResidencyMiddleware(app, policy=runtime))
    bucket = LogObjects("s3://locked/chat-api")
    assert client.get("/").status_code == 200
    eventually(lambda: bucket.read("checkpoint"), within=30, what="the first shipment")
    for _ in range(20):
        client.get("/")
    shown = client.get("/metrics").text
    asyncio.run(runtime.aclose())

    assert f"\n{names.MIRROR_FAILING} 0.0" in shown
    assert f"\n{names.MIRROR_LAG} " in shown
    # The last of it was shipped at the end.
    assert bucket.read("checkpoint") == (tmp_path / "audit" / "log" / "checkpoint").read_bytes()
    key = tmp_path / "audit" / "log" / "log.vkey"
    result = runner.invoke(audit_app, ["verify", "s3://locked/chat-api", "--key", str(key), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["entries"]["decision"] >= 21
    # The bucket alone is enough to make each decision again, and what makes them is locked like the log.
    assert (told["coverage"]["decisions"], told["coverage"]["share"]) == (told["coverage"]["replayed"], 1.0)
    archived = LogFiles(tmp_path / "audit").paths("policies")
    assert archived
    for path in archived:
        assert bucket.lock(path).mode == "COMPLIANCE"


def test_an_api_whose_bucket_does_not_lock_serves_and_says_so(tmp_path: Path) -> None:
    policy = tmp_path / "deployment.yaml"
    policy.write_text(POLICY.format(url="s3://short/chat-api"))

    async def home(_: Request) -> PlainTextResponse:
        return PlainTextResponse("home")

    runtime = build(policy)
    client = TestClient(ResidencyMiddleware(Starlette(routes=[Route("/", home)]), policy=runtime))
    assert client.get("/").status_code == 200
    eventually(lambda: f"\n{names.MIRROR_FAILING} 1.0" in client.get("/metrics").text, within=30, what="the metric")
    asyncio.run(runtime.aclose())
    assert LogObjects("s3://short/chat-api").read("checkpoint") is None
