"""Two sinks exchanged by mistake, on real servers: the start names both; one exchanged later is left alone."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import typer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from typer.testing import CliRunner

from residency import ResidencyMiddleware, current
from residency.audit.entry import parse_entry
from residency.audit.journal import RECORDS_AT, scan
from residency.bootstrap import Residency, build
from residency.cli.doctor import doctor
from residency.cli.sinks import sinks_app
from residency.cli.status import status
from residency.cli.where import where
from residency.errors import SinkUnavailable, UsageError
from residency.storage.lasting import is_lasting
from residency.storage.marks import Mark, write_marks
from residency.storage.marks_seen import LOST
from residency.wiring.marks import MarkWatch, told_which
from tests.postgres import Pair
from tests.servers import Servers, eventually

HANOI = "113.160.0.1"
PATIENT = "?socket_timeout=5"  # with a busy machine
POLICY = """
residency: 1
kind: deployment
name: marked
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, in_transit: false, url: "URL_VN"}
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, in_transit: false, url: "URL_SG"}
stores: {people: [people-vn, people-sg]}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "PUT /value", subject: none, data: [content], operation: write, store: people}
"""


@pytest.fixture(
    params=[
        "sqlite",
        "files",
        pytest.param("postgres", marks=pytest.mark.needs("postgres")),
        pytest.param("redis", marks=pytest.mark.needs("redis")),
    ]
)
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(in Vietnam, in Singapore): two sinks of one kind."""
    match request.param:
        case "postgres":
            pair = request.getfixturevalue("postgres")
            return pair.vn.url("asyncpg", pair.vn.database()), pair.sg.url("asyncpg", pair.sg.database())
        case "redis":
            servers: Servers = request.getfixturevalue("redis_servers")
            return servers.single().url + PATIENT, servers.single().url + PATIENT
        case "files":
            return "file:vn", "file:sg"
        case _:
            return "sqlite:///vn.db", "sqlite:///sg.db"


def written(folder: Path, vn: str, sg: str) -> Path:
    """The deployment with these URLs."""
    file = folder / "marked.yaml"
    file.write_text(POLICY.replace("URL_VN", vn).replace("URL_SG", sg))
    return file


def mark(file: Path, *more: str) -> int:
    """`residency sinks mark`."""
    return CliRunner().invoke(sinks_app, ["mark", str(file), *more]).exit_code


async def begun(file: Path) -> None:
    """Start and end."""
    runtime = build(file, reload=False)
    try:
        await runtime.start()
    finally:
        await runtime.aclose()


def test_sinks_that_were_exchanged_by_mistake_do_not_start(tmp_path: Path, urls: tuple[str, str]) -> None:
    vn, sg = urls
    anyio.run(begun, written(tmp_path, vn, sg))
    assert mark(written(tmp_path, vn, sg)) == 0
    anyio.run(begun, written(tmp_path, vn, sg))
    with pytest.raises(SinkUnavailable) as caught:
        anyio.run(begun, written(tmp_path, sg, vn))
    assert "sink 'people-vn' bears the mark of sink 'people-sg' (sg, SG)" in str(caught.value)
    assert "sink 'people-sg' bears the mark of sink 'people-vn' (vn-han, VN)" in str(caught.value)
    assert is_lasting(caught.value)
    assert mark(written(tmp_path, sg, vn)) == 1, "and neither is marked anew"
    anyio.run(begun, written(tmp_path, vn, sg))


async def put(request: Request) -> PlainTextResponse:
    await current().store("people").put("value", await request.body())
    return PlainTextResponse("stored")


def served(runtime: Residency) -> Callable[[], TestClient]:
    """An app that stores what it is sent."""
    app = ResidencyMiddleware(Starlette(routes=[Route("/value", put, methods=["PUT"])]), policy=runtime)
    return lambda: TestClient(app, client=(HANOI, 50_000))


