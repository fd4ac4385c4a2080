"""What only a sink in a bucket can do wrong: its URL, the environment's settings, a store that answers badly or never.

Buckets of a real server are in tests/contract and tests/integration.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from residency.adapters.sink_objects import BucketSink
from residency.adapters.sink_objects.upload import PART, part_size
from residency.adapters.sink_objects.urls import open_bucket, parse_object_url
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from tests.object_store import StubS3
from tests.ports import free_port

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")
SECRET = "s3cret/with+signs="


@pytest.fixture
def anyio_backend() -> str:
    """The one event loop that the client knows."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without a cloud's settings."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def stub() -> Iterator[StubS3]:
    """A store of one bucket, called `bucket`, whose answers can be bent."""
    made = StubS3()
    try:
        yield made
    finally:
        made.close()


def sink_at(endpoint: str, *, timeout: float = 2, user: str = "KEY") -> BucketSink:
    """A sink over the bucket `bucket` of a server."""
    url = f"s3://{user}:{SECRET}@bucket/pre?region=xx-1&endpoint={endpoint}&timeout={timeout}"
    return BucketSink("uploads-vn", REGION, url)


def test_a_url_says_bucket_prefix_credentials_and_region() -> None:
    place = parse_object_url(f"s3://KEY:{SECRET}@my-bucket/a/b/?region=ap-southeast-1&timeout=2.5")
    assert (place.bucket, place.prefix, place.user, place.secret) == ("my-bucket", "a/b", "KEY", SECRET)
    assert (place.options["region"], place.timeout, place.endpoint) == ("ap-southeast-1", 2.5, None)
    assert parse_object_url("s3://KEY:a%40b%3Fc@bucket?region=x").secret == "a@b?c"
    assert parse_object_url("s3://bucket/p@q?region=x").prefix == "p@q"
    assert (parse_object_url("az://acc:a2V5@box").user, parse_object_url("gs://box/p").prefix) == ("acc", "p")


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://?region=x", "s3:///p?region=x", "s3://KEY@bucket?region=x", "s3://:S@bucket?region=x",
     "s3://B?region=x", "s3://bucket?region=x&region=y", "s3://bucket?region=x&nonsense=1", "s3://bucket?region=x&style=z",
     "s3://bucket?region=x%2Fy", "s3://bucket?region=x&timeout=0", "s3://bucket?region=x&timeout=nan",
     "s3://bucket?region=x&timeout=1e9", "s3://bucket?region=x&endpoint=ftp://h", "s3://bucket?region=x&endpoint=https://",
     "s3://bucket?region=x&endpoint=https://u:p@h", "s3://bucket?region=x&endpoint=https://h:99999",
     "s3://bucket/a/../b?region=x", "s3://bucket/a//b?region=x", f"s3://bucket/{'x' * 121}?region=x", "s3://bucket?region",
     "gs://user:p@bucket", "gs://bucket?region=x", "az://box?style=path", "ftp://bucket", "s3://bucket?region=x#f"],
)  # fmt: skip
def test_a_url_that_says_something_else_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SinkUnavailable, match="uploads-vn") as caught:
        BucketSink("uploads-vn", REGION, url.replace("p@", f"{SECRET}@"))
    text = "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value)
    assert "nonsense" not in str(caught.value)
    assert "xxxxx" not in str(caught.value)
    assert "UsageError" not in text


def test_nothing_of_a_place_is_shown() -> None:
    assert repr(parse_object_url(f"s3://KEY:{SECRET}@my-bucket/a?region=x")) == "Place(s3)"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("s3://b-1?region=ap-southeast-1", "https://s3.ap-southeast-1.amazonaws.com"),
        ("s3://b-1?region=cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
        ("s3://b-1?region=x&style=virtual", "https://b-1.s3.x.amazonaws.com"),
        ("s3://b-1?region=x&endpoint=https://s3.example.vn/", "https://s3.example.vn"),
        ("s3://b-1?region=x&style=virtual&endpoint=https://oss.example", "https://b-1.oss.example"),
    ],
)
def test_the_endpoint_is_the_one_of_the_url_whatever_the_environment_says(
    url: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "https://elsewhere.example")
    monkeypatch.setenv("AWS_REGION", "elsewhere-1")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    config = open_bucket(parse_object_url(url), streaming=False).config
    assert {config["endpoint"], config["endpoint_url_s3"]} == {wanted}
    assert config["region"] in url
    assert config["virtual_hosted_style_request"] == str("virtual" in url).lower()


