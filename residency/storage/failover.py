"""What became of calls to a sink's members in; which member is next, or that none is, out. Pure: `now` comes in.

Members are further ways to the same data, in one place. An act goes from member to member and never to another sink:
elsewhere the subject's data is not, and what would be written there is not home.

A member's circuit, where `failures` counts those in a row:

| it is     | told by           | admits an act       | becomes                                              |
|-----------|-------------------|---------------------|------------------------------------------------------|
| closed    | `until` is None   | yes                 | open when `limit` acts in a row have failed          |
| open      | `now` < `until`   | no                  | half-open by itself, `rest` later                    |
| half-open | `until` <= `now`  | one; it is lent for | closed when that one works, open when it fails, and  |
|           |                   | `lease`             | half-open again where nobody told by then            |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from residency.errors import UsageError

__all__ = ["BOUNDS", "Attempt", "Bounds", "Circuit", "Told", "check_places"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """After how many failures in a row a circuit opens; for how long, and how long a trial is lent (microseconds)."""

    limit: int = 3
    rest: int = 5_000_000
    lease: int = 10_000_000


BOUNDS: Final = Bounds()


class Told(Enum):
    """What became of an act at one member."""

    ANSWERED = "answered"
    UNREACHED = "unreached"
    """Nothing of the act left for it."""
    BROKE = "broke"
    """It may have reached the member; nobody knows."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """How far one member is trusted to answer. `until` is in microseconds of a clock that never goes backwards."""

    failures: int = 0
    until: int | None = None

    def admits(self, now: int) -> bool:
        """Whether an act may be tried at this member."""
        return self.until is None or self.until <= now

    def begun(self, now: int, bounds: Bounds = BOUNDS) -> Circuit:
        """After an act was let through. Half-open it lets no other through until that one has told."""
        return self if self.until is None else replace(self, until=now + bounds.lease)

    def told(self, how: Told, now: int, bounds: Bounds = BOUNDS) -> Circuit:
        """After an act has told what became of it."""
        if how is Told.ANSWERED:
            return Circuit()
        failures = min(self.failures + 1, bounds.limit)
        return Circuit(failures, now + bounds.rest if failures == bounds.limit else self.until)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One act on its way through the members. `changes` = it changes data."""

    changes: bool
    tried: frozenset[int] = frozenset()
    how: Told | None = None

    def next(self, circuits: Sequence[Circuit], now: int) -> int | None:
        """The member to try now, None = the act is over: it was answered, nobody knows, or all members are away.

        Each is tried once at most, in their order. What changes data is tried nowhere else after it may have arrived:
        done twice it would be two, and what became of the first stays unknown.
        """
        if self.how is Told.ANSWERED or (self.changes and self.how is Told.BROKE):
            return None
        for member, circuit in enumerate(circuits):
            if member not in self.tried and circuit.admits(now):
                return member
        return None

    def told(self, member: int, how: Told) -> Attempt:
        """After `member` was tried."""
        return replace(self, tried=self.tried | {member}, how=how)


def check_places(sink: str, place: str, members: Sequence[str]) -> None:
    """Raises: UsageError unless every member lies in the sink's own place."""
    if any(member != place for member in members):
        raise UsageError(f"a member of sink {sink!r} lies elsewhere than the sink: failover never leaves its place")
