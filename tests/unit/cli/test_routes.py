"""`residency routes`: every classified and exempt route, and exit codes."""

from __future__ import annotations

import json
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
