"""A session that is for somebody else than who asks in; a refusal, where it loads what is of yet another, out.

`about()` decides on one person, or on a group. What such a session gives of others, by a relationship or by its SELECT,
nobody decided on: each of them is judged as in a list, by their own pin, for the place where it is read. Objects that
the ORM loads tell whose they are by their rows. Columns and what SQLAlchemy's core reads tell it by the statement's own
conditions (`selected`), looked at before it is sent; one that does not say whose rows it reads is refused. So is SQL
text that names a table with rows of somebody, unless the app says that all it reads is of the session's subject.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Insert, String, Table, TableClause, TypeDecorator, Update, event, select
from sqlalchemy.orm import Session, object_mapper
from sqlalchemy.orm.exc import UnmappedColumnError

from residency.adapters.session_sql.selected import Held, selected, subject_of
from residency.adapters.session_sql.written import OWN_ROWS, given, id_column
from residency.enforcement.current import Current
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import Docs, mentioned, own_of
from residency.storage.others import Others, changes_elses, people_of, unsaid

__all__ = ["check_read", "watch"]

_INFO: Final = "residency.brought"
_OBJECTS: Final = "_result_disable_adapt_to_context"
"""An execution option of SQLAlchemy's, set where a session makes objects of what it reads; without it the same SELECT
gives columns (`session.connection()`)."""
_Wait = Callable[[Coroutine[Any, Any, object]], None]


class _Plan(NamedTuple):
    """What a statement reads and changes by its own conditions, for these `records:`: (table, column, name of a
    parameter); of which tables it does not say it."""

    docs: Sequence[RecordDoc]
    objects: bool
    held: Sequence[tuple[TableClause, str, str]]
    loose: Sequence[str]
    changed: Sequence[tuple[TableClause, str, str]]
    unheld: Sequence[str]
    leading: tuple[Table, str, Sequence[str]] | None
    """The table that rows it writes lead to, its key, and the parameters that hold that, where a further one tells
    whose they are."""


class _ToldBy(NamedTuple):
    """By which (column, attribute) an object tells whose its row of a table is, the first that was loaded; `subject` is
    the column with the id itself, `key` the table's key where it is of one column."""

    table: Table
    subject: str | None
    columns: Sequence[tuple[str, str]]
    key: tuple[str, str] | None


_plans: WeakKeyDictionary[Any, _Plan] = WeakKeyDictionary()  # by compiled statement, which SQLAlchemy keeps


def watch(session: Session, here: Current, docs: Sequence[RecordDoc], sink: str, wait: _Wait) -> bool:
    """Look at whose each row is that `session` gives from `sink` under `here`, which is about somebody else than who
    asks; False = there is nothing to look at. `wait` awaits something within the session's own call."""
    others = Others.than(here, sink)
    if others is None:
        return False
    known: _Watch | None = session.info.get(_INFO)
    if known is None:
        event.listen(session, "loaded_as_persistent", _look)
    if known is None or known.here is not here:
        session.info[_INFO] = _Watch(others, docs, wait)
    return True


def check_read(session: Session, context: Any) -> None:
    """Look at whose rows a statement of a watched session tells columns of, goes by and changes, as its
    `ExecutionContext` tells it.

    Raises: UsageError where it does not say whose, or changes rows of another than whom the session is for, Refused
    where the law of one of them does not let it, PinsUnavailable.
    """
    if not context.execution_options.get(OWN_ROWS):
        watched: _Watch = session.info[_INFO]
        watched.check_statement(session, context)


