"""`residency locate` prints one line an address, and its exit code says whether all were addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.cli.locate import locate

APP = typer.Typer()
APP.command("locate")(locate)


def run(*arguments: str, stdin: str | None = None) -> tuple[int, list[str]]:
    result = CliRunner().invoke(APP, list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout.splitlines()


def test_each_address_is_one_json_object_with_its_country_or_null() -> None:
    code, lines = run("--json", "14.160.0.1", "::ffff:8.8.8.8", "2001:EE0::1", "10.0.0.1")
    assert code == 0
    assert [json.loads(line) for line in lines] == [
        {"address": "14.160.0.1", "country": "VN"},
        {"address": "8.8.8.8", "country": "US"},
        {"address": "2001:ee0::1", "country": "VN"},
        {"address": "10.0.0.1", "country": None},
    ]


def test_text_is_one_line_an_address() -> None:
    assert run("14.160.0.1", "127.0.0.1") == (0, ["14.160.0.1\tVN", "127.0.0.1\t-"])


def test_stdin_is_read_line_by_line_among_the_others() -> None:
    code, lines = run("8.8.8.8", "-", stdin="14.160.0.1\n\n 2001:ee0::1 \r\n")
    assert (code, lines) == (0, ["8.8.8.8\tUS", "14.160.0.1\tVN", "2001:ee0::1\tVN"])


def test_what_is_no_address_is_told_in_its_line_and_in_the_exit_code() -> None:
    code, lines = run("--json", "999.1.1.1", "14.160.0.1")
    assert code == 1
    assert json.loads(lines[0]) == {"address": "999.1.1.1", "error": "not an IP address"}
    assert json.loads(lines[1])["country"] == "VN"
    assert run("example.com") == (1, ["example.com\tnot an IP address"])


def test_no_address_is_wrong_use() -> None:
    assert run()[0] == 2
    assert run("--json")[0] == 2


def test_info_shows_date_source_licence_and_caution() -> None:
    code, lines = run("--info")
    text = "\n".join(lines)
    assert code == 0
    for expected in ("2026-06-17", "iptoasn", "PDDL-1.0", "bugs", "bundled:    True"):
        assert expected in text
    code, lines = run("--info", "--json")
    assert code == 0
    assert json.loads(lines[0])["licence"] == "PDDL-1.0"


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_a_database_that_cannot_be_read_is_said_and_does_not_hold(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "own.mmdb"
    if content is not None:
        path.write_bytes(content)
    result = CliRunner().invoke(APP, ["--db", str(path), "14.160.0.1"])
    assert result.exit_code == 2
    assert "own.mmdb" in result.stderr
    assert result.stdout == ""


def test_progress_stays_out_of_what_a_program_reads() -> None:
    result = CliRunner().invoke(APP, ["-"], input="14.160.0.1\n" * 5_000)
    assert result.exit_code == 0
    assert result.stdout == "14.160.0.1\tVN\n" * 5_000
    assert result.stderr == ""
