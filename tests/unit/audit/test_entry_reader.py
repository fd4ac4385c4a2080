"""Reading many entries is `parse_entry` for each: the same entries, the same refusals, whatever came before."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residency.audit.entry import Entry, entry_pieces, format_entry, parse_entry
from residency.audit.entry_reader import EntryReader
from residency.errors import EntryError, VerificationError

START = 1_795_000_000_000_000

PLAIN = Entry(id="0.1", kind="decision", at=5, effect="permit", policy="ab" * 32, activity="GET /plain")
OUTCOME = replace(PLAIN, kind="outcome", act="committed", of="0.0")
# Text that looks like the values between which the reader cuts.
TRAPS = ['x","at":1,"collected":null,"decided":null,"detail":null', '","requested":7,"rules":']
TRAPS += [',"id":"0.1"', '"', "\\", '","of":null,"operation":', "ư", "\n"]
values = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["0.0", "0.1", "12.345", "4095.9007199254740991"]),
        "at": st.sampled_from([-1, 0, 5, 1_795_000_000_000_000, 2**53 - 1]),
        "decided": st.sampled_from([None, -7, 0, 1_795_000_000_000_000, 2**53 - 1]),
        "requested": st.sampled_from([None, -7, 0, 1_795_000_000_000_000, 2**53 - 1]),
        "collected": st.sampled_from([None, -7, 0, 1_795_000_000_000_000, 2**53 - 1]),
        "detail": st.none() | st.just("cd" * 32),
        "subject": st.none() | st.just("ef" * 16),
        "note": st.none() | st.sampled_from(TRAPS),
        "activity": st.none() | st.sampled_from(TRAPS),
        "evidence": st.lists(st.sampled_from(TRAPS), max_size=2).map(tuple),
    }
)
entries = st.builds(lambda base, change: replace(base, **change), st.sampled_from([PLAIN, OUTCOME]), values)


def outcome_of(read: Callable[[bytes], Entry], data: bytes) -> Entry | None:
    """The entry, None where it is refused."""
    with contextlib.suppress(EntryError):
        return read(data)
    return None


@given(st.lists(entries, max_size=8))
def test_entries_come_back_whatever_was_read_before(listed: list[Entry]) -> None:
    reader = EntryReader()
    for entry in [*listed, *listed]:
        assert reader.read(format_entry(entry)) == entry


@given(
    entries,
    st.sampled_from(
        [(b":5,", b":05,"), (b'"v":1', b'"v":2'), (b"0.0", b"00.0"), (b"null", b"true"), (b"cd", b"CD"), (b"ef", b"e"),
         (b'"of":null', b'"of":"0.0"'), (b'"of":"0.0"', b'"of":null'), (b",", b", "), (b":5,", b":9007199254740992,")]
    ),
)  # fmt: skip
def test_what_parsing_refuses_is_refused_after_its_like_was_read(entry: Entry, change: tuple[bytes, bytes]) -> None:
    reader = EntryReader()
    data = format_entry(entry)
    assert reader.read(data) == entry
    for each in (PLAIN, OUTCOME):
        reader.read(format_entry(each))
    other = data.replace(*change, 1)
    assert outcome_of(reader.read, other) == outcome_of(parse_entry, other)


CHARACTERS = [
    b"0",
    b"9",
    b"a",
    b"A",
    b"g",
    b" ",
    b"-",
    b"+",
    b"_",
    b".",
    b",",
    b'"',
    b"{",
    b"\xc6\xb0",
    b"\xff",
    b"\0",
    b"\n",
]
changes = st.tuples(
    st.sampled_from(["put", "insert", "drop", "swap"]), st.integers(0, 900), st.sampled_from(CHARACTERS)
)


def changed(data: bytes, how: str, at: int, character: bytes) -> bytes:
    at %= len(data) - 1
    match how:
        case "put":
            return data[:at] + character + data[at + 1 :]
        case "insert":
            return data[:at] + character + data[at:]
        case "drop":
            return data[:at] + data[at + 1 :]
        case _:
            return data[:at] + data[at + 1 : at + 2] + data[at : at + 1] + data[at + 2 :]


@settings(max_examples=200)
@given(entries, st.lists(changes, min_size=1, max_size=2))
def test_any_bytes_are_read_as_parsing_reads_them_after_their_like_was_read(
    entry: Entry, listed: list[tuple[str, int, bytes]]
) -> None:
    reader = EntryReader()
    data = format_entry(entry)
    reader.read(data)
    for change in listed:
        data = changed(data, *change)
    parsed = outcome_of(parse_entry, data)
    assert outcome_of(reader.read, data) == parsed
    # Of a bundle, one that is not an entry is named. Ids are not asked about: who calls knows which must come.
    plain = format_entry(PLAIN)
    if parsed is not None:
        shapes, values = reader.scan(7, [plain, data, plain])
        assert [shape.build(held) for shape, held in zip(shapes, values, strict=True)] == [PLAIN, parsed, PLAIN]
    elif outcome_of(parse_entry, but_for_ids(data)) is None:
        with pytest.raises(VerificationError, match="entry 8: "):
            reader.scan(7, [plain, data, plain])


def but_for_ids(data: bytes) -> bytes:
    """The same with ids that are well-formed, where they are text between quotes at all."""
    return re.sub(rb'(,"(?:id|of)":")[^"]*(")', rb"\g<1>0.0\2", data)


@pytest.mark.parametrize(
    "characters",
    [b'09ag-"', pytest.param(bytes(range(256)), marks=pytest.mark.slow)],
    ids=["telling", "any"],
)
def test_every_byte_of_an_entry_changed_to_another_is_read_as_parsing_reads_it(characters: bytes) -> None:
    whole = {"at": START, "decided": START, "requested": START, "subject": "ef" * 16, "detail": "cd" * 32}
    data = format_entry(replace(OUTCOME, **cast("dict[str, Any]", whole)))
    reader = EntryReader()
    reader.read(data)
    for at in range(len(data)):
        for byte in characters:
            other = data[:at] + bytes([byte]) + data[at + 1 :]
            assert outcome_of(reader.read, other) == outcome_of(parse_entry, other)


@pytest.mark.parametrize("name", ["at", "decided", "requested"])
@pytest.mark.parametrize("value", [-(2**53) + 1, -1, 0, 9, 999_999_999_999_999, 9_000_000_000_000_000, 2**53 - 1])
def test_times_that_no_clock_shows_are_read_as_parsing_reads_them(name: str, value: int) -> None:
    usual = replace(PLAIN, at=START, decided=START, requested=START)
    reader = EntryReader()
    reader.read(format_entry(usual))
    other: dict[str, Any] = {name: value}
    data = format_entry(replace(usual, **other))
    shapes, values = reader.scan(0, [format_entry(usual), data])
    assert shapes[1].build(values[1]) == parse_entry(data)


def test_entries_that_differ_in_values_alone_have_one_shape() -> None:
    reader = EntryReader()
    one = replace(PLAIN, at=START, subject="ef" * 16)
    shapes, values = reader.scan(
        0, [format_entry(replace(one, id=f"0.{seq}", at=START + seq, subject=f"{seq:032x}")) for seq in (7, 77, 777)]
    )
    assert len(set(shapes)) == 1
    assert shapes[0].names == ("at", "id", "subject")
    assert values[2] == (b"1795000000000777", b"0.777", b"%032x" % 777)


@given(entries)
def test_the_pieces_of_an_entry_are_its_bytes_without_the_values(entry: Entry) -> None:
    bare = format_entry(entry)
    for piece in entry_pieces(entry):
        before, found, bare = bare.partition(piece)
        assert found == piece
        assert b"," not in before
    assert bare == b""


def test_no_more_than_its_bound_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.audit.entry_reader._BOUND", 64)
    reader = EntryReader()
    for number in range(300):
        reader.read(format_entry(replace(PLAIN, at=START, note=str(number))))
        assert len(reader._shapes) <= 64
        assert sum(len(layout.shapes) for layouts in reader._known.values() for layout in layouts) <= 64
