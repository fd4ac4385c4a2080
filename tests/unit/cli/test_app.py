"""All commands are there to be told of; the one that is asked for is the only one imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from residency.cli.app import COMMANDS, app_for


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
