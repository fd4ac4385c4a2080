"""What a request's decision stands between: the stores that it may open, and what it has left in the log so far."""

from __future__ import annotations

from collections.abc import Container, Sequence, Set
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from residency.enforcement.request import Refusal
from residency.errors import (
    AddressDataUnavailable,
    FactsUnavailable,
    JournalFailed,
    JournalFull,
    JournalLate,
    KeysUnavailable,
    PinsUnavailable,
    ResidencyError,
    SinkUnavailable,
    SubjectMoving,
    Unavailable,
)
from residency.model import Operation, Reason

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["REASONS", "StoreFactory", "Trail", "unavailable"]

REASONS: Final[dict[type[object], Reason]] = {
    JournalFull: Reason.JOURNAL_FULL,
    JournalFailed: Reason.JOURNAL_FAILED,
    JournalLate: Reason.JOURNAL_FAILED,
    SinkUnavailable: Reason.SINK_UNAVAILABLE,
    SubjectMoving: Reason.SUBJECT_MOVING,
    PinsUnavailable: Reason.PINS_UNAVAILABLE,
    FactsUnavailable: Reason.FACTS_UNAVAILABLE,
    KeysUnavailable: Reason.KEYS_UNAVAILABLE,
    AddressDataUnavailable: Reason.ADDRESS_DATA_UNAVAILABLE,
}
"""The reason that each error of what is away is told by."""


def unavailable(error: ResidencyError) -> Refusal:
    """The refusal that a promise which cannot be kept now ends in."""
    return Refusal(REASONS.get(type(error), Reason.INTERNAL), message=str(error))


class StoreFactory(Protocol):
    """Makes the handle that `current().store(name)` answers."""

    def handle(self, current: Current, name: str) -> object: ...

    def followed(self, sink: str) -> Set[Operation]:
        """The operations that go on in a sink where a subject's data still lies while it is moved home: none of them
        lays anything down there, or sends it there."""

    @property
    def misplaced(self) -> Container[str]:
        """Sinks that no act may use now, since they were last seen elsewhere than they say."""

    async def claimants(self, store: str, rows: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
        """The digests of whose each (record, key) of `store` is: none where nobody has it, several where people in
        several places have rows of that key."""


class Trail:
    """What one request has left so far, shared by every `Current` made in it: a count of records, the last refusal,
    which has no entry where something was away, and the labels that laws want where its data went."""

    __slots__ = ("labels", "records", "refusal")

    def __init__(self) -> None:
        self.labels = frozenset[str]()
        self.records = 0
        self.refusal: Refusal | None = None

    def __enter__(self) -> Trail:
        """Inside, an error that is raised to the app is noted as by `met`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.met(error)

    def met(self, error: BaseException | None) -> None:
        """Note that the app is told by `error` of something that is away; of any other error nothing.

        Frameworks that have left their `except` by the time that they answer 500 show the edge no error: it asks here.
        """
        if isinstance(error, Unavailable):
            self.refusal = unavailable(error)
