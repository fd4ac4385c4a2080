"""Objects that a SELECT brought in; whose the rows are that came along with each by its relationships, out.

Loader options (`selectinload`, `joinedload` …) and relationships that are always loaded bring rows of other tables,
which stand in no column of the SELECT. Whatever an app can reach from an object is looked at, as far as it was loaded;
the rest cannot be reached, for the objects of a list are detached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Table, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.collections import collection_adapter
from sqlalchemy.orm.exc import UnmappedColumnError

from residency.adapters.session_sql import subject_of
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc

__all__ = ["Related", "check_named"]

_AT_ONCE: Final = 500  # keys in one question
_Key = tuple[Any, ...]
_Row = tuple[Table, _Key]


class Related:
    """What came along with rows of one sink, and whose it is by the `records:` of their store."""

    def __init__(self, store: str, docs: Sequence[RecordDoc], *, unnamed: str | None, alone: bool) -> None:
        """`unnamed` = a table of the SELECT that they do not name, where they tell of none of its tables whose the rows
        are; `alone` = the list is of one country."""
        self._store = store
        self._docs = {doc.name: doc for doc in docs}
        self._unnamed = unnamed
        self._alone = alone

    async def whose(self, session: AsyncSession, rows: Sequence[Sequence[Any]]) -> list[tuple[str | None, ...]]:
        """The ids of whose data came along with each of these rows; None = nothing tells it.

        Raises: UsageError where rows came along of a table that `records:` do not name, or with rows of such a one.
        """
        found = [self._along(row) for row in rows]
        known: dict[_Row, str | None] = {}
        asked: dict[Table, set[_Key]] = {}
        for along in found:
            for (table, key), told in along.items():
                if told is None:
                    asked.setdefault(table, set()).add(key)
                else:
                    known[table, key] = told
        for table, keys in asked.items():
            known |= await self._ask(session, table, sorted(keys, key=repr))
        return [tuple({known.get(each) for each in along}) for along in found]

    def _along(self, row: Sequence[Any]) -> dict[_Row, str | None]:
        """The rows that came along with the objects of a row, with the id that each tells by itself."""
        own = [state for item in row if isinstance(state := inspect(item, raiseerr=False), InstanceState)]
        seen, left, along = set(own), list(own), dict[_Row, str | None]()
        while left:
            for state in _loaded(left.pop()):
                if state not in seen:
                    seen.add(state)
                    left.append(state)
                    along |= self._told_by(state)
        return along

    def _told_by(self, state: InstanceState[Any]) -> Iterator[tuple[_Row, str | None]]:
        mapper = state.mapper
        tables = [table for table in mapper.tables if isinstance(table, Table)]
        named = [table for table in tables if table.name in self._docs]
        if not named and self._unnamed is None and not self._alone:
            check_named(tables[-1].name if tables else mapper.class_.__name__, self._docs, self._store)
        for table in named:
            doc = self._docs[table.name]
            if doc.subject is None and doc.via is None:
                continue  # nobody's
            if self._unnamed is not None:
                raise UsageError(
                    f"rows of table {table.name!r} come along with rows of table {self._unnamed!r}, and `records:` of "
                    f"store {self._store!r} do not say whose these are: {_lines(self._unnamed)}"
                )
            key = tuple(_value(state, column) for column in table.primary_key)
            told = None if doc.subject is None else _value(state, table.c.get(doc.subject))
            yield (table, key), None if told is None else str(told)

    async def _ask(self, session: AsyncSession, table: Table, keys: Sequence[_Key]) -> dict[_Row, str | None]:
        """Whose these rows are, by a question of its own in the same act."""
        of = subject_of(table, table, self._docs)
        if of is None:
            return {}
        columns = tuple(table.primary_key)
        found: dict[_Row, str | None] = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            one = columns[0].in_([key[0] for key in some]) if len(columns) == 1 else tuple_(*columns).in_(some)
            for *key, told in await session.execute(select(*columns, of).where(one)):
                found[table, tuple(key)] = None if told is None else str(told)
        return found


def check_named(table: str, names: Collection[str], store: str) -> None:
    """Raises: UsageError where `records:` of a store do not name a table whose rows come along in a list over several
    countries."""
    if table not in names:
        raise UsageError(
            f"rows of table {table!r} come along in a list over several countries, and `records:` of store {store!r} "
            f"do not say whose they are: {_lines(table)}"
        )


def _lines(table: str) -> str:
    return (
        f"add `{table}: {{subject: COLUMN, data: [personal]}}` there, or `{table}: {{data: [content]}}` where they are "
        "nobody's"
    )


def _loaded(state: InstanceState[Any]) -> Iterator[InstanceState[Any]]:
    """The objects that an object's relationships have loaded."""
    for relationship in state.mapper.relationships:
        value = state.dict.get(relationship.key)
        if value is None:
            continue
        for each in collection_adapter(value) if relationship.uselist else (value,):
            if isinstance(other := inspect(each, raiseerr=False), InstanceState):
                yield other


def _value(state: InstanceState[Any], column: Any) -> Any:
    """What an object has loaded of a column; None where it has nothing."""
    try:
        return None if column is None else state.dict.get(state.mapper.get_property_by_column(column).key)
    except UnmappedColumnError:
        return None
