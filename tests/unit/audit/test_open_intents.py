"""Open intents by a glance at each entry are those that reading every entry finds, and outlive who counted them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residency.audit import open_intents
from residency.audit.entry import Entry, format_entry
from residency.audit.open_intents import OpenIntents, format_open_intents, parse_open_intents
from residency.audit.pairs import Pairs
from residency.errors import VerificationError
from tests.audit_log import INTENT

TRICKY = st.sampled_from([
    "POST /v1/people", 'x,"kind":"intent",', '","kind":"outcome","of":"0.0', '\\","of":"0.1","', ',"id":"9.9"', "é\\",
    ',"at":7,',
])  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> list[Entry]:
    """A log that holds: acts of two slots that end or do not, in any order, with other entries between."""
    entries: list[Entry] = []
    numbers, waiting = [0, 0], list[Entry]()
    for at in range(draw(st.integers(0, 25))):
        slot = draw(st.integers(0, 1))
        base = Entry(id=f"{slot}.{numbers[slot]}", kind="decision", at=at, effect="permit", policy="ab" * 32)
        numbers[slot] += 1
        kind = draw(st.sampled_from(["intent", "outcome", "decision", "refusal"]))
        if kind == "outcome" and waiting:
            begun = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
            entry = replace(base, kind="outcome", act="committed", of=begun.id, activity=begun.activity)
        else:
            kind = "decision" if kind == "outcome" else kind
            rules = (draw(TRICKY), "kind")
            entry = replace(base, kind=kind, activity=draw(TRICKY), note=draw(TRICKY), rules=rules)
            if kind == "intent":
                waiting.append(entry)
        entries.append(entry)
    return entries


@given(logs(), st.integers(0, 25), st.integers(0, 25))
def test_a_glance_finds_what_reading_finds_and_a_saved_count_goes_on(log: list[Entry], saved: int, at: int) -> None:
    pairs, known = Pairs(), OpenIntents()
    for index, entry in enumerate(log):
        pairs.add(index, entry)
    data = [format_entry(entry) for entry in log]
    known.take(data[:saved])
    known = parse_open_intents(format_open_intents(known, "log.example"), "log.example")
    known.take(data[saved:])
    times = [entry.at for _, entry in pairs.open]
    assert (known.size, known.count, known.oldest) == (len(log), len(times), min(times, default=None))
    assert known.before(at) == sum(time < at for time in times)


def test_an_outcome_that_comes_before_its_intent_ends_it() -> None:
    intent, outcome = INTENT, replace(INTENT, id="1.0", kind="outcome", act="failed", of="0.0")
    known = OpenIntents()
    known.take([format_entry(outcome), format_entry(intent)])
    assert (known.count, known.oldest) == (0, None)


def test_what_is_no_entry_is_passed_over_and_counted_as_read() -> None:
    known = OpenIntents()
    known.take([b"", b"x", b',"kind":"', b'{"kind":"intent"}', b',"kind":"intent"', b',"kind":"outcome"'])
    assert (known.size, known.count) == (6, 0)


def test_beyond_the_bound_open_intents_are_counted_and_no_longer_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_intents, "_LIMIT", 2)
    begun = [replace(INTENT, id=f"0.{n}", at=10 + n) for n in range(4)]
    known = OpenIntents()
    known.take([format_entry(each) for each in begun])
    known = parse_open_intents(format_open_intents(known, "a"), "a")
    assert (known.count, known.oldest, known.before(100)) == (4, 10, 2)
    known.take(
        [format_entry(replace(begun[n], id=f"0.{4 + n}", kind="outcome", act="failed", of=f"0.{n}")) for n in (3, 0)]
    )
    assert (known.count, known.oldest) == (2, 11)


def test_a_file_that_was_changed_or_is_of_another_log_is_refused() -> None:
    known = OpenIntents()
    known.take([format_entry(INTENT)])
    data = format_open_intents(known, "log.example")
    for at in range(len(data)):
        with pytest.raises(VerificationError, match=r"open-intents\.json"):
            parse_open_intents(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "log.example")
    for wrong in (b"", b"[]", b'{"size":[]}', data[:-1], data + b"\n"):
        with pytest.raises(VerificationError):
            parse_open_intents(wrong, "log.example")
    with pytest.raises(VerificationError):
        parse_open_intents(data, "other.example")
