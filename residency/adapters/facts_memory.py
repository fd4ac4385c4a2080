"""A FactSet in, the newest FactSet and its epoch out."""

from __future__ import annotations

import dataclasses
import threading

from residency.model import FactSet

__all__ = ["FactsMemory"]


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
        with self._lock:
            old = self._facts
            if dataclasses.replace(facts, epoch=old.epoch) != old:
                # One assignment of one frozen value: a reader sees all of the old facts or all of the new.
                self._facts = dataclasses.replace(facts, epoch=max(old.epoch + 1, facts.epoch))
            return self._facts
