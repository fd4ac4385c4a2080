"""`residency audit check-proof` says whether a proof or receipt holds, with nothing but the file and the key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from residency.audit.checkpoint import format_verifier_key
from residency.audit.cosignature import ed25519_cosigner
from residency.audit.entry import format_entry
from residency.audit.proof_document import format_proof, format_tlog_proof
from residency.cli.audit import audit_app
from residency.cli.audit.page import page_with
from tests.audit_log import INTENT, VERIFIER
from tests.proof_documents import SmallLog, proof, receipt, small_log


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "log.vkey"
    file.write_text(format_verifier_key(VERIFIER) + "\n")
    return file


def run(key: Path, text: str, *args: str) -> Result:
    file = key.parent / "document"
    file.write_text(text)
    return CliRunner().invoke(audit_app, ["check-proof", str(file), "--key", str(key), *args])


def test_a_good_proof_exits_0_and_shows_the_entry(key: Path) -> None:
    result = run(key, proof())
    assert result.exit_code == 0
    assert "The proof holds." in result.stdout
    assert "POST /v1/people -> people-vn" in result.stdout


def test_a_good_receipt_shows_each_entry_and_the_opened_detail(key: Path) -> None:
    result = run(key, receipt())
    assert result.exit_code == 0
    assert "The receipt holds." in result.stdout
    assert "address: 113.160.0.1" in result.stdout


def test_an_opened_detail_is_told_as_people_read_it(key: Path) -> None:
    lines = {line.strip() for line in run(key, receipt()).stdout.splitlines()}
    assert "at: 2026-11-18 11:06:40.000 UTC" in lines


def test_json_tells_all_of_it(key: Path) -> None:
    told = json.loads(run(key, receipt(), "--json").stdout)
    assert (told["holds"], told["kind"], told["origin"], told["size"]) == (True, "receipt", "log.example", 5)
    assert [entry["index"] for entry in told["entries"]] == [0, 1, 3, 4]
    assert told["entries"][0]["detail_fields"]["account"] == "an"


def test_a_tampered_file_exits_1_and_names_step_and_entry(key: Path) -> None:
    text = receipt().replace('\\"committed\\"', '\\"failed\\"')
    result = run(key, text, "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["holds"], told["failed"], told["item"]) == (False, "inclusion", 1)
    told_to_people = run(key, text)
    assert told_to_people.exit_code == 1
    assert "(the file's entry 2)" in " ".join(told_to_people.stderr.split())


def test_another_key_than_the_files_exits_1(key: Path) -> None:
    text = proof()
    key.write_text("log.example+00000000+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")
    result = run(key, text, "--json")
    assert (result.exit_code, json.loads(result.stdout)["failed"]) == (1, "key")


def test_witnesses_are_asked_for_and_told(key: Path) -> None:
    cosign, witness = ed25519_cosigner("witness.example", Ed25519PrivateKey.from_private_bytes(b"w" * 32))
    trusted = key.parent / "witnesses"
    trusted.write_text(format_verifier_key(witness) + "\n")
    note = small_log().note.decode()
    line = cosign(note.rpartition("\n\n")[0] + "\n", 1_795_000_000)
    cosigned = json.dumps({**json.loads(proof()), "checkpoint": f"{note}{line}\n"})
    result = run(key, cosigned, "--witness", str(trusted))
    assert result.exit_code == 0
    assert "witness.example, 2026-11-18 11:06:40" in result.stdout
    told = json.loads(run(key, cosigned, "--witness", str(trusted), "--json").stdout)
    assert told["witnesses"] == [{"name": "witness.example", "kind": "cosignature", "time": 1_795_000_000}]
    refused = run(key, proof(), "--witness", str(trusted), "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["failed"]) == (1, "witness")
    trusted.write_text("\n")
    assert run(key, cosigned, "--witness", str(trusted)).exit_code == 2
    assert run(key, cosigned, "--witness", "/nowhere").exit_code == 2


def test_pages_tlog_proofs_and_standard_input_are_read_too(key: Path) -> None:
    assert run(key, page_with(receipt())).exit_code == 0
    assert run(key, page_with(None)).exit_code == 1
    log = small_log()
    assert run(key, format_tlog_proof(log.note, log.item(2))).exit_code == 0
    piped = CliRunner().invoke(audit_app, ["check-proof", "-", "--key", str(key)], input=proof())
    assert piped.exit_code == 0


def test_files_that_cannot_be_read_are_wrong_use(key: Path) -> None:
    assert CliRunner().invoke(audit_app, ["check-proof", "/nowhere", "--key", str(key)]).exit_code == 2
    assert CliRunner().invoke(audit_app, ["check-proof", "-", "--key", "/nowhere"]).exit_code == 2
    assert CliRunner().invoke(audit_app, ["check-proof", "-"]).exit_code == 2


def test_text_of_an_entry_is_shown_and_not_followed(key: Path) -> None:
    # Not by rich, which would take [bold] for markup, and not by the terminal.
    entry = replace(INTENT, activity="[bold]x[/bold] \x1b[31m\u202ered", sink="[/]")
    log = SmallLog([format_entry(entry)])
    result = run(key, format_proof(log.note, VERIFIER, log.item(0)))
    assert result.exit_code == 0
    assert "[bold]x[/bold] \ufffd[31m\ufffdred -> [/]" in result.stdout
