"""An engine's way to one of several databases, over drivers that connect to nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from residency.adapters.sink_sql.members import Ways
from residency.adapters.sink_sql.places import place_of
from residency.errors import SinkUnavailable


class Cursor:
    """Answers the two questions that are asked of a new connection."""

    def __init__(self, read_only: str, which: tuple[str, str] | None) -> None:
        self.read_only, self.which = read_only, which
        self.first = True

    def execute(self, statement: str) -> None:
        self.first = statement == "SHOW transaction_read_only"
        if not self.first and self.which is None:
            raise OSError("no such function")

    def fetchone(self) -> tuple[str, ...] | None:
        return (self.read_only,) if self.first else self.which

    def close(self) -> None:
        pass


class Connection:
    """One to a server that takes writes or does not."""

    def __init__(self, read_only: str, which: tuple[str, str] | None = None) -> None:
        self.read_only, self.which = read_only, which
        self.closed = self.ended = False
        self.driver_connection: object = None

    def cursor(self) -> Cursor:
        return Cursor(self.read_only, self.which)

    def rollback(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True


class Dialect:
    """Servers by name: on = a standby, off = a primary, none = away."""

    driver = "asyncpg"

    def __init__(self, **servers: str) -> None:
        self.servers = servers
        self.which: dict[str, tuple[str, str]] = {}
        self.peers: dict[str, object] = {}
        self.asked: list[tuple[str, Any]] = []
        self.made: list[Connection] = []

    def create_connect_args(self, url: Any) -> tuple[list[Any], dict[str, Any]]:
        return [], {"host": url.host, "password": url.password}

    def connect(self, *arguments: Any, **named: Any) -> Connection:
        self.asked.append((named["host"], named.get("timeout")))
        if named["host"] not in self.servers:
            raise OSError("connection to a secret host refused")
        self.made.append(Connection(self.servers[named["host"]], self.which.get(named["host"])))
        self.made[-1].driver_connection = self.peers.get(named["host"])
        return self.made[-1]


def ways(*hosts: str, elsewhere: Callable[[str], bool] | None = None) -> Ways:
    """The ways to one database on these hosts."""
    places = [place_of("people-vn", f"postgresql+asyncpg://app:x@{host}/people", None) for host in hosts]
    return Ways("people-vn", places, elsewhere=elsewhere)


def asyncpg_to(peer: object) -> SimpleNamespace:
    """A connection of asyncpg's, as far as it tells where it leads."""
    return SimpleNamespace(_transport=SimpleNamespace(get_extra_info={"peername": peer}.get))


def psycopg_to(host: str, address: str) -> SimpleNamespace:
    """The same of psycopg's."""
    return SimpleNamespace(info=SimpleNamespace(host=host, hostaddr=address))


def connected(way: Ways, dialect: Dialect) -> list[str]:
    """The hosts that were asked for one connection."""
    dialect.asked.clear()
    connection: Any = way.connect(dialect, [], {"host": "a", "timeout": 10})  # type: ignore[arg-type]
    assert (connection.read_only, connection.closed) == ("off", False)
    return [host for host, _ in dialect.asked]


def test_the_first_that_takes_writes_is_the_one() -> None:
    dialect = Dialect(a="off", b="off")
    assert connected(ways("a", "b"), dialect) == ["a"]
    assert dialect.made[0].ended  # the question is no part of what comes


def test_a_server_that_is_away_and_a_standby_are_passed_over_and_let_go() -> None:
    dialect = Dialect(b="on", c="off")
    assert connected(ways("a", "b", "c"), dialect) == ["a", "b", "c"]
    assert [each.closed for each in dialect.made] == [True, False]


def test_each_is_given_its_share_of_the_time() -> None:
    dialect = Dialect(c="off")
    connected(ways("a", "b", "c"), dialect)
    assert dialect.asked == [("a", 3), ("b", 3), ("c", 3)]


def test_one_that_is_away_again_and_again_is_not_asked_for_a_while() -> None:
    way, dialect = ways("a", "b"), Dialect(b="off")
    assert [connected(way, dialect) for _ in range(4)] == [["a", "b"]] * 3 + [["b"]]


