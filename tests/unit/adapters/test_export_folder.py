"""An export is in its place whole or not at all, and for its owner alone."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from residency.adapters.export_folder import ExportFolder


def test_a_folder_is_there_when_it_is_finished_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ExportFolder(out) as folder:
        folder.append("records/people/person.jsonl", b"1\n")
        folder.append("records/people/person.jsonl", b"2\n")
        assert not out.exists()
        folder.finish()
    assert (out / "records" / "people" / "person.jsonl").read_bytes() == b"1\n2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for path in (out, *out.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0


def test_a_zip_holds_the_same(tmp_path: Path) -> None:
    out = tmp_path / "out.zip"
    with ExportFolder(out) as folder:
        folder.append("a/b.jsonl", b"1\n")
        folder.append("manifest", b"m")
        folder.finish()
    with zipfile.ZipFile(out) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a/b.jsonl": b"1\n", "manifest": b"m"}
    assert out.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def test_what_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with ExportFolder(tmp_path / "out") as folder:
        folder.append("a", b"canary")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_what_is_there_already_is_left_alone(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    out.write_bytes(b"mine")
    with pytest.raises(FileExistsError), ExportFolder(out):
        raise AssertionError
    out.unlink()
    with ExportFolder(out) as folder:
        folder.append("a", b"1")
        out.write_bytes(b"mine")  # somebody else was faster
        with pytest.raises(FileExistsError):
            folder.finish()
    assert out.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == [name]
