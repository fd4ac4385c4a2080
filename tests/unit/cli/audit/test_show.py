"""`residency audit show` and `open` tell what is in a log that holds; every command helps and refuses wrong use."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.cli.audit import _COMMANDS, audit_app
from tests.audit_log import ENTRIES, INTENT, write_log

runner = CliRunner()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])


def test_show_lists_the_newest_and_filters_by_kind(log: Path) -> None:
    result = runner.invoke(audit_app, ["show", str(log), "--json", "--last", "2"])
    assert [json.loads(line)["index"] for line in result.stdout.splitlines()] == [2, 3]
    result = runner.invoke(audit_app, ["show", str(log), "--json", "--kind", "intent"])
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["0.0", "0.2"]
    assert "refusal" in runner.invoke(audit_app, ["show", str(log)]).output


def test_open_lists_intents_without_an_outcome_with_their_age(log: Path) -> None:
    result = runner.invoke(audit_app, ["open", str(log), "--json"])
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["index"]) == ("0.2", 2)
    assert "0.2" in runner.invoke(audit_app, ["open", str(log)]).output


def test_entries_are_shown_in_full_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    intent = replace(INTENT, activity="POST /v1/people/export-to-singapore", rules=("vn.l116.25.3", "vn.d333.19.2"))
    later = replace(intent, id="0.1", kind="outcome", act="committed", of="0.0", at=intent.at + 86_400_000_000)
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in (intent, later)])
    lines = runner.invoke(audit_app, ["show", str(log)]).output.splitlines()
    assert [line.split() for line in lines] == [
        ["2026-11-18", "(UTC)"],
        ["0", "11:06:40.000", "intent", "permit", "POST", "/v1/people/export-to-singapore", "->", "people-vn"],
        ["vn.l116.25.3,", "vn.d333.19.2"],
        ["2026-11-19", "(UTC)"],
        "1 11:06:40.000 outcome (committed) permit POST /v1/people/export-to-singapore -> people-vn".split(),
    ]


@pytest.mark.parametrize(
    "arguments",
    [["verify"], ["verify", "/nowhere"], ["show", "LOG", "--kind", "rumour"], ["show", "LOG", "--last", "0"],
     ["prove", "LOG", "4"], ["prove", "LOG", "x"], ["verify", "LOG", "--key", "/nowhere"], ["forge"]],
)  # fmt: skip
def test_wrong_use_exits_2(log: Path, arguments: list[str]) -> None:
    arguments = [str(log) if argument == "LOG" else argument for argument in arguments]
    assert runner.invoke(audit_app, arguments).exit_code == 2


@pytest.mark.parametrize("command", ["verify", "show", "open", "prove"])
def test_every_help_has_an_example(command: str) -> None:
    result = runner.invoke(audit_app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example: residency audit" in result.output


@pytest.mark.parametrize("command", [*_COMMANDS, "detail erase", "fleet add"])
def test_help_breaks_where_the_terminal_ends_and_nowhere_else(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    output = runner.invoke(audit_app, [*command.split(), "--help"]).output
    lines = [line.rstrip() for line in output.partition("╭")[0].splitlines()]
    assert max(map(len, lines)) <= 80
    for line, below in pairwise(lines):
        if line and below and "Usage:" not in line:
            assert len(line) + 1 + len(below.split()[0]) > 79, line


@pytest.mark.parametrize("arguments", [[], ["verify"], ["show"], ["open"], ["prove"], ["export"], ["mirror"]])
def test_an_example_on_the_demos_log_names_the_folder_that_the_demo_makes(arguments: list[str]) -> None:
    words = runner.invoke(audit_app, [*arguments, "--help"]).output.split()
    assert [word for word in words if word.startswith("./demo-data")] == ["./demo-data/audit/log"]
