"""What a deployment says of its sinks in; what watches whether they lie there, and what metrics show of it, out."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from residency.adapters.address_data import AddressData
from residency.adapters.location_probe import LocationProbe, Way
from residency.adapters.location_watch import LocationWatch
from residency.adapters.mmdb import system_at
from residency.adapters.resolver_system import SystemResolver
from residency.errors import UsageError
from residency.model import Filing
from residency.model.place import within
from residency.observe import names
from residency.observe.cells import Metrics
from residency.policy.parsed import DeploymentDoc
from residency.signals.inet import canonical
from residency.signals.table import Row
from residency.storage.cloud_regions import country_of
from residency.storage.location import BucketAnswer, Seen, Standing, Which, judge
from residency.storage.services import Resolver
from residency.wiring.caches import REDIS, which_redis

__all__ = ["abroad", "elsewhere", "location_watch", "meter_location", "ways_of"]

_PORTS: Final = {"http": 80, "https": 443}
_FRONTS: Final = {"gs": "storage.googleapis.com", "az": "{}.blob.core.windows.net"}
_HERE: Final = Way(None)


def location_watch(
    deployment: DeploymentDoc,
    network: AddressData[Any],
    *,
    filings: Callable[[], Iterable[Filing]],
    now: Callable[[], int],
    tell: Callable[[str], object],
    resolver: Resolver | None = None,
    which: Callable[[], Mapping[str, Which]] = dict,
    path: Callable[[str], Path] = Path,
) -> LocationWatch:
    """What watches every sink of a deployment and its members, and what else gets something of people
    (`DeploymentDoc.keepers`); not started. `tell` records a note, `which` has what servers say of themselves, `path`
    reads a path of the file."""
    asn = deployment.signals.networks.asn
    system_of = (lambda address: None) if asn is None else partial(system_at, path(asn))
    probe = LocationProbe(resolver or SystemResolver(abandons=True), _row_of(network), system_of=system_of)
    places = {name: sink.sink.place for name, sink in deployment.sinks.items()}
    urls = {name: [sink.url, *(member.url for member in sink.members)] for name, sink in deployment.sinks.items()}
    refuse = deployment.location.drift == "refuse"
    keepers = deployment.keepers()
    for name, (place, url) in keepers.items():
        places[name], urls[name] = place, [url]
    looks = {}
    for name, each in urls.items():
        ways = [way for url in each for way in ways_of(url.reveal(), path)]
        if name in keepers and _scheme(keeper := each[0].reveal()) in REDIS:
            # Asked as it is looked at; sinks are by their stores, and `which` has what they said.
            judged = elsewhere(places[name], network) if refuse else None
            ways[0] = replace(ways[0], itself=partial(which_redis, keeper, judged))
        looks[name] = tuple((lambda way=way: probe.look(way)) for way in ways)
    return LocationWatch(
        places,
        looks,
        filings=filings,
        now=now,
        tell=tell,
        every=deployment.location.every,
        refuse=refuse,
        which=which,
        placed=lambda text: probe.placed(canonical(text) or "0.0.0.0"),  # noqa: S104 - a name, which says no place
    )


def elsewhere(place: str, network: AddressData[Any], binds: Callable[[], bool] = lambda: True) -> Callable[[str], bool]:
    """Whether an address shows that a sink does not lie in `place`, as a look at it would say; never where `binds` says
    that nothing is refused now."""
    probe = LocationProbe(SystemResolver(), _row_of(network))

    def shown(address: str) -> bool:
        if not binds():
            return False
        text = canonical(address)
        if text is None:
            return True  # nobody can say where it lies
        verdict = judge(place, [Seen(addresses=(probe.placed(text),))], attested=False)
        return verdict.standing is Standing.CONTRADICTED

    return shown


def abroad(url: str, place: str) -> str | None:
    """The country that the URL of a bucket names itself, by a region of AWS, where that is not in `place`."""
    from residency.adapters.sink_objects.urls import parse_object_url

    parsed = parse_object_url(url)
    if parsed.scheme != "s3" or parsed.endpoint is not None:
        return None
    there = country_of(parsed.options["region"])
    return None if there is None or within(there, place) or within(place, there) else there


def _row_of(network: AddressData[Any]) -> Callable[[str], Row]:
    def row_of(address: str) -> Row:
        table = network.table
        return table.rows[table.lookup(address)]

    return row_of


def meter_location(metrics: Metrics, watch: LocationWatch, now: Callable[[], int]) -> None:
    """Show what `watch` knows. `now` in microseconds."""
    metrics.counts(names.LOCATION_EVENTS, lambda: watch.events)
    metrics.gauge(names.LOCATION_EVERY, lambda: watch.every / 1_000_000)
    metrics.gauge(
        names.LOCATION_LOOKED,
        lambda: None if watch.looked_at is None else max(now() - watch.looked_at, 0) / 1_000_000,
    )

    def is_so(sink: str, standing: Standing) -> float | None:
        watched = watch.watched.get(sink)
        return None if watched is None else float(watched.verdict.standing is standing)

    def drifts(sink: str) -> float | None:
        watched = watch.watched.get(sink)
        return None if watched is None else float(watched.drift)

    for sink in watch.places:
        metrics.gauge(names.SINK_DRIFT, lambda sink=sink: drifts(sink), sink)  # type: ignore[misc]  # bound by default
        for standing in Standing:
            read: Callable[[], float | None] = lambda sink=sink, standing=standing: is_so(sink, standing)  # type: ignore[misc]  # noqa: E731
            metrics.gauge(names.SINK_LOCATION, read, sink, standing.value)


def ways_of(url: str, path: Callable[[str], Path] = Path) -> tuple[Way, ...]:
    """Where a sink's URL leads, as far as it can be looked at; a file of this machine where it names no host. `path`
    reads a path that it names.

    What a sentinel or a cluster's node tells of other nodes is not followed: like a cloud's front door, it does not say
    where data rests.
    """
    scheme = _scheme(url)
    if scheme == "memory":
        return (_HERE,)
    if scheme == "file":
        return (Way(None, file=path(url.removeprefix("file:").removeprefix("//"))),)
    if scheme in ("s3", "gs", "az"):
        return (_bucket(url),)
    if scheme in _PORTS:
        parts = urlsplit(url)
        return (Way(parts.hostname, parts.port or _PORTS[scheme], _tls(scheme)),)
    if scheme in REDIS:
        return _redis(url)
    from sqlalchemy import make_url  # a sink of rows is there, so the extra is

    place = make_url(url)
    if scheme == "sqlite":
        return (Way(None, file=path(place.database or "")),)
    if place.drivername == scheme:
        place = place.set(drivername=f"{scheme}+asyncpg")  # as the sink takes it
    # As its dialect tells the driver: hosts may stand in the query, several, and `hostaddr` goes before them.
    _, named = place.get_dialect()().create_connect_args(place)
    hosts, ports = (_listed(named.get(each)) for each in ("host", "port"))
    hosts = _listed(named.get("hostaddr")) or hosts
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    return tuple(
        _HERE if host.startswith(("/", "@")) else Way(host, int(port or 5432), "postgres")
        for host, port in zip(hosts, ports or [""] * len(hosts), strict=True)
    ) or (_HERE,)


def _scheme(url: str) -> str:
    """The scheme up to a `+`."""
    return url.partition(":")[0].partition("+")[0]


def _listed(said: Any) -> list[str]:
    """Hosts or ports, as one driver or another is told them."""
    parts = said if isinstance(said, list | tuple) else str("" if said is None else said).split(",")
    return [str(each or "") for each in parts] if any(parts) else []


def _redis(url: str) -> tuple[Way, ...]:
    from residency.adapters.pins_redis import parse_redis_url

    place = parse_redis_url(url)
    tls = _tls("https" if place.connection.__name__ == "SSLConnection" else "")
    front = place.kind != "single"
    return tuple(Way(host, port, tls, front) for host, port in place.nodes) or (_HERE,)


def _bucket(url: str) -> Way:
    from residency.adapters.sink_objects.urls import parse_object_url

    try:
        place = parse_object_url(url)
    except UsageError:
        return _HERE  # the sink itself says what is wrong with it
    endpoint = place.endpoint
    if place.scheme != "s3":
        account = place.user or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
        base = endpoint or f"https://{_FRONTS[place.scheme].format(account)}"
        host = urlsplit(base)
        asks = _asks_google(base, place.bucket, place.options, endpoint is None) if place.scheme == "gs" else None
        return Way(host.hostname, host.port or _PORTS[host.scheme], _tls(host.scheme), endpoint is None, asks)
    from residency.adapters.bucket_region import Bucket, region_of

    region = place.options["region"]
    endpoint = endpoint or f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    parts = urlsplit(endpoint)
    virtual = place.options.get("style") == "virtual"
    where = f"{parts.scheme}://{place.bucket}.{parts.netloc}/" if virtual else f"{endpoint}/{place.bucket}"
    user, secret = place.user, place.secret
    if user is None:
        user, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    bucket = Bucket(where, region, user, secret)

    async def ask() -> BucketAnswer | None:
        said = await region_of(bucket)
        if said is None:
            return None
        return BucketAnswer(said, region, country_of(said) if bucket.of_aws else None)

    return Way(parts.hostname, parts.port or _PORTS[parts.scheme], _tls(parts.scheme), bucket.of_aws, ask)


def _asks_google(
    base: str, bucket: str, options: Mapping[str, str], of_google: bool
) -> Callable[[], Awaitable[BucketAnswer | None]] | None:
    account = options.get("service_account") or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not account:
        return None

    async def ask() -> BucketAnswer | None:
        from residency.adapters.bucket_region_gs import location_of

        said = await location_of(base, bucket, Path(account))
        return None if said is None else BucketAnswer(said, None, country_of(said) if of_google else None)

    return ask


def _tls(scheme: str) -> Any:
    return "tls" if scheme == "https" else None
