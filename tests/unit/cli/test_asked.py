"""A deployment file may be named as an argument or after --policy, and one time only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.cli.asked import deployment_asked
from residency.cli.pin import show
from residency.cli.routes import routes
from residency.cli.status import status
from residency.cli.where import where


def test_a_file_named_either_way_is_the_one() -> None:
    file = Path("residency.yaml")
    assert deployment_asked("where", file, None) == deployment_asked("where", None, file) == file


@pytest.mark.parametrize("names", [(None, None), (Path("a.yaml"), Path("a.yaml"))])
def test_none_or_two_are_wrong_use_and_it_is_told_how_to_name_one(
    names: tuple[Path | None, Path | None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as wrong:
        deployment_asked("where", *names)
    assert wrong.value.exit_code == 2
    assert "name one deployment file, as in: residency where " in capsys.readouterr().err


@pytest.mark.parametrize("command", [where, routes, status, show])
def test_commands_take_it_both_ways(command: Callable[..., None], tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    missing = str(tmp_path / "none.yaml")
    told = [CliRunner().invoke(app, arguments, input="user-42\n") for arguments in ([missing], ["--policy", missing])]
    assert [result.exit_code for result in told] == [2, 2]
    assert told[0].output == told[1].output
    assert "cannot be read" in told[0].output
