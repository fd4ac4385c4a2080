"""`residency sinks mark`, and what the other commands say of a sink that bears another's mark."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.cli.app import app_for
from tests.world import write_deployment

DEPLOYMENT = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///sg.db"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///vn.db"}
  objects: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: backup, url: "file:files"}
  near: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "memory:cache"}
stores: {people: [people-sg, people-vn], uploads: [objects], cache: [near]}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""
MODELS = """
from sqlalchemy import Column, MetaData, String, Table
tables = MetaData()
Table("person", tables, Column("id", String, primary_key=True))
"""


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment of two databases, files and a cache."""
    (tmp_path / "mark_test_models.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mark_test_models", raising=False)
    return write_deployment(tmp_path, DEPLOYMENT)


def run(*args: str | Path) -> tuple[int, str]:
    words = list(map(str, args))
    result = CliRunner().invoke(app_for(words), words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def exchange(deployment: Path) -> None:
    """The two databases' URLs, each in the other's place."""
    text = deployment.read_text().replace("vn.db", "x.db").replace("sg.db", "vn.db").replace("x.db", "sg.db")
    deployment.write_text(text)


def rows(file: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.execute("SELECT sink, region, place, stores FROM residency_sink"))


def test_each_sink_is_marked_once_and_says_so(deployment: Path) -> None:
    code, said = run("sinks", "mark", deployment)
    assert (code, said.splitlines()) == (
        0,
        [
            "people-sg: marked",
            "people-vn: marked",
            "objects: marked",
            "near: bears no marks (its kind keeps nothing of ours)",
        ],
    )
    assert rows(deployment.parent / "vn.db") == [("people-vn", "vn-han", "VN", '["people"]')]
    code, said = run("sinks", "mark", deployment, "--json")
    assert [json.loads(line)["state"] for line in said.splitlines()][:3] == ["was marked"] * 3
    code, said = run("sinks", "ping", deployment, "--json")
    assert [json.loads(line)["marked"] for line in said.splitlines()] == ["yes", "yes", "yes", "-"]


def test_databases_whose_urls_were_exchanged_are_told_by_every_command_and_nothing_is_written(deployment: Path) -> None:
    assert run("sinks", "mark", deployment)[0] == 0
    exchange(deployment)
    code, said = run("sinks", "mark", deployment)
    assert code == 1
    assert "people-vn: not marked (it bears the mark of sink 'people-sg' (sg, SG)" in said
    assert rows(deployment.parent / "vn.db")[0][0] == "people-vn"
    code, said = run("sinks", "ping", deployment)
    assert code == 1
    assert "sink 'people-vn' bears the mark of sink 'people-sg'" in said
    code, said = run("sinks", "create-all", deployment, "--store", "people", "--metadata", "mark_test_models:tables")
    assert code == 1
    assert "people-sg: failed (sink 'people-sg' bears the mark of sink 'people-vn'" in said
    with closing(sqlite3.connect(deployment.parent / "vn.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'person'").fetchone() is None
    code, said = run("sinks", "migrate", deployment, "--store", "people", "--", "true")
    assert code == 1
    assert "bears the mark of" in said
    code, said = run("doctor", deployment)
    assert code == 1
    assert "bad  sink 'people-vn' bears the mark of sink 'people-sg'" in said


def test_another_mark_goes_only_where_that_is_said(deployment: Path) -> None:
    assert run("sinks", "mark", deployment)[0] == 0
    exchange(deployment)
    assert run("sinks", "mark", deployment, "--replace")[0] == 2, "not all of them at once"
    assert run("sinks", "mark", deployment, "--sink", "people-vn", "--replace", "--beside")[0] == 2
    assert run("sinks", "mark", deployment, "--sink", "nobody")[0] == 2
    assert run("sinks", "mark", deployment, "--sink", "people-vn", "--replace")[0] == 0
    assert [row[0] for row in rows(deployment.parent / "sg.db")] == ["people-vn"]
    assert run("sinks", "mark", deployment, "--sink", "people-sg", "--replace")[0] == 0
    said = run("sinks", "ping", deployment, "--json")[1]
    assert [json.loads(line)["marked"] for line in said.splitlines()] == ["yes", "yes", "yes", "-"]


def test_one_place_bears_marks_of_one_country_alone(deployment: Path) -> None:
    text = deployment.read_text().replace("stores: {", "stores: {jobs: [jobs-vn], ")
    more = (
        "  jobs-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: backup, url: 'sqlite:///vn.db'}\n"
    )
    deployment.write_text(text.replace("  objects:", f"{more}  objects:"))
    (deployment.parent / "vn.db").touch()
    (deployment.parent / "sg.db").symlink_to("vn.db")
    code, said = run("sinks", "mark", deployment)
    assert code == 1
    assert "people-sg: marked" in said
    assert "people-vn: not marked (it bears the mark of sink 'people-sg' (sg, SG): its URL is another's" in said
    code, said = run("sinks", "mark", deployment, "--sink", "people-vn", "--beside")
    assert code == 1
    assert "--beside is for sinks of one country" in said
    assert run("sinks", "mark", deployment, "--sink", "people-vn", "--replace")[0] == 0
    assert run("sinks", "mark", deployment, "--sink", "jobs-vn", "--beside")[0] == 0
    assert sorted(row[0] for row in rows(deployment.parent / "vn.db")) == ["jobs-vn", "people-vn"]
    with closing(sqlite3.connect(deployment.parent / "vn.db")) as connection, connection:
        connection.execute(
            "INSERT INTO residency_sink (sink, region, place, stores) VALUES ('people-sg', 'sg', 'SG', '[]')"
        )
    code, said = run("doctor", deployment)
    assert code == 1
    for name in ("people-vn", "jobs-vn"):
        assert f"bad  sink '{name}' bears the mark of sink 'people-sg' (sg, SG), too: data lies in one country" in said
    assert (
        "bad  sink 'people-sg' bears the mark of sink 'jobs-vn' (vn-han, VN) and 'people-vn' (vn-han, VN), too" in said
    )


def test_the_doctor_warns_of_what_was_never_marked(deployment: Path) -> None:
    said = run("doctor", deployment)[1]
    assert "warn sink people-vn bears no mark" in said
    assert "sink near bears no mark" not in said
    assert run("sinks", "mark", deployment)[0] == 0
    assert "bears no mark" not in run("doctor", deployment)[1]
    assert "residency_sink" not in run("doctor", deployment)[1]


def test_a_sink_that_is_away_is_named_and_the_others_are_marked(deployment: Path) -> None:
    (deployment.parent / "sg.db").write_bytes(b"no database at all" * 500)
    code, said = run("sinks", "mark", deployment)
    assert code == 1
    assert "people-sg: failed (sink 'people-sg' " in said
    assert "people-vn: marked" in said
