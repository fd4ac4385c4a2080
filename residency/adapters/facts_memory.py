"""A FactSet in, the newest FactSet and its epoch out; and what is noted and counted, held in this process."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Mapping

from residency.model import Event, FactSet

__all__ = ["FactsMemory", "NotedMemory"]


def _nothing(_facts: FactSet) -> None:
    pass


class FactsMemory:
    """The `Facts` port over a value held in this process, as a register file gives it."""

    __slots__ = ("_facts", "_lock")

    def __init__(self, facts: FactSet) -> None:
        self._facts = facts
        self._lock = threading.Lock()

    def epoch(self) -> int:
        """The present epoch."""
        return self._facts.epoch

    def current(self) -> FactSet:
        """The newest facts."""
        return self._facts

    def replace(self, facts: FactSet) -> FactSet:
        """Put `facts` in force at once and return them with their epoch: the given one, but always above the last.

        Facts that say what the last ones said keep the last epoch, so that nothing is decided again for nothing.
        """
        return self.change(lambda _: facts)

    def change(self, make: Callable[[FactSet], FactSet], before: Callable[[FactSet], object] = _nothing) -> FactSet:
        """As `replace`, by what `make` makes of the newest facts: of changes at once none is lost.

        `before` gets the facts as they will be in force, changed or not; where it raises, nothing is changed. Both may
        take their time: who reads does not wait.
        """
        with self._lock:
            old = self._facts
            facts = make(old)
            if dataclasses.replace(facts, epoch=old.epoch) == old:
                before(old)
            else:
                facts = dataclasses.replace(facts, epoch=max(old.epoch + 1, facts.epoch))
                before(facts)
                # One assignment of one frozen value: a reader sees all of the old facts or all of the new.
                self._facts = facts
            return self._facts


class NotedMemory:
    """The `Noted` port over this process's memory: for tests, and where pins lie in memory too."""

    __slots__ = ("_counted", "_events", "_lock", "_up")

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], int] = {}
        self._counted: dict[str, set[str]] = {}
        self._up: set[str] = set()
        self._lock = threading.Lock()

    def events(self) -> tuple[Event, ...]:
        """Every event that is noted."""
        with self._lock:
            return tuple(Event(kind, place, at) for (kind, place), at in sorted(self._events.items()))

    def note(self, event: Event) -> Event:
        """Note `event` unless one of its kind and place is; the one that stands."""
        with self._lock:
            return Event(event.kind, event.place, self._events.setdefault((event.kind, event.place), event.at))

    def put_back(self, event: Event) -> None:
        """Note `event` again unless an earlier one is noted."""
        with self._lock:
            key = event.kind, event.place
            self._events[key] = min(event.at, self._events.get(key, event.at))

    def count(self, subjects: Mapping[str, Collection[str]], counters: Collection[str]) -> dict[str, int]:
        """Count each subject once in its counter; how many each of `counters` has then."""
        with self._lock:
            for counter, digests in subjects.items():
                self._counted.setdefault(counter, set()).update(digests)
            return {counter: len(self._counted.get(counter, ())) for counter in counters}

    def forget(self, subject: str) -> None:
        """Take a subject out of every counter."""
        with self._lock:
            for digests in self._counted.values():
                digests.discard(subject)

    def escalated(self) -> frozenset[str]:
        """The escalations that are up."""
        with self._lock:
            return frozenset(self._up)

    def escalate(self, escalation: str, *, up: bool) -> bool:
        """Say whether an escalation is up; whether that was news."""
        with self._lock:
            news = (escalation in self._up) is not up
            if up:
                self._up.add(escalation)
            else:
                self._up.discard(escalation)
            return news

    def close(self) -> None:
        """Nothing to release."""
