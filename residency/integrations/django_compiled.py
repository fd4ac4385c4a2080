"""A query of Django's in; its rows, once those whose they are were looked at, out.

Django makes a compiler for each query, whatever way it is asked: what is told, changed and written passes here, and no
object is made but of rows that were looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from django.db.models.sql import AggregateQuery, DeleteQuery, InsertQuery, UpdateQuery
from django.db.models.sql.constants import MULTI

from residency.integrations.django_held import FROM, table_of
from residency.integrations.django_looked import Looking

__all__ = ["judging"]


@cache
def judging(kind: Any, looking: Callable[[Any], Looking | None]) -> Any:
    """A compiler of Django's that has what it sends and gives looked at by the unit that is open on its database."""

    class Judging(kind):  # type: ignore[misc]  # known only when called
        _looking: Looking | None = None
        """While it executes: who looks."""
        _inserting: Looking | None = None
        _whole = False
        """Whether it gives whole rows."""

        def execute_sql(self, *args: Any, **kwargs: Any) -> Any:
            here = looking(self.connection)
            if here is None:
                return super().execute_sql(*args, **kwargs)
            query = self.query
            change = isinstance(query, InsertQuery | UpdateQuery | DeleteQuery | AggregateQuery)
            many = (args[0] if args else kwargs.get("result_type", MULTI)) == MULTI
            whole = not change and many and query.default_cols and not query.combinator and query.explain_info is None
            self._whole, self._looking = whole, here
            try:
                with here.sending():
                    found = super().execute_sql(*args, **kwargs)
            finally:
                self._looking = None
            if not whole or not here.looks_at_rows() or self.klass_info is None:
                return found
            rows = here.rows(self, list(_infos(self.klass_info)), found)
            return list(rows) if isinstance(found, list) else rows

        def as_sql(self, *args: Any, **kwargs: Any) -> Any:
            here, self._looking = self._looking, None  # what it asks within is no part of it
            if here is None:
                return super().as_sql(*args, **kwargs)
            insert, change = isinstance(self.query, InsertQuery), isinstance(self.query, UpdateQuery | DeleteQuery)
            if change:
                here.check(self.query)  # before its conditions become those of keys
            if insert:
                self._inserting = here
                here.check_insert(self.query)
            made = super().as_sql(*args, **kwargs)
            if not insert and not change:
                infos = _infos(self.klass_info) if self._whole else ()
                here.check(self.query, {self.select[each][0].alias for fields in infos for each in fields})
            here.sends(made if insert else [made])
            return made

        def get_from_clause(self) -> Any:
            made = super().get_from_clause()
            setattr(self.query, FROM, frozenset(key for key, count in self.query.alias_refcount.items() if count))
            return made

        def prepare_value(self, field: Any, value: Any) -> Any:
            here = self._inserting
            if here is not None:
                here.check_value(table_of(self.query.get_meta()), field, value)
            made = super().prepare_value(field, value)
            if here is not None and hasattr(made, "resolve_expression"):
                here.check_inserted(made)
            return made

    return Judging


def _infos(info: Any) -> Iterator[Sequence[int]]:
    """The positions of columns of each object that is made of a row."""
    if info is not None:
        yield info["select_fields"]
        for each in info.get("related_klass_infos", ()):
            yield from _infos(each)
