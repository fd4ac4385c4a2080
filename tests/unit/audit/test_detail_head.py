"""A detail's head comes back from its record as it was, and what is none is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.detail_head import FILLER, FOREVER, Head, format_record, parse_record, seal_context
from residency.errors import EntryError, IntegrityError, JournalCorrupt

HEAD = Head("log.example", "0.17", "ab" * 32, "cd" * 16, 1_000, "log>=12m", 2_000, 3_000)
INSTANT = st.integers(0, FOREVER)


@given(st.text(max_size=30), st.none() | st.just("cd" * 16), INSTANT, st.none() | INSTANT, st.none() | INSTANT)
def test_a_record_tells_its_head_again(
    origin: str, alias: str | None, at: int, keep: int | None, erase: int | None
) -> None:
    head = replace(HEAD, origin=origin, alias=alias, at=at, keep_until=keep, erase_by=erase)
    assert parse_record(format_record(head, b"sealed")) == (head, b"sealed")


@given(st.text(max_size=30), st.none() | st.text(max_size=40), st.text(max_size=20), st.none() | INSTANT)
def test_a_head_is_written_as_json_dumps_would(origin: str, alias: str | None, keeping: str, end: int | None) -> None:
    head = replace(HEAD, origin=origin, alias=alias, keeping=keeping, keep_until=end)
    text = json.dumps(asdict(head), sort_keys=True, separators=(",", ":")).encode()
    assert format_record(head, b"") == b"\x02" + len(text).to_bytes(2, "big") + text


def test_a_record_that_only_takes_room_says_nothing() -> None:
    assert parse_record(FILLER * 100) is None


@given(st.binary(max_size=100))
def test_any_other_bytes_are_a_record_or_corrupt(data: bytes) -> None:
    try:
        parsed = parse_record(data)
    except IntegrityError:
        return
    assert parsed is None
    assert data[:1] == FILLER


@pytest.mark.parametrize(
    "wrong",
    [
        {"commitment": "ab"},
        {"commitment": "zz" * 32},
        {"at": 1.5},
        {"at": True},
        {"keep_until": "1"},
        {"erase_by": FOREVER + 1},
        {"origin": 1},
        {"alias": 1},
    ],
)
def test_a_head_of_another_shape_is_corrupt(wrong: dict[str, object]) -> None:
    text = json.dumps({**asdict(HEAD), **wrong}).encode()
    with pytest.raises(JournalCorrupt):
        parse_record(b"\x02" + len(text).to_bytes(2, "big") + text)


def test_a_head_names_an_entry() -> None:
    with pytest.raises(EntryError):
        parse_record(format_record(replace(HEAD, entry="x"), b""))


def test_a_record_cut_in_its_head_is_corrupt() -> None:
    record = format_record(HEAD, b"")
    for end in range(1, len(record)):
        with pytest.raises(JournalCorrupt):
            parse_record(record[:end])


def test_a_head_that_no_length_can_tell_is_refused() -> None:
    with pytest.raises(EntryError):
        format_record(replace(HEAD, origin="x" * 70_000), b"")


def test_a_detail_is_sealed_for_its_country_log_entry_and_content() -> None:
    others = [
        replace(HEAD, origin="another.example"),
        replace(HEAD, entry="0.18"),
        replace(HEAD, commitment="cd" * 32),
    ]
    contexts = {seal_context("VN", HEAD), seal_context("SG", HEAD), *(seal_context("VN", each) for each in others)}
    assert len(contexts) == 5
    assert seal_context("VN", replace(HEAD, alias=None, keep_until=9)) == seal_context("VN", HEAD)


@pytest.mark.parametrize(
    ("keep", "erase", "due"), [(5, 9, 9), (5, None, 5), (None, 9, 9), (FOREVER, None, FOREVER), (None, None, 1_000)]
)
def test_a_detail_goes_at_its_ceiling_else_at_the_end_of_its_floor(
    keep: int | None, erase: int | None, due: int
) -> None:
    assert replace(HEAD, keep_until=keep, erase_by=erase).due == due


def test_a_floor_holds_until_its_end_and_not_in_it() -> None:
    assert replace(HEAD, keep_until=5).held(4)
    assert not replace(HEAD, keep_until=5).held(5)
    assert not replace(HEAD, keep_until=None).held(0)
