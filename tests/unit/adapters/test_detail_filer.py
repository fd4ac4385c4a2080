"""What is recorded in a country's journals is filed once, whoever files, and erased bytes leave the journals too."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest

from residency.adapters.clock_manual import ManualClock
from residency.adapters.detail_filer import DetailFiler, moments
from residency.adapters.detail_files import DetailFiles, journal_records, turn_over
from residency.adapters.detail_store import DetailStore
from residency.adapters.journal_files import JournalFiles
from residency.audit.detail import commit, format_detail
from residency.audit.detail_head import Head
from residency.audit.detail_time import Moment
from residency.errors import JournalCorrupt, JournalFailed

SEGMENT = 1 << 18
DAY = 86_400_000_000
KEY = bytes(range(32))


class Place:
    """One country's folder, as one worker and the filer see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.store = DetailStore(folder / "details.db")
        self.now = moments(self.clock)
        self.filer = DetailFiler(folder, self.store, self.now)
        self.count = 0

    def worker(self) -> JournalFiles:
        return JournalFiles(self.folder / "journal", segment_bytes=SEGMENT).open()

    def record(self, journal: JournalFiles, number: int = 1, *, days: int = 90) -> list[str]:
        """Record this many details, due in so many days; their entry ids."""
        files = DetailFiles({"VN": journal}, lambda country: KEY, os.urandom)
        entries = []
        for _ in range(number):
            self.count += 1
            detail = format_detail({"account": f"person-{self.count}"}, os.urandom(16))
            now = self.clock.now()
            head = Head("log", f"0.{self.count}", commit(detail), None, now, "none", None, now + days * DAY)
            files.append("VN", head, detail)
            entries.append(head.entry)
        return entries

    @property
    def filed(self) -> list[str]:
        return sorted((head.entry for head, _ in self.store.rows()), key=lambda entry: int(entry[2:]))

    def segments(self, slot: int = 0) -> list[str]:
        return sorted(path.name for path in (self.folder / "journal" / str(slot)).glob("*.seg"))

    def holds(self, sealed: bytes) -> bool:
        """Whether any file of the place holds these bytes."""
        return any(sealed in path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "VN")


def test_what_workers_record_is_filed_while_they_go_on(place: Place) -> None:
    one, two = place.worker(), place.worker()
    entries = place.record(one, 3) + place.record(two, 2)
    assert place.filer.tick() == 5
    assert place.filer.tick() == 0
    entries += place.record(one, 1)
    assert place.filer.tick() == 1
    assert place.filed == sorted(entries)
    one.close()
    two.close()


def test_segments_go_once_they_are_filed_and_not_before(place: Place) -> None:
    journal = place.worker()
    entries = place.record(journal, 2500)  # more than two segments
    before = len(place.segments())
    assert before > 2
    assert place.filer.tick() == 2500
    assert len(place.segments()) <= 2  # the one in use, and its spare
    entries += place.record(journal, 10)
    journal.close()
    journal = place.worker()  # and what is left is enough to go on from
    entries += place.record(journal, 1)
    assert place.filer.tick() == 11
    assert place.filed == entries
    journal.close()


def test_rows_that_are_filed_already_are_not_doubled(place: Place) -> None:
    journal = place.worker()
    entries = place.record(journal, 300)
    place.store.file(list(journal_records(place.folder))[:100], place.now())  # delivered by another way
    assert place.filer.tick() == 200
    assert place.filed == entries
    journal.close()


def test_a_filer_that_died_before_it_let_segments_go_is_gone_on_from(place: Place) -> None:
    journal = place.worker()
    entries = place.record(journal, 1500)
    first = place.folder / "journal" / "0" / "00000000.seg"
    left = first.read_bytes()
    assert place.filer.tick() == 1500
    place.filer.release()
    first.write_bytes(left)
    assert DetailFiler(place.folder, place.store, place.now).tick() == 0
    assert not first.exists()
    assert place.filed == entries
    journal.close()


