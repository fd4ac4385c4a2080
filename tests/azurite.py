"""Azure's blob storage as Azurite plays it: a folder in; a running server with a container, and its URL, out.

Azurite is a package of npm's. It is fetched into `.tools/` by the first test that needs it, and those are slow ones.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import TOOLS
from tests.ports import free_port
from tests.servers import eventually

__all__ = ["Azurite", "azurite"]

_WANTED: Final = "azurite@3.37.0"
ACCOUNT: Final = "devstoreaccount1"
# Azurite's own, which is in its documentation and opens nothing else.
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_API: Final = "2021-12-02"


class Azurite:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"

    def url(self, container: str, prefix: str) -> str:
        """The URL of a sink of objects there."""
        return f"az://{ACCOUNT}:{quote(KEY, safe='')}@{container}/{prefix}?endpoint={self.endpoint}"

    def make(self, container: str) -> bool:
        """Make a container; False while the server does not answer."""
        date = formatdate(usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": _API}
        told = "".join(f"{name}:{value}\n" for name, value in headers.items())
        asked = "PUT" + "\n" * 12 + told + f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        mark = base64.b64encode(hmac.new(base64.b64decode(KEY), asked.encode(), hashlib.sha256).digest()).decode()
        headers |= {"authorization": f"SharedKey {ACCOUNT}:{mark}", "content-length": "0"}
        try:
            answer = httpx.put(f"{self.endpoint}/{container}?restype=container", headers=headers, trust_env=False)
        except httpx.TransportError:
            return False
        assert answer.status_code in (201, 409), answer.text
        return True


def _program() -> Path:
    found = TOOLS / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if not found.is_file():
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            pytest.skip("tier not available: azurite: npm and Node.js, which fetch and run it")
        folder = found.parents[2]
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), _WANTED]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
    return found


@contextmanager
def azurite(folder: Path) -> Iterator[Azurite]:
    """A server that keeps its blobs in `folder`, with a container `objects`."""
    port = free_port()
    words = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent")
    more = ("--disableTelemetry", "--skipApiVersionCheck")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(_program()), *words, *more], stdout=log, stderr=log)
    server = Azurite(port)
    try:
        eventually(lambda: server.make("objects"), what="Azurite")
        yield server
    finally:
        process.kill()
        process.wait()
