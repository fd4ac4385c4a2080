"""What a deployment names in; the strategy, tables, verifiers, sinks and pins that serve it, not started, out.

Part of the composition root, apart from `bootstrap` because the commands need these without a runtime.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from residency.adapters import mmdb
from residency.adapters.address_data import AddressData
from residency.adapters.address_tables import AddressTables, PackagedTable, Sources
from residency.adapters.beat import Beat
from residency.adapters.jwks import Jwks, check_url, is_url, jwks_file, jwks_url
from residency.adapters.jwt import JwtVerifier, PublicKey, parse_jwks
from residency.adapters.log_files import LogFiles
from residency.enforcement.asking import Who, load_callable
from residency.enforcement.facts import FactKeeper
from residency.enforcement.ports import Clock, Facts, Noted, Pins, SinkPort
from residency.enforcement.ports import Keys as KeysPort
from residency.enforcement.request import Identifying
from residency.errors import (
    AddressDataUnavailable,
    JournalFailed,
    KeysUnavailable,
    PolicyError,
    Problem,
    Unavailable,
    UsageError,
)
from residency.model import FactSet, Pin
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.archive import archived
from residency.policy.compiler import Policy
from residency.policy.parsed import DeploymentDoc, SinkDoc
from residency.policy.parsed_signals import ClientAddressDoc, JwtDoc
from residency.policy.terms import begun_terms
from residency.signals.address import strategy_named
from residency.signals.identity import ClaimMap
from residency.signals.inet import Ranges
from residency.signals.peer import Strategy

__all__ = [
    "address_data",
    "archive",
    "beating",
    "check_keys",
    "check_pins",
    "claim_map",
    "identifying",
    "identity_keys",
    "meter_facts",
    "open_noted",
    "open_pins",
    "place_of",
    "problem_at",
    "sinks",
    "strategy_of",
    "trusted_ranges",
    "who",
]

_WRITES: Final = 100
_NO_AGE: Final = 2**62
_REPLAY: Final = 3_600_000_000  # microseconds for which a pin counts as recent, and is put back where it was lost
_PIN_GAUGES: Final = {names.PINS_PRIMARIES: "connected", names.PINS_LOCAL: "local", names.PINS_HEARD: "heard"}
_ROLES: Final = {
    "second": ("signals", "geoip", "second"),
    "list": ("signals", "networks", "lists"),
    "anonymous_ip": ("signals", "networks", "anonymous_ip"),
    "asn": ("signals", "networks", "asn"),
}
"""Where the deployment names each source of address data, beside the first."""
Keys = Jwks[tuple[PublicKey, ...]]
PathOf = Callable[[str], Path]


def problem_at(deployment: DeploymentDoc, where: tuple[str, ...], error: Exception) -> Problem:
    """What went wrong, told with the line of the deployment file that asks for it."""
    return deployment.source.problem(where, str(error))


def place_of(error: Exception) -> tuple[str, ...] | None:
    """Where the deployment names the source of address data that `error` is of; None where it is of no such source."""
    role = error.role if isinstance(error, AddressDataUnavailable) else None
    return None if role is None else _ROLES.get(role)


def strategy_of(doc: ClientAddressDoc) -> Strategy:
    """How the client's address is found."""
    trusted = Ranges(doc.trusted) if doc.trusted else None
    return strategy_named(doc.strategy, header=doc.header, trusted=trusted, count=doc.count, unix=doc.unix)


def trusted_ranges(doc: ClientAddressDoc) -> Ranges | None:
    """The ranges of our own proxies; None where there are none."""
    return Ranges(doc.trusted) if doc.trusted else None


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


def check_keys(deployment: DeploymentDoc) -> None:
    """Raises: PolicyError where the deployment's `jwks` is a URL that keys may not be fetched from."""
    jwt = deployment.signals.identity.jwt
    if jwt is None or not is_url(jwt.jwks):
        return
    try:
        check_url(jwt.jwks)
    except KeysUnavailable as error:
        raise PolicyError((problem_at(deployment, ("signals", "identity", "jwt", "jwks"), error),)) from error


def address_data(deployment: DeploymentDoc, path_of: PathOf, now: Callable[[], int]) -> AddressData[Any]:
    """What the network says of addresses: not open and not watched yet.

    Raises: AddressDataUnavailable for a source that cannot be read; what is in it shows when it is opened.
    """
    geoip = deployment.signals.geoip
    sources = _sources(deployment, path_of)
    if sources is None:
        tables: Any = PackagedTable(mmdb.EMBEDDED_TABLE)
    else:
        for role, path in sources.files():
            if not os.access(path, os.R_OK):
                raise AddressDataUnavailable(f"address data ({role}) `{path.name}` cannot be read", role)
        tables = AddressTables(sources, path_of(geoip.tables), mmdb)
    return AddressData(
        tables,
        now=now,
        max_age=_NO_AGE if geoip.max_age is None else geoip.max_age,
        stale=geoip.stale,
        max_change=geoip.max_change,
        check_every=geoip.check_every,
    )