def test_two_filers_never_work_at_once_and_the_second_takes_over(place: Place) -> None:
    journal = place.worker()
    entries = place.record(journal)
    other = DetailFiler(place.folder, place.store, place.now)
    assert place.filer.tick() == 1
    entries += place.record(journal)
    assert other.tick() is None
    assert not other.active
    place.filer.release()
    assert other.tick() == 1
    assert other.active
    assert place.filed == entries
    other.release()
    journal.close()


def test_a_journal_that_was_exchanged_is_refused_by_name_and_nothing_is_filed(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 3)
    place.filer.tick()
    journal.close()
    for path in (place.folder / "journal" / "0").glob("*.seg"):
        path.unlink()
    journal = place.worker()
    place.record(journal, 1)
    place.filer.release()
    with pytest.raises(JournalCorrupt, match=r"VN/0/00000000\.seg"):
        place.filer.tick()
    assert len(place.filed) == 3
    journal.close()


def test_a_flipped_byte_in_a_journal_is_refused_by_name(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 3)
    journal.close()
    path = place.folder / "journal" / "0" / "00000000.seg"
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalCorrupt, match=r"VN/0/00000000\.seg"):
        place.filer.tick()


def test_what_is_due_is_erased_within_a_minute_of_the_clock(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 1, days=1)
    place.filer.tick()
    place.clock.advance(2 * DAY)
    place.record(journal, 1, days=1)
    place.filer.tick()
    assert place.filed == ["0.2"]
    journal.close()


def test_a_clock_set_ten_years_ahead_and_back_erases_nothing_and_is_told_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    journal = place.worker()
    entries = place.record(journal, 3)
    place.filer.tick()
    right = place.clock.now()
    for _ in range(3):
        place.clock.set_wall(right + 3_650 * DAY)
        place.clock.advance(60_000_000)
        place.filer.tick()
    entries += place.record(journal, 1)
    place.filer.tick()
    assert place.filed == entries
    assert place.filer.apart >= 3_649 * DAY
    assert len(caplog.records) == 1
    assert "details of VN: the clock stands 3650 days ahead of" in caplog.text
    place.clock.set_wall(right + 240_000_000)
    place.clock.advance(60_000_000)
    place.filer.tick()
    assert abs(place.filer.apart) < DAY
    assert place.filed == entries
    place.clock.advance(91 * DAY)  # and what really passes is counted, of those recorded ahead too
    place.filer.tick()
    assert place.filed == []
    place.filer.release()
    assert place.filer.apart == 0
    journal.close()


def test_what_is_recorded_by_a_clock_that_stands_behind_is_kept_for_its_whole_term(place: Place) -> None:
    journal = place.worker()
    place.filer.tick()
    place.record(journal, 1)
    place.filer.tick()
    right = place.clock.now()
    place.clock.set_wall(right - 3_650 * DAY)
    (behind,) = place.record(journal, 1)
    place.filer.tick()
    place.clock.set_wall(right)
    for _ in range(2):
        place.clock.advance(80 * DAY)
        place.filer.tick()
        place.filer.release()
        if place.clock.now() < right + 90 * DAY:
            assert behind in place.filed
    assert place.filed == []
    journal.close()


def test_filers_of_one_boot_count_on_from_each_other_and_those_of_another_do_not(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 1)
    place.filer.tick()
    place.filer.release()
    place.clock.advance(80 * DAY)
    assert place.filer.tick() == 0
    place.filer.release()
    count = place.store.progress().time
    assert count == place.clock.now()
    moment = Moment(place.clock.now() + 20 * DAY, "another boot", 7)
    other = DetailFiler(place.folder, place.store, lambda: moment)
    other._try_tick()
    assert place.store.progress().time == count
    assert other.apart == 20 * DAY
    assert place.filed == ["0.1"]
    journal.close()


