"""What is kept of personal detail beside a log is counted by country and class, without a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.adapters.detail_files import DetailFiles
from residency.adapters.journal_files import JournalFiles
from residency.audit.detail import commit
from residency.audit.detail_head import Head
from residency.cli.audit import audit_app
from residency.cli.audit.report_details import detail_folders, held_details
from tests.audit_log import ORIGIN

TEXT = b'{"account":"an","salt":"00000000000000000000000000000000"}'
MONTHS = "log>=12m,<=24m"
runner = CliRunner()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with details of two classes, and one of another log."""
    journal = JournalFiles(tmp_path / "vn" / "journal").open()
    details = DetailFiles({"VN": journal}, lambda country: bytes(32), lambda size: bytes(size))
    for number, (origin, keeping, floor, ceiling) in enumerate([
        (ORIGIN, MONTHS, 10, 20), (ORIGIN, MONTHS, 30, 40), (ORIGIN, "pin", None, None), ("else", MONTHS, 10, 20),
    ]):  # fmt: skip
        details.append("VN", Head(origin, f"0.{number}", commit(TEXT), None, number, keeping, floor, ceiling), TEXT)
    details.close()
    return tmp_path / "vn"


def test_details_of_this_log_are_counted_by_class_with_what_still_must_stay_and_what_must_be_gone(kept: Path) -> None:
    at = "1970-01-01T00:00:00"
    assert held_details({"VN": kept}, ORIGIN, 20) == [
        {"country": "VN", "class": MONTHS, "count": 2, "oldest": f"{at}Z", "newest": f"{at}.000001Z", "floor_runs": 1,
         "ceiling_passed": 1},
        {"country": "VN", "class": "pin", "count": 1, "oldest": f"{at}.000002Z", "newest": f"{at}.000002Z",
         "floor_runs": 0, "ceiling_passed": 0},
    ]  # fmt: skip
    assert held_details({"VN": kept}, "third", 20) == []


@pytest.mark.parametrize("given", ["VN", "VN=/nowhere", "=", "/nowhere"])
def test_a_folder_that_keeps_no_details_is_wrong_use(given: str) -> None:
    with pytest.raises(typer.BadParameter):
        detail_folders([given])


def test_the_report_tells_what_is_kept_where_the_deployment_or_a_folder_is_at_hand(detailed: Path) -> None:
    folder = detailed.parent
    out = folder / "r.html"
    for more, known in (
        ([], False), (["--policy", str(detailed)], True), (["--detail", f"VN={folder / 'detail-vn'}"], True)
    ):  # fmt: skip
        for language in ("en", "vi"):
            command = ["report", str(folder / "audit" / "log"), "--out", str(out), "--lang", language, *more]
            result = runner.invoke(audit_app, command)
            assert result.exit_code == 0, result.output
            held = json.loads(out.with_suffix(".json").read_text())["retention"]["held"]
            assert ("--detail" in out.read_text()) is not known
            assert (held is not None) is known
            if known:
                counted = {each["class"]: each["count"] for each in held}
                assert counted == {"log>=12m": 2, "pin": 2}
                assert "log&gt;=12m" in out.read_text()
