"""Files of a log are replaced whole, and nothing leads out of the folder."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.errors import VerificationError


def test_a_file_comes_back_and_can_be_replaced_with_nothing_left_beside_it(tmp_path: Path) -> None:
    log = LogFiles(tmp_path / "log")
    assert log.read("tile/0/000") is None
    log.write("tile/0/x001/234", b"one")
    log.write("tile/0/x001/234", b"two")
    assert log.read("tile/0/x001/234") == b"two"
    assert [path.name for path in (tmp_path / "log/tile/0/x001").iterdir()] == ["234"]


def test_many_who_write_one_path_at_once_all_succeed_and_leave_one_whole_file(tmp_path: Path) -> None:
    data, errors, start = b"x" * 4096, [], threading.Barrier(8)

    def write() -> None:
        try:
            start.wait()
            for _ in range(20):
                LogFiles(tmp_path).write("policies/a.json", data)
        except OSError as error:
            errors.append(error)

    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    assert [path.name for path in (tmp_path / "policies").iterdir()] == ["a.json"]
    assert (tmp_path / "policies" / "a.json").read_bytes() == data


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFiles(tmp_path)
    log.write("checkpoint", b"old")

    def fails(fd: int) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="full"):
            log.write("checkpoint", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert log.read("checkpoint") == b"old"


def test_of_many_files_each_folder_is_made_durable_once_and_after_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path)))
        sync(fd)

    files = {f"tile/{level}/{number:03d}": b"%d.%d" % (level, number) for number in range(70) for level in (0, 1)}
    log = LogFiles(tmp_path)
    log.write_all([("tile/0/x", b""), ("tile/1/x", b"")])  # makes the folders
    monkeypatch.setattr(os, "fsync", fsync)
    log.write_all(files.items())
    assert len(synced) == len(files) + 2
    assert sorted(synced[-2:]) == ["tile/0", "tile/1"]
    assert {path: log.read(path) for path in files} == files


def test_a_folder_that_somebody_made_and_died_is_on_disk_before_what_lies_in_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    (tmp_path / "log/tile/0").mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    log = LogFiles(tmp_path / "log")
    log.write("tile/0/000", b"x")
    assert synced[:3] == [tmp_path.name, "log", "tile"]
    synced.clear()
    log.write("tile/0/001", b"x")
    assert len(synced) == 2  # the file and its folder: the rest is known


def test_what_a_killed_writer_left_is_written_over_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.tmp").write_bytes(b"more than is to be written")
    log = LogFiles(tmp_path, alone=True)
    log.write("checkpoint", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("checkpoint", b"new")]


def test_a_folder_that_somebody_else_removed_is_made_again(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    log.write("tile/0/000.p/1", b"x")
    shutil.rmtree(tmp_path / "tile")
    log.write("tile/0/000.p/2", b"y")
    assert log.read("tile/0/000.p/2") == b"y"


def test_a_swapped_file_is_whole_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFiles(tmp_path)
    log.swap("checkpoint", b"old")

    def fails(fd: int) -> None:
        assert Path(f"/proc/self/fd/{fd}").read_bytes() == b"new"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output") as caught:
        log.swap("checkpoint", b"new")
    assert caught.value.filename == str(tmp_path / "checkpoint")
    assert log.read("checkpoint") == b"old"


def test_of_many_files_one_that_fails_leaves_no_temporaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFiles(tmp_path)
    log.write("a", b"old")
    count = [0]

    def third(fd: int) -> None:
        count[0] += 1
        if count[0] == 3:
            raise OSError(28, "full")

    monkeypatch.setattr(os, "fsync", third)
    with pytest.raises(OSError, match="full"):
        log.write_all([(name, b"new") for name in "abcd"])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_folder_is_pruned_and_pruning_nothing_is_no_error(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    log.write("tile/0/000.p/7", b"partial")
    log.write("tile/0/000", b"full")
    log.prune("tile/0/000.p")
    log.prune("tile/0/000.p")
    assert log.read("tile/0/000.p/7") is None
    assert log.read("tile/0/000") == b"full"


def test_a_path_below_a_file_does_not_exist(tmp_path: Path) -> None:
    log = LogFiles(tmp_path)
    log.write("checkpoint", b"x")
    assert log.read("checkpoint/below") is None


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a//b", "", "a/../b", ".", "a\0b"])
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(VerificationError):
        LogFiles(tmp_path).write(path, b"x")
    with pytest.raises(VerificationError):
        LogFiles(tmp_path).read(path)
