"""A log folder is read through one reader, and nothing in it is taken for true before it was checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import typer

from residency.audit.checkpoint import format_verifier_key
from residency.cli.log_folder import reader, verifier_key
from residency.errors import VerificationError
from tests.audit_log import VERIFIER


def test_what_is_no_folder_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"nowhere is no folder; a log lies in `log` under `audit\.folder`"):
        reader(tmp_path / "nowhere")
    with pytest.raises(typer.BadParameter, match=r"nowhere is no folder$"):
        reader(tmp_path / "nowhere", "--archive")


def test_a_file_that_is_not_there_is_none_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    read = reader(tmp_path)
    assert read("nothing") is None
    with pytest.raises(VerificationError, match="folder cannot be read"):
        read("folder")


def test_a_key_is_given_or_lies_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="missing from the log"):
        verifier_key(tmp_path, None)
    with pytest.raises(typer.BadParameter):
        verifier_key(tmp_path, tmp_path / "nothing")


def test_a_file_that_holds_no_key_is_wrong_use_and_says_nothing_about_the_log(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("not a key\n", encoding="utf-8")
    with pytest.raises(typer.BadParameter, match="holds no key of a log") as raised:
        verifier_key(tmp_path, tmp_path / "other")
    assert raised.value.param_hint == "--key"


def test_the_audit_folder_given_for_its_log_is_told_where_the_log_lies(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "checkpoint").touch()
    key = tmp_path / "mine.vkey"
    key.write_text(format_verifier_key(VERIFIER), encoding="utf-8")
    for given in (None, key):
        with pytest.raises(typer.BadParameter, match="give its folder `log`"):
            verifier_key(tmp_path, given)


@pytest.mark.timeout(10)
def test_what_somebody_put_in_a_files_place_is_not_waited_for_and_does_not_fill_the_memory(tmp_path: Path) -> None:
    read = reader(tmp_path)
    os.mkfifo(tmp_path / "checkpoint")
    with pytest.raises(VerificationError, match=r"^checkpoint cannot be read \(not a file\)$"):
        read("checkpoint")
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(VerificationError, match=r"^endless cannot be read \(not a file\)$"):
        read("endless")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(VerificationError, match=r"^hole cannot be read \(more than 67108864 bytes\)$"):
        read("hole")
