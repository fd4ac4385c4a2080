"""A slot goes on after the last whole record, and never over something that was durable."""

from __future__ import annotations

import pytest

from residency.audit.journal import (
    MARK_AT,
    RECORDS_AT,
    Segment,
    format_mark,
    format_record,
    format_segment,
    record_size,
)
from residency.audit.recovery import Recovery, recover
from residency.errors import JournalCorrupt

SIZE = record_size(20)


def segment(number: int, seqs: range, mark: int = RECORDS_AT) -> tuple[str, bytes]:
    data = bytearray(format_segment(Segment(0, number, 4096)))
    data[MARK_AT : MARK_AT + 8] = format_mark(mark)
    for seq in seqs:
        data += format_record(seq, b"x" * 20)
    return f"0/{number:08d}.seg", bytes(data.ljust(4096, b"\0"))


def test_an_empty_journal_begins_with_zero() -> None:
    assert recover([segment(0, range(0))]) == Recovery(0, 0, ((0, RECORDS_AT, False),))


def test_a_journal_goes_on_in_its_last_segment_that_holds_records() -> None:
    found = recover([segment(4, range(7, 9)), segment(5, range(9, 12)), segment(6, range(0))])
    assert (found.index, found.next_seq) == (1, 12)
    assert found.ends == ((0, RECORDS_AT + 2 * SIZE, False), (1, RECORDS_AT + 3 * SIZE, False))


def test_a_torn_tail_is_to_be_zeroed() -> None:
    name, data = segment(0, range(3))
    torn = data[: RECORDS_AT + 3 * SIZE - 8].ljust(4096, b"\0")
    assert recover([(name, torn)]) == Recovery(0, 2, ((0, RECORDS_AT + 2 * SIZE, True),))


def test_a_segment_that_does_not_continue_is_given_up_where_nothing_in_it_was_durable() -> None:
    found = recover([segment(0, range(3)), segment(1, range(5, 8))])
    assert found == Recovery(0, 3, ((0, RECORDS_AT + 3 * SIZE, False), (1, RECORDS_AT, True)))


def test_a_segment_that_does_not_continue_and_was_durable_is_corrupt_by_name() -> None:
    with pytest.raises(JournalCorrupt, match=r"0/00000001\.seg.*do not continue"):
        recover([segment(0, range(3)), segment(1, range(5, 8), mark=RECORDS_AT + SIZE)])


def test_a_segment_before_the_last_that_lost_durable_records_is_corrupt() -> None:
    with pytest.raises(JournalCorrupt, match=r"0/00000000\.seg.*durable"):
        recover([segment(0, range(3), mark=RECORDS_AT + 5 * SIZE), segment(1, range(5, 8))])
