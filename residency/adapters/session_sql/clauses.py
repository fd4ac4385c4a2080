"""Parts of a statement of SQLAlchemy's in; what they are, out: names in brackets, text, joins, mapped classes.

Whatever is known here of names that SQLAlchemy keeps to itself stands here: prefixes, suffixes, hints, further CTEs and
loader options are told by nothing public.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import ClauseElement, ColumnClause, Extract, Join, Select, Table, TableClause, TextClause, Values, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.inspection import inspect
from sqlalchemy.orm.mapper import _all_registries
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromGrouping, ScalarSelect, ScalarValues, SelectBase

from residency.storage.held import ANYTHING

__all__ = [
    "asides", "bare", "clause_of", "criteria_of", "entities", "froms_of", "inner_of", "is_entity", "is_plain", "mapped",
    "onclauses", "parts_of", "rows_of", "table_of", "text_of",
]  # fmt: skip

_DIALECTS: Final[tuple[Any, ...]] = (postgresql.dialect(), sqlite.dialect())  # type: ignore[no-untyped-call]
_COMPILED: Final = "_compiler_dispatcher"
"""What `@compiles` leaves on a class."""


def inner_of(clause: Any) -> Any:
    """What stands in brackets, or is given a name, of however many kinds."""
    while not isinstance(clause, TableClause) and (element := getattr(clause, "element", None)) is not None:
        clause = element
    return clause


def asides(statement: Any) -> Iterator[Any]:
    """What an app adds to a statement that is no part of it: text before and behind it, hints, further CTEs."""
    for name in ("_prefixes", "_suffixes"):
        yield from (clause for clause, _ in getattr(statement, name, ()))
    yield from getattr(statement, "_independent_ctes", ())
    yield from (text(hint) for _, hint in getattr(statement, "_statement_hints", ()))
    yield from (text(hint) for hint in getattr(statement, "_hints", {}).values())


def parts_of(clause: Any) -> list[Any]:
    """What a clause is made of; of an upsert's, too, of which SQLAlchemy 2.0 tells nothing."""
    found = [*clause.get_children(), *rows_of(clause)]
    if not found and hasattr(clause, "inferred_target_whereclause"):
        values = (clause_of(value) for _, value in getattr(clause, "update_values_to_set", ()))
        parts = (clause.inferred_target_whereclause, getattr(clause, "update_whereclause", None), *values)
        found = [each for each in parts if isinstance(each, ClauseElement)]
    return found


def table_of(leaf: Any) -> TableClause | None:
    """The table that a leaf of a FROM is, or is another name of; None = it is none."""
    table = leaf.element if isinstance(leaf, AliasedReturnsRows) else leaf
    return table if isinstance(table, TableClause) else None


def text_of(clause: Any) -> str:
    """The SQL text that a clause is, or brings beside its parts: an operator, or a construct of an app's own."""
    if isinstance(clause, TextClause):
        return clause.text
    if isinstance(clause, ColumnClause) and clause.is_literal:
        return clause.name
    its = getattr(clause, "__dict__", {})
    found = [clause.field] if isinstance(clause, Extract) else []
    found += [each.opstring for name in ("operator", "modifier") if isinstance(each := its.get(name), custom_op)]
    if hasattr(type(clause), _COMPILED):
        found.append(_made(clause))
    return "\n".join(found)


def _made(clause: Any) -> str:
    """What an app's own construct makes of itself, for each kind of database that makes something of it, less its
    columns and statements, which are read as such."""
    texts = []
    for dialect in _DIALECTS:
        try:
            made = str(clause.compile(dialect=dialect))
            parts: Iterable[Any] = visitors.iterate(clause)
            for part in filter(_is_read, parts):
                if part is not clause:
                    made = re.sub(rf"(?<![\w$]){re.escape(str(part.compile(dialect=dialect)))}(?![\w$])", " ", made)
        except Exception:  # noqa: BLE001, S112 - an app's own code may raise anything
            continue
        texts.append(made)
    return "\n".join(texts) if texts else ANYTHING


def _is_read(part: Any) -> bool:
    """Whether it is a column of a table, or a statement."""
    column = isinstance(part, ColumnClause) and part.table is not None and not part.is_literal
    return column or isinstance(part, SelectBase | ScalarSelect | Grouping)


def criteria_of(statement: Any) -> Iterator[Any]:
    """What `with_loader_criteria` added to a SELECT as the ORM makes it."""
    for each in (statement.whereclause, *onclauses(froms_of(statement))):
        for part in () if each is None else visitors.iterate(each):
            if "for_loader_criteria" in getattr(part, "_annotations", ()):
                yield part


def rows_of(clause: Any) -> Iterator[ClauseElement]:
    """The expressions among the values of a VALUES, or of an INSERT that brings several rows."""
    rows = clause._data if isinstance(clause, Values | ScalarValues) else getattr(clause, "_multi_values", ())
    for row in (row for many in rows for row in many):
        values = row.values() if hasattr(row, "values") else row
        yield from (each for each in map(clause_of, values) if isinstance(each, ClauseElement))


def is_plain(column: Any) -> bool:
    """Whether it is a column of a table."""
    table = column.table if isinstance(column, ColumnClause) else None
    return table is not None and (table_of(table) is not None or isinstance(table, Join))


def bare(statement: Select[Any]) -> Select[Any]:
    """A SELECT without loader options, whose joins (`joinedload`) bring along objects and filter nothing."""
    copy = statement.execution_options()
    copy._with_options = ()
    return copy


def froms_of(statement: Select[Any]) -> list[Any]:
    """What a SELECT is from, as `get_final_froms()` tells it, which makes SQL of all of it for a database that an
    app's own constructs may not know."""
    dialect = _DIALECTS[0]
    state: Any = statement._compile_state_factory(statement, dialect.statement_compiler(dialect, None))
    return list(state._get_display_froms())


def onclauses(sources: Iterable[Any]) -> Iterator[Any]:
    """The conditions of the joins of a FROM."""
    left = list(sources)
    while left:
        each = left.pop()
        if isinstance(each, Join):
            left += [each.left, each.right]
            yield from () if each.onclause is None else (each.onclause,)
        elif isinstance(each, FromGrouping):
            left.append(each.element)


def mapped(name: str) -> list[Table]:
    """The tables of this name of which classes are mapped."""
    mappers = (each for registry in _all_registries() for each in registry.mappers)
    tables = (table for each in mappers for table in each.tables if isinstance(table, Table) and table.name == name)
    return list(dict.fromkeys(tables))


def entities(statement: Any) -> list[Any]:
    """The mapped classes that a statement selects whole, as SQLAlchemy's inspection tells them."""
    return [inspect(each["expr"]) for each in statement.column_descriptions if is_entity(each)]


def clause_of(column: Any) -> Any:
    """The SQL of a column that an app selects: an attribute of a mapped class, a bundle of them, or SQL as it is."""
    return column.__clause_element__() if hasattr(column, "__clause_element__") else column


def is_entity(described: Any) -> bool:
    """Whether what a statement selects, as its description tells it, is a mapped class or another name of one."""
    state = inspect(described["expr"], raiseerr=False)
    return bool(getattr(state, "is_mapper", False) or getattr(state, "is_aliased_class", False))
