"""What doctor says of coverage: of a deployment, of the tables there are, and of an app."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from residency.adapters.policy_files import load
from residency.cli.doctor_coverage import App, of_app, of_policy, of_tables, seen
from residency.cli.doctor_findings import Finding
from residency.errors import UsageError
from residency.policy.compiler import Policy

POLICY = """\
residency: 1
kind: deployment
name: covered
mode: enforce
operator: {established_in: VN}
laws: none
regions: {han: {country: VN}}
sinks:
  rows: {region: han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./rows.db"}
  files: {region: han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
  llm: {region: han, provider: VN, keys: VN, encrypted: true, url: "https://llm.example/"}
stores: {people: [rows], uploads: [files], llm: [llm]}
records:
  people: {person: {subject: id, data: [personal]}}
  uploads: {"users/{subject}/": {data: [content]}}
activities:
  - {route: "GET /people/{id}", subject: path.id, data: [personal], store: people}
  - {route: "POST /chat", subject: app, data: [content], http: llm}
  - {route: "GET /ping", subject: none, data: [log]}
"""
MODELS = """\
import sqlalchemy as sa
from residency import sql
meta = sa.MetaData()
person = sa.Table("person", meta, sa.Column("id", sa.String, primary_key=True))
letter = sa.Table("letter", meta, sa.Column("id", sa.String, primary_key=True))
Session = sql.sessionmaker("people")
engine = sa.create_engine("sqlite:///./rows.db")
"""
MAIN = """\
from residency import ResidencyMiddleware, current
from starlette.applications import Starlette
from starlette.routing import Route
from {package} import models
async def person(request): ...
app = Starlette(routes=[Route("/people/{{id}}", person), Route("/admin", person)])
app.add_middleware(ResidencyMiddleware, policy="d.yaml")
"""


def written(folder: Path, *changes: tuple[str, str]) -> Policy:
    text = POLICY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "d.yaml").write_text(text)
    return load(folder / "d.yaml")


def by_what(found: Iterable[Finding]) -> dict[str, Finding]:
    return {each.what: each for each in found}


def told(found: Iterable[Finding], words: str) -> Finding:
    return next(each for each in found if words in each.what)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> App:
    """A package with an app, a database of a sink opened past residency, and mail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    package = f"covered_{abs(hash(request.node.nodeid))}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").write_text("import smtplib\n")
    (folder / "models.py").write_text(MODELS)
    (folder / "main.py").write_text(MAIN.format(package=package))
    (folder / "mail.py").write_text("import smtplib\ndef send(): smtplib.SMTP('x')\n")
    (folder / "worse.py").write_text("def (:\n")
    return seen(f"{package}.main:app")


def test_a_deployment_that_names_stores_for_people_s_data_is_told_nothing(tmp_path: Path) -> None:
    assert list(of_policy(written(tmp_path))) == []


def test_activities_without_a_store_and_services_that_are_none_are_told_with_their_lines(tmp_path: Path) -> None:
    policy = written(tmp_path, ("data: [personal], store: people", "data: [personal]"), ("http: llm", "http: model"))
    idle, service = of_policy(policy)
    assert (idle.level, idle.places) == ("warn", (f"{tmp_path / 'd.yaml'}:17",))
    assert "1 activity takes people's data and name no store" in idle.what
    assert (service.what, service.places) == (
        "`http: model` is no store: calls of it are not seen", (f"{tmp_path / 'd.yaml'}:18",)
    )  # fmt: skip


def test_tables_that_no_records_name_are_told_but_for_those_of_programs(tmp_path: Path) -> None:
    policy = written(tmp_path)
    there = {"rows": {"person", "letter", "alembic_version", "residency_outbox"}}
    found = told(of_tables(policy, there, None), "store people")
    assert (found.level, found.what) == (
        "warn", "store people: no `records` name 1 table (letter): move, retention, erasure and export pass them by"
    )  # fmt: skip
    assert told(of_tables(policy, {"rows": {"person"}}, None), "store people").level == "ok"


def test_a_sink_without_a_table_that_records_name_is_told_by_its_name(tmp_path: Path) -> None:
    policy = written(tmp_path)
    found = told(of_tables(policy, {"rows": {"letter"}}, None), "sink rows lacks 1 table that `records` name: person")
    assert found.level == "warn"
    assert "sinks migrate" in found.mend
    assert not any("lacks" in each.what for each in of_tables(policy, {}, None))  # nobody could ask


def test_stores_without_records_are_told(tmp_path: Path) -> None:
    policy = written(
        tmp_path, ("records:", ""), ("  people: {person: {subject: id, data: [personal]}}", ""),
        ('  uploads: {"users/{subject}/": {data: [content]}}', ""),
    )  # fmt: skip
    found = by_what(of_tables(policy, {}, None))
    assert "store people has no `records`: move, retention, erasure and export pass its rows by" in found
    assert any(what.startswith("store uploads: no pattern in `records`") for what in found)


def test_tables_of_the_app_s_models_count_where_there_is_one_store_of_rows(tmp_path: Path, app: App) -> None:
    assert "1 table (letter)" in told(of_tables(written(tmp_path), {}, app), "store people").what


def test_what_nobody_named_is_not_refused_while_the_deployment_observes(tmp_path: Path, app: App) -> None:
    observing = written(tmp_path, ("mode: enforce", "mode: observe"))
    assert told(of_app(observing, app, {}), "no activity names: refused once the deployment enforces").level == "warn"


def test_what_the_app_does_through_residency_and_past_it(tmp_path: Path, app: App) -> None:
    package = app.target.partition(".")[0]
    policy = written(tmp_path)
    found = list(of_app(policy, app, {}))
    assert told(found, "covered: store people (rows)").places == (f"{package}/models.py:6",)
    assert told(found, "store uploads: no line that was read opens it").level == "warn"
    assert told(found, "not covered: smtplib").places == (f"{package}/__init__.py:1", f"{package}/mail.py:2")
    assert told(found, "not covered: sqlalchemy").places == (f"{package}/models.py:7",)
    assert told(found, "cannot be read as Python").places == (f"{package}/worse.py",)
    assert told(found, "1 route of the app that no activity names: refused").level == "warn"
    assert {each.level for each in found} == {"ok", "warn"}
    assert not any("ResidencyMiddleware" in each.what for each in found)


def test_an_engine_on_a_sink_s_database_is_told_by_the_sink_s_name(tmp_path: Path, app: App) -> None:
    from residency.adapters.sink_sql import SqlSink
    from residency.model import Region

    sink = SqlSink("rows", Region("han", "VN"), f"sqlite:///{tmp_path}/rows.db")
    found = list(of_app(written(tmp_path), app, {"rows": sink}))
    line = told(found, "opens the database of sink rows").what
    assert "sqlite" in line
    assert str(tmp_path) not in line


def test_an_app_that_nothing_wraps_is_told(tmp_path: Path, app: App) -> None:
    package = app.target.partition(".")[0]
    Path(package, "main.py").write_text("app = None\n")
    bare = App(app.target, app.app, (), (), (), app.before, ("boto3",))
    found = list(of_app(written(tmp_path), bare, {}))
    assert told(found, "no file of the app's names ResidencyMiddleware").level == "warn"
    assert "loaded by libraries that the app uses, not by its own source: boto3" in by_what(found)


def test_an_app_that_is_not_there_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no module 'not_there\.main'"):
        seen("not_there.main:app")