def _sources(deployment: DeploymentDoc, path_of: PathOf) -> Sources | None:
    """The files that a table is to be made of; None where the one that ships, as it is, does."""
    geoip, networks = deployment.signals.geoip, deployment.signals.networks
    named = (geoip.database, geoip.second, networks.anonymous_ip, networks.asn)
    if named == (None,) * len(named) and not networks.lists:
        return None
    database, second, anonymous_ip, asn = (None if name is None else path_of(name) for name in named)
    return Sources(
        database=mmdb.EMBEDDED if database is None else database,
        second=second,
        lists=tuple(path_of(path) for path in networks.lists),
        anonymous_ip=anonymous_ip,
        asn=asn,
    )


def sinks(deployment: DeploymentDoc, path_of: PathOf, base: Path) -> dict[str, SinkPort]:
    """Every sink by name, not started. Raises: PolicyError, SinkUnavailable, at the line that asks for it."""
    return {name: _sink(deployment, sink, path_of, base) for name, sink in deployment.sinks.items()}


def _sink(deployment: DeploymentDoc, sink: SinkDoc, path_of: PathOf, base: Path) -> SinkPort:
    url = sink.url.reveal()
    region = deployment.regions[sink.sink.region]
    where = ("sinks", sink.sink.name, "url")
    scheme, _, rest = url.partition(":")
    # Imported here: the commands that need this module for other things are not to wait for it.
    if scheme == "memory":
        from residency.adapters.sink_memory import MemorySink

        return MemorySink(sink.sink.name, region)
    if scheme == "file":
        from residency.adapters.sink_files import FilesSink

        return FilesSink(sink.sink.name, region, path_of(rest.removeprefix("//")))
    try:
        from residency.adapters.sink_sql import SqlSink  # an optional extra
    except ImportError as error:
        what = "a database needs the extra `sql`: pip install 'residency[sql]'"
        raise PolicyError((deployment.source.problem(where, what),)) from error
    try:
        return SqlSink(sink.sink.name, region, url, base=base)
    except Unavailable as error:
        raise type(error)(str(problem_at(deployment, where, error))) from error