def test_a_sink_that_is_exchanged_while_it_serves_is_left_alone_until_it_is_its_own_again(tmp_path: Path) -> None:
    file = written(tmp_path, "file:vn", "file:sg")
    assert mark(file) == 0
    runtime = build(file, reload=False)
    with served(runtime)() as client:
        assert client.put("/value", content=b"1").status_code == 200
        marks = runtime.stores.misplaced
        assert isinstance(marks, MarkWatch)
        (sink, _) = runtime.stores.sinks_of("people")
        anyio.run(write_marks, sink, [Mark("people-sg", "sg", "SG")])
        anyio.run(marks.look)
        answer = client.put("/value", content=b"2")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["reason"] == "sink_misplaced"
        anyio.run(write_marks, sink, [Mark("people-vn", "vn-han", "VN")])
        anyio.run(marks.look)
        assert client.put("/value", content=b"3").status_code == 200
    segments = sorted((tmp_path / "audit" / "journal").glob("*/*.seg"))
    entries = [parse_entry(bytes(r.payload)) for s in segments for r in scan(s.read_bytes(), RECORDS_AT, None).records]
    assert [entry.note for entry in entries if (entry.note or "").startswith("mark ")] == [
        "mark people-vn: bears the mark of sink 'people-sg' (sg, SG): its URL is another's",
        "mark people-vn: bears its own mark again",
    ]


def test_a_sink_that_was_emptied_and_so_lost_its_mark_is_told_by_the_next_start_ping_and_status(tmp_path: Path) -> None:
    file = written(tmp_path, "file:vn", "file:sg")
    assert mark(file) == 0
    anyio.run(begun, file)

    def ping() -> tuple[int, dict[str, str]]:
        done = CliRunner().invoke(sinks_app, ["ping", str(file), "--json"])
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return done.exit_code, {row["sink"]: row["marked"] for row in rows}

    def marks() -> object:
        app = typer.Typer()
        app.command()(status)
        return json.loads(CliRunner().invoke(app, ["--policy", str(file), "--json"]).stdout)["marks"]

    assert (ping(), marks()) == ((0, {"people-vn": "yes", "people-sg": "yes"}), [])
    for each in filter(Path.is_file, (tmp_path / "vn").rglob("*")):
        each.unlink()
    assert ping() == (1, {"people-vn": "lost", "people-sg": "yes"})
    anyio.run(begun, file)
    assert marks() == [{"sink": "people-vn", "problem": LOST}]
    segments = sorted((tmp_path / "audit" / "journal").glob("*/*.seg"))
    entries = [parse_entry(bytes(r.payload)) for s in segments for r in scan(s.read_bytes(), RECORDS_AT, None).records]
    assert [e.note for e in entries if (e.note or "").startswith("mark ")] == [f"mark people-vn: {LOST}"]
    assert mark(file) == 0
    anyio.run(begun, file)
    assert (ping(), marks()) == ((0, {"people-vn": "yes", "people-sg": "yes"}), [])


@pytest.mark.needs("redis")
def test_a_redis_that_was_emptied_has_lost_its_mark(tmp_path: Path, redis_servers: Servers) -> None:
    server, other = redis_servers.single(), redis_servers.single()
    file = written(tmp_path, server.url + PATIENT, other.url + PATIENT)
    assert mark(file) == 0
    anyio.run(begun, file)
    server.client.flushall()
    runtime = build(file, reload=False)
    with served(runtime)():
        watch = runtime.stores.misplaced
        assert isinstance(watch, MarkWatch)
        assert watch.standing == {"people-vn": "lost", "people-sg": "own"}
        assert "people-vn" not in watch, "which warns, where the deployment does not say `drift: refuse`"


