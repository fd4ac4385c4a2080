"""A sink's name and a base URL in; where it lies, what is below it, and the headers that say who we are, out.

What is sent to say who we are stands in the URL, which is a secret: `https://user:password@host/v1/`, or headers in the
fragment, `https://host/v1/#authorization=Bearer%20…`. A fragment never leaves this process.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, unquote, urljoin

import httpcore
import httpx

from residency.errors import SinkUnavailable, UsageError
from residency.storage.services import check_target

__all__ = ["Endpoint"]

_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIXED: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})


class Endpoint:
    """One base URL. `own` are the headers (lower case) that it sets, `literal` = it names an address and no host."""

    __slots__ = ("_authority", "_bare", "_base", "_sink", "host", "literal", "local", "origin", "own")

    def __init__(self, sink: str, url: str) -> None:
        """Raises: SinkUnavailable for a URL that cannot be used, which the message does not repeat."""
        self._sink = sink
        base, _, fragment = url.partition("#")
        try:
            parsed = httpx.URL(base)
        except (httpx.InvalidURL, ValueError):
            raise self._unusable("cannot be read") from None
        port = _PORTS.get(parsed.scheme, 0) if parsed.port is None else parsed.port
        if parsed.scheme not in _PORTS or not parsed.host or not 0 < port <= 65_535:
            raise self._unusable("is none of http://HOST/… or https://HOST/…")
        if "?" in base:
            raise self._unusable("has a query, which a base may not have")
        path = parsed.raw_path.decode("ascii")
        try:
            check_target(path)
        except UsageError:
            raise self._unusable("has a path with dot segments") from None
        self.host = parsed.raw_host.decode("ascii")
        self.origin = (parsed.scheme, self.host, port)
        self.literal = _is_address(self.host)
        self.local = self.host == "localhost"
        self._bare = path  # where the URL ends without a slash, the API itself may lie there
        self._base = path if path.endswith("/") else path + "/"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self._authority = host if parsed.port is None else f"{host}:{parsed.port}"
        self.own: Mapping[bytes, bytes] = {**_basic(parsed.userinfo), **self._said(fragment)}

    @property
    def in_clear(self) -> bool:
        """Whether what it is sent goes to another machine unencrypted."""
        here = self.local or (self.literal and ip_address(self.host).is_loopback)
        return self.origin[0] == "http" and not here

    @property
    def authority(self) -> bytes:
        """What stands in the header `Host`."""
        return self._authority.encode("ascii")

    def path(self, target: str) -> str:
        """The whole path and query of a target below the base. Raises: UsageError for one that would leave it."""
        check_target(target)
        return (self._bare if target == "" or target.startswith("?") else self._base) + target

    def url(self, path: str) -> httpcore.URL:
        """The URL of a whole path and query, in parts, so that nobody parses it again."""
        scheme, host, port = self.origin
        return httpcore.URL(scheme=scheme.encode(), host=host.encode(), port=port, target=path.encode("ascii"))

    def joined(self, path: str, location: str) -> str:
        """The absolute URL that a `Location` in the answer about `path` names."""
        try:
            return urljoin(f"{self.origin[0]}://{self._authority}{path}", location)
        except ValueError:
            return ""  # which is below nothing

    def target_of(self, url: str) -> str | None:
        """The target below the base that an absolute URL names, None where it names none."""
        try:
            parsed = httpx.URL(url)
            target = parsed.raw_path.decode("ascii")
            origin = (parsed.scheme, parsed.raw_host.decode("ascii"), parsed.port or _PORTS.get(parsed.scheme, 0))
            if origin != self.origin or parsed.userinfo:
                return None
            check_target(target)
        except (httpx.InvalidURL, ValueError, UsageError):
            return None
        path, query, rest = target.partition("?")
        if path == self._bare:
            return query + rest
        return target.removeprefix(self._base) if path.startswith(self._base) else None

    def _said(self, fragment: str) -> dict[bytes, bytes]:
        if not fragment:
            return {}
        try:
            pairs = parse_qsl(fragment.replace("+", "%2B"), keep_blank_values=True, strict_parsing=True)
            said = {name.lower().encode("ascii"): value.encode("ascii") for name, value in pairs}
        except ValueError:
            raise self._unusable("has a fragment that is no list of NAME=VALUE") from None
        if any(_TOKEN.fullmatch(name) is None or name in _FIXED for name in said):
            raise self._unusable("has a fragment with a header that cannot be set")
        if any(not value.decode().isprintable() for value in said.values()):
            raise self._unusable("has a fragment with a value that no header can have")
        return said

    def _unusable(self, why: str) -> SinkUnavailable:
        return SinkUnavailable(f"sink {self._sink!r} has a URL that {why}")


def _basic(userinfo: bytes) -> dict[bytes, bytes]:
    if not userinfo:
        return {}
    user, _, password = userinfo.decode("ascii").partition(":")
    return {b"authorization": b"Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode())}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
