"""The acts of the whole log without an outcome are known to whichever sequencer works, whoever died meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from residency.adapters.log_files import LogFiles
from residency.adapters.sequencer import opened
from residency.adapters.sequencer.opened import Opened
from residency.audit.entry import format_entry
from residency.audit.open_intents import OPEN_INTENTS_PATH
from tests.audit_log import INTENT, ORIGIN, write_log

SIZE = 700
LOG = [
    format_entry(replace(INTENT, id=f"0.{n}", at=n + 1, kind="intent" if n % 7 == 0 else "decision"))
    for n in range(SIZE)
]
OPEN = SIZE // 7


class Counting(LogFiles):
    """Counts what is read, and fails where it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reads = 0
        self.full = False

    def read(self, path: str) -> bytes | None:
        self.reads += 1
        return super().read(path)

    def write_all(self, files: Iterable[tuple[str, bytes]]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write_all(files)


def follower(folder: Path) -> tuple[Opened, Counting, Counting]:
    log, state = Counting(folder / "log"), Counting(folder)
    return Opened(log.read, state, ORIGIN), log, state


def told(found: Opened) -> tuple[int, int | None] | None:
    return None if found.whole is None else (found.whole.count, found.whole.oldest)


def test_who_takes_over_after_a_kill_reads_the_log_some_at_each_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "log", LOG)
    monkeypatch.setattr(opened, "_AT_ONCE", 1)
    heir, log, _ = follower(tmp_path)
    for _ in range(2):
        heir.catch_up(SIZE)
        assert heir.whole is None
    heir.catch_up(SIZE)
    assert told(heir) == (OPEN, 1)
    assert log.reads == 3
    heir.catch_up(SIZE)
    assert log.reads == 3


def test_what_is_committed_is_known_without_reading_it_back(tmp_path: Path) -> None:
    write_log(tmp_path / "log", LOG)
    found, log, _ = follower(tmp_path)
    found.catch_up(0)
    found.committed(0, LOG[:300])
    found.catch_up(300)
    found.committed(300, LOG[300:])
    found.catch_up(SIZE)
    assert (told(found), log.reads) == ((OPEN, 1), 0)
    found.committed(SIZE, [format_entry(replace(INTENT, id="0.700", kind="outcome", act="failed", of="0.0"))])
    found.catch_up(SIZE + 1)
    assert told(found) == (OPEN - 1, 8)


def test_a_commit_of_which_nobody_heard_is_read_back(tmp_path: Path) -> None:
    write_log(tmp_path / "log", LOG)
    found, _, _ = follower(tmp_path)
    found.catch_up(0)
    found.committed(0, LOG[:300])
    found.committed(400, LOG[400:])  # between them one failed after its state was written
    found.catch_up(SIZE)
    assert told(found) == (OPEN, 1)


def test_who_lets_go_leaves_the_next_one_little_to_read(tmp_path: Path) -> None:
    write_log(tmp_path / "log", LOG)
    first, _, _ = follower(tmp_path)
    first.catch_up(600)  # no partial bundle of that width is there: the log is another size
    assert first.whole is None
    first.catch_up(SIZE)
    first.let_go()
    assert first.whole is None
    heir, log, _ = follower(tmp_path)
    heir.catch_up(SIZE)
    assert (told(heir), log.reads) == ((OPEN, 1), 0)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{}"])
def test_a_file_that_is_damaged_is_done_without(tmp_path: Path, data: bytes) -> None:
    write_log(tmp_path / "log", LOG)
    (tmp_path / OPEN_INTENTS_PATH).write_bytes(data)
    found, _, _ = follower(tmp_path)
    found.catch_up(SIZE)
    assert told(found) == (OPEN, 1)


def test_a_file_that_is_ahead_of_a_log_that_was_put_back_is_done_without(tmp_path: Path) -> None:
    write_log(tmp_path / "log", LOG)
    first, _, _ = follower(tmp_path)
    first.catch_up(SIZE)
    first.let_go()
    write_log(tmp_path / "log", LOG[:70])
    found, _, _ = follower(tmp_path)
    found.catch_up(70)
    assert told(found) == (10, 1)


def test_it_is_saved_now_and_then_and_a_full_disk_hinders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path / "log", LOG)
    monkeypatch.setattr(opened, "_SAVE_ENTRIES", 500)
    found, _, state = follower(tmp_path)
    found.catch_up(0)
    state.full = True
    found.committed(0, LOG)
    found.catch_up(SIZE)
    assert not (tmp_path / OPEN_INTENTS_PATH).exists()
    state.full = False
    found.catch_up(SIZE)
    assert (tmp_path / OPEN_INTENTS_PATH).exists()
    assert told(found) == (OPEN, 1)


def test_a_log_that_cannot_be_read_back_leaves_it_unknown(tmp_path: Path) -> None:
    write_log(tmp_path / "log", LOG)
    (tmp_path / "log/tile/entries/001").unlink()
    found, _, _ = follower(tmp_path)
    found.catch_up(SIZE)
    assert found.whole is None
    write_log(tmp_path / "log", LOG)
    found.catch_up(SIZE)
    assert told(found) == (OPEN, 1)


def test_a_forked_child_begins_anew(tmp_path: Path) -> None:
    found, _, _ = follower(tmp_path)
    found.catch_up(0)
    found.forget()
    assert found.whole is None
