"""The region that a bucket says it lies in: by AWS's header, by GetBucketLocation, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from residency.adapters.bucket_region import Bucket, _signed, region_of
from residency.errors import Unavailable
from tests.conftest import find_weed
from tests.object_store import ACCESS, SECRET, seaweed

pytestmark = pytest.mark.anyio


class Store:
    """Answers HEAD with a header, GET with a body, each as it is told; keeps what it was asked."""

    def __init__(self) -> None:
        self.header = ""
        self.body = b""
        self.status = 200
        self.asked: list[tuple[str, str, str | None]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

            def do_HEAD(self) -> None:
                self.answer(403, b"", store.header)

            def do_GET(self) -> None:
                self.answer(store.status, store.body, "")

            def answer(self, status: int, body: bytes, region: str) -> None:
                store.asked.append((self.command, self.path, self.headers.get("authorization")))
                self.send_response(status)
                if region:
                    self.send_header("x-amz-bucket-region", region)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def bucket(self, *, known: bool = True) -> Bucket:
        """The bucket that it holds, to somebody whom it knows or not."""
        user, secret = ("KEY", "SECRET") if known else (None, None)
        return Bucket(f"http://127.0.0.1:{self.server.server_port}/objects", "han01", user, secret)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


async def test_aws_says_the_region_to_anybody_who_asks(store: Store) -> None:
    store.header = "ap-southeast-1"
    assert await region_of(store.bucket()) == "ap-southeast-1"
    assert [(method, path, sent) for method, path, sent in store.asked] == [("HEAD", "/objects", None)]


@pytest.mark.parametrize(
    ("body", "region"),
    [
        (b'<?xml version="1.0"?><LocationConstraint xmlns="x">han01</LocationConstraint>', "han01"),
        (b"<LocationConstraint>EU</LocationConstraint>", "eu-west-1"),
        (b"<LocationConstraint/>", None),
        (b'<LocationConstraint xmlns="x"></LocationConstraint>', None),
        (b"<html>hello</html>", None),
    ],
)
async def test_others_are_asked_with_credentials(store: Store, body: bytes, region: str | None) -> None:
    store.body = body
    assert await region_of(store.bucket()) == region
    assert store.asked[1][:2] == ("GET", "/objects?location=")
    assert "SECRET" not in str(store.asked)


async def test_without_credentials_nobody_is_asked_for_what_needs_them(store: Store) -> None:
    assert await region_of(store.bucket(known=False)) is None
    assert len(store.asked) == 1


async def test_a_refusal_says_no_region_and_a_failure_is_none(store: Store) -> None:
    store.status = 403
    assert await region_of(store.bucket()) is None
    store.status = 503
    with pytest.raises(Unavailable):
        await region_of(store.bucket())


async def test_a_store_that_is_not_there_is_unavailable_and_its_url_is_not_told() -> None:
    with pytest.raises(Unavailable) as caught:
        await region_of(Bucket("http://127.0.0.1:1/objects", "han01"))
    assert "127.0.0.1" not in str(caught.value)
    assert repr(Bucket("http://secret/", "x", "user", "secret")) == "Bucket()"


async def test_only_aws_itself_is_believed_by_its_names_of_regions() -> None:
    urls = {
        "https://s3.ap-southeast-1.amazonaws.com/b": True,
        "https://s3.cn-north-1.amazonaws.com.cn/b": True,
        "http://s3.ap-southeast-1.amazonaws.com/b": False,
        "https://amazonaws.com.example/b": False,
        "https://xamazonaws.com/b": False,
        "https://s3.example/b": False,
    }
    assert {url: Bucket(url, "x").of_aws for url in urls} == urls


@pytest.mark.needs("seaweedfs")
async def test_a_real_store_takes_our_signature_and_says_what_it_knows(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with seaweed(find_weed(), tmp_path_factory.mktemp("weed")) as server:
        assert server.ask("PUT", "/objects").status_code == 200
        url = f"{server.endpoint}/objects"
        # It takes the signature (a wrong one is refused), and has no region to tell.
        assert await region_of(Bucket(url, "us-east-1", ACCESS, SECRET)) is None
        now = datetime.now(UTC)
        async with httpx.AsyncClient(trust_env=False) as client:
            for secret, status in ((SECRET, 200), ("wrong", 403)):
                headers = _signed(Bucket(url, "us-east-1", ACCESS, secret), now)
                assert (await client.get(url, params={"location": ""}, headers=headers)).status_code == status


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
