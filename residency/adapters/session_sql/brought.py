"""A session in; a refusal, where it loads what is of others than whom it is for, or changes their rows, out.

`about()` decides on one person, or on a group. What such a session gives of others, by a relationship or by its SELECT,
nobody decided on: each of them is judged as in a list, by their own pin, for the place where it is read. Objects that
the ORM loads tell whose they are by their rows. Columns and what SQLAlchemy's core reads tell it by the statement's own
conditions (`selected`), looked at before it is sent; one that does not say whose rows it reads is refused. So is SQL
text that names a table with rows of somebody, unless the app says that all it reads is of the session's subject.

What a session changes or deletes is of whom it is for, and a session of who asks for themselves is no other in this. It
reads what it likes; so of its objects it is noted whose they are, where their rows tell it, and nothing is asked before
one is changed by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from itertools import product
from typing import Any, Final, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Insert, String, Table, TableClause, TextClause, TypeDecorator, Update, event, select
from sqlalchemy.orm import Session, object_mapper
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.sql.compiler import SQLCompiler

from residency.adapters.session_sql.clauses import is_entity
from residency.adapters.session_sql.relations import relations_of
from residency.adapters.session_sql.selected import Held, selected, subject_of
from residency.adapters.session_sql.written import OWN_ROWS, given, id_column
from residency.enforcement.current import Current
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import Docs, behind_in, changes, mentioned, own_of
from residency.storage.others import Others, changes_elses, changes_unsaid, hidden_behind, people_of, unsaid

__all__ = ["check_read", "watch"]

_INFO: Final = "residency.brought"
_OBJECTS: Final = "_result_disable_adapt_to_context"
"""An execution option of SQLAlchemy's, set where a session makes objects of what it reads; without it the same SELECT
gives columns (`session.connection()`)."""
_UNLOADED: Final = object()
_VOUCH: Final = f"execution_options={{{OWN_ROWS!r}: True}}"
_Wait = Callable[[Coroutine[Any, Any, object]], None]
_Columns = tuple[str, ...]


class _Plan(NamedTuple):
    """What a statement reads and changes by its own conditions, for these `records:`, each with the names of its
    parameters; of which tables it does not say it."""

    docs: Sequence[RecordDoc]
    behind: Set[str]
    objects: bool
    held: Sequence[Held]
    loose: Sequence[str]
    changed: Sequence[Held]
    unheld: Sequence[str]
    loads: bool
    """Whether objects of mapped classes come of it."""
    leading: tuple[Table, str, Sequence[str]] | None
    """The table that rows it writes lead to, its key, and the parameters that hold that, where a further one tells
    whose they are."""


class _ToldBy(NamedTuple):
    """By which (columns, attributes) an object tells whose its row of a table is, the first that were loaded; `subject`
    is the column with the id itself, `key` those of the table's key, where the object has all."""

    table: Table
    subject: _Columns
    ways: Sequence[tuple[_Columns, _Columns]]
    key: tuple[_Columns, _Columns] | None


_plans: WeakKeyDictionary[Any, _Plan] = WeakKeyDictionary()  # by compiled statement, which SQLAlchemy keeps


def watch(
    session: Session, here: Current, docs: Sequence[RecordDoc], sink: str, wait: _Wait, *, changing: bool
) -> bool:
    """Look at whose each row is that `session` gives from `sink` under `here`, where that is about somebody else than
    who asks, and at whose rows it changes, if it is `changing`; False = there is nothing to look at. `wait` awaits
    something within the session's own call."""
    others = Others.than(here, sink) if here.of_another else None
    own = changing and not here.of_another and here.decision.mode != "observe" and here.subject_digest is not None
    if others is None and not own:
        return False
    known: _Watch | None = session.info.get(_INFO)
    if known is None or known.here is not here:
        session.info[_INFO] = made = _Watch(here, others, docs, wait)
        made.listens = known is not None and known.listens
    if others is not None:
        session.info[_INFO].listen(session)
    return True


def check_read(session: Session, context: Any) -> None:
    """Look at whose rows a statement of a watched session tells columns of, goes by and changes, as its
    `ExecutionContext` tells it; of one that is about who asks, at whose rows it changes.

    Raises: UsageError where it does not say whose, or changes rows of another than whom the session is for, Refused
    where the law of one of them does not let it, PinsUnavailable.
    """
    if not context.execution_options.get(OWN_ROWS):
        watched: _Watch = session.info[_INFO]
        watched.check_statement(session, context)


