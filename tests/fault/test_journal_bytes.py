"""A journal whose last bytes were torn goes on; one whose middle was changed does not open."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.adapters.journal_files import JournalFiles
from residency.audit.journal import MARK_AT, RECORDS_AT, format_mark, record_size, scan
from residency.errors import JournalCorrupt

SIZE = 4096
PAYLOADS = [b"one", b"two" * 20, b"three" * 5]
LAST = RECORDS_AT + record_size(3) + record_size(60)
END = LAST + record_size(25)


def build(folder: Path) -> tuple[Path, bytes]:
    """A journal as `kill -9` leaves it: stored, nothing synchronised."""
    journal = open_journal(folder)
    for payload in PAYLOADS:
        journal.append(payload)
    path = folder / "0/00000000.seg"
    data = bytearray(path.read_bytes())
    journal.close()
    data[MARK_AT : MARK_AT + 8] = format_mark(RECORDS_AT)
    return path, bytes(data)


def open_journal(folder: Path) -> JournalFiles:
    return JournalFiles(folder, segment_bytes=SIZE, entry_limit=100).open()


def test_a_tail_torn_at_every_byte_of_the_last_record_recovers_to_the_records_before(tmp_path: Path) -> None:
    path, whole = build(tmp_path)
    for cut in range(LAST, LAST + 16 + 25):
        path.write_bytes(whole[:cut].ljust(SIZE, b"\0"))
        journal = open_journal(tmp_path)
        try:
            assert journal.next_seq == 2, cut
            assert journal.append(b"again") == 2
            found = scan(path.read_bytes(), RECORDS_AT, 0).records
            assert [record.payload for record in found] == [*PAYLOADS[:2], b"again"]
        finally:
            journal.close()


def test_a_torn_tail_whose_bytes_arrived_out_of_order_recovers_too(tmp_path: Path) -> None:
    path, whole = build(tmp_path)
    for start in range(LAST, END - 8):
        data = bytearray(whole)
        data[start : start + 4] = b"\xaa\xbb\xcc\xdd"
        path.write_bytes(bytes(data))
        journal = open_journal(tmp_path)
        assert journal.next_seq == 2
        journal.close()


@settings(max_examples=60)
@given(bit=st.integers(0, LAST * 8 - 1))
def test_a_bit_flipped_anywhere_before_the_last_record_stops_the_opening(
    tmp_path_factory: pytest.TempPathFactory, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    path, whole = build(folder)
    data = bytearray(whole)
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))
    with pytest.raises(JournalCorrupt, match=r"00000000\.seg"):
        open_journal(folder)
