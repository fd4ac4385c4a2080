"""What a copier needs of the world: notes of what changed at home, decisions and acts, and sinks that get copies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from residency.model import Operation, Pin, Protection, Sink
from residency.storage.copied import Copied, Key
from residency.storage.records import Record
from residency.storage.retention import Person

__all__ = [
    "WAITING",
    "CopyAct",
    "Deciding",
    "Note",
    "Outbox",
    "Owner",
    "Permit",
    "Round",
    "Standing",
    "Target",
    "Wanted",
]

WAITING: Final = frozenset({"changed", "subject_moving", "unreachable"})
"""Why a copy is not made yet that will be soon; any other reason is somebody's to mend."""


class Note(NamedTuple):
    """One note of an outbox: its own number, which record changed, when (microseconds), and how often it was held."""

    id: Any
    name: str
    key: str
    noted: int
    tries: int = 0


class Standing(NamedTuple):
    """How an outbox stands: notes that nobody held, by reason those that are held, and since when (microseconds) the
    oldest waits that nothing stands against; None = none does."""

    pending: int
    held: Mapping[str, int]
    oldest: int | None


class Outbox(Protocol):
    """The notes of one store in one sink. Raises: SinkUnavailable."""

    async def take(self, limit: int) -> Sequence[Note]:
        """Those whose time has come, the oldest first. All that are there are looked at: one that became visible late
        is not passed over."""

    async def done(self, notes: Sequence[Note]) -> None:
        """Delete exactly these."""

    async def hold(self, notes: Sequence[Note], reason: str, seconds: float) -> None:
        """Keep these for so long."""

    async def note(self, keys: Collection[Key]) -> None:
        """Note that these changed."""

    async def forget(self, keys: Collection[Key]) -> int:
        """Delete every note of these, also one that is held; how many."""

    async def release(self) -> None:
        """The time of all that are held has come."""

    async def fill(self) -> int:
        """Note everything that is there; how many."""

    async def standing(self) -> Standing:
        """How it stands."""

    async def lease(self, holder: str, seconds: float, what: str = "lease") -> bool:
        """Take the outbox for so long, or keep it, or whatever else `what` (a word) is; whether it is this holder's."""

    async def leave(self, holder: str, what: str = "lease") -> None:
        """Give it back, if it is this holder's."""


class Owner(NamedTuple):
    """Whose records are: what is known of them, and the pin as it is now."""

    person: Person
    pin: Pin | None


class Permit(NamedTuple):
    """Whether a record may be copied to a sink: `reason` None = yes, with its fields treated as `asked`. `rules` are
    cited; `decision` is what an entry tells of it."""

    reason: str | None
    asked: frozenset[Protection] = frozenset()
    rules: tuple[str, ...] = ()
    decision: Any = None


class Wanted(NamedTuple):
    """An act on a sink that is about to begin: for whom, on what ground (None = something is removed), why."""

    target: Sink
    operation: Operation
    owner: Owner | None
    permit: Permit | None
    why: str


class CopyAct(Protocol):
    """An act that has begun. The first word of how it ended stands."""

    def told(self, act: str, told: str) -> None:
        """Record how it ended ("committed", "failed", "unknown") and what came of it."""


class Deciding(Protocol):
    """What the policy, the facts and the pins say now, and acts that are recorded.

    Raises: PinsUnavailable, FactsUnavailable, JournalFull, JournalFailed.
    """

    key: bytes
    """What treatments of fields are made with; it stays at home."""

    def version(self) -> object:
        """Something that is another thing once policy or facts have changed."""

    async def owners(self, subjects: Collection[str]) -> Mapping[str, Owner]:
        """What is known of these subjects (ids) now."""

    def judge(self, record: Record, owner: Owner, target: Sink, home: Sink) -> Permit:
        """Whether a copy of `record` of `home` may be made in `target` now."""

    async def begin(self, acts: Sequence[Wanted]) -> Sequence[CopyAct]:
        """Record durably that these are about to be done."""

    async def settled(self) -> None:
        """Wait until all that was told is durable."""


@dataclass(frozen=True, slots=True)
class Target:
    """A sink that gets copies; `withdraw` = copies that may no more be there are deleted."""

    sink: Sink
    copied: Copied
    withdraw: bool = False


@dataclass(slots=True)
class Round:
    """What one look at an outbox, or at copies, came to, in numbers of records; `held` of notes, by reason; `gone` of
    copies whose records a home lost without a note, by that sink's name."""

    notes: int = 0
    copied: int = 0
    deleted: int = 0
    held: dict[str, int] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
