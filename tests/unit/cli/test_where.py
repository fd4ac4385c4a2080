"""`residency where`: whether each sink is shown, or attested, to lie in its place."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters import location_probe
from residency.cli.where import where

HANOI, SINGAPORE = "113.160.0.1", "165.21.0.1"
POLICY = """
residency: 1
kind: deployment
name: placed
mode: enforce
operator: {established_in: [VN]}
laws: none
registers: [register.yaml]
regions: {vn-han: {country: VN}}
sinks:
  llm: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "https://ADDRESS/v1/#authorization=secret"}
  files: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files"}
stores: {uploads: [files], llm: [llm]}
signals: {client_address: {strategy: peer}}
activities:
  - {route: "POST /chat", subject: app, data: [content], operation: process, http: llm}
"""
REGISTER = """
residency: 1
kind: register
name: placed
filings:
  - {kind: location, number: 1/2026, date: 2026-01-01, result: passed, sinks: [files], expires: 2099-01-01}
"""
app = typer.Typer()
app.command()(where)


@pytest.fixture(autouse=True)
def nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(address: str, port: int) -> None:
        return None

    monkeypatch.setattr(location_probe, "_connect", connect)


def asked(folder: Path, *options: str, address: str = HANOI, attested: bool = True) -> tuple[int, str]:
    """(exit code, output)"""
    (folder / "placed.yaml").write_text(POLICY.replace("ADDRESS", address))
    register = REGISTER if attested else REGISTER.partition("filings")[0]
    (folder / "register.yaml").write_text(register)
    done = CliRunner().invoke(app, ["--policy", str(folder / "placed.yaml"), *options], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def rows(output: str) -> dict[str, Any]:
    """The sinks of the JSON lines."""
    return {row["sink"]: row for row in map(json.loads, output.splitlines())}


def test_sinks_that_are_shown_or_attested_to_lie_in_their_place_hold(tmp_path: Path) -> None:
    code, output = asked(tmp_path, "--json")
    found = rows(output)
    assert code == 0
    assert {name: (row["standing"], row["attested"]) for name, row in found.items()} == {
        "llm": ("consistent", False),
        "files": ("consistent", True),
    }
    assert found["llm"]["ways"][0]["addresses"] == [
        {"address": HANOI, "country": "VN", "reach": "public", "system": None}
    ]


def test_what_is_told_is_told_once_and_not_by_the_log_as_well(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("residency"), "propagate", False)  # as outside of pytest, which listens
    asked(tmp_path, address=SINGAPORE)
    assert "location: sink" not in capfd.readouterr().err


def test_a_sink_elsewhere_does_not_hold_and_its_url_is_not_told(tmp_path: Path) -> None:
    code, output = asked(tmp_path, address=SINGAPORE)
    assert code == 1
    assert "contradicted" in output
    assert "it has an address in SG" in output
    assert "secret" not in output


def test_what_nobody_can_see_and_nobody_attests_does_not_hold_and_the_way_out_is_told(tmp_path: Path) -> None:
    code, output = asked(tmp_path, attested=False)
    assert code == 1
    assert "undetermined" in output
    assert "a filing of kind `location` with `sinks` and `expires`" in output


def test_files_are_judged_alike_whatever_they_keep_and_what_to_write_of_them_is_told(tmp_path: Path) -> None:
    keepers = """
locators: {VN: "sqlite:///located.db"}
pins: {url: "sqlite:///pins.db", region: vn-han}
records: {people: {person: {subject: id, data: [personal]}}}
sinks:
  rows: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///rows.db"}
"""
    policy = (
        POLICY.replace("ADDRESS", HANOI)
        .replace("\nsinks:\n", keepers)
        .replace("stores: {", "stores: {people: [rows], ")
    )
    (tmp_path / "placed.yaml").write_text(policy)
    register = REGISTER.partition("filings")[0]
    (tmp_path / "register.yaml").write_text(register)
    where = ["--policy", str(tmp_path / "placed.yaml")]
    done = CliRunner().invoke(app, [*where, "--json"])
    files = {"rows", "files", "locators/VN", "pins/url"}
    why = {name: (row["standing"], row["why"]) for name, row in rows(done.output).items() if name in files}
    assert why == dict.fromkeys(files, ("undetermined", ["it lies on this machine"]))
    written = CliRunner().invoke(app, where).output.splitlines()[-1]
    for blank, said in (("NUMBER", "1/2026"), ("date: YYYY-MM-DD", "date: 2026-01-01"), ("YYYY-MM-DD", "2099-01-01")):
        written = written.replace(blank, said)
    (tmp_path / "register.yaml").write_text(f"{register}filings:\n{written}\n")
    assert CliRunner().invoke(app, where).exit_code == 0


def test_a_policy_that_does_not_hold_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "placed.yaml").write_text("residency: 1\nkind: deployment\n")
    assert CliRunner().invoke(app, ["--policy", str(tmp_path / "placed.yaml")]).exit_code == 2