def test_the_places_of_other_clouds_are_those_of_the_url_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_BASE_URL", "https://elsewhere.example")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "https://elsewhere.example")
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    azure = open_bucket(parse_object_url("az://account:a2V5@box/p"), streaming=True).config
    assert (azure["endpoint"], azure["use_emulator"]) == ("https://account.blob.core.windows.net", "false")
    assert open_bucket(parse_object_url("gs://box"), streaming=True).config["base_url"] == (
        "https://storage.googleapis.com"
    )
    with pytest.raises(UsageError, match="storage account"):
        open_bucket(parse_object_url("az://box"), streaming=False)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other1")
    assert open_bucket(parse_object_url("az://box"), streaming=False).config["account_name"] == "other1"


def test_credentials_that_cannot_be_read_are_told_without_them(tmp_path: Path) -> None:
    for url in (f"az://account:no base64 {SECRET}@box", f"gs://box?service_account={tmp_path}/missing.json"):
        with pytest.raises(SinkUnavailable) as caught:
            BucketSink("uploads-vn", REGION, url)
        assert SECRET not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


async def test_settings_of_the_environment_send_no_request_elsewhere(
    stub: StubS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = StubS3()
    try:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
            monkeypatch.setenv(name, other.endpoint)
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of other credentials")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
        await sink_at(stub.endpoint).put("k", b"1")
        assert other.asked == []
        assert stub.objects == {"pre/k": b"1"}
    finally:
        other.close()


def test_credentials_of_the_url_come_without_a_token_of_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of other credentials")
    assert open_bucket(parse_object_url("s3://K:S@bucket?region=x"), streaming=False).config["session_token"] == ""
    assert "session_token" not in open_bucket(parse_object_url("s3://bucket?region=x"), streaming=False).config


async def test_a_value_is_deleted_by_a_request_that_holds_no_list_of_keys(stub: StubS3) -> None:
    sink = sink_at(stub.endpoint)
    await sink.put("k", b"1")
    assert await sink.delete("k") is True
    assert stub.asked[1:] == [("HEAD", "pre/k"), ("DELETE", "pre/k")]
    assert stub.objects == {}


@pytest.mark.parametrize(("size", "part"), [(None, PART), (0, PART), (PART * 10_000, PART), (1 << 40, 105 << 20)])
def test_parts_are_as_large_as_ten_thousand_of_them_must_be(size: int | None, part: int) -> None:
    assert part_size(size) == part
    assert size is None or part * 10_000 >= size


def test_a_value_that_no_store_takes_is_refused_before_it_is_begun() -> None:
    assert part_size(5 << 40) * 10_000 >= 5 << 40
    with pytest.raises(UsageError, match="5 TiB"):
        part_size((5 << 40) + 1)


async def test_more_than_the_parts_of_unknown_length_hold_is_refused(
    stub: StubS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residency.adapters.sink_objects.upload._PARTS", 0)
    upload = await sink_at(stub.endpoint).upload("k")
    with pytest.raises(UsageError, match="size"):
        await upload.write(b"1")
    await upload.abort()
    assert stub.objects == {}


CALLS: dict[str, Callable[[BucketSink], object]] = {
    "put": lambda sink: sink.put("secret-name", b"An"),
    "get": lambda sink: sink.get("secret-name"),
    "open": lambda sink: sink.open("secret-name", 3),
    "empty range": lambda sink: sink.open("secret-name", 3, 3),
    "head": lambda sink: sink.head("secret-name"),
    "delete": lambda sink: sink.delete("secret-name"),
    "list": lambda sink: anext(aiter(sink.list("secret-name/"))),
    "ping": lambda sink: sink.ping(),
    "start": lambda sink: sink.start(),
    "upload": lambda sink: upload_of(sink),
}


async def upload_of(sink: BucketSink) -> None:
    """A value in pieces, of several parts."""
    upload = await sink.upload("secret-name")
    try:
        for _ in range(3):
            await upload.write(b"x" * PART)
        await upload.commit()
    finally:
        await upload.abort()


async def refused(sink: BucketSink, name: str, *, within: float) -> str:
    """What a call is refused with; its message tells nothing that it must not."""
    with pytest.raises(SinkUnavailable) as caught:
        await asyncio.wait_for(CALLS[name](sink), within)  # type: ignore[arg-type]
    text = "".join(traceback.format_exception(caught.value))
    assert "'uploads-vn'" in str(caught.value)
    for word in ("secret-name", SECRET, "KEY", "127.0.0.1", "bucket/", "Bent"):
        assert word not in str(caught.value)
    assert "127.0.0.1" not in text.replace(str(caught.value), "")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "status"), [("get", 500), *((name, status) for name in CALLS for status in (400, 403, 503))]
)
async def test_a_store_that_answers_an_error_is_told_by_its_status(stub: StubS3, name: str, status: int) -> None:
    stub.bend = lambda method, key: status
    # What will not change is told at once; else it is tried again, for that long at most.
    told = await refused(sink_at(stub.endpoint, timeout=5 if status < 500 else 1), name, within=60)
    assert f"status {status}" in told
    assert ("access is denied" in told) == (status == 403)


