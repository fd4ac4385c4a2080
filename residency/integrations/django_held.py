"""A query of Django's in; by which of its own conditions it says whose the rows are that it tells columns of, out.

What `session_sql.selected` is for SQLAlchemy, read off Django's tree of a query: its WHERE, its joins, its columns. A
condition counts where no row is told without it: joined to others by AND, and of an outer join only for the side that
may be missing. What a query changes or deletes it has to say of, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.db.models import Value
from django.db.models.expressions import Col, ColPairs, RawSQL
from django.db.models.fields.related_lookups import RelatedExact, RelatedIn
from django.db.models.lookups import Exact, In, IntegerFieldExact
from django.db.models.sql import Query
from django.db.models.sql.constants import INNER
from django.db.models.sql.where import AND, ExtraWhere, WhereNode

from residency.storage.held import UNSURE, Docs, Fact, Leaf, holding, mentioned, of_somebody
from residency.storage.statements import words

__all__ = ["Held", "Told", "models_by_table", "told"]

_EQUAL: Final = (Exact, IntegerFieldExact, RelatedExact)
_AMONG: Final = (In, RelatedIn)
"""Lookups that say what a column is; of others, an app's own among them, nothing is known."""
_Leaves = dict[str, Leaf]
"""Tables in FROM by their alias."""
_NONE: Final[Mapping[str, Leaf]] = {}


class Held(NamedTuple):
    """A query gives this column of a table one of these values."""

    table: str
    column: str
    values: tuple[Any, ...]


@dataclass(slots=True)
class Told:
    """`held` = whose rows a query tells something of; `loose` = tables of which it does not say whose rows."""

    held: list[Held] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


def models_by_table() -> Mapping[str, Any]:
    """Each table's model."""
    return _by_table(tuple(apps.get_models(include_auto_created=True)))


@lru_cache(maxsize=1)
def _by_table(models: tuple[Any, ...]) -> Mapping[str, Any]:
    return {each._meta.db_table: each for each in reversed(models) if not each._meta.proxy}


def told(query: Any, docs: Docs, *, own: Iterable[str] = (), changes: bool = False, values: Iterable[Any] = ()) -> Told:
    """What a query tells columns of. `own` = aliases of tables whose rows it tells whole, so that these tell whose they
    are; `changes` = it changes or deletes rows, and `values` are what it gives them."""
    found = Told()
    reader = _Reader(of_somebody(docs), found)
    if changes:
        reader.read_change(query, values)
    else:
        reader.read(query, own=frozenset(own))
    return found


class _Reader:
    """Reads one query, and those within it that it tells something of, each by its own conditions."""

    def __init__(self, docs: Docs, found: Told) -> None:
        self._docs = docs
        self._found = found

    def read(self, query: Any, *, own: Set[str] = frozenset(), around: Mapping[str, Leaf] = _NONE) -> set[str]:
        """Take in what `query` tells; the aliases of the query around it that it tells of besides. Rows of `own` and of
        `around` tell themselves whose they are."""
        if query.combinator:
            return {each for part in query.combined_queries for each in self.read(part, around=around)}
        inner = getattr(query, "inner_query", None)
        if inner is not None:  # what stands around it is made of its columns
            self.read(inner)
            for column in query.annotation_select.values():
                self._named(column, {}, frozenset())
            return set()
        leaves = _leaves(query)
        every, strict, outer = set[str](), set[str](), set[str]()
        if query.default_cols and not own:
            every |= self._rows(query, leaves)
        for column in _columns(query):
            named, within = self._named(column, leaves, own)
            outer |= named - leaves.keys()
            sure = named <= leaves.keys() and (named or within)
            # What a window tells is of all rows that there are, also of those that are not given.
            (strict if getattr(column, "contains_over_clause", False) else every).update(named if sure else leaves)
        facts = _facts(query, leaves)
        for alias in sorted(every - own):
            self._hold(alias, {**around, **leaves}, facts, own | around.keys())
        for alias in sorted(strict & own):
            self._hold(alias, leaves, facts, frozenset())
        for alias in sorted(strict - own - every):
            self._hold(alias, {**around, **leaves}, facts, own | around.keys())
        return outer - around.keys()

    def read_change(self, query: Any, values: Iterable[Any]) -> None:
        """Take in which rows `query` changes, and what the values tell that it gives them."""
        leaves = _leaves(query)
        base = _base(query)
        for value in values:
            self._named(value, leaves, {base})
        self._hold(base, leaves, _facts(query, leaves), frozenset())

    def _rows(self, query: Any, leaves: _Leaves) -> set[str]:
        """The tables that a model's rows are of."""
        meta = query.get_meta()
        if meta is None:  # it is of no model
            return set()
        tables = {meta.db_table, *(each._meta.db_table for each in meta.all_parents)}
        known = {leaf.name for leaf in leaves.values()}
        self._found.loose += sorted(name for name in tables - known if name in self._docs)
        return {alias for alias, leaf in leaves.items() if leaf.name in tables}

    def _named(self, column: Any, leaves: _Leaves, own: Set[str]) -> tuple[set[str], bool]:
        """The tables that an expression names, and whether there is a query in it, which is taken in."""
        around = {key: leaf for key, leaf in leaves.items() if key in own}
        named, left, within = set[str](), [column], False
        while left:
            each = left.pop()
            if isinstance(each, Query):
                named |= self.read(each, around=around)
                within = True
            elif isinstance(each, Col | ColPairs):
                named.add(each.alias)
            elif each is not None:
                for text in _texts(each):
                    named |= self._read_text(text, leaves)
                left += getattr(each, "get_source_expressions", list)()
        return named, within

    def _read_text(self, text: str, leaves: _Leaves) -> set[str]:
        """The tables in FROM that text among columns names; others it tells of in a way that is not understood."""
        tables, inner = set(mentioned(text, self._docs)), "SELECT" in words(text)
        there = {alias for alias, leaf in leaves.items() if leaf.name in tables and not inner}
        self._found.loose += sorted(tables - {leaves[alias].name for alias in there})
        return there

    def _hold(self, alias: str, leaves: Mapping[str, Leaf], facts: list[Fact], own: Set[str]) -> None:
        if leaves[alias].name not in self._docs:
            return
        found = holding(alias, leaves, facts, self._docs, own)
        if found is None:
            self._found.loose.append(leaves[alias].name)
        elif found:
            self._found.held.append(Held(leaves[found[0]].name, found[1], found[2]))


