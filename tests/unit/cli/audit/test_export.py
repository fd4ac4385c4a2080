"""`residency audit export`: every entry of a log that holds, in one file; of one that does not, none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from tests.audit_log import ENTRIES, INTENT, write_log

runner = CliRunner()
DAY = 86_400_000_000
FIRST = INTENT.at - INTENT.at % DAY  # 2026-11-18


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A thousand entries, a hundred a day."""
    made = [
        replace(INTENT, id=f"0.{number}", at=FIRST + number * DAY // 100, kind="decision" if number % 4 else "refusal")
        for number in range(1000)
    ]
    made = [replace(entry, effect="deny") if entry.kind == "refusal" else entry for entry in made]
    return write_log(tmp_path / "log", [format_entry(entry) for entry in made])


def export(log: Path, out: Path, *more: str) -> dict[str, object]:
    """What the command says of itself in JSON."""
    result = runner.invoke(audit_app, ["export", str(log), "--out", str(out), "--json", *more])
    assert result.exit_code == 0, result.output
    told: dict[str, object] = json.loads(result.stdout)
    return told


def test_duckdb_counts_in_the_export_what_the_log_holds(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.parquet"
    told = export(log, out)
    assert (told["rows"], told["size"], told["holds"]) == (1000, 1000, True)
    found = duckdb.connect().execute(
        "SELECT date_trunc('day', \"at\" AT TIME ZONE 'UTC')::DATE::VARCHAR, kind, count(*)"
        " FROM read_parquet(?) GROUP BY ALL ORDER BY ALL",
        [str(out)],
    )
    days = [f"2026-11-{day}" for day in range(18, 28)]
    assert found.fetchall() == [
        (day, kind, count) for day in days for kind, count in (("decision", 75), ("refusal", 25))
    ]


def test_json_lines_are_the_log_entry_by_entry(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.jsonl"
    assert export(log, out, "--format", "jsonl")["rows"] == 1000
    lines = out.read_bytes().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(1000))
    assert json.loads(lines[7])["id"] == "0.7"


def test_a_period_and_kinds_choose_entries_and_keep_their_numbers(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.jsonl"
    more = ("--format", "jsonl", "--from", "2026-11-19", "--to", "2026-11-20T12:00Z", "--kind", "refusal")
    told = export(log, out, *more)
    numbers = [json.loads(line)["index"] for line in out.read_bytes().splitlines()]
    assert numbers == [number for number in range(100, 250) if number % 4 == 0]
    assert (told["rows"], told["size"]) == (len(numbers), 1000)
    assert export(log, out, *more, "--kind", "decision")["rows"] == 150


def test_a_log_that_does_not_hold_leaves_the_file_as_it_was(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "log.jsonl"
    out.write_text("the old one")
    bundle = log / "tile" / "entries" / "003.p" / "232"
    bundle.write_bytes(bundle.read_bytes().replace(b"0.900", b"0.901"))
    result = runner.invoke(audit_app, ["export", str(log), "--out", str(out), "--format", "jsonl"])
    assert result.exit_code == 1
    assert "entry 900" in result.output
    assert out.read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.jsonl"]


def test_entries_that_contradict_each_other_are_not_exported(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in (ENTRIES[0], ENTRIES[2])])
    result = runner.invoke(audit_app, ["export", str(log), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--kind", "nonsense"],
        ["--from", "yesterday"],
        ["--format", "csv"],
        ["--out", "/nowhere/at/all/log.parquet"],
    ],
)
def test_wrong_use_is_2(log: Path, tmp_path: Path, options: list[str]) -> None:
    result = runner.invoke(audit_app, ["export", str(log), "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_people_are_told_how_much_was_written_and_whose_key_it_was(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = runner.invoke(audit_app, ["export", str(log), "--out", str(out), "--format", "jsonl", "--kind", "refusal"])
    assert "250 of 1,000 entries of log.example written to" in result.output
    assert "--key" in result.output
    given = runner.invoke(audit_app, ["export", str(log), "--out", str(out), "--key", str(log / "log.vkey")])
    assert "--key" not in given.output
