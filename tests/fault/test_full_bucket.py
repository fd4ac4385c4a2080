"""A real S3 server whose disk is full: the typed error and 503, and what was acknowledged is there whole."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import ResidencyMiddleware, build, current
from residency.adapters.sink_objects import BucketSink
from residency.errors import SinkUnavailable
from residency.storage import ObjectHandle
from residency.storage.lasting import is_lasting
from tests.conftest import find_weed
from tests.object_store import APP_ACCESS, APP_SECRET, Seaweed, seaweed
from tests.object_world import HANOI, SG, VN, ObjectWorld
from tests.world import write_deployment

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.needs("seaweedfs"), pytest.mark.needs("tmpfs")]
MIB = 1 << 20
DEPLOYMENT = """
sinks:
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, in_transit: false, url: "URL"}
stores: {uploads: [files-vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
signals: {client_address: {strategy: peer}}
activities:
  - {route: "PUT /uploads/{name}", subject: none, data: [content], operation: write, store: uploads}
  - {route: "GET /uploads/{name}", subject: none, data: [content], store: uploads}
"""


@pytest.fixture
def disk(tmpfs: Callable[[str], Path]) -> Path:
    """A disk that is soon full."""
    return tmpfs("48m")


@pytest.fixture
def server(disk: Path) -> Iterator[Seaweed]:
    """A server on that disk, with a bucket."""
    with seaweed(find_weed(), disk) as made:
        assert made.ask("PUT", "/bucket").status_code == 200
        yield made


@pytest.fixture
def url(server: Seaweed) -> str:
    """The bucket, as a deployment has it."""
    return f"s3://{APP_ACCESS}:{APP_SECRET}@bucket?region=us-east-1&endpoint={server.endpoint}&timeout=10"


def value(number: int, size: int = 2 * MIB) -> bytes:
    """Bytes that no other number has."""
    return number.to_bytes(4, "big") * (size // 4)


def grow(disk: Path) -> None:
    """Make room."""
    subprocess.run(["mount", "-o", "remount,size=256m", str(disk)], check=True)


async def fill(uploads: ObjectHandle) -> tuple[int, SinkUnavailable]:
    """(how many values were stored, what the next one came to)."""
    stored = 0
    while True:
        try:
            await uploads.put(f"an/{stored}", value(stored))
        except SinkUnavailable as error:
            return stored, error
        stored += 1


async def pieces(number: int, size: int) -> AsyncIterator[bytes]:
    """The same, piece by piece."""
    for _ in range(size // MIB):
        yield value(number, MIB)


async def test_what_is_acknowledged_is_whole_and_what_is_not_is_not_there(
    server: Seaweed, url: str, disk: Path, tmp_path: Path
) -> None:
    world = ObjectWorld(tmp_path, sinks=[BucketSink("files-sg", SG, url), BucketSink("files-vn", VN, url)])
    await world.stores.start()
    with world.request() as uploads:
        stored, refused = await fill(uploads)
        assert re.search(r"sink 'files-vn' .*status 5", str(refused))
        assert not is_lasting(refused), "somebody may make room"
        with pytest.raises(SinkUnavailable, match="'files-vn'"):
            await uploads.put("an/large", pieces(99, 48 * MIB))
    assert stored > 5
    words = [word for _, operation, word in world.acts() if operation == "write"]
    assert words == ["committed"] * stored + ["unknown"] * 2, "nobody knows of what was refused"
    assert re.findall("<Upload>", server.ask("GET", "/bucket?uploads").text) == []
    with world.request("GET") as uploads:
        for number in range(stored):
            assert await uploads.get(f"an/{number}") == value(number)
        assert await uploads.get(f"an/{stored}") is None
        assert await uploads.get("an/large") is None
    grow(disk)
    with world.request() as uploads:
        await uploads.put(f"an/{stored}", value(stored))
        assert await uploads.get(f"an/{stored}") == value(stored)


async def put(request: Request) -> Response:
    await current().store("uploads").put(request.path_params["name"], await request.body())
    return PlainTextResponse("stored", 201)


async def get(request: Request) -> Response:
    found = await current().store("uploads").get(request.path_params["name"])
    return Response(status_code=404) if found is None else Response(found)


def test_an_app_answers_503_and_names_the_sink_and_nothing_else(url: str, tmp_path: Path) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT.replace("URL", url))
    routes = [Route("/uploads/{name}", put, methods=["PUT"]), Route("/uploads/{name}", get)]
    app = ResidencyMiddleware(Starlette(routes=routes), policy=build(file, reload=False))
    with TestClient(app, client=(HANOI, 50_000)) as client:
        stored = 0
        while (answer := client.put(f"/uploads/{stored}", content=value(stored))).status_code == 201:
            stored += 1
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["reason"] == "sink_unavailable"
        assert "sink 'files-vn'" in answer.json()["detail"]
        for secret in ("bucket?", APP_ACCESS, APP_SECRET, "127.0.0"):
            assert secret not in answer.text
        for number in range(stored):
            assert client.get(f"/uploads/{number}").content == value(number)
        assert client.get(f"/uploads/{stored}").status_code == 404
