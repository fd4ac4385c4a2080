"""A served app whose sink is no longer shown to lie at home: refused where the deployment says so, and back again."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import ResidencyMiddleware, current
from residency.adapters import location_probe
from residency.adapters.resolver_table import TableResolver
from residency.adapters.sink_sql import SqlSink
from residency.audit.entry import parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import Residency, build
from residency.errors import SinkUnavailable
from residency.model import Filing, FilingResult
from residency.observe import names
from residency.observe.cells import Metrics
from residency.wiring.location import location_watch, meter_location
from tests.postgres import Pair
from tests.world import SINGAPORE, VN, load_policy, write_deployment

HANOI = "113.160.0.1"
POLICY = """
residency: 1
kind: deployment
name: placed
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
location: {drift: DRIFT}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "PUT /value", subject: none, data: [content], operation: write, store: uploads}
"""


async def put(request: Request) -> PlainTextResponse:
    await current().store("uploads").put("value", await request.body())
    return PlainTextResponse("stored")


def notes(runtime: Residency, folder: Path) -> list[str]:
    """What the journal says of places."""
    found = []
    for file in sorted((folder / "audit" / "journal").rglob("*")):
        if file.is_file() and file.stat().st_size > RECORDS_AT:
            found += [
                parse_entry(record.payload).note or "" for record in scan(file.read_bytes(), RECORDS_AT, None).records
            ]
    return [note for note in found if note.startswith("location ")]


@pytest.mark.parametrize("drift", ["refuse", "warn"])
def test_an_attestation_that_runs_out_stops_acts_where_drift_is_refused_and_a_new_one_lets_them_go_on(
    drift: str, tmp_path: Path
) -> None:
    file = tmp_path / "placed.yaml"
    file.write_text(POLICY.replace("DRIFT", drift))
    runtime = build(file)
    app = ResidencyMiddleware(Starlette(routes=[Route("/value", put, methods=["PUT"])]), policy=runtime)
    filings = [Filing("location", "1", 0, FilingResult.PASSED, runtime.clock.now() * 2, sinks=frozenset({"files"}))]
    with TestClient(app, client=(HANOI, 50_000)) as client:
        watch = location_watch(
            runtime.deployment,
            runtime.network,
            filings=lambda: filings,
            now=runtime.clock.now,
            tell=lambda note: runtime.point.recorder.system(note),
        )
        runtime.stores.misplaced = watch.misplaced
        anyio.run(watch.look)
        assert client.put("/value", content=b"1").status_code == 200
        lasting, filings[:] = list(filings), []
        anyio.run(watch.look)
        answer = client.put("/value", content=b"2")
        if drift == "warn":
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["reason"] == "sink_misplaced"
        filings[:] = lasting
        anyio.run(watch.look)
        assert client.put("/value", content=b"3").status_code == 200
        assert notes(runtime, tmp_path) == [
            "location files lost: it lies on this machine",
            "location files well: attested in the register",
        ]


LIVE = """
location: {drift: refuse}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "https://files.example/"}
stores: {uploads: [files]}
"""


def test_what_runs_while_its_sink_moves_abroad_is_refused_its_next_act(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(address: str, port: int) -> None:
        return None

    monkeypatch.setattr(location_probe, "_connect", connect)
    file = tmp_path / "placed.yaml"
    file.write_text(POLICY.replace("DRIFT", "refuse"))
    runtime = build(file)
    elsewhere = load_policy(write_deployment(tmp_path / "names", LIVE)).deployment
    table = TableResolver({"files.example": [(HANOI,), (SINGAPORE,), (HANOI,)]})
    watch = location_watch(
        elsewhere,
        runtime.network,
        filings=tuple,
        now=runtime.clock.now,
        tell=lambda note: runtime.point.recorder.system(note),
        resolver=table,
    )

    async def twice(request: Request) -> PlainTextResponse:
        await current().store("uploads").put("one", b"1")
        held = current().store("uploads")
        await watch.look()  # the name leads to Singapore now
        await held.put("two", b"2")
        return PlainTextResponse("stored")

    routes = [Route("/value", twice, methods=["PUT"])]
    app = ResidencyMiddleware(Starlette(routes=routes), policy=runtime)
    with TestClient(app, client=(HANOI, 50_000)) as client:
        runtime.stores.misplaced = watch.misplaced
        anyio.run(watch.look)
        answer = client.put("/value")
        assert (answer.status_code, answer.json()["reason"]) == (503, "sink_misplaced")
        assert "files" in answer.json()["detail"]
        assert "files.example" not in answer.text
        metrics = Metrics()
        meter_location(metrics, watch, runtime.clock.now)
        shown = {family.spec.name: dict(family.series) for family in metrics.families()}
        assert shown[names.SINK_DRIFT] == {("files",): 1}
        assert notes(runtime, tmp_path) == ["location files contradicted: it has an address in SG"]
    assert [each.name for each in (tmp_path / "files").rglob("*") if "one" in each.name or "two" in each.name] == [
        "one"
    ]


@pytest.mark.anyio
@pytest.mark.needs("postgres")
async def test_a_database_whose_name_leads_abroad_while_it_serves_gets_no_new_connection(
    postgres: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, database = postgres.vn, postgres.vn.emptied()
    assert postgres.sg.emptied() == database, "whoever came there would not notice"
    leads_to = [home]
    real = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **named: Any) -> Any:
        if host not in ("db.example", b"db.example"):
            return real(host, *more, **named)
        server = leads_to[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (server.address, server.port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = home.url("asyncpg", database).replace(home.address, "db.example")
    sink = SqlSink("people-vn", VN, url, elsewhere=postgres.sg.address.__eq__)
    try:
        await sink.start()
        async with sink.engine.connect() as held:
            leads_to[0] = postgres.sg
            assert (await held.execute(text("SELECT inet_server_addr()::text"))).scalar_one().startswith(home.address)
            with pytest.raises(SinkUnavailable) as told:
                async with sink.engine.connect():
                    pass
        assert str(told.value) == "sink 'people-vn' has an address in another country than it says"
        leads_to[0] = home
        await sink.ping()
    finally:
        await sink.aclose()


@pytest.mark.anyio
@pytest.mark.needs("postgres")
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_every_driver_of_rows_says_where_its_connection_leads(driver: str, postgres: Pair) -> None:
    server = postgres.sg
    asked: list[str] = []

    def elsewhere(address: str) -> bool:
        asked.append(address)
        return True

    sink = SqlSink("people-vn", VN, server.url(driver, server.emptied()), elsewhere=elsewhere)
    with pytest.raises(SinkUnavailable, match="has an address in another country than it says"):
        await sink.start()
    with pytest.raises(SinkUnavailable, match="has an address in another country than it says"):
        await anyio.to_thread.run_sync(sink.bind(read_only=True, blocking=True).connect)
    assert asked == [server.address, server.address]
    await sink.aclose()


@pytest.mark.anyio
@pytest.mark.needs("postgres")
async def test_an_address_beside_the_name_of_a_socket_is_where_it_leads(postgres: Pair) -> None:
    server = postgres.sg
    login, _, database = server.url("psycopg", server.emptied()).rpartition("/")
    user = login.rpartition("@")[0]
    url = f"{user}@/{database}?host=/run/postgresql&hostaddr={server.address}&port={server.port}"
    sink = SqlSink("people-vn", VN, url, elsewhere=server.address.__eq__)
    with pytest.raises(SinkUnavailable, match="has an address in another country than it says"):
        await sink.start()
    await sink.aclose()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