def test_what_was_recorded_by_a_clock_ahead_and_erased_turns_its_journal_over_once(place: Place) -> None:
    journal = place.worker()
    turns: list[int] = []

    def turn() -> None:
        turns.append(1)
        turn_over(journal, SEGMENT)

    own = DetailFiler(place.folder, place.store, place.now, slot=journal.slot, turn_over=turn)
    right = place.clock.now()
    place.clock.set_wall(right + 3_650 * DAY)
    place.record(journal, 2)
    own.tick()
    place.clock.set_wall(right)
    sealed = erase(place, "0.1")
    for _ in range(3):
        place.clock.advance(1_000_000)
        own.tick()
    assert len(turns) == 1
    assert not place.holds(sealed)
    own.release()
    journal.close()


def test_a_worker_turns_its_journal_over_once_however_late_another_files(place: Place) -> None:
    journal = place.worker()
    turns: list[int] = []
    place.record(journal, 2)
    place.filer.tick()
    erase(place, "0.1")
    waiting = DetailFiler(place.folder, place.store, place.now, slot=journal.slot, turn_over=lambda: turns.append(1))
    for _ in range(3):
        assert waiting.tick() is None
    assert len(turns) == 1
    place.filer.release()
    journal.close()


def test_what_is_due_before_it_could_be_filed_is_never_filed_and_its_bytes_leave_the_journal(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 1, days=0)
    ((_, sealed),) = journal_records(place.folder)
    journal.close()
    assert place.filer.tick() == 0
    place.clock.advance(60_000_000)
    place.filer.tick()
    assert not place.holds(sealed)


def test_a_journal_is_durable_before_the_store_says_that_it_is_filed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut that took back what counts as filed would have the slot's numbers begin again below it.
    journal = place.worker()
    place.record(journal, 3)
    order: list[str] = []
    flush, file = os.fdatasync, DetailStore.file

    def flushed(fd: int) -> None:
        if threading.current_thread() is threading.main_thread():  # the journal's helper has its own
            order.append("journal")
        flush(fd)

    def filed(store: DetailStore, *rows: Any, **more: Any) -> int:
        order.append("store")
        return file(store, *rows, **more)

    monkeypatch.setattr(os, "fdatasync", flushed)
    monkeypatch.setattr(DetailStore, "file", filed)
    assert place.filer.tick() == 3
    assert order == ["journal", "store"]
    journal.close()


def erase(place: Place, entry: str) -> bytes:
    """Erase one detail from the store; its sealed bytes."""
    ((head, sealed),) = place.store.rows(entry=entry)
    assert place.holds(sealed)
    assert place.store.erase([head]) == 1
    return sealed


def test_erased_bytes_leave_the_journal_of_a_worker_that_goes_on(place: Place) -> None:
    journal = place.worker()
    own = DetailFiler(
        place.folder, place.store, place.now, slot=journal.slot, turn_over=lambda: turn_over(journal, SEGMENT)
    )
    entries = place.record(journal, 3)
    own.tick()
    sealed = erase(place, "0.2")
    assert place.holds(sealed)  # the segment in use still has them
    place.clock.advance(1)
    own.tick()
    assert not place.holds(sealed)
    in_use = place.segments()[0]  # behind it a spare one may come at any time
    entries += place.record(journal, 1)
    own.tick()
    assert place.segments()[0] == in_use  # once, and not at every round
    assert place.filed == [entry for entry in entries if entry != "0.2"]
    own.release()
    journal.close()


def test_erased_bytes_leave_the_journals_of_dead_workers_and_one_that_comes_later_goes_on(place: Place) -> None:
    journal = place.worker()
    entries = place.record(journal, 3)
    journal.close()
    place.filer.tick()
    sealed = erase(place, "0.2")
    place.clock.advance(1)
    place.filer.tick()
    assert not place.holds(sealed)
    journal = place.worker()
    assert journal.next_seq == 4  # three details and one record that only takes room
    entries += place.record(journal, 2)
    assert place.filer.tick() == 2
    assert place.filed == [entry for entry in entries if entry != "0.2"]
    journal.close()