class _Watch:
    """Whom a session is for, and of whom else it may load something."""

    def __init__(self, others: Others, docs: Sequence[RecordDoc], wait: _Wait) -> None:
        self.here = others.here
        self._others = others
        self._all = docs
        self._docs = {doc.name: doc for doc in docs}
        self._people = people_of(others.here)
        self._wait = wait
        self._asked: dict[tuple[str, str, Any], tuple[str | None, ...]] = {}
        self._told_by: dict[type, Sequence[_ToldBy]] = {}

    def check(self, session: Session, instance: Any) -> None:
        """Raises: Refused where an object's row is of somebody whose law does not let it be read, PinsUnavailable."""
        try:
            for whose in self._whose(session, instance):
                self._judge(whose)
        except BaseException:
            session.expunge(instance)  # else it could be had by its key
            raise

    def check_statement(self, session: Session, context: Any) -> None:
        """As `check_read`."""
        compiled = context.compiled
        statement = getattr(compiled, "statement", None)
        if statement is None or getattr(statement, "is_text", False):
            self._refuse_loose(mentioned(context.statement, self._docs, whole=not self._people))
            return
        objects = _OBJECTS in context.execution_options
        plan = _plans.get(compiled)
        if plan is None or plan.docs != self._all or plan.objects is not objects:
            plan = _plans[compiled] = self._plan(compiled, statement, objects)
        self._refuse_loose(plan.loose)
        if self._people:
            if not session._flushing:  # of what the ORM flushes by a key of several columns it knows the objects
                self._refuse_loose(plan.unheld)
            for table, _, whose in self._told(session, context, plan.changed):
                if not self._is_own(whose):
                    raise changes_elses(table.name, "session")
            if plan.leading is not None:
                self._check_leading(session, context, *plan.leading)
        for _, _, whose in self._told(session, context, plan.held):
            self._judge(whose)

    def _is_own(self, whose: str | None) -> bool:
        return whose is not None and self._others.here.point.perception.digest(whose) in self._people

    def _check_leading(self, session: Session, context: Any, there: Table, key: str, names: Sequence[str]) -> None:
        for parameters in context.compiled_parameters:
            for value in (parameters.get(name) for name in names):
                if value is not None and not all(map(self._is_own, self._who(session, there, key, value) or (None,))):
                    raise UsageError(
                        f"a row that leads to one of {there.name!r} is of whom that is, and this session is for "
                        "somebody else: write it in a session under about() of that person"
                    )

    def _told(
        self, session: Session, context: Any, held: Sequence[tuple[TableClause, str, str]]
    ) -> Iterator[tuple[TableClause, str, str | None]]:
        """(table, column, id) of whom a statement names as those whose rows it is about."""
        for table, column, name in held:
            for parameters in context.compiled_parameters:
                for each in (context._expanded_parameters or {}).get(name, (name,)):
                    if (value := parameters[each]) is not None:  # else no row is found by it
                        for whose in self._who(session, table, column, value):
                            yield table, column, whose

    def _plan(self, compiled: Any, statement: Any, objects: bool) -> _Plan:
        state = compiled.compile_state
        # What a relationship loads is objects, and keys of those that it loads them for.
        along = bool(getattr(state, "current_path", None))
        found = selected(
            None if along else statement,
            self._docs,
            loads=objects or along,
            made=getattr(state, "statement", None),
        )
        # What is written into the text is no parameter any more.
        written = compiled.literal_execute_params
        names = {bind.key: name for bind, name in compiled.bind_names.items() if bind not in written}

        def known(held: Sequence[Held]) -> list[tuple[TableClause, str, str]]:
            return [(table, column, names[key]) for table, column, key in held if key in names]

        loose = [*found.loose, *(table.name for table, _, key in found.held if key not in names)]
        leading = _leading(compiled, statement, self._docs)
        unheld = [*found.unheld, *(table.name for table, _, key in found.changed if key not in names)]
        return _Plan(self._all, objects, known(found.held), loose, known(found.changed), unheld, leading)

    def _judge(self, whose: str | None) -> None:
        unknown = self._others.unknown((whose,))
        # Another greenlet to await what is at hand costs as much as all of it.
        if unknown and not self._others.check_now(unknown):
            self._wait(self._others.check(unknown))

    def _refuse_loose(self, loose: Sequence[str]) -> None:
        if loose:
            objects = "select the mapped class, whose objects are looked at"
            raise unsaid(self._docs[loose[0]], objects, f"execution_options={{{OWN_ROWS!r}: True}}")

    def _whose(self, session: Session, instance: Any) -> Iterator[str | None]:
        """The ids that an object's rows tell; None = nothing tells it."""
        kind, loaded = type(instance), instance.__dict__
        told_by = self._told_by.get(kind)
        if told_by is None:
            told_by = self._told_by[kind] = tuple(self._columns(object_mapper(instance)))
        for table, subject, columns, key in told_by:
            for name, attribute in columns:
                if attribute not in loaded:
                    continue
                value = loaded[attribute]
                if value is None:
                    told: tuple[str | None, ...] = (None,)
                else:
                    told = (str(value),) if name == subject else self._who(session, table, name, value)
                if key is not None and None not in told:
                    # Whose an object is need not be asked when it is changed or deleted by its key.
                    self._asked.setdefault((table.name, key[0], loaded.get(key[1])), told)
                yield from told
                break
            else:
                yield None

    def _columns(self, mapper: Any) -> Iterator[_ToldBy]:
        """What of a class's objects tells whose its rows are."""

        def attributes(table: Table, names: Iterable[str]) -> Iterator[tuple[str, str]]:
            for name in names:
                with suppress(KeyError, UnmappedColumnError):  # not a column, or of no attribute
                    yield name, mapper.get_property_by_column(table.c[name]).key

        for table in mapper.tables:
            doc = self._docs.get(str(getattr(table, "name", "")))
            if doc is None or not isinstance(table, Table) or (doc.subject is None and doc.via is None):
                continue
            keys = [each.name for each in table.primary_key]
            key = next(attributes(table, keys), None) if len(keys) == 1 else None
            yield _ToldBy(table, doc.subject, tuple(attributes(table, (own_of(doc), *keys))), key)

    def _who(self, session: Session, table: TableClause, column: str, value: Any) -> tuple[str | None, ...]:
        """Whose the rows are that have this value in a column; it is asked, unless the value says it."""
        at = table.c.get(column)
        if at is not None and _is_exact(at.type, value) and column == id_column(table, self._docs):
            return (str(value),)
        known = self._asked.get((table.name, column, value))
        if known is None:
            of = subject_of(table, table, self._docs)
            if of is None or at is None:
                return (None,)
            asked = select(of).where(at == value).distinct().execution_options(**{OWN_ROWS: True})
            told = session.connection().execute(asked).scalars()
            known = self._asked[table.name, column, value] = tuple(None if each is None else str(each) for each in told)
        return known


