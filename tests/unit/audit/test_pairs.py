"""Intents and outcomes find each other, and contradictions are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from residency.audit.entry import Entry
from residency.audit.pairs import Pairs
from residency.errors import VerificationError


def intent(entry_id: str) -> Entry:
    return Entry(id=entry_id, kind="intent", at=0, effect="permit", policy="00" * 32)


def outcome(entry_id: str, of: str) -> Entry:
    return Entry(id=entry_id, kind="outcome", at=0, effect="permit", policy="00" * 32, act="committed", of=of)


def run(*entries: Entry) -> Pairs:
    pairs = Pairs()
    for index, entry in enumerate(entries):
        pairs.add(index, entry)
    pairs.finish()
    return pairs


def test_an_intent_with_its_outcome_is_not_open() -> None:
    assert run(intent("0.0"), outcome("0.1", "0.0")).open == ()


def test_an_intent_without_an_outcome_is_open_and_keeps_its_index() -> None:
    assert [(index, entry.id) for index, entry in run(intent("0.0"), intent("0.1"), outcome("0.2", "0.0")).open] == [
        (1, "0.1")
    ]


def test_an_outcome_in_another_slot_may_come_before_its_intent() -> None:
    assert run(outcome("0.0", "1.0"), intent("1.0")).open == ()


@pytest.mark.parametrize(
    "entries",
    [
        (outcome("0.0", "1.0"),),
        (intent("0.0"), outcome("0.1", "0.0"), outcome("0.2", "0.0")),
        (outcome("0.0", "1.0"), outcome("0.1", "1.0"), intent("1.0")),
        (outcome("0.0", "1.0"), intent("1.0"), outcome("0.1", "1.0")),
    ],
)
def test_an_outcome_without_an_intent_of_its_own_is_refused(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(VerificationError, match="outcome of"):
        run(*entries)


@pytest.mark.parametrize("ids", [("0.1",), ("0.0", "0.2"), ("0.0", "0.0"), ("0.0", "1.0", "1.2"), ("1.0", "0.1")])
def test_a_gap_or_a_repetition_in_a_slot_is_named(ids: tuple[str, ...]) -> None:
    with pytest.raises(VerificationError, match="was to come"):
        run(*map(intent, ids))


def test_an_empty_log_has_nothing_open() -> None:
    assert run().open == ()


ABROAD: dict[str, Any] = {
    "activity": "GET /v1/x",
    "operation": "read",
    "store": "people",
    "sink": "people-sg",
    "region": "sg",
}


@pytest.mark.parametrize("name", sorted(ABROAD))
@pytest.mark.parametrize("early", [False, True])
def test_an_outcome_that_tells_of_another_act_than_its_intent_is_refused(name: str, early: bool) -> None:
    other = {**ABROAD, name: "elsewhere"}
    if early:
        entries = (replace(outcome("0.0", "1.0"), **other), replace(intent("1.0"), **ABROAD))
    else:
        entries = (replace(intent("0.0"), **ABROAD), replace(outcome("0.1", "0.0"), **other))
    with pytest.raises(VerificationError, match=f"with another {name}"):
        run(*entries)
    assert run(*(replace(entry, **ABROAD) for entry in entries)).open == ()


def test_an_outcome_may_leave_the_region_out_and_a_pin_may_end_elsewhere() -> None:
    left_out = replace(outcome("0.1", "0.0"), **{**ABROAD, "region": None})
    assert run(replace(intent("0.0"), **ABROAD), left_out).open == ()
    pin = replace(intent("0.0"), operation="pin", region="VN")
    assert run(pin, replace(outcome("0.1", "0.0"), operation="pin", region="SG")).open == ()
