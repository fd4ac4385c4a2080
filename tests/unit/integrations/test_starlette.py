"""Starlette's own endpoints, on the loop and in its thread pool, get a session where the data must lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from residency.integrations.sqlalchemy import async_sessionmaker, create_all
from residency.integrations.starlette import with_session
from residency.testing import Kit, person
from tests.rows import Base, Person
from tests.world import write_deployment

DEPLOYMENT = """
signals: {client_address: {strategy: peer}, identity: {jwt: {jwks: ./jwks.json}}}
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
stores: {people: [people-sg, people-vn]}
activities:
  - {route: "POST /{how}", subject: jwt.sub, data: [personal], store: people}
  - {route: "GET /count", subject: jwt.sub, data: [personal], store: people}
"""


@with_session("people")
async def on_loop(request: Request, people: AsyncSession) -> Response:
    """Write on the loop."""
    people.add(Person(name=await request.json()))
    await people.commit()
    return Response(status_code=201, background=BackgroundTask(later))


async def later() -> None:
    """Write once the answer is sent."""
    async with async_sessionmaker("people").begin() as people:
        people.add(Person(name="later"))


@with_session("people")
def in_thread(request: Request, people: Session) -> Response:
    """Write in a thread of the pool."""
    people.add(Person(name="thread"))
    people.commit()
    return Response(status_code=201)


@with_session("people", sink="people-sg")
async def abroad(request: Request, people: AsyncSession) -> Response:
    """Write in Singapore or not at all."""
    people.add(Person(name="abroad"))
    await people.commit()
    return Response(status_code=201)


class Count:
    """An endpoint that is a method."""

    @with_session("people")
    async def count(self, request: Request, people: AsyncSession) -> Response:
        """Count what the person's sink holds."""
        return PlainTextResponse(str(await people.scalar(select(func.count()).select_from(Person))))


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    """The app under its policy, its tables made."""
    routes: list[Any] = [
        Route("/loop", on_loop, methods=["POST"]),
        Route("/thread", in_thread, methods=["POST"]),
        Route("/abroad", abroad, methods=["POST"]),
        Route("/count", Count().count),
    ]
    (tmp_path / "policy").mkdir()
    with Kit(Starlette(routes=routes), write_deployment(tmp_path / "policy", DEPLOYMENT), tmp_path / "kit") as made:
        made.run(create_all, Base.metadata, made.runtime.stores, "people")
        yield made


@pytest.mark.parametrize(("country", "sink"), [("VN", "people-vn"), ("SG", "people-sg")])
def test_endpoints_write_where_the_subjects_data_must_lie(kit: Kit, country: str, sink: str) -> None:
    client = kit.client(person(country, subject="somebody"))
    assert client.post("/loop", json="An").status_code == 201
    assert client.post("/thread").status_code == 201
    assert kit.went("people") == [sink] * 3  # the background task's too
    assert client.get("/count").text == "3"


def test_a_sink_asked_for_by_name_is_that_one_or_a_refusal(kit: Kit) -> None:
    assert kit.client(person("VN", subject="lan")).post("/abroad").status_code == 451
    assert kit.went("people") == []


def test_the_endpoint_keeps_its_name() -> None:
    assert (on_loop.__name__, in_thread.__doc__) == ("on_loop", "Write in a thread of the pool.")
