"""`residency audit mirror`: a log shipped once, by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from residency.adapters.log_files import LogFiles
from residency.adapters.mirror import Mirror
from residency.adapters.mount import FolderPlace
from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from tests.audit_log import ENTRIES, VERIFIER, write_log
from tests.log_mirror import held
from tests.object_store import SECRET, StubS3, stub_s3

runner = CliRunner()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of four entries."""
    return write_log(tmp_path / "audit" / "log", [format_entry(entry) for entry in ENTRIES])


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """A bucket."""
    with stub_s3(monkeypatch) as server:
        yield server


def test_the_place_holds_the_log_and_a_second_time_nothing_is_new(log: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    command = ["mirror", str(log), f"file://{tmp_path}/mount"]
    first = runner.invoke(audit_app, [*command, "--json"])
    assert json.loads(first.stdout) == {"holds": True, "size": 4, "before": 0, "files": 4}
    assert held(LogFiles(tmp_path / "mount").read) == [format_entry(entry) for entry in ENTRIES]
    assert "holds all 4 entries (nothing was new)" in runner.invoke(audit_app, command).output


def test_a_bucket_must_lock_for_as_long_as_was_asked(log: Path, stub: StubS3) -> None:
    command = ["mirror", str(log), "s3://bucket/chat", "--locked", "24 months", "--json"]
    for retention, exits in ((None, 1), (("GOVERNANCE", 800), 1), (("COMPLIANCE", 700), 1), (("COMPLIANCE", 733), 0)):
        stub.retention = None if retention is None else (retention[0], timedelta(days=retention[1]))
        result = runner.invoke(audit_app, command)
        assert result.exit_code == exits, result.output
        if exits:
            assert "733 days in mode COMPLIANCE" in json.loads(result.stdout)["problem"]
            assert "chat/checkpoint" not in stub.objects
    assert "chat/checkpoint" in stub.objects


def test_a_store_that_refuses_is_exit_2_without_a_secret(log: Path, stub: StubS3) -> None:
    stub.bend = lambda _method, _key: 403
    result = runner.invoke(audit_app, ["mirror", str(log), "s3://bucket/chat"])
    assert result.exit_code == 2
    assert "status 403" in " ".join(result.output.split())
    assert SECRET not in result.output


def test_a_place_that_holds_more_is_exit_1_and_left(log: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    longer = write_log(tmp_path / "longer", [format_entry(entry) for entry in ENTRIES * 2])
    runner.invoke(audit_app, ["mirror", str(longer), f"file://{tmp_path}/mount"])
    result = runner.invoke(audit_app, ["mirror", str(log), f"file://{tmp_path}/mount", "--json"])
    assert result.exit_code == 1
    assert "holds 8 entries" in json.loads(result.stdout)["problem"]
    assert len(held(LogFiles(tmp_path / "mount").read)) == 8


def test_while_another_process_ships_nothing_is_put(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.cli.audit.mirror._WAIT", 0.0)
    (tmp_path / "mount").mkdir()
    files = LogFiles(log)
    place = FolderPlace(tmp_path / "mount", LogFiles(tmp_path / "mount"))
    other = Mirror(files, place, key=VERIFIER, lock=log.parent / "mirror.lock")
    other.ship()
    result = runner.invoke(audit_app, ["mirror", str(log), f"file://{tmp_path}/mount"])
    other.release()
    assert result.exit_code == 1
    assert "another process" in result.output


@pytest.mark.parametrize(
    "options",
    [
        ["https://host/log"],
        ["s3://KEY:SECRET@bucket/log"],
        ["file://relative"],
        ["file:///tmp", "--locked", "24 months"],
        ["s3://bucket", "--locked", "long"],
    ],
)
def test_wrong_use_is_2(log: Path, options: list[str]) -> None:
    result = runner.invoke(audit_app, ["mirror", str(log), *options])
    assert result.exit_code == 2
    assert "SECRET" not in result.output
