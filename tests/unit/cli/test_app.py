"""All commands are there to be told of; the one that is asked for is the only one imported."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from residency.cli.app import COMMANDS, app_for

ROOT = Path(__file__).resolve().parents[3]
# A line of a console, or a command in running text; but for `residency seal 3`, the first line of a format.
SHOWN = re.compile(r"^\$ .*$|`residency [^`\n]*[^\d`\n]`", re.MULTILINE)
SAID = re.compile(r"(?<![\w.-])(residency(?: [a-z][a-z-]*)+)((?: [^`|#;&\n]*)?)")
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
def test_each_command_has_help(name: str) -> None:
    assert CliRunner().invoke(app_for([name]), [name, "--help"]).exit_code == 0


def every(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A command and all below it, by full name."""
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from every(below, f"{name} {word}")


EVERY = dict(every(typer.main.get_command(app_for([])), "residency"))


@pytest.mark.parametrize("name", EVERY)
def test_each_commands_help_ends_with_an_example_of_it(name: str) -> None:
    command = EVERY[name]
    assert command.epilog is None  # one place for all
    said, _, example = (command.help or "").rpartition("Example")
    assert said.strip().endswith(".") or said.endswith("\b\n")
    assert name in example


@pytest.mark.parametrize("name", EVERY)
def test_options_are_told_in_one_style_everywhere(name: str) -> None:
    for option in EVERY[name].params:
        if option.name == "help":
            continue
        assert option.help, option.name
        assert option.help[0].isupper(), option.help
        assert option.help.endswith("."), option.help
        assert option.metavar is None or option.metavar.isupper(), option.metavar
        if option.name == "policy":
            assert (option.help, option.metavar) == ("The deployment file.", "FILE")


def test_documents_and_messages_name_commands_and_options_that_there_are() -> None:
    told = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "residency").rglob("*.py")]
    wrong, seen = [], 0
    for file in told:
        for line in SHOWN.findall(file.read_text().replace("\\\n", " ")):
            for words, rest in SAID.findall(line):
                name, *left = words.split()
                while left and f"{name} {left[0]}" in EVERY:
                    name = f"{name} {left.pop(0)}"
                command = EVERY[name]
                known = {"--help"} | {
                    option for each in command.params for option in (*each.opts, *each.secondary_opts)
                }
                unknown = set(re.findall(r"(?<= )--?[a-z][a-z-]*", rest)) - known
                if unknown or (left and hasattr(command, "commands")):
                    wrong.append(f"{file.relative_to(ROOT)}: {line}")
                seen += 1
    assert wrong == []
    assert seen > 300


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
