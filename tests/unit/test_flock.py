"""Lock: one holder at a time, nobody's after its holder's end, and never a forked child's."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from residency.flock import Lock


def test_one_holds_it_at_a_time_and_it_may_be_taken_twice_and_released_twice(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    first, second = Lock(path), Lock(path)
    assert first.take()
    assert first.take()
    assert not second.take()
    assert (first.held, second.held) == (True, False)
    first.release()
    first.release()
    assert not first.held
    assert second.take()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_cannot_be_opened_is_told_and_is_not_held(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    with pytest.raises(IsADirectoryError):
        lock.take()
    assert not lock.held


def test_the_child_of_a_fork_does_not_hold_what_its_parent_holds(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    assert lock.take()
    child = os.fork()
    if child == 0:
        os._exit(int(lock.held))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not Lock(tmp_path / "lock").take()


def test_a_child_that_outlives_its_parent_keeps_nobody_from_taking_over(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    reading, writing = os.pipe()
    holder = os.fork()
    if holder == 0:
        lock.take()
        if os.fork() == 0:
            os.write(writing, os.getpid().to_bytes(4, "big"))
        signal.pause()
    child = int.from_bytes(os.read(reading, 4), "big")
    try:
        assert not lock.take()
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        assert lock.take()
    finally:
        os.kill(child, signal.SIGKILL)
        os.close(reading)
        os.close(writing)
