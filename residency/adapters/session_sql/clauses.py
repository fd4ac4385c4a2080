"""Parts of a statement of SQLAlchemy's in; what they are, out: names in brackets, text, joins, mapped classes.

Whatever is known here of names that SQLAlchemy keeps to itself stands here: prefixes, suffixes, hints, further CTEs and
loader options are told by nothing public.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ClauseElement, ColumnClause, Join, Select, TableClause, TextClause, text
from sqlalchemy.inspection import inspect
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromGrouping

__all__ = [
    "asides", "bare", "clause_of", "entities", "inner_of", "is_entity", "is_plain", "onclauses", "parts_of", "table_of",
    "text_of",
]  # fmt: skip


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
    found = list(clause.get_children())
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
    """The SQL text that a clause is."""
    if isinstance(clause, TextClause):
        return clause.text
    return clause.name if isinstance(clause, ColumnClause) and clause.is_literal else ""


def is_plain(column: Any) -> bool:
    """Whether it is a column of a table."""
    table = column.table if isinstance(column, ColumnClause) else None
    return table is not None and (table_of(table) is not None or isinstance(table, Join))


def bare(statement: Select[Any]) -> Select[Any]:
    """A SELECT without loader options, whose joins (`joinedload`) bring along objects and filter nothing."""
    copy = statement.execution_options()
    copy._with_options = ()
    return copy


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
