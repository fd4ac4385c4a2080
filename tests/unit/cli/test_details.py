"""Regional detail is read with its keys, and what does not open is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from residency.adapters.detail_files import DetailFiles
from residency.adapters.journal_files import JournalFiles
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import commit, format_detail
from residency.audit.recall import Told
from residency.cli.details import evidence_of

DETAIL = format_detail({"account": "an", "evidence": "identity:phone"}, bytes(16))


def write(folder: Path, keys: KeysFiles) -> None:
    with_journal = JournalFiles(folder / "journal").open()
    details = DetailFiles({"VN": with_journal}, lambda country: keys.secret("detail-vn"), lambda size: bytes(size))
    details.append("VN", "0.1", DETAIL)
    details.append("VN", "0.2", format_detail({"pin": "none"}, bytes(16)))
    details.close()


def test_the_evidence_of_each_entry_comes_with_what_commits_to_it(tmp_path: Path) -> None:
    keys = KeysFiles(tmp_path / "keys", create=True)
    write(tmp_path / "detail", keys)
    assert evidence_of([f"VN={tmp_path / 'detail'}"], keys) == {"0.1": Told(commit(DETAIL), "identity:phone")}


def test_what_another_key_sealed_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "detail", KeysFiles(tmp_path / "keys", create=True))
    assert evidence_of([f"VN={tmp_path / 'detail'}"], KeysFiles(tmp_path / "other", create=True)) == {}


@pytest.mark.parametrize("text", ["VN", "VN=nowhere", "=."])
def test_what_names_no_folder_is_wrong_use(tmp_path: Path, text: str) -> None:
    with pytest.raises(typer.BadParameter):
        evidence_of([text], KeysFiles(tmp_path))
