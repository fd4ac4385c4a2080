"""A SELECT in one order in; the SELECT of any page of it for any kind of database, and whose its rows are, out.

The primary key is added to the order, so that no two rows are alike in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    ColumnElement,
    Enum,
    Select,
    String,
    Table,
    and_,
    collate,
    false,
    literal,
    or_,
    tuple_,
)
from sqlalchemy.inspection import inspect
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from residency.adapters.session_sql import hidden, subject_of
from residency.errors import UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.listed import SortKey

__all__ = ["PagedSelect", "Whose", "paged"]

# The collation in which text sorts by its code points, as it does here, where the pages of several sinks are merged.
_COLLATIONS: Final = {"postgresql": "C", "sqlite": "BINARY"}
_FIRSTS: Final = 16  # page sizes for which a SELECT is kept ready
_Select = Select[*tuple[Any, ...]]
_Column = ColumnElement[Any]
Whose = tuple[_Column | None, ...]
"""The id of whose a row's data is, of each table that a SELECT is of; None = nothing tells it."""
_DIRECTIONS: Final[dict[Any, dict[str, bool]]] = {
    operators.asc_op: {"descending": False},
    operators.desc_op: {"descending": True},
    operators.nulls_first_op: {"nulls_first": True},
    operators.nulls_last_op: {"nulls_first": False},
}


class _Sorted(NamedTuple):
    """One column of the order."""

    column: ColumnElement[Any]
    how: SortKey
    nullable: bool


class PagedSelect:
    """A SELECT in one order, from wherever a page before ended."""

    __slots__ = (
        "_checked", "_firsts", "_orders", "_statement", "_tables", "_whose", "fingerprint", "named", "order",
        "relates", "width",
    )  # fmt: skip

    def __init__(self, statement: _Select) -> None:
        if statement._has_row_limiting_clause:
            raise UsageError("a list over several sinks takes its limit beside the SELECT, not in it, and no offset")
        if statement._group_by_clauses or statement._distinct:
            raise UsageError("a list over several sinks is of rows, not of groups or distinct values")
        described = statement.column_descriptions
        keys = _primary_key(described[0])
        self.width = len(described)
        self.order = tuple(_sorted(clause, keys[0].table) for clause in statement._order_by_clauses)
        if not self.order:
            raise UsageError("a list over several sinks needs an order_by")
        tied = [key for key in keys if not any(key.shares_lineage(each.column) for each in self.order)]
        self.order += tuple(_Sorted(key, SortKey(self.order[-1].how.descending), False) for key in tied)
        self._statement = statement.order_by(None)
        compiled = statement.compile()
        text = f"{compiled}\0{sorted((name, repr(value)) for name, value in compiled.params.items())}"
        self.fingerprint = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        self._tables = _tables(described, keys[0].table)
        self.named = tuple(table.name for table, _ in self._tables)
        """The tables that it brings something of."""
        entities = (inspect(each.get("entity"), raiseerr=False) for each in described)
        self.relates = any(each is not None and bool(each.mapper.relationships) for each in entities)
        """Whether it brings objects that may bring others."""
        self._whose: tuple[Sequence[RecordDoc], Whose] | None = None
        self._checked: Sequence[RecordDoc] | None = None
        self._firsts: dict[tuple[str, int, bool], _Select] = {}
        self._orders: dict[str, tuple[_Sorted, ...]] = {}

    def check(self, docs: Sequence[RecordDoc], store: str) -> None:
        """Raises: UsageError where its columns tell of rows that it does not bring, so that nobody can say whose."""
        if self._checked != docs:
            ordered = self._statement.order_by(*(each.column for each in self.order))
            names = hidden(ordered, {doc.name: doc for doc in docs}, [here for _, here in self._tables])
            if names:
                raise UsageError(
                    f"a list tells of rows of {names[0]!r} of store {store!r} by a subquery, a filter or text, "
                    "and not whose they are: select columns of the table itself, or hold what stands beside it to the "
                    "row's own person: WHERE its subject's column = that of the list's table"
                )
            self._checked = docs

    def is_told(self, docs: Sequence[RecordDoc]) -> bool:
        """Whether the store's `records:` tell whose the rows are that the SELECT is of."""
        return any(each.name in _told(docs) for each, _ in self._tables)

    def whose(self, docs: Sequence[RecordDoc]) -> Whose:
        """The id of the subject of each row, and of each row of other tables that is selected with it; None where it
        leads over a table that the app's models do not have."""
        if self._whose is None or self._whose[0] != docs:
            self._firsts.clear()
            told, by_name = _told(docs), {doc.name: doc for doc in docs}
            of = [subject_of(table, here, by_name) for table, here in self._tables if table.name in told]
            self._whose = (docs, tuple(of))
        return self._whose[1]

    def statement(self, dialect: str, after: tuple[Any, ...] | None, count: int, whose: Whose) -> _Select:
        """The SELECT of `count` rows for a database of that kind; what each is sorted by stands at its end, and whose
        it is behind that."""
        first = self._firsts.get((dialect, count, bool(whose)))
        if first is not None and after is None:
            return first
        order = self._orders.get(dialect)
        if order is None:
            order = tuple(each._replace(column=_collated(each.column, dialect)) for each in self.order)
            self._orders[dialect] = order
        if first is None:
            keys = (each.column.label(f"residency_{number}") for number, each in enumerate(self.order))
            told = (each.label(f"residency_whose_{number}") for number, each in enumerate(whose) if each is not None)
            first = self._statement.add_columns(*keys, *told).order_by(*map(_by, order)).limit(count)
            if len(self._firsts) < _FIRSTS:
                self._firsts[dialect, count, bool(whose)] = first
        return first if after is None else first.where(_behind(order, after))


