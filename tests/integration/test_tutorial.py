"""The page "data that you already have" is done as it is printed, while its API serves: no request fails, nobody sees
an empty or an old account, and afterwards everybody lies where their law wants them.

RESIDENCY_PEOPLE=… makes it as many people in `make deep`; `-rP` shows what it took.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.postgres import Pair, Postgres
from tests.tutorial import PASSWORD, Known, Traffic, Tutorial

pytestmark = [pytest.mark.needs("postgres"), pytest.mark.anyio, pytest.mark.timeout(3600)]
MANY = int(os.environ.get("RESIDENCY_PEOPLE", "100000"))
PEOPLE = """
INSERT INTO people SELECT md5('p' || n)::uuid, 'p' || n || '@example.org', 'name ' || n,
  CASE WHEN n % 10 < 6 THEN 'VN' WHEN n % 10 < 8 THEN 'SG' ELSE 'DE' END, '{password}',
  timestamptz '2024-01-01' + n * interval '1 minute' FROM generate_series(1, {count}) n;
INSERT INTO letters (person_id, body, sent_at) SELECT md5('p' || n)::uuid, 'letter ' || n || '.', now()
  FROM generate_series(1, {count}) n;
"""
# What no request changes.
FIXED = "SELECT id, email, country, password, created_at FROM people"


def tokens(key: OctKey, people: Sequence[UUID]) -> list[str]:
    """What the API would have given them."""
    expires = int(time.time()) + 86_400
    return [jwt.encode({"alg": "HS256"}, {"sub": str(each), "exp": expires}, key) for each in people]


def lying(server: Postgres, database: str) -> dict[UUID, tuple[str, str, str, dict[int, str]]]:
    """Everybody of a database: name, address, country, letters."""
    people = {
        who: (name, email, country, dict[int, str]())
        for who, name, email, country in server.query("SELECT id, name, email, country FROM people", database)
    }
    for number, who, body in server.query("SELECT id, person_id, body FROM letters", database):
        people[who][3][number] = body
    return people


@pytest.mark.parametrize(
    ("count", "clients", "pause"), [(2_000, 2, 0.02), pytest.param(MANY, 6, 0.0, marks=pytest.mark.slow)]
)
async def test_the_page_makes_an_app_lawful_while_it_serves(
    count: int, clients: int, pause: float, postgres: Pair, tmp_path: Path
) -> None:
    sg, vn = postgres.sg.database(), postgres.vn.database()
    tutorial = Tutorial(tmp_path, postgres.sg.url("asyncpg", sg), postgres.vn.url("asyncpg", vn))
    await tutorial.run("alembic upgrade head")
    salt = b"0123456789abcdef"
    password = f"{salt.hex()}:{hashlib.scrypt(PASSWORD.encode(), salt=salt, n=1024, r=8, p=1).hex()}"
    postgres.sg.query(PEOPLE.format(password=password, count=count), sg)
    fixed = {row[0]: row for row in postgres.sg.query(FIXED, sg)}
    rows = postgres.sg.query(
        "SELECT p.id, email, name, country, l.id, body FROM people p JOIN letters l ON l.person_id = p.id", sg
    )
    given = tokens(OctKey.import_key(tutorial.environment["TOKEN_KEY"]), [row[0] for row in rows])
    people = [
        Known(who, email, name, country, token, {letter: body})
        for (who, email, name, country, letter, body), token in zip(rows, given, strict=True)
    ]
    traffic = Traffic(people, clients, pause)
    try:
        await tutorial.restart(traffic)
        async with traffic.flowing():
            for step in range(1, 8):
                begun = time.monotonic()
                await tutorial.play(traffic, step)
                if step == 6:
                    await traffic.enforced()
                await traffic.go_on(25 * clients)
                print(f"step {step}: {time.monotonic() - begun:.1f} s, {traffic.answered} answered")
                assert traffic.failed == [], traffic.failed[:5]
    finally:
        await tutorial.aclose()
        for step, said in tutorial.said:
            print(f"{step}: {said}")
        for what, seconds in sorted(traffic.took.items()):
            seconds.sort()
            print(
                what,
                len(seconds),
                *[f"{seconds[int(len(seconds) * at)]:.3f}" for at in (0.5, 0.99, 0.999)],
                seconds[-1],
            )
    assert traffic.failed == []
    check_rows(traffic, fixed, lying(postgres.vn, vn), lying(postgres.sg, sg))
    found = [row for server, name in ((postgres.sg, sg), (postgres.vn, vn)) for row in server.query(FIXED, name)]
    gone = {person.id for person in traffic.gone}
    assert {row[0]: row for row in found if row[0] in fixed} == {k: row for k, row in fixed.items() if k not in gone}
    assert json.loads((tutorial.folder / "moved.json").read_text())["sinks"][0]["wrong"] == 0
    await tutorial.run("residency audit verify residency-data/audit/log")
    assert "No open intents" in await tutorial.run("residency audit open residency-data/audit/log")
    check_bytes(postgres.sg, sg, traffic)


def check_rows(traffic: Traffic, fixed: dict[UUID, Any], vn: dict[UUID, Any], sg: dict[UUID, Any]) -> None:
    """Each person lies in one place, which is that of their law, with all that they wrote, and nobody else does."""
    wanted = {person.id: (person.name, person.email, person.country, person.letters) for person in traffic.known}
    assert {who: each for who, each in wanted.items() if each[2] == "VN"} == vn
    assert {who: each for who, each in wanted.items() if each[2] != "VN"} == sg
    assert len(wanted) > 0.9 * len(fixed)
    assert {person.country for person in traffic.known if person.id not in fixed} == {"VN", "SG", "DE"}


def check_bytes(server: Postgres, database: str, traffic: Traffic) -> None:
    """The files of the tables abroad hold nothing of a person in Vietnam, be it deleted."""
    server.query("CHECKPOINT")
    files = server.query(
        "SELECT pg_relation_filepath(oid) FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = "
        "'public'::regnamespace",
        database,
    )
    held = written(b"".join((server.data / path).read_bytes() for (path,) in files))
    assert sum(body in held for p in traffic.known if p.country != "VN" for body in p.letters.values()) > 10
    vietnamese = [person for person in traffic.known if person.country == "VN"]
    assert [person.id for person in vietnamese if person.email in held] == []
    assert [person.id for person in vietnamese for body in person.letters.values() if body in held] == []


def written(data: bytes) -> set[str]:
    """All that may be an address or a letter's text in `data`, and more: a byte beside one may look as if it belonged.

    A search for each of a hundred thousand people would read all of it as often.
    """
    found: set[str] = set()
    for run in re.findall(rb"[0-9a-z]+@example\.org", data):
        found.update(run[at:].decode() for at in range(run.index(b"@")))
    for run in re.findall(rb"letter [0-9a-f]+\.?", data):
        found.update(run[:end].decode() for end in range(len("letter ") + 1, len(run) + 1))
    return found
