"""A receipt takes aliases from pins and details from their country, of the right log and entry only."""

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
from residency.audit.proof_document import Detail
from residency.cli.audit.receipt_sources import alias_of, opened
from tests.proof_documents import Served, serve

AN = format_detail({"account": "an"}, bytes(16))
BINH = format_detail({"account": "binh"}, bytes(16))
ORIGIN = "log.example"
WANTED = {"0.1": commit(AN), "0.2": commit(BINH)}


@pytest.fixture
def keys(tmp_path: Path) -> KeysFiles:
    return KeysFiles(tmp_path / "keys", create=True)


@pytest.fixture
def detail(tmp_path: Path, keys: KeysFiles) -> Path:
    """A country's folder, with details of two entries and one of another log's."""
    journal = JournalFiles(tmp_path / "detail" / "journal").open()
    details = DetailFiles({"VN": journal}, lambda country: keys.secret("detail-vn"), lambda size: bytes(size))
    for origin, entry, text in ((ORIGIN, "0.1", AN), (ORIGIN, "0.2", BINH), ("other.example", "0.1", BINH)):
        details.append("VN", Head(origin, entry, commit(text), None, 1, "none", None, 2), text)
    details.close()
    return tmp_path / "detail"


def test_details_of_the_wanted_entries_are_opened(detail: Path, keys: KeysFiles) -> None:
    assert opened([f"VN={detail}"], keys, ORIGIN, WANTED) == {
        "0.1": Detail("VN", AN.decode()), "0.2": Detail("VN", BINH.decode())
    }  # fmt: skip
    assert list(opened([f"VN={detail}"], keys, ORIGIN, {"0.2": commit(BINH)})) == ["0.2"]


def test_what_is_filed_in_the_countrys_store_is_opened_too(detail: Path, keys: KeysFiles, tmp_path: Path) -> None:
    DetailStore(tmp_path / "filed" / "details.db").file(list(journal_records(detail)), Moment(0, "boot", 0))
    assert set(opened([f"VN={tmp_path / 'filed'}"], keys, ORIGIN, WANTED)) == {"0.1", "0.2"}


def test_another_logs_or_another_commitments_detail_is_left_out(detail: Path, keys: KeysFiles) -> None:
    assert opened([f"VN={detail}"], keys, ORIGIN, {"0.1": commit(BINH)}) == {}
    assert opened([f"VN={detail}"], keys, "third.example", WANTED) == {}


def test_what_another_key_sealed_is_left_out(detail: Path, tmp_path: Path) -> None:
    assert opened([f"VN={detail}"], KeysFiles(tmp_path / "other", create=True), ORIGIN, WANTED) == {}


def test_an_alias_is_found_by_the_pins_of_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served: Served = serve(tmp_path / "served", ["an"])
    file = tmp_path / "id"
    file.write_text("an\nsecond line\n")
    alias = alias_of(served.policy, str(file))
    assert len(bytes.fromhex(alias)) == 16
    file.write_text("nobody\n")
    with pytest.raises(typer.Exit) as ended:
        alias_of(served.policy, str(file))
    assert ended.value.exit_code == 1
    assert "nobody" not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "\n", "\x00\n"])
def test_a_file_without_an_id_is_wrong_use(tmp_path: Path, text: str) -> None:
    (tmp_path / "id").write_text(text)
    with pytest.raises(typer.BadParameter):
        alias_of(tmp_path / "policy.yaml", str(tmp_path / "id"))
