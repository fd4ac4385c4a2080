"""A mounted folder as a place: there or not, full or not, and never a lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.mount import FolderPlace
from residency.errors import Unavailable


class Failing(LogFiles):
    """Files of a disk that fails."""

    def write(self, path: str, data: bytes) -> None:
        raise OSError(28, os.strerror(28), "/secret/place")


def test_a_mount_that_is_missing_is_told_and_not_filled(tmp_path: Path) -> None:
    folder = tmp_path / "mount" / "log"
    place = FolderPlace(folder, LogFiles(folder))
    for act in (
        lambda: place.read("checkpoint"),
        lambda: place.write("checkpoint", b"x"),
        lambda: place.create("tile/0/000", b"x"),
        lambda: place.prune("tile/0/000.p"),
    ):
        with pytest.raises(Unavailable, match="is it mounted"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_is_told_by_path_and_number(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^the mirror's folder does not let us write checkpoint \(errno 28\)$"):
        FolderPlace(tmp_path, Failing(tmp_path)).write("checkpoint", b"x")


def test_a_folder_locks_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot lock"):
        FolderPlace(tmp_path, LogFiles(tmp_path)).lock("checkpoint")
