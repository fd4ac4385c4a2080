"""Several logs are held against the signed register of all there are: who is missing is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from residency.adapters.log_files import LogFiles
from residency.audit.entry import Entry, format_entry
from residency.audit.fleet import Closed, Fleet, add_log, close_log, format_begins, format_fleet, verify_fleet
from residency.audit.merkle import leaf_hash, root_of
from residency.audit.note import VerifierKey, format_note, format_verifier_key, note_signer
from residency.audit.sequencer import StepKind, Tree, plan_commit
from residency.cli.audit import audit_app
from residency.cli.audit.verify_fleet import read_fleet
from residency.errors import VerificationError

SIGNER, KEY = note_signer("fleet.example", Ed25519PrivateKey.from_private_bytes(b"\7" * 32))
BEGINS = Entry(id="0.0", kind="system", at=1_795_000_000_000_000, note="")
NAMES = ("a.example", "b.example")


def entries(predecessor: str | None, count: int) -> list[bytes]:
    first = replace(BEGINS, note=format_begins(predecessor))
    rest = [replace(BEGINS, id=f"0.{n}", note="start", at=BEGINS.at + n) for n in range(1, count)]
    return [format_entry(entry) for entry in (first, *rest)]


def write(folder: Path, origin: str, number: int, listed: list[bytes]) -> VerifierKey:
    signer, key = note_signer(origin, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))
    log = LogFiles(folder)
    for step in plan_commit(Tree(), listed, {}, signer, origin)[1]:
        if step.kind in (StepKind.TILE, StepKind.CHECKPOINT):
            log.write(step.path, step.data)
    log.write("log.vkey", (format_verifier_key(key) + "\n").encode())
    return key


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Two logs, the second goes on from the first, which was closed with 3 entries; the register in `fleet`."""
    first, second = entries("none", 3), entries("a.example", 2)
    closed = Closed(3, root_of([leaf_hash(entry) for entry in first]), "2026-10-01")
    register = add_log(Fleet("fleet.example"), write(tmp_path / "a.example", "a.example", 1, first), "2026-01-01")
    other = write(tmp_path / "b.example", "b.example", 2, second)
    register = close_log(add_log(register, other, "2026-10-01", "a.example"), "a.example", closed)
    (tmp_path / "fleet").write_bytes(format_note(format_fleet(register), SIGNER))
    (tmp_path / "key").write_text(format_verifier_key(KEY) + "\n")
    return tmp_path


def verify(folder: Path, *logs: str, options: tuple[str, ...] = ()) -> tuple[int, Any]:
    register = ("--fleet", str(folder / "fleet"), "--fleet-key", str(folder / "key"))
    places = [str(folder / log) for log in logs]
    result = CliRunner().invoke(audit_app, ["verify", *places, *register, *options, "--no-replay", "--json"])
    return result.exit_code, json.loads(result.stdout) if result.stdout.startswith("{") else result.output


def test_a_log_without_a_key_beside_it_is_verified_by_the_one_that_is_listed(fleet: Path) -> None:
    (fleet / "a.example" / "log.vkey").unlink()
    assert verify(fleet, *NAMES)[0] == 0
    checkpoint = fleet / "a.example" / "checkpoint"
    signed = checkpoint.read_bytes()
    checkpoint.write_bytes(signed.replace(b"a.example", b"b.example", 1))
    assert verify(fleet, *NAMES)[0] == 1, "another listed origin, whose key did not sign this"
    checkpoint.write_bytes(signed.replace(b"a.example", b"c.example"))
    code, told = verify(fleet, *NAMES)
    assert (code, "lists no log of its origin" in told["problem"]) == (1, True)


def test_a_fleet_that_is_whole_holds(fleet: Path) -> None:
    code, told = verify(fleet, *NAMES, options=("--strict",))
    assert (code, told["holds"], told["fleet_findings"]) == (0, True, [])
    assert [log["size"] for log in told["logs"]] == [3, 2]
    register = ["--fleet", str(fleet / "fleet"), "--fleet-key", str(fleet / "key")]
    said = CliRunner().invoke(audit_app, ["verify", *(str(fleet / name) for name in NAMES), *register])
    assert "The fleet is whole: 2 logs, register version 4." in said.output


