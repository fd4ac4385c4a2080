"""What a deployment says of sinks and pins in; what serves them out. Sinks are not started."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from residency.adapters.address_data import AddressData
from residency.enforcement.details import PIN
from residency.enforcement.ports import Clock, ObjectSink, Pins, SinkPort
from residency.enforcement.ports import Keys as KeysPort
from residency.errors import PolicyError, Unavailable
from residency.model import Pin, Region
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.parsed import DeploymentDoc, SinkDoc
from residency.wiring.caches import REDIS, redis_sink
from residency.wiring.details import detail_key, detail_rows
from residency.wiring.problems import problem_at

__all__ = ["Judging", "check_pins", "judging", "open_pins", "pins_elsewhere", "sink_of", "sinks"]

_REPLAY: Final = 3_600_000_000  # microseconds for which a pin counts as recent, and is put back where it was lost
_PIN_GAUGES: Final = {names.PINS_PRIMARIES: "connected", names.PINS_LOCAL: "local", names.PINS_HEARD: "heard"}
_IN_CLEAR: Final = "plain http to another machine is not encrypted on the way: https, or `in_transit: false`"
_ROWS_IN_CLEAR: Final = (
    "a connection to another machine need not be encrypted on the way: `?sslmode=verify-full` (or `require`), or "
    "`in_transit: false`"
)
_OBJECTS: Final = ("memory", "file", "s3", "gs", "az")
PathOf = Callable[[str], Path]
Judging = Callable[[str], Callable[[str], bool]]
"""From a place to whether an address is none that may lie there."""


def check_pins(deployment: DeploymentDoc) -> None:
    """Raises: PolicyError where the deployment's `pins.url` is none that pins can lie behind."""
    url = deployment.pins.url.reveal()
    if url == "memory:" or url.startswith("sqlite:///"):
        return
    problem = "pins.url: expected sqlite:///PATH, redis://HOST and its kind, or memory: for tests"
    if url.partition(":")[0].partition("+")[0] in ("redis", "rediss", "valkey", "valkeys"):
        from residency.adapters.pins_redis import parse_redis_url

        try:
            parse_redis_url(url)
            return
        except ValueError as error:
            problem = f"pins.url: {error}"
    raise PolicyError((deployment.source.problem(("pins", "url"), problem),))


def sinks(
    deployment: DeploymentDoc,
    path_of: PathOf,
    base: Path,
    judging: Judging | None = None,
) -> dict[str, SinkPort]:
    """Every sink by name, not started; `judging` judges where each new connection leads, None = that is not asked.

    Raises: PolicyError, SinkUnavailable, at the line that asks for it."""
    return {name: sink_of(deployment, sink, path_of, base, judging) for name, sink in deployment.sinks.items()}


def sink_of(
    deployment: DeploymentDoc,
    sink: SinkDoc,
    path_of: PathOf,
    base: Path,
    judging: Judging | None = None,
) -> SinkPort:
    """One sink, not started. Raises: PolicyError, SinkUnavailable, at the line that asks for it."""
    url = sink.url.reveal()
    region = deployment.regions[sink.sink.region]
    elsewhere = None if judging is None else judging(region.place)
    where = ("sinks", sink.sink.name, "url")
    scheme = url.partition(":")[0]
    # Imported here: the commands that need this module for other things are not to wait for it.
    if url == "memory:cache":
        from residency.adapters.cache_memory import CacheMemory

        return CacheMemory(sink.sink.name, region)
    if scheme in _OBJECTS:
        return _objects(deployment, sink, path_of)
    if scheme in ("http", "https"):
        return _service(deployment, sink, region, url, elsewhere)
    if scheme.partition("+")[0] in REDIS:
        return redis_sink(deployment, sink, region, elsewhere)
    try:
        import_module("greenlet")  # SQLAlchemy comes without it, too, and then fails at its first connection
        from residency.adapters.sink_sql import SqlSink  # an optional extra
    except ImportError as error:
        what = "a database needs the extra `sql`: pip install 'residency[sql]'"
        raise PolicyError((deployment.source.problem(where, what),)) from error
    try:
        members = [member.url.reveal() for member in sink.members]
        made = SqlSink(
            sink.sink.name,
            region,
            url,
            base=base,
            members=members,
            elsewhere=elsewhere,
        )
    except Unavailable as error:
        raise type(error)(str(problem_at(deployment, where, error))) from error
    if sink.sink.in_transit and made.in_clear:
        raise PolicyError((deployment.source.problem(where, _ROWS_IN_CLEAR),))
    return made


def judging(deployment: DeploymentDoc, network: AddressData[Any], binds: Callable[[], bool]) -> Judging | None:
    """What judges where each new connection leads; None where the deployment does not ask for it. `binds` = whether
    anything is refused now."""
    if deployment.location.drift != "refuse":
        return None
    from residency.wiring.location import elsewhere

    return lambda place: elsewhere(place, network, binds)


def _objects(deployment: DeploymentDoc, sink: SinkDoc, path_of: PathOf) -> SinkPort:
    """The sink of objects, over its members where it has any."""
    name, region = sink.sink.name, deployment.regions[sink.sink.region]
    made = [_object(deployment, sink, region, sink.url.reveal(), path_of, ("sinks", name, "url"))]
    for number, member in enumerate(sink.members):
        where = ("sinks", name, "members", number, "url")
        made.append(_object(deployment, sink, member.region, member.url.reveal(), path_of, where))
    if len(made) == 1:
        return made[0]
    from residency.adapters.sink_members import ObjectMembers

    return ObjectMembers(name, region, made)


