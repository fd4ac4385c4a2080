"""`residency sinks locate` notes whose every record is, says how many, and may be run again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from residency.adapters.keys_files import KeysFiles
from residency.adapters.policy_files import load
from residency.cli.sinks import sinks_app
from residency.enforcement.about import key_text
from residency.vault.subjects import subject_digest
from residency.wiring import location
from residency.wiring.locators import open_locators
from tests.world import write_deployment

DEPLOYMENT = """
keys: {folder: ./keys}
pins: {url: "sqlite:///pins.db"}
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///vn.db"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite+aiosqlite:///sg.db"}
stores: {people: [vn, sg], others: [vn]}
records:
  people:
    person: {subject: id, data: [personal]}
    letter: {via: {author: person}, data: [content]}
activities:
  - {route: "GET /people", subject: user, data: [personal], operation: read, store: people}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name, people in (("vn", range(1_500)), ("sg", range(1_500, 1_600))):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
            connection.execute("CREATE TABLE person (id TEXT PRIMARY KEY, name TEXT)")
            connection.execute("CREATE TABLE letter (number INTEGER PRIMARY KEY, author TEXT REFERENCES person (id))")
            connection.executemany("INSERT INTO person VALUES (?, ?)", [(f"p{n:05d}", "x") for n in people])
            connection.executemany("INSERT INTO letter VALUES (?, ?)", [(n, f"p{n:05d}") for n in people])
            connection.commit()
    return write_deployment(tmp_path, DEPLOYMENT)


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(sinks_app, ["locate", *map(str, arguments)])
    return done.exit_code, done.output


def test_every_record_is_noted_by_whose_it_is_and_a_second_time_is_nothing(file: Path) -> None:
    code, said = run(file, "--store", "people")
    assert (code, said) == (0, "vn: 3,000 records, 3,000 newly noted\nsg: 200 records, 200 newly noted\n")
    code, said = run(file, "--store", "people", "--json")
    assert code == 0
    assert [json.loads(line) for line in said.splitlines()] == [
        {"sink": "vn", "place": "VN", "records": 3_000, "noted": 0, "why": ""},
        {"sink": "sg", "place": "SG", "records": 200, "noted": 0, "why": ""},
    ]
    secret = KeysFiles(file.parent / "keys").secret("subjects")
    locators = open_locators(load(file, {}).deployment, file.parent.joinpath, lambda text: subject_digest(secret, text))
    assert locators is not None

    async def ask() -> tuple[str | None, ...]:
        rows = [
            ("person", key_text("p00007")),
            ("letter", key_text(7)),
            ("letter", key_text(1_550)),
            ("letter", '["x"]'),
        ]
        found = await locators.owners("people", rows, ("VN", "SG"))
        await locators.aclose()
        return found

    seven = subject_digest(secret, "p00007")
    assert anyio.run(ask) == (seven, seven, subject_digest(secret, "p01550"), None)


def test_a_sink_that_fails_is_named_and_the_others_are_done(file: Path) -> None:
    (file.parent / "vn.db").write_bytes(b"nonsense" * 1000)
    code, said = run(file, "--store", "people")
    assert code == 1
    assert "vn: 0 records" in said
    assert "sg: 200 records, 200 newly noted" in said


def test_a_store_without_records_or_that_is_not_there_is_wrong_use(file: Path) -> None:
    for store in ("others", "nonsense"):
        code, said = run(file, "--store", store)
        assert (code, store in said) == (2, True)
    assert run(file.parent / "none.yaml", "--store", "people")[0] == 2


@pytest.mark.parametrize("drift", ["refuse", "warn"])
@pytest.mark.needs("redis")
def test_where_drift_is_refused_nothing_is_noted_with_a_locator_abroad(
    drift: str, file: Path, redis_servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "elsewhere", lambda *_: "127.0.0.1".__eq__)
    server = redis_servers.single()
    file.write_text(file.read_text() + f'location: {{drift: {drift}}}\nlocators: {{VN: "{server.url}"}}\n')
    code, said = run(file, "--store", "people")
    assert code == (1 if drift == "refuse" else 0)
    assert ("the locator of VN has an address in another country than it says" in said) is (drift == "refuse")
    assert bool(server.client.dbsize()) is (drift == "warn")