def test_the_journal_of_a_worker_elsewhere_is_not_touched_while_it_lives(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 1)
    place.filer.tick()
    erase(place, "0.1")
    in_use = place.segments()[0]
    place.filer.tick()
    assert place.segments()[0] == in_use
    assert place.store.progress().gone == {0: 0}
    journal.close()


def test_a_filer_that_fails_says_why_and_tries_again(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    journal = place.worker()
    place.record(journal, 1)
    (place.folder / "details.db").mkdir()
    for _ in range(2):
        place.filer._try_tick()
    assert place.filer.problem is not None
    assert "VN/details.db" in place.filer.problem
    assert len(caplog.records) == 1
    (place.folder / "details.db").rmdir()
    place.filer._try_tick()
    assert place.filer.problem is None
    assert place.filed == ["0.1"]
    place.filer.release()
    journal.close()


def test_a_thread_of_its_own_files_what_is_recorded_until_it_is_stopped(place: Place) -> None:
    journal = place.worker()
    place.filer.start()
    place.record(journal, 5)
    place.filer.stop()
    place.filer.stop()
    assert len(place.filed) == 5
    assert not place.filer.active
    journal.close()


def test_a_disk_that_cannot_be_turned_over_fails_the_round_and_not_the_worker(place: Place) -> None:
    journal = place.worker()

    def full() -> None:
        raise JournalFailed("no room")

    own = DetailFiler(place.folder, place.store, place.now, slot=journal.slot, turn_over=full)
    place.record(journal, 1)
    own.tick()
    erase(place, "0.1")
    with pytest.raises(JournalFailed):
        own.tick()
    place.record(journal, 1)
    own.release()
    journal.close()


def test_a_child_born_while_its_parent_files_keeps_nobody_from_taking_over(place: Place) -> None:
    journal = place.worker()
    place.record(journal, 1)
    journal.close()
    assert place.filer.tick() == 1
    read, write = os.pipe()
    born, tell = os.pipe()
    child = os.fork()
    if child == 0:  # lives on until it is told to end
        os.close(write)
        os.write(tell, b"x")
        os.read(read, 1)
        os._exit(0)
    try:
        os.read(born, 1)
        place.filer.release()
        other = DetailFiler(place.folder, place.store, place.now)
        assert other.tick() == 0
        other.release()
    finally:
        for end in (read, write, born, tell):
            os.close(end)
        os.waitpid(child, 0)


def test_who_stands_by_knows_whether_all_is_filed(place: Place) -> None:
    assert not place.filer.behind()
    journal = place.worker()
    place.record(journal, 1)
    assert place.filer.behind()
    place.filer.tick()
    assert not place.filer.behind()
    place.filer.release()
    journal.close()


def test_a_store_that_cannot_grow_leaves_details_in_their_journal_until_it_can(place: Place) -> None:
    journal = place.worker()
    entries = place.record(journal, 20)
    place.filer.tick()
    entries += place.record(journal, 400)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 15, limits[1]))
    try:
        with pytest.raises(JournalFailed, match=r"VN/details\.db"):
            place.filer.tick()
        assert place.filer.behind()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place.filer.tick() == 400
    assert place.filed == entries
    place.filer.release()
    journal.close()


def test_a_slot_that_holds_something_else_stands_and_the_others_are_filed(place: Place) -> None:
    one, two = place.worker(), place.worker()
    place.record(one, 1)
    one.append(b"no detail")
    place.record(two, 1)
    for _ in range(2):
        with pytest.raises(JournalCorrupt, match=r"VN/0/00000000\.seg.*record 1.*version 2"):
            place.filer.tick()
    assert place.filed == ["0.2"]
    place.filer.release()
    one.close()
    two.close()


def test_where_the_system_does_not_tell_its_boot_no_two_count_on_from_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = ManualClock()
    assert moments(clock)().boot == moments(clock)().boot
    monkeypatch.setattr("residency.adapters.detail_filer.clocks._BOOT_ID", tmp_path / "none")
    one, two = moments(clock), moments(clock)
    assert one().boot == one().boot != two().boot
