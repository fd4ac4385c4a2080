"""Databases that are ways to the same rows in; an engine's connections, each to the one that takes writes, out.

Members are standbys and their primary: PostgreSQL keeps them the same. A connection goes to the first, in order, that
answers in its share of the time and takes writes; a standby is passed over, for what it holds may be of a moment ago,
and would answer as if a person had no data. Reading engines go the same way.

An old primary that comes back takes writes too, and lacks what was written since. Its timeline is an earlier one than
was seen in this process, so it is passed over; so is a server of another cluster than was seen.

A connection is made before an act sends anything, so that to try the next member does nothing twice. What was sent over
a connection that broke is not sent again: its outcome is unknown.

Where it is asked for, each new connection is judged by the address that it leads to, whatever its name resolved to
before: one that lies elsewhere is closed before anything of anybody's is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect

from residency.adapters.sink_sql.places import Place
from residency.errors import SinkUnavailable
from residency.storage.failover import Attempt, Circuit, Told

__all__ = ["Ways"]

_WHICH: Final = (
    "SELECT system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) FROM pg_control_system()"
)
_LEAST: Final = 2  # seconds of a connection's time that each member is given; libpq takes no less


class Ways:
    """All the ways to one database, shared by the engines of its sink. Safe from any thread: an update that is lost
    costs one more try."""

    __slots__ = ("_circuits", "_elsewhere", "_seen", "_sink", "places")

    def __init__(self, sink: str, places: Sequence[Place], *, elsewhere: Callable[[str], bool] | None = None) -> None:
        """`places` in order; `elsewhere` = whether an address is none that they may lie at, None = that is not asked.

        Raises: SinkUnavailable where there are several and one is no server.
        """
        if len(places) > 1 and any(place.url.get_backend_name() != "postgresql" for place in places):
            raise SinkUnavailable(f"sink {sink!r} has members, and one of its URLs is none of PostgreSQL")
        self._sink = sink
        self._elsewhere = elsewhere
        self.places = tuple(places)
        self._circuits = [Circuit()] * len(self.places)
        self._seen: tuple[str, int] | None = None  # the cluster, and its newest timeline

    def connect(self, dialect: Dialect, arguments: Sequence[Any], named: dict[str, Any]) -> DBAPIConnection:
        """A connection; `arguments` and `named` lead to the first place. Raises: SinkUnavailable, a driver's error."""

        def make(place: Place) -> DBAPIConnection:
            if len(self.places) == 1:
                return dialect.connect(*arguments, **named)
            positional, by_name = dialect.create_connect_args(place.url)
            return dialect.connect(*positional, **{**by_name, **place.arguments(dialect.driver)})

        return self.first(make)

    def first(self, make: Callable[[Place], DBAPIConnection]) -> DBAPIConnection:
        """What `make` makes of the first place, in order, that takes writes; of the only one there is, as it is. Either
        is judged by where it leads. Raises: SinkUnavailable, what `make` raises."""
        if len(self.places) == 1:
            return self._at_home(make(self.places[0]))
        attempt = Attempt(changes=False)
        problem: Exception = SinkUnavailable(
            f"sink {self._sink!r} cannot be reached: none of its {len(self.places)} ways answers"
        )
        while (member := attempt.next(self._circuits, _now())) is not None:
            self._circuits[member] = self._circuits[member].begun(_now())
            try:
                found = self._connected(make, member)
            except Exception as error:  # noqa: BLE001 - drivers raise what they like; whatever it is, there is none
                problem, attempt = error, attempt.told(member, Told.UNREACHED)
                self._circuits[member] = self._circuits[member].told(Told.UNREACHED, _now())
            else:
                self._circuits[member] = Circuit()
                return found
        raise problem

    def _at_home(self, connection: DBAPIConnection) -> DBAPIConnection:
        if self._elsewhere is None or self.places[0].sqlite:
            return connection
        peer = _peer(connection)
        if peer is not None and self._elsewhere(peer):
            connection.close()
            raise SinkUnavailable(f"sink {self._sink!r} has an address in another country than it says")
        return connection

    def _connected(self, make: Callable[[Place], DBAPIConnection], member: int) -> DBAPIConnection:
        place = self.places[member]
        share = max(_LEAST, place.connect_timeout // len(self.places))
        connection = self._at_home(make(replace(place, connect_timeout=share)))
        try:
            cursor = connection.cursor()
            cursor.execute("SHOW transaction_read_only")
            row = cursor.fetchone()
            cursor.close()
            connection.rollback()
        except BaseException:
            connection.close()
            raise
        if row is None or row[0] != "off":
            connection.close()
            raise SinkUnavailable(f"sink {self._sink!r} takes no writes")
        told = _which(connection)
        if told is not None:
            seen = told if self._seen is None else self._seen
            if told[0] != seen[0] or told[1] < seen[1]:
                connection.close()
                raise SinkUnavailable(
                    f"sink {self._sink!r} has a way to an old primary, or to another database than before"
                )
            self._seen = told
        return connection


def _peer(connection: Any) -> str | None:
    """The address that a new connection leads to, "" where nobody can say, None = a file or socket of this machine."""
    driver = getattr(connection, "driver_connection", connection)
    try:
        if (info := getattr(driver, "info", None)) is not None:  # psycopg
            # libpq goes to a `hostaddr`, whatever `host` says beside it; a socket has none.
            return info.hostaddr or (None if info.host.startswith(("/", "@")) else "")
        peer = driver._transport.get_extra_info("peername")  # asyncpg has no word of its own for it
    except Exception:  # noqa: BLE001 - a driver of another release may raise anything; then nobody can say
        return ""
    return None if isinstance(peer, str | bytes) else str(peer[0]) if peer else ""


def _which(connection: Any) -> tuple[str, int] | None:
    """(cluster, timeline) of a connection's server, None where it does not tell."""
    try:
        cursor = connection.cursor()
        cursor.execute(_WHICH)
        system, timeline = cursor.fetchone()
        cursor.close()
        return str(system), int(timeline, 16)
    except Exception:  # noqa: BLE001 - a server that is none of PostgreSQL's own may know no such functions
        return None
    finally:
        connection.rollback()


def _now() -> int:
    return time.monotonic_ns() // 1000
