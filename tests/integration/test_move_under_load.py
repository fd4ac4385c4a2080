"""People are moved while they use the app by a client that tries nothing twice: each request succeeds, no read is
empty, and what was acknowledged is at home, once.

RESIDENCY_PEOPLE=100000 makes it as many people as the tutorial has; `-rP --timeout 3600` shows what it took.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import anyio
import anyio.lowlevel
import httpx
import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from residency import ResidencyMiddleware, build, sql
from tests.moving import COMMAND, COVERED, between_postgres
from tests.postgres import Pair

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.anyio, pytest.mark.timeout(1800), pytest.mark.slow]
PEOPLE = int(os.environ.get("RESIDENCY_PEOPLE", "1500"))
TABLES = """
CREATE TABLE people (id text PRIMARY KEY, name text NOT NULL, seen int DEFAULT 0);
CREATE TABLE letters (id uuid PRIMARY KEY, person text NOT NULL REFERENCES people (id), body text);
CREATE INDEX ON letters (person);
"""
FILL = """
INSERT INTO people SELECT 'p' || n, 'name ' || n FROM generate_series(1, {people}) n;
INSERT INTO letters SELECT gen_random_uuid(), 'p' || n, 'old' FROM generate_series(1, {people}) n;
"""
ACTIVITIES = (
    '  - {route: "GET /people/{id}", subject: path.id, data: [personal], store: people}',
    '  - {route: "POST /people/{id}", subject: path.id, data: [personal, content], operation: write, store: people}',
)
OBSERVED = (("mode: enforce", "mode: observe"), COVERED)


Session = sql.async_sessionmaker("people")


async def read(request: Request) -> JSONResponse:
    person = {"id": request.path_params["id"]}
    async with Session() as session:
        name = (await session.execute(text("SELECT name FROM people WHERE id = :id"), person)).scalar_one_or_none()
        letters = (await session.execute(text("SELECT id FROM letters WHERE person = :id"), person)).scalars().all()
    return JSONResponse({"name": name, "letters": [str(each) for each in letters]})


async def write(request: Request) -> JSONResponse:
    person = {"id": request.path_params["id"]}
    key = sql.uuid7_key()
    async with Session() as session, session.begin():
        seen = await session.execute(text("UPDATE people SET seen = seen + 1 WHERE id = :id RETURNING seen"), person)
        letter = text("INSERT INTO letters VALUES (:key, :id, 'new')")
        await session.execute(letter, {**person, "key": UUID(key)})
        count = seen.scalar_one()
    return JSONResponse({"letter": key, "seen": count}, 201)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    runtime = build(folder / "test.yaml", reload=False)
    app = Starlette(routes=[Route("/people/{id}", read), Route("/people/{id}", write, methods=["POST"])])
    await runtime.start()
    try:
        transport = httpx.ASGITransport(ResidencyMiddleware(app, runtime), raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            yield client
    finally:
        await runtime.aclose()


async def test_every_request_of_a_client_that_tries_nothing_twice_succeeds(postgres: Pair, tmp_path: Path) -> None:
    filled = FILL.format(people=PEOPLE)
    names = between_postgres(postgres, tmp_path, TABLES, filled, activities=ACTIVITIES, replace=OBSERVED)
    moved = anyio.Event()
    written: dict[str, set[str]] = {}
    failed: list[tuple[str, int, str]] = []
    took: dict[str, list[float]] = {"GET": [], "POST": []}

    async def use(client: httpx.AsyncClient, number: int) -> None:
        # Nobody else writes of these people, so that what they read is known.
        chance = random.Random(number)
        mine = [f"p{n}" for n in range(1, PEOPLE + 1) if n % 6 == number]
        while not moved.is_set():
            person = chance.choice(mine)
            method = chance.choice(("GET", "POST"))
            begun = time.monotonic()
            answer = await client.request(method, f"/people/{person}")
            took[method].append(time.monotonic() - begun)
            if answer.status_code not in (200, 201):
                failed.append((method, answer.status_code, answer.text))
            elif method == "POST":
                written.setdefault(person, set()).add(answer.json()["letter"])
            else:
                told = answer.json()
                known = written.get(person, set())
                if told["name"] is None or not known <= set(told["letters"]) or len(told["letters"]) != len(known) + 1:
                    failed.append((method, 200, f"{told} and not {known}"))
            await anyio.lowlevel.checkpoint()

    async with served(tmp_path) as client, anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(use, client, number)
        argv = [*COMMAND, "--go", "--json", "--batch", str(min(1000, PEOPLE // 15))]
        done = await anyio.run_process(argv, cwd=tmp_path, check=False)
        moved.set()
    assert failed == []
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    for method, seconds in took.items():
        seconds.sort()
        print(
            method,
            len(seconds),
            *[f"{seconds[int(len(seconds) * at)]:.3f} s" for at in (0.5, 0.99, 0.999)],
            seconds[-1],
        )
    print(
        {word: told[word] for word in ("moved", "records", "move_seconds", "conflicts")}, told["sinks"][0]["subjects"]
    )
    assert told["conflicts"] == 0
    assert postgres.sg.query("SELECT count(*) FROM people", names[0]) == [(0,)]
    assert postgres.sg.query("SELECT count(*) FROM letters", names[0]) == [(0,)]
    home = {str(key): person for key, person in postgres.vn.query("SELECT id, person FROM letters", names[1])}
    assert len(home) == PEOPLE + sum(map(len, written.values()))
    assert all(home[letter] == person for person, letters in written.items() for letter in letters)
    seen = dict(postgres.vn.query("SELECT id, seen FROM people WHERE seen > 0", names[1]))
    assert seen == {person: len(letters) for person, letters in written.items()}
    assert min(map(len, took.values())) > 100
