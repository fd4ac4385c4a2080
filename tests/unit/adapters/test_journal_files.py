"""A journal on disk keeps its slot to itself, goes on where it was, and says when there is no room."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from residency.adapters.journal_files import JournalFiles
from residency.audit.journal import MARK_AT, RECORDS_AT, format_mark, parse_mark, record_size, scan
from residency.errors import JournalCorrupt, JournalFailed, JournalFull

PAGE = 4096
# Newer Pythons warn of a fork beside threads; what becomes of the threads is what these tests are about.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "journal"
    for journal in _opened:
        journal.close()
    _opened.clear()


_opened: list[JournalFiles] = []


def open_journal(folder: Path, segment_bytes: int = 4 * PAGE, entry_limit: int = 1000) -> JournalFiles:
    # Nothing becomes durable by itself while a test looks, however long it was not let run.
    journal = JournalFiles(folder, segment_bytes=segment_bytes, entry_limit=entry_limit, max_loss=60).open()
    _opened.append(journal)
    return journal


def fill(journal: JournalFiles, payload: bytes, *, ask: bool = False) -> int:
    """Append until the journal is full, asking `ready` before each one if told to; how many went in."""
    for count in range(100_000):
        try:
            if ask:
                journal.ready()
            journal.append(payload)
        except JournalFull:
            return count
    raise AssertionError("the journal never became full")


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "0").glob("*.seg"))


def recorded(folder: Path) -> list[bytes]:
    return [r.payload for path in segments(folder) for r in scan(path.read_bytes(), RECORDS_AT, None).records]


def test_the_lowest_free_slot_is_claimed_and_comes_free_again(folder: Path) -> None:
    first, second, third = (open_journal(folder) for _ in range(3))
    assert [first.slot, second.slot, third.slot] == [0, 1, 2]
    second.close()
    assert open_journal(folder).slot == 1


def test_a_reopened_journal_goes_on_with_the_next_number(folder: Path) -> None:
    journal = open_journal(folder)
    for i in range(5):
        journal.append(b"entry %d" % i)
    journal.close()
    again = open_journal(folder)
    assert (again.slot, again.next_seq) == (0, 5)
    assert again.append(b"entry 5") == 5
    assert recorded(folder) == [b"entry %d" % i for i in range(6)]


def test_entries_run_over_many_segments_and_restarts_without_a_gap(folder: Path) -> None:
    payloads = [b"%d " % i + b"x" * (i * 37 % 990) for i in range(300)]
    for start in range(0, 300, 60):
        journal = open_journal(folder)
        assert journal.next_seq == start
        for payload in payloads[start : start + 60]:
            journal.append(payload)
            if len(payload) % 7 == 0:
                journal.sync(journal.next_seq - 1)
        journal.close()
    assert recorded(folder) == payloads
    assert len(segments(folder)) > 5


def test_full_segments_are_let_go_though_nobody_synchronises(folder: Path) -> None:
    journal = open_journal(folder)
    for i in range(200):
        journal.append(b"%d " % i + b"x" * 900)
    until = time.monotonic() + 30
    while journal._full and time.monotonic() < until:
        time.sleep(0.01)
    assert not journal._full
    assert len(recorded(folder)) == 200


def test_what_was_synchronised_is_marked_as_durable(folder: Path) -> None:
    journal = open_journal(folder)
    journal.append(b"one")
    mark = parse_mark(segments(folder)[0].read_bytes()[MARK_AT : MARK_AT + 8], "s")
    assert mark == RECORDS_AT
    journal.sync(0)
    mark = parse_mark(segments(folder)[0].read_bytes()[MARK_AT : MARK_AT + 8], "s")
    assert mark == RECORDS_AT + record_size(3)


def test_a_spare_segment_lies_ready_before_it_is_needed(folder: Path) -> None:
    journal = open_journal(folder)
    journal._allocate()
    assert [path.name for path in segments(folder)] == ["00000000.seg", "00000001.seg"]
    assert all(path.stat().st_blocks * 512 >= 4 * PAGE for path in segments(folder))


@FORKS
def test_a_forked_child_cannot_write_into_its_parents_slot(folder: Path) -> None:
    journal = open_journal(folder)
    journal.append(b"parent")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            journal.append(b"child")
            os.write(write, b"it could append")
        except JournalFailed as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"before the fork" in os.read(read, 1000)
    os.close(read)
    os.close(write)
    assert journal.append(b"parent") == 1
    assert recorded(folder) == [b"parent", b"parent"]


@FORKS
def test_a_slot_comes_free_with_its_worker_though_a_forked_child_lives_on(folder: Path) -> None:
    journal = open_journal(folder)
    wake_read, wake_write = os.pipe()
    born_read, born_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(wake_write)
        os.write(born_write, b"!")
        os.read(wake_read, 1)
        os._exit(0)
    os.read(born_read, 1)  # the child lets go as it is born, not as its parent returns from fork
    journal.close()
    assert open_journal(folder).slot == 0
    for fd in (wake_write, wake_read, born_read, born_write):
        os.close(fd)
    os.waitpid(child, 0)


def test_a_segment_that_cannot_be_added_makes_the_journal_full_and_not_broken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_fd: int, _offset: int, _length: int) -> None:
        raise OSError(28, "No space left on device")

    journal = open_journal(folder)
    journal._allocate()
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    written = fill(journal, b"x" * 900)
    with pytest.raises(JournalFull, match="ENOSPC"):
        journal.ready()
    assert journal.next_seq == written
    assert journal.append(b"y" * 16) == written  # what fits into the rest still goes there
    monkeypatch.undo()
    journal.ready()
    assert journal.append(b"x" * 900) == written + 1
    assert len(recorded(folder)) == written + 2


def test_ready_refuses_while_there_is_still_room_for_acts_already_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_fd: int, _offset: int, _length: int) -> None:
        raise OSError(28, "No space left on device")

    journal = open_journal(folder)
    journal._allocate()
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    admitted = fill(journal, b"intent" * 10, ask=True)
    for _ in range(4 * PAGE // 4 // record_size(60)):
        journal.append(b"outcome" * 8)
    assert admitted > 0


def test_a_failed_fdatasync_breaks_the_journal_for_good(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    journal = open_journal(folder)
    journal.append(b"one")
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(JournalFailed, match="EIO"):
        journal.sync(0)
    monkeypatch.undo()
    for call in (lambda: journal.append(b"two"), journal.ready, lambda: journal.sync(0)):
        with pytest.raises(JournalFailed, match="EIO"):
            call()
    journal.close()
    again = open_journal(folder)
    assert again.next_seq == 1


def test_a_changed_byte_in_a_durable_record_stops_the_opening_and_names_the_file(folder: Path) -> None:
    journal = open_journal(folder)
    for _ in range(3):
        journal.append(b"payload")
    journal.close()
    path = segments(folder)[0]
    data = bytearray(path.read_bytes())
    data[RECORDS_AT + 18] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalCorrupt, match=r"0/00000000\.seg.*offset 128"):
        open_journal(folder)


def test_a_truncated_segment_stops_the_opening(folder: Path) -> None:
    open_journal(folder).close()
    os.truncate(segments(folder)[0], 2 * PAGE)
    with pytest.raises(JournalCorrupt, match="size"):
        open_journal(folder)


def test_a_segment_that_a_power_cut_tore_from_the_one_before_is_given_up_if_none_of_it_was_durable(
    folder: Path,
) -> None:
    journal = open_journal(folder)
    journal._allocate()
    while not any(segments(folder)[1].read_bytes()[RECORDS_AT:]):
        journal.append(b"x" * 500)
    journal.close()
    first, second = segments(folder)[:2]
    kept = 3
    data = bytearray(first.read_bytes())
    end = RECORDS_AT + kept * record_size(500)
    data[end:] = bytes(len(data) - end)
    data[MARK_AT : MARK_AT + 8] = format_mark(RECORDS_AT)
    first.write_bytes(data)
    with pytest.raises(JournalCorrupt, match="do not continue"):
        open_journal(folder)
    data = bytearray(second.read_bytes())
    data[MARK_AT : MARK_AT + 8] = format_mark(RECORDS_AT)
    second.write_bytes(data)
    assert open_journal(folder).next_seq == kept
    assert not any(second.read_bytes()[RECORDS_AT:])


@pytest.mark.parametrize(("segment_bytes", "entry_limit"), [(1000, 100), (PAGE, 65_535), (0, 1)])
def test_a_segment_size_that_cannot_serve_is_refused(tmp_path: Path, segment_bytes: int, entry_limit: int) -> None:
    with pytest.raises(JournalFailed):
        JournalFiles(tmp_path, segment_bytes=segment_bytes, entry_limit=entry_limit)


def test_a_journal_that_was_never_opened_refuses(tmp_path: Path) -> None:
    journal = JournalFiles(tmp_path)
    with pytest.raises(JournalFailed, match="not open"):
        journal.append(b"x")
    journal.close()


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def mark_of(folder: Path) -> int:
    return parse_mark(segments(folder)[0].read_bytes()[MARK_AT : MARK_AT + 8], "s")


def test_what_nobody_waits_for_becomes_durable_all_the_same(folder: Path) -> None:
    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=0.05).open()
    _opened.append(journal)
    for count in (1, 2):
        journal.append(b"one")
        expected = RECORDS_AT + count * record_size(3)
        wait_until(lambda expected=expected: mark_of(folder) == expected)  # type: ignore[misc]


def test_a_disk_that_makes_nothing_durable_in_time_refuses_acts_and_takes_outcomes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answer = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow(fd: int) -> None:
        asked.set()
        assert answer.wait(30)
        sync(fd)

    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=0.1, stuck_after=60).open()
    _opened.append(journal)
    wait_until(lambda: not journal._tending)
    monkeypatch.setattr(os, "fdatasync", slow)
    journal.append(b"intent")
    assert asked.wait(30)
    wait_until(journal._is_late)
    with pytest.raises(JournalFailed, match="max_loss"):
        journal.ready()
    assert journal.append(b"outcome") == 1
    answer.set()
    wait_until(lambda: journal._durable == 2)
    journal.ready()


def test_a_helper_that_slept_long_does_not_make_a_fresh_entry_late(folder: Path) -> None:
    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=20).open()
    _opened.append(journal)
    journal.append(b"one")
    journal.sync(0)
    journal._clear_at -= 1000  # nothing was recorded for a quarter of an hour, nor did the helper run
    journal.append(b"two")
    journal._tending = True
    journal.ready()
    journal._clear_at -= 21
    with pytest.raises(JournalFailed, match="max_loss"):
        journal.ready()


def test_a_disk_that_never_answers_refuses_everything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=0.01, stuck_after=0.05).open()
    monkeypatch.setattr(os, "fdatasync", lambda _fd: answer.wait(60))
    journal.append(b"one")
    wait_until(lambda: journal._flushing_since is not None and time.monotonic() - journal._flushing_since > 0.05)
    for call in (journal.ready, lambda: journal.append(b"two"), lambda: journal.sync(0)):
        with pytest.raises(JournalFailed, match="does not answer"):
            call()
    journal.close()  # comes back, though the disk does not
    assert journal._helper.is_alive()
    answer.set()


def test_a_flush_that_fails_refuses_though_nobody_waited_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=0.02).open()
    _opened.append(journal)

    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    journal.append(b"one")
    wait_until(lambda: journal._failed is not None)
    for call in (journal.ready, lambda: journal.append(b"two")):
        with pytest.raises(JournalFailed, match=r"0/00000000\.seg \(EIO\)"):
            call()


def test_a_mistake_in_the_helper_refuses_and_is_not_a_helper_that_went_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=0.02).open()
    _opened.append(journal)
    monkeypatch.setattr(journal, "_allocate", lambda: 1 // 0)
    wait_until(lambda: not journal._helper.is_alive())
    with pytest.raises(JournalFailed, match="ZeroDivisionError"):
        journal.ready()


def test_a_journal_whose_helper_cannot_be_started_is_not_open_and_keeps_no_slot(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    journal = JournalFiles(folder)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fails)
        with pytest.raises(JournalFailed, match="helper cannot be started"):
            journal.open()
    with pytest.raises(JournalFailed, match="not open"):
        journal.append(b"x")
    journal.close()
    assert open_journal(folder).slot == 0


def test_what_the_watch_says_bars_acts_and_not_their_outcomes_until_it_says_no_more(folder: Path) -> None:
    journal = JournalFiles(folder, segment_bytes=4 * PAGE, entry_limit=1000, max_loss=3600).open()
    _opened.append(journal)
    why: list[str | None] = [None]
    asked = threading.Event()

    def watch() -> str | None:
        asked.set()
        return why[0]

    journal.watched(watch)
    assert asked.wait(30)  # at once, and every second though flushes are an hour apart
    journal.ready()
    why[0] = "the log does not follow"
    wait_until(lambda: journal._barred is not None)
    with pytest.raises(JournalFailed, match="the log does not follow"):
        journal.ready()
    journal.append(b"an outcome")
    why[0] = None
    wait_until(lambda: journal._barred is None)
    journal.ready()
