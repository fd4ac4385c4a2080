"""Files that a crash before pruning leaves behind are the beginning of what replaced them, or are named."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from residency.audit.entry import format_entry
from residency.audit.verify import read_checkpoint
from residency.cli.audit.strays import changed_strays
from residency.cli.audit.verify_log import Asked, verify_log
from residency.cli.log_folder import reader
from residency.errors import VerificationError
from tests.audit_log import INTENT, VERIFIER, write_log

ENTRIES = [format_entry(replace(INTENT, id=f"0.{n}", kind="decision")) for n in range(600)]
LEFT = ["tile/0/000.p/200", "tile/entries/000.p/200", "tile/0/002.p/20", "tile/entries/002.p/20", "tile/1/000.p/1"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 600 entries, with the partial files of two earlier checkpoints left behind."""
    folder = write_log(tmp_path_factory.mktemp("whole") / "log", ENTRIES)
    for size in (200, 256 + 60, 512 + 20):
        older = write_log(folder.parent / str(size), ENTRIES[:size])
        for file in older.glob("tile/**/*.p/*"):
            target = folder / file.relative_to(older)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return folder


@pytest.fixture
def log(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "log"))


def strays(log: Path) -> list[str]:
    read = reader(log)
    return list(changed_strays(log, read, read_checkpoint(read, VERIFIER)))


def test_what_pruning_has_not_removed_holds(log: Path) -> None:
    assert {path for path in LEFT if (log / path).is_file()} == set(LEFT)
    assert strays(log) == []


@pytest.mark.parametrize("path", LEFT)
def test_a_changed_byte_in_a_file_that_nobody_reads_is_named(log: Path, path: str) -> None:
    data = (log / path).read_bytes()
    for other in (data[:-1], data + b"\0", data[:5] + bytes([data[5] ^ 1]) + data[6:], b""):
        (log / path).write_bytes(other)
        assert strays(log) == [f"{path} is not the beginning of what replaced it"]
    with pytest.raises(VerificationError, match="beginning of what replaced it"):
        verify_log(str(log), Asked(None, (), None, replay=False, max_gap=1, now=INTENT.at, progress=False))


@pytest.mark.parametrize(
    "path", ["tile/0/002.p/200", "tile/0/009.p/3", "tile/7/000.p/3", "tile/0/other.p/3", "tile/0/000.p/x"]
)
def test_what_the_checkpoint_does_not_cover_is_nobody_s_business(log: Path, path: str) -> None:
    (log / path).parent.mkdir(parents=True, exist_ok=True)
    (log / path).write_bytes(b"half a tile")
    assert strays(log) == []


def test_partial_files_that_the_sequencer_removes_meanwhile_are_nobody_s_business(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def pruned(path: str | Path | int) -> object:
        if str(path).endswith("000.p"):
            with monkeypatch.context() as undisturbed:
                undisturbed.setattr(os, "scandir", scan)
                shutil.rmtree(path)  # type: ignore[arg-type]
        return scan(path)

    monkeypatch.setattr(os, "scandir", pruned)
    assert strays(log) == []
    assert not (log / "tile/0/000.p").exists()
