"""Numbers, pairs and times of a log: what contradicts is refused, what is odd is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit.continuity import TOLERANCE, Continuity
from residency.audit.entry import Entry, format_entry
from residency.audit.entry_reader import EntryReader
from residency.audit.pairs import Pairs
from residency.errors import IntegrityError, VerificationError

START = 1_795_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
INTENT = Entry(id="0.0", kind="intent", at=START, effect="permit", policy="ab" * 32)


def outcome(entry_id: str, of: str) -> Entry:
    return replace(INTENT, id=entry_id, kind="outcome", act="committed", of=of)


def read(entries: Sequence[Entry], *, now: int = START + DAY, max_gap: int = DAY, width: int = 3) -> Continuity:
    continuity = Continuity(now, max_gap)
    reader = EntryReader()
    for start in range(0, len(entries), width):
        bundle = [format_entry(entry) for entry in entries[start : start + width]]
        continuity.take(start, *reader.scan(start, bundle))
    continuity.finish()
    return continuity


def at(*times: int, slot: int = 0) -> list[Entry]:
    return [replace(INTENT, id=f"{slot}.{seq}", at=START + time) for seq, time in enumerate(times)]


ids = st.sampled_from(["0.0", "0.1", "0.2", "1.0", "1.1", "2.0"])
drawn = st.lists(st.builds(outcome, ids, ids) | ids.map(lambda own: replace(INTENT, id=own)), max_size=7)


def numbered(kinds: Iterable[tuple[int, str | None]]) -> list[Entry]:
    """Entries whose numbers are right, so that only what they say of each other is left to be wrong."""
    following = [0, 0, 0]
    entries = []
    for slot, of in kinds:
        own = f"{slot}.{following[slot]}"
        following[slot] += 1
        entries.append(replace(INTENT, id=own) if of is None else outcome(own, of))
    return entries


paired = st.lists(st.tuples(st.integers(0, 2), st.none() | ids), max_size=9).map(numbered)


@given(drawn | paired, st.integers(1, 4))
def test_a_bundle_at_a_time_refuses_what_one_by_one_refuses_and_leaves_the_same_open(
    entries: list[Entry], width: int
) -> None:
    one_by_one = Pairs()
    refused = True
    with contextlib.suppress(IntegrityError):
        for index, entry in enumerate(entries):
            one_by_one.add(index, entry)
        one_by_one.finish()
        refused = False
    if refused:
        with pytest.raises(VerificationError):
            read(entries, width=width)
    else:
        assert read(entries, width=width).open == one_by_one.open


@pytest.mark.parametrize(
    "entries",
    [
        [outcome("0.0", "1.0")],
        [INTENT, outcome("0.1", "0.0"), outcome("0.2", "0.0")],
        [outcome("0.0", "1.0"), outcome("0.1", "1.0"), replace(INTENT, id="1.0")],
        [outcome("0.0", "1.0"), replace(INTENT, id="1.0"), outcome("0.1", "1.0")],
    ],
)
@pytest.mark.parametrize("width", [1, 3])
def test_an_outcome_without_an_intent_of_its_own_is_refused(entries: list[Entry], width: int) -> None:
    with pytest.raises(VerificationError, match="outcome of"):
        read(entries, width=width)


@pytest.mark.parametrize("own", ["0.1", "0.00", "x", "00.0", "1"])
def test_a_number_that_was_not_to_come_is_named(own: str) -> None:
    data = format_entry(INTENT).replace(b'"0.0"', f'"{own}"'.encode())
    reader = EntryReader()
    reader.scan(0, [format_entry(replace(INTENT, id="0." + "1" * (len(own) - 2)))] if len(own) > 2 else [])
    with pytest.raises(VerificationError, match="entry 5"):
        Continuity(START, DAY).take(5, *reader.scan(5, [data]))


def test_an_outcome_of_no_id_is_refused() -> None:
    reader = EntryReader()
    reader.scan(0, [format_entry(outcome("0.1", "0.0"))])
    continuity = Continuity(START, DAY)
    continuity.take(0, *reader.scan(0, [format_entry(INTENT)]))
    with pytest.raises(VerificationError, match="entry 1"):
        continuity.take(1, *reader.scan(1, [format_entry(outcome("0.1", "0.0")).replace(b'"of":"0.0"', b'"of":"0x0"')]))


def test_a_clock_set_back_within_a_slot_is_told_with_where_and_how_much() -> None:
    found = read(at(0, 5 * SECOND, 2 * SECOND, 3 * SECOND, 0)).steps_back
    assert found.count == 2
    assert [(odd.index, odd.id, odd.by) for odd in found.first] == [
        (2, "0.2", 3 * SECOND), (4, "0.4", 3 * SECOND)
    ]  # fmt: skip


def test_slots_integrated_one_after_the_other_are_no_step_back() -> None:
    entries = [*at(0, 9 * SECOND), *at(1, 8 * SECOND, slot=1)]
    continuity = read(entries)
    assert continuity.steps_back.count == continuity.gaps.count == continuity.before_first.count == 0


def test_a_silence_longer_than_asked_is_told_and_one_as_long_is_not() -> None:
    assert read(at(0, 10, 20), max_gap=10).gaps.count == 0
    found = read(at(0, 10, 21), max_gap=10).gaps
    assert [(odd.index, odd.by) for odd in found.first] == [(2, 11)]


def test_entries_ahead_of_now_are_told_however_late_an_older_one_follows() -> None:
    found = read(at(0, DAY, 2 * DAY, 5), now=START + DAY, max_gap=9 * DAY).ahead
    assert [(odd.index, odd.by) for odd in found.first] == [(2, DAY)]
    assert read(at(0, TOLERANCE), now=START).ahead.count == 0


def test_entries_long_before_the_first_are_told() -> None:
    entries = [*at(0, 1), *at(-DAY, slot=1), *at(-SECOND, slot=2)]
    assert [(odd.index, odd.by) for odd in read(entries).before_first.first] == [(2, DAY)]


def test_what_is_told_one_by_one_is_bounded_and_the_rest_is_counted() -> None:
    found = read(at(*[-seq for seq in range(300)])).steps_back
    assert (found.count, len(found.first)) == (299, 20)
    assert found.largest is not None


def test_kinds_are_counted_also_where_no_two_entries_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residency.audit.continuity._SHAPES", 40)
    entries = [replace(INTENT, id=f"0.{seq}", kind="decision", note=str(seq)) for seq in range(300)]
    continuity = read([*entries, replace(INTENT, id="0.300")], width=16)
    assert len(continuity._shapes) <= 56
    assert continuity.kinds == {"decision": 300, "intent": 1}
    assert continuity.kinds == {"decision": 300, "intent": 1}


def test_an_empty_log_has_nothing_odd() -> None:
    continuity = read([])
    assert (continuity.open, continuity.first, dict(continuity.kinds)) == ((), None, {})
