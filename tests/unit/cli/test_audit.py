"""`residency audit` tells by its exit code whether a log holds, and shows what is in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from residency.adapters.log_files import LogFiles
from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.entry import Entry, format_entry
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.cli.audit import audit_app

SIGNER, VERIFIER = note_signer("log.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
INTENT = Entry(id="0.0", kind="intent", at=1_795_000_000_000_000, effect="permit", policy="ab" * 32, sink="people-vn")
ENTRIES = [
    INTENT,
    replace(INTENT, id="0.1", kind="outcome", act="committed", of="0.0"),
    replace(INTENT, id="0.2"),
    replace(INTENT, id="0.3", kind="refusal", effect="deny", reason="only", rules=("vn.d333.19.2",)),
]
runner = CliRunner()


def write_log(folder: Path, entries: list[bytes]) -> Path:
    log = LogFiles(folder)
    for step in plan_commit(Tree(), entries, {}, SIGNER, "log.example")[1]:
        if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
            log.write(step.path, step.data)
    log.write("log.vkey", (format_verifier_key(VERIFIER) + "\n").encode())
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])


def test_a_log_that_holds_exits_0_and_says_what_is_in_it(log: Path) -> None:
    result = runner.invoke(audit_app, ["verify", str(log), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["holds"] is True
    assert (report["origin"], report["size"], report["open_intents"]) == ("log.example", 4, 1)
    assert report["entries"] == {"intent": 2, "outcome": 1, "refusal": 1}
    assert "The log holds" in runner.invoke(audit_app, ["verify", str(log)]).output


def test_a_key_given_apart_is_the_one_that_counts(log: Path, tmp_path: Path) -> None:
    key = tmp_path / "given.vkey"
    key.write_bytes((log / "log.vkey").read_bytes())
    assert runner.invoke(audit_app, ["verify", str(log), "--key", str(key)]).exit_code == 0
    _, other = note_signer("log.example", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    key.write_text(format_verifier_key(other))
    result = runner.invoke(audit_app, ["verify", str(log), "--key", str(key), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["holds"] is False


def test_another_key_in_the_folder_than_the_one_given_is_a_finding(log: Path, tmp_path: Path) -> None:
    key = tmp_path / "given.vkey"
    key.write_bytes((log / "log.vkey").read_bytes())
    _, other = note_signer("log.example", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    (log / "log.vkey").write_text(format_verifier_key(other))
    result = runner.invoke(audit_app, ["verify", str(log), "--key", str(key), "--json"])
    assert result.exit_code == 1
    assert "not the key that was given" in json.loads(result.stdout)["problem"]
    (log / "log.vkey").unlink()
    assert runner.invoke(audit_app, ["verify", str(log), "--key", str(key)]).exit_code == 0


def test_a_changed_byte_exits_1_and_is_named(log: Path) -> None:
    path = log / "tile/entries/000.p/4"
    path.write_bytes(path.read_bytes().replace(b"people-vn", b"people-sg", 1))
    for command in ("verify", "show", "open"):
        result = runner.invoke(audit_app, [command, str(log), "--json"])
        assert result.exit_code == 1
        assert "entry 0 is not the one" in json.loads(result.stdout)["problem"]
    assert runner.invoke(audit_app, ["verify", str(log)]).exit_code == 1


@pytest.mark.parametrize("missing", ["log.vkey", "checkpoint", "tile/0/000.p/4"])
def test_a_missing_file_exits_1(log: Path, missing: str) -> None:
    (log / missing).unlink()
    result = runner.invoke(audit_app, ["verify", str(log), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problem"]


@pytest.mark.parametrize(
    "entries",
    [
        [b"no entry"],
        [format_entry(ENTRIES[1])],
        [format_entry(ENTRIES[2])],
        [format_entry(ENTRIES[0]), format_entry(ENTRIES[0])],
    ],
)
def test_a_well_signed_log_whose_entries_contradict_exits_1(tmp_path: Path, entries: list[bytes]) -> None:
    result = runner.invoke(audit_app, ["verify", str(write_log(tmp_path, entries)), "--json"])
    assert result.exit_code == 1


def test_show_lists_the_newest_and_filters_by_kind(log: Path) -> None:
    result = runner.invoke(audit_app, ["show", str(log), "--json", "--last", "2"])
    assert [json.loads(line)["index"] for line in result.stdout.splitlines()] == [2, 3]
    result = runner.invoke(audit_app, ["show", str(log), "--json", "--kind", "intent"])
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["0.0", "0.2"]
    assert "refusal" in runner.invoke(audit_app, ["show", str(log)]).output


def test_open_lists_intents_without_an_outcome_with_their_age(log: Path) -> None:
    result = runner.invoke(audit_app, ["open", str(log), "--json"])
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["index"]) == ("0.2", 2)
    assert "0.2" in runner.invoke(audit_app, ["open", str(log)]).output


def test_prove_prints_an_entry_its_proof_and_its_checkpoint(log: Path) -> None:
    result = runner.invoke(audit_app, ["prove", str(log), "0"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["entry"].encode() == format_entry(ENTRIES[0])
    assert len(document["proof"]) == 2
    assert document["checkpoint"].startswith("log.example\n4\n")


def test_an_empty_log_holds(tmp_path: Path) -> None:
    log = write_log(tmp_path, [])
    assert json.loads(runner.invoke(audit_app, ["verify", str(log), "--json"]).stdout)["size"] == 0
    assert "No open intents" in runner.invoke(audit_app, ["open", str(log)]).output


@pytest.mark.parametrize(
    "arguments",
    [["verify"], ["verify", "/nowhere"], ["show", "LOG", "--kind", "rumour"], ["show", "LOG", "--last", "0"],
     ["prove", "LOG", "4"], ["prove", "LOG", "x"], ["verify", "LOG", "--key", "/nowhere"], ["forge"]],
)  # fmt: skip
def test_wrong_use_exits_2(log: Path, arguments: list[str]) -> None:
    arguments = [str(log) if argument == "LOG" else argument for argument in arguments]
    assert runner.invoke(audit_app, arguments).exit_code == 2


@pytest.mark.parametrize("command", ["verify", "show", "open", "prove"])
def test_every_help_has_an_example(command: str) -> None:
    result = runner.invoke(audit_app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example: residency audit" in result.output


def test_entries_are_shown_in_full_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    intent = replace(INTENT, activity="POST /v1/people/export-to-singapore", rules=("vn.l116.25.3", "vn.d333.19.2"))
    later = replace(intent, id="0.1", kind="outcome", act="committed", of="0.0", at=intent.at + 86_400_000_000)
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in (intent, later)])
    lines = runner.invoke(audit_app, ["show", str(log)]).output.splitlines()
    assert [line.split() for line in lines] == [
        ["2026-11-18", "(UTC)"],
        ["0", "11:06:40.000", "intent", "permit", "POST", "/v1/people/export-to-singapore", "->", "people-vn"],
        ["vn.l116.25.3,", "vn.d333.19.2"],
        ["2026-11-19", "(UTC)"],
        "1 11:06:40.000 outcome (committed) permit POST /v1/people/export-to-singapore -> people-vn".split(),
    ]
