"""A reader sees whole records only, follows over segments, and takes nothing that is missing for nothing there."""

from __future__ import annotations

import pytest

from residency.audit.follow import follow, must_lead_to
from residency.audit.journal import (
    MARK_AT,
    RECORDS_AT,
    Segment,
    format_mark,
    format_record,
    format_segment,
    record_size,
)
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt

SIZE = record_size(20)


class Memory:
    """Segments in a dictionary; those that are missing are missing."""

    def __init__(self, **counts: tuple[int, int]) -> None:
        self.data = {int(name[1:]): self._build(int(name[1:]), first, count) for name, (first, count) in counts.items()}

    @staticmethod
    def _build(number: int, first: int, count: int) -> bytearray:
        data = bytearray(format_segment(Segment(0, number, 4096)))
        for seq in range(first, first + count):
            data += format_record(seq, b"%020d" % seq)
        return bytearray(data.ljust(4096, b"\0"))

    def open(self, number: int) -> bytes | None:
        data = self.data.get(number)
        return None if data is None else bytes(data)

    def holds_records(self, number: int) -> bool:
        return number in self.data and any(self.data[number][RECORDS_AT : RECORDS_AT + 16])

    def name(self, number: int) -> str:
        return f"segment {number}"


def test_records_are_followed_over_segments_and_no_further_than_they_go() -> None:
    segments = Memory(s0=(0, 3), s1=(3, 2), s2=(0, 0))
    payloads, cursor = follow(segments, Cursor(), 100)
    assert [int(payload) for payload in payloads] == [0, 1, 2, 3, 4]
    assert cursor == Cursor(1, RECORDS_AT + 2 * SIZE, 5)
    assert follow(segments, cursor, 100) == ([], cursor)


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_following_in_small_steps_comes_to_the_same(limit: int) -> None:
    segments, cursor, seen = Memory(s0=(0, 3), s1=(3, 4)), Cursor(), []
    while True:
        payloads, cursor = follow(segments, cursor, limit)
        seen += [int(payload) for payload in payloads]
        if not payloads:
            break
    assert seen == list(range(7))


def test_a_record_that_is_being_stored_is_not_there_yet() -> None:
    segments = Memory(s0=(0, 3))
    at = RECORDS_AT + 2 * SIZE
    whole = bytes(segments.data[0][at : at + SIZE])
    segments.data[0][at + 10 : at + SIZE] = bytes(SIZE - 10)
    payloads, cursor = follow(segments, Cursor(), 100)
    assert len(payloads) == 2
    segments.data[0][at : at + SIZE] = whole
    assert [int(payload) for payload in follow(segments, cursor, 100)[0]] == [2]


def test_a_slot_that_has_no_segment_yet_has_nothing_to_read() -> None:
    assert follow(Memory(), Cursor(), 100) == ([], Cursor())


@pytest.mark.parametrize(
    ("segments", "cursor"),
    [(Memory(s1=(3, 2)), Cursor()), (Memory(), Cursor(1, RECORDS_AT, 3)), (Memory(), Cursor(0, RECORDS_AT + SIZE, 1))],
)
def test_a_segment_that_is_missing_is_named(segments: Memory, cursor: Cursor) -> None:
    with pytest.raises(JournalCorrupt, match=r"segment \d is missing"):
        follow(segments, cursor, 100)


def test_a_torn_end_with_another_segment_after_it_is_corrupt() -> None:
    segments = Memory(s0=(0, 3), s1=(3, 2))
    segments.data[0][RECORDS_AT + 2 * SIZE + 20] ^= 1
    payloads, cursor = follow(segments, Cursor(), 100)
    assert [int(payload) for payload in payloads] == [0, 1]  # what is whole before it comes out
    assert cursor == Cursor(0, RECORDS_AT + 2 * SIZE, 2)
    with pytest.raises(JournalCorrupt, match="next segment has begun"):
        follow(segments, cursor, 100)


def test_a_gap_between_segments_is_corrupt() -> None:
    segments = Memory(s0=(0, 3), s1=(4, 2), s2=(6, 1))
    payloads, cursor = follow(segments, Cursor(), 100)
    assert [int(payload) for payload in payloads] == [0, 1, 2]
    with pytest.raises(JournalCorrupt):
        follow(segments, cursor, 100)


def test_durable_records_that_are_gone_are_corrupt() -> None:
    segments = Memory(s0=(0, 2))
    segments.data[0][MARK_AT : MARK_AT + 8] = format_mark(RECORDS_AT + 3 * SIZE)
    payloads, cursor = follow(segments, Cursor(), 100)
    assert len(payloads) == 2
    with pytest.raises(JournalCorrupt, match="durable"):
        follow(segments, cursor, 100)


def test_a_journal_must_lead_to_where_reading_is_to_go_on() -> None:
    segments = Memory(s0=(0, 3))
    must_lead_to(segments, Cursor(0, RECORDS_AT + 2 * SIZE, 2))
    must_lead_to(segments, Cursor())
    for wrong in (Cursor(0, RECORDS_AT + 2 * SIZE, 3), Cursor(0, RECORDS_AT + 4 * SIZE, 4), Cursor(0, 136, 1)):
        with pytest.raises(JournalCorrupt):
            must_lead_to(segments, wrong)
