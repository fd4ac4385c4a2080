"""A routed session's flushed rows in; whose they are, noted with the locator of their sink's country, out.

Calls by the session that knows when: `collect` after each flush, `note_new` before the act is confirmed, `forget_gone`
once it is committed, and `begin_savepoint` and `undo_savepoint` in between. What a crash leaves: noted before the
COMMIT, a key may be there without its row, and who asks for it finds no row; a row is never there without its key. A
transaction that is rolled back leaves the same. Only rows that the ORM flushes are seen: what bulk statements insert is
for `residency sinks locate`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import inspect as object_state
from sqlalchemy.orm import Session, SessionTransaction, object_mapper

from residency.enforcement.about import key_text
from residency.enforcement.current import Current
from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.storage.locator import Locators

__all__ = [
    "begin_savepoint",
    "collect",
    "forget_gone",
    "locators_of",
    "note_new",
    "undo_savepoint",
]

_log = logging.getLogger("residency")
_INFO: Final = "residency.located"
Row = tuple[str, str]


class _Flushed:
    """Rows of one transaction so far: those that came, with the ids their subject columns tell, and those that went;
    and what both were when each savepoint began."""

    __slots__ = ("before", "came", "went")

    def __init__(self) -> None:
        self.came: dict[Row, str | None] = {}
        self.went: set[Row] = set()
        self.before: dict[SessionTransaction, tuple[dict[Row, str | None], set[Row]]] = {}

    def add(self, row: Row, whose: str | None) -> None:
        """It is there from now on."""
        self.came[row] = whose
        self.went.discard(row)

    def remove(self, row: Row) -> None:
        """It is there no more."""
        if row in self.came:
            del self.came[row]
        else:
            self.went.add(row)


def collect(session: Session, here: Current, store: str) -> None:
    """Remember what a flush of `session` inserted and deleted of the tables that the store's `records:` name.

    To be called by `after_flush`, when keys are known and the session still tells new rows from old. Raises: UsageError
    for a key that no locator takes.
    """
    if locators_of(here) is None:
        return
    docs = {doc.name: doc.subject for doc in here.point.policy.deployment.records.get(store, ())}
    flushed: _Flushed = session.info.setdefault(_INFO, _Flushed())
    for table, row, _, whose in _rows(session.new, docs):
        flushed.add((table, row), whose)
    for table, row, before, whose in _rows(session.dirty, docs):
        if row != before:  # it has another key now
            flushed.remove((table, before))
            flushed.add((table, row), whose)
    for table, _, before, _ in _rows(session.deleted, docs):
        flushed.remove((table, before))


async def note_new(session: Session, here: Current, store: str, place: str) -> int:
    """Note what came since the last call, of a sink in `place`; how many keys. To be called before the act's confirm.

    Rows of a session are its subject's; a group's are told apart by their subject column. Raises: SinkUnavailable,
    RecordConflict where a key is another's, UsageError where a row is of nobody in the group, or of somebody and the
    session of nobody; then nothing may be committed.
    """
    locators, flushed = locators_of(here), session.info.get(_INFO)
    if locators is None or flushed is None or not flushed.came:
        return 0
    whose = {row: _whose(here, row[0], subject) for row, subject in flushed.came.items()}
    noted = [(record, key, digest) for (record, key), digest in whose.items() if digest is not None]
    flushed.came.clear()
    try:
        with here.trail:
            await locators.note(store, place, noted)
    except (SinkUnavailable, RecordConflict) as error:
        if here.decision.mode != "observe":
            raise
        _tell_unnoted(locators, store, place, error)
        return 0
    return len(noted)


async def forget_gone(session: Session, here: Current, store: str, place: str) -> int:
    """Take out what was deleted in the transaction that was just committed; how many keys. Raises: SinkUnavailable."""
    locators, flushed = locators_of(here), session.info.pop(_INFO, None)
    if locators is None or flushed is None or not flushed.went:
        return 0
    try:
        return await locators.forget(store, place, flushed.went)
    except SinkUnavailable as error:
        if here.decision.mode != "observe":
            raise
        _tell_unnoted(locators, store, place, error)
        return 0


def _tell_unnoted(locators: Locators, store: str, place: str, error: Exception) -> None:
    """Say once for each place that rows are not noted there: a deployment that only observes holds nobody up for it."""
    if (store, place) not in locators.behind:
        locators.behind.add((store, place))
        _log.warning(
            "rows of store %r in %s are written and not noted with its locator (%s): run `residency sinks locate` "
            "before you enforce",
            store, place, error,
        )  # fmt: skip


def begin_savepoint(session: Session, transaction: SessionTransaction) -> None:
    """Remember what came and went before a savepoint."""
    flushed: _Flushed | None = session.info.get(_INFO)
    if flushed is not None:
        flushed.before[transaction] = (dict(flushed.came), set(flushed.went))


def undo_savepoint(session: Session, transaction: SessionTransaction) -> None:
    """What came and went since that savepoint did not."""
    flushed: _Flushed | None = session.info.get(_INFO)
    if flushed is not None:
        flushed.came, flushed.went = flushed.before.pop(transaction, ({}, set()))


def _rows(objects: Iterable[Any], docs: dict[str, str | None]) -> Iterator[tuple[str, str, str, str | None]]:
    """(table, key, key before, id that the subject's column tells) of each row of these whose table `docs` has; an
    object of joined tables has several."""
    for each in objects:
        mapper = object_mapper(each)
        for table in mapper.tables:
            name = str(getattr(table, "name", ""))
            if name not in docs:
                continue
            columns = {
                column.name: prop.key
                for prop in mapper.column_attrs
                for column in prop.columns
                if getattr(column, "table", None) is table
            }
            keys = [column.name for column in table.primary_key]
            now = {column: getattr(each, columns[column]) for column in keys}
            attributes = object_state(each).attrs
            changed = {column: attributes[columns[column]].history.deleted for column in keys}
            before = {column: changed[column][0] if changed[column] else now[column] for column in keys}
            attribute = columns.get(docs[name] or "")
            value = None if attribute is None else getattr(each, attribute)
            yield name, key_text(now), key_text(before), None if value is None else str(value)


def _whose(here: Current, table: str, subject: str | None) -> str | None:
    """The digest of whose a row of `table` is; None where one that observes cannot tell. Raises: UsageError."""
    digest = None if subject is None else here.point.perception.digest(subject)
    if here.subject_digest is not None:
        return digest or here.subject_digest  # another's only while the deployment observes
    if here.of_many:
        if digest not in {member.subject_digest for member in getattr(here, "members", ())}:
            raise UsageError(
                "a row that is written for several people at once is of one of them, and its column says which"
            )
        return digest
    if here.decision.mode != "observe":
        raise UsageError(
            f"a row of {table!r} is somebody's, and this session is for nobody: say whose by identify() before its "
            "first statement, or write it under about() of that person"
        )
    return digest  # None = `residency sinks locate` finds it later


def locators_of(here: Current) -> Locators | None:
    """Where it is noted whose each row is, None where it is not."""
    found = getattr(here.point.stores, "locators", None)
    return found if isinstance(found, Locators) else None
