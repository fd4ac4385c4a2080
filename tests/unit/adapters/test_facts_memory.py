"""Changing facts: none of several changes at once is lost, and what cannot be recorded does not come into force."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from residency.adapters.facts_memory import FactsMemory
from residency.model import Event, FactSet


def test_what_comes_before_sees_the_facts_as_they_will_be_and_can_prevent_them() -> None:
    facts = FactsMemory(FactSet(3))
    seen: list[FactSet] = []

    def refuse(_: FactSet) -> None:
        raise RuntimeError("full")

    after = facts.change(lambda now: replace(now, escalated=frozenset({"a"})), seen.append)
    assert seen == [after] == [FactSet(4, escalated=frozenset({"a"}))]
    with pytest.raises(RuntimeError):
        facts.change(lambda now: replace(now, escalated=frozenset()), refuse)
    assert facts.current() is after
    assert facts.change(lambda now: replace(now, epoch=99), seen.append) is after, "nothing but the number would change"
    assert seen[1] is after


def test_of_changes_at_once_none_is_lost_and_each_has_an_epoch_of_its_own() -> None:
    facts = FactsMemory(FactSet(0))
    epochs: list[int] = []

    def add(number: int) -> None:
        event = Event("first_transfer", str(number), number)
        facts.change(lambda now: replace(now, events=(*now.events, event)), lambda now: epochs.append(now.epoch))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(facts.current().events) == 16
    assert epochs == list(range(1, 17))