def _told(docs: Sequence[RecordDoc]) -> frozenset[str]:
    """The tables whose rows are somebody's."""
    return frozenset(doc.name for doc in docs if doc.subject or doc.via)


def _primary_key(described: Any) -> Sequence[Column[Any]]:
    """The primary key of what a SELECT is of first. Raises: UsageError."""
    entity = described.get("entity")
    if entity is not None and not described["aliased"]:
        return tuple(inspect(entity).primary_key)
    key = getattr(getattr(described["expr"], "table", None), "primary_key", None)
    if key is None or not len(key.columns):
        raise UsageError("a list over several sinks is of a mapped class or of a table with a primary key")
    return tuple(key.columns)


def _tables(described: Sequence[Any], first: Any) -> Sequence[tuple[Any, Any]]:
    """The tables that a SELECT brings something of, each with what it goes by in it; `first` is the one it is listed
    by."""
    found = {first: first}
    for each in described:
        state = inspect(each["expr"], raiseerr=False)
        chosen = (
            state.selectable
            if getattr(state, "is_mapper", False) or getattr(state, "is_aliased_class", False)
            else None
        )
        if chosen is None:
            chosen = getattr(each["expr"], "expression", each["expr"])
        for here in getattr(chosen, "_from_objects", ()):
            found.setdefault(here, getattr(here, "element", here))  # an alias is of it
    return [(table, here) for here, table in found.items() if isinstance(table, Table)]


def _sorted(clause: Any, table: Any) -> _Sorted:
    said: dict[str, bool] = {}
    while True:
        if isinstance(clause, UnaryExpression) and clause.modifier in _DIRECTIONS:
            said = {**_DIRECTIONS[clause.modifier], **said}
        elif clause.__visit_name__ not in ("label", "label_reference"):
            break
        clause = clause.element
    text = clause.__visit_name__ == "textual_label_reference"  # of a column that only the database knows
    if text or not isinstance(clause, ColumnElement) or isinstance(clause.type, Enum):
        raise UsageError("a list over several sinks is ordered by columns and expressions, and not by enumerations")
    own = getattr(clause, "table", None) is table and isinstance(clause, Column)
    return _Sorted(clause, SortKey(**said), not own or bool(getattr(clause, "nullable", True)))


def _collated(column: ColumnElement[Any], dialect: str) -> ColumnElement[Any]:
    collation = _COLLATIONS.get(dialect)
    return collate(column, collation) if collation is not None and isinstance(column.type, String) else column


def _by(each: _Sorted) -> ColumnElement[Any]:
    by = each.column.desc() if each.how.descending else each.column.asc()
    if not each.nullable:
        return by  # an index serves it
    return by.nulls_first() if each.how.nulls_first else by.nulls_last()


def _behind(order: Sequence[_Sorted], after: tuple[Any, ...]) -> ColumnElement[bool]:
    """What comes after a row with these values."""
    # A text's type may bring a collation of its own, which would stand against the one that is asked for.
    types = [String() if isinstance(each.column.type, String) else each.column.type for each in order]
    values = [literal(value, kind) for kind, value in zip(types, after, strict=True)]
    ways = {each.how.descending for each in order}
    if len(ways) == 1 and not any(each.nullable for each in order):
        columns = tuple_(*(each.column for each in order))
        return columns < tuple_(*values) if ways.pop() else columns > tuple_(*values)
    return or_(
        *(
            and_(*(_same(order[n], after[n], values[n]) for n in range(at)), _beyond(order[at], after[at], values[at]))
            for at in range(len(order))
        )
    )


def _same(each: _Sorted, value: Any, bound: ColumnElement[Any]) -> ColumnElement[bool]:
    return each.column.is_(None) if value is None else each.column == bound


def _beyond(each: _Sorted, value: Any, bound: ColumnElement[Any]) -> ColumnElement[bool]:
    if value is None:
        return each.column.is_not(None) if each.how.nulls_first else false()
    further = each.column < bound if each.how.descending else each.column > bound
    return or_(further, each.column.is_(None)) if each.nullable and not each.how.nulls_first else further


# Apps keep a SELECT that takes no parameters; one that is made anew each time is planned anew.
_plans: WeakKeyDictionary[_Select, PagedSelect] = WeakKeyDictionary()


def paged(statement: _Select) -> PagedSelect:
    """How `statement` is listed page by page.

    Raises: UsageError where it has no order, has a limit, or is of groups.
    """
    plan = _plans.get(statement)
    if plan is None:
        plan = _plans[statement] = PagedSelect(statement)
    return plan
