"""A disk that fills up under the journal shows as a refusal beforehand, and nothing acknowledged is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from residency.adapters.journal_files import JournalFiles
from residency.audit.journal import RECORDS_AT, scan
from residency.errors import JournalFull

SEGMENT = 65_536


def recorded(folder: Path) -> list[bytes]:
    return [
        record.payload
        for path in sorted(folder.glob("*.seg"))
        for record in scan(path.read_bytes(), RECORDS_AT, None).records
    ]


def admit(journal: JournalFiles) -> int:
    """Intent and outcome, as the enforcement point does, until `ready` refuses; how many acts were admitted."""
    for count in range(100_000):
        try:
            journal.ready()
        except JournalFull:
            return count
        journal.append(b"intent %d " % count + b"x" * 300)
        journal.append(b"outcome %d " % count + b"x" * 300)
    raise AssertionError("the disk never became full")


@pytest.mark.needs("tmpfs")
def test_acts_are_refused_before_they_begin_and_every_admitted_one_has_its_outcome(
    tmpfs: Callable[[str], Path],
) -> None:
    disk = tmpfs("300k")
    journal = JournalFiles(disk / "journal", segment_bytes=SEGMENT, entry_limit=4000).open()
    admitted = admit(journal)
    assert admitted > 100
    journal.sync(journal.next_seq - 1)
    entries = recorded(disk / "journal/0")
    assert len(entries) == 2 * admitted == journal.next_seq
    journal.close()
    again = JournalFiles(disk / "journal", segment_bytes=SEGMENT, entry_limit=4000).open()
    assert again.next_seq == 2 * admitted
    with pytest.raises(JournalFull):
        again.ready()
    again.close()


@pytest.mark.needs("tmpfs")
def test_a_journal_goes_on_as_soon_as_there_is_room_again(tmpfs: Callable[[str], Path]) -> None:
    disk = tmpfs("300k")
    filler = disk / "filler"
    filler.write_bytes(bytes(100_000))
    journal = JournalFiles(disk / "journal", segment_bytes=SEGMENT, entry_limit=4000).open()
    admitted = admit(journal)
    filler.unlink()
    journal.ready()
    journal.append(b"and on")
    assert recorded(disk / "journal/0")[-1] == b"and on"
    assert journal.next_seq == 2 * admitted + 1
    journal.close()


@pytest.mark.needs("tmpfs")
def test_a_disk_without_room_for_one_segment_refuses_to_open(tmpfs: Callable[[str], Path]) -> None:
    disk = tmpfs("32k")
    with pytest.raises(JournalFull, match="ENOSPC"):
        JournalFiles(disk / "journal", segment_bytes=SEGMENT, entry_limit=4000).open()
    assert list((disk / "journal/0").glob("*.seg")) == []
