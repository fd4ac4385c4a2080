"""Objects in buckets of two real S3 servers, one for each country: through the enforcement point, and an app."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import Residency, ResidencyMiddleware, build, current
from residency.adapters.sink_objects import BucketSink
from residency.errors import SinkUnavailable
from residency.storage.handle import backend_of
from tests.conftest import find_weed
from tests.object_store import APP_ACCESS, APP_SECRET, Seaweed, between, seaweed
from tests.object_world import HANOI, SG, SINGAPORE, VN, ObjectWorld
from tests.world import write_deployment

pytestmark = [pytest.mark.anyio, pytest.mark.needs("seaweedfs")]
PART = 8 << 20
CANARY = b"Nguyen Van An, 012345678901"


@dataclass
class Buckets:
    """Two servers, and a bucket of one name in each."""

    vn: Seaweed
    sg: Seaweed
    name: str

    def url(self, server: Seaweed, *, prefix: str = "", secret: str = APP_SECRET, timeout: float = 60) -> str:
        """The URL of the bucket at a server, as a deployment has it."""
        return (
            f"s3://{APP_ACCESS}:{secret}@{self.name}/{prefix}?region=us-east-1&endpoint={server.endpoint}"
            f"&timeout={timeout}"
        )

    def uploads(self, server: Seaweed) -> list[str]:
        """The keys of uploads that are neither complete nor aborted."""
        return re.findall("<Upload>.*?<Key>(.*?)</Key>", server.ask("GET", f"/{self.name}?uploads").text)

    def keys(self, server: Seaweed) -> list[str]:
        """What lies in the bucket."""
        return re.findall("<Key>(.*?)</Key>", server.ask("GET", f"/{self.name}?list-type=2").text)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Seaweed, Seaweed]]:
    """A server in Vietnam and one in Singapore."""
    with (
        seaweed(find_weed(), tmp_path_factory.mktemp("vn")) as vn,
        seaweed(find_weed(), tmp_path_factory.mktemp("sg")) as sg,
    ):
        yield vn, sg


@pytest.fixture
def buckets(servers: tuple[Seaweed, Seaweed]) -> Buckets:
    """An empty bucket at each."""
    found = Buckets(*servers, f"b-{uuid.uuid4().hex}")
    for server in servers:
        assert server.ask("PUT", f"/{found.name}").status_code == 200
    return found


@pytest.fixture
async def world(tmp_path: Path, buckets: Buckets) -> ObjectWorld:
    """A deployment whose sinks are the two buckets."""
    sinks = [
        BucketSink("files-sg", SG, buckets.url(buckets.sg)),
        BucketSink("files-vn", VN, buckets.url(buckets.vn)),
    ]
    made = ObjectWorld(tmp_path, sinks=sinks)
    await made.stores.start()
    return made


async def body(size: int, *, seed: int = 0, gap: float = 0, fails_at: int | None = None) -> AsyncIterator[bytes]:
    """Bytes in pieces of odd sizes, with the canary before them; may break off."""
    chance = random.Random(seed)
    sent = len(CANARY)
    yield CANARY
    while sent < size:
        piece = chance.randbytes(min(chance.randint(1, 1 << 20), size - sent))
        sent += len(piece)
        if fails_at is not None and sent >= fails_at:
            raise ConnectionResetError
        yield piece
        await asyncio.sleep(gap)


async def whole(size: int, seed: int = 0) -> bytes:
    """What `body` gives."""
    return b"".join([piece async for piece in body(size, seed=seed)])


async def test_a_covered_persons_objects_lie_in_their_country_and_no_byte_is_asked_of_the_other(
    world: ObjectWorld, buckets: Buckets
) -> None:
    with world.request() as uploads:
        await uploads.put("an/id.jpg", CANARY)
        await uploads.put("an/film", body(3 * PART))
        assert await uploads.get("an/id.jpg") == CANARY
    with world.request("GET", SINGAPORE) as uploads:
        reader = await uploads.open("an/film", PART - 5, PART + 5)
        assert reader is not None
        assert b"".join([piece async for piece in reader]) == (await whole(3 * PART))[PART - 5 : PART + 5]
        assert [key async for key in uploads.keys("an/")] == ["an/film", "an/id.jpg"]
    with world.request(address=SINGAPORE, who="tan") as uploads:
        await uploads.put("tan", b"1")
    assert (buckets.keys(buckets.vn), buckets.keys(buckets.sg)) == (["an/film", "an/id.jpg"], ["tan"])
    assert {act[2] for act in world.acts()} == {"committed"}
    assert [act[0] for act in world.acts()] == ["files-vn"] * 5 + ["files-sg"]


async def test_starting_leaves_nothing_in_a_bucket_and_makes_none(buckets: Buckets) -> None:
    await BucketSink("x", VN, buckets.url(buckets.vn)).start()
    assert (buckets.keys(buckets.vn), buckets.uploads(buckets.vn)) == ([], [])
    assert "<Version>" not in buckets.vn.ask("GET", f"/{buckets.name}?versions").text
    for problem, url in {
        "its bucket is not there": buckets.url(buckets.vn).replace(buckets.name, "missing-bucket"),
        "access is denied": buckets.url(buckets.vn, secret="wrong"),
    }.items():
        with pytest.raises(SinkUnavailable, match=rf"'x'.*{problem}"):
            await BucketSink("x", VN, url).start()
    assert buckets.vn.ask("HEAD", "/missing-bucket").status_code == 404


async def test_credentials_that_may_read_and_not_write_do_not_start(servers: tuple[Seaweed, Seaweed]) -> None:
    server = servers[0]
    name = f"b-{uuid.uuid4().hex}"
    server.ask("PUT", f"/{name}")
    deny = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", '
        f'"Resource": "arn:aws:s3:::{name}/*"}}]}}'
    )
    assert server.ask("PUT", f"/{name}?policy", deny.encode()).status_code in (200, 204)
    sink = BucketSink("x", VN, Buckets(*servers, name).url(server))
    assert [meta async for meta in sink.list()] == []
    with pytest.raises(SinkUnavailable, match="access is denied"):
        await sink.start()


async def test_a_bucket_that_went_away_is_not_an_empty_one(world: ObjectWorld, buckets: Buckets) -> None:
    with world.request() as uploads:
        await uploads.put("k", b"1")
        buckets.vn.ask("DELETE", f"/{buckets.name}/k")
        assert buckets.vn.ask("DELETE", f"/{buckets.name}").status_code == 204
        calls: list[Callable[[], Any]] = [
            lambda: uploads.get("k"),
            lambda: uploads.open("k"),
            lambda: uploads.head("k"),
            lambda: uploads.delete("k"),
            lambda: anext(uploads.list()),
            lambda: uploads.put("k", b"1"),
            lambda: uploads.put("k", body(2 * PART)),
        ]
        for call in calls:
            with pytest.raises(SinkUnavailable, match="'files-vn'"):
                await call()
    assert [act[2] for act in world.acts()[1:]] == ["failed"] * 3 + ["unknown", "failed", "unknown", "failed"]
    assert buckets.vn.ask("HEAD", f"/{buckets.name}").status_code == 404


@pytest.mark.parametrize("size", [100_000, 3 * PART])
async def test_a_body_that_breaks_off_leaves_nothing_and_no_open_upload(
    world: ObjectWorld, buckets: Buckets, size: int
) -> None:
    with world.request() as uploads, pytest.raises(ConnectionResetError):
        await uploads.put("k", body(size, fails_at=size - 10_000))
    assert (buckets.keys(buckets.vn), buckets.uploads(buckets.vn)) == ([], [])
    assert world.acts() == [("files-vn", "write", "failed")]


@pytest.mark.parametrize("step", ["partNumber=2", "POST uploadId="])
@pytest.mark.parametrize("in_pieces", [True, False])
async def test_a_store_that_fails_in_the_middle_of_an_upload_keeps_nothing_of_it(
    tmp_path: Path, buckets: Buckets, step: str, in_pieces: bool
) -> None:
    method, _, part = step.rpartition(" ")

    def bend(asked: str, path: str) -> int | None:
        return 400 if part in path and asked == (method or "PUT") else None

    with between(buckets.vn, bend) as endpoint:
        url = buckets.url(buckets.vn).replace(buckets.vn.endpoint, endpoint)
        world = ObjectWorld(tmp_path, sinks=[BucketSink("files-sg", SG, url), BucketSink("files-vn", VN, url)])
        with world.request() as uploads, pytest.raises(SinkUnavailable, match="status 400"):
            await uploads.put("k", body(4 * PART) if in_pieces else bytes(4 * PART))
    assert (buckets.keys(buckets.vn), buckets.uploads(buckets.vn)) == ([], [])
    assert world.acts()[0][2] in ("failed", "unknown")


@pytest.mark.parametrize("after", [0.05, 0.4, 0.8])
async def test_a_cancelled_upload_leaves_nothing_or_the_whole_and_its_act_says_which(
    world: ObjectWorld, buckets: Buckets, after: float
) -> None:
    async def upload() -> None:
        with world.request() as uploads:
            await uploads.put("k", body(3 * PART, gap=0.01))

    task = asyncio.ensure_future(upload())
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.wait({task})  # on a fast machine it may have ended before
    assert buckets.uploads(buckets.vn) == []
    assert buckets.keys(buckets.vn) == (["k"] if world.acts()[0][2] == "committed" else [])
    assert world.acts()[0][2] in ("failed", "committed")


async def test_a_request_cancelled_in_the_last_step_is_recorded_as_what_came_of_it(
    world: ObjectWorld, buckets: Buckets
) -> None:
    value = bytes(6 << 20)

    async def put(number: int) -> None:
        with world.request() as uploads:
            await uploads.put(f"k{number}", value)

    for number in range(12):
        task = asyncio.ensure_future(put(number))
        await asyncio.sleep(number * 0.004)
        task.cancel()
        await asyncio.wait({task})
    stored = set(buckets.keys(buckets.vn))
    for number, (_, _, word) in enumerate(world.acts()):
        assert word in ("committed", "failed")
        assert (word == "committed") == (f"k{number}" in stored)


async def test_a_reader_that_is_slow_or_leaves_gets_what_it_reads_and_ends_its_act(
    world: ObjectWorld, buckets: Buckets
) -> None:
    with world.request() as uploads:
        await uploads.put("k", body(3 * PART))
        reader = await uploads.open("k")
        assert reader is not None
        digest = hashlib.sha256()
        async for piece in reader:
            digest.update(piece)
            await asyncio.sleep(0.02)
        assert digest.digest() == hashlib.sha256(await whole(3 * PART)).digest()
        for _ in range(5):
            left = await uploads.open("k")
            assert left is not None
            async with left:
                await anext(aiter(left))
    assert world.acts()[1:] == [("files-vn", "read", "committed")] * 6


async def test_a_value_that_is_replaced_while_it_is_read_is_never_mixed(world: ObjectWorld) -> None:
    with world.request() as uploads:
        await uploads.put("k", b"1" * (3 * PART))
        reader = await uploads.open("k")
        assert reader is not None
        await uploads.put("k", b"2" * (3 * PART))
        got = b""
        try:
            async for piece in reader:
                got += piece
        except SinkUnavailable:
            pass
        assert set(got) <= {ord("1")}


async def test_more_than_a_page_is_listed_once_each(world: ObjectWorld) -> None:
    with world.request() as uploads:
        sink: Any = backend_of(uploads, "files-vn")
        keys = [f"p/{number:04}" for number in range(1_050)]
        for at in range(0, len(keys), 50):
            await asyncio.gather(*(sink.put(key, b"") for key in keys[at : at + 50]))
        assert [key async for key in uploads.keys("p/")] == keys
        page = [meta.key async for meta in uploads.list("p/", after="p/0999", limit=3)]
    assert page == ["p/1000", "p/1001", "p/1002"]


@pytest.mark.slow
async def test_a_server_that_dies_fails_acts_in_bounded_time_and_one_that_is_back_serves(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with seaweed(find_weed(), tmp_path_factory.mktemp("dying")) as server:
        server.ask("PUT", "/dying")
        url = f"s3://{APP_ACCESS}:{APP_SECRET}@dying?region=us-east-1&endpoint={server.endpoint}&timeout=1"
        world = ObjectWorld(tmp_path, sinks=[BucketSink("files-sg", SG, url), BucketSink("files-vn", VN, url)])
        await world.stores.start()
        with world.request() as uploads:

            async def dying() -> AsyncIterator[bytes]:
                yield b"x" * (2 * PART)
                server.pause()
                yield b"x" * (2 * PART)
                yield b"x" * (2 * PART)
                yield b"x" * (2 * PART)

            for call in (lambda: uploads.put("k", dying()), lambda: uploads.get("k"), lambda: uploads.put("k", b"")):
                with pytest.raises(SinkUnavailable, match=r"'files-vn'.*no answer"):
                    await asyncio.wait_for(call(), 30)
            server.resume()
            assert await uploads.get("k") in (None, b"")
            await uploads.put("k", b"1")
            assert await uploads.get("k") == b"1"
    words = [act[2] for act in world.acts()]
    assert words[:3] in (["failed", "failed", "unknown"], ["unknown", "failed", "unknown"])
    assert words[3:] == ["committed"] * 3


DEPLOYMENT = """
sinks:
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "s3://${KEY}:${SECRET}@${BUCKET}/app?region=us-east-1&endpoint=${SG_S3}"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "s3://${KEY}:${SECRET}@${BUCKET}/app?region=us-east-1&endpoint=${VN_S3}"}
stores: {uploads: [files-sg, files-vn]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
signals: {client_address: {strategy: peer}}
activities:
  - {route: "PUT /files/{name}", subject: none, data: [personal], operation: write, store: uploads}
  - {route: "GET /files/{name}", subject: none, data: [personal], operation: read, store: uploads}
"""


async def take(request: Request) -> Response:
    """Stores the request's body as it comes."""
    meta = (
        await current()
        .store("uploads")
        .put(
            request.path_params["name"],
            request.stream(),
            content_type=request.headers["content-type"],
            size=int(request.headers["content-length"]),
        )
    )
    return JSONResponse({"size": meta.size})


async def give(request: Request) -> Response:
    """Answers with the value, or the part of it that was asked for."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
    start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, None)
    found = await current().store("uploads").open(request.path_params["name"], start, end)
    if found is None:
        return Response(status_code=404)
    headers = {"content-length": str(found.end - found.start), "etag": f'"{found.meta.etag}"'}
    return StreamingResponse(found, 206 if asked else 200, headers, found.meta.content_type)


@pytest.fixture
def runtime(tmp_path: Path, buckets: Buckets) -> Residency:
    """The runtime of an app that keeps its files in the two buckets."""
    environment = {
        "KEY": APP_ACCESS,
        "SECRET": APP_SECRET,
        "BUCKET": buckets.name,
        "SG_S3": buckets.sg.endpoint,
        "VN_S3": buckets.vn.endpoint,
    }
    return build(write_deployment(tmp_path, DEPLOYMENT), env=environment)


def app_of(runtime: Residency) -> ResidencyMiddleware:
    """The app under the middleware."""
    routes = [Route("/files/{name}", take, methods=["PUT"]), Route("/files/{name}", give)]
    return ResidencyMiddleware(Starlette(routes=routes), policy=runtime)


async def test_an_app_streams_bodies_to_the_bucket_at_home_and_back(runtime: Residency, buckets: Buckets) -> None:
    value = await whole(2 * PART)
    with TestClient(app_of(runtime), client=(HANOI, 50_000)) as client:
        headers = {"content-type": "image/png"}
        assert client.put("/files/an", content=value, headers=headers).json() == {"size": len(value)}
        answer = client.get("/files/an")
        assert (answer.content == value, answer.headers["content-type"]) == (True, "image/png")
        part = client.get("/files/an", headers={"range": "bytes=5-9"})
        assert (part.status_code, part.content) == (206, value[5:10])
        assert client.get("/files/none").status_code == 404
    assert (buckets.keys(buckets.vn), buckets.keys(buckets.sg)) == (["app/an"], [])


async def test_a_client_that_goes_away_leaves_nothing_behind(runtime: Residency, buckets: Buckets) -> None:
    app = app_of(runtime)
    value = bytes(PART)
    asked = [{"type": "http.request", "body": value, "more_body": True}] * 2 + [{"type": "http.disconnect"}]
    messages: asyncio.Queue[Any] = asyncio.Queue()
    sent: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {"version": "3.0"}}, messages.get, sent.put)  # as a server would
    )
    messages.put_nowait({"type": "lifespan.startup"})
    assert await sent.get() == {"type": "lifespan.startup.complete"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "PUT",
        "scheme": "http",
        "path": "/files/an",
        "raw_path": quote("/files/an").encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"image/png"), (b"content-length", str(5 * PART).encode())],
        "client": (HANOI, 50_000),
        "server": ("test", 80),
    }

    async def body_of() -> Any:
        return asked.pop(0) if asked else {"type": "http.disconnect"}

    async def dropped(message: Any) -> None:
        pass

    with pytest.raises(Exception):  # noqa: B017, PT011 - Starlette's, of the version that is installed
        await app(scope, body_of, dropped)
    assert (buckets.keys(buckets.vn), buckets.uploads(buckets.vn)) == ([], [])
    messages.put_nowait({"type": "lifespan.shutdown"})
    await lifespan


@pytest.mark.slow
async def test_a_value_far_larger_than_memory_may_hold_goes_in_and_out_in_pieces(world: ObjectWorld) -> None:
    size = 600 << 20

    def resident() -> int:
        text = Path("/proc/self/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", text)[0]) << 10

    peak = before = resident()
    written, read = hashlib.sha256(), hashlib.sha256()

    async def watched() -> AsyncIterator[bytes]:
        nonlocal peak
        async for piece in body(size):
            written.update(piece)
            peak = max(peak, resident())
            yield piece

    with world.request() as uploads:
        await uploads.put("k", watched())
        reader = await uploads.open("k")
        assert reader is not None
        async for piece in reader:
            read.update(piece)
            peak = max(peak, resident())
    assert read.digest() == written.digest()
    print(f"{size >> 20} MiB in and out, {peak - before >> 20} MiB more resident at most")
    assert peak - before < 160 << 20
