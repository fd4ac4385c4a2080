"""Reading a journal while its worker writes it, or after it died: a cursor in, payloads and the next cursor out."""

from __future__ import annotations

from typing import Protocol

from residency.audit.journal import MARK_AT, RECORDS_AT, Bytes, End, find_end, parse_mark, payloads, scan
from residency.audit.sequencer import Cursor
from residency.errors import JournalCorrupt

__all__ = ["Segments", "follow", "must_lead_to"]


class Segments(Protocol):
    """One slot's segments as they are on disk now."""

    def open(self, number: int) -> Bytes | None:
        """The bytes of segment `number`, its header checked; None where there is none. Raises: JournalCorrupt."""

    def holds_records(self, number: int) -> bool:
        """Whether there is a segment `number` in which something was stored."""

    def name(self, number: int) -> str:
        """What to call segment `number` in a message."""


def must_lead_to(segments: Segments, cursor: Cursor) -> None:
    """Refuse a journal that was emptied or exchanged behind our back: its numbers would begin anew.

    Raises: JournalCorrupt.
    """
    data = segments.open(cursor.segment)
    if data is None or cursor.offset == RECORDS_AT:
        return  # `follow` knows what to say of a segment that is missing
    records = scan(data[: cursor.offset], RECORDS_AT, None).records
    if not records or records[-1].end != cursor.offset or records[-1].seq + 1 != cursor.seq:
        raise JournalCorrupt(f"{segments.name(cursor.segment)} is not the journal that the log was built from")


def follow(segments: Segments, cursor: Cursor, limit: int) -> tuple[list[bytes], Cursor]:
    """Payloads of at most `limit` records from `cursor` on, and where to go on.

    What is whole before a corrupt place comes out first; it is whoever reads on from there that is told.
    Raises: JournalCorrupt.
    """
    found: list[bytes] = []
    try:
        while True:
            more, cursor, goes_on = _step(segments, cursor, limit - len(found))
            found.extend(more)
            if not goes_on or len(found) >= limit:
                return found, cursor
    except JournalCorrupt:
        if found:
            return found, cursor
        raise


def _step(segments: Segments, cursor: Cursor, limit: int) -> tuple[list[bytes], Cursor, bool]:
    """Payloads of records of one segment from `cursor` on, where to go on, and whether there may be more there now.

    Raises: JournalCorrupt, where no whole record stands at `cursor` and one should.
    """
    name = segments.name(cursor.segment)
    # 1. Before the segment, whether one after it has been begun: then this one's end is final.
    final = segments.holds_records(cursor.segment + 1)
    data = segments.open(cursor.segment)
    if data is None:
        if cursor.seq or cursor.segment or final:
            raise JournalCorrupt(f"{name} is missing, and not all of it is in the log")
        return [], cursor, False
    # 2. The mark before the records: the worker stores records and then the mark.
    mark = parse_mark(data[MARK_AT : MARK_AT + 8], name)
    found, offset = payloads(data, cursor.offset, cursor.seq, limit)
    if found:
        return found, Cursor(cursor.segment, offset, cursor.seq + len(found)), True
    # 3. Where the records stop, say why.
    end = _end(data, cursor, mark, name)
    if end is None:
        return [], cursor, True
    if not final:
        return [], cursor, False
    if end is not End.CLEAN:
        raise JournalCorrupt(f"{name}: no whole record at offset {cursor.offset}, and the next segment has begun")
    return [], Cursor(cursor.segment + 1, RECORDS_AT, cursor.seq), True


def _end(data: Bytes, cursor: Cursor, mark: int, name: str) -> End | None:
    """How the segment ends for now; None where a record has been stored meanwhile."""
    if cursor.offset >= mark and not any(data[cursor.offset : cursor.offset + 16]):
        return End.CLEAN
    try:
        return find_end(data, cursor.offset, cursor.seq, mark, name)
    except JournalCorrupt:
        # The worker may have been in the middle of this store. If it is whole by now, nothing is wrong.
        if scan(data, cursor.offset, cursor.seq, limit=1).records:
            return None
        raise
