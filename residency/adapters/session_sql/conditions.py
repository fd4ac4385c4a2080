"""A part of a SELECT of SQLAlchemy's in; what holds in each row that is told, and whether it sums up others, out.

What is not understood says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, Final

from sqlalchemy import BindParameter, ColumnClause, Join, Select
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Over
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import FromClause, FromGrouping, SelectBase

from residency.adapters.session_sql.clauses import table_of, text_of
from residency.storage.held import UNSURE, Fact, Place
from residency.storage.statements import words

__all__ = [
    "Leaves", "Own", "correlated", "facts_of", "flatten", "is_grouped_by", "is_source", "is_unsure", "sums",
]  # fmt: skip

_AGGREGATES: Final = frozenset(
    """AVG COUNT GROUP_CONCAT JSON_GROUP_ARRAY JSON_GROUP_OBJECT JSONB_GROUP_ARRAY JSONB_GROUP_OBJECT MAX MEDIAN MIN
    PERCENTILE PERCENTILE_CONT PERCENTILE_DISC STRING_AGG SUM TOTAL""".split()
)
"""SQLite gives columns of some row beside these; PostgreSQL does not."""
Leaves = dict[int, Any]
"""What stands in FROM, a table, an alias of one or another statement, by its hash. To compare is no question to ask of
what makes SQL of it, and annotated copies have the hash of what they are copies of."""
Own = Set[int]


def is_source(clause: Any) -> bool:
    """Whether a clause is one to select from; a function may be, and stands among columns and conditions, too."""
    return isinstance(clause, FromClause) and not isinstance(clause, FunctionElement)


def sums(clause: Any) -> bool:
    """Whether a part of a SELECT may tell of rows that it does not give: a window does, an aggregate where the rows of
    a group are no one's, and so may text."""
    if is_source(clause) or isinstance(clause, SelectBase):
        return False
    named = isinstance(clause, FunctionElement) and getattr(clause, "name", "").upper() in _AGGREGATES
    said = words(text_of(clause))
    summed = "OVER" in said or ("(" in said and bool(said & _AGGREGATES))
    return isinstance(clause, Over) or named or summed or any(map(sums, clause.get_children()))


def is_grouped_by(statement: Select[Any], leaf: Any) -> bool:
    """Whether each group of a SELECT without windows is of one row of a table."""
    keys = {(hash(leaf), each.name) for each in getattr(table_of(leaf), "primary_key", ())}
    by = {_place(each) for each in statement._group_by_clauses}
    windows = any(isinstance(each, Over) or text_of(each) for each in visitors.iterate(statement))
    return bool(keys) and keys <= by and not windows


def facts_of(criterion: Any, only: Leaves | None = None) -> list[Fact]:
    """What a condition tells that holds; `only` = it holds for rows of these tables alone."""
    found, left = list[Fact](), [criterion]
    if criterion is None or is_unsure(criterion):
        return found
    while left:
        each = left.pop()
        if isinstance(each, BooleanClauseList) and each.operator is operators.and_:
            left.extend(each.clauses)
        elif isinstance(each, BinaryExpression) and each.operator in (operators.eq, operators.in_op):
            equal = each.operator is operators.eq
            for one, other in ((each.left, each.right), *([(each.right, each.left)] if equal else ())):
                place = _place(one)
                if place is None or (only is not None and place[0] not in only):
                    continue
                if isinstance(other, BindParameter):
                    found.append(Fact(place, given=other.key))
                elif equal and (there := _place(other)) is not None:
                    found.append(Fact(place, there))
    return found


def is_unsure(clause: Any) -> bool:
    """Whether text stands among conditions that may end what they are joined by."""
    if isinstance(clause, SelectBase):
        return False  # it stands in brackets
    return bool(UNSURE & words(text_of(clause))) or any(map(is_unsure, clause.get_children()))


def flatten(clause: Any, leaves: Leaves) -> list[Fact]:
    """Put the tables of a FROM into `leaves`; what its joins tell."""
    if isinstance(clause, FromGrouping):
        return flatten(clause.element, leaves)
    if not isinstance(clause, Join):
        leaves[hash(clause)] = clause
        return []
    right: Leaves = {}
    facts = [*flatten(clause.left, leaves), *flatten(clause.right, right)]
    leaves |= right
    if clause.full or clause.onclause is None:
        return facts
    return facts + facts_of(clause.onclause, right if clause.isouter else None)


def _place(clause: Any) -> Place | None:
    return (hash(clause.table), clause.name) if isinstance(clause, ColumnClause) and clause.table is not None else None


def correlated(statement: Select[Any], sources: Sequence[Any], around: Own) -> Own:
    """What in its FROM is no table of its own but a row of the statement around it."""
    there = {hash(each) for each in sources}
    if statement._auto_correlate:
        return there & around if len(sources) > 1 else frozenset()
    outer = {hash(each) for each in statement._correlate or ()}
    if statement._correlate_except is not None:  # as `any()` and `has()` of relationships say it
        outer |= there - {hash(each) for each in statement._correlate_except}
    return outer & there & around
