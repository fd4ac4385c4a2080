"""What a move is told in, as values and ports: subjects that go, stores' ways from sink to sink, how far each has come.

`move` has the steps; here is what they are written in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from residency.model import Pin
from residency.storage.parcels import Parcel, Parcels

__all__ = ["BEGUN", "ClearCopies", "Going", "Leg", "MoveHomes", "MoveJournal", "Moved", "State", "Step", "never_copied"]


class State(StrEnum):
    """How far the move of a subject has come. `conflict`: the target has other bytes, the subject stayed; `late`: the
    source has what was never copied, and the target was used since."""

    # A crash leaves the state before; `copied` is written before the copy, so that it is known for ours, `noted` before
    # a pin moves of whom nothing is copied yet.

    NOTED = "noted"
    COPIED = "copied"
    VERIFIED = "verified"
    DONE = "done"
    CONFLICT = "conflict"
    LATE = "late"


BEGUN: Final = (State.COPIED, State.VERIFIED)
"""Of whom there is a copy of ours at the target, or a part of one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the journal: a subject (keyed digest, never the id), from where to where (places), how far, and by
    store the digest of what was last copied; `records` = how many those were, `marks` = by store `Cargo.marks`."""

    subject: str
    source: str
    target: str
    state: State
    copies: Mapping[str, str] = field(default_factory=dict)
    records: int = 0
    marks: Mapping[str, Collection[str]] = field(default_factory=dict)

    def marked(self, store: str, found: Parcel, subject: str) -> bool:
        """Whether all that `found` has of `subject` (id) was copied: of a copy or a deletion that a crash cut short."""
        return found.marks(subject) <= frozenset(self.marks.get(store, ()))


@dataclass(frozen=True, slots=True)
class Going:
    """A subject to be moved: its id, its keyed digest, its pin as it was read, and what a first pin remembers."""

    id: str
    digest: str
    pin: Pin | None
    first: Pin | None = None


ClearCopies = Callable[[Collection[str]], Awaitable[frozenset[str]]]
"""What `Leg.clear_copies` is."""


async def never_copied(subjects: Collection[str]) -> frozenset[str]:
    """There are no copies of anybody."""
    return frozenset()


@dataclass(frozen=True, slots=True)
class Leg:
    """One store's part of a move: from which sink to which.

    Where the target gets copies, `clear_copies` sees to it that there is none of these subjects (ids), who cannot write
    just now, and none on its way; those of whom something was deleted.
    """

    store: str
    source: Parcels
    target: Parcels
    clear_copies: ClearCopies = never_copied


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a batch: subjects (digests) that are home, in conflict, or to be tried again. `waits` = of the
    last, those for whom records of others have to come or to go first, and the foreign key where that is known."""

    home: frozenset[str]
    conflict: frozenset[str]
    again: frozenset[str]
    records: int
    waits: Mapping[str, str | None] = field(default_factory=dict)


class MoveJournal(Protocol):
    """What a move has done so far. It holds keyed digests, no ids. Raises: PinsUnavailable where it cannot be had."""

    async def steps(self, source: str, target: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """What is noted of these subjects."""

    async def left(self, place: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """Of these, a step (copied, verified or late) by which what lies at `place` is known for ours: left there by a
        move from it that did not end, or copied there by one to it."""

    async def put(self, steps: Sequence[Step]) -> None:
        """Note these, all or none, so that they survive a power cut."""


class MoveHomes(Protocol):
    """Pins, changed many at once, each an act with its entries. All answer the pins that are now in force; a subject
    that is missing in the answer was changed by somebody else meanwhile."""

    async def leave(self, pins: Sequence[Pin], target: str, source: str, why: str) -> Mapping[str, Pin]:
        """Say of each that it moves from `source` to `target`; one of version 0 is the subject's first."""

    async def arrive(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """Say of each that its data lies at its home."""

    async def stay(self, pins: Sequence[Pin], why: str) -> Mapping[str, Pin]:
        """Say of each that its data lies where it was."""