@pytest.mark.parametrize("name", CALLS)
async def test_a_store_that_is_not_there_is_told_in_bounded_time(name: str) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    assert "no answer" in await refused(sink_at(endpoint, timeout=0.5), name, within=20)


@pytest.mark.parametrize("name", CALLS)
async def test_a_store_that_takes_connections_and_says_nothing_is_told_in_bounded_time(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer" in await refused(sink_at(endpoint, timeout=0.3), name, within=20)


@pytest.mark.parametrize("part", [True, False])
async def test_an_answer_that_ends_early_is_an_error_and_no_value(part: bool) -> None:
    asked: list[bytes] = []
    head = b'\r\nlast-modified: Sun, 22 Nov 2026 11:06:56 GMT\r\netag: "e"\r\ncontent-length: 10\r\n\r\n'

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(4096).lower())
                is_part = part and b"\r\nrange: bytes=0-" in asked[-1]
                status = b"HTTP/1.1 206 OK\r\ncontent-range: bytes 0-9/10" if is_part else b"HTTP/1.1 200 OK"
                connection.sendall(status + head + b"12345")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        sink = sink_at(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.5)
        with pytest.raises(SinkUnavailable):
            await sink.get("k")
        assert all(b"\r\nrange: " in each for each in asked) is part  # what told it was told of a part
        found = await sink.open("k")
        assert found is not None
        with pytest.raises(SinkUnavailable):
            assert [piece async for piece in found.chunks] == []
        await found.chunks.aclose()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_value_does_not_follow_a_redirect(stub: StubS3, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    other = StubS3()
    try:
        stub.bend = lambda method, key: status
        stub.bent_headers = {"location": f"{other.endpoint}/bucket/pre/k"}
        with pytest.raises(SinkUnavailable):
            await sink_at(stub.endpoint).put("k", b"An")
        assert other.objects == {}
        assert [method for method, _ in other.asked] == []
    finally:
        other.close()


def test_on_another_event_loop_a_bucket_says_that_it_needs_asyncio(stub: StubS3) -> None:
    sink = sink_at(stub.endpoint)

    async def use(name: str) -> None:
        with pytest.raises(SinkUnavailable, match="asyncio"):
            await CALLS[name](sink)  # type: ignore[misc]

    for name in CALLS:
        trio.run(use, name)
    assert stub.asked == []


async def test_a_child_of_a_fork_is_told_that_it_cannot_use_the_client(
    stub: StubS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_at(stub.endpoint)
    await sink.put("k", b"1")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for name in CALLS:
        assert "forked" in await refused(sink, name, within=20)


@pytest.mark.parametrize("scheme", ["gs", "az"])
async def test_the_other_clouds_are_asked_at_the_urls_endpoint_for_the_same_things(
    stub: StubS3, scheme: str, tmp_path: Path
) -> None:
    account = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    (tmp_path / "account.json").write_text(json.dumps({**account, "gcs_base_url": "http://127.0.0.1:1"}))
    url = {
        "gs": f"gs://bucket/pre?service_account={tmp_path}/account.json&endpoint={stub.endpoint}&timeout=2",
        "az": f"az://account:a2V5@bucket/pre?endpoint={stub.endpoint}&timeout=2",
    }[scheme]
    sink = BucketSink("x", REGION, url)
    assert (await sink.put("a b/é", b"12345")).size == 5
    assert await sink.get("a b/é") == b"12345"
    assert (await sink.head("a b/é") or pytest.fail("there is one")).size == 5
    assert await sink.get("missing") is None
    assert stub.objects == {"pre/a b/é": b"12345"}
    assert stub.asked == [("PUT", "pre/a b/é"), ("GET", "pre/a b/é"), ("HEAD", "pre/a b/é"), ("GET", "pre/missing")]


async def test_a_value_is_asked_for_once_and_an_empty_one_twice(stub: StubS3) -> None:
    sink = sink_at(stub.endpoint)
    for value, times in ((b"12345", 1), (b"", 2), (b"x" * (PART - 1), 1)):
        stub.put("pre/key", value)
        stub.asked.clear()
        assert await sink.get("key") == value
        assert stub.asked == [("GET", "pre/key")] * times


@pytest.mark.parametrize(("size", "ranges"), [(PART, True), (PART + 1, True), (5, False), (0, False)])
async def test_where_one_value_is_long_or_no_range_is_known_none_is_asked_for_twice_again(
    stub: StubS3, size: int, ranges: bool
) -> None:
    stub.ranges = ranges
    stub.put("pre/key", b"x" * size)
    sink = sink_at(stub.endpoint)
    assert await sink.get("key") == b"x" * size
    assert stub.asked == [("GET", "pre/key")] * 2
    assert await sink.get("key") == b"x" * size
    assert stub.asked == [("GET", "pre/key")] * 3


async def test_a_long_value_that_is_replaced_while_it_is_read_comes_whole(stub: StubS3) -> None:
    def replace(_method: str, key: str) -> None:
        if len(stub.asked) == 2:  # once its first bytes were told
            stub.put(key, b"new" * PART)

    stub.put("pre/key", b"old" * PART)
    stub.bend = replace
    assert await sink_at(stub.endpoint).get("key") == b"new" * PART


async def test_azure_shows_the_right_to_write_by_refusing_an_impossible_condition(stub: StubS3) -> None:
    sink = BucketSink("x", REGION, f"az://account:a2V5@bucket/pre?endpoint={stub.endpoint}&timeout=2")
    stub.bend = lambda method, key: 412
    await sink._check_write()
    stub.bend = lambda method, key: 403
    with pytest.raises(SinkUnavailable):
        await sink._check_write()


@pytest.mark.parametrize("name", CALLS)
async def test_a_bucket_of_another_region_is_told_as_such(stub: StubS3, name: str) -> None:
    stub.bend = lambda method, key: 301  # as AWS answers: without saying where
    told = await refused(sink_at(stub.endpoint), name, within=20)
    assert "another region" in told


@pytest.mark.parametrize("name", ["get", "head", "delete", "list", "start"])
async def test_a_store_that_answers_byte_by_byte_is_told_in_bounded_time(name: str) -> None:
    serving: list[asyncio.Task[Any]] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            for byte in b"HTTP/1.1 200 OK\r\netag: e\r\nx: " + b"y" * 10_000:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.transport.abort()

    server = await asyncio.start_server(drip, "127.0.0.1")
    try:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert "no answer" in await refused(sink_at(endpoint, timeout=0.4), name, within=20)
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)
        await asyncio.sleep(0.01)  # the transports' own last steps
