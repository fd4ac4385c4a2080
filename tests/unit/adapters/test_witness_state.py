"""A witness's memory is one log's, one process's at a time, and survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.witness_state import WitnessState
from residency.errors import Unavailable


def test_each_origin_has_a_memory_of_its_own(tmp_path: Path) -> None:
    for origin in ("a.example", "b.example/../a"):
        with WitnessState.holding(tmp_path, origin, LogFiles) as memory:
            assert memory.recall() is None
            memory.remember(origin.encode())
    for origin in ("a.example", "b.example/../a"):
        with WitnessState.holding(tmp_path, origin, LogFiles) as memory:
            assert memory.recall() == origin.encode()
    assert len(list(tmp_path.iterdir())) == 2


def test_of_two_that_hold_one_memory_the_second_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    with (
        WitnessState.holding(tmp_path, "a.example", LogFiles),
        pytest.raises(Unavailable, match="another process"),
        WitnessState.holding(tmp_path, "a.example", LogFiles),
    ):
        pytest.fail("held twice")
    with WitnessState.holding(tmp_path, "a.example", LogFiles), WitnessState.holding(tmp_path, "b.example", LogFiles):
        pass


def test_what_is_refused_is_kept_once_and_the_memory_stays(tmp_path: Path) -> None:
    with WitnessState.holding(tmp_path, "a.example", LogFiles) as memory:
        memory.remember(b"seen")
        kept = memory.refuse(b"seen", b"now")
        assert memory.refuse(b"seen", b"now") == kept
        assert ((kept / "seen").read_bytes(), (kept / "now").read_bytes()) == (b"seen", b"now")
        assert memory.refuse(b"seen", b"other") != kept
        assert memory.recall() == b"seen"
    assert kept.parent.parent.stat().st_mode & 0o077 == 0
