"""`residency audit rebuild` writes tiles that lead to the signed root, and over nothing without saying so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from tests.audit_log import INTENT, write_log


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries = [format_entry(replace(INTENT, id=f"0.{seq}", kind="decision")) for seq in range(600)]
    return write_log(tmp_path_factory.mktemp("whole") / "log", entries)


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "log"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(*args: str | Path) -> tuple[int, Any]:
    result = CliRunner().invoke(audit_app, ["rebuild", *map(str, args), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_tiles_that_are_missing_are_written_as_they_were(log: Path, whole: Path) -> None:
    for level in ("0", "1"):
        shutil.rmtree(log / "tile" / level)
    code, told = run(log)
    assert (code, told["holds"], len(told["written"])) == (0, True, 4)
    assert files(log) == files(whole)
    assert run(log) == (0, {"holds": True, "size": 600, "written": [], "differ": [], "missing": []})
    assert CliRunner().invoke(audit_app, ["verify", str(log)]).exit_code == 0


def test_a_tile_that_differs_is_named_and_left_until_replacing_is_asked_for(log: Path, whole: Path) -> None:
    path = log / "tile/0/001"
    path.write_bytes(bytes(256 * 32))
    code, told = run(log)
    assert (code, told["holds"], told["differ"], told["written"]) == (1, False, ["tile/0/001"], [])
    assert path.read_bytes() == bytes(256 * 32)
    said = CliRunner().invoke(audit_app, ["rebuild", str(log)])
    assert said.exit_code == 1
    assert "tile/0/001: differs, left as it is" in said.output
    code, told = run(log, "--replace")
    assert (code, told["differ"], told["written"]) == (0, ["tile/0/001"], ["tile/0/001"])
    assert files(log) == files(whole)


def test_nothing_is_written_where_the_entries_do_not_lead_to_the_signed_root(log: Path) -> None:
    bundle = log / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"people-vn", b"people-sg", 1))
    shutil.rmtree(log / "tile/0")
    before = files(log)
    code, told = run(log, "--replace")
    assert (code, told["holds"]) == (1, False)
    assert "do not hash to the root" in told["problem"]
    assert files(log) == before


def test_a_bundle_that_is_gone_cannot_be_made_again_and_is_named(log: Path) -> None:
    (log / "tile/entries/001").unlink()
    code, told = run(log)
    assert code == 1
    assert "tile/entries/001 is missing" in told["problem"]


def test_a_partial_tile_that_a_full_one_replaced_is_not_missing(log: Path, tmp_path: Path) -> None:
    older = write_log(
        tmp_path / "older", [format_entry(replace(INTENT, id=f"0.{n}", kind="decision")) for n in range(300)]
    )
    shutil.rmtree(older / "tile/0/001.p")
    shutil.copy(log / "tile/0/001", older / "tile/0/001")
    assert run(older) == (0, {"holds": True, "size": 300, "written": [], "differ": [], "missing": []})
