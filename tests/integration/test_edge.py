"""An existing-looking FastAPI and SQLAlchemy app under the middleware: tokens, sign-up, homes, refusals, end to end."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from httpx import ASGITransport, AsyncClient
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.websockets import WebSocketDisconnect

from residency import ResidencyMiddleware, about, current, identify, sql
from residency.model import StopOrder
from residency.observe import names
from residency.testing import Kit, person

POLICY = """
residency: 1
kind: deployment
name: existing
mode: enforce
operator: {established_in: [VN], roles: [controller], service_lines: [social_network]}
laws: [vn/*]
regions: {vn-han: {country: VN}, sg: {country: SG}}
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "${SG_URL}"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "${VN_URL}"}
stores: {people: [people-sg, people-vn]}
signals:
  client_address: {strategy: peer}
  identity: {jwt: {jwks: "${JWKS}", claims: {citizenship: nationality}}}
audit: {detail: {VN: ./detail}}
metrics: /metrics
exempt: [GET /healthz]
activities:
  - {route: "POST /v1/people", subject: app, data: [personal, account], operation: write, store: people}
  - {route: "GET /v1/people/{id}", subject: path.id, data: [personal, account], operation: read, store: people}
  - {route: "POST /v1/notes", subject: jwt.sub, data: [personal, account], operation: write, store: people}
  - {route: "POST /v1/move/{other}", subject: jwt.sub, data: [personal, account], operation: write, store: people}
  - {route: "GET /v1/me", subject: jwt.sub, data: [personal], operation: process}
  - {route: "GET /v1/stream", subject: jwt.sub, data: [personal, account], operation: read, store: people}
  - {route: "WS /v1/chat", subject: jwt.sub, data: [personal, account], operation: write, store: people}
"""


class Base(DeclarativeBase):
    """The app's models."""


class Person(Base):
    """Somebody, or something they wrote."""

    __tablename__ = "people"
    id: Mapped[str] = mapped_column(primary_key=True, default=sql.uuid7_key)
    name: Mapped[str]


Session = sql.async_sessionmaker("people")


async def session() -> AsyncIterator[Any]:
    """The dependency that such apps have."""
    async with Session() as opened:
        yield opened


Database = Annotated[Any, Depends(session)]


def make_app(policy: Path) -> FastAPI:
    """The app, with the one line that drops us in."""
    app = FastAPI()
    app.add_middleware(ResidencyMiddleware, policy=policy)

    @app.post("/v1/people", status_code=201)
    async def sign_up(body: dict[str, Any], db: Database) -> dict[str, str]:
        key = sql.uuid7_key()
        if not body.get("forgets"):
            await identify(key, citizenship=body.get("citizenship"))
        db.add(Person(id=key, name=body["name"]))
        await db.commit()
        return {"id": key, "sink": current().store("people").sink_name}

    @app.get("/v1/people/{key}")
    async def read(key: str, db: Database) -> dict[str, str]:
        found = await db.get(Person, key)
        if found is None:
            raise HTTPException(404)
        return {"name": found.name}

    @app.post("/v1/notes", status_code=201)
    async def note(body: dict[str, Any], db: Database) -> dict[str, str]:
        db.add(Person(name=body["name"]))
        await db.commit()
        return {"sink": current().store("people").sink_name}

    @app.post("/v1/move/{other}")
    async def move(other: str) -> dict[str, str]:
        async with about(other) as theirs:
            return {"sink": theirs.store("people").sink_name}

    @app.get("/v1/me")
    async def me() -> dict[str, Any]:
        here = current()
        return {"known": here.subject is not None, "places": sorted({signal.place for signal in here.signals})}

    @app.get("/v1/stream")
    async def stream() -> StreamingResponse:
        async def rows() -> AsyncIterator[str]:
            yield current().activity.name
            async with Session() as db:
                yield "\n" + str(await db.get(Person, "nobody"))

        return StreamingResponse(rows())

    @app.websocket("/v1/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            async with Session() as db:
                db.add(Person(name=text))
                await db.commit()
            await websocket.send_text("stored")

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    return app


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """The app under its policy, with its tables made."""
    file = tmp_path / "existing.yaml"
    file.write_text(POLICY)
    with Kit(make_app(file), file, tmp_path / "kit") as entered:
        entered.run(sql.create_all, Base.metadata, entered.runtime.stores, "people")
        yield entered


def rows(kit: Kit, sink: str) -> list[str]:
    """The names in one sink's database, read without the code under test."""
    with closing(sqlite3.connect(kit.folder / f"{sink}.db")) as database:
        return [name for (name,) in database.execute("SELECT name FROM people ORDER BY name")]


def test_each_persons_record_lies_where_their_law_wants_it_and_is_found_there_from_anywhere(kit: Kit) -> None:
    keys = {}
    for country in ("VN", "SG", "DE", "US"):
        answer = kit.client(person(country)).post("/v1/people", json={"name": country})
        assert answer.status_code == 201, answer.text
        keys[country] = answer.json()["id"]
    assert (rows(kit, "people-vn"), rows(kit, "people-sg")) == (["VN"], ["DE", "SG", "US"])
    for country, key in keys.items():
        for reader in ("VN", "DE"):
            assert kit.client(person(reader)).get(f"/v1/people/{key}").json() == {"name": country}


def test_a_citizen_abroad_is_at_home_by_what_they_say(kit: Kit) -> None:
    answer = kit.client(person("DE")).post("/v1/people", json={"name": "An", "citizenship": "VN"})
    assert answer.status_code == 201
    assert kit.acts()[-1].jurisdictions == ("VN",)


def test_a_handler_that_forgets_identify_is_refused_and_stores_nothing(kit: Kit) -> None:
    answer = kit.client(person("VN")).post("/v1/people", json={"name": "An", "forgets": True})
    assert (answer.status_code, answer.json()["reason"]) == (403, "subject_unknown")
    assert rows(kit, "people-vn") == rows(kit, "people-sg") == []
    assert kit.refusals() == [("subject_unknown", ())]


def test_no_name_no_address_and_no_id_reaches_the_log_or_an_answer(kit: Kit) -> None:
    client = kit.client(person("VN", subject="lan-the-subject"))
    assert client.post("/v1/notes", json={"name": "x"}).status_code == 201
    client.get("/v1/unknown-of-lan-the-subject")
    log = b"".join(path.read_bytes() for path in (kit.folder / "audit" / "journal").glob("*/*.seg"))
    for private in ("lan-the-subject", person("VN").address):
        assert private.encode() not in log
        assert private not in client.get("/metrics").text
    assert [entry.detail is not None for entry in kit.entries() if entry.kind == "intent"] == [True]


# -- tokens ------------------------------------------------------------------------------------------------------------


def bad_tokens(kit: Kit) -> dict[str, str]:
    claims = {"sub": "mallory", "nationality": "SG", "exp": int(time.time()) + 3600}
    other = ECKey.generate_key("P-256", {"kid": "residency-testing", "alg": "ES256"})
    good = kit.token(person("SG", subject="tan", citizenship="SG"))
    head, payload, signature = good.split(".")
    none = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("0" * 32)).split(".")[1]
    return {
        "none": f"eyJhbGciOiJub25lIn0.{none}.",
        "wrong key": jwt.encode({"alg": "ES256", "kid": "residency-testing"}, claims, other),
        "shared secret": jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("0" * 32)),
        "expired": jwt.encode({"alg": "ES256", "kid": "residency-testing"}, claims | {"exp": 1}, kit._key),
        "no expiry": jwt.encode({"alg": "ES256", "kid": "residency-testing"}, {"sub": "mallory"}, kit._key),
        "cut": good[:-10],
        "swapped": f"{head}.{payload[::-1]}.{signature}",
        "empty": "",
        "rubbish": "\x7f.\x7f.\x7f",
        "long": "a" * 50_000,
    }


