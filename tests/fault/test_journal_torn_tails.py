"""A journal whose last bytes are cut, zeroed or garbled at every offset goes on, or says which file and where."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from residency.adapters.journal_files import JournalFiles
from residency.audit.journal import RECORDS_AT, record_size
from residency.errors import JournalCorrupt, JournalFailed
from tests.log_bytes import check_trail
from tests.write_path import make_sequencer, memory_or, open_journal, payload

COUNT = 6
ENDS = [RECORDS_AT]
for _seq in range(COUNT):
    ENDS.append(ENDS[-1] + record_size(len(payload(0, _seq))))

Change = Callable[[bytearray, int], None]


def cut(data: bytearray, at: int) -> None:
    """The rest of the file was never written back."""
    data[at:] = bytes(len(data) - at)


def zero(data: bytearray, at: int) -> None:
    data[at : at + 8] = bytes(8)


def garble(data: bytearray, at: int) -> None:
    for i in range(at, min(at + 3, len(data))):
        data[i] ^= 0x5A


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: these are hundreds of recoveries."""
    with TemporaryDirectory(dir=memory_or(tmp_path)) as name:
        yield Path(name)


@pytest.fixture
def left(place: Path) -> Path:
    """What `kill -9` leaves of `COUNT` entries, the first two of which are in the log."""
    journal, sequencer = open_journal(place / "life"), make_sequencer(place / "life")
    for seq in range(COUNT):
        journal.append(payload(0, seq))
        if seq == 1:
            journal.sync(1)
            sequencer.tick()
    shutil.copytree(place / "life", place / "left")
    sequencer.stop()
    journal.close()
    return place / "left"


def try_to_open(folder: Path) -> JournalFiles | str:
    """The journal, or why it does not open."""
    try:
        return open_journal(folder)
    except JournalCorrupt as error:
        return str(error)


@pytest.mark.parametrize("change", [cut, zero, garble])
def test_a_tail_that_is_spoilt_at_any_offset_is_recovered_or_named(left: Path, place: Path, change: Change) -> None:
    whole = (left / "journal/0/00000000.seg").read_bytes()
    outcomes = {"recovered": 0, "refused": 0}
    for at in range(ENDS[-3], ENDS[-1] + 16):
        folder = place / f"at{at}"
        shutil.copytree(left, folder)
        data = bytearray(whole)
        change(data, at)
        (folder / "journal/0/00000000.seg").write_bytes(data)
        hit = sum(end <= at for end in ENDS) - 1  # the record that was spoilt
        journal = try_to_open(folder)
        if isinstance(journal, str):
            # Whole records follow the spoilt one: a kill does not do that, and no page is missing.
            assert journal.startswith("0/00000000.seg: the record at offset")
            assert hit < COUNT - 1
            assert change is not cut
            outcomes["refused"] += 1
        else:
            kept = journal.next_seq
            assert kept >= hit, f"whole records before offset {at} were given up"
            assert journal.append(payload(0, kept)) == kept
            sequencer = make_sequencer(folder)
            sequencer.tick()
            sequencer.stop()
            journal.close()
            _, entries = check_trail(folder)
            assert entries == [payload(0, seq) for seq in range(kept + 1)], at
            outcomes["recovered"] += 1
        shutil.rmtree(folder)
    print(change.__name__, outcomes)
    assert outcomes["recovered"] > 40
    assert (outcomes["refused"] > 30) == (change is not cut)


@pytest.mark.parametrize("size", [0, 64, 127, 128, 4096, 8191])
def test_a_segment_that_is_shorter_than_it_says_is_refused_with_its_name(left: Path, size: int) -> None:
    path = left / "journal/0/00000000.seg"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises((JournalCorrupt, JournalFailed), match=r"0/00000000\.seg"):
        open_journal(left)
    sequencer = make_sequencer(left)
    with pytest.raises(JournalCorrupt, match=r"slot 0 stands: 0/00000000\.seg"):
        sequencer.tick()
    sequencer.stop()