def open_pins(
    deployment: DeploymentDoc, path_of: PathOf, keys: KeysPort, key_mark: str, clock: Clock, metrics: Metrics
) -> Pins:
    """Where the deployment says that pins lie, opened. `key_mark` tells pins of another `subjects` key apart.

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
        for country, folder in deployment.audit.detail.items():
            key = keys.secret(f"detail-{country.lower()}")
            yield from recent_pins(path_of(folder) / "journal", country, key, since).values()

    pins = PinsRedis(
        url,
        prefix=f"residency:{deployment.name}:pin:",
        stale_for=doc.stale_for,
        local=doc.local,
        key_mark=key_mark,
        recent=recent,
        replay=_REPLAY,
    )
    events = [name for name in Counters.__slots__ if not name.startswith("_")]
    metrics.counts(names.PIN_EVENTS, lambda: {name: getattr(pins.counters, name) for name in events})
    for name, gauge in _PIN_GAUGES.items():
        metrics.gauge(name, lambda gauge=gauge: _finite(pins.gauges()[gauge]))  # type: ignore[misc]
    return pins


def archive(files: LogFiles, policy: Policy, facts: FactSet) -> None:
    """Keep what decisions are made by, so that each can be decided again. Raises: JournalFailed."""
    try:
        for path, data in archived(policy, facts):
            left = _WRITES
            # Workers that hear of a fact at once put the same bytes there, under the same name on the way: what one
            # puts in place another may still be writing.
            while files.read(path) != data:
                left -= 1
                try:
                    files.write(path, data)
                except FileNotFoundError:
                    if not left:
                        raise
                if not left:
                    raise OSError(errno.EAGAIN, "others write to it without end")
    except OSError as error:
        raise JournalFailed(f"the policy cannot be archived beside the audit log (errno {error.errno})") from error


def open_noted(deployment: DeploymentDoc, path_of: PathOf, *, timeout: float = 2.0) -> Noted:
    """Where all processes note first events and counts together: beside the pins. Nothing is opened or made yet.

    `timeout` is in seconds, for connecting and for each answer.
    """
    url = deployment.pins.url.reveal()
    if url == "memory:":
        from residency.adapters.facts_memory import NotedMemory

        return NotedMemory()
    if url.startswith("sqlite:///"):
        from residency.adapters.facts_sqlite import NotedSqlite

        pins = path_of(url.removeprefix("sqlite:///"))
        return NotedSqlite(pins.with_name(f"{pins.stem}-facts{pins.suffix}"))
    from redis.crc import key_slot

    from residency.adapters.facts_redis import NotedRedis, Server
    from residency.adapters.pins_redis import parse_redis_url
    from residency.adapters.pins_redis.topology import cluster_shares, sentinel_shares

    place = parse_redis_url(url)

    def connect(key: bytes) -> Server:
        node = place.nodes[0] if place.nodes else None
        if place.kind == "sentinel":
            node = next(iter(sentinel_shares(place, timeout, set())))
        elif place.kind == "cluster":
            slot = key_slot(key)
            shares = cluster_shares(place, (), timeout)
            node = next(n for n, ranges in shares.items() if any(low <= slot <= high for low, high in ranges))
        wire = place.wire(node, timeout)
        try:
            wire.open()
        except BaseException:
            wire.close()
            raise
        return wire

    return NotedRedis(connect, deployment=deployment.name)


@contextmanager
def beating(keeper: FactKeeper, deployment: DeploymentDoc) -> Iterator[None]:
    """While inside, counts are handed over and what others noted is taken in; and once more at the end."""
    beat = Beat(keeper.beat, every=min(1.0, deployment.pins.stale_for / 4_000_000), name="residency-facts")
    beat.start()
    try:
        yield
    finally:
        beat.stop()
        keeper.beat()


def meter_facts(metrics: Metrics, keeper: FactKeeper, facts: Facts, now: Callable[[], int]) -> None:
    """Show the terms and counts of the keeper's policy; call it again for each policy that is adopted."""
    metrics.counts(names.FACT_EVENTS, lambda: {**keeper.events, "left": keeper.tally.left})
    metrics.gauge(names.COUNTS_WAITING, lambda: float(keeper.tally.waiting))

    def deadline(token: str) -> float | None:
        ends = (term.deadline for term in begun_terms(keeper.policy.laws, facts.current()) if term.token == token)
        return next((end / 1_000_000 for end in ends if end is not None), None)

    for token in {grace.token for law in keeper.policy.laws for rule in law.rules for grace in rule.graces}:
        metrics.gauge(names.TERM_DEADLINE, lambda token=token: deadline(token), token)  # type: ignore[misc]

    def counted(escalation: str) -> float | None:
        found = keeper.escalations.by_id(now()).get(escalation)
        return None if found is None else keeper.counts.get(found[1])

    def threshold(escalation: str) -> float | None:
        found = keeper.escalations.by_id(now()).get(escalation)
        return None if found is None else found[0].subjects

    def up(escalation: str) -> float | None:
        return float(escalation in facts.current().escalated) if escalation in keeper.escalations.ids else None

    for name in keeper.escalations.ids:
        for gauge, read in ((names.SUBJECTS_COUNTED, counted), (names.SUBJECTS_THRESHOLD, threshold)):
            metrics.gauge(gauge, lambda read=read, name=name: read(name), name)  # type: ignore[misc]
        metrics.gauge(names.ESCALATED, lambda name=name: up(name), name)  # type: ignore[misc]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def identity_keys(doc: JwtDoc, path_of: PathOf, monotonic: Callable[[], int]) -> Keys:
    """Where the keys of identity tokens come from: a file, read now; or a URL, fetched when started.

    Raises: KeysUnavailable.
    """
    if is_url(doc.jwks):
        return jwks_url(doc.jwks, parse_jwks, monotonic=monotonic, refresh=doc.refresh, stale_for=doc.stale_for)
    return jwks_file(path_of(doc.jwks), parse_jwks, monotonic=monotonic, stale_for=doc.stale_for)


def claim_map(doc: JwtDoc | None) -> ClaimMap:
    """Which claims of a token carry what."""
    return ClaimMap() if doc is None else ClaimMap(subject=doc.subject, **doc.claims)


def identifying(deployment: DeploymentDoc, keys: Keys | None, clock: Clock) -> Identifying:
    """Where identity comes from in each request."""
    doc = deployment.signals.identity
    jwt, session = doc.jwt, doc.session
    verifier = None
    if jwt is not None and keys is not None:
        verifier = JwtVerifier(keys, algorithms=jwt.algorithms, issuer=jwt.issuer, audience=jwt.audience, now=clock.now)
    return Identifying(
        verifier,
        claim_map(jwt),
        doc.user,
        header=b"authorization" if jwt is None else jwt.header.encode(),
        session=None if session is None else ClaimMap(subject=session.subject, **session.claims),
        session_trust=None if session is None else session.trust,
    )


def who(deployment: DeploymentDoc) -> Who | None:
    """The app's own callable that knows who asks. Raises: PolicyError where it cannot be had."""
    target = deployment.signals.identity.callable
    if target is None:
        return None
    try:
        return load_callable(target)
    except UsageError as error:
        raise PolicyError((problem_at(deployment, ("signals", "identity", "callable"), error),)) from error
