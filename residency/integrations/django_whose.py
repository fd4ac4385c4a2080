"""Values of columns of Django's tables in; whose the rows are that have them, out, asked once for a unit of work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from uuid import UUID

from django.db import connections
from django.db.models import F, OuterRef, QuerySet, Subquery

from residency.adapters.session_sql.relations import DEFINITIONS
from residency.integrations.django_held import Held, keys_of, models_by_table, table_of
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import own_of, reading

__all__ = ["Asked", "People", "Whose", "is_vouched", "own_rows"]

_AT_ONCE: Final = 500  # keys in one question
_BOUND: Final = 10_000  # keys that are remembered, at most; cleared when full
_KINDS: Final = {
    "CharField": str, "TextField": str, "SlugField": str, "UUIDField": UUID,
    **dict.fromkeys(("AutoField", "BigAutoField", "IntegerField", "BigIntegerField", "PositiveIntegerField"), int),
}  # fmt: skip
"""Fields by whose value a database finds what says the same, letter by letter."""
_UNKNOWN: Final = object()
_Key = tuple[str, str, Any]
"""(table, column, value) of rows."""
People = dict[str | None, None]
"""Ids, each once; None = nothing tells whose it is."""
Asked = dict[tuple[str, str], dict[Any, None]]
"""Values of columns, of which is asked whose the rows are."""
_FRESH: Final = 60_000_000  # microseconds for which it is known what reads a table
_behind: dict[str, tuple[int, Mapping[str, RecordDoc] | None, frozenset[str]]] = {}
_vouched: ContextVar[bool] = ContextVar("residency_django_vouched", default=False)


@contextmanager
def own_rows() -> Iterator[None]:
    """Within it, all rows that statements tell columns of or write are of whom the unit is for: the app vouches for
    it. Objects are looked at all the same."""
    token = _vouched.set(True)
    try:
        yield
    finally:
        _vouched.reset(token)


def is_vouched() -> bool:
    """Whether the app vouches for what is sent now."""
    return _vouched.get()


class Whose:
    """Whose rows are, of one sink, by its `records:`."""

    def __init__(self, docs: Sequence[RecordDoc], sink: str) -> None:
        self._docs = {doc.name: doc for doc in docs}
        self._sink = sink
        self._known: dict[_Key, tuple[str | None, ...]] = {}

    def note(self, table: str, column: str, value: Any, whose: str) -> None:
        """The row of this key is of this person."""
        if len(self._known) > _BOUND:
            self._known.clear()
        self._known[table, column, value] = (whose,)

    def behind(self, now: int) -> Set[str]:
        """Names, in capitals, of what in the database reads tables with rows of somebody: asked at most once a minute.
        `now` in microseconds of a clock that never goes back."""
        at, docs, names = _behind.get(self._sink, (0, None, frozenset()))
        if docs != self._docs or now - at >= _FRESH:
            connection = connections[self._sink]
            with own_rows(), connection.cursor() as cursor:
                cursor.execute(DEFINITIONS[connection.vendor])
                made = [(str(name), text) for name, text in cursor.fetchall()]
            names = reading(made, self._docs)
            _behind[self._sink] = (now, self._docs, names)
        return names

    def is_told(self, table: str) -> bool:
        """Whether anything tells whose the rows of a table are."""
        return self._subject(models_by_table().get(table)) is not None

    def led(self, given: Iterable[tuple[RecordDoc, Any]]) -> People:
        """Whose the rows are that rows lead to."""
        held: list[Held] = []
        for doc, value in given:
            there = None if doc.via is None else models_by_table().get(doc.via[1])
            if there is not None and len(keys_of(there._meta)) == 1:
                held.append(Held(table_of(there._meta), there._meta.pk.column, (value,)))
        return self.of(held)

    def of(self, held: Iterable[Held]) -> People:
        """The ids of whom a query names as those whose rows it is about, each once."""
        people, asked = People(), Asked()
        for table, column, values in held:
            for value in values:
                if value is not None:  # else no row is found by it
                    self.ask_or_say(table, column, value, people, asked)
        return people | self.answers(asked)

    def ask_or_say(self, table: str, column: str, value: Any, people: People, asked: Asked) -> None:
        """Note whose the rows are that have this value in a column, or that it is to be asked."""
        doc = self._docs[table]
        if self.is_id(doc, column) and _is_exact(table, column, value):
            people[str(value)] = None
        elif (known := self._known.get((table, column, value))) is not None:
            people.update(dict.fromkeys(known))
        else:
            asked.setdefault((table, column), {})[value] = None

    def id_column(self, doc: RecordDoc) -> str | None:
        """The column of a table that holds its subject's id; None where only a further table tells it."""
        return own_of(doc) if self.is_id(doc, own_of(doc)) else None

    def is_id(self, doc: RecordDoc, column: str) -> bool:
        """Whether a column holds the subject's id, be it as another table's key."""
        if doc.subject is not None or doc.via is None or column != doc.via[0]:
            return doc.subject == column
        there, its = models_by_table().get(doc.via[1]), self._docs.get(doc.via[1])
        return there is not None and its is not None and keys_of(there._meta) == (its.subject,)

    def answers(self, asked: Asked) -> People:
        """Whose the rows are that have these values."""
        people = People()
        if len(self._known) > _BOUND:
            self._known.clear()
        for (table, column), values in asked.items():
            found: dict[_Key, tuple[str | None, ...]] = {}
            for value, whose in self._ask(table, column, list(values)):
                people[whose] = None
                found[table, column, value] = (*found.get((table, column, value), ()), whose)
            self._known |= found
        return people

    def _ask(self, table: str, column: str, values: Sequence[Any]) -> Iterator[tuple[Any, str | None]]:
        """The values that were found, each with whose its rows are, by a question of its own in the same act."""
        model = models_by_table().get(table)
        name = None if model is None else _name(model, column)
        subject = None if name is None else self._subject(model)
        if subject is None:
            yield _UNKNOWN, None
            return
        for start in range(0, len(values), _AT_ONCE):
            some = {f"{name}__in": values[start : start + _AT_ONCE]}
            with own_rows():
                found = list(QuerySet(model, using=self._sink).filter(**some).values_list(name, subject).distinct())
            for value, whose in found:
                yield value, None if whose is None else str(whose)

    def _subject(self, model: Any, depth: int = 8) -> Any:
        """The subject's id of each row of a model's table; None where nothing tells it."""
        doc = None if model is None else self._docs.get(table_of(model._meta))
        name = None if doc is None or depth == 0 else _name(model, own_of(doc))
        if doc is None or name is None:
            return None
        if doc.via is None:
            return F(name)
        there = models_by_table().get(doc.via[1])
        found = None if there is None or len(keys_of(there._meta)) != 1 else self._subject(there, depth - 1)
        if there is None or found is None:
            return None
        return Subquery(QuerySet(there, using=self._sink).filter(pk=OuterRef(name)).values_list(found)[:1])


def _name(model: Any, column: str) -> str | None:
    return next((field.attname for field in model._meta.local_concrete_fields if field.column == column), None)


def _is_exact(table: str, column: str, value: Any) -> bool:
    """Whether a database finds by a value of a column what says the same, letter by letter."""
    model = models_by_table().get(table)
    fields = () if model is None else model._meta.local_concrete_fields
    field = next((each for each in fields if each.column == column), None)
    while field is not None and field.is_relation:
        field = field.target_field
    if field is None or not type(field).__module__.startswith("django.") or getattr(field, "db_collation", None):
        return False
    return type(value) is _KINDS.get(field.get_internal_type())
