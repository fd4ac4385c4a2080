"""A disk that fails or is full at any one call: what was acknowledged stays, and what is refused names the file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.write_path import NAMES_A_FILE, Lives, calls, every_kill, recover_and_check

pytestmark = pytest.mark.needs("strace")

TOUCH_THE_DISK = (
    "write", "pwrite64", "pread64", "fsync", "fdatasync", "fallocate", "rename", "openat", "mkdir", "unlink",
    "unlinkat", "rmdir", "mmap", "getdents64", "flock",
)  # fmt: skip


def clean(lives: Lives) -> Counter[str]:
    folder, code, log = lives.run("faults")
    assert code == 0
    assert not (folder / "refused").exists()
    return Counter({name: count for name, count in calls(log).items() if name in TOUCH_THE_DISK})


def try_each(lives: Lives, kind: str, at: Iterable[tuple[str, int]]) -> int:
    """Let the disk answer with `kind` at each (call, N) of `at`; how many of these refused something."""
    wrong, refusing = [], 0
    for name, number in at:
        folder, code, log = lives.run("faults", "-e", "trace=all", "-e", f"inject={name}:error={kind}:when={number}")
        assert "(INJECTED)" in log, f"{name} {number} was not reached"
        refused = (folder / "refused").read_text().splitlines() if (folder / "refused").exists() else []
        try:
            outcome = recover_and_check(folder)
        except Exception as error:  # noqa: BLE001 - all of them are wanted, not the first
            outcome = repr(error)
            wrong.append((kind, name, number, outcome))
        print(f"{kind} at {name} {number}: {len(refused)} refused, {outcome} {refused[:1]}")
        silent = [words for words in refused if not NAMES_A_FILE.search(words) or str(folder.parent) in words]
        if name == "mmap":  # of a file, or of a new thread's stack
            silent = [words for words in silent if "its helper cannot be started" not in words]
        if code or silent:
            wrong.append((kind, name, number, f"{code} {silent}"))
        refusing += bool(refused)
        shutil.rmtree(folder)
    assert wrong == []
    return refusing


def test_an_error_at_some_calls_of_every_kind_loses_nothing_and_names_the_file(tmp_path: Path) -> None:
    with Lives(tmp_path) as lives:
        every = list(every_kill(clean(lives), 40))
        for kind, part in (("EIO", every[::2]), ("ENOSPC", every[1::2])):
            assert try_each(lives, kind, part) > len(part) / 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["EIO", "ENOSPC"])
def test_an_error_at_every_single_call_loses_nothing_and_names_the_file(tmp_path: Path, kind: str) -> None:
    with Lives(tmp_path) as lives:
        assert try_each(lives, kind, every_kill(clean(lives), 1)) > 100
