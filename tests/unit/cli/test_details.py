"""Regional detail is read with its keys, and what does not open is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from residency.adapters.detail_files import DetailFiles, journal_records
from residency.adapters.detail_store import DetailStore
from residency.adapters.journal_files import JournalFiles
from residency.adapters.keys_files import KeysFiles
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from residency.audit.detail_time import Moment
from residency.audit.recall import Told
from residency.cli.details import evidence_of

DETAIL = format_detail({"account": "an", "evidence": "identity:phone"}, bytes(16))

OTHER = format_detail({"pin": "none"}, bytes(16))


def head(entry: str, detail: bytes, origin: str = "log.example") -> Head:
    return Head(origin, entry, commit(detail), None, 1_000, "none", None, 2_000)


def write(folder: Path, keys: KeysFiles) -> None:
    with_journal = JournalFiles(folder / "journal").open()
    details = DetailFiles({"VN": with_journal}, lambda country: keys.secret("detail-vn"), lambda size: bytes(size))
    details.append("VN", head("0.1", DETAIL), DETAIL)
    details.append("VN", head("0.2", OTHER), OTHER)
    details.close()


def test_the_evidence_of_each_entry_comes_with_what_commits_to_it(tmp_path: Path) -> None:
    keys = KeysFiles(tmp_path / "keys", create=True)
    write(tmp_path / "detail", keys)
    assert evidence_of([f"VN={tmp_path / 'detail'}"], keys) == {"0.1": Told(commit(DETAIL), "identity:phone")}


def test_what_is_filed_is_read_too_and_another_logs_details_are_left_out(tmp_path: Path) -> None:
    keys = KeysFiles(tmp_path / "keys", create=True)
    write(tmp_path / "detail", keys)
    rows = list(journal_records(tmp_path / "detail"))
    assert [found.entry for found, _ in rows] == ["0.1", "0.2"]
    DetailStore(tmp_path / "filed" / "details.db").file(rows, Moment(0, "boot", 0))
    place = [f"VN={tmp_path / 'filed'}"]
    assert evidence_of(place, keys, "log.example") == {"0.1": Told(commit(DETAIL), "identity:phone")}
    assert evidence_of(place, keys, "another.example") == {}


def test_what_another_key_sealed_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "detail", KeysFiles(tmp_path / "keys", create=True))
    assert evidence_of([f"VN={tmp_path / 'detail'}"], KeysFiles(tmp_path / "other", create=True)) == {}


@pytest.mark.parametrize("text", ["VN", "VN=nowhere", "=."])
def test_what_names_no_folder_is_wrong_use(tmp_path: Path, text: str) -> None:
    with pytest.raises(typer.BadParameter):
        evidence_of([text], KeysFiles(tmp_path))