def test_where_none_takes_writes_there_is_no_connection() -> None:
    with pytest.raises(SinkUnavailable, match="'people-vn' takes no writes"):
        ways("a", "b").connect(Dialect(a="on", b="on"), [], {})  # type: ignore[arg-type]
    way = ways("a")
    assert way.connect(Dialect(a="on"), [], {"host": "a"}) is not None  # type: ignore[arg-type]  # nothing to choose


def test_where_all_circuits_are_open_nobody_is_asked() -> None:
    way, dialect = ways("a", "b"), Dialect()
    for _ in range(3):
        with pytest.raises(OSError, match="refused"):
            way.connect(dialect, [], {})  # type: ignore[arg-type]
    dialect.asked.clear()
    with pytest.raises(SinkUnavailable, match="'people-vn' cannot be reached: none of its 2 ways answers"):
        way.connect(dialect, [], {})  # type: ignore[arg-type]
    assert dialect.asked == []


def test_a_file_has_no_members() -> None:
    places = [place_of("people-vn", url, None) for url in ("sqlite:///a.db", "sqlite:///b.db")]
    with pytest.raises(SinkUnavailable, match="none of PostgreSQL"):
        Ways("people-vn", places)


def test_an_old_primary_that_comes_back_is_passed_over() -> None:
    way, dialect = ways("a", "b"), Dialect(b="off")
    dialect.which = {"a": ("7", "0000000F"), "b": ("7", "00000010")}
    assert connected(way, dialect) == ["a", "b"]
    dialect.servers["a"] = "off"
    assert connected(way, dialect) == ["a", "b"]
    assert dialect.made[-2].closed
    dialect.which["a"] = ("7", "00000011")  # and is the primary again
    assert connected(way, dialect) == ["a"]


def test_a_server_of_another_cluster_is_none_of_the_ways() -> None:
    way, dialect = ways("a", "b"), Dialect(b="off")
    dialect.which = {"a": ("8", "00000009"), "b": ("7", "00000001")}
    assert connected(way, dialect) == ["a", "b"]
    dialect.servers["a"] = "off"
    assert connected(way, dialect) == ["a", "b"]
    del dialect.servers["b"]
    with pytest.raises(OSError, match="refused"):
        way.connect(dialect, [], {})  # type: ignore[arg-type]


def test_a_member_whose_connection_leads_abroad_is_closed_and_passed_over() -> None:
    dialect = Dialect(a="off", b="off")
    dialect.peers = {"a": asyncpg_to(("192.0.2.1", 5432)), "b": psycopg_to("b", "192.0.2.2")}
    assert connected(ways("a", "b", elsewhere="192.0.2.1".__eq__), dialect) == ["a", "b"]
    assert [each.closed for each in dialect.made] == [True, False]


@pytest.mark.parametrize(
    ("driver", "goes"),
    [
        (asyncpg_to(("192.0.2.2", 5432)), True),
        (asyncpg_to(("192.0.2.1", 5432)), False),
        (asyncpg_to(("2001:db8::1", 5432, 0, 0)), False),
        (asyncpg_to("/run/postgresql/.s.PGSQL.5432"), True),
        (asyncpg_to(None), False),
        (psycopg_to("db.example", "192.0.2.2"), True),
        (psycopg_to("db.example", "192.0.2.1"), False),
        (psycopg_to("db.example", ""), False),
        (psycopg_to("/run/postgresql", ""), True),
        (psycopg_to("/run/postgresql", "192.0.2.1"), False),
        (SimpleNamespace(), False),
    ],
)
def test_the_only_way_is_judged_by_where_its_connection_leads_and_none_that_nobody_knows_of_goes(
    driver: object, goes: bool
) -> None:
    dialect = Dialect(a="off")
    dialect.peers = {"a": driver}
    way = ways("a", elsewhere={"192.0.2.1", "2001:db8::1", ""}.__contains__)
    if goes:
        way.connect(dialect, [], {"host": "a"})  # type: ignore[arg-type]
    else:
        with pytest.raises(SinkUnavailable, match=r"^sink 'people-vn' has an address in another country than it says$"):
            way.connect(dialect, [], {"host": "a"})  # type: ignore[arg-type]
    assert dialect.made[0].closed is not goes
