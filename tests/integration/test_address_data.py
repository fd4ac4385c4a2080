"""A whole app whose address data is replaced, well and badly, while it answers: no request fails, answers follow."""

from __future__ import annotations

import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from residency import Residency, ResidencyMiddleware, build, current
from residency.model.finding import Anchor
from tests.mmdb_files import BUILT, countries

DEPLOYMENT = """\
residency: 1
kind: deployment
name: addresses
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  notes-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
stores: {notes: [notes-vn]}
signals:
  client_address: {strategy: peer}
  geoip: {database: own.mmdb, check_every: 10 ms, max_age: 20000 days}
  networks: {lists: [own.txt]}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
metrics: /metrics
activities:
  - {route: "GET /where", subject: none, data: [content]}
"""


async def where(request: Request) -> JSONResponse:
    said = [signal for signal in current().signals if signal.anchor is Anchor.TERRITORY]
    return JSONResponse([f"{signal.place} {signal.source}" for signal in said])


def test_requests_are_answered_from_the_newest_whole_data_and_none_fails(tmp_path: Path) -> None:
    database = tmp_path / "own.mmdb"

    def put(place: str, day: int) -> bytes:
        return countries({"14.160.0.0/11": "VN", "9.9.9.0/24": place}, built=BUILT + 86_400 * day)

    def write(content: bytes, name: str = "own.mmdb") -> None:
        (tmp_path / "new").write_bytes(content)
        (tmp_path / "new").replace(tmp_path / name)

    write(put("CH", 0))
    write(b"1.1.1.0/24 vpn\n", "own.txt")
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT)
    runtime: Residency = build(tmp_path / "deployment.yaml")
    app = ResidencyMiddleware(Starlette(routes=[Route("/where", where)]), policy=runtime)
    with TestClient(app, client=("9.9.9.9", 50_000)) as client:

        def ask() -> list[str]:
            answer = client.get("/where")
            assert answer.status_code == 200
            said: list[str] = answer.json()
            return said

        def until(expected: list[str]) -> None:
            end = time.monotonic() + 30
            while ask() != expected:
                assert time.monotonic() < end

        assert ask() == ["CH address"]
        write(put("DE", 1))
        until(["DE address"])
        for bad, event in (
            (put("FR", 2)[:-40], "torn"),
            (b"", "torn"),
            (put("FR", 0), "older"),
            (countries({"9.9.9.0/24": "FR"}, built=BUILT + 200_000), "moved_too_much"),
        ):
            before = runtime.network.outcomes[event]
            database.write_bytes(bad)  # of which somebody may see a part, and count it as torn
            end = time.monotonic() + 30
            while runtime.network.outcomes[event] == before:
                assert ask() == ["DE address"]
                assert time.monotonic() < end
        write(b"9.9.9.0/24 relay\n", "own.txt")
        write(put("VN", 3))
        # The list and the database are two files, and whichever is seen first may stand alone for a moment.
        until(["VN address (relay)"])
        page = client.get("/metrics").text
    counted = {
        line.split('event="')[1].split('"')[0]: float(line.split()[-1])
        for line in page.splitlines()
        if line.startswith("residency_address_data_events_total{")
    }
    assert counted["torn"] >= 2
    assert counted["older"] == 1
    assert counted["moved_too_much"] == 1
    assert counted["taken"] >= 2
    assert "9.9.9" not in page