@pytest.mark.parametrize(
    "which",
    ["none", "wrong key", "shared secret", "expired", "no expiry", "cut", "swapped", "empty", "rubbish", "long"],
)
def test_a_token_that_does_not_verify_is_no_signal_and_no_crash(kit: Kit, which: str) -> None:
    client = kit.client(person("VN"))
    header = {"authorization": f"Bearer {bad_tokens(kit)[which]}"}
    assert client.get("/v1/me", headers=header).json() == {"known": False, "places": ["VN"]}
    answer = client.post("/v1/notes", json={"name": "x"}, headers=header)
    assert (answer.status_code, answer.json()["reason"]) == (403, "subject_unknown")


def test_a_token_that_verifies_is_a_signal(kit: Kit) -> None:
    known = kit.client(person("DE", subject="an", citizenship="VN")).get("/v1/me").json()
    assert known == {"known": True, "places": ["DE", "VN"]}


# -- what moves --------------------------------------------------------------------------------------------------------


def test_another_persons_data_is_judged_by_their_own_home(kit: Kit) -> None:
    lan = kit.client(person("VN", subject="lan"))
    tan = kit.client(person("SG", subject="tan"))
    assert lan.post("/v1/notes", json={"name": "x"}).json() == {"sink": "people-vn"}
    assert tan.post("/v1/notes", json={"name": "y"}).json() == {"sink": "people-sg"}
    assert lan.post("/v1/move/tan").json() == {"sink": "people-sg"}
    assert tan.post("/v1/move/lan").json() == {"sink": "people-vn"}