def _object(
    deployment: DeploymentDoc, sink: SinkDoc, region: Region, url: str, path_of: PathOf, where: tuple[str | int, ...]
) -> ObjectSink:
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        from residency.adapters.sink_memory import MemorySink

        return MemorySink(sink.sink.name, region)
    if scheme == "file":
        from residency.adapters.sink_files import FilesSink

        return FilesSink(sink.sink.name, region, path_of(rest.removeprefix("//")))
    if scheme in _OBJECTS:
        return _bucket(deployment, sink, region, url, where)
    what = "a member is a further way to the same data: of the kind of its sink, which holds objects"
    raise PolicyError((deployment.source.problem(where, what),))


def _bucket(
    deployment: DeploymentDoc, sink: SinkDoc, region: Region, url: str, where: tuple[str | int, ...]
) -> ObjectSink:
    from residency.adapters.sink_objects import BucketSink
    from residency.wiring.location import abroad

    try:
        made = BucketSink(sink.sink.name, region, url)
    except Unavailable as error:
        raise type(error)(str(problem_at(deployment, where, error))) from error
    if sink.sink.in_transit and made.in_clear:
        raise PolicyError((deployment.source.problem(where, _IN_CLEAR),))
    if (there := abroad(url, region.place)) is not None:
        what = f"its URL names a region of AWS that lies in {there}, and the sink lies in {region.place}"
        raise PolicyError((deployment.source.problem(where, what),))
    return made


def _service(
    deployment: DeploymentDoc, sink: SinkDoc, region: Region, url: str, elsewhere: Callable[[str], bool] | None
) -> SinkPort:
    where = ("sinks", sink.sink.name, "url")
    try:
        from residency.adapters.service_client import open_client  # an optional extra
        from residency.adapters.sink_http import HttpSink
    except ImportError as error:
        what = "a service needs the extra `http`: pip install 'residency[http]'"
        raise PolicyError((deployment.source.problem(where, what),)) from error
    from residency.adapters.resolver_system import SystemResolver

    try:
        made = HttpSink(
            sink.sink.name,
            region,
            url,
            resolver=SystemResolver(),
            client=open_client,
            members=[member.url.reveal() for member in sink.members],
            allow_private=sink.allow_private,
            elsewhere=elsewhere,
        )
    except Unavailable as error:
        raise type(error)(str(problem_at(deployment, where, error))) from error
    if sink.sink.in_transit and made.in_clear:
        raise PolicyError((deployment.source.problem(where, _IN_CLEAR),))
    return made


def pins_elsewhere(deployment: DeploymentDoc, judging: Judging | None) -> Callable[[str], bool] | None:
    """Whether an address is none that pins, and what lies beside them, may lie at; None where that is not asked."""
    region = deployment.pins.region
    return None if judging is None or region is None else judging(deployment.regions[region].place)


def open_pins(
    deployment: DeploymentDoc,
    path_of: PathOf,
    keys: KeysPort,
    key_mark: str,
    clock: Clock,
    metrics: Metrics,
    elsewhere: Callable[[str], bool] | None = None,
) -> Pins:
    """Where the deployment says that pins lie, opened. `key_mark` tells pins of another `subjects` key apart;
    `elsewhere` is as `PinsRedis` says.

    Raises: PinsUnavailable.
    """
    doc = deployment.pins
    url = doc.url.reveal()
    # Imported here: the commands that need this module for other things are not to wait for it.
    if url == "memory:":
        from residency.adapters.pins_memory import PinsMemory

        return PinsMemory()
    if url.startswith("sqlite:///"):
        from residency.adapters.pins_sqlite import PinsSqlite

        return PinsSqlite(path_of(url.removeprefix("sqlite:///")), key_mark=key_mark)
    from residency.adapters.detail_files import recent_pins
    from residency.adapters.pins_redis import PinsRedis
    from residency.adapters.pins_redis.mirror import Counters

    def recent() -> Iterator[Pin]:
        since = clock.now() - _REPLAY
        for country, kept in deployment.audit.detail.items():
            if kept.seal_to is not None:
                continue  # nobody here can read it
            rows = detail_rows(path_of(kept.folder), keeping=PIN, since=since)
            yield from recent_pins(rows, country, detail_key(keys, country), since).values()

    pins = PinsRedis(
        url,
        prefix=f"residency:{deployment.name}:pin:",
        stale_for=doc.stale_for,
        local=doc.local,
        key_mark=key_mark,
        recent=recent,
        replay=_REPLAY,
        elsewhere=elsewhere,
    )
    events = [name for name in Counters.__slots__ if not name.startswith("_")]
    metrics.counts(names.PIN_EVENTS, lambda: {name: getattr(pins.counters, name) for name in events})
    for name, gauge in _PIN_GAUGES.items():
        metrics.gauge(name, lambda gauge=gauge: _finite(pins.gauges()[gauge]))  # type: ignore[misc]  # bound by default
    return pins


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
