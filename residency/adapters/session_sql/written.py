"""A statement that a routed session is about to execute in; a refusal, where it may write a row of somebody else, out.

A row whose subject column says somebody else than whose data the session is for would lie where nobody decided that it
may. Of what SQLAlchemy makes each value for that column is a parameter that can be looked at, an upsert's too. What the
database computes (an expression, INSERT from SELECT) and what stands in SQL text cannot. Such a statement is refused
unless it leaves that column alone, or the app says that all rows it writes are of the session's subject:

    await session.execute(statement, execution_options={"residency_own_rows": True})
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import BindParameter, ClauseElement, Column, ColumnElement, Insert, Null, Table, Update
from sqlalchemy.sql import visitors

from residency.adapters.session_sql.clauses import clause_of, mapped
from residency.enforcement.current import Current
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import Docs, Written, gives_subject
from residency.storage.others import people_of, somebody_elses, unseen
from residency.storage.statements import writes, written

__all__ = ["OWN_ROWS", "check_subject", "given", "id_column"]

OWN_ROWS: Final = "residency_own_rows"
"""The execution option by which an app says that all rows which a statement writes are of the session's subject."""
_NUMBER: Final = re.compile(r"_m[0-9]+")
_BOUND: Final = 4096  # texts that are known, kept at most; cleared when full
_TEXT_LIMIT: Final = 4096  # characters of one


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a statement gives the subject's column of its table (`doc`; None = there is none), for these `records:`: the
    names of parameters, and whether there is more; and what further statements in it write."""

    docs: Sequence[RecordDoc]
    doc: RecordDoc | None
    names: tuple[str, ...]
    computed: bool
    others: Written


_plans: WeakKeyDictionary[Any, _Plan] = WeakKeyDictionary()  # by compiled statement, which SQLAlchemy keeps
_texts: dict[str, Written] = {}


def check_subject(here: Current, docs: Sequence[RecordDoc], context: Any) -> None:
    """Look at a statement as its `ExecutionContext` tells it, before it is executed; `docs` are of its sink's tables.

    Raises: UsageError where it writes a row of somebody else, or may, unless the deployment only observes.
    """
    compiled = getattr(context, "compiled", None)
    statement = getattr(compiled, "statement", None)
    if isinstance(statement, Insert | Update):
        if here.decision.mode != "observe":
            _check_made(here, docs, context, compiled, statement)
        return
    text = context.statement
    targets = _texts.get(text)
    if targets is None:
        targets = written(text) if writes(text) else {}
        if len(text) <= _TEXT_LIMIT:
            if len(_texts) >= _BOUND:
                _texts.clear()
            _texts[text] = targets
    if targets and here.decision.mode != "observe" and not context.execution_options.get(OWN_ROWS):
        _check_text(targets, docs)


def id_column(table: Any, docs: Docs) -> str | None:
    """The column of a table that holds its subject's id, its own or that of the one row that it leads to; None where
    only a further table tells it."""
    doc = docs.get(table.name)
    if doc is None or doc.subject is not None or doc.via is None:
        return None if doc is None else doc.subject
    there, its = table.metadata.tables.get(doc.via[1]) if isinstance(table, Table) else None, docs.get(doc.via[1])
    known = there is not None and its is not None and [each.name for each in there.primary_key] == [its.subject]
    return doc.via[0] if known else None


def _check_made(here: Current, docs: Sequence[RecordDoc], context: Any, compiled: Any, statement: Any) -> None:
    plan = _plans.get(compiled)
    if plan is None or plan.docs != docs:
        plan = _plans[compiled] = _plan(compiled, statement, docs)
    doc = plan.doc
    if plan.names and doc is not None:
        # Of whose a row is by its key alone the id is not known, and the digest is.
        people = people_of(here)
        digest = here.point.perception.digest
        for parameters in context.compiled_parameters:
            for name in plan.names:
                value = parameters.get(name)
                if value is not None and digest(str(value)) not in people:
                    raise somebody_elses(doc, "session")
    if (plan.computed or plan.others) and not context.execution_options.get(OWN_ROWS):
        if plan.computed and doc is not None:
            raise _unseen(doc)
        _check_text({name: its for name, its in plan.others.items() if doc is None or name != doc.name.upper()}, docs)


def _plan(compiled: Any, statement: Any, docs: Sequence[RecordDoc]) -> _Plan:
    text = str(compiled.string)
    others = written(text) if writes(text) > 1 else {}
    doc = next((doc for doc in docs if doc.name == getattr(statement.table, "name", None)), None)
    subject = None if doc is None else id_column(statement.table, {each.name: each for each in docs})
    column = None if subject is None else statement.table.c.get(subject)
    if column is None:
        return _Plan(docs, doc, (), False, others)
    names, computed = given(compiled, statement, column)
    return _Plan(docs, doc, names, computed, others)


def given(compiled: Any, statement: Any, column: Column[Any]) -> tuple[tuple[str, ...], bool]:
    """What an INSERT or UPDATE gives a column: names of parameters, and whether there is more that cannot be seen."""
    by_key = {bind.key: name for bind, name in compiled.bind_names.items()}
    # `INSERT … VALUES (…), (…)` numbers what stands in its further rows.
    names = {
        name
        for name in by_key.values()
        if name == column.key or (name.startswith(column.key) and _NUMBER.fullmatch(name, len(column.key)) is not None)
    }
    computed = any(_is(each, column) for each in statement._select_names or ()) if _selects(statement) else False
    upserted = list(_upserted(statement, column))
    for value in (*_given(statement, column), *upserted):
        if isinstance(value, BindParameter):
            names.add(by_key.get(value.key, column.key))
        elif isinstance(value, ColumnElement) and not isinstance(value, Null):
            table = getattr(getattr(value, "table", None), "name", None)
            computed |= not (table == "excluded" and _is(value, column))  # that is looked at as it is inserted
        elif isinstance(value, ClauseElement):
            computed |= not isinstance(value, Null)
    for value in upserted:
        if value is not None and not isinstance(value, ClauseElement):
            # SQLAlchemy 2.0 makes parameters of these as it compiles, and keeps no such statement for other values.
            made = {
                name for bind, name in compiled.bind_names.items() if bind.key.startswith("%(") and bind.value is value
            }
            names |= made
            computed |= not made
    return tuple(sorted(names)), computed


def _selects(statement: Any) -> bool:
    return getattr(statement, "select", None) is not None


def _given(statement: Any, column: Column[Any]) -> Iterator[Any]:
    """What the statement itself gives the column: expressions, and values where it has several rows."""
    rows: list[Iterable[tuple[Any, Any]]] = [(statement._values or {}).items()]
    rows.append(getattr(statement, "_ordered_values", None) or ())
    for many in getattr(statement, "_multi_values", ()):
        rows += [row.items() if isinstance(row, Mapping) else zip(statement.table.c, row, strict=False) for row in many]
    for row in rows:
        yield from (value for key, value in row if _is(key, column))


def _upserted(statement: Any, column: Column[Any]) -> Iterator[Any]:
    """What an upsert gives the column where there is such a row."""
    clause = getattr(statement, "_post_values_clause", None)
    for part in () if clause is None else visitors.iterate(clause):
        # Of SQLAlchemy 2.0 values as they were given, of 2.1 a clause for each.
        values = dict(getattr(part, "update_values_to_set", ())).items()
        yield from (clause_of(value) for key, value in values if _is(key, column))


def _is(key: Any, column: Column[Any]) -> bool:
    return getattr(key, "key", key) in (column.key, column.name)


def _check_text(targets: Written, docs: Iterable[RecordDoc]) -> None:
    every = {doc.name: doc for doc in docs}

    def told(doc: RecordDoc) -> str | None:
        if doc.subject is not None or doc.via is None or doc.via[1] not in every:
            return doc.subject
        column, there = doc.via
        known = [[each.name for each in table.primary_key] == [every[there].subject] for table in mapped(there)]
        return column if any(known) or (not known and every[there].subject is not None) else None

    doc = gives_subject(targets, docs, told)
    if doc is not None:
        raise _unseen(doc)


def _unseen(doc: RecordDoc) -> UsageError:
    return unseen(doc, "as a parameter of insert() or update()", f"execution_options={{{OWN_ROWS!r}: True}}")
