"""A query of Django's in; by which of its own conditions it says whose the rows are that it reads or changes, out.

What `session_sql.selected` is for SQLAlchemy, read off Django's tree of a query: its WHERE, its joins, what stands
within. Each table that it reads, be it only to filter by it, is held to people. A condition counts where no row is told
without it: joined to others by AND, and of an outer join only for the side that may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.apps import apps
from django.db.models import Func, Value, lookups
from django.db.models.expressions import Col
from django.db.models.fields.related_lookups import RelatedExact, RelatedIn
from django.db.models.lookups import Exact, In, Lookup
from django.db.models.sql import Query
from django.db.models.sql.constants import INNER
from django.db.models.sql.where import AND, WhereNode

from residency.integrations.django_text import Texts, parts
from residency.storage.held import UNSURE, Docs, Fact, Leaf, behind_in, holding, mentioned, of_somebody
from residency.storage.statements import words

__all__ = ["FROM", "Held", "Told", "keys_of", "models_by_table", "table_of", "told"]

_EQUAL: Final = (Exact, getattr(lookups, "IntegerFieldExact", Exact), RelatedExact)  # Django 4.2 has no such
_AMONG: Final = (In, RelatedIn)
"""Lookups that say what a column is; of others, an app's own among them, nothing is known."""
FROM: Final = "_residency_from"
"""Under this name a query keeps the aliases of what stood in its FROM as it was compiled."""
_PLAIN: Final = re.compile(r"""["\w]+(?:\."?\w+"?)?""")
"""Text that is a column, as Django's own of relations to many is."""
_NONE: Final[Mapping[str, Leaf]] = {}


class Held(NamedTuple):
    """A query gives this column of a table one of these values."""

    table: str
    column: str
    values: tuple[Any, ...]


@dataclass(slots=True)
class Told:
    """`held` = whose rows a query reads, `loose` = tables of which it does not say whose rows; `changed` and `unheld`
    the same of the rows that it changes."""

    held: list[Held] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    changed: list[Held] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)


def models_by_table() -> Mapping[str, Any]:
    """Each table's model."""
    return _by_table(tuple(apps.get_models(include_auto_created=True)))


@lru_cache(maxsize=1)
def _by_table(models: tuple[Any, ...]) -> Mapping[str, Any]:
    return {table_of(each._meta): each for each in reversed(models) if not each._meta.proxy}


def table_of(meta: Any) -> str:
    """A model's table as `records:` name it, without a schema."""
    return _bare(meta.db_table)


def keys_of(meta: Any) -> tuple[str, ...]:
    """The columns of a model's key."""
    return tuple(each.column for each in getattr(meta, "pk_fields", (meta.pk,)))  # several from Django 5.2 on


def _bare(name: str) -> str:
    return name.replace('"', "").rpartition(".")[2]


def told(
    query: Any,
    docs: Docs,
    using: str,
    behind: Set[str],
    *,
    own: Iterable[str] = (),
    changes: bool = False,
    values: Iterable[Any] = (),
) -> Told:
    """What a query reads by the database `using`. `behind` (in capitals) tables of `docs` are read there. `own` =
    aliases of tables whose rows it tells whole, so that these tell whose they are; `changes` = it changes or deletes
    rows, and `values` are what it gives them."""
    found = Told()
    _Reader(of_somebody(docs), using, behind, found).read(query, own=frozenset(own), changes=changes, values=values)
    return found