@pytest.fixture(
    params=[
        "sqlite",
        "files",
        pytest.param("postgres", marks=pytest.mark.needs("postgres")),
        pytest.param("redis", marks=pytest.mark.needs("redis")),
    ]
)
def two_names(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two names of one and the same sink."""
    match request.param:
        case "postgres":
            server = request.getfixturevalue("postgres").vn
            url = server.url("asyncpg", server.emptied())
            return url, url.replace("@127.0.0.2:", "@127.2:")
        case "redis":
            url = request.getfixturevalue("redis_servers").single().url + PATIENT
            return url, url.replace("127.0.0.1", "localhost")
        case "files":
            (tmp_path / "vn").mkdir()
            (tmp_path / "sg").symlink_to("vn")
            return "file:vn", "file:sg"
        case _:
            (tmp_path / "vn.db").touch()
            (tmp_path / "sg.db").hardlink_to(tmp_path / "vn.db")
            return "sqlite:///vn.db", "sqlite:///sg.db"


@pytest.mark.parametrize("drift", ["refuse", "warn"])
def test_one_sink_under_two_names_does_not_serve_as_two_countries(
    drift: str, two_names: tuple[str, str], tmp_path: Path
) -> None:
    vn, sg = two_names
    assert vn != sg
    file = written(tmp_path, vn, sg)
    file.write_text(file.read_text() + f"location: {{drift: {drift}}}\n")
    runtime = build(file, reload=False)
    with served(runtime)():
        watch = runtime.stores.misplaced
        assert isinstance(watch, MarkWatch)
        eventually(lambda: len(drifting(runtime)) == 2)
        assert set(watch) == ({"people-vn", "people-sg"} if drift == "refuse" else set())
    segments = sorted((tmp_path / "audit" / "journal").glob("*/*.seg"))
    entries = [parse_entry(bytes(r.payload)) for s in segments for r in scan(s.read_bytes(), RECORDS_AT, None).records]
    assert sorted(entry.note or "" for entry in entries if (entry.note or "").startswith("location ")) == [
        "location people-sg contradicted: it is the same as people-vn, which is said to lie in VN",
        "location people-vn contradicted: it is the same as people-sg, which is said to lie in SG",
    ]
    app = typer.Typer()
    app.command()(where)
    done = CliRunner().invoke(app, [str(file), "--json"])
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["standing"] for row in told] == ["contradicted", "contradicted"]
    assert done.exit_code == 1
    app = typer.Typer()
    app.command()(doctor)
    said = CliRunner().invoke(app, [str(file)]).stdout
    assert "bad  sink people-sg does not lie in SG: it is the same as people-vn, which is said to lie in VN" in said
    assert not any(url in said + done.stdout for url in two_names)


@pytest.mark.needs("postgres")
@pytest.mark.needs("redis")
def test_two_databases_of_one_server_are_two_sinks(tmp_path: Path, postgres: Pair, redis_servers: Servers) -> None:
    server, cache = postgres.vn, redis_servers.single().url.rstrip("/")
    for vn, sg in (
        (server.url("asyncpg", server.database()), server.url("asyncpg", server.database())),
        (f"{cache}/1{PATIENT}", f"{cache}/2{PATIENT}"),
    ):
        runtime = build(written(tmp_path, vn, sg), reload=False)
        with served(runtime)():
            eventually(lambda runtime=runtime: looked(runtime))  # type: ignore[misc]  # bound by default
            assert drifting(runtime) == set()
            which = told_which(runtime.stores)
            assert which["people-vn"].words.isdisjoint(which["people-sg"].words)
            assert all(each.words and not each.followers for each in which.values())


def looked(runtime: Residency) -> bool:
    """Whether the sinks' places were looked at."""
    return b'residency_location_events_total{event="looked"} 1' in runtime.render_metrics()[0]


def drifting(runtime: Residency) -> set[str]:
    """The sinks of which the metrics page says that they lie elsewhere."""
    page = runtime.render_metrics()[0].decode()
    return {name for name in ("people-vn", "people-sg") if f'residency_sink_drift{{sink="{name}"}} 1' in page}


def test_a_server_whose_sinks_were_exchanged_answers_503_with_their_names_and_no_url(tmp_path: Path) -> None:
    assert mark(written(tmp_path, "file:vn", "file:sg")) == 0
    runtime = build(written(tmp_path, "file:sg", "file:vn"), reload=False)
    answer = served(runtime)().put("/value", content=b"1")
    assert (answer.status_code, answer.json()["reason"]) == (503, "sink_unavailable")
    assert "sink 'people-vn' bears the mark of sink 'people-sg'" in answer.json()["detail"]
    assert "file:" not in answer.text
    anyio.run(runtime.aclose)


def test_an_app_cannot_write_a_mark(tmp_path: Path) -> None:
    file = written(tmp_path, "file:vn", "file:sg")
    runtime = build(file, reload=False)

    async def forge(request: Request) -> PlainTextResponse:
        await current().store("people").put(".residency/sink", b"[]")
        return PlainTextResponse("stored")

    app = ResidencyMiddleware(Starlette(routes=[Route("/value", forge, methods=["PUT"])]), policy=runtime)
    with TestClient(app, client=(HANOI, 50_000)) as client, pytest.raises(UsageError, match="this package's own"):
        client.put("/value")
    assert not list(tmp_path.rglob("*residency*sink*"))


def test_a_database_copied_abroad_with_its_mark_is_told_by_it(tmp_path: Path) -> None:
    assert mark(written(tmp_path, "sqlite:///vn.db", "sqlite:///sg.db")) == 0
    with closing(sqlite3.connect(tmp_path / "vn.db")) as source, closing(sqlite3.connect(tmp_path / "abroad.db")) as to:
        source.backup(to)
    with pytest.raises(SinkUnavailable, match="'people-sg' bears the mark of sink 'people-vn'"):
        anyio.run(begun, written(tmp_path, "sqlite:///vn.db", "sqlite:///abroad.db"))
