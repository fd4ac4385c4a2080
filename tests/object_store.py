"""For tests: stores of objects. A stub of S3 whose answers can be bent, and SeaweedFS with a bucket that locks."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from tests.ports import free_port

ACCESS, SECRET = "AKIATESTS", "not-a-secret-of-anybody"
APP_ACCESS, APP_SECRET = "AKIAAPP", "not-the/secret+of-anybody="
"""Of an identity that reads, writes and lists, and makes no buckets."""


def aws(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Set what a client of S3 reads from its environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


class StubS3:
    """One bucket in memory, with versions and a default lock. `bend` answers (method, key) with a status, or None;
    the objects in `lose` are taken once without an answer. `ranges` = it knows them, as all do that are in use."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.put_at: dict[str, datetime] = {}
        self.versions: list[tuple[str, bytes]] = []
        self.asked: list[tuple[str, str]] = []
        self.retention: tuple[str, timedelta] | None = None
        self.bend: Callable[[str, str], int | None] = lambda _method, _key: None
        self.bent_headers: dict[str, str] = {}
        self.delay = 0.0
        self.lose: set[str] = set()
        self.ranges = True
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

            def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def handle_it(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                url = urlsplit(self.path)
                key = unquote(url.path).removeprefix("/bucket").removeprefix("/")
                time.sleep(stub.delay)
                with stub._lock:
                    stub.asked.append((self.command, key))
                    status = stub.bend(self.command, key)
                    if status is not None:
                        self.answer(status, b"<Error><Code>Bent</Code></Error>", **stub.bent_headers)
                        return
                    self.serve(key, parse_qs(url.query, keep_blank_values=True), body)

            def serve(self, key: str, query: dict[str, list[str]], body: bytes) -> None:
                if self.command == "PUT":
                    if self.headers.get("if-none-match") == "*" and key in stub.objects:
                        self.answer(412)
                        return
                    stub.objects[key] = body
                    stub.put_at[key] = datetime.now(UTC)
                    stub.versions.append((key, body))
                    if key in stub.lose:
                        stub.lose.discard(key)
                        self.close_connection = True
                        return
                    self.answer(200, ETag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
                elif self.command == "POST" and "delete" in query:
                    gone = re.findall(r"<Key>(.*?)</Key>", body.decode())
                    for name in gone:
                        stub.objects.pop(name, None)
                    told = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in gone)
                    self.answer(200, f"<DeleteResult>{told}</DeleteResult>".encode(), content_type="application/xml")
                elif self.command == "DELETE":
                    stub.objects.pop(key, None)
                    self.answer(204)
                elif "list-type" in query:
                    found = [name for name in sorted(stub.objects) if name.startswith(query["prefix"][0])]
                    told = "".join(
                        f"<Contents><Key>{name}</Key><LastModified>2026-01-01T00:00:00Z</LastModified>"
                        f"<ETag>e</ETag><Size>{len(stub.objects[name])}</Size></Contents>"
                        for name in found
                    )
                    page = f"<ListBucketResult><IsTruncated>false</IsTruncated>{told}</ListBucketResult>"
                    self.answer(200, page.encode(), content_type="application/xml")
                elif key not in stub.objects:
                    self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
                else:
                    put = stub.put_at[key]
                    headers = {"last-modified": format_datetime(put, usegmt=True), "ETag": '"e"'}
                    if stub.retention is not None:
                        mode, term = stub.retention
                        headers["x-amz-object-lock-mode"] = mode
                        until = (put + term).strftime("%Y-%m-%dT%H:%M:%SZ")
                        headers["x-amz-object-lock-retain-until-date"] = until
                    self.answer_part(stub.objects[key], headers)

            def answer_part(self, value: bytes, headers: dict[str, str]) -> None:
                found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "") if stub.ranges else "")
                if found is None:
                    self.answer(200, value, **headers)
                    return
                first, size = int(found[1]), len(value)
                part = value[first : int(found[2]) + 1]
                if part:
                    self.answer(206, part, **headers, content_range=f"bytes {first}-{first + len(part) - 1}/{size}")
                else:
                    self.answer(416, b"<Error><Code>InvalidRange</Code></Error>")

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_it  # noqa: N815 - the base class's names

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that was killed, or gave up waiting

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def put(self, key: str, data: bytes) -> None:
        """Put an object there without asking the server."""
        self.objects[key] = data
        self.put_at[key] = datetime.now(UTC)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def stub_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """A stub that serves, and the environment that leads to it; the bucket is called `bucket`."""
    stub = StubS3()
    aws(monkeypatch, stub.endpoint)
    try:
        yield stub
    finally:
        stub.close()


