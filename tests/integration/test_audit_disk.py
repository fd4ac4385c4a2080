"""The audit trail's bars are told of this disk and of slower ones, and nobody can take one for the other."""

from __future__ import annotations

import argparse
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import audit
from benchmarks.audit_disk import bars_of, delays, on_slower, table_of, unable
from benchmarks.audit_kept import ONE_PAGE


def _found(lines: float, sqlite: float, wait: float, page: int) -> dict[str, Any]:
    floors = {"lines_floor": 27.0, "sqlite_floor": 26.6, "wait_floor": 1.0}
    return {"lines": lines, "sqlite": sqlite, "wait": wait, **floors, "waits_median": {ONE_PAGE: page}}


def _strace(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program of that name, found before any other."""
    file = folder / "strace"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_delays_are_whole_microseconds_with_commas_between() -> None:
    assert delays("1000") == (1000,)
    assert delays("250,500,4000") == (250, 500, 4000)


@pytest.mark.parametrize("text", ["", "quick", "1.5", "0", "-1", "250,", "250,250", "1000001"])
def test_what_is_no_delay_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        delays(text)


def test_the_same_run_holds_on_one_disk_and_misses_on_another_and_the_table_says_which() -> None:
    disks = {1000: _found(45.5, 97.4, 1.3, 1_110_000), 0: _found(11.2, 10.6, 2.6, 110_000)}
    console = Console(width=160, file=StringIO(), record=True)
    console.print(table_of(disks))
    rows = [line for line in console.export_text().splitlines() if "(" in line and "µs" in line]
    here, slower = rows
    assert "this disk" in here
    assert "110 µs" in here
    assert "11.2 (27) MISSED" in here
    assert "10.6 (26.6) MISSED, beyond the floor" in here
    assert "+1,000 µs" in slower
    assert "1,110 µs" in slower
    assert "MISSED" not in slower
    assert [bar.holds for bar in bars_of(disks[0]).values()] == [False, False, True]
    assert all(bar.holds for bar in bars_of(disks[1000]).values())


def test_without_strace_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "strace is not there" in str(unable())


def test_where_strace_may_not_trace_its_own_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _strace(tmp_path, monkeypatch, 'echo "strace: PTRACE_TRACEME: Operation not permitted" >&2; exit 1')
    assert unable() == "strace may not trace here: strace: PTRACE_TRACEME: Operation not permitted"


def test_who_asks_for_a_slower_disk_where_none_can_be_had_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _strace(tmp_path, monkeypatch, "exit 1")
    monkeypatch.setattr(sys, "argv", ["audit", "--disk-us", "1000"])
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert ended.value.code == 2
    assert "no disk can be made slower: strace may not trace here" in capsys.readouterr().err


def test_every_flush_of_what_runs_is_made_to_take_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    _strace(tmp_path, monkeypatch, f'echo "$@" > {told}; echo "{{}}"')
    assert on_slower(250, 2, 0.5) == {}
    words = told.read_text().split()
    assert {"-f", "--seccomp-bpf", "trace=fsync,fdatasync", "inject=fsync,fdatasync:delay_exit=250"} <= set(words)
    assert words[-3:] == ["benchmarks.audit_kept", "2", "0.5"]


def test_a_comparison_that_does_not_end_well_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _strace(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(RuntimeError, match="ended with 1"):
        on_slower(250, 2, 0.5)
