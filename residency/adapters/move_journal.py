"""Steps of a move in, the same out, in one SQLite file: what a run that was killed had come to.

It holds keyed digests of subjects and of what was copied, places and numbers, and no id or record. One run at a time:
the file's lock goes with the process that holds it. What is noted together is one row behind the last, so that a
hundred thousand subjects cost no more for each than one does; what stands of each is in memory, made of the rows when
the file is opened.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.to_thread

from residency.audit.faults import fault
from residency.errors import PinsUnavailable
from residency.flock import Lock
from residency.sqlite import begun, connect, make_private, use_wal
from residency.storage.move import State, Step

__all__ = ["MoveJournalSqlite"]

_T = TypeVar("_T")
_Held = dict[tuple[str, str, str], Step]
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS noted (number INTEGER PRIMARY KEY, steps TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS done (
  source TEXT NOT NULL, target TEXT NOT NULL, subjects INTEGER NOT NULL, records INTEGER NOT NULL,
  PRIMARY KEY (source, target)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS own (one INTEGER PRIMARY KEY CHECK (one = 1), holder TEXT NOT NULL) STRICT;
"""
_OWN: Final = "INSERT INTO own VALUES (1, ?) ON CONFLICT (one) DO NOTHING"
_NOTE: Final = "INSERT INTO noted (steps) VALUES (?)"
_READ: Final = "SELECT steps FROM noted ORDER BY number"
_DONE: Final = """
INSERT INTO done VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET subjects = subjects + excluded.subjects, records = records + excluded.records
"""
_TOTALS: Final = "SELECT source, target, subjects, records FROM done"
_PENDING: Final = frozenset({State.NOTED, State.COPIED, State.VERIFIED})
_OURS: Final = frozenset({State.COPIED, State.VERIFIED, State.LATE})
_BUSY_MS: Final = 5000
_SPARE: Final = 100_000  # steps in the file that say nothing any more, before they are cleared


