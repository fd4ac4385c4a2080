"""`residency audit verify` tells by its exit code whether a log holds, and names what does not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from typer.testing import CliRunner

from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.cosignature import log_signer
from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from tests.audit_log import ENTRIES, write_log

runner = CliRunner()


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


def test_an_empty_log_holds(tmp_path: Path) -> None:
    log = write_log(tmp_path, [])
    assert json.loads(runner.invoke(audit_app, ["verify", str(log), "--json"]).stdout)["size"] == 0
    assert "No open intents" in runner.invoke(audit_app, ["open", str(log)]).output


def told(*args: str | Path) -> tuple[int, dict[str, Any]]:
    result = runner.invoke(audit_app, ["verify", *map(str, args), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_what_is_seen_is_remembered_once_the_log_holds_and_asked_for_the_next_time(log: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    assert told(log, "--remember", seen)[1]["seen"] == 0
    assert seen.read_bytes() == (log / "checkpoint").read_bytes()
    assert told(log, "--remember", seen)[1]["seen"] == 1
    shorter = write_log(tmp_path / "shorter", [format_entry(entry) for entry in ENTRIES[:3]])
    code, report = told(shorter, "--remember", seen)
    assert code == 1
    assert "the log has become shorter: seen 4 entries under root" in report["problem"]
    assert seen.read_bytes() == (log / "checkpoint").read_bytes()


def test_that_nothing_was_remembered_is_a_finding_at_the_first_time_and_when_the_file_is_gone(
    log: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    for findings in (1, 0):
        code, report = told(log, "--no-replay", "--remember", seen)
        lost = [finding["message"] for finding in report["findings"] if finding["what"] == "nothing_remembered"]
        assert (code, len(lost)) == (0, findings)
    seen.unlink()
    (message,) = [f["message"] for f in told(log, "--remember", seen)[1]["findings"] if f["what"].startswith("nothing")]
    assert "seen (--remember) is not there" in message
    assert "--since" in message


def test_a_checkpoint_that_somebody_else_kept_is_asked_for_and_left_as_it_is(log: Path, tmp_path: Path) -> None:
    older = write_log(tmp_path / "older", [format_entry(entry) for entry in ENTRIES[:2]]) / "checkpoint"
    before = older.read_bytes()
    assert told(log, "--since", older)[0] == 0
    other = write_log(tmp_path / "other", [format_entry(replace(ENTRIES[0], sink="people-sg"))]) / "checkpoint"
    code, report = told(log, "--since", older, "--since", other)
    assert code == 1
    assert "does not continue the one that was seen: seen 1 entries" in report["problem"]
    assert older.read_bytes() == before


def test_findings_are_told_and_exit_0_but_where_strictness_is_asked_for(log: Path, tmp_path: Path) -> None:
    code, report = told(log)
    assert (code, [finding["what"] for finding in report["findings"]]) == (0, ["open_intents", "not_replayed"])
    seen = tmp_path / "seen"
    code, report = told(log, "--strict", "--remember", seen)
    assert (code, report["holds"]) == (1, False)
    assert report["problem"] == "3 findings, and --strict was given"
    assert not seen.exists()
    whole = write_log(tmp_path / "whole", [format_entry(entry) for entry in ENTRIES[:2]])
    assert told(whole, "--strict", "--no-replay")[0] == 0


def test_a_second_key_that_did_not_sign_is_a_finding(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES[:2]])
    second = log_signer("log.example", MLDSA44PrivateKey.from_seed_bytes(bytes(32)))[1]
    (log / "log.ml-dsa-44.vkey").write_text(format_verifier_key(second) + "\n")
    code, report = told(log, "--no-replay")
    assert (code, [finding["what"] for finding in report["findings"]]) == (0, ["second_signature"])
    assert told(log, "--no-replay", "--strict")[0] == 1


def test_how_long_a_silence_is_odd_is_said_in_hours(tmp_path: Path) -> None:
    late = replace(ENTRIES[3], id="0.2", at=ENTRIES[0].at + 7_200_000_000)
    log = write_log(tmp_path / "late", [format_entry(entry) for entry in (*ENTRIES[:2], late)])
    assert told(log, "--no-replay", "--max-gap", "2.5")[1]["findings"] == []
    assert told(log, "--no-replay", "--max-gap", "1.5")[1]["findings"][0]["what"] == "time_gap"


def test_how_old_the_newest_entry_is_is_told_and_a_finding_where_that_is_asked_for(tmp_path: Path) -> None:
    age = timedelta(hours=3)
    at = (time.time_ns() - int(age.total_seconds() * 1e9)) // 1000
    old = [replace(entry, at=at) for entry in ENTRIES[:2]]
    log = write_log(tmp_path / "log", [format_entry(entry) for entry in old])
    code, report = told(log, "--no-replay")
    assert (code, report["findings"]) == (0, [])
    assert datetime.fromisoformat(report["newest_entry"]) == datetime.fromtimestamp(at / 1e6, UTC)
    assert "3.0 h ago" in runner.invoke(audit_app, ["verify", str(log), "--no-replay"]).output
    assert told(log, "--no-replay", "--silent-for", "3.1", "--strict")[0] == 0
    code, report = told(log, "--no-replay", "--silent-for", "2.9")
    assert (code, report["findings"][0]["what"]) == (0, "silent")
    assert told(log, "--no-replay", "--silent-for", "2.9", "--strict")[0] == 1
    empty = write_log(tmp_path / "empty", [])
    assert told(empty, "--no-replay", "--silent-for", "1")[1]["findings"][0]["what"] == "silent"


@pytest.mark.parametrize(
    "options", [["--fleet", "x"], ["another"], ["--quorum", "1"], ["--cosigned", "x"], ["--remember", "no/where"]]
)
def test_options_that_do_not_go_together_are_wrong_use(log: Path, options: list[str]) -> None:
    assert runner.invoke(audit_app, ["verify", str(log), *options]).exit_code == 2


def test_commands_that_decide_nothing_again_load_no_language_of_policies() -> None:
    commands = ("verify", "prove", "check_proof", "show", "rebuild", "witness")
    code = (
        f"import sys; [__import__('residency.cli.audit.' + name) for name in {commands}];"
        "print([m for m in sys.modules if m == 'pydantic' or m.startswith('residency.policy')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"[]"
