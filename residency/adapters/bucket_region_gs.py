"""A bucket of Google Cloud Storage and a service account's file in; the location that Google says it has, out.

One question, as the service account: the bucket's own description, by the JSON API. Whoever asks must be allowed
`storage.buckets.get`; a refusal says nothing.
"""

from __future__ import annotations

import json
import re
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from residency.errors import Unavailable

__all__ = ["location_of"]

_SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
_LASTS: Final = 300  # seconds
_LOCATION: Final = re.compile(r"[a-z0-9-]{1,40}")
_LIMIT: Final = 65_536  # bytes of a key's file


async def location_of(endpoint: str, bucket: str, account: Path, *, timeout: float = 5.0) -> str | None:  # noqa: ASYNC109 - it bounds one answer
    """The location of `bucket`, in lower case; None where it is not told, or `account` is no service account's key.

    `timeout` in seconds. Raises: Unavailable where nobody answers.
    """
    token = _token(account, int(time.time()))
    if token is None:
        return None
    url = f"{endpoint}/storage/v1/b/{bucket}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=timeout) as client:
            headers = {"authorization": f"Bearer {token}"}
            answer = await client.get(url, params={"fields": "location"}, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL):
        raise Unavailable("a bucket does not answer") from None
    if answer.status_code >= 500:
        raise Unavailable("a bucket does not answer")
    try:
        said: Any = answer.json() if answer.status_code == 200 else None
    except ValueError:
        return None
    location = said.get("location") if isinstance(said, dict) else None
    if not isinstance(location, str) or _LOCATION.fullmatch(location.lower()) is None:
        return None
    return location.lower()


def _token(account: Path, now: int) -> str | None:
    """What the service account signs at `now` (seconds) to be known by, without asking anybody for a token; None where
    the file is not its key."""
    try:
        with account.open("rb") as file:
            told = json.loads(file.read(_LIMIT))
        key = load_pem_private_key(told["private_key"].encode(), password=None)
        head = {"alg": "RS256", "typ": "JWT", "kid": told["private_key_id"]}
        claims = {"iss": told["client_email"], "sub": told["client_email"], "scope": _SCOPE}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(key, RSAPrivateKey):
        return None
    parts = [_part(json.dumps(each).encode()) for each in (head, {**claims, "iat": now, "exp": now + _LASTS})]
    text = ".".join(parts)
    return f"{text}.{_part(key.sign(text.encode(), PKCS1v15(), SHA256()))}"


def _part(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
