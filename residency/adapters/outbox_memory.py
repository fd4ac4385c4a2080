"""Notes, and what is noted of copies, in; the same out, for as long as this process lives: the reference, and tests."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from residency.errors import SinkUnavailable
from residency.storage.copied import Key
from residency.storage.outbox import WAITING, Note, Standing

__all__ = ["LedgerMemory", "MarksMemory", "OutboxMemory"]


@dataclass(slots=True)
class _Row:
    note: Note
    due: int = 0
    reason: str | None = None


@dataclass(slots=True)
class OutboxMemory:
    """The `Outbox` port over a dict. `now` answers microseconds; `there` all keys of the records beside it."""

    sink: str
    now: Callable[[], int]
    there: Callable[[], Iterable[Key]] = tuple
    away: bool = False
    rows: dict[int, _Row] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _leases: dict[str, tuple[str, int]] = field(default_factory=dict)

    async def take(self, limit: int) -> Sequence[Note]:
        """Those whose time has come. Raises: SinkUnavailable."""
        self._check()
        due = [row for row in self.rows.values() if row.due <= self.now()]
        return [row.note for row in sorted(due, key=lambda row: (row.due, row.note.id))[:limit]]

    async def done(self, notes: Sequence[Note]) -> None:
        """Delete exactly these. Raises: SinkUnavailable."""
        self._check()
        for note in notes:
            self.rows.pop(note.id, None)

    async def hold(self, notes: Sequence[Note], reason: str, seconds: float) -> None:
        """Keep these for so long. Raises: SinkUnavailable."""
        self._check()
        for note in notes:
            if (row := self.rows.get(note.id)) is not None:
                row.note = row.note._replace(tries=row.note.tries + 1)
                row.due = self.now() + int(seconds * 1_000_000)
                row.reason = reason

    async def note(self, keys: Collection[Key]) -> None:
        """Note that these changed. Raises: SinkUnavailable."""
        self._check()
        for key in keys:
            self.noted(key)

    async def forget(self, keys: Collection[Key]) -> int:
        """Delete every note of these; how many. Raises: SinkUnavailable."""
        self._check()
        gone = [number for number, row in self.rows.items() if (row.note.name, row.note.key) in keys]
        for number in gone:
            del self.rows[number]
        return len(gone)

    async def release(self) -> None:
        """The time of all has come. Raises: SinkUnavailable."""
        self._check()
        for row in self.rows.values():
            row.due = 0

    async def fill(self) -> int:
        """Note everything that is there; how many. Raises: SinkUnavailable."""
        keys = list(self.there())
        await self.note(keys)
        return len(keys)

    async def standing(self) -> Standing:
        """How it stands. Raises: SinkUnavailable."""
        self._check()
        held = Counter(row.reason for row in self.rows.values() if row.reason is not None)
        oldest = [row.note.noted for row in self.rows.values() if row.reason is None or row.reason in WAITING]
        return Standing(len(self.rows) - held.total(), held, min(oldest, default=None))

    async def lease(self, holder: str, seconds: float, what: str = "lease") -> bool:
        """Take it, or keep it. Raises: SinkUnavailable."""
        self._check()
        whose, until = self._leases.get(what, (holder, 0))
        if whose != holder and until >= self.now():
            return False
        self._leases[what] = (holder, self.now() + int(seconds * 1_000_000))
        return True

    async def leave(self, holder: str, what: str = "lease") -> None:
        """Give it back. Raises: SinkUnavailable."""
        self._check()
        if self._leases.get(what, ("", 0))[0] == holder:
            del self._leases[what]

    def noted(self, key: Key) -> None:
        """What a trigger does, in the app's own transaction."""
        number = next(self._numbers)
        self.rows[number] = _Row(Note(number, *key, self.now()))

    def _check(self) -> None:
        if self.away:
            raise SinkUnavailable(f"sink {self.sink!r} cannot be reached")


@dataclass(slots=True)
class LedgerMemory:
    """The `Ledger` port over a dict."""

    held: dict[str, frozenset[str]] = field(default_factory=dict)

    async def read(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The digests noted of these."""
        return {each: self.held[each] for each in ids if each in self.held}

    async def write(self, digests: Mapping[str, frozenset[str]]) -> None:
        """Note these."""
        self.held |= digests

    async def forget(self, ids: Collection[str]) -> None:
        """Note nothing of these any more."""
        for each in ids:
            self.held.pop(each, None)


@dataclass(slots=True)
class MarksMemory:
    """The `Marks` port over a set."""

    held: set[str] = field(default_factory=set)

    async def read(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these that are there."""
        return frozenset(self.held.intersection(ids))

    async def write(self, ids: Collection[str]) -> None:
        """Make these."""
        self.held.update(ids)

    async def forget(self, ids: Collection[str]) -> None:
        """Remove these."""
        self.held.difference_update(ids)
