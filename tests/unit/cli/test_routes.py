"""`residency routes`: every classified and exempt route, and exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.cli.routes import routes

ROOT = Path(__file__).resolve().parents[3]
POLICY = str(ROOT / "policies" / "deployments" / "social-api.yaml")
app = typer.Typer()
app.command()(routes)


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(args))
    return result.exit_code, result.output


def test_every_route_is_listed_with_its_sinks() -> None:
    code, output = run("--policy", POLICY, "--json")
    listed = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert {row["path"] for row in listed if row["exempt"]} == {"/healthz", "/docs", "/openapi.json"}
    assert next(row for row in listed if row["method"] == "WS")["sinks"] == ["people-vn", "people-sg"]


def test_the_table_cuts_no_path_short() -> None:
    code, output = run("--policy", POLICY)
    assert code == 0
    assert "/v1/people/{id}" in output
    assert "a route that is not listed: deny" in output


def test_nothing_is_cut_short_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("60", "80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        output = run("--policy", POLICY)[1]
        assert "…" not in output
        for words in ("POST /v1/people", "path.id", "account, personal", "people: people-vn, people-sg"):
            assert words in output


def test_no_policy_and_one_that_does_not_hold_are_wrong_use() -> None:
    assert run()[0] == 2
    assert run("--policy", "no-such-file.yaml")[0] == 2


def test_an_app_that_cannot_be_imported_is_told_by_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torn_api_of_a_test.py").write_text("import json\nfrom json import nothing\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    code, output = run(POLICY, "--app", "torn_api_of_a_test:app")
    assert code == 2
    assert "raised ImportError" in output
    assert "(torn_api_of_a_test.py:2)" in output


def test_routes_of_an_app_that_nobody_named_are_lines_for_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api_of_a_test.py").write_text(
        "from starlette.applications import Starlette\n"
        "from starlette.routing import Route\n"
        "async def any_(request): ...\n"
        "named = [Route('/v1/people', any_, methods=['POST']), Route('/v1/people/{person_id}', any_)]\n"
        "app = Starlette(routes=[*named, Route('/healthz', any_), Route('/secrets/{id:int}', any_, methods=['PUT'])])\n"
        "good = Starlette(routes=named)\n"
    )
    monkeypatch.chdir(tmp_path)
    code, output = run("--policy", POLICY, "--app", "api_of_a_test:app")
    assert code == 1
    assert output.splitlines()[0] == '  - {route: "PUT /secrets/{id}", subject: app, data: [personal], store: people}'
    assert "1 of 4 routes" in output
    assert run("--policy", POLICY, "--app", "api_of_a_test:good")[0] == 0
    code, output = run("--policy", POLICY, "--app", "api_of_a_test:good", "--compare")
    assert code == 1
    assert "not in the app: GET /healthz" in output.splitlines()
    assert "not in the app: POST /v1/people" not in output.splitlines()
    assert run("--policy", POLICY, "--compare")[0] == 2
    assert run("--policy", POLICY, "--app", "api_of_a_test")[0] == 2
