"""A bucket of an S3-compatible store as a place for a log: paths and bytes in, bytes and locks out.

Credentials come from the environment as every S3 client has them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL …), never from
the URL. No message carries the URL, the bucket or what the store answered: it names the path below the prefix and a
status.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from residency.audit.mirror import Lock
from residency.errors import Unavailable, UsageError, VerificationError

__all__ = ["LogObjects", "parse_s3_url"]

_STATUS = re.compile(r"status code: (\d{3})")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SIGNED_FOR: Final = timedelta(seconds=60)
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_used_by: int | None = None
"""The process that talked to a store first. The client's threads do not survive a fork, and a child would wait for them
for ever."""


def parse_s3_url(url: str) -> tuple[str, str]:
    """(bucket, prefix) of `s3://BUCKET/PREFIX`; the prefix may be empty. Raises: UsageError, not telling the URL."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or parts.username is not None or parts.password is not None:
        raise UsageError("expected s3://BUCKET/PREFIX; credentials belong into the environment")
    if parts.query or parts.fragment or _BUCKET.fullmatch(parts.netloc) is None:
        raise UsageError("expected s3://BUCKET/PREFIX, with the bucket's plain name and nothing after the prefix")
    return parts.netloc, parts.path.strip("/")


class LogObjects:
    """`read`, `create`, `write`, `prune` and `lock` below one prefix of a bucket."""

    def __init__(self, url: str, *, timeout: float = 10.0, retries: int = 2, limit: int = 32 * 2**20) -> None:
        """Nothing is asked of the store yet. `timeout` (seconds) bounds one request, `limit` (bytes) one object that
        is read. Raises: UsageError."""
        bucket, prefix = parse_s3_url(url)
        try:
            import httpx
            import obstore
            from obstore.store import S3Store
        except ImportError:
            raise UsageError("stores of objects need the extra `s3`: pip install 'residency[s3]'") from None
        self._obstore = obstore
        self._limit = limit
        # Where none is named, the client would ask the address that clouds keep for it.
        region = {} if os.environ.keys() & {"AWS_REGION", "AWS_DEFAULT_REGION"} else {"region": "us-east-1"}
        try:
            self._store: Any = S3Store(
                bucket,
                prefix=prefix or None,
                client_options={
                    "timeout": timedelta(seconds=timeout),
                    "connect_timeout": timedelta(seconds=timeout),
                    # Options that are given hide this one of the environment's.
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                },
                retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=timeout)},
                **region,  # type: ignore[arg-type]  # one key of the many that it takes
            )
        except obstore.exceptions.BaseError:
            raise UsageError("the environment's AWS settings cannot be read as such") from None
        self._http = httpx.Client(timeout=timeout)
        self._http_error = httpx.HTTPError
        self.close = weakref.finalize(self, self._http.close)
        """Let connections go; done by itself where nobody does."""

    def read(self, path: str) -> bytes | None:
        """The object's bytes, None where there is none. Raises: Unavailable."""
        with self._asking("read", path):
            try:
                found = self._obstore.get(self._store, path)
                if found.meta["size"] > self._limit:
                    raise Unavailable(f"{path} cannot be read (more than {self._limit} bytes)")
                return bytes(found.bytes())
            except FileNotFoundError:
                return None

    def create(self, path: str, data: bytes) -> bool:
        """Put an object that is final; False where it is there already with these bytes.

        Raises: VerificationError where others are there (they are left), Unavailable.
        """
        with self._asking("write", path):
            try:
                self._obstore.put(self._store, path, data, mode="create", use_multipart=False)
                return True
            except self._obstore.exceptions.AlreadyExistsError:
                pass
        if self.read(path) != data:
            raise VerificationError(f"the mirror holds something else as {path}; nothing was overwritten")
        return False

    def write(self, path: str, data: bytes) -> None:
        """Put an object in the place of what is there. Raises: Unavailable."""
        with self._asking("write", path):
            self._obstore.put(self._store, path, data, use_multipart=False)

    def prune(self, path: str) -> None:
        """Delete all that lies below `path`. Raises: Unavailable."""
        with self._asking("delete", path):
            for chunk in self._obstore.list(self._store, path):
                self._obstore.delete(self._store, [found["path"] for found in chunk])

    def lock(self, path: str) -> Lock:
        """How long the object that lies at `path` now is locked. Raises: Unavailable."""
        with self._asking("look at", path):
            url = self._obstore.sign(self._store, "HEAD", path, _SIGNED_FOR)
            try:
                answer = self._http.head(url)
            except self._http_error:
                raise Unavailable(f"the lock of {path} cannot be read: no answer") from None
        if answer.status_code != 200:
            raise Unavailable(f"the lock of {path} cannot be read (status {answer.status_code})")
        mode = answer.headers.get("x-amz-object-lock-mode", "")
        until = answer.headers.get("x-amz-object-lock-retain-until-date")
        try:
            put = _micros(parsedate_to_datetime(answer.headers["last-modified"]))
            end = None if until is None else _micros(datetime.fromisoformat(until))
        except (KeyError, ValueError, TypeError):
            raise Unavailable(f"the lock of {path} cannot be read: its dates are not of the usual form") from None
        return Lock(put, mode.upper(), end)

    @contextmanager
    def _asking(self, verb: str, path: str) -> Iterator[None]:
        global _used_by
        if _used_by is None:
            _used_by = os.getpid()
        elif _used_by != os.getpid():
            raise Unavailable("the store of objects cannot be used in a process that was forked off one that used it")
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError) as error:
            # What the client says holds the URL, and the store's own words.
            status = _STATUS.search(str(error))
            why = f"status {status[1]}" if status else "no answer"
            raise Unavailable(f"the store of objects does not let us {verb} {path} ({why})") from None


def _micros(moment: datetime) -> int:
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _MICROSECOND
