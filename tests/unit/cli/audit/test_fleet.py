"""`residency audit fleet` writes a register that only its own key could have signed, a version for each change."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from residency.audit.checkpoint import format_verifier_key, note_signer
from residency.audit.fleet import verify_fleet
from residency.audit.note import parse_verifier_key
from residency.cli.audit import audit_app
from tests.audit_log import ORIGIN, VERIFIER, write_log


class Office:
    """Where a fleet's register is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.register = folder / "fleet.note"
        self.keys = folder / "keys"
        self.made = self.run("new", self.register, "--name", "fleet.example", "--keys", self.keys)
        self.key = self.keys / "fleet.vkey"

    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(audit_app, ["fleet", *map(str, arguments)])

    def change(self, command: str, what: Path, *more: object) -> Result:
        return self.run(command, self.register, what, "--keys", self.keys, *more)

    def vkey(self, origin: str, number: int) -> Path:
        path = self.folder / f"{origin}.vkey"
        key = note_signer(origin, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))[1]
        path.write_text(format_verifier_key(key) + "\n")
        return path

    def shown(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run("show", self.register, "--key", self.key, "--json").stdout)
        return answer


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", [b"entry"] * 5)


def test_a_new_register_lists_nothing_and_its_key_is_printed(office: Office) -> None:
    assert office.made.exit_code == 0
    assert office.made.stdout == office.key.read_text()
    assert verify_fleet(office.register.read_bytes(), parse_verifier_key(office.key.read_text())).logs == ()


def test_a_register_that_is_there_is_kept(office: Office) -> None:
    before = office.register.read_bytes()
    result = office.run("new", office.register, "--name", "again.example", "--keys", office.keys)
    assert (result.exit_code, office.register.read_bytes()) == (1, before)


def test_a_second_register_may_share_the_fleets_key_and_another_fleet_may_not(office: Office, tmp_path: Path) -> None:
    before = office.key.read_bytes()
    for name, code in (("other.example", 1), ("fleet.example", 0)):
        result = office.run("new", tmp_path / "second.note", "--name", name, "--keys", office.keys)
        assert (result.exit_code, office.key.read_bytes()) == (code, before)
        assert (tmp_path / "second.note").exists() == (code == 0)


def test_logs_come_go_on_from_one_another_and_end(office: Office, log: Path) -> None:
    assert office.change("add", log / "log.vkey", "--date", "2026-01-02").exit_code == 0
    assert office.change("close", log / "checkpoint", "--date", "2026-10-01").exit_code == 0
    assert office.change("add", office.vkey("b.example", 2), "--after", ORIGIN).exit_code == 0
    shown = office.shown()
    assert (shown["name"], shown["version"]) == ("fleet.example", 4)
    first, second = shown["logs"]
    assert (first["origin"], first["since"], first["after"]) == (ORIGIN, "2026-01-02", None)
    assert (first["closed"]["size"], first["closed"]["date"]) == (5, "2026-10-01")
    assert (second["origin"], second["after"], second["closed"]) == ("b.example", ORIGIN, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", second["since"])
    assert first["key"] == format_verifier_key(VERIFIER)
    table = office.run("show", office.register, "--key", office.key).stdout
    assert "2026-10-01, 5 entries" in table
    assert "version 4: 2 logs" in table


@pytest.mark.parametrize(
    ("command", "more", "told"),
    [
        ("add", ("--date", "yesterday"), "not of the form"),
        ("add", ("--after", "z.example"), "not listed"),
        ("close", (), "not listed"),
    ],
)
def test_a_change_that_makes_no_register_is_refused_and_nothing_is_written(
    office: Office, log: Path, command: str, more: tuple[str, ...], told: str
) -> None:
    before = office.register.read_bytes()
    result = office.change(command, log / ("log.vkey" if command == "add" else "checkpoint"), *more)
    assert (result.exit_code, office.register.read_bytes()) == (1, before)
    assert told in result.stderr


def test_a_checkpoint_that_the_log_did_not_sign_closes_nothing(office: Office, log: Path) -> None:
    office.change("add", log / "log.vkey")
    (log / "checkpoint").write_bytes((log / "checkpoint").read_bytes().replace(b"\n5\n", b"\n4\n"))
    assert "does not hold" in office.change("close", log / "checkpoint").stderr
    assert office.shown()["logs"][0]["closed"] is None


def test_a_register_of_another_key_is_neither_shown_nor_changed(office: Office, log: Path) -> None:
    (office.keys / "fleet.ed25519").write_bytes(bytes(32))
    assert "carries no signature" in office.change("add", log / "log.vkey").stderr
    other = office.vkey("fleet.example", 9)
    result = office.run("show", office.register, "--key", other, "--json")
    assert (result.exit_code, json.loads(result.stdout)["holds"]) == (1, False)


def test_files_that_are_not_there_or_no_keys_are_wrong_use(office: Office, tmp_path: Path) -> None:
    assert office.change("add", tmp_path / "none.vkey").exit_code == 2
    assert office.change("add", office.register).exit_code == 2
    assert office.change("close", tmp_path / "none").exit_code == 2
    assert office.run("show", tmp_path / "none", "--key", office.key).exit_code == 2
