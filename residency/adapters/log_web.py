"""A log's web address in (plain files behind http or https); a reader of its files out. Nothing is believed of it."""

from __future__ import annotations

import time
import weakref
from urllib.parse import urlsplit

from residency.errors import Unavailable, UsageError

__all__ = ["LogWeb"]


class LogWeb:
    """Reads files below `https://HOST/PATH`, over connections that are kept. Threads may share it."""

    def __init__(self, url: str, *, timeout: float = 10.0, longest: float = 300.0, limit: int = 32 * 2**20) -> None:
        """Nothing is asked yet. In seconds, `timeout` bounds one silence and `longest` one file; `limit` is the bytes
        of the largest file. Raises: UsageError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError("expected https://HOST/PATH of a log, with nothing after the path")
        try:
            import httpx
        except ImportError:
            raise UsageError("web addresses need the extra `http`: pip install 'residency[http]'") from None
        self._base = url.rstrip("/")
        self._limit = limit
        self._longest = longest
        # Files come as they are: a compressed one could be any size once it is unpacked.
        plain = {"Accept-Encoding": "identity"}
        self._client = httpx.Client(headers=plain, timeout=timeout, limits=httpx.Limits(max_connections=32))
        self._error = httpx.HTTPError
        self.close = weakref.finalize(self, self._client.close)
        """Let connections go; done by itself where nobody does."""

    def read(self, path: str) -> bytes | None:
        """The file's bytes, None where the server says that there is none. Raises: Unavailable, naming path, status."""
        try:
            with self._client.stream("GET", f"{self._base}/{path}") as answer:
                if answer.status_code in (404, 410):
                    return None
                if answer.status_code != 200:
                    raise Unavailable(f"{path} cannot be read (status {answer.status_code})")
                if answer.headers.get("Content-Encoding", "identity") != "identity":
                    raise Unavailable(f"{path} cannot be read (it comes compressed)")
                data, end = bytearray(), time.monotonic() + self._longest
                for chunk in answer.iter_raw():
                    data += chunk
                    if time.monotonic() >= end:
                        raise Unavailable(f"{path} cannot be read (more than {self._longest:g} seconds)")
                    if len(data) > self._limit:
                        raise Unavailable(f"{path} cannot be read (more than {self._limit} bytes)")
                return bytes(data)
        except self._error as error:
            raise Unavailable(f"{path} cannot be read ({type(error).__name__})") from None