def _leaf(table: str) -> Leaf:
    model = models_by_table().get(table)
    return Leaf(table, () if model is None else tuple(each.column for each in model._meta.pk_fields))


def _leaves(query: Any) -> _Leaves:
    joined = {key: _leaf(join.table_name) for key, join in query.alias_map.items() if query.alias_refcount[key]}
    if not joined and query.get_meta() is not None:
        joined[_base(query)] = _leaf(query.get_meta().db_table)
    return {**{name: _leaf(name) for name in query.extra_tables}, **joined}


def _base(query: Any) -> str:
    return str(query.base_table or query.get_meta().db_table)


def _columns(query: Any) -> Iterator[Any]:
    for text, _ in query.extra_select.values():
        yield text
    yield from query.select
    yield from query.annotation_select.values()


def _facts(query: Any, leaves: Mapping[str, Leaf]) -> list[Fact]:
    """What the conditions of a query tell, all of which hold."""
    if any(UNSURE & words(text) for text in _all_texts(query.where)):
        return []
    found = list[Fact]()
    for alias, join in query.alias_map.items():
        if alias not in leaves or join.parent_alias not in leaves:
            continue
        for there, here in join.join_cols:
            found.append(Fact((alias, here), (join.parent_alias, there)))
            if join.join_type == INNER:
                found.append(Fact((join.parent_alias, there), (alias, here)))
    left: list[Any] = [query.where]
    while left:
        each = left.pop()
        if isinstance(each, WhereNode):
            if not each.negated and (each.connector == AND or len(each.children) == 1):
                left += each.children
        elif type(each) in (*_EQUAL, *_AMONG) and not each.bilateral_transforms:
            found += _said(each)
    return found


def _said(lookup: Any) -> Iterator[Fact]:
    place, other = _place(lookup.lhs), lookup.rhs
    if type(lookup) in _AMONG:
        values = None if isinstance(other, Query) or hasattr(other, "as_sql") else tuple(map(_plain, other))
        if place is not None and values is not None and not any(each is _UNKNOWN for each in values):
            yield Fact(place, given=tuple(each for each in values if each is not None))
        return
    if place is None:
        place, other = _place(other), lookup.lhs
    if place is None:
        return
    if (there := _place(other)) is not None:
        yield Fact(place, there)
        yield Fact(there, place)
    elif (value := _plain(other)) is not _UNKNOWN:
        yield Fact(place, given=(value,))


_UNKNOWN: Final = object()


def _plain(value: Any) -> Any:
    """What is sent as it is."""
    if isinstance(value, Value):
        value = value.value
    return _UNKNOWN if hasattr(value, "as_sql") or hasattr(value, "resolve_expression") else value


def _place(clause: Any) -> tuple[str, str] | None:
    return (clause.alias, clause.target.column) if type(clause) is Col else None


def _all_texts(clause: Any) -> Iterator[str]:
    left = [clause]
    while left:
        each = left.pop()
        if isinstance(each, WhereNode):
            left += each.children
        elif each is not None and not isinstance(each, Query):  # it stands in brackets
            yield from _texts(each)
            left += getattr(each, "get_source_expressions", list)()


def _texts(clause: Any) -> Iterator[str]:
    """The SQL text that an expression is, or was given."""
    if isinstance(clause, RawSQL | str):
        yield clause if isinstance(clause, str) else clause.sql
    elif isinstance(clause, ExtraWhere):
        yield from clause.sqls
    given = list(getattr(clause, "extra", {}).values() if hasattr(clause, "template") else ())
    if not type(clause).__module__.startswith("django."):
        given += [getattr(clause, name, None) for name in ("template", "function")]
    yield from (each for each in given if isinstance(each, str))
