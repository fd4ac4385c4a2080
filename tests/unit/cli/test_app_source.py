"""An app's own source: which files are its own, and what names in them stand for."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from residency.cli.app_source import dotted, imported, own_modules, own_sources, parse_source
from residency.errors import UsageError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A package in the current folder whose name is its own, since modules stay loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"own_{abs(hash(request.node.nodeid))}"
    for file, text in {
        f"{name}/__init__.py": "",
        f"{name}/main.py": f"import helper_of_{name}\napp = object()\n",
        f"{name}/never_loaded.py": "import boto3\n",
        f"{name}/broken.py": "def (:\n",
        f"{name}/tests/test_it.py": "import requests\n",
        f"helper_of_{name}.py": "",
        "unrelated.py": "",
        "venv/site-packages/installed.py": "",
    }.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(text)
    return name


def test_the_whole_package_and_what_it_loaded_from_here_are_its_own_and_tests_are_not(package: str) -> None:
    assert imported(f"{package}.main:app") is not None
    read, unread = own_sources(f"{package}.main:app")
    assert {source.file for source in read} == {
        f"{package}/__init__.py", f"{package}/main.py", f"{package}/never_loaded.py", f"helper_of_{package}.py"
    }  # fmt: skip
    assert unread == (f"{package}/broken.py",)
    assert f"helper_of_{package}" in {module.__name__ for module in own_modules(f"{package}.main:app")}


def test_an_app_that_is_not_there_is_wrong_use(package: str) -> None:
    with pytest.raises(UsageError, match="has no 'application'"):
        imported(f"{package}.main:application")
    with pytest.raises(UsageError, match=r"raised SyntaxError: .*broken\.py"):
        imported(f"{package}.broken:app")


def test_names_stand_for_what_imports_brought(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "from __future__ import annotations\nimport os.path\nimport sqlalchemy as sa\n"
        "import google.cloud.storage as gcs\n"
        "from google.cloud import storage\nfrom httpx import AsyncClient as Client\nfrom . import near\n"
        "if TYPE_CHECKING:\n    import boto3\nelse:\n    import redis\n"
    )
    source = parse_source(file)
    assert source is not None
    names = source.names

    def stands_for(text: str) -> str | None:
        return dotted(ast.parse(text, mode="eval").body, names)

    assert stands_for("sa.create_engine") == "sqlalchemy.create_engine"
    assert stands_for("storage.Client") == stands_for("gcs.Client") == "google.cloud.storage.Client"
    assert stands_for("Client") == "httpx.AsyncClient"
    assert stands_for("os.path.join") == "os.path.join"
    assert stands_for("redis.Redis") == "redis.Redis"
    assert [stands_for(text) for text in ("boto3.client", "near.x", "unknown", "f().x")] == [None] * 4


def test_a_file_that_is_no_python_or_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"\xff\x00")
    assert parse_source(tmp_path / "bad.py") is None
    assert parse_source(tmp_path / "gone.py") is None