def _leading(compiled: Any, statement: Any, docs: Docs) -> tuple[Table, str, Sequence[str]] | None:
    """As `_Plan.leading`, of an INSERT or UPDATE that gives the column which leads there."""
    table = statement.table if isinstance(statement, Insert | Update) else None
    doc = docs.get(table.name) if isinstance(table, Table) else None
    if doc is None or doc.via is None or not isinstance(table, Table) or id_column(table, docs) is not None:
        return None
    there, column = table.metadata.tables.get(doc.via[1]), table.c.get(doc.via[0])
    if there is None or column is None or len(there.primary_key) != 1:
        return None
    names, _ = given(compiled, statement, column)
    (key,) = there.primary_key
    return there, key.name, names


def _look(session: Any, instance: Any) -> None:
    watched: _Watch = session.info[_INFO]
    frozen = session._frozen
    if frozen is not None and frozen[0] is watched.here:
        watched.check(session, instance)


def _is_exact(kind: Any, value: Any) -> bool:
    """Whether a database finds by a value of a column of this type what says the same, letter by letter."""
    try:
        python = kind.python_type
    except NotImplementedError:
        return False
    if isinstance(kind, TypeDecorator) or kind.__visit_name__ == "CITEXT":
        return False  # an app's own type may send anything; that one knows no capitals
    return python in (str, int, UUID) and type(value) is python and not (isinstance(kind, String) and kind.collation)
