"""A sink's URL in, where its database is and how its connections are pooled out. Nothing is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from residency.errors import SinkUnavailable

__all__ = ["BLOCKING", "Place", "place_of"]

# URL driver -> driver that blocks its thread, for sync sessions.
BLOCKING: Final = {
    "sqlite+aiosqlite": "sqlite+pysqlite",
    "postgresql+asyncpg": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_EXPECTED: Final = ", ".join(f"{driver}://…" for driver in BLOCKING) + ", file://… or memory:"
# What a request waits for a connection, or for the database to take one, before it is refused.
_WAITS: Final = {"pool_timeout": 10, "connect_timeout": 10}
_SIZES: Final = {"pool_size": 5, "max_overflow": 10}


@dataclass(frozen=True, slots=True)
class Place:
    """One database. `pool_timeout` and `connect_timeout` are in seconds, the sizes of each pool in connections."""

    url: URL
    pool_size: int
    max_overflow: int
    pool_timeout: int
    connect_timeout: int

    @property
    def sqlite(self) -> bool:
        """Whether it is a file of SQLite's."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def blocking(self) -> URL:
        """The URL with a driver that blocks its thread."""
        return self.url.set(drivername=BLOCKING[self.url.drivername])

    def arguments(self, driver: str) -> dict[str, Any]:
        """What the driver's `connect` is given besides the URL."""
        match driver:
            case "asyncpg":
                return {"timeout": self.connect_timeout}
            case "psycopg":
                # Where the database is, and which of its schemas, its URL alone says: libpq would take an address
                # (PGHOSTADDR) and options of the environment, for all sinks at once and against what their URLs say.
                own = {name: "" for name in ("hostaddr", "options") if name not in self.url.query}
                return {"connect_timeout": self.connect_timeout, **own}
            case _:
                return {}


def place_of(sink: str, text: str, base: Path | None) -> Place:
    """Read a URL as SQLAlchemy writes it; `pool_size`, `max_overflow`, `pool_timeout` and `connect_timeout` may stand
    in its query. A relative path of a SQLite file counts from `base`.

    Raises: SinkUnavailable, which names the sink and never the URL.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SinkUnavailable(f"sink {sink!r} has a URL that cannot be read: expected {_EXPECTED}") from None
    if url.drivername in ("sqlite", "postgresql"):
        url = url.set(drivername="sqlite+aiosqlite" if url.drivername == "sqlite" else "postgresql+asyncpg")
    if url.drivername not in BLOCKING:
        raise SinkUnavailable(f"sink {sink!r} has a URL whose driver is not known here: expected {_EXPECTED}")
    numbers = {name: _number(sink, url, name, usual) for name, usual in (*_WAITS.items(), *_SIZES.items())}
    url = url.difference_update_query(numbers)
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise SinkUnavailable(f"sink {sink!r} is an in-memory database, which rests nowhere: give it a file")
        if base is not None:
            url = url.set(database=str(base / (url.database or "")))
    return Place(url, **numbers)


def _number(sink: str, url: URL, name: str, usual: int) -> int:
    said = url.query.get(name)
    if said is None:
        return usual
    if not isinstance(said, str) or not said.isascii() or not said.isdecimal() or len(said) > 4:
        raise SinkUnavailable(f"sink {sink!r} has a URL whose {name} is no number")
    if int(said) < (0 if name == "max_overflow" else 1):  # 0 connections, or no bound at all
        raise SinkUnavailable(f"sink {sink!r} has a URL whose {name} is below 1")
    return int(said)
