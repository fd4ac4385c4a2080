"""Reading a log over http: 404 is missing, any other status is an error that names it, nothing is without bounds."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from residency.adapters.log_web import LogWeb
from residency.errors import Unavailable, UsageError
from tests.object_store import StubS3, stub_s3


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """A server of plain files."""
    with stub_s3(monkeypatch) as server:
        server.put("logs/chat/checkpoint", b"signed")
        yield server


def test_files_lie_below_the_address(stub: StubS3) -> None:
    for address in ("logs/chat", "logs/chat/"):
        web = LogWeb(f"{stub.endpoint}/{address}")
        assert web.read("checkpoint") == b"signed"
        web.close()
    assert [key for _, key in stub.asked] == ["logs/chat/checkpoint"] * 2


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_missing(stub: StubS3, status: int) -> None:
    stub.bend = lambda _method, _key: status
    assert LogWeb(stub.endpoint).read("checkpoint") is None


@pytest.mark.parametrize("status", [204, 302, 401, 403, 500, 503])
def test_another_status_is_an_error_that_names_path_and_status(stub: StubS3, status: int) -> None:
    stub.bend = lambda _method, _key: status
    with pytest.raises(Unavailable, match=rf"^tile/0/000 cannot be read \(status {status}\)$"):
        LogWeb(f"{stub.endpoint}/secret-path").read("tile/0/000")


def test_a_server_that_is_away_or_silent_is_an_error(stub: StubS3) -> None:
    stub.delay = 1.0
    with pytest.raises(Unavailable, match=r"^checkpoint cannot be read \(ReadTimeout\)$"):
        LogWeb(stub.endpoint, timeout=0.2).read("checkpoint")
    with pytest.raises(Unavailable, match=r"^checkpoint cannot be read \(ConnectError\)$"):
        LogWeb("http://127.0.0.1:9").read("checkpoint")


def test_a_file_without_an_end_is_given_up(stub: StubS3) -> None:
    stub.put("checkpoint", b"x" * 100_001)
    with pytest.raises(Unavailable, match="more than 100000 bytes"):
        LogWeb(stub.endpoint, limit=100_000).read("checkpoint")


def test_what_comes_compressed_is_not_unpacked() -> None:
    asked: list[str | None] = []

    class Bomb(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Accept-Encoding"])
            body = gzip.compress(bytes(10_000_000))
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Bomb) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        web = LogWeb(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(Unavailable, match=r"^checkpoint cannot be read \(it comes compressed\)$"):
            web.read("checkpoint")
        web.close()
        thread.join()
    assert asked == ["identity"]


def test_a_file_that_comes_drop_by_drop_is_given_up(stub: StubS3) -> None:
    stub.put("checkpoint", b"x" * 200_000)
    with pytest.raises(Unavailable, match=r"^checkpoint cannot be read \(more than 0 seconds\)$"):
        LogWeb(stub.endpoint, longest=0.0).read("checkpoint")


@pytest.mark.parametrize(
    "url", ["ftp://host/a", "https://", "https:///a", "https://host/a?b", "https://host/a#b", "dir"]
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected https://HOST/PATH"):
        LogWeb(url)
