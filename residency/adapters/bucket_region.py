"""A bucket's address and credentials in; the region that its store says it lies in, out. S3 and what speaks it.

A store is asked twice at most: `HEAD` of the bucket, unsigned, to which AWS answers the region even where it refuses;
then GetBucketLocation, signed (AWS Signature Version 4), where there are credentials to sign with.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import httpx

from residency.errors import Unavailable

__all__ = ["Bucket", "region_of"]

_HEADER: Final = "x-amz-bucket-region"
_LOCATION: Final = re.compile(r"<LocationConstraint[^>]*?(?:/>|>([A-Za-z0-9-]{0,40})</LocationConstraint>)")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_CLOUD: Final = (".amazonaws.com", ".amazonaws.com.cn")
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_LIMIT: Final = 65_536  # bytes of an answer that are read


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is asked for: its own URL (`https://HOST/BUCKET`, or the bucket's own host), the region that its
    sink's URL says, and credentials, None = unsigned questions alone."""

    url: str
    region: str
    user: str | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        return "Bucket()"  # nothing of a URL in a traceback that shows locals

    @property
    def of_aws(self) -> bool:
        """Whether AWS itself answers under this address, so that its names of regions are meant."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" and (parts.hostname or "").endswith(_CLOUD)


async def region_of(bucket: Bucket, *, timeout: float = 5.0, now: datetime | None = None) -> str | None:  # noqa: ASYNC109 - it bounds one answer
    """The region that the store says; None where it says none. `timeout` in seconds, for each question.

    Raises: Unavailable where it does not answer.
    """
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=timeout) as client:
            said = str((await client.head(bucket.url)).headers.get(_HEADER, ""))
            if _REGION.fullmatch(said) is not None:
                return said
            if bucket.user is None or bucket.secret is None:
                return None
            headers = _signed(bucket, now or datetime.now(UTC))
            answer = await client.get(bucket.url, params={"location": ""}, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        raise Unavailable("a bucket does not answer") from None
    if answer.status_code >= 500:
        raise Unavailable("a bucket does not answer")
    said = str(answer.headers.get(_HEADER, ""))
    if _REGION.fullmatch(said) is not None:
        return said
    found = _LOCATION.search(answer.text[:_LIMIT]) if answer.status_code == 200 else None
    if found is None:
        return None
    word = (found[1] or "").lower()
    # AWS answers nothing for its first region, and a word of its own for its second.
    return {"": "us-east-1" if bucket.of_aws else None, "eu": "eu-west-1"}.get(word, word)


def _signed(bucket: Bucket, now: datetime) -> dict[str, str]:
    """The headers of a signed GetBucketLocation."""
    parts = urlsplit(bucket.url)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{bucket.region}/s3/aws4_request"
    headers = {"host": parts.netloc, "x-amz-content-sha256": _EMPTY, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = ["GET", parts.path or "/", "location=", *(f"{name}:{value}" for name, value in headers.items()), ""]
    digest = hashlib.sha256("\n".join([*lines, names, _EMPTY]).encode()).hexdigest()
    key = f"AWS4{bucket.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={bucket.user}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
