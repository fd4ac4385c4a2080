"""A request that is redirected home, and a cookie of how often it just was, in; whether that is a circle, out.

Two instances whose registers or pins disagree send a person to each other. A redirect carries nothing of ours to the
other instance; but the client comes back here, with what this instance told it. So a redirect sets a cookie that lives
for seconds and counts redirects of this very request. It says nothing of anybody, and nobody gains by forging it: a
client can only have itself refused, or go round until it gives up by itself, as one without cookies does.

A page that asks for one URL again and again is no circle, and browsers tell: a request that came back by a redirect of
another origin has the `Origin` null where it has one (Fetch, "redirect-tainted"), and is not `same-origin` (Fetch
Metadata).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

__all__ = ["MOST", "WINDOW", "cookie_of", "counted"]

WINDOW: Final = 10
"""Seconds within which redirects of one request are counted."""
MOST: Final = 4
"""Redirects of one request in that time; who asks once more is going in a circle."""
_NAME: Final = "residency-hop-"
_VALUE: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,12})")


def counted(headers: Iterable[tuple[bytes, bytes]], method: str, target: bytes, now: int) -> tuple[int, int]:
    """(how often this request was redirected just now, since when): 0 and `now` where nothing says so, or a browser
    says that this is no request that was redirected. `now` in seconds."""
    name = _name(method, target)
    given = [(header.lower(), value) for header, value in headers]
    if _is_first(dict(given)):
        return 0, now
    for header, value in given:
        if header != b"cookie":
            continue
        for pair in value.decode("latin-1").split(";"):
            key, _, text = pair.strip().partition("=")
            found = _VALUE.fullmatch(text) if key == name else None
            if found is not None and 0 <= now - int(found[2]) < WINDOW:
                return int(found[1]), int(found[2])
    return 0, now


def cookie_of(method: str, target: bytes, count: int, since: int, *, secure: bool) -> bytes:
    """The `Set-Cookie` that counts one redirect more. `secure` = the client came by TLS."""
    # A way back from another site brings it along only if it says None, which browsers take over TLS alone.
    site = "SameSite=None; Secure" if secure else "SameSite=Lax"
    return f"{_name(method, target)}={count + 1}.{since}; Path=/; Max-Age={WINDOW}; HttpOnly; {site}".encode("ascii")


def _is_first(given: Mapping[bytes, bytes]) -> bool:
    """Whether a browser says that no instance of another origin has sent this request here."""
    site = given.get(b"sec-fetch-site")
    return site == b"same-origin" or (site is not None and given.get(b"origin", b"null") != b"null")


def _name(method: str, target: bytes) -> str:
    return _NAME + blake2b(method.encode("utf-8", "replace") + b" " + target, digest_size=6).hexdigest()
