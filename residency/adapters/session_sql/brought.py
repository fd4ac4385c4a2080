"""A session that is for somebody else than who asks in; a refusal, where it loads what is of yet another, out.

`about()` decides on one person, or on a group. What such a session loads of others, by a relationship or by its SELECT,
nobody decided on: each of them is judged as in a list, by their own pin, for the place where it is read. Seen are the
objects that the ORM loads, of tables whose rows say whose they are: by the subject's own column, or by one that holds
the key of a table whose key is the subject's id.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Table, event
from sqlalchemy.orm import Session, object_mapper
from sqlalchemy.orm.exc import UnmappedColumnError

from residency.enforcement.current import Current
from residency.enforcement.refusing import refuse
from residency.model import Sink
from residency.policy.parsed_storage import RecordDoc
from residency.storage.judged import Found, Lying

__all__ = ["watch"]

_INFO: Final = "residency.brought"
_Wait = Callable[[Coroutine[Any, Any, object]], None]


def watch(session: Session, here: Current, docs: Sequence[RecordDoc], sink: str, wait: _Wait) -> None:
    """Look at whose each object is that `session` loads from `sink` under `here`, which is about somebody else than who
    asks. `wait` awaits something within the session's own call."""
    verdict = here.decision.sink(sink)
    people = {each.subject_digest for each in (here, *getattr(here, "members", ()))} - {None}
    if verdict is None or not people or here.decision.mode == "observe":
        return  # a list looks at its rows itself
    known: _Watch | None = session.info.get(_INFO)
    if known is None:
        event.listen(session, "loaded_as_persistent", _look)
    if known is None or known.here is not here:
        session.info[_INFO] = _Watch(here, docs, verdict.sink, people, wait)


class _Watch:
    """Whom a session is for, and of whom else it may load something."""

    def __init__(
        self, here: Current, docs: Sequence[RecordDoc], sink: Sink, people: set[str | None], wait: _Wait
    ) -> None:
        self.here = here
        self._docs = {doc.name: doc for doc in docs}
        self._sink = sink.name
        self._people = people
        self._wait = wait
        self._lying = Lying(here, {sink.name: sink.place}, twice=False)
        self._permitted: set[str] = set()

    def check(self, session: Session, instance: Any) -> None:
        """Raises: Refused where an object's row is of somebody whose law does not let it be read, PinsUnavailable."""
        for whose in _whose(instance, self._docs):
            if whose in self._permitted:
                continue
            if self.here.point.perception.digest(whose) not in self._people:
                found = Found(None, (), whose)
                self._wait(self._lying.look([(self._sink, found)]))
                against = self._lying.against(self._sink, found)
                if against is not None:
                    session.expunge(instance)  # else it could be had by its key
                    message = "what was loaded is somebody else's, too, whose law does not let it be read here"
                    raise refuse(against.here, against.reason, message, sink=self._sink)
            self._permitted.add(whose)


def _look(session: Any, instance: Any) -> None:
    watched: _Watch = session.info[_INFO]
    frozen = session._frozen
    if frozen is not None and frozen[0] is watched.here:
        watched.check(session, instance)


def _whose(instance: Any, docs: Mapping[str, RecordDoc]) -> Iterator[str]:
    """The ids that an object's rows tell."""
    mapper = object_mapper(instance)
    for table in mapper.tables:
        doc = docs.get(str(getattr(table, "name", "")))
        name = None if doc is None or not isinstance(table, Table) else doc.subject or _via(table, doc, docs)
        column = None if name is None else table.c.get(name)
        if column is None:
            continue
        try:
            value = instance.__dict__.get(mapper.get_property_by_column(column).key)
        except UnmappedColumnError:
            continue
        if value is not None:
            yield str(value)


def _via(table: Table, doc: RecordDoc, docs: Mapping[str, RecordDoc]) -> str | None:
    """The column that holds another table's key, where that is the subject's id."""
    if doc.via is None:
        return None
    column, other = doc.via
    there, its = table.metadata.tables.get(other), docs.get(other)
    if there is None or its is None or [each.name for each in there.primary_key] != [its.subject]:
        return None
    return column
