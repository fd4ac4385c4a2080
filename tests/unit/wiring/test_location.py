"""Where URLs of sinks lead, and what is shown of the watch over them."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from residency.adapters import location_probe
from residency.adapters.location_watch import LocationWatch
from residency.adapters.resolver_table import TableResolver
from residency.observe import names
from residency.observe.cells import Metrics
from residency.wiring.location import elsewhere, location_watch, meter_location, ways_of
from tests.mmdb_files import mmdb
from tests.world import HANOI, NETWORK, SINGAPORE, load_policy, write_deployment

DEPLOYMENT = """
location: {every: 1 min, drift: refuse}
sinks:
  people-vn:
    region: vn-han
    provider: VN
    keys: VN
    encrypted: true
    url: "postgresql+asyncpg://app:secret@a.example/people"
    members: [{region: vn-han, url: "postgresql+asyncpg://app:secret@b.example/people"}]
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "postgresql+asyncpg://app:x@c.example/people"}
stores: {people: [people-vn, people-sg]}
activities:
  - {route: "POST /people", subject: user, data: [personal], store: people}
"""


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("postgresql+asyncpg://app:p%40ss@db.example/people", "db.example", 5432, "postgres"),
        ("postgresql+psycopg://app:x@db.example:6000/people", "db.example", 6000, "postgres"),
        ("postgresql+psycopg:///people", None, 0, None),
        ("postgresql://app:x@db.example/people", "db.example", 5432, "postgres"),
        ("postgresql+psycopg:///people?host=db.example&port=6000", "db.example", 6000, "postgres"),
        ("postgresql+asyncpg:///people?host=db.example", "db.example", 5432, "postgres"),
        ("postgresql+psycopg://db.example/people?hostaddr=192.0.2.1", "192.0.2.1", 5432, "postgres"),
        ("postgresql+psycopg:///people?host=/run/postgresql", None, 0, None),
        ("sqlite+aiosqlite:///people.db", None, 0, None),
        ("file://files", None, 0, None),
        ("memory:", None, 0, None),
        ("https://llm.example/v1/#authorization=x", "llm.example", 443, "tls"),
        ("http://localhost:8000/", "localhost", 8000, None),
        ("redis://:x@cache.example/0", "cache.example", 6379, None),
        ("rediss://:x@cache.example:7000/0", "cache.example", 7000, "tls"),
        ("s3://K:S@bucket?region=ap-southeast-1", "s3.ap-southeast-1.amazonaws.com", 443, "tls"),
        ("s3://K:S@bucket?region=han01&endpoint=http://s3.example:9000", "s3.example", 9000, None),
        ("gs://bucket", "storage.googleapis.com", 443, "tls"),
        ("az://account@container", "account.blob.core.windows.net", 443, "tls"),
    ],
)
def test_a_url_leads_where_its_driver_would_go(url: str, host: str | None, port: int, tls: str | None) -> None:
    (way,) = ways_of(url)
    assert (way.host, way.port, way.tls) == (host, port, tls)


def test_only_the_front_doors_of_clouds_say_nothing_of_where_data_rests() -> None:
    urls = {
        "s3://K:S@bucket?region=ap-southeast-1": True,
        "s3://K:S@bucket?region=ap-southeast-1&endpoint=https://s3.example": False,
        "gs://bucket": True,
        "gs://bucket?endpoint=https://s3.example": False,
        "az://account@container": True,
        "redis://cache.example/0": False,
        "redis+sentinel://a.example,b.example/service": True,
    }
    assert {url: ways_of(url)[0].front for url in urls} == urls


def test_google_is_asked_by_who_has_a_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    assert ways_of("gs://bucket")[0].bucket is None
    assert ways_of("gs://bucket?service_account=/a/key.json")[0].bucket is not None
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/a/key.json")
    assert ways_of("gs://bucket")[0].bucket is not None
    assert ways_of("az://account@container")[0].bucket is None


def test_every_node_that_a_url_names_is_a_way() -> None:
    ways = ways_of("redis+cluster://a.example:7000,b.example:7001")
    assert [(way.host, way.port, way.front) for way in ways] == [("a.example", 7000, True), ("b.example", 7001, True)]
    assert ways_of("unix:///run/redis.sock")[0].host is None
    for url in (
        "psycopg:///people?host=a.example,b.example&port=1,2",
        "asyncpg:///people?host=a.example:1&host=b.example:2",
    ):
        assert [(way.host, way.port) for way in ways_of(f"postgresql+{url}")] == [("a.example", 1), ("b.example", 2)]


def test_an_address_elsewhere_is_none_while_nothing_is_refused() -> None:
    binding = [True]
    judged = elsewhere("VN", NETWORK, lambda: binding[0])
    assert [judged(each) for each in (HANOI, SINGAPORE, "10.0.0.1", "nonsense")] == [False, True, False, True]
    binding[0] = False
    assert [judged(each) for each in (HANOI, SINGAPORE, "10.0.0.1", "nonsense")] == [False] * 4


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LocationWatch, list[str]]:
    """The watch of a deployment whose second member lies in Singapore, and what it recorded; nobody is called."""

    async def connect(address: str, port: int) -> None:
        return None

    monkeypatch.setattr(location_probe, "_connect", connect)
    policy = load_policy(write_deployment(tmp_path, DEPLOYMENT))
    told: list[str] = []
    table = TableResolver({"a.example": [(HANOI,)], "b.example": [(SINGAPORE,), (HANOI,)], "c.example": [(SINGAPORE,)]})
    made = location_watch(
        policy.deployment, NETWORK, filings=tuple, now=lambda: 5_000_000, tell=told.append, resolver=table
    )
    return made, told


def test_every_member_of_a_sink_is_looked_at(watch: tuple[LocationWatch, list[str]]) -> None:
    watching, told = watch
    anyio.run(watching.look)
    assert told == ["location people-vn contradicted: it has an address in SG"]
    assert watching.misplaced == {"people-vn"}
    anyio.run(watching.look)
    assert watching.misplaced == set()


def test_what_the_watch_knows_is_shown(watch: tuple[LocationWatch, list[str]]) -> None:
    watching, _ = watch
    metrics = Metrics()
    meter_location(metrics, watching, lambda: 7_000_000)

    def shown() -> dict[str, dict[tuple[str, ...], float]]:
        return {family.spec.name: dict(family.series) for family in metrics.families()}

    assert shown()[names.SINK_DRIFT] == {}  # nobody has looked yet: unknown, and not 0
    anyio.run(watching.look)
    page = shown()
    assert page[names.SINK_DRIFT] == {("people-vn",): 1, ("people-sg",): 0}
    assert page[names.SINK_LOCATION][("people-vn", "contradicted")] == 1
    assert page[names.SINK_LOCATION][("people-sg", "consistent")] == 1
    assert (page[names.LOCATION_LOOKED][()], page[names.LOCATION_EVERY][()]) == (2, 60)
    assert page[names.LOCATION_EVENTS][("contradicted",)] == 1


def test_whose_network_each_address_is_of_is_told_and_a_change_is_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(address: str, port: int) -> None:
        return None

    monkeypatch.setattr(location_probe, "_connect", connect)
    (tmp_path / "asn.mmdb").write_bytes(mmdb({"113.160.0.0/16": {"asn": 64500, "name": "HOME"}}))
    text = DEPLOYMENT + "signals: {networks: {asn: asn.mmdb}}\n"
    policy = load_policy(write_deployment(tmp_path, text))
    told: list[str] = []
    table = TableResolver({"a.example": [(HANOI,)], "b.example": [(HANOI,)], "c.example": [(SINGAPORE,)]})
    watching = location_watch(
        policy.deployment, NETWORK, filings=tuple, now=lambda: 5, tell=told.append, resolver=table,
        path=tmp_path.joinpath,
    )  # fmt: skip
    anyio.run(watching.look)
    assert watching.watched["people-vn"].verdict.notes == ("it has an address of AS64500 HOME",)
    assert watching.watched["people-sg"].verdict.notes == ()
    (tmp_path / "asn.mmdb").write_bytes(mmdb({"113.160.0.0/16": {"asn": 64501, "name": "OTHERS"}}))
    anyio.run(watching.look)
    assert told == ["location people-vn changed: address in VN; address of AS64501"]
    assert watching.misplaced == set()