class Seaweed:
    """A SeaweedFS server on free ports, with credentials; `locked_bucket` makes buckets."""

    def __init__(self, weed: Path, folder: Path, address: str = "127.0.0.1") -> None:
        self.folder = folder
        (folder / "data").mkdir()
        config = folder / "s3.json"
        actions = ["Admin", "Read", "Write", "List", "Tagging", "BypassGovernanceRetention"]
        keys = [{"accessKey": ACCESS, "secretKey": SECRET}]
        app_keys = [{"accessKey": APP_ACCESS, "secretKey": APP_SECRET}]
        identities = [
            {"name": "tests", "credentials": keys, "actions": actions},
            {"name": "app", "credentials": app_keys, "actions": ["Read", "Write", "List", "Tagging"]},
        ]
        config.write_text(json.dumps({"identities": identities}))
        names = ("master", "volume", "filer")
        self._ports = ports = [free_port(address) for _ in range(2 * len(names) + 2)]
        options = [f"-{name}.port={ports[2 * i]}" for i, name in enumerate(names)]
        options += [f"-{name}.port.grpc={ports[2 * i + 1]}" for i, name in enumerate(names)]
        options += [f"-s3.port={ports[-2]}", f"-s3.port.grpc={ports[-1]}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        options += [f"-dir={folder / 'data'}", f"-ip={address}", f"-ip.bind={address}", "-s3", "-filer"]
        options += [
            f"-s3.config={config}",
            "-master.telemetry=false",
            "-volume.max=300",
            "-master.volumeSizeLimitMB=64",
        ]
        self.endpoint = f"http://{address}:{ports[-2]}"
        self._log = (folder / "weed.log").open("wb")
        self._process = subprocess.Popen(
            [str(weed), "-logtostderr=true", "server", *options],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )

    def wait(self, seconds: float = 60.0) -> None:
        """Until it takes objects."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if self.ask("PUT", "/first-bucket").status_code in (200, 409) and (
                    self.ask("PUT", "/first-bucket/there", b"x").status_code == 200
                ):
                    return
            except httpx.HTTPError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.2)
        log = Path(self._log.name).read_bytes()[-2000:].decode(errors="replace")
        pytest.fail(f"SeaweedFS does not serve: {log}")

    def locked_bucket(self, name: str, mode: str = "COMPLIANCE", days: int = 800) -> str:
        """A bucket with object lock and a default retention; its name."""
        made = self.ask("PUT", f"/{name}", headers={"x-amz-bucket-object-lock-enabled": "true"})
        assert made.status_code == 200, made.text
        rule = f"<Rule><DefaultRetention><Mode>{mode}</Mode><Days>{days}</Days></DefaultRetention></Rule>"
        body = (
            f"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
        )
        told = self.ask("PUT", f"/{name}?object-lock", body.encode())
        assert told.status_code == 200, told.text
        return name

    def versions(self, bucket: str) -> list[tuple[str, str]]:
        """(key, version) of every version in a bucket, delete markers left out."""
        page = self.ask("GET", f"/{bucket}?versions").text
        return re.findall(r"<Version><Key>(.*?)</Key><VersionId>(.*?)</VersionId>", page)

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})
    ) -> httpx.Response:
        """One request, signed as AWS's Signature Version 4 has it."""
        url = urlsplit(self.endpoint + path)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": url.netloc, "x-amz-content-sha256": digest, "x-amz-date": now, **headers}
        names = sorted(signed)
        query = "&".join(sorted(part if "=" in part else f"{part}=" for part in url.query.split("&") if part))
        lines = [method, url.path, query, *(f"{name}:{signed[name]}" for name in names), "", ";".join(names), digest]
        scope = f"{now[:8]}/us-east-1/s3/aws4_request"
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return httpx.request(method, self.endpoint + path, content=body, headers=signed, timeout=20)

    def pause(self) -> None:
        """Let it take connections and answer nothing."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, and what it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        for port in self._ports:  # whatever folder it is given for temporary files
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - it is where they are
                left.unlink()


@contextmanager
def seaweed(weed: Path | None, folder: Path, address: str = "127.0.0.1") -> Iterator[Seaweed]:
    """A SeaweedFS on an address of this machine that takes objects. Mark the test `needs("seaweedfs")`."""
    if weed is None:
        pytest.fail("mark this test with needs('seaweedfs')")
    server = Seaweed(weed, folder, address)
    try:
        server.wait()
        yield server
    finally:
        server.close()


@contextmanager
def between(server: Seaweed, bend: Callable[[str, str], int | None]) -> Iterator[str]:
    """The endpoint of a proxy before `server`; `bend` answers (method, path and query) with a status, or None."""
    target = urlsplit(server.endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def handle_it(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status = bend(self.command, self.path)
            headers: dict[str, str] = {}
            said = b""
            length = "0"
            if status is None:
                with closing(HTTPConnection(target, timeout=20)) as connection:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    with connection.getresponse() as answer:
                        status, said = answer.status, answer.read()
                        headers = {name.lower(): value for name, value in answer.getheaders()}
                length = headers.get("content-length", "0") if self.command == "HEAD" else str(len(said))
            self.send_response_only(status)
            for name in headers.keys() - {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, headers[name])
            self.send_header("content-length", length)
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_it  # noqa: N815 - the base class's names

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that gave up waiting

    proxy = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
