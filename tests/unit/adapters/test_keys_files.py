"""Key files are made once, for their owner alone, and refused where that no longer holds."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from residency.adapters.keys_files import KeysFiles
from residency.errors import KeysUnavailable


def test_a_new_key_is_0600_in_a_0700_folder_that_version_control_leaves_alone(tmp_path: Path) -> None:
    KeysFiles(tmp_path / "keys", create=True).secret("pins")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys/pins.secret").stat().st_mode) == 0o600
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {".gitignore", "pins.secret"}
    assert (tmp_path / "keys/.gitignore").read_text() == "*\n"
    assert stat.S_IMODE((tmp_path / "keys/.gitignore").stat().st_mode) == 0o600


def test_a_key_outlives_the_store_that_made_it(tmp_path: Path) -> None:
    made = KeysFiles(tmp_path, create=True).signing_key("log").private_bytes_raw()
    assert KeysFiles(tmp_path).signing_key("log").private_bytes_raw() == made


def test_of_many_makers_at_once_one_wins_and_all_read_its_key(tmp_path: Path) -> None:
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(KeysFiles(tmp_path / "k", create=True).secret("s")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    KeysFiles(tmp_path, create=True).secret("pins")
    (tmp_path / "pins.secret").chmod(mode)
    with pytest.raises(KeysUnavailable, match=r"pins\.secret is open to others"):
        KeysFiles(tmp_path).secret("pins")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "pins.secret"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(KeysUnavailable, match="is not 32 bytes"):
        KeysFiles(tmp_path, create=True).secret("pins")


def test_a_key_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    KeysFiles(tmp_path / "elsewhere", create=True).secret("pins")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/pins.secret").symlink_to(tmp_path / "elsewhere/pins.secret")
    with pytest.raises(KeysUnavailable):
        KeysFiles(tmp_path / "keys").secret("pins")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(KeysUnavailable):
        KeysFiles(tmp_path / "keys", create=True).secret("pins")
