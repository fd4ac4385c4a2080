"""What every `Journal` promises, held to each adapter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from residency.adapters.journal_files import JournalFiles
from residency.adapters.journal_memory import JournalMemory
from residency.enforcement.ports import Journal
from residency.errors import JournalFailed, JournalFull

Make = Callable[[], Journal]


@pytest.fixture(params=["memory", "files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    opened: list[Journal] = []

    def build() -> Journal:
        journal: Journal
        if request.param == "memory":
            journal = JournalMemory(slot=len(opened))
        else:
            journal = JournalFiles(tmp_path / "journal", segment_bytes=1024 * 1024).open()
        opened.append(journal)
        return journal

    yield build
    for journal in opened:
        journal.close()


def test_numbers_count_from_zero_without_a_gap(make: Make) -> None:
    journal = make()
    assert journal.next_seq == 0
    assert [journal.append(b"entry %d" % i) for i in range(100)] == list(range(100))
    assert journal.next_seq == 100


def test_two_journals_never_share_a_slot(make: Make) -> None:
    assert make().slot != make().slot


def test_the_largest_entry_fits_and_a_larger_or_an_empty_one_is_refused(make: Make) -> None:
    journal = make()
    assert journal.append(b"x" * 65_535) == 0
    for payload in (b"", b"x" * 65_536):
        with pytest.raises(JournalFailed):
            journal.append(payload)
    assert journal.next_seq == 1


def test_what_was_appended_can_be_made_durable_and_nothing_else(make: Make) -> None:
    journal = make()
    with pytest.raises(JournalFailed):
        journal.sync(0)
    journal.append(b"entry")
    journal.sync(0)
    journal.sync(0)  # at once
    for seq in (1, -1):
        with pytest.raises(JournalFailed):
            journal.sync(seq)


def test_a_journal_with_room_is_ready(make: Make) -> None:
    make().ready()


def test_a_closed_journal_refuses_everything_and_closes_again(make: Make) -> None:
    journal = make()
    journal.append(b"entry")
    journal.close()
    journal.close()
    with pytest.raises(JournalFailed):
        journal.append(b"entry")
    with pytest.raises(JournalFailed):
        journal.ready()
    with pytest.raises(JournalFailed):
        journal.sync(0)


def test_threads_get_distinct_numbers_and_all_become_durable(make: Make) -> None:
    journal = make()
    numbers: list[int] = []

    def work() -> None:
        for _ in range(200):
            seq = journal.append(b"entry")
            if seq % 50 == 0:
                journal.sync(seq)
            numbers.append(seq)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1600))
    journal.sync(1599)


def test_a_full_journal_in_memory_refuses_before_and_at_the_append() -> None:
    journal = JournalMemory(capacity=110, entry_limit=60)
    journal.ready()
    journal.append(b"x" * 60)
    with pytest.raises(JournalFull):
        journal.ready()
    with pytest.raises(JournalFull):
        journal.append(b"x" * 60)
    assert journal.append(b"x") == 1


def test_a_failed_journal_in_memory_refuses_of_what_is_durable_too() -> None:
    journal = JournalMemory()
    journal.append(b"x")
    journal.sync(0)
    journal.fail()
    with pytest.raises(JournalFailed):
        journal.append(b"x")
    with pytest.raises(JournalFailed):
        journal.sync(0)
