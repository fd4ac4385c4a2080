"""`RESIDENCY_STORES` in; which store a model, or a table, is of, and a refusal where another database is asked for it,
out.

The router names the sink of a unit of work, and `using("default")`, or a join with a model of no store, goes past it:
to rows that were there before, or to the sink itself where that is the app's old database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final

from django.apps import apps
from django.conf import settings

from residency.errors import UsageError
from residency.integrations.django_whose import is_vouched
from residency.storage.statements import words

__all__ = ["check_text", "elsewhere", "models_of_stores", "store_of"]

_COMPILED: Final = "_residency_compiled"
"""Under this name a connection keeps whether a compiler of Django's executes what it made."""


def models_of_stores() -> Mapping[str, tuple[str, ...]]:
    """The models, or whole apps, of each store."""
    said: Mapping[str, tuple[str, ...]] = getattr(settings, "RESIDENCY_STORES", {})
    return said


def store_of(app_label: str, model_name: str | None) -> str | None:
    """The store of a model; None = it is of none."""
    label = f"{app_label}.{model_name}".lower()
    for store, names in models_of_stores().items():
        if any(label == name.lower() or app_label == name for name in names):
            return store
    return None


def _stores() -> Mapping[str, str]:
    """The store of each table that is of one."""
    return _by_table(sum(map(len, apps.all_models.values())))


@lru_cache(maxsize=1)
def _by_table(count: int) -> Mapping[str, str]:
    """As `_stores`, of `count` models, which only become more."""
    metas = [each._meta for models in apps.all_models.values() for each in models.values()]
    found = ((meta.db_table, store_of(meta.app_label, meta.model_name)) for meta in metas)
    return {table: store for table, store in found if store is not None}


@cache
def elsewhere(kind: Any, serves: Callable[[], bool]) -> Any:
    """A compiler of Django's for a database that is no sink: where a process `serves` it makes no statement with tables
    of a store."""

    class Elsewhere(kind):  # type: ignore[misc]  # known only when called
        def execute_sql(self, *args: Any, **kwargs: Any) -> Any:
            said: dict[str, Any] = self.connection.__dict__
            before, said[_COMPILED] = said.get(_COMPILED, False), True
            try:
                return super().execute_sql(*args, **kwargs)
            finally:
                said[_COMPILED] = before

        def as_sql(self, *args: Any, **kwargs: Any) -> Any:
            if self.query.get_meta() is not None:
                self._check([self.query.get_meta().db_table])
            return super().as_sql(*args, **kwargs)

        def get_from_clause(self) -> Any:
            query = self.query  # what it is ordered by, and what is loaded beside it, is joined by now, and not later
            self._check(join.table_name for alias, join in query.alias_map.items() if query.alias_refcount[alias])
            return super().get_from_clause()

        def _check(self, tables: Iterable[str]) -> None:
            stores = _stores()
            table = next((each for each in tables if each in stores), None)
            if table is not None and serves():
                raise _no_sink(table, self.connection.alias)

    return Elsewhere


def check_text(connection: Any, text: str, serves: Callable[[], bool]) -> None:
    """Look at what is sent to a database that is no sink. Raises: UsageError where a process `serves`, and text that no
    compiler made names a table of a store."""
    if vars(connection).get(_COMPILED) or is_vouched():
        return
    said = words(text)
    if (table := next((each for each in _stores() if _bare(each) in said), None)) is not None and serves():
        raise _no_sink(table, connection.alias)


def _bare(table: str) -> str:
    return table.replace('"', "").rpartition(".")[2].upper()


def _no_sink(table: str, alias: str) -> UsageError:
    store = _stores()[table]
    return UsageError(
        f"table {table!r} is of store {store!r}, and database {alias!r} is none of its sinks: inside a request it is "
        f"read and written by its own models in `with unit({store!r})`"
    )
