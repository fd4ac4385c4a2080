"""`residency sinks`: what there is, whether it answers, and an app's tables in all of a store's sinks."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.cli.sinks import sinks_app
from tests.world import write_deployment

DEPLOYMENT = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: backup, url: "memory:"}
stores: {people: [people-sg, people-vn], uploads: [objects]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
MODELS = """
from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.orm import DeclarativeBase
class Base(DeclarativeBase): ...
class Person(Base):
    __tablename__ = "person"
    id = Column(String, primary_key=True)
counting = MetaData()
Table("t", counting, Column("id", Integer, primary_key=True))
"""


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment of two databases, and an app's models beside it."""
    (tmp_path / "sinks_test_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sinks_test_models", raising=False)
    return write_deployment(tmp_path, DEPLOYMENT)


def run(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(sinks_app, list(map(str, args)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def test_a_cache_is_listed_as_one_and_asked_whether_it_answers(deployment: Path) -> None:
    sinks = """  near: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "memory:cache"}
  away: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "redis://127.0.0.1:1/0"}
stores: {cache: [near, away], """
    deployment.write_text(deployment.read_text().replace("stores: {", sinks))
    code, said = run("ping", deployment, "--json")
    rows = {row["sink"]: row for row in map(json.loads, said.splitlines()) if "kind" in row}
    assert (rows["near"]["kind"], rows["near"]["reachable"]) == ("cache", True)
    assert (code, rows["away"]["reachable"], "'away'" in rows["away"]["why"]) == (1, False, True)


def test_sinks_are_listed_with_where_they_lie_and_never_their_url(deployment: Path) -> None:
    code, said = run("list", deployment)
    assert code == 0
    assert said.splitlines()[0].split() == ["sink", "kind", "region", "country", "role", "stores"]
    assert "people-vn  rows     vn-han  VN       primary  people" in said
    assert "objects    objects  vn-han  VN       backup   uploads" in said
    assert "sqlite" not in said
    assert not (deployment.parent / "vn.db").exists()
    code, said = run("list", deployment, "--json")
    assert json.loads(said.splitlines()[0])["sink"] == "people-sg"


def test_a_sink_that_does_not_answer_is_told_and_the_others_with_it(deployment: Path) -> None:
    code, said = run("create-all", deployment, "--store", "people", "--metadata", "sinks_test_models:Base")
    assert (code, run("ping", deployment)[0]) == (0, 0)
    (deployment.parent / "vn.db").write_bytes(b"no database at all" * 500)
    code, said = run("ping", deployment, "--json")
    rows = {row["sink"]: row for row in map(json.loads, said.splitlines())}
    assert code == 1
    assert {name: row["reachable"] for name, row in rows.items()} == {
        "people-sg": True,
        "people-vn": False,
        "objects": True,
    }
    assert "people-vn" in rows["people-vn"]["why"]
    assert rows["people-sg"]["ms"] >= 0


def test_tables_are_made_in_every_sink_of_the_store(deployment: Path) -> None:
    code, said = run("create-all", deployment, "--store", "people", "--metadata", "sinks_test_models:Base")
    assert (code, said) == (0, "people-sg: has its 1 tables\npeople-vn: has its 1 tables\n")
    for name in ("sg", "vn"):
        assert tables(deployment.parent / f"{name}.db") == ["person"]


def test_a_sink_that_fails_is_named_and_the_others_are_made(deployment: Path) -> None:
    (deployment.parent / "sg.db").write_bytes(b"no database at all" * 500)
    code, said = run("create-all", deployment, "--store", "people", "--metadata", "sinks_test_models:Base")
    assert code == 1
    assert said.splitlines()[0].startswith("people-sg: failed (")
    assert "people-vn: has its 1 tables" in said
    assert "1 of 2 sinks are not done: people-sg" in said
    assert tables(deployment.parent / "vn.db") == ["person"]


@pytest.mark.parametrize(
    ("store", "metadata", "word"),
    [
        ("people", "sinks_test_models:counting", "counts its key 'id' up in each sink"),
        ("people", "sinks_test_models:String", "is no MetaData"),
        ("people", "sinks_test_models:nothing", "has no 'nothing'"),
        ("people", "no_such_models:Base", "no module 'no_such_models'"),
        ("nothing", "sinks_test_models:Base", "no store 'nothing'; it names "),
        ("peopel", "sinks_test_models:Base", "no store 'peopel'; did you mean `people`?"),
        ("uploads", "sinks_test_models:Base", "holds no rows"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use_and_nothing_is_made(
    deployment: Path, store: str, metadata: str, word: str
) -> None:
    code, said = run("create-all", deployment, "--store", store, "--metadata", metadata)
    assert code == 2
    assert word in said
    assert not (deployment.parent / "vn.db").exists()


def test_a_deployment_that_does_not_hold_is_wrong_use(tmp_path: Path) -> None:
    file = write_deployment(tmp_path, DEPLOYMENT, replace=[("region: sg, provider", "region: nowhere, provider")])
    code, said = run("list", file)
    assert code == 2
    assert "nowhere" in said


PROGRAM = """
import os, sys
name = os.environ["RESIDENCY_SINK"]
open(name + ".ran", "w").write(os.environ["RESIDENCY_SINK_URL"] + " " + " ".join(sys.argv[1:]))
sys.exit(3 if name == sys.argv[1] else 0)
"""


def migrate(deployment: Path, *more: str, failing: str = "none") -> tuple[int, str]:
    (deployment.parent / "program.py").write_text(PROGRAM)
    behind = ["--", sys.executable, "program.py", failing, "--head"]
    return run("migrate", deployment, "--store", "people", *more, *behind)


def test_a_migration_runs_once_for_each_sink_and_finds_the_url_in_its_environment(deployment: Path) -> None:
    code, said = migrate(deployment)
    assert code == 0
    assert "people-sg: migrated" in said
    assert "people-vn: migrated" in said
    assert "sqlite" not in said
    ran = (deployment.parent / "people-vn.ran").read_text()
    assert ran == f"sqlite+pysqlite:///{deployment.parent}/vn.db none --head"


def test_where_a_migration_goes_its_url_says_and_not_the_environment(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq takes PGHOSTADDR before the host of a URL: one server was looked at, and another gets the tables."""
    for name in ("PGHOSTADDR", "PGSERVICE", "PGUSER"):
        monkeypatch.setenv(name, "192.0.2.1")
    assert run("migrate", deployment, "--store", "people", "--", "sh", "-c", "env > seen")[0] == 0
    seen = (deployment.parent / "seen").read_text().splitlines()
    assert [line for line in seen if line.endswith("=192.0.2.1")] == ["PGUSER=192.0.2.1"]


def test_a_migration_that_fails_is_the_last_and_the_rest_is_told(deployment: Path) -> None:
    code, said = migrate(deployment, failing="people-sg")
    assert code == 1
    assert "people-sg: failed (exit 3)" in said
    assert "people-vn: not tried" in said
    assert not (deployment.parent / "people-vn.ran").exists()
    code, said = migrate(deployment, "--keep-going", "--json", failing="people-sg")
    rows = [json.loads(line) for line in said.splitlines()]
    assert (code, [(row["sink"], row["state"]) for row in rows]) == (
        1,
        [("people-sg", "failed"), ("people-vn", "migrated")],
    )


def test_a_program_that_is_not_there_or_not_given_is_told(deployment: Path) -> None:
    code, said = run("migrate", deployment, "--store", "people", "--", "no-such-program")
    assert (code, "no-such-program cannot be run" in said) == (1, True)
    code, said = run("migrate", deployment, "--store", "people")
    assert (code, "-- alembic upgrade head" in said) == (2, True)
    code, said = run("migrate", deployment, "--store", "uploads", "--", "true")
    assert (code, "it holds no rows" in said) == (1, True)


ENV = """
import os
from alembic import context
from sqlalchemy import create_engine
with create_engine(os.environ["RESIDENCY_SINK_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "1", None
def upgrade():
    op.create_table("person", sa.Column("id", sa.String, primary_key=True))
"""


def test_alembic_upgrades_every_sink(deployment: Path) -> None:
    folder = deployment.parent / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "script.py.mako").write_text("")
    (folder / "versions" / "1_person.py").write_text(REVISION)
    (deployment.parent / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
    code, _ = run("migrate", deployment, "--store", "people", "--", *alembic)
    assert code == 0
    for name in ("sg", "vn"):
        assert sorted(tables(deployment.parent / f"{name}.db")) == ["alembic_version", "person"]