class MoveJournalSqlite:
    """The `MoveJournal` port over a SQLite file."""

    __slots__ = ("_db", "_held", "_lock", "_places", "_turn", "_written")

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by this user alone.

        Raises: PinsUnavailable, also while another run is on.
        """
        self._lock = Lock(path.with_name(path.name + ".lock"))
        self._turn = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._held: _Held = {}
        self._places: set[str] = set()  # that moves led from or to: a handful
        self._written = 0
        try:
            make_private(path)
            if not self._lock.take():
                raise PinsUnavailable("another run of the move is on: one at a time")
            self._db = connect(path, _BUSY_MS)
            use_wal(self._db, _BUSY_MS)
            self._db.executescript(_SCHEMA)
            for (text,) in self._db.execute(_READ):
                self._written += _read(text, self._held)
            self._places = {place for _, source, target in self._held for place in (source, target)}
        except (OSError, sqlite3.Error, ValueError, TypeError, KeyError) as error:
            self.close()
            raise PinsUnavailable(f"the journal of the move, {path.name}, cannot be opened ({_why(error)})") from error

    async def steps(self, source: str, target: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """What is noted of these subjects and is not done. Raises: PinsUnavailable."""
        held = self._opened()
        return {each: step for each in subjects if (step := held.get((each, source, target))) is not None}

    async def left(self, place: str, subjects: Collection[str]) -> Mapping[str, Step]:
        """As the port says. Raises: PinsUnavailable."""
        held = self._opened()
        ways = [(place, other) for other in self._places] + [(other, place) for other in self._places]
        found: dict[str, Step] = {}
        for each in subjects:
            known = [step for way in ways if (step := held.get((each, *way))) is not None and step.state in _OURS]
            if known:
                found[each] = known[0]
        return found

    async def put(self, steps: Sequence[Step]) -> None:
        """Note these, all or none, so that they survive a power cut. Raises: PinsUnavailable."""
        if steps:
            await anyio.to_thread.run_sync(self._put, steps)

    async def unfinished(self) -> tuple[Step, ...]:
        """Every step that is neither done nor somebody's to judge. Raises: PinsUnavailable."""
        return tuple([step for step in self._opened().values() if step.state in _PENDING])

    def holder(self, fresh: str) -> str:
        """Who holds the lease of movers by this journal: the same in every run, `fresh` in its first.

        Raises: PinsUnavailable.
        """

        def work(db: sqlite3.Connection) -> str:
            db.execute(_OWN, (fresh,))
            return str(db.execute("SELECT holder FROM own").fetchone()[0])

        with self._turn:
            return self._guard(work)

    def totals(self) -> list[tuple[str, str, State, int, int]]:
        """(source, target, state, subjects, records) of all that was noted; of who was moved twice, twice.

        Raises: PinsUnavailable.
        """
        found: dict[tuple[str, str, State], tuple[int, int]] = {}
        with self._turn:
            done = self._guard(lambda db: db.execute(_TOTALS).fetchall())
        for source, target, subjects, records in done:
            found[source, target, State.DONE] = (subjects, records)
        for step in self._opened().values():
            key = (step.source, step.target, step.state)
            subjects, records = found.get(key, (0, 0))
            found[key] = (subjects + 1, records + step.records)
        return [(*key, *found[key]) for key in sorted(found)]

    def close(self) -> None:
        """Release the file; idempotent."""
        if self._db is not None:
            self._db.close()
            self._db = None
        self._lock.release()

    def _put(self, steps: Sequence[Step]) -> None:
        done: dict[tuple[str, str], tuple[int, int]] = {}
        for each in steps:
            if each.state is State.DONE:
                subjects, records = done.get((each.source, each.target), (0, 0))
                done[each.source, each.target] = (subjects + 1, records + each.records)
        with self._turn:  # batches run side by side
            self._write(
                [_NOTE, *[_DONE] * len(done)], [(_text(steps, self._held),), *[(*k, *v) for k, v in done.items()]]
            )
            _apply(steps, self._held)
            for each in steps:
                self._places |= {each.source, each.target}
            self._written += len(steps)
            if self._written > len(self._held) + _SPARE:
                self._write(["DELETE FROM noted", _NOTE], [(), (_text(self._held.values(), {}),)])
                self._written = len(self._held)

    def _write(self, statements: Sequence[str], values: Sequence[tuple[Any, ...]]) -> None:
        def work(db: sqlite3.Connection) -> None:
            with begun(db):
                for statement, row in zip(statements, values, strict=True):
                    db.execute(statement, row)

        self._guard(work)

    def _opened(self) -> _Held:
        if self._db is None:
            raise PinsUnavailable("the journal of the move is closed")
        return self._held

    def _guard(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._db is None:
            raise PinsUnavailable("the journal of the move is closed")
        try:
            return work(self._db)
        except (sqlite3.Error, ValueError) as error:
            raise PinsUnavailable(f"the journal of the move cannot be read or written ({_why(error)})") from error


def _why(error: Exception) -> str:
    """What the system or SQLite calls it, and nothing of what was read."""
    if isinstance(error, OSError):
        return fault(error)
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def _text(steps: Iterable[Step], held: Mapping[tuple[str, str, str], Step]) -> str:
    """These as JSON; of one whose copies are as in `held` only what is new."""
    rows: list[list[object]] = []
    for each in steps:
        before = held.get((each.subject, each.source, each.target))
        row: list[object] = [each.subject, each.source, each.target, each.state.value]
        if before is None or before.copies != each.copies or before.records != each.records:
            row += [dict(each.copies), each.records, {store: sorted(marks) for store, marks in each.marks.items()}]
        rows.append(row)
    return json.dumps(rows, separators=(",", ":"))


def _read(text: str, held: _Held) -> int:
    """Take in what `_text` wrote; how many steps. Raises: ValueError, TypeError, KeyError for anything else."""
    rows = json.loads(text)
    for subject, source, target, state, *more in rows:
        before = held.get((subject, source, target))
        if more:
            copies, records, marks = [*more, {}][:3]  # a journal of an earlier version has no marks
        elif before is not None:
            copies, records, marks = before.copies, before.records, before.marks
        else:
            raise ValueError("a step that says nothing new of nothing")
        _apply([Step(subject, source, target, State(state), copies, records, marks)], held)
    return len(rows)


def _apply(steps: Sequence[Step], held: _Held) -> None:
    for each in steps:
        if each.state is State.DONE:
            held.pop((each.subject, each.source, each.target), None)
        else:
            held[each.subject, each.source, each.target] = each