def test_a_streamed_answer_acts_under_its_own_decision(kit: Kit) -> None:
    text = kit.client(person("VN", subject="lan")).get("/v1/stream").text
    assert text == "GET /v1/stream\nNone"
    assert [act.outcome for act in kit.acts()] == ["committed"]


def test_a_stop_order_between_two_messages_of_a_chat_refuses_the_second(kit: Kit) -> None:
    client = kit.client(person("VN", subject="lan"))
    with client.websocket_connect("/v1/chat") as chat:
        chat.send_text("first")
        assert chat.receive_text() == "stored"
        facts = kit.runtime.facts
        facts.replace(replace(facts.current(), stop_orders=(StopOrder("7", "people-vn", 0),)))
        chat.send_text("second")
        with pytest.raises(WebSocketDisconnect) as caught:
            chat.receive_text()
    assert caught.value.code == 1008
    assert rows(kit, "people-vn") == ["first"]
    assert [reason for reason, _ in kit.refusals()][-1] in ("stop_order", "no_sink", "not_home")


def test_a_sink_that_goes_away_is_a_503_and_its_act_is_told_as_failed(kit: Kit) -> None:
    client = kit.client(person("VN", subject="lan"))
    kit.run(kit.runtime.stores.aclose)
    for suffix in ("", "-wal", "-shm"):
        (kit.folder / f"people-vn.db{suffix}").unlink(missing_ok=True)
    (kit.folder / "people-vn.db").mkdir()
    answer = client.post("/v1/notes", json={"name": "x"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "sink_unavailable")
    assert str(kit.folder) not in answer.text
    assert kit.acts()[-1].outcome in ("failed", "rolled_back")
    assert kit.runtime.point.recorder.open_intents == 0


def test_many_at_once_each_get_their_own_decision(kit: Kit) -> None:
    async def crowd() -> list[tuple[str, int, str]]:
        async def one(number: int, country: str) -> tuple[str, int, str]:
            transport = ASGITransport(kit.app, client=(person(country).address, 50_000))
            async with AsyncClient(transport=transport, base_url="http://test") as client:
                token = kit.token(person(country, subject=f"{country}-{number}"))
                answer = await client.post(
                    "/v1/notes", json={"name": f"{country}-{number}"}, headers={"authorization": f"Bearer {token}"}
                )
                return country, answer.status_code, answer.json()["sink"]

        return list(await asyncio.gather(*(one(n, c) for n in range(10) for c in ("VN", "SG"))))

    assert set(kit.run(crowd)) == {("VN", 201, "people-vn"), ("SG", 201, "people-sg")}
    assert {name[:2] for name in rows(kit, "people-vn")} == {"VN"}
    assert {name[:2] for name in rows(kit, "people-sg")} == {"SG"}


def test_after_everything_counters_are_whole_numbers_and_nothing_is_open(kit: Kit) -> None:
    client = kit.client(person("VN", subject="lan"))
    client.post("/v1/notes", json={"name": "x"})
    client.get("/v1/unknown")
    client.get("/healthz")
    metrics = kit.runtime.metrics
    assert min(metrics.cells) >= 0
    assert metrics.value(names.EXEMPT) == 1
    gauges = {family.spec.name: family.series for family in metrics.families()}
    assert gauges[names.OPEN_INTENTS] == (((), 0.0),)
    assert json.loads(client.get("/v1/unknown", headers={"accept-language": "vi"}).content)["title"].startswith("Đường")
