"""Where a log lies: a folder, a bucket, a web address; verified over each as on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from residency.audit.entry import format_entry
from residency.cli.audit import audit_app
from residency.cli.log_places import is_url, reader_of
from residency.errors import VerificationError
from tests.audit_log import ENTRIES, write_log
from tests.object_store import StubS3, stub_s3

runner = CliRunner()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of four entries."""
    return write_log(tmp_path / "log", [format_entry(entry) for entry in ENTRIES])


@pytest.fixture
def stub(log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubS3]:
    """A bucket that holds the log below `chat`; it is a web server of plain files too."""
    with stub_s3(monkeypatch) as server:
        for path in log.rglob("*"):
            if path.is_file():
                server.put(f"chat/{path.relative_to(log)}", path.read_bytes())
        yield server


@pytest.fixture(params=["folder", "file", "s3", "http"])
def place(request: pytest.FixtureRequest, log: Path, stub: StubS3) -> str:
    """Each kind of place in turn."""
    return {
        "folder": str(log),
        "file": f"file://{log}",
        "s3": "s3://bucket/chat",
        "http": f"{stub.endpoint}/chat",
    }[str(request.param)]


def test_a_log_verifies_wherever_it_lies(place: str, log: Path) -> None:
    result = runner.invoke(audit_app, ["verify", place, "--key", str(log / "log.vkey"), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["size"]) == (0, 4)


def test_an_export_is_the_same_wherever_the_log_lies(place: str, log: Path, tmp_path: Path) -> None:
    for which in (place, str(log)):
        out = tmp_path / ("here" if which == str(log) else "there")
        result = runner.invoke(audit_app, ["export", which, "--out", str(out), "--format", "jsonl"])
        assert result.exit_code == 0, result.output
    there = tmp_path / "there"
    assert not there.exists() or there.read_bytes() == (tmp_path / "here").read_bytes()


def test_a_file_that_is_missing_there_is_missing(stub: StubS3, log: Path) -> None:
    stub.objects.pop("chat/tile/0/000.p/4")
    for place in ("s3://bucket/chat", f"{stub.endpoint}/chat"):
        result = runner.invoke(audit_app, ["verify", place, "--key", str(log / "log.vkey")])
        assert result.exit_code == 1
        assert "tile/0/000.p/4 is missing" in " ".join(result.output.split())


def test_a_file_that_cannot_be_read_there_is_told_with_its_status(stub: StubS3) -> None:
    stub.bend = lambda _method, key: 403 if key.endswith("checkpoint") else None
    for place in ("s3://bucket/chat", f"{stub.endpoint}/chat"):
        with pytest.raises(VerificationError, match=r"checkpoint .*\(status 403"):
            reader_of(place)("checkpoint")


@pytest.mark.parametrize("place", ["ftp://host/log", "s3://", "https://", "/nowhere/at/all", "s3://KEY:TOP@bucket/log"])
def test_what_cannot_be_read_from_is_wrong_use(place: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        reader_of(place)
    assert "TOP" not in str(refused.value)


def test_a_url_is_told_from_a_folder() -> None:
    assert is_url("s3://bucket/log")
    assert not is_url("./log")
    assert not is_url("C:/log")