def test_a_log_that_is_missing_is_named(fleet: Path) -> None:
    code, told = verify(fleet, "b.example")
    assert (code, told["holds"]) == (1, False)
    assert "missing: a.example" in told["problem"]


def test_a_log_that_grew_after_it_was_closed_or_was_rewritten_is_named(fleet: Path) -> None:
    write(fleet / "a.example", "a.example", 1, entries("none", 4))
    assert "grown: a.example" in verify(fleet, *NAMES)[1]["problem"]
    shutil.rmtree(fleet / "a.example")
    write(fleet / "a.example", "a.example", 1, entries("x.example", 4))
    assert "changed: a.example" in verify(fleet, *NAMES)[1]["problem"]


def test_a_log_that_does_not_say_what_it_goes_on_from_is_a_finding(fleet: Path) -> None:
    write(fleet / "b.example", "b.example", 2, entries(None, 2))
    code, told = verify(fleet, *NAMES)
    assert (code, [finding["what"] for finding in told["fleet_findings"]]) == (0, ["unsaid"])
    assert verify(fleet, *NAMES, options=("--strict",))[0] == 1


def test_a_log_that_does_not_hold_is_named_by_its_place(fleet: Path) -> None:
    (fleet / "b.example/tile/0/000.p/2").unlink()
    code, told = verify(fleet, *NAMES)
    assert code == 1
    assert told["problem"].startswith(f"{fleet}/b.example: tile/0/000.p/2 is missing")


def test_a_register_of_another_key_or_with_a_changed_byte_does_not_hold(fleet: Path) -> None:
    register = (fleet / "fleet").read_bytes()
    (fleet / "fleet").write_bytes(register.replace(b"2026-01-01", b"2026-01-02", 1))
    with pytest.raises(VerificationError, match="fleet: "):
        read_fleet(fleet / "fleet", fleet / "key")
    assert verify(fleet, *NAMES)[0] == 1
    with pytest.raises(typer.BadParameter):
        read_fleet(fleet / "nothing", fleet / "key")
    with pytest.raises(typer.BadParameter):
        read_fleet(fleet / "fleet", fleet / "nothing")


def test_who_remembers_a_register_is_shown_no_older_one_and_none_without_a_log_that_was_listed(fleet: Path) -> None:
    kept, register = fleet / "kept", fleet / "fleet"
    newest = register.read_bytes()
    assert verify(fleet, *NAMES, options=("--remember", str(kept)))[0] == 0
    assert kept.read_bytes() == newest
    only = verify_fleet(newest, KEY)
    without = replace(only, logs=(only.logs[0],))
    for version, why in ((3, "an older one"), (4, "another one"), (5, "b.example is not listed as it was")):
        register.write_bytes(format_note(format_fleet(replace(without, version=version)), SIGNER))
        code, told = verify(fleet, "a.example")
        assert (code, told["holds"]) == (0, True)  # well signed, and whole: only who remembers can tell
        for option in ("--remember", "--since"):
            code, told = verify(fleet, "a.example", options=(option, str(kept)))
            assert (code, why in told["problem"]) == (1, True)
    assert kept.read_bytes() == newest


@pytest.mark.parametrize("options", [("--second-key", "x"), ("--key", "x"), ("--audit", "x")])
def test_what_is_about_one_log_does_not_go_with_a_fleet(fleet: Path, options: tuple[str, ...]) -> None:
    code, told = verify(fleet, *NAMES, options=options)
    assert code == 2
    assert "with --fleet each log has its own" in " ".join(told.replace("│", " ").split())


def test_a_log_that_is_silent_is_a_finding_unless_the_register_says_that_it_was_closed(fleet: Path) -> None:
    code, told = verify(fleet, *NAMES, options=("--silent-for", "1"))
    found = {log["origin"]: [finding["what"] for finding in log["findings"]] for log in told["logs"]}
    assert code == 0
    assert ("silent" in found["a.example"], "silent" in found["b.example"]) == (False, True)


def test_that_no_register_was_remembered_is_a_finding(fleet: Path) -> None:
    seen = ("--remember", str(fleet / "seen"))
    for expected in (["nothing_remembered"], []):
        assert [f["what"] for f in verify(fleet, *NAMES, options=seen)[1]["fleet_findings"]] == expected
