"""Reading many entries is `parse_entry` for each: the same entries, the same refusals, whatever came before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from residency.audit.entry import Entry, entry_pieces, format_entry, parse_entry
from residency.audit.entry_reader import EntryReader
from residency.errors import EntryError

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


@given(entries)
def test_the_pieces_of_an_entry_are_its_bytes_without_the_values(entry: Entry) -> None:
    bare = format_entry(entry)
    for piece in entry_pieces(entry):
        before, found, bare = bare.partition(piece)
        assert found == piece
        assert b"," not in before
    assert bare == b""


def test_no_more_than_its_bound_is_remembered() -> None:
    reader = EntryReader()
    for number in range(5000):
        reader.read(format_entry(replace(PLAIN, note=str(number))))
    assert len(reader._known) <= 4096
