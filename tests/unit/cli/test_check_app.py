"""`residency check --app`: keys that are personal data, in an app's routes, models and source, with file and line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.cli.check import check

POLICY = """\
residency: 1
kind: deployment
name: keyed
mode: enforce
operator: {established_in: VN, roles: [controller]}
laws: [vn/personal-data-91-2025]
regions: {han: {country: VN}, sin: {country: SG}}
sinks:
  vn: {region: han, provider: VN, keys: VN, encrypted: true, url: "sqlite:///./vn.db"}
  sg: {region: sin, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  files: {region: sin, provider: SG, keys: SG, encrypted: true, url: "file://files"}
stores: {people: [vn, sg], uploads: [files]}
records:
  people: {person: {subject: id, data: [personal]}}
activities:
  - {route: "GET /people/{id}", subject: path.id, data: [personal], store: people}
"""
MODELS = """\
from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from residency import sql


class Base(DeclarativeBase):
    pass


class Named:
    email: Mapped[str] = mapped_column(String, unique=True)


class Person(Named, Base):
    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=sql.uuid7_key)


class Contact(Base):
    __tablename__ = "contact"
    number: Mapped[str] = mapped_column(
        "phone", String, primary_key=True)


plain = Table(
    "visit", Base.metadata,
    Column("id", Integer, primary_key=True),
    Column("person", ForeignKey("person.id")),
)
"""
MAIN = """\
from residency import current, identify
from starlette.applications import Starlette
from starlette.routing import Route
from {package}.models import Base


async def show(request):
    phone = request.path_params["phone"]
    await identify(phone)
    uploads = current().store("uploads")
    await uploads.put(f"avatar/{{phone}}", b"")


app = Starlette(routes=[Route("/people/{{phone}}", show)])
"""
app = typer.Typer()
app.command()(check)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A package with an app in the current folder; its name is its own, since modules stay loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    package = f"shop_{abs(hash(request.node.nodeid))}"
    folder = tmp_path / package
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "models.py").write_text(MODELS)
    (folder / "main.py").write_text(MAIN.format(package=package))
    (tmp_path / "d.yaml").write_text(POLICY)
    return package


def run(*args: str) -> tuple[int, list[str]]:
    result = CliRunner().invoke(app, ["d.yaml", *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, [line for line in result.output.splitlines() if "audit.detail" not in line]


def test_each_key_is_told_at_the_line_that_makes_it(shop: str) -> None:
    code, lines = run("--app", f"{shop}.main:app")
    assert code == 0

    def at(place: str) -> str:
        return next(line for line in lines if line.startswith(place))

    assert "your app calls its parameter `phone`" in at("d.yaml:16:")
    assert "`phone` is personal data and becomes the id of a subject" in at(f"{shop}/main.py:9:")
    assert "becomes part of the name of an object; store `uploads`" in at(f"{shop}/main.py:11:")
    assert "warning: `contact.phone` is personal data and the table's key" in at(f"{shop}/models.py:21:")
    assert "note: `person.email` is personal data and unique" in at(f"{shop}/models.py:11:")
    assert "warning: table `visit` counts `id` up in each sink" in at(f"{shop}/models.py:25:")


def test_without_the_app_its_file_holds_and_nothing_is_told(shop: str) -> None:
    assert [line for line in run()[1] if "warning" in line] == []


def test_a_table_of_records_that_counts_up_alike_does_not_hold(shop: str) -> None:
    Path("d.yaml").write_text(POLICY.replace("{person: {subject: id", "{visit: {subject: person"))
    code, lines = run("--app", f"{shop}.main:app")
    assert code == 1
    assert any("error: table `visit` counts `id` up in each sink of store `people`" in line for line in lines)


def test_models_alone_can_be_named(shop: str) -> None:
    code, lines = run("--metadata", f"{shop}.models:Base")
    assert code == 0
    assert any("`contact.phone`" in line for line in lines)
    assert run("--metadata", f"{shop}.models:Named")[0] == 2


def test_programs_read_the_same(shop: str) -> None:
    _, (line,) = run("--app", f"{shop}.main:app", "--json")
    kinds = [finding["kind"] for finding in json.loads(line)["findings"]]
    assert (kinds.count("identifier"), kinds.count("shared_key")) == (5, 1)


def test_an_app_of_no_framework_is_read_all_the_same(shop: str) -> None:
    source = (
        "from residency import identify\nasync def app(scope, receive, send):\n    await identify(scope['email'])\n"
    )
    Path(shop, "main.py").write_text(source)
    code, lines = run("--app", f"{shop}.main:app")
    assert code == 0
    assert any(line.startswith(f"{shop}/main.py:3:1: warning: `email`") for line in lines)


def test_an_app_that_cannot_be_imported_is_wrong_use_at_its_own_line_and_quotes_no_url(shop: str) -> None:
    Path(shop, "main.py").write_text("x = 1\nraise RuntimeError('postgresql://user:hush@db')\n")
    code, lines = run("--app", f"{shop}.main:app")
    assert (code, lines) == (2, [f"residency check: importing {shop}.main:app raised RuntimeError ({shop}/main.py:2)"])
    Path(shop, "main.py").write_text("import os\nos.environ['NOT_SET_ANYWHERE']\n")
    assert "KeyError: 'NOT_SET_ANYWHERE'" in run("--app", f"{shop}.main:app")[1][0]
    assert "a module and a name" in run("--app", "shop")[1][0]
