"""All commands are there to be told of; the one that is asked for is the only one imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.cli.app import COMMANDS, app_for

POLICY = """
residency: 1
kind: deployment
name: own
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files]}
signals: {client_address: {strategy: peer}, identity: {callable: "own_app:who"}}
"""


def test_every_command_is_told_of() -> None:
    output = CliRunner().invoke(app_for(["--help"]), ["--help"]).output
    assert all(f"│ {name} " in output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(app_for([name]), [name, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output or "Commands" in result.output


def test_an_unknown_command_is_wrong_use() -> None:
    assert CliRunner().invoke(app_for(["nope"]), ["nope"]).exit_code == 2


def test_locating_an_address_imports_neither_frameworks_nor_stores() -> None:
    code = (
        "import sys; from residency.cli.app import app_for; app_for(['locate']);"
        "print([m for m in ('sqlalchemy', 'redis', 'starlette', 'pydantic', 'httpx') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"[]"


def test_an_apps_callable_is_found_in_the_folder_that_the_command_is_run_in(tmp_path: Path) -> None:
    command = (sys.executable, "-P", "-c", "from residency.cli import main; main()", "doctor", "--policy", "own.yaml")
    (tmp_path / "own.yaml").write_text(POLICY)

    def doctor() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "there is no module `own_app`" in doctor().stdout
    (tmp_path / "own_app.py").write_text("async def who(scope): return None\n")
    (tmp_path / "typer.py").write_text("raise SystemExit('a file that happens to lie here is not what is installed')\n")
    assert doctor().returncode == 0
