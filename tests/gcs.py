"""Google Cloud Storage as fake-gcs-server plays it: a folder in; a running server with a bucket, and its URL, out.

The fake speaks the JSON API whole, and of the XML API, which is the one that our client speaks, reading and deletion
alone. So a `Translator` stands before it: storing, uploads in parts and listings of the XML API go on as what the JSON
API has for them, parts being held here until they are completed; errors get the bodies that Google documents; and only
who signs as the service account is answered. All else goes through as it is.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from xml.sax.saxutils import escape

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.ports import free_port
from tests.servers import eventually

__all__ = ["Translator", "gcs"]

ACCOUNT: Final = "app@tests.invalid"
_PAGE: Final = 11  # keys; Google's pages have 1,000


class Translator:
    """The fake's bucket as the XML API shows it, to who signs with the service account in the file `account`."""

    def __init__(self, fake: str, folder: Path) -> None:
        self.fake = fake
        self.uploads: dict[str, dict[int, bytes]] = {}
        """Begun, and neither completed nor aborted."""
        self.account = folder / "account.json"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = self._key.private_bytes(serialization.Encoding.PEM, form, clear).decode()
        words = {"type": "service_account", "client_email": ACCOUNT, "private_key_id": "1", "private_key": pem}
        self.account.write_text(json.dumps(words))
        self._known: set[str] = set()
        translator = self

        class Handler(_Handler):
            of = translator

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, bucket: str, prefix: str) -> str:
        """The URL of a sink of objects there."""
        return f"gs://{bucket}/{prefix}?service_account={quote(str(self.account))}&endpoint={self.endpoint}"

    def knows(self, said: str) -> bool:
        """Whether an `authorization` is a token that the service account signed, and which is not over."""
        head, _, mark = said.removeprefix("Bearer ").rpartition(".")
        if said not in self._known:
            try:
                signature, claims = (_unpadded(part) for part in (mark, head.partition(".")[2]))
                self._key.public_key().verify(signature, head.encode(), padding.PKCS1v15(), hashes.SHA256())
                told = json.loads(claims)
            except (InvalidSignature, ValueError):
                return False
            if told["iss"] != ACCOUNT or "scope" not in told or not told["iat"] - 60 <= time.time() < told["exp"]:
                return False
            self._known.add(said)
        return True

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece, or the second waits for word of the first
    of: Translator

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "content-length" not in (headers or {}):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        with closing(HTTPConnection(self.of.fake, timeout=20)) as connection:
            connection.request(method, path, body, headers)
            with connection.getresponse() as found:
                return found.status, found.read(), {name.lower(): value for name, value in found.getheaders()}

    def handle_it(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if len(body) < int(self.headers.get("content-length") or 0):
            self.close_connection = True  # half a value: whoever sent it is gone
            return
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        _, bucket, key = [*url.path.split("/", 2), ""][:3]
        if not self.of.knows(self.headers.get("authorization", "")):
            self.refuse(401, "AuthenticationRequired")
        elif url.path.startswith("/storage/"):
            self.go_on(body)
        elif self.ask("GET", f"/storage/v1/b/{bucket}")[0] == 404:
            self.refuse(404, "NoSuchBucket")
        elif not key:
            self.list(bucket, query)
        elif "uploads" in query or "uploadId" in query:
            self.upload(bucket, key, query, body)
        elif self.command == "PUT":
            self.store(bucket, key, body, self.headers.get("content-type", ""))
        else:
            self.go_on(body)

    def go_on(self, body: bytes) -> None:
        sent = {name: value for name, value in self.headers.items() if name in ("range", "content-type")}
        status, said, headers = self.ask(self.command, self.path, body, **sent)
        if status == 404:
            self.refuse(404, "NoSuchKey")
            return
        kept = ("content-range", "content-type", "etag", "last-modified", "x-goog-generation")
        length = {"content-length": headers["content-length"]} if self.command == "HEAD" else {}
        self.answer(status, said, {name: headers[name] for name in kept if name in headers} | length)

    def store(self, bucket: str, key: str, body: bytes, content_type: str) -> bool:
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}"
        status, said, _ = self.ask("POST", path, body, **{"content-type": content_type})
        told: dict[str, Any] = json.loads(said)
        headers = {"etag": f'"{told["etag"]}"', "x-goog-generation": told["generation"]}
        text = f"<CompleteMultipartUploadResult><ETag>{headers['etag']}</ETag></CompleteMultipartUploadResult>"
        self.answer(status, b"" if self.command == "PUT" else text.encode(), headers)
        return status == 200

    def upload(self, bucket: str, key: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            name = f"{uuid.uuid4().hex}.{base64.urlsafe_b64encode(self.headers['content-type'].encode()).decode()}"
            self.of.uploads[name] = {}
            text = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            self.answer(200, text.encode())
            return
        name = query["uploadId"]
        parts = self.of.uploads.get(name)
        if parts is None:
            self.refuse(404, "NoSuchUpload")
        elif self.command == "PUT":
            parts[int(query["partNumber"])] = body
            self.answer(200, headers={"etag": f'"{query["partNumber"]}"'})
        elif self.command == "DELETE":
            del self.of.uploads[name]
            self.answer(204)
        else:
            whole = b"".join(parts[number] for number in sorted(parts))
            self.store(bucket, key, whole, base64.urlsafe_b64decode(name.partition(".")[2]).decode())
            del self.of.uploads[name]

    def list(self, bucket: str, query: dict[str, str]) -> None:
        after = query.get("start-after", "")
        asked = {"prefix": query.get("prefix", ""), "maxResults": str(_PAGE), "startOffset": after}
        if "continuation-token" in query:
            asked["pageToken"] = query["continuation-token"]
        status, said, _ = self.ask("GET", f"/storage/v1/b/{bucket}/o?{urlencode(asked)}")
        page = json.loads(said)
        text = "".join(
            f"<Contents><Key>{escape(each['name'])}</Key><LastModified>{each['updated']}</LastModified>"
            f'<ETag>"{each["etag"]}"</ETag><Size>{each["size"]}</Size></Contents>'
            for each in page.get("items", [])
            if each["name"] > after
        )
        if "nextPageToken" in page:
            text += f"<NextContinuationToken>{escape(page['nextPageToken'])}</NextContinuationToken>"
        self.answer(status, f"<?xml version='1.0'?><ListBucketResult>{text}</ListBucketResult>".encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_it  # noqa: N815 - the base class's names


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def gcs(program: Path | None, folder: Path, location: str = "ASIA-SOUTHEAST1") -> Iterator[Translator]:
    """A server that keeps its objects in memory, with a bucket `objects` that lies in `location`.

    Mark the test `needs("fake-gcs-server")`.
    """
    if program is None:
        pytest.fail("mark this test with needs('fake-gcs-server')")
    port = free_port()
    host = f"127.0.0.1:{port}"
    words = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port), "-public-host", host]
    words += ["-location", location, "-log-level", "error"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(program), *words], stdout=log, stderr=log)
    translator = Translator(host, folder)

    def made() -> bool:
        try:
            answer = httpx.post(f"http://{host}/storage/v1/b", json={"name": "objects"}, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code in (200, 409)

    try:
        eventually(made, what="fake-gcs-server")
        yield translator
    finally:
        translator.close()
        process.kill()
        process.wait()