class _Watch:
    """Whom a session is for, and of whom else it may load something; `others` None = it is for who asks, and may load
    what it likes."""

    def __init__(self, here: Current, others: Others | None, docs: Sequence[RecordDoc], wait: _Wait) -> None:
        self.here = here
        self.listens = False
        self._others = others
        self._all = docs
        self._docs = {doc.name: doc for doc in docs}
        self._people = people_of(here)
        self._wait = wait
        self._behind: Set[str] | None = None
        self._asked: dict[tuple[str, _Columns, tuple[Any, ...]], tuple[str | None, ...]] = {}
        self._told_by: dict[type, Sequence[_ToldBy]] = {}

    def listen(self, session: Session) -> None:
        """Hear of each object that the session loads."""
        if not self.listens:
            event.listen(session, "loaded_as_persistent", _look)
            self.listens = True

    def check(self, session: Session, instance: Any) -> None:
        """Raises: Refused where an object's row is of somebody whose law does not let it be read, PinsUnavailable."""
        if self._others is None:
            for _ in self._whose(None, instance):
                pass  # it is noted
            return
        try:
            self._judge(self._others, self._whose(session, instance))
        except BaseException:
            session.expunge(instance)  # else it could be had by its key
            raise

    def check_statement(self, session: Session, context: Any) -> None:
        """As `check_read`."""
        compiled, others = context.compiled, self._others
        statement = getattr(compiled, "statement", None)
        if not isinstance(compiled, SQLCompiler) or statement is None or isinstance(statement, TextClause):
            text, behind = context.statement, self._relations(context.root_connection)
            if others is not None:
                named = mentioned(text, self._docs, whole=not self._people)
                self._refuse_loose(named or behind_in(text, behind))
            else:
                self._refuse_unheld(changes(text, self._docs, behind))
            return
        objects = _OBJECTS in context.execution_options
        behind = self._relations(context.root_connection)
        plan = _plans.get(compiled)
        if plan is None or plan.docs != self._all or plan.behind is not behind or plan.objects is not objects:
            plan = _plans[compiled] = self._plan(compiled, statement, objects, behind)
        if others is not None:
            self._refuse_loose(plan.loose)
        elif plan.loads:
            self.listen(session)  # here, for it takes as long as to make a session, and many load none
        if self._people:
            self._refuse_unheld(plan.unheld)
            for table, whose in self._told(session, context, plan.changed):
                if not self._is_own(whose):
                    raise changes_elses(table.name, "session")
        if others is not None:
            if self._people and plan.leading is not None:
                self._check_leading(session, context, *plan.leading)
            self._judge(others, (whose for _, whose in self._told(session, context, plan.held)))

    def _is_own(self, whose: str | None) -> bool:
        if whose is None:  # a row that says nobody, which such a session writes, and may change
            return self._others is None
        return self.here.point.perception.digest(whose) in self._people

    def _check_leading(self, session: Session, context: Any, there: Table, key: str, names: Sequence[str]) -> None:
        for parameters in context.compiled_parameters:
            for value in (parameters.get(name) for name in names):
                if value is None:
                    continue
                if not all(map(self._is_own, self._who(session, there, (key,), (value,)) or (None,))):
                    raise UsageError(
                        f"a row that leads to one of {there.name!r} is of whom that is, and this session is for "
                        "somebody else: write it in a session under about() of that person"
                    )

    def _told(self, session: Session, context: Any, held: Sequence[Held]) -> Iterator[tuple[TableClause, str | None]]:
        """(table, id) of whom a statement names as those whose rows it is about."""
        for table, columns, names in held:
            expanded = context._expanded_parameters or {}
            for parameters in context.compiled_parameters:
                for each in product(*(expanded.get(name, (name,)) for name in names)):
                    values = tuple(parameters[name] for name in each)
                    if not any(value is None for value in values):  # else no row is found by it
                        for whose in self._who(session, table, columns, values):
                            yield table, whose

    def _relations(self, connection: Connection) -> Set[str]:
        """What in the database reads tables with rows of somebody."""
        if self._behind is None:
            self._behind = relations_of(connection, self._all, self.here.point.clock.monotonic())
        return self._behind

    def _plan(self, compiled: Any, statement: Any, objects: bool, behind: Set[str]) -> _Plan:
        state = compiled.compile_state
        # What a relationship loads is objects, and keys of those that it loads them for.
        along = bool(getattr(state, "current_path", None))
        found = selected(
            None if along else statement,
            self._docs,
            loads=objects or along,
            made=getattr(state, "statement", None),
            behind=behind,
        )
        # What is written into the text is no parameter any more.
        written = compiled.literal_execute_params
        names = {bind.key: name for bind, name in compiled.bind_names.items() if bind not in written}

        def known(held: Sequence[Held]) -> list[Held]:
            return [
                each._replace(parameters=tuple(names[key] for key in each.parameters))
                for each in held
                if names.keys() >= set(each.parameters)
            ]

        def unknown(held: Sequence[Held]) -> list[str]:
            return [each.table.name for each in held if not names.keys() >= set(each.parameters)]

        loose = [*found.loose, *unknown(found.held)]
        loads = along or (objects and any(map(is_entity, getattr(statement, "column_descriptions", ()))))
        leading = _leading(compiled, statement, self._docs)
        untold = (each.table for each in found.changed if subject_of(each.table, each.table, self._docs) is None)
        unheld = [*found.unheld, *unknown(found.changed), *(table.name for table in untold)]
        return _Plan(self._all, behind, objects, known(found.held), loose, known(found.changed), unheld, loads, leading)

    def _judge(self, others: Others, people: Iterable[str | None]) -> None:
        unknown = others.unknown(people)
        # Another greenlet to await what is at hand costs as much as all of it.
        if unknown and not others.check_now(unknown):
            self._wait(others.check(unknown))

    def _refuse_loose(self, loose: Sequence[str]) -> None:
        if loose:
            doc = self._docs.get(loose[0])
            objects = "select the mapped class, whose objects are looked at"
            raise hidden_behind(loose[0], _VOUCH) if doc is None else unsaid(doc, objects, _VOUCH)

    def _refuse_unheld(self, unheld: Sequence[str]) -> None:
        if unheld:
            doc = self._docs.get(unheld[0])
            raise hidden_behind(unheld[0], _VOUCH) if doc is None else changes_unsaid(doc, "session", _VOUCH)

    def _whose(self, session: Session | None, instance: Any) -> Iterator[str | None]:
        """The ids that an object's rows tell; None = nothing tells it, without a `session` that could ask."""
        kind, loaded = type(instance), instance.__dict__
        told_by = self._told_by.get(kind)
        if told_by is None:
            told_by = self._told_by[kind] = tuple(self._columns(object_mapper(instance)))
        for table, subject, ways, key in told_by:
            for columns, attributes in ways:
                values = tuple(loaded.get(each, _UNLOADED) for each in attributes)
                if any(value is _UNLOADED for value in values):
                    continue
                if any(value is None for value in values):
                    told: tuple[str | None, ...] = (None,)
                else:
                    told = (str(values[0]),) if columns == subject else self._who(session, table, columns, values)
                if key is not None and None not in told:
                    # Whose an object is need not be asked when it is changed or deleted by its key.
                    self._asked.setdefault((table.name, key[0], tuple(map(loaded.get, key[1]))), told)
                yield from told
                break
            else:
                yield None

    def _columns(self, mapper: Any) -> Iterator[_ToldBy]:
        """What of a class's objects tells whose its rows are."""

        def way(table: Table, *names: str) -> Iterator[tuple[_Columns, _Columns]]:
            with suppress(KeyError, UnmappedColumnError):  # not a column, or of no attribute
                yield names, tuple(mapper.get_property_by_column(table.c[name]).key for name in names)

        for table in mapper.tables:
            doc = self._docs.get(str(getattr(table, "name", "")))
            if doc is None or not isinstance(table, Table) or (doc.subject is None and doc.via is None):
                continue
            keys = [each.name for each in table.primary_key]
            key = next(way(table, *keys), None) if keys else None
            ways = (*way(table, own_of(doc)), *(() if key is None else (key,)))
            yield _ToldBy(table, () if doc.subject is None else (doc.subject,), ways, key)

    def _who(
        self, session: Session | None, table: TableClause, columns: _Columns, values: tuple[Any, ...]
    ) -> tuple[str | None, ...]:
        """Whose the rows are that have these values in these columns; it is asked, unless the value says it."""
        at = [table.c.get(column) for column in columns]
        first = at[0]
        if first is not None and _is_exact(first.type, values[0]) and columns == (id_column(table, self._docs),):
            return (str(values[0]),)
        known = self._asked.get((table.name, columns, values))
        if known is None:
            of = None if session is None else subject_of(table, table, self._docs)
            if session is None or of is None or any(each is None for each in at):
                return (None,)
            asked = select(of).where(*(each == value for each, value in zip(at, values, strict=True))).distinct()
            told = session.connection().execute(asked.execution_options(**{OWN_ROWS: True})).scalars()
            known = tuple(None if each is None else str(each) for each in told)
            self._asked[table.name, columns, values] = known
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
