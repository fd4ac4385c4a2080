"""FastAPI's dependencies, thread pool, background tasks and tasks keep the decision; an executor has none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from residency.errors import ResidencyError
from residency.integrations.fastapi import session, sync_session
from residency.integrations.sqlalchemy import async_sessionmaker, create_all, sessionmaker
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
  - {route: "GET /{how}", subject: jwt.sub, data: [personal], store: people}
"""
Make, MakeSync = async_sessionmaker("people"), sessionmaker("people")
People = Annotated[AsyncSession, Depends(session("people"))]
SyncPeople = Annotated[Session, Depends(sync_session("people"))]
Abroad = Annotated[AsyncSession, Depends(session("people", sink="people-sg"))]


async def add(name: str) -> None:
    async with Make.begin() as made:
        made.add(Person(name=name))


def add_blocking(name: str) -> None:
    with MakeSync.begin() as made:
        made.add(Person(name=name))


def make_app(kept: dict[str, Any]) -> FastAPI:
    """An app whose routes write a row each in another way."""
    app = FastAPI(openapi_url=None)

    @app.post("/depends")
    async def depends(people: People) -> None:
        people.add(Person(name="depends"))
        await people.commit()

    @app.post("/forgotten")
    async def forgotten(people: People) -> None:
        people.add(Person(name="forgotten"))
        await people.flush()

    @app.post("/abroad")
    async def abroad(people: Abroad) -> None:
        people.add(Person(name="abroad"))
        await people.commit()

    @app.post("/sync")
    def sync(people: SyncPeople) -> None:
        people.add(Person(name="sync"))
        people.commit()

    @app.post("/background")
    async def background(tasks: BackgroundTasks) -> None:
        tasks.add_task(add, "background")
        tasks.add_task(add_blocking, "background in a thread")

    @app.post("/task")
    async def task() -> None:
        await asyncio.create_task(add("task"))
        async with anyio.create_task_group() as group:
            group.start_soon(add, "task group")
        await anyio.to_thread.run_sync(add_blocking, "thread")
        await asyncio.to_thread(add_blocking, "thread of asyncio's")

    @app.post("/after")
    async def after() -> None:
        async def later() -> None:
            await asyncio.sleep(0.05)
            await add("after the answer")

        kept["task"] = asyncio.create_task(later())

    @app.post("/executor")
    async def executor() -> str:
        try:
            await asyncio.get_running_loop().run_in_executor(None, add_blocking, "executor")
        except ResidencyError as error:
            return type(error).__name__
        return "written"

    @app.get("/count")
    async def count(people: People) -> int:
        return await people.scalar(select(func.count()).select_from(Person)) or 0

    @app.get("/count-sync")
    def count_sync(people: SyncPeople) -> int:
        return people.scalar(select(func.count()).select_from(Person)) or 0

    return app


@pytest.fixture
def kept() -> dict[str, Any]:
    """What a handler keeps for the test."""
    return {}


@pytest.fixture
def kit(tmp_path: Path, kept: dict[str, Any]) -> Iterator[Kit]:
    """The app under its policy, its tables made."""
    (tmp_path / "policy").mkdir()
    with Kit(make_app(kept), write_deployment(tmp_path / "policy", DEPLOYMENT), tmp_path / "kit") as made:
        made.run(create_all, Base.metadata, made.runtime.stores, "people")
        yield made


@pytest.mark.parametrize("how", ["depends", "sync"])
@pytest.mark.parametrize(("country", "sink"), [("VN", "people-vn"), ("SG", "people-sg")])
def test_a_dependency_opens_where_the_subjects_data_must_lie(kit: Kit, how: str, country: str, sink: str) -> None:
    client = kit.client(person(country, subject="somebody"))
    assert client.post(f"/{how}").status_code == 200
    assert kit.went("people") == [sink]
    assert (client.get("/count").json(), client.get("/count-sync").json()) == (1, 1)


def test_what_a_handler_does_not_commit_is_rolled_back(kit: Kit) -> None:
    client = kit.client(person("VN", subject="lan"))
    assert client.post("/forgotten").status_code == 200
    assert [act.outcome for act in kit.acts("people")] == ["rolled_back"]
    assert client.get("/count").json() == 0


def test_a_sink_asked_for_by_name_is_that_one_or_a_refusal(kit: Kit) -> None:
    assert kit.client(person("VN", subject="lan")).post("/abroad").status_code == 451
    assert kit.client(person("SG", subject="tan")).post("/abroad").status_code == 200
    assert kit.went("people") == ["people-sg"]


@pytest.mark.parametrize(("how", "writes"), [("background", 2), ("task", 4)])
def test_tasks_threads_and_background_tasks_keep_the_decision(kit: Kit, how: str, writes: int) -> None:
    client = kit.client(person("VN", subject="lan"))
    assert client.post(f"/{how}").status_code == 200
    assert kit.went("people") == ["people-vn"] * writes
    assert client.get("/count").json() == writes


def test_a_task_that_outlives_its_answer_keeps_the_decision(kit: Kit, kept: dict[str, Any]) -> None:
    assert kit.client(person("VN", subject="lan")).post("/after").status_code == 200

    async def wait() -> None:
        await kept["task"]

    kit.run(wait)
    assert kit.went("people") == ["people-vn"]


def test_an_executor_that_carries_no_context_gets_the_error_and_writes_nothing(kit: Kit) -> None:
    client = kit.client(person("VN", subject="lan"))
    assert client.post("/executor").json() == "NoDecision"
    assert client.get("/count").json() == 0
    assert kit.acts("people") == [act for act in kit.acts("people") if act.operation == "read"]
