"""What a deployment says of a sink on Redis or Valkey in; the sink out. Nothing is connected. A URL of such servers in;
which they are, by their own word, out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from residency.enforcement.ports import SinkPort
from residency.errors import PolicyError
from residency.model import Region
from residency.policy.parsed import DeploymentDoc, SinkDoc
from residency.storage.location import Which

if TYPE_CHECKING:
    from residency.adapters.pins_redis.urls import Place

__all__ = ["REDIS", "redis_sink", "which_redis"]

REDIS: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
"""The schemes of such URLs, up to a `+`."""
_WAIT: Final = 0.5  # seconds; a cache is to save time
_ALL: Final = ((0, 16_383),)
Node = tuple[str, int]


def redis_sink(
    deployment: DeploymentDoc, sink: SinkDoc, region: Region, elsewhere: Callable[[str], bool] | None = None
) -> SinkPort:
    """The sink, not started; `elsewhere` as `RedisSink` says. Raises: PolicyError at the line that asks for it."""
    # Imported here: the commands that need the wiring for other things are not to wait for it.
    from residency.adapters.pins_redis import parse_redis_url
    from residency.adapters.sink_redis import RedisSink

    def wrong(field: str, what: str) -> PolicyError:
        return PolicyError((deployment.source.problem(("sinks", sink.sink.name, field), what),))

    try:
        place = parse_redis_url(sink.url.reveal())
    except ValueError as error:
        raise wrong("url", str(error)) from None
    tls = place.connection.__name__ == "SSLConnection"
    if sink.sink.in_transit and not tls and not all(_here(host) for host, _ in place.nodes):
        raise wrong(
            "url", "plain redis to another machine is not encrypted on the way: rediss://, or `in_transit: false`"
        )
    if sink.members:
        raise wrong("members", "a cache has no members: name several servers by redis+sentinel:// or redis+cluster://")
    timeout = float(place.options.get("socket_timeout") or _WAIT)
    silent: set[Node] = set()
    optional = sink.sink.scope == "cache"
    return RedisSink(
        sink.sink.name,
        region,
        lambda: _primaries(place, timeout, silent),
        place.options,
        tls=tls,
        optional=optional,
        timeout=timeout,
        elsewhere=elsewhere,
    )


def which_redis(url: str, elsewhere: Callable[[str], bool] | None = None) -> Which:
    """What the primaries behind a URL say of themselves, as `RedisSink.which`; nothing where they do not tell. To an
    address that `elsewhere` says no to nothing is sent. Blocks, for as long as each server may take."""
    from residency.adapters.pins_redis import parse_redis_url
    from residency.adapters.pins_redis.exchange import FAILURES
    from residency.adapters.sink_redis.answers import followers, run_id

    words: set[str] = set()
    told: list[str] = []
    try:
        place = replace(parse_redis_url(url), elsewhere=elsewhere)
        for node in _primaries(place, _WAIT, set()):
            wire = place.wire(node, _WAIT)
            try:
                wire.open()
                if (word := run_id(wire.ask("INFO", "server"))) is not None:
                    words.add(f"redis {word} {int(place.options.get('db') or 0)}")
                told += followers(wire.ask("INFO", "replication"))
            finally:
                wire.close()
    except FAILURES:
        return Which()
    return Which(frozenset(words), tuple(told))


def _primaries(place: Place, timeout: float, silent: set[Node]) -> Mapping[Node | None, Sequence[tuple[int, int]]]:
    from residency.adapters.pins_redis.topology import cluster_shares, sentinel_shares

    match place.kind:
        case "sentinel":
            return dict(sentinel_shares(place, timeout, silent).items())
        case "cluster":
            return dict(cluster_shares(place, (), timeout).items())
        case "single":
            return {place.nodes[0] if place.nodes else None: _ALL}


def _here(host: str) -> bool:
    """Whether a host, as a URL names it, is this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
