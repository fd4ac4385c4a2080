"""How a slot goes on after its worker died: the bytes of its last segments in, where and how to go on out.

Only the last segment and the one before are looked at: a power cut may have kept pages of the one and lost some of the
other. All that comes before was synchronised when they were begun, or the sequencer will say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from residency.audit.journal import MARK_AT, RECORDS_AT, Bytes, End, find_end, parse_mark, scan
from residency.errors import JournalCorrupt

__all__ = ["Recovery", "recover"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Go on in segment `index` (of those given) with number `next_seq`; `ends` has each examined segment's end.

    Of each (index, offset, dirty) in `ends`, whatever is behind the offset was never acknowledged as durable and is not
    readable: where `dirty`, zero it, so that the next record finds a clean end. A crash while doing so leaves a shorter
    tail of the same kind, which the next recovery treats alike.
    """

    index: int
    next_seq: int
    ends: tuple[tuple[int, int, bool], ...]


def recover(segments: Sequence[tuple[str, Bytes]]) -> Recovery:
    """Find the end of the journal in its last segments, (name, bytes) in order, of which there is at least one.

    Raises: JournalCorrupt, naming the segment, where something that was whole or durable is not.
    """
    filled = [i for i, (_, data) in enumerate(segments) if scan(data, RECORDS_AT, None, limit=1).records]
    newest = filled[-1] if filled else 0
    index, expected = newest, None
    ends: list[tuple[int, int, bool]] = []
    for i in range(max(0, newest - 1), newest + 1):
        name, data = segments[i]
        mark = parse_mark(data[MARK_AT : MARK_AT + 8], name)
        found = scan(data, RECORDS_AT, expected)
        if found.records or expected is None:
            expected = found.records[-1].seq + 1 if found.records else None
            index = i
            end = find_end(data, found.offset, expected, mark, name)
        elif mark > RECORDS_AT:
            raise JournalCorrupt(f"{name}: its records, durable once, do not continue the segment before")
        else:
            end = End.HOLE  # the segment before lost its last pages, and nothing here was ever durable
        ends.append((i, found.offset, end is not End.CLEAN))
    return Recovery(index, expected or 0, tuple(ends))
