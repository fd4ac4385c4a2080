"""What the entries say about each other: entries in log order in, open intents and contradictions out.

Per worker slot the numbers run from 0 without a gap; an outcome names an intent of the log and each intent has at most
one, which tells of the same act. An intent without an outcome is not an error but a finding: something was begun, and
the log does not know how it ended.
"""

from __future__ import annotations

from typing import Final

from residency.audit.entry import Entry, parse_entry_id
from residency.errors import VerificationError

__all__ = ["Pairs", "must_be_one_act"]

_WAITING_LIMIT: Final = 10_000


def must_be_one_act(intent: Entry, outcome: Entry, index: int) -> None:
    """Refuse outcome number `index` where it tells of another act than its intent. Raises: VerificationError.

    A pin that changes may end elsewhere than it was to; what a later decision no longer knows, an outcome leaves out.
    """
    for name in ("activity", "operation", "store", "sink"):
        if getattr(intent, name) != getattr(outcome, name):
            raise VerificationError(f"entry {index} is an outcome of {intent.id} with another {name}")
    if outcome.region not in (None, intent.region) and intent.operation != "pin":
        raise VerificationError(f"entry {index} is an outcome of {intent.id} with another region")


class Pairs:
    """Feed it every entry with `add`, then call `finish`. Memory grows with open intents only."""

    __slots__ = ("_next", "_open", "_outcomes")

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._open: dict[str, tuple[int, Entry]] = {}
        # Slots are integrated one after the other, so an outcome from another slot may come before its intent.
        self._outcomes: dict[str, tuple[int, Entry]] = {}

    @property
    def open(self) -> tuple[tuple[int, Entry], ...]:
        """(index, intent) of every intent without an outcome so far, in log order."""
        return tuple(self._open.values())

    def add(self, index: int, entry: Entry) -> None:
        """Take in entry number `index` of the log. Raises: VerificationError."""
        slot, seq = parse_entry_id(entry.id)
        expected = self._next.get(slot, 0)
        if seq != expected:
            raise VerificationError(f"entry {index} is {entry.id}, where {slot}.{expected} was to come")
        self._next[slot] = seq + 1
        if entry.kind == "intent":
            early = self._outcomes.pop(entry.id, None)
            if early is None:
                self._open[entry.id] = (index, entry)
            else:
                must_be_one_act(entry, early[1], early[0])
        elif entry.of is not None:
            begun = self._open.pop(entry.of, None)
            if begun is not None:
                must_be_one_act(begun[1], entry, index)
            elif entry.of in self._outcomes or len(self._outcomes) >= _WAITING_LIMIT:
                raise VerificationError(f"entry {index} is an outcome of {entry.of}, which has one or is no intent")
            else:
                self._outcomes[entry.of] = index, entry

    def finish(self) -> None:
        """Say that the log ends here. Raises: VerificationError where an outcome has no intent of its own."""
        for of, (index, _) in self._outcomes.items():
            raise VerificationError(f"entry {index} is an outcome of {of}, which has one already or is no intent")
