"""What a unit of work sends through Django's compilers, or as text, in; a refusal, where it is of somebody else, out.

A unit under `about()`, or of a request that names somebody else than who asks, gives of others what their own law lets
be read there, as a routed session of SQLAlchemy's does. Whole rows, of which Django makes objects, tell whose they are:
they are looked at between the database and the object, each chunk at once, so that no way to make one goes past it.
Columns, counts and changes tell it by the query's own conditions (`django_held`). Text that names a table with rows of
somebody is refused, unless the app says that all it reads and writes is of the unit's subject. What any unit writes has
its own subject in the subject's column, and what it changes or deletes is that subject's: a unit of who asks for
themselves reads what it likes, and notes whose its objects are, so that few are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any, Final

from django.db.models import Value
from django.db.models.constants import OnConflict
from django.db.models.sql import DeleteQuery, Query, UpdateQuery

from residency.enforcement.current import Current
from residency.errors import UsageError
from residency.integrations.django_held import Held, Told, keys_of, table_of, told
from residency.integrations.django_whose import Asked, People, Whose, is_vouched
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import behind_in, changes, gives_subject, mentioned, of_somebody, own_of
from residency.storage.others import (
    Others,
    changes_elses,
    changes_unsaid,
    hidden_behind,
    people_of,
    somebody_elses,
    unsaid,
    unseen,
)
from residency.storage.statements import writes, written

__all__ = ["Looking"]

_VOUCH: Final = "`with own_rows():`"


class Looking:
    """Whom a unit of work is for, and of whom else it may tell; `others` None = it may tell of anybody."""

    def __init__(
        self,
        here: Current,
        docs: Sequence[RecordDoc],
        sink: str,
        wait: Callable[[Callable[[], Coroutine[Any, Any, None]]], None],
        changes: bool,
    ) -> None:
        """`wait` awaits something within Django's own call; `changes` = the unit changes data."""
        self._docs = {doc.name: doc for doc in docs}
        self._others = Others.than(here, sink) if here.of_another else None
        self._own = changes and not here.of_another and here.subject_digest is not None
        self._people = people_of(here)
        self._digest = here.point.perception.digest
        self._sink = sink
        self._now = here.point.clock.monotonic
        self._whose = Whose(docs, sink)
        self._wait = wait
        self._sent: list[tuple[str, Any]] = []

    @staticmethod
    def of(here: Current, store: str, sink: str, wait: Any, *, changes: bool) -> Looking | None:
        """None = there is nothing to look at."""
        docs = here.point.policy.deployment.records_at(store, (sink,))
        return Looking(here, docs, sink, wait, changes) if docs and here.decision.mode != "observe" else None

    # -- what is sent ---------------------------------------------------------------------------------------------

    @contextmanager
    def sending(self) -> Iterator[None]:
        """What a compiler has looked at in here may be sent until it ends."""
        at = len(self._sent)
        try:
            yield
        finally:
            del self._sent[at:]

    def sends(self, statements: Iterable[tuple[str, Any]]) -> None:
        """These were looked at."""
        self._sent += statements

    def check_text(self, text: str, parameters: Any) -> None:
        """Look at what is about to be sent. Raises: UsageError where no compiler made it, and it tells or writes what
        nobody can say whose it is."""
        if is_vouched() or any(text is sent and parameters is given for sent, given in self._sent):
            return
        doc = gives_subject(written(text), self._docs.values(), self._whose.id_column) if writes(text) else None
        if doc is not None:
            raise unseen(doc, "by the model's own save() or create()", _VOUCH)
        if self._others is not None:
            named = mentioned(text, self._docs, whole=not self._people)
            self._refuse_loose(named or behind_in(text, self._behind()))
        elif self._own:
            self._check_changed(Told(unheld=changes(text, self._docs, self._behind())))

    def check(self, query: Any, own: Iterable[str] = ()) -> None:
        """Look at whose rows a query tells columns of, or changes. Raises: UsageError, Refused, PinsUnavailable."""
        if isinstance(query, UpdateQuery):
            values = [value for _, _, value in query.values]
            for field, _, value in query.values:
                self.check_value(table_of(query.get_meta()), field, value)
            if self._others is not None and not is_vouched():
                made = [_resolved(query, value) for value in values if hasattr(value, "resolve_expression")]
                self._check_told(self._told(query, changes=True, values=made))
        elif self._others is not None and not is_vouched():
            self._check_told(self._told(query, own=own, changes=isinstance(query, DeleteQuery)))
        if self._own and isinstance(query, UpdateQuery | DeleteQuery) and not is_vouched():
            self._check_changed(self._told(query, changes=True))

    def check_value(self, table: str, field: Any, value: Any) -> None:
        """Look at what a row is given. Raises: UsageError where it says that it is somebody else's, or may."""
        doc = self._docs.get(table)
        own = doc is not None and self._whose.is_id(doc, field.column)
        if doc is None or not (own or self._leads(doc, field.column)) or is_vouched():
            return
        if isinstance(value, Value):
            value = value.value
        elif hasattr(value, "prepare_database_save") and field.remote_field:
            value = value.prepare_database_save(field)
        if hasattr(value, "resolve_expression"):
            raise unseen(doc, "as it is, and no expression", _VOUCH)
        if value is not None and own and not self._is_own(str(value)):
            raise somebody_elses(doc, "unit of work")
        if value is not None and not own and not all(map(self._is_own, self._whose.led([(doc, value)]) or (None,))):
            there = doc.via[1] if doc.via is not None else ""
            raise UsageError(
                f"a row that leads to one of {there!r} is of whom that is, and this unit of work is for somebody else: "
                "write it in one under about() of that person"
            )

    def _leads(self, doc: RecordDoc, column: str) -> bool:
        """Whether a further table tells whose a row is that has a value in this column, and it is looked at."""
        return self._others is not None and bool(self._people) and doc.via is not None and doc.via[0] == column

    def check_inserted(self, value: Any) -> None:
        """Look at what an expression tells that a row is given. Raises: UsageError."""
        if self._others is not None and not is_vouched():
            query = Query(None)
            query.annotations["value"] = value
            self._check_told(self._told(query))

    def check_insert(self, query: Any) -> None:
        """Look at whose rows an insert changes where they are there. Raises: UsageError, Refused, PinsUnavailable."""
        table = table_of(query.get_meta())
        doc = of_somebody(self._docs).get(table)
        if doc is None or not self.looks_at_rows() or is_vouched():
            return
        for field in query.fields:
            if self._leads(doc, field.column) and not self._whose.is_id(doc, field.column):
                keys = dict.fromkeys(getattr(each, field.attname) for each in query.objs)
                self._whose.led((doc, each) for each in keys if not hasattr(each, "resolve_expression"))  # all at once
        if query.on_conflict is not OnConflict.UPDATE:
            return
        unique = {field.column: field for field in query.unique_fields}
        said = next((each for each in (own_of(doc), query.get_meta().pk.column) if each in unique), None)
        if said is None:
            self._check_changed(Told(unheld=[table]))
        else:
            values = tuple(getattr(each, unique[said].attname) for each in query.objs)
            self._check_changed(Told(changed=[Held(table, said, values)]))

    # -- what is given --------------------------------------------------------------------------------------------

    def is_vouched(self) -> bool:
        """Whether the app vouches for what is sent now."""
        return is_vouched()

    def looks_at_rows(self) -> bool:
        """Whether rows are looked at: whose they are is judged, or noted, for those that are changed later."""
        return self._others is not None or self._own

    def finds_first(self, query: Any) -> bool:
        """Whether rows are found before they are deleted, for nothing else says whose they are; `query` None = they
        are deleted along with others."""
        if not self._people or not self.looks_at_rows() or is_vouched():
            return False
        return query is None or bool(self._told(query, changes=True).unheld)

    def rows(
        self, compiler: Any, made: Iterable[Sequence[int]], results: Iterable[Sequence[Any]]
    ) -> Iterator[Sequence[Any]]:
        """Chunks of rows as they came, none before it was looked at whose each is; `made` = the positions of columns of
        each object that is made of one. Raises: Refused, PinsUnavailable."""
        kinds = [kind for fields in made for kind in self._kinds(compiler, fields)]
        at = list(dict.fromkeys(each for kind in kinds for each in kind.at))
        converters = compiler.get_converters([compiler.select[each][0] for each in at])
        try:
            for chunk in results:
                picked = ([row[each] for each in at] for row in chunk)
                converted = compiler.apply_converters(picked, converters) if converters else picked
                values = [dict(zip(at, row, strict=True)) for row in converted]
                self._check_rows(kinds, chunk, values)
                yield chunk
        finally:
            if isinstance(results, Generator):
                results.close()  # now, and not in another transaction, once nobody holds it any more

    def _kinds(self, compiler: Any, fields: Sequence[int]) -> Iterator[_Kind]:
        """The tables that the columns of an object are of, and which column of each tells whose it is."""
        columns: dict[Any, dict[str, int]] = {}
        for at in fields:
            target = compiler.select[at][0].target
            columns.setdefault(target.model._meta, {})[target.column] = at
        docs = of_somebody(self._docs)
        for meta, its in columns.items():
            if (doc := docs.get(table_of(meta))) is not None:
                keys = keys_of(meta)
                yield _Kind(doc, tuple(fields), its, own_of(doc), keys[0] if len(keys) == 1 else None)

    def _check_rows(self, kinds: Sequence[_Kind], chunk: Sequence[Any], values: Sequence[Mapping[int, Any]]) -> None:
        people, asked = People(), Asked()
        for kind in kinds:
            own, key, name = kind.columns.get(kind.own), kind.columns.get(kind.key or ""), kind.doc.name
            for row, its in zip(chunk, values, strict=True):
                if all(row[each] is None for each in kind.fields):
                    continue  # an outer join found nothing
                if own is not None and its[own] is not None:
                    if kind.doc.subject is None:
                        self._whose.ask_or_say(name, kind.own, its[own], people, asked)
                        continue
                    people[str(its[own])] = None
                    if key is not None:
                        self._whose.note(name, str(kind.key), its[key], str(its[own]))
                elif own is None and key is not None:
                    self._whose.ask_or_say(name, str(kind.key), its[key], people, asked)
                else:
                    people[None] = None
        if self._others is not None:  # who asks reads what they like
            self._judge(people | self._whose.answers(asked))

    # -- whose it is ----------------------------------------------------------------------------------------------

    def _told(self, query: Any, **more: Any) -> Told:
        return told(query, self._docs, self._sink, self._behind(), **more)

    def _behind(self) -> Set[str]:
        return self._whose.behind(self._now())

    def _check_told(self, found: Told) -> None:
        self._refuse_loose(found.loose)
        if self._people:
            self._check_changed(found)
        self._judge(self._whose.of(found.held))

    def _check_changed(self, found: Told) -> None:
        untold = (each.table for each in found.changed if not self._whose.is_told(each.table))
        for table in (*found.unheld, *untold):
            doc = self._docs.get(table)
            raise hidden_behind(table, _VOUCH) if doc is None else changes_unsaid(doc, "unit of work", _VOUCH)
        for held in found.changed:
            if not all(map(self._may_change, self._whose.of([held]))):
                raise changes_elses(held.table, "unit of work")

    def _may_change(self, whose: str | None) -> bool:
        """A row that says nobody who asks may write, and change."""
        return self._is_own(whose) or (whose is None and self._own)

    def _is_own(self, whose: str | None) -> bool:
        return whose is not None and self._digest(whose) in self._people

    def _judge(self, people: Iterable[str | None]) -> None:
        others = self._others
        if others is not None and (unknown := others.unknown(people)) and not others.check_now(unknown):

            async def check() -> None:
                await others.check(unknown)

            self._wait(check)

    def _refuse_loose(self, loose: Sequence[str]) -> None:
        if loose:
            doc = self._docs.get(loose[0])
            if doc is None:
                raise hidden_behind(loose[0], _VOUCH)
            raise unsaid(doc, "take the model's objects, which are looked at", _VOUCH)


class _Kind:
    """Columns of a row that are of one table: the positions of the object's, and theirs by name; the one that tells
    whose it is, and the key's."""

    __slots__ = ("columns", "doc", "fields", "key", "own")

    def __init__(
        self, doc: RecordDoc, fields: Sequence[int], columns: Mapping[str, int], own: str, key: str | None
    ) -> None:
        self.doc, self.fields, self.columns, self.own, self.key = doc, fields, columns, own, key

    @property
    def at(self) -> list[int]:
        """Where what tells whose it is stands in a row."""
        return [self.columns[each] for each in (self.own, self.key) if each is not None and each in self.columns]


def _resolved(query: Any, value: Any) -> Any:
    return value.resolve_expression(query.clone(), allow_joins=False, for_save=True)
