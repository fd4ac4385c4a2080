"""The bytes of a worker slot's journal: records in, segment bytes out; segment bytes in, records and their end out.

A segment is a preallocated file of fixed capacity:

    0    header, 64 bytes: magic, version, slot, segment number, capacity, zeros, crc32 of the 60 bytes before
    64   mark, 8 bytes: offset below which everything was once durable, and 24 bits of its crc32
    72   zeros
    128  records, each padded with zeros to a multiple of 8: crc32 | length | seq | payload
         (crc32 over length, seq and payload; integers little-endian, 4, 4 and 8 bytes)
    …    zeros up to the capacity

Sequence numbers count from 0 per slot, without a gap, across segments and restarts. How a segment may end:

    clean   only zeros follow the last record
    torn    a record that was being stored when the process died: it was never acknowledged
    hole    a power cut wrote later pages back and an earlier one not; nothing from there on was ever durable
    else    JournalCorrupt: something that was whole has been changed
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from residency.audit.crc import crc32
from residency.audit.entry import ENTRY_LIMIT
from residency.errors import JournalCorrupt

__all__ = [
    "MARK_AT",
    "RECORDS_AT",
    "RECORD_HEADER",
    "Bytes",
    "End",
    "Record",
    "Room",
    "Scan",
    "Segment",
    "find_end",
    "format_mark",
    "format_record",
    "format_segment",
    "parse_mark",
    "parse_segment",
    "payloads",
    "record_size",
    "scan",
    "store_record",
]

MAGIC: Final = b"RSDYJRNL"
VERSION: Final = 1
MARK_AT: Final = 64
RECORDS_AT: Final = 128
_PAGE: Final = 4096
_HEADER = struct.Struct("<8sIIQQ28x")
_CRC = struct.Struct("<I")
_BODY = struct.Struct("<IQ")
_MARK = struct.Struct("<Q")
_RECORD = struct.Struct("<IIQ")
RECORD_HEADER: Final = _RECORD.size
_FIRST_BLOCK: Final = 1 << 12
# Holds the largest record, and is small enough that memory for it is not asked of the system each time.
_BLOCK: Final = (1 << 17) - 128
_ZEROS: Final = bytes(1 << 16)
_PADDING: Final = tuple(bytes(size) for size in range(8))
_NONZERO = re.compile(rb"[^\0]")


class Bytes(Protocol):
    """What `scan` reads: bytes or a memory map."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes: ...


class Room(Protocol):
    """What `store_record` writes into: a memory map or a bytearray."""

    def __setitem__(self, key: slice, value: bytes, /) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segment's header says."""

    slot: int
    number: int
    capacity: int


class Record(NamedTuple):
    """One record; `end` is the offset after it."""

    seq: int
    payload: bytes
    end: int


@dataclass(frozen=True, slots=True)
class Scan:
    """Whole records in order, and the offset at which no whole record starts."""

    records: tuple[Record, ...]
    offset: int


class End(enum.Enum):
    """How a segment ends, where it does not end in corruption."""

    CLEAN = "clean"
    TORN = "torn"
    HOLE = "hole"


def format_segment(segment: Segment) -> bytes:
    """The first 128 bytes of an empty segment."""
    head = _HEADER.pack(MAGIC, VERSION, segment.slot, segment.number, segment.capacity)
    return (head + _CRC.pack(crc32(head)) + format_mark(RECORDS_AT)).ljust(RECORDS_AT, b"\0")


def parse_segment(data: bytes, where: str) -> Segment:
    """What the first 128 bytes say; `where` names the file in errors. Raises: JournalCorrupt."""
    head = data[: _HEADER.size]
    if len(data) < RECORDS_AT or _CRC.unpack_from(data, _HEADER.size)[0] != crc32(head):
        raise JournalCorrupt(f"{where}: the header at offset 0 fails its checksum")
    magic, version, slot, number, capacity = _HEADER.unpack(head)
    if magic != MAGIC or version != VERSION:
        raise JournalCorrupt(f"{where}: not a journal segment of version {VERSION}")
    if any(data[MARK_AT + _MARK.size : RECORDS_AT]) or any(head[32:]):
        raise JournalCorrupt(f"{where}: the header's unused bytes are not zero")
    return Segment(slot, number, capacity)


def format_mark(offset: int) -> bytes:
    """The mark for `offset` (below 2^40): eight bytes, so that one aligned store replaces it whole."""
    return _MARK.pack(offset << 24 | crc32(offset.to_bytes(8, "little")) & 0xFFFFFF)


def parse_mark(data: bytes, where: str) -> int:
    """The offset that a mark holds; `where` names the file. Raises: JournalCorrupt."""
    value: int = _MARK.unpack(data)[0]
    if format_mark(value >> 24) != data:
        raise JournalCorrupt(f"{where}: the mark at offset {MARK_AT} fails its checksum")
    return value >> 24


def record_size(payload_bytes: int) -> int:
    """Bytes that a record with a payload of this many bytes takes."""
    return (RECORD_HEADER + payload_bytes + 7) & ~7


def format_record(seq: int, payload: bytes) -> bytes:
    """The record's bytes, padded to a multiple of 8."""
    body = _BODY.pack(len(payload), seq) + payload
    record = _CRC.pack(crc32(body)) + body
    return record.ljust(record_size(len(payload)), b"\0")


