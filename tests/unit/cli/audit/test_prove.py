"""`residency audit prove` proves an entry to who has nothing but the verifier key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from tests.audit_log import ENTRIES, write_log

runner = CliRunner()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])


def test_prove_prints_an_entry_its_proof_and_its_checkpoint(log: Path) -> None:
    result = runner.invoke(audit_app, ["prove", str(log), "0"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["entry"].encode() == format_entry(ENTRIES[0])
    assert len(document["proof"]) == 2
    assert document["checkpoint"].startswith("log.example\n4\n")