class _Reader:
    """Reads one query and those within it, each by its own conditions."""

    def __init__(self, docs: Docs, using: str, behind: Set[str], found: Told) -> None:
        self._docs = docs
        self._behind = behind
        self._using = using
        self._found = found

    def read(
        self,
        query: Any,
        *,
        own: Set[str] = frozenset(),
        around: Mapping[str, Leaf] = _NONE,
        changes: bool = False,
        values: Iterable[Any] = (),
    ) -> None:
        """Take in what `query` reads. Rows of `own` tell themselves whose they are; so do those of `around`, tables of
        the query around it, to which it may refer."""
        inner = getattr(query, "inner_query", None)
        combined = query.combined_queries if query.combinator else () if inner is None else (inner,)
        for part in combined:
            self.read(part, around=around)
        texts = Texts(query, self._using)
        leaves = {} if combined else _leaves(query)
        every, facts = {**around, **leaves}, _facts(query, leaves, texts)
        clauses = [*_clauses(query), *values]
        for alias in leaves:
            changed = changes and alias == _base(query)
            if leaves[alias].name.upper() in self._behind:
                (self._found.unheld if changed else self._found.loose).append(leaves[alias].name)
            elif alias not in own:
                self._hold(alias, every, facts, own | around.keys(), changed)
            elif any(_sums(each, texts) for each in clauses):
                self._hold(alias, leaves, facts, frozenset())
        self._read_within(clauses, texts, every)

    def _read_within(self, clauses: Iterable[Any], texts: Texts, leaves: Mapping[str, Leaf]) -> None:
        """Take in the queries and texts within expressions."""
        left = list(clauses)
        while left:
            each = left.pop()
            if isinstance(each, Query):
                self.read(each, around=leaves)
            elif each is not None:
                for text in texts.of(each):
                    self._read_text(text, leaves)
                left += each.children if isinstance(each, WhereNode) else parts(each)

    def _read_text(self, text: str, leaves: Mapping[str, Leaf]) -> None:
        """Text may name tables in FROM, which are held; what else it tells is not understood."""
        names = set(mentioned(text, self._docs))
        if "SELECT" not in words(text):
            names -= {leaf.name for leaf in leaves.values()}
        self._found.loose += [*sorted(names), *behind_in(text, self._behind)]

    def _hold(
        self, alias: str, leaves: Mapping[str, Leaf], facts: list[Fact], own: Set[str], changed: bool = False
    ) -> None:
        if leaves[alias].name not in self._docs:
            return
        found = holding(alias, leaves, facts, self._docs, own)
        if found is None:
            (self._found.unheld if changed else self._found.loose).append(leaves[alias].name)
        elif found:
            held = self._found.changed if changed else self._found.held
            held.append(Held(leaves[found[0]].name, found[1], found[2]))


def _leaf(name: str) -> Leaf:
    table = _bare(name)
    model = models_by_table().get(table)
    return Leaf(table, () if model is None else keys_of(model._meta))


def _leaves(query: Any) -> dict[str, Leaf]:
    """The tables in FROM, by their alias; `FROM` holds those that were joined as it was compiled, to order by them."""
    made = getattr(query, FROM, ())
    found = {name: _leaf(name) for name in query.extra_tables}
    for alias, join in query.alias_map.items():
        if query.alias_refcount[alias] or alias in made:
            found[alias] = _leaf(join.table_name)
    if found.keys() <= set(query.extra_tables) and query.get_meta() is not None:
        found[_base(query)] = _leaf(query.get_meta().db_table)
    return found


def _base(query: Any) -> str:
    if query.get_meta() is None:
        return ""
    return str(next(iter(query.alias_map), query.get_meta().db_table))  # `base_table` is kept once it was asked for


def _clauses(query: Any) -> Iterator[Any]:
    """All expressions of a query."""
    yield from (text for text, _ in query.extra_select.values())
    yield from (f'"{name}"' for name in query.extra_tables)
    yield from query.select
    yield from query.annotation_select.values()
    yield query.where
    yield from (each for each in query.order_by if not isinstance(each, str))
    yield from (each.removeprefix("-") for each in query.extra_order_by)
    yield from query.group_by if isinstance(query.group_by, tuple) else ()


def _sums(clause: Any, texts: Texts) -> bool:
    """Whether it may tell of rows that are not given: a window does, and so may text (`group_concat(body)`). An app's
    own lookup finds rows, which are looked at."""
    if getattr(clause, "contains_over_clause", False):
        return True
    return any(
        isinstance(clause, Func) or (_PLAIN.fullmatch(text) is None and not isinstance(each, Lookup))
        for each, text in texts.within(clause)
    )


def _facts(query: Any, leaves: Mapping[str, Leaf], texts: Texts) -> list[Fact]:
    """What the conditions of a query tell, all of which hold."""
    if any(UNSURE & words(text) for _, text in texts.within(query.where)):
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