def store_record(data: Room, offset: int, seq: int, payload: bytes) -> int:
    """Put the record where there are zeros at `offset`; the offset after it.

    The payload first: whoever reads meanwhile sees zeros, and then a whole record. A kill before the header leaves a
    torn one, which was never acknowledged.
    """
    length = len(payload)
    start = offset + RECORD_HEADER
    data[start : start + length] = payload
    _RECORD.pack_into(data, offset, crc32(payload, crc32(_BODY.pack(length, seq))), length, seq)
    return start + length + 7 & ~7


def scan(data: Bytes, offset: int, seq: int | None, *, limit: int | None = None) -> Scan:
    """Whole records from `offset` on, the first numbered `seq` (None: any), at most `limit` of them."""
    records: list[Record] = []
    while limit is None or len(records) < limit:
        record = _record_at(data, offset, seq)
        if record is None:
            break
        records.append(record)
        offset, seq = record.end, record.seq + 1
    return Scan(tuple(records), offset)


def payloads(data: Bytes, offset: int, seq: int, limit: int) -> tuple[list[bytes], int]:
    """Payloads of whole records from `offset` on, numbered from `seq`, at most `limit`; and the offset after them.

    As `scan`, for many records: it keeps none of them, only bytes, which the garbage collector has no work with. Blocks
    are copied out of a map and cut there, which takes half the time; the first is small, as most ticks find little.
    """
    found: list[bytes] = []
    add, unpack, block_bytes = found.append, _RECORD.unpack_from, _FIRST_BLOCK
    while True:
        block = data[offset : offset + block_bytes]
        at, size = 0, len(block)
        while len(found) < limit and at + RECORD_HEADER <= size:
            checksum, length, number = unpack(block, at)
            if number != seq or not 0 < length <= ENTRY_LIMIT:
                return found, offset + at
            stop = at + RECORD_HEADER + length
            end = at + (RECORD_HEADER + length + 7 & ~7)
            if end > size:
                break
            body = block[at + _CRC.size : stop]
            if crc32(body) != checksum or (stop != end and block[stop:end] != _PADDING[end - stop]):
                return found, offset + at
            add(body[_BODY.size :])
            at, seq = end, seq + 1
        offset += at
        if len(found) >= limit or size < block_bytes:
            return found, offset
        block_bytes = _BLOCK


def find_end(data: Bytes, offset: int, seq: int | None, mark: int, where: str) -> End:
    """Say how a segment ends at `offset`, where `scan` stopped expecting `seq`.

    Raises: JournalCorrupt, naming `where` and the offset, where bytes that were once whole are not.
    """
    # 1. What was once durable must be whole.
    if offset < mark:
        raise JournalCorrupt(f"{where}: the record at offset {offset} fails its checksum, and was durable once")
    # 2. Only zeros: a clean end.
    if _only_zeros(data, offset):
        return End.CLEAN
    # 3. No whole record after the bad one: it was being stored when the process died.
    later = _later_record(data[offset : len(data)], seq)
    if later is None:
        return End.TORN
    # 4. Whole records follow. Only a page that was never written back explains that without foul play.
    if _has_hole(data, offset, offset + later):
        return End.HOLE
    raise JournalCorrupt(f"{where}: the record at offset {offset} fails its checksum, and whole records follow it")


def _record_at(data: Bytes, offset: int, seq: int | None) -> Record | None:
    start = offset + RECORD_HEADER
    header = data[offset:start]
    if len(header) < RECORD_HEADER:
        return None
    checksum, length, number = _RECORD.unpack(header)
    stop = start + length
    end = offset + (RECORD_HEADER + length + 7 & ~7)  # as `record_size`, which every record would have to call
    if not 0 < length <= ENTRY_LIMIT or end > len(data) or (seq is not None and number != seq):
        return None
    payload = data[start:stop]
    if crc32(payload, crc32(header[_CRC.size :])) != checksum:
        return None
    if stop != end and data[stop:end] != _PADDING[end - stop]:
        return None
    return Record(number, payload, end)


def _only_zeros(data: Bytes, offset: int) -> bool:
    """Whether zeros alone stand from `offset` on. Megabytes do in every fresh segment: compared, and in pieces."""
    size = len(data)
    for start in range(offset, size, len(_ZEROS)):
        piece = data[start : min(start + len(_ZEROS), size)]
        if piece != (_ZEROS if len(piece) == len(_ZEROS) else bytes(len(piece))):
            return False
    return True


def _later_record(rest: bytes, seq: int | None) -> int | None:
    """Offset in `rest` of a whole record that comes after the one that should start at 0."""
    at = 0
    while (found := _NONZERO.search(rest, at + 8 if at == 0 else at)) is not None:
        at = found.start() & ~7
        record = _record_at(rest, at, None)
        if record is not None and (seq is None or record.seq > seq):
            return at
        at += 8
    return None


def _has_hole(data: Bytes, start: int, stop: int) -> bool:
    """Whether a page between `start` and `stop` ends in zeros, as one that was never written back does."""
    first = (start // _PAGE + 1) * _PAGE
    return any(not any(data[max(start, end - 64) : end]) for end in range(first, stop + 1, _PAGE))
