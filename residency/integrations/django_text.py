"""An expression of a query of Django's in; the SQL text in it of which nobody but its author knows what it tells, out.

Django's own expressions are understood by what they are made of. One of an app's own (by `as_sql`, a template …) is
the text that it makes, less what its parts make of themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models.expressions import CombinedExpression, RawSQL
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.where import ExtraWhere, WhereNode

from residency.storage.held import ANYTHING

__all__ = ["Texts", "parts"]


class Texts:
    """The texts of one query's expressions."""

    def __init__(self, query: Any, using: str) -> None:
        """`using` = the alias of the database that it is for."""
        self._query = query
        self._using = using

    def of(self, clause: Any) -> Iterator[str]:
        """The text that an expression is, was given, or makes; not that of its parts."""
        if isinstance(clause, str):
            yield clause
        elif isinstance(clause, RawSQL):
            yield clause.sql
        elif isinstance(clause, ExtraWhere):
            yield from clause.sqls
        elif isinstance(clause, CombinedExpression) and any(map(str.isalpha, clause.connector)):
            yield clause.connector
        given: Iterable[Any] = getattr(clause, "extra", {}).values() if hasattr(clause, "template") else ()
        yield from (each for each in given if isinstance(each, str))
        if not isinstance(clause, str) and not type(clause).__module__.startswith("django."):
            yield self._made(clause)

    def within(self, clause: Any) -> Iterator[tuple[Any, str]]:
        """The texts of an expression and of its parts, each with what it is of; queries within stand in brackets."""
        left = [clause]
        while left:
            each = left.pop()
            if isinstance(each, WhereNode):
                left += each.children
            elif each is not None and not isinstance(each, Query):
                yield from ((each, text) for text in self.of(each))
                left += parts(each)

    def _made(self, clause: Any) -> str:
        compiler = self._query.get_compiler(self._using)
        try:
            if _is_unresolved(clause):
                clause = clause.resolve_expression(self._query.clone(), allow_joins=True)
            made: str = compiler.compile(clause)[0]
            for part in parts(clause):
                text = compiler.compile(part)[0] if hasattr(part, "as_sql") else ""
                if isinstance(part, Query):
                    text = text.removeprefix("(").removesuffix(")")
                made = made.replace(text, " ") if text else made
        except Exception:  # noqa: BLE001 - an app's own code may raise anything; then nobody can say
            return ANYTHING
        return made


def parts(clause: Any) -> Iterable[Any]:
    """The expressions that one is made of."""
    found: Iterable[Any] = getattr(clause, "get_source_expressions", list)()
    if isinstance(clause, Lookup) and isinstance(clause.rhs, list | tuple | set):
        return [*found, *(each for each in clause.rhs if hasattr(each, "as_sql"))]
    return found


def _is_unresolved(clause: Any) -> bool:
    """Whether it names columns still, as what a query is ordered by does."""
    return any(not hasattr(each, "as_sql") or _is_unresolved(each) for each in parts(clause) if each is not None)
