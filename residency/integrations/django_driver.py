"""A connection of Django's in; the driver's own within it, which leads home and which Django alone talks to, out.

It is made by the ways of the sink: judged by the address that it leads to, of the member that takes writes. What it, or
a cursor of its, is told by an app nobody looks at, so an app is shown what it tells of itself and no more. Who asks is
told by the module that the call stands in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from residency.adapters.sink_sql import SqlSink
from residency.adapters.sink_sql.places import Place
from residency.errors import UsageError

__all__ = ["Shown", "is_ours", "keep", "lead"]

_OURS: Final = ("django.", "residency.")
_SINK: Final = "_residency_sink"
_MADE: Final = "_residency_made"
"""Under these names a connection of Django's keeps whose ways it takes, and what these led to."""
_HANDLES: Final = frozenset({"pgconn", "pgresult"})
"""What does something of its own, and is not called."""


def lead(connection: Any, sink: SqlSink) -> None:
    """Have a connection of Django's made by the ways of `sink`. One that was made otherwise (before the process served)
    is closed, to be made anew; but none that a test is in a transaction of."""
    said = vars(connection)
    if said.get(_SINK) is not sink:
        if _SINK not in said:
            make = connection.get_new_connection
            connection.get_new_connection = lambda told: _made(connection, make, told)
        said[_SINK], said[_MADE] = sink, None
    if connection.connection is not said[_MADE] and not connection.in_atomic_block:
        connection.close()


def _made(connection: Any, make: Callable[[Any], Any], told: dict[str, Any]) -> Any:
    """What Django's own way makes of one of the sink's places. Raises: SinkUnavailable, a driver's error."""
    sink: SqlSink = vars(connection)[_SINK]
    pool: Any = getattr(connection, "pool", None)
    made: list[Any] = []

    def to(place: Place) -> Any:
        made.append(make(_told(connection.alias, sink, place, told, pooled=pool is not None)))
        return made[-1]

    try:
        vars(connection)[_MADE] = found = sink.connected(to)
    except BaseException:
        for each in made if pool is not None else ():
            pool.putconn(each)  # closed, and its place in the pool is free
        raise
    return found


def _told(alias: str, sink: SqlSink, place: Place, told: dict[str, Any], *, pooled: bool) -> dict[str, Any]:
    """What the driver is told of a place: of the first what the settings say, of others their own. Which database it is
    the settings say, for tests have one of their own."""
    if place.sqlite or (pooled and place.blocking == sink.blocking_url):
        return told
    if pooled:
        raise UsageError(f"sink {alias!r} has members, and a pool of Django's knows the first alone: take `pool` out")
    if place.blocking == sink.blocking_url:
        return {**told, "connect_timeout": place.connect_timeout}
    _, named = place.blocking.get_dialect()().create_connect_args(place.blocking)
    return {**told, **named, **place.arguments("psycopg"), "dbname": told["dbname"]}


def keep(connection: Any, keeps: Callable[[Any], bool]) -> None:
    """Keep the driver's own connection within one of Django's while `keeps` says so of that."""
    kind: Any = type(connection)
    connection.__class__ = _kept(kind, keeps)


@cache
def _kept(kind: Any, keeps: Callable[[Any], bool]) -> Any:
    own = frozenset(each.__module__ for each in kind.__mro__)

    class Kept(kind):  # type: ignore[misc]  # known only when called
        # Signals are sent as of this class.
        __class__ = property(lambda self: kind)

        @property
        def connection(self) -> Any:
            found = self.__dict__["connection"]
            if found is None or is_ours(2, own) or not keeps(self):
                return found
            return Shown(found)

        @connection.setter
        def connection(self, value: Any) -> None:
            self.__dict__["connection"] = value

    return Kept


def is_ours(depth: int, more: frozenset[str] = frozenset()) -> bool:
    """Whether Django, or what is among `more` modules, asks, `depth` calls up."""
    asks = sys._getframe(depth).f_globals.get("__name__", "")
    return asks.startswith(_OURS) or asks in more


class Shown:
    """What a driver's own connection, or cursor, tells of itself."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        object.__setattr__(self, "_of", of)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if name == "connection":
            return Shown(found)
        if name.startswith("_") or callable(found) or name in _HANDLES:
            raise UsageError(_NONE)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        raise UsageError(_NONE)


_NONE: Final = (
    "what a driver's own connection or cursor is told nobody looks at: within a request it tells of itself, and does "
    "nothing. Use the cursor that Django's connection gives, and its execute()"
)
