"""A URL in, where the servers are and how to connect to them out. Nothing is connected here.

    redis://[user:password@]host[:port][/db][?option=…]         one server (`rediss://` over TLS, `unix:///path`)
    redis+sentinel://[user:password@]h1[:port],h2,h3/service[/db]   the primary that Sentinel names
    redis+cluster://[user:password@]h1[:port],h2                 a Cluster, from any of its nodes

`valkey` stands for `redis`, `valkeys` for `rediss`, with and without `+sentinel` or `+cluster`. Options are those of
redis-py (`ssl_ca_certs=…`); `sentinel_username` and `sentinel_password` are for the sentinels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from redis import connection as redis_connection
from redis._parsers import _RESP3Parser
from redis.connection import AbstractConnection, Connection
from redis.exceptions import RedisError

from residency.adapters.pins_redis.exchange import Wire, at_home

__all__ = ["Node", "Place", "parse_redis_url"]

Node = tuple[str, int]
"""Host and port."""
_parse_url: Final[Callable[[str], dict[str, Any]]] = redis_connection.parse_url
Kind = Literal["single", "sentinel", "cluster"]

_SCHEMES: Final = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss", "unix": "unix"}
_OURS: Final = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers are. `nodes`: the server, the sentinels, or some of the cluster; () for a unix socket.
    `elsewhere` = whether an address is none that a server may lie at, None = that is not asked."""

    kind: Kind
    nodes: tuple[Node, ...]
    service: str
    connection: type[AbstractConnection] = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    sentinel_options: Mapping[str, Any] = field(repr=False)
    elsewhere: Callable[[str], bool] | None = field(default=None, repr=False)

    def wire(self, node: Node | None, timeout: float) -> Wire:
        """A connection to a server, not open yet. `timeout` in seconds, for connecting and for each answer."""
        judged = {} if self.elsewhere is None else {"redis_connect_func": at_home(self.elsewhere)}
        return self._make(node, {**self.options, **judged}, timeout)

    def sentinel(self, node: Node, timeout: float) -> Wire:
        """A connection to a sentinel, not open yet. `timeout` in seconds."""
        return self._make(node, self.sentinel_options, timeout)

    def _make(self, node: Node | None, options: Mapping[str, Any], timeout: float) -> Wire:
        where = {} if node is None else {"host": node[0], "port": node[1]}
        connection = self.connection(
            **{
                **options,
                **where,
                "socket_timeout": timeout,
                "socket_connect_timeout": timeout,
                "protocol": 3,
                "decode_responses": False,
                # Ours to read pushes with; redis-py's other parser is a compiled one that may or may not be there.
                "parser_class": _RESP3Parser,
            }
        )
        return Wire(connection)


def parse_redis_url(url: str) -> Place:
    """Where the servers are that `url` names. Raises: ValueError, which does not repeat the URL."""
    scheme, separator, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if not separator or base not in _SCHEMES or kind not in ("", "sentinel", "cluster"):
        raise ValueError("expected redis://, rediss://, redis+sentinel:// or redis+cluster://, or valkey in its place")
    scheme = _SCHEMES[base]
    if scheme == "unix":
        if kind:
            raise ValueError("a unix socket is one server")
        return _place("single", (), "", _parse_url(f"unix://{rest}"))
    netloc, slash, path = rest.partition("?")[0].partition("/")
    question = "?" + rest.partition("?")[2] if "?" in rest else ""
    login, at, hosts = netloc.rpartition("@")
    service = ""
    if kind == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ValueError("redis+sentinel:// needs the name of the service: …/service")
    if path.strip("/") and not path.strip("/").isdigit():
        raise ValueError("the path of the URL must be the number of a database")
    if kind == "cluster" and path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has no database but 0")
    if not kind and "," in hosts:
        raise ValueError("several servers need +sentinel or +cluster in the scheme")
    default = 26_379 if kind == "sentinel" else 6_379
    nodes: list[Node] = []
    parsed: dict[str, Any] = {}
    for host in hosts.split(","):
        try:
            parsed = _parse_url(f"{scheme}://{login}{at}{host}{slash}{path}{question}")
        except ValueError:
            raise ValueError("a host, port or option of the URL cannot be read") from None
        nodes.append((str(parsed.pop("host", "localhost")), int(parsed.pop("port", default))))
    return _place(kind or "single", tuple(nodes), service, parsed)  # type: ignore[arg-type]  # one of the kinds


def _place(kind: Kind, nodes: tuple[Node, ...], service: str, parsed: dict[str, Any]) -> Place:
    connection: type[AbstractConnection] = parsed.pop("connection_class", Connection)
    own = {name: parsed.pop(name) for name in _OURS if name in parsed}
    shared = {name: value for name, value in parsed.items() if name.startswith(("ssl_", "socket_"))}
    to_sentinel = {**shared, **{name.removeprefix("sentinel_"): value for name, value in own.items()}}
    place = Place(kind, nodes, service, connection, parsed, to_sentinel)
    try:
        place.wire(nodes[0] if nodes else None, 1.0)
    except (TypeError, ValueError, RedisError):
        raise ValueError("an option of the URL is none that a connection has") from None
    return place
