"""What a command writes to a file is there whole, or not at all, and for its owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import typer

from residency.cli.audit.written import write_out


def test_a_file_is_written_whole_for_its_owner(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write_out("chữ", tmp_path / "out")
    finally:
        os.umask(old)
    assert (tmp_path / "out").read_bytes() == "chữ".encode()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_a_file_it_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_out("text\n", None)
    assert capsys.readouterr().out == "text\n"


def test_a_place_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for out in (tmp_path / "taken", tmp_path / "no" / "where"):
        with pytest.raises(typer.BadParameter):
            write_out("text", out)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
