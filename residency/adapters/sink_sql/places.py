"""A sink's URL in, where its database is and how its connections are pooled out. Nothing is opened."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from residency.errors import SinkUnavailable
from residency.policy.problems import nearest

__all__ = ["BLOCKING", "Place", "place_of"]

# URL driver -> driver that blocks its thread, for sync sessions.
BLOCKING: Final = {
    "sqlite+aiosqlite": "sqlite+pysqlite",
    "postgresql+asyncpg": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_OTHERS: Final = ("sqlite", "postgresql", "file", "s3", "gs", "az", "http", "https", "redis", "rediss", "valkey")
_EXPECTED: Final = ", ".join(f"{driver}://…" for driver in BLOCKING) + ", file://… or memory:"
# What a request waits for a connection, or for the database to take one, before it is refused.
_WAITS: Final = {"pool_timeout": 10, "connect_timeout": 10}
# libpq's words, which asyncpg is told in its own.
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
_VERIFIED: Final = frozenset({"verify-ca", "verify-full"})
_SYSTEM: Final = "system"  # the authorities that this machine trusts
_SIZES: Final = {"pool_size": 5, "max_overflow": 10}


@dataclass(frozen=True, slots=True)
class Place:
    """One database. `pool_timeout` and `connect_timeout` are in seconds, the sizes of each pool in connections.

    `tls` are the options of libpq's that say how a connection is encrypted, `context` the same where that is verified.
    """

    url: URL
    pool_size: int
    max_overflow: int
    pool_timeout: int
    connect_timeout: int
    tls: tuple[tuple[str, str], ...] = ()
    context: ssl.SSLContext | None = None

    @property
    def in_clear(self) -> bool:
        """Whether what goes there and back may be unencrypted, and can be read by others than this machine."""
        if self.sqlite or dict(self.tls).get("sslmode") in _ENCRYPTED:
            return False
        told = (self.url.query.get("host", self.url.host or ""), self.url.query.get("hostaddr", ""))
        hosts = [host for each in told for host in (each.split(",") if isinstance(each, str) else each)]
        return not all(map(_here, hosts))

    @property
    def sqlite(self) -> bool:
        """Whether it is a file of SQLite's."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def blocking(self) -> URL:
        """The URL with a driver that blocks its thread."""
        return self.url.set(drivername=BLOCKING[self.url.drivername]).update_query_pairs(self.tls)

    def arguments(self, driver: str) -> dict[str, Any]:
        """What the driver's `connect` is given besides the URL."""
        match driver:
            case "asyncpg":
                mode = dict(self.tls).get("sslmode")
                return {"timeout": self.connect_timeout, **({} if mode is None else {"ssl": self.context or mode})}
            case "psycopg":
                # Where the database is, and which of its schemas, its URL alone says: libpq would take an address
                # (PGHOSTADDR) and options of the environment, for all sinks at once and against what their URLs say.
                own = {name: "" for name in ("hostaddr", "options") if name not in self.url.query}
                return {"connect_timeout": self.connect_timeout, **own, **dict(self.tls)}
            case _:
                return {}


def place_of(sink: str, text: str, base: Path | None) -> Place:
    """Read a URL as SQLAlchemy writes it; `pool_size`, `max_overflow`, `pool_timeout` and `connect_timeout` may stand
    in its query, and PostgreSQL's `sslmode` and `sslrootcert`, for any driver. A relative path counts from `base`.

    Raises: SinkUnavailable, which names the sink and never the URL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SinkUnavailable(f"sink {sink!r} has a URL that cannot be read: expected {_EXPECTED}") from None
    if url.drivername in ("sqlite", "postgresql"):
        url = url.set(drivername="sqlite+aiosqlite" if url.drivername == "sqlite" else "postgresql+asyncpg")
    if url.drivername not in BLOCKING:
        near = nearest(url.drivername, (*BLOCKING, *_OTHERS)) or f": expected {_EXPECTED}"
        raise SinkUnavailable(f"sink {sink!r} has a URL whose driver is not known here{near}")
    numbers = {name: _number(sink, url, name, usual) for name, usual in (*_WAITS.items(), *_SIZES.items())}
    url = url.difference_update_query(numbers)
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise SinkUnavailable(f"sink {sink!r} is an in-memory database, which rests nowhere: give it a file")
        if base is not None:
            url = url.set(database=str(base / (url.database or "")))
    elif not (url.host or url.query.get("host") or url.query.get("hostaddr")) and _named_beside(url):
        raise SinkUnavailable(
            f"sink {sink!r} has a URL that names no host, and a service file or the environment (PGHOST, PGSERVICE) "
            "would: where it lies is to stand in its URL"
        )
    tls, context = _tls(sink, url, base) if url.get_backend_name() == "postgresql" else ((), None)
    return Place(url.difference_update_query(("ssl", "sslmode", "sslrootcert")), **numbers, tls=tls, context=context)


def _named_beside(url: URL) -> bool:
    """Whether a driver would take the host of a URL that has none from elsewhere: then nobody here knows it."""
    return "service" in url.query or any(os.environ.get(name) for name in ("PGHOST", "PGSERVICE"))


def _tls(sink: str, url: URL, base: Path | None) -> tuple[tuple[tuple[str, str], ...], ssl.SSLContext | None]:
    """What a URL of PostgreSQL says of TLS, in libpq's options and, where that is verified, in Python's."""
    said = {name: url.query[name] for name in ("ssl", "sslmode", "sslrootcert") if name in url.query}
    if not said:
        return (), None
    mode, root = said.get("sslmode", said.get("ssl", "prefer")), said.get("sslrootcert")
    if mode not in _MODES or isinstance(root, tuple):
        raise SinkUnavailable(f"sink {sink!r} has a URL whose sslmode is none of {', '.join(_MODES)}")
    if mode not in _VERIFIED:
        return (("sslmode", str(mode)),), None
    if root is None and mode == "verify-full":
        root = _SYSTEM
    if root is None or (root == _SYSTEM and mode != "verify-full"):  # any certificate that anybody was given would do
        raise SinkUnavailable(f"sink {sink!r} has a URL with sslmode=verify-ca, which needs an sslrootcert=FILE")
    if root != _SYSTEM and base is not None:
        root = str(base / root)
    try:
        context = ssl.create_default_context(cafile=None if root == _SYSTEM else root)
    except (OSError, ValueError):
        raise SinkUnavailable(f"sink {sink!r} has a URL whose sslrootcert cannot be read") from None
    context.check_hostname = mode == "verify-full"
    return (("sslmode", str(mode)), ("sslrootcert", root)), context


def _here(host: str) -> bool:
    """Whether a host, as a URL names it, is this machine; none is a socket of it."""
    try:
        return not host or host.startswith("/") or host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _number(sink: str, url: URL, name: str, usual: int) -> int:
    said = url.query.get(name)
    if said is None:
        return usual
    if not isinstance(said, str) or not said.isascii() or not said.isdecimal() or len(said) > 4:
        raise SinkUnavailable(f"sink {sink!r} has a URL whose {name} is no number")
    if int(said) < (0 if name == "max_overflow" else 1):  # 0 connections, or no bound at all
        raise SinkUnavailable(f"sink {sink!r} has a URL whose {name} is below 1")
    return int(said)
