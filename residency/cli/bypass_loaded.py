"""Two looks, before and after an app is imported, in; the engines that it made and the libraries it loaded out.

What is seen here was run, not read: it also shows what the app's own source does not name.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from residency.cli.app_tables import alive
from residency.cli.bypass_libraries import GROUPS, group_of

__all__ = ["Before", "Engine", "django_places", "engines_since", "libraries_since", "look"]

_CALLED: Final = {call.partition(".")[0] for group in GROUPS for call in group.calls} - {"sqlalchemy", "sqlmodel"}
# What residency loads itself, for sinks of this or that kind: that they are there says nothing of the app.
_BY_US: Final = frozenset(
    {"aiosqlite", "anyio", "asyncpg", "django", "httpx", "obstore", "psycopg", "psycopg2", "redis", "sqlite3"}
)
_NO_DATABASE: Final = ("", "django.db.backends.dummy")
_NO_CACHE: Final = (
    "residency.", "django.core.cache.backends.locmem.", "django.core.cache.backends.dummy.",
)  # fmt: skip
_POOL: Final = "residency.adapters.sink_sql.engines"


@dataclass(frozen=True, slots=True)
class Before:
    """What was there before the app was."""

    modules: frozenset[str]
    engines: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine of the app's own: its dialect and driver, and the sink whose database it opens (None: no sink's)."""

    driver: str
    sink: str | None


def look() -> Before:
    """What is there now."""
    return Before(frozenset(sys.modules), tuple(_engines()))


def libraries_since(before: Before) -> tuple[str, ...]:
    """The client libraries that were loaded since, in order, but for Python's own and those that residency uses."""
    found = set()
    for module in frozenset(sys.modules) - before.modules:
        first = module.partition(".")[0]
        known = group_of(module, called=False)
        library = known[0] if known is not None else first if first in _CALLED else None
        if library is not None and first not in sys.stdlib_module_names and first not in _BY_US:
            found.add(library)
    return tuple(sorted(found))


def engines_since(before: Before, sinks: Mapping[str, Any]) -> tuple[Engine, ...]:
    """The engines made since that are no sink's own; `sinks` are those that there are, by name."""
    known = {id(each) for each in before.engines}
    made = [each for each in _engines() if id(each) not in known and type(each.pool).__module__ != _POOL]
    databases = {name: url for name, sink in sinks.items() if (url := getattr(sink, "blocking_url", None)) is not None}
    told = [Engine(str(each.url.drivername), _sink_of(each.url, databases.items())) for each in made]
    return tuple(sorted(told, key=lambda engine: (engine.sink is None, engine.sink or "", engine.driver)))


def django_places(sinks: Collection[str]) -> tuple[str, ...]:
    """The entries of Django's DATABASES and CACHES that keep data elsewhere than in one of `sinks`, in order."""
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    if settings is None or not settings.configured:
        return ()
    databases = [
        f"DATABASES[{name!r}]"
        for name, said in settings.DATABASES.items()
        if name not in sinks and said.get("ENGINE", "") not in _NO_DATABASE
    ]
    caches = [
        f"CACHES[{name!r}]"
        for name, said in settings.CACHES.items()
        if name not in sinks and not str(said.get("BACKEND", "")).startswith(_NO_CACHE)
    ]
    return (*databases, *caches)


def _engines() -> list[Any]:
    sqlalchemy = sys.modules.get("sqlalchemy")
    kind = getattr(sqlalchemy, "Engine", None)
    return [] if kind is None else alive(kind)


def _sink_of(url: Any, databases: Iterable[tuple[str, Any]]) -> str | None:
    for name, other in databases:
        if _place(url) == _place(other):
            return name
    return None


def _place(url: Any) -> tuple[str, str, int | None, str]:
    kind = str(url.get_backend_name())
    database = str(url.database or "")
    if kind == "sqlite" and database and database != ":memory:":
        database = str(Path(database).resolve())
    return kind, str(url.host or "localhost"), url.port or (5432 if kind == "postgresql" else None), database
