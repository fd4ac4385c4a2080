"""`residency audit prove` writes one file that proves an entry to who has nothing but the verifier key."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from residency.audit.entry import format_entry
from residency.audit.proof import judge
from residency.cli.audit import audit_app
from residency.cli.audit.page import document_in
from tests.audit_log import ENTRIES, write_log
from tests.proof_documents import VKEY, SmallLog


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])


def run(*args: str | Path | int) -> Result:
    return CliRunner().invoke(audit_app, ["prove", *map(str, args)])


def test_prove_prints_an_entry_its_proof_and_its_checkpoint(log: Path) -> None:
    result = run(log, 0)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["entry"].encode() == format_entry(ENTRIES[0])
    assert len(document["proof"]) == 2
    assert document["checkpoint"].startswith("log.example\n4\n")
    assert judge(result.stdout.encode(), VKEY).entries == ((0, ENTRIES[0]),)


@pytest.mark.parametrize("index", range(4))
def test_every_entry_of_a_log_can_be_proved(log: Path, index: int) -> None:
    assert judge(run(log, index).stdout.encode(), VKEY).entries == ((index, ENTRIES[index]),)
    assert judge(run(log, index, "--format", "tlog-proof").stdout.encode(), VKEY).entries == ((index, ENTRIES[index]),)


def test_a_page_carries_the_very_same_proof(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "proof.html"
    assert run(log, 3, "--html", "--out", out).exit_code == 0
    assert json.loads(document_in(out.read_bytes())) == json.loads(run(log, 3).stdout)


def test_a_file_is_for_its_owner_and_replaces_what_was_there(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "proof.json"
    out.write_text("old")
    result = run(log, 1, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(out.read_text())["index"] == 1
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_an_index_outside_the_log_is_wrong_use(log: Path) -> None:
    assert run(log, 4).exit_code == 2
    assert run(log, "--", -1).exit_code == 2


def test_a_page_carries_json_only(log: Path) -> None:
    assert run(log, 0, "--html", "--format", "tlog-proof").exit_code == 2


def test_a_log_that_does_not_hold_is_not_proved_from(log: Path) -> None:
    tile = log / "tile" / "0" / "000.p" / "4"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    result = run(log, 1)
    assert result.exit_code == 1
    assert not json.loads(result.stdout)["holds"]


def test_an_entry_that_is_none_is_not_proved(tmp_path: Path) -> None:
    log = write_log(tmp_path / "odd", [b"{}"])
    result = run(log, 0)
    assert result.exit_code == 1
    assert "entry 0" in json.loads(result.stdout)["problem"]


def test_a_log_behind_a_url_is_proved_from_alike(log: Path) -> None:
    assert run(log.as_uri(), 2).stdout == run(log, 2).stdout
    assert run("gopher://log.example", 2).exit_code == 2


def test_a_proof_can_be_under_a_checkpoint_that_somebody_kept(log: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for size in (1, 2, 3, 4):
        kept.write_bytes(SmallLog([format_entry(entry) for entry in ENTRIES[:size]]).note)
        verdict = judge(run(log, 0, "--checkpoint", kept).stdout.encode(), VKEY)
        assert verdict.checkpoint is not None
        assert (verdict.checkpoint.size, verdict.entries) == (size, ((0, ENTRIES[0]),))
        assert run(log, size, "--checkpoint", kept).exit_code == 2


def test_a_checkpoint_of_another_history_or_of_more_than_the_log_has_is_refused(log: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(SmallLog([format_entry(entry) for entry in (*ENTRIES[:1], ENTRIES[3])]).note)
    assert run(log, 1, "--checkpoint", kept).exit_code == 1
    kept.write_bytes(SmallLog([b"x"] * 5).note)
    assert run(log, 1, "--checkpoint", kept).exit_code == 1
    assert run(log, 1, "--checkpoint", tmp_path / "nowhere").exit_code == 2
