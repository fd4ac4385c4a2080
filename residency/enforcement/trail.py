"""What a request's decision stands between: the stores that it may open, and what it has left in the log so far."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Protocol

from residency.enforcement.request import Refusal

if TYPE_CHECKING:
    from residency.enforcement.current import Current

__all__ = ["StoreFactory", "Trail"]


class StoreFactory(Protocol):
    """Makes the handle that `current().store(name)` answers."""

    def handle(self, current: Current, name: str) -> object: ...

    @property
    def misplaced(self) -> Container[str]:
        """Sinks that no act may use now, since they were last seen elsewhere than they say."""

    async def owners(self, store: str, rows: Sequence[tuple[str, str]]) -> tuple[str | None, ...]:
        """The digest of whose each (record, key) of `store` is; None where nobody has it."""


class Trail:
    """What one request has left so far, shared by every `Current` made in it: a count of records, the last refusal."""

    __slots__ = ("records", "refusal")

    def __init__(self) -> None:
        self.records = 0
        self.refusal: Refusal | None = None
