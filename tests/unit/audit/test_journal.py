"""A segment's bytes say what was recorded, and every way of ending is told from corruption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.entry import ENTRY_LIMIT
from residency.audit.journal import (
    MARK_AT,
    RECORDS_AT,
    End,
    Segment,
    find_end,
    format_mark,
    format_record,
    format_segment,
    parse_mark,
    parse_segment,
    payloads,
    record_size,
    scan,
    store_record,
)
from residency.errors import JournalCorrupt

PAYLOADS = [b"first", b"x" * 77, b"\0\0\0\0", b"the last one"]


def segment(payloads: list[bytes], capacity: int = 4096, first: int = 0) -> bytearray:
    data = bytearray(format_segment(Segment(3, 7, capacity)).ljust(capacity, b"\0"))
    offset = RECORDS_AT
    for seq, payload in enumerate(payloads, first):
        record = format_record(seq, payload)
        data[offset : offset + len(record)] = record
        offset += len(record)
    return data


def ends(payloads: list[bytes]) -> list[int]:
    offsets, offset = [], RECORDS_AT
    for payload in payloads:
        offset += record_size(len(payload))
        offsets.append(offset)
    return offsets


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=20), st.integers(0, 2**40))
def test_records_come_back_in_order_with_a_clean_end(payloads: list[bytes], first: int) -> None:
    data = bytes(segment(payloads, first=first))
    found = scan(data, RECORDS_AT, first)
    assert [record.payload for record in found.records] == payloads
    assert [record.seq for record in found.records] == list(range(first, first + len(payloads)))
    assert [record.end for record in found.records] == ends(payloads)
    assert find_end(data, found.offset, first + len(payloads), RECORDS_AT, "s") is End.CLEAN


@given(st.integers(0, 2**40), st.binary(min_size=1, max_size=70), st.integers(0, 64))
def test_a_record_stored_in_place_is_the_one_that_is_formatted(seq: int, payload: bytes, words: int) -> None:
    data = bytearray(1024)
    end = store_record(data, words * 8, seq, payload)
    assert end == words * 8 + record_size(len(payload))
    assert data == bytes(words * 8) + format_record(seq, payload) + bytes(1024 - end)


@given(st.binary(min_size=1, max_size=70), st.sets(st.integers(0, 10)))
def test_a_kill_within_a_store_leaves_zeros_or_a_torn_record_and_never_another(payload: bytes, kept: set[int]) -> None:
    data = segment([b"one"])
    start = ends([b"one"])[0]
    end = store_record(data, start, 1, payload)
    whole = bytes(data)
    for word in range(start, end, 8):  # whichever order a processor stores its words in
        if (word - start) // 8 not in kept:
            data[word : word + 8] = bytes(8)
    found = scan(bytes(data), RECORDS_AT, 0)
    if bytes(data) == whole:
        assert [record.payload for record in found.records] == [b"one", payload]
        return
    assert [record.payload for record in found.records] == [b"one"]
    left = End.TORN if any(data[start:end]) else End.CLEAN
    assert find_end(bytes(data), found.offset, 1, RECORDS_AT, "s") is left


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=12), st.integers(0, 2**40), st.integers(1, 14))
def test_payloads_are_those_of_the_records_that_a_scan_finds(data: list[bytes], first: int, limit: int) -> None:
    stored = bytes(segment(data, first=first))
    found = scan(stored, RECORDS_AT, first, limit=limit)
    assert payloads(stored, RECORDS_AT, first, limit) == ([record.payload for record in found.records], found.offset)
    assert payloads(stored, RECORDS_AT, first + 1, limit) == ([], RECORDS_AT)  # another's numbers


@given(st.lists(st.integers(1, ENTRY_LIMIT), max_size=12), st.integers(1, 14), st.integers(0, 2**32))
def test_payloads_of_any_size_are_found_across_the_blocks_that_are_read(
    sizes: list[int], limit: int, flipped: int
) -> None:
    data = segment([bytes([size & 0xFF | 1]) * size for size in sizes], capacity=1 << 20)
    if flipped & 1:
        data[RECORDS_AT + flipped % (len(data) - RECORDS_AT)] ^= 0x80
    stored = bytes(data)
    found = scan(stored, RECORDS_AT, 0, limit=limit)
    assert payloads(stored, RECORDS_AT, 0, limit) == ([record.payload for record in found.records], found.offset)
    # A segment that its last record fills to the end.
    whole = stored[: ends([b"x" * size for size in sizes])[-1] if sizes else RECORDS_AT]
    found = scan(whole, RECORDS_AT, 0)
    assert payloads(whole, RECORDS_AT, 0, 99) == ([record.payload for record in found.records], found.offset)


def test_the_header_comes_back() -> None:
    assert parse_segment(bytes(segment([])[:RECORDS_AT]), "s") == Segment(3, 7, 4096)
    assert parse_mark(bytes(segment([])[MARK_AT : MARK_AT + 8]), "s") == RECORDS_AT


@given(st.integers(0, RECORDS_AT * 8 - 1))
def test_a_flipped_bit_anywhere_in_the_header_is_named(bit: int) -> None:
    data = segment([])
    data[bit // 8] ^= 1 << bit % 8

    def read() -> None:
        parse_segment(bytes(data[:RECORDS_AT]), "3/7.seg")
        parse_mark(bytes(data[MARK_AT : MARK_AT + 8]), "3/7.seg")

    with pytest.raises(JournalCorrupt, match=r"^3/7\.seg"):
        read()


@given(st.integers(0, 2**39))
def test_a_mark_comes_back(offset: int) -> None:
    assert parse_mark(format_mark(offset), "s") == offset


@pytest.mark.parametrize("kept", range(record_size(len(PAYLOADS[-1]))))
def test_a_last_record_torn_at_any_byte_is_a_torn_tail_and_no_record(kept: int) -> None:
    whole = segment(PAYLOADS)
    start = ends(PAYLOADS)[-2]
    torn = segment(PAYLOADS[:-1])
    torn[start : start + kept] = whole[start : start + kept]
    data = bytes(torn)
    found = scan(data, RECORDS_AT, 0)
    if data == bytes(whole):  # what was cut off was padding
        assert len(found.records) == len(PAYLOADS)
        return
    assert [record.payload for record in found.records] == PAYLOADS[:-1]
    end = find_end(data, found.offset, 3, RECORDS_AT, "s")
    assert end is (End.TORN if any(whole[start : start + kept]) else End.CLEAN)


@given(st.integers(RECORDS_AT * 8, ends(PAYLOADS)[-2] * 8 - 1))
def test_a_flipped_bit_anywhere_before_the_last_record_is_corruption_at_that_record(bit: int) -> None:
    data = segment(PAYLOADS)
    data[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(data), RECORDS_AT, 0)
    assert found.offset <= bit // 8
    with pytest.raises(JournalCorrupt, match=f"at offset {found.offset} "):
        find_end(bytes(data), found.offset, len(found.records), RECORDS_AT, "s")


@given(st.integers(RECORDS_AT * 8, ends(PAYLOADS)[-1] * 8 - 1))
def test_a_flipped_bit_in_anything_that_was_durable_is_corruption(bit: int) -> None:
    data = segment(PAYLOADS)
    data[bit // 8] ^= 1 << bit % 8
    found = scan(bytes(data), RECORDS_AT, 0)
    with pytest.raises(JournalCorrupt):
        find_end(bytes(data), found.offset, len(found.records), ends(PAYLOADS)[-1], "s")


def test_durable_records_that_were_zeroed_are_corruption_and_not_a_clean_end() -> None:
    with pytest.raises(JournalCorrupt, match="durable"):
        find_end(bytes(segment(PAYLOADS[:2])), ends(PAYLOADS)[1], 2, ends(PAYLOADS)[3], "s")


def test_a_page_that_a_power_cut_did_not_write_back_is_a_hole() -> None:
    payloads = [b"p" * 900] * 12
    data = segment(payloads, 16_384)
    data[4096:8192] = bytes(4096)
    found = scan(bytes(data), RECORDS_AT, 0)
    assert found.offset < 8192
    assert find_end(bytes(data), found.offset, len(found.records), RECORDS_AT, "s") is End.HOLE


def test_a_record_exchanged_with_another_is_corruption() -> None:
    data = segment([b"aaaa", b"bbbb", b"cccc"])
    size = record_size(4)
    first, second = RECORDS_AT, RECORDS_AT + size
    data[first:second], data[second : second + size] = data[second : second + size], data[first:second]
    found = scan(bytes(data), RECORDS_AT, 0)
    assert not found.records
    with pytest.raises(JournalCorrupt):
        find_end(bytes(data), found.offset, 0, RECORDS_AT, "s")


def test_a_scan_stops_at_its_limit_and_goes_on_from_there() -> None:
    data = bytes(segment(PAYLOADS))
    first = scan(data, RECORDS_AT, 0, limit=3)
    assert len(first.records) == 3
    assert [record.payload for record in scan(data, first.offset, 3).records] == PAYLOADS[3:]


def test_a_full_segment_ends_cleanly() -> None:
    payload = b"x" * (4096 - RECORDS_AT - 16)
    data = bytes(segment([payload]))
    found = scan(data, RECORDS_AT, 0)
    assert found.offset == 4096
    assert find_end(data, found.offset, 1, RECORDS_AT, "s") is End.CLEAN
