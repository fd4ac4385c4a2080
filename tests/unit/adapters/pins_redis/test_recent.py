"""What is put back is what is recent, within its bounds, and never silently less than the audit log tells."""

from __future__ import annotations

import dataclasses

import pytest

from residency.adapters.pins_redis.recent import Recent
from residency.adapters.pins_redis.scripts import format_pin
from residency.errors import JournalFailed, PinsUnavailable
from residency.model import Pin

PIN = Pin("1", "VN", (), "a1" * 16, "write", "0" * 64, 1)
OTHER = dataclasses.replace(PIN, subject="2")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_written_relied_on_and_told_is_all_put_back() -> None:
    recent = Recent(lambda: [dataclasses.replace(PIN, version=3)], within=10, limit=10)
    recent.wrote(PIN)
    recent.relied([dataclasses.replace(PIN, version=2), OTHER])
    assert [(subject, gone) for subject, _, gone in recent.changes()] == [
        ("1", False),
        ("1", False),
        ("1", False),
        ("2", False),
    ]


def test_what_was_forgotten_takes_the_place_of_what_was_written() -> None:
    recent = Recent(tuple, within=10, limit=10)
    recent.wrote(PIN)
    recent.forgot("1", b"stone")
    assert recent.changes() == [("1", b"stone", True)]


def test_what_is_older_than_a_replay_goes_back_is_let_go() -> None:
    clock = Clock()
    recent = Recent(tuple, within=10, limit=10, clock=clock)
    recent.wrote(PIN)
    clock.now = 109.0
    recent.wrote(OTHER)
    clock.now = 111.0
    assert recent.changes() == [("2", format_pin(OTHER), False)]


def test_no_more_is_kept_than_the_limit_and_the_oldest_go_first() -> None:
    recent = Recent(tuple, within=10, limit=2)
    for subject in "123":
        recent.wrote(dataclasses.replace(PIN, subject=subject))
    assert [subject for subject, _, _ in recent.changes()] == ["2", "3"]


def test_an_audit_log_that_does_not_tell_is_no_empty_one() -> None:
    def told() -> list[Pin]:
        raise JournalFailed("gone")

    with pytest.raises(PinsUnavailable, match="audit log"):
        Recent(told, within=10, limit=2).changes()
