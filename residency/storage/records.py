"""What the rows, objects and keys of one sink are as records: whose they are, what they hold, byte for byte.

Move, copies, retention, erasure and export go through records, so that they are written once for all kinds of sink. How
a store's records are told is the deployment's `records:` (`RecordDoc`); an adapter for each kind of sink reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

__all__ = ["Change", "KeyedRecords", "Record", "Records"]


@dataclass(frozen=True, slots=True)
class Record:
    """One row, object or key. `name` is the deployment's (a table, a pattern), `key` its canonical key within it, as
    JSON text for rows; `subject` the id of whose it is. `value` is the whole of it in canonical bytes, the same for the
    same content in every sink of the store; None = too large to hold, and to be streamed by the adapter.
    `times` are the instants (microseconds) of the events that retention counts from.
    """

    name: str
    key: str
    subject: str | None
    data: frozenset[str]
    value: bytes | None = None
    times: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """SHA-256 of `value`; what a copy is verified by. Raises: ValueError where it is streamed."""
        if self.value is None:
            raise ValueError("a record that is streamed has no digest of its own")
        return hashlib.sha256(self.value).digest()


Change = tuple[Record, bytes | None]
"""A record, and the bytes of what it takes the place of: None = nothing is there."""


@runtime_checkable
class Records(Protocol):
    """The records of one sink. Errors name the sink, never a key, a subject or a URL. Raises: SinkUnavailable."""

    @property
    def sink(self) -> str:
        """The sink's name."""

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """Ids of the subjects that there are records of, each once, in order, those after `after`, `limit` at most."""

    async def count(self) -> Mapping[str, int]:
        """About how many records there are of each name."""

    def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """Every record of these subjects; what others refer to comes before them."""

    async def write(self, records: Sequence[Record]) -> int:
        """Put these here, all or none; how many were not there. One that is there with the same bytes is left alone.

        Raises: RecordConflict where one is there with other bytes; then nothing was written.
        """

    async def delete(self, records: Sequence[Record]) -> int:
        """Remove those of these that are still as given, what refers to others first; how many."""


@runtime_checkable
class KeyedRecords(Records, Protocol):
    """Records that are found and changed by their keys too, as copies are."""

    async def get(self, keys: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Record]:
        """Those of these (name, key) that are there. `subject` is None where nothing tells any more whose one is; a
        name that `records:` tells nothing of has none."""

    async def replace(self, changes: Sequence[Change]) -> None:
        """Put each record in the place of what it is given with, all or none, or where the sink has no transactions,
        one by one.

        Raises: RecordConflict where something else is there, or stands against it; then nothing was changed.
        """
