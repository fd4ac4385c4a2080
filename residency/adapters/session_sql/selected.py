"""A statement that reads in; by which of its own conditions it says whose the rows are that it tells columns of, out.

Columns come without objects, so nothing that is loaded tells whose they are; the statement has to. Each table that it
tells something of is held to people by what its WHERE or JOIN gives for the subject's column, for the table's key, or
for the column that leads to another table; or by an equality with a table that is held. A condition counts where no row
is told without it: joined to others by AND, and of an outer join only for the side that may be missing.

    select(Order.total).where(Order.account == "7")                               whose: 7
    select(Line.price).where(Line.order_id == 12)                                 whose: that of order 12
    select(Line.price).join(Order).where(Order.account == "7")                    whose: 7
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnClause,
    ColumnElement,
    CompoundSelect,
    Delete,
    Insert,
    Join,
    Select,
    TableClause,
    TextClause,
    Update,
    select,
)
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import FromStatement
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromGrouping, SelectBase

from residency.storage.held import UNSURE, Docs, Fact, Leaf, Place, holding, mentioned, of_somebody
from residency.storage.statements import words

__all__ = ["Held", "Selected", "hidden", "selected", "subject_of"]

_Leaves = dict[int, Any]
"""What stands in FROM, a table, an alias of one or another statement, by its hash. To compare is no question to ask of
what makes SQL of it, and annotated copies have the hash of what they are copies of."""
_Own = Set[int]


class Held(NamedTuple):
    """A statement gives this column of a table a value: the key of the parameter that holds it, or several."""

    table: TableClause
    column: str
    parameter: str


@dataclass(slots=True)
class Selected:
    """`held` = whose rows a statement tells something of; `loose` = tables of which it does not say whose rows."""

    held: list[Held] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


def selected(statement: Any, docs: Docs, *, loads: bool) -> Selected:
    """What a statement tells columns of; `loads` = the ORM makes objects of its entities, which tell themselves."""
    found = Selected()
    _Reader(docs, found).read(statement, loads=loads)
    return found


def hidden(statement: Select[Any], docs: Docs, judged: Collection[Any]) -> list[str]:
    """Of which tables a list's columns tell something by other statements within it, or by text, beside rows of the
    tables `judged` in its FROM and what is of the same people."""
    if all(map(_is_plain, statement._raw_columns)):
        return []
    found = Selected()
    _Reader(docs, found).read(statement, own=frozenset(map(hash, judged)))
    return [*found.loose, *(each.table.name for each in found.held)]


def subject_of(table: Any, here: Any, docs: Docs, depth: int = 8) -> ColumnElement[Any] | None:
    """The subject's id of each row of `here`, which is `table` or an alias of it; None where nothing tells it."""
    doc = docs.get(table.name)
    if doc is None or depth == 0:
        return None
    if doc.subject is not None:
        told: ColumnElement[Any] | None = here.c.get(doc.subject)
        return told
    metadata = getattr(table, "metadata", None)
    there = None if doc.via is None or metadata is None else metadata.tables.get(doc.via[1])
    if doc.via is None or there is None or len(there.primary_key.columns) != 1 or doc.via[0] not in here.c:
        return None
    other = there.alias()
    found = subject_of(there, other, docs, depth - 1)
    if found is None:
        return None
    (key,) = there.primary_key.columns
    return select(found).where(other.c[key.name] == here.c[doc.via[0]]).correlate(here).scalar_subquery()


class _Reader:
    """Reads one statement, and those within it that it tells something of, each by its own conditions."""

    def __init__(self, docs: Docs, found: Selected) -> None:
        self._docs = of_somebody(docs)
        self._found = found
        self._seen: dict[int, Any] = {}  # held, so that their identities stay their own

    def read(self, statement: Any, *, loads: bool = False, own: _Own = frozenset(), around: _Own = frozenset()) -> None:
        """Take in what `statement` tells. Rows of `own`, tables in its FROM, tell themselves whose they are; so do
        those of `around`, tables of the statement around it, to which it may refer."""
        if id(statement) in self._seen:
            return  # a recursive CTE tells of itself
        self._seen[id(statement)] = statement
        match statement:
            case Select():
                self._select(statement, loads, own, around)
            case CompoundSelect():
                for each in statement.selects:
                    self.read(each)
            case FromStatement():
                if not (loads and all(map(_is_entity, statement.column_descriptions))):
                    self.read(statement.element)
            case Update() | Delete():
                leaves = {hash(statement.table): statement.table}
                self._told(statement._returning, leaves, own, _facts(statement._where_criteria))
            case Insert():  # it tells what it was given
                if statement._returning and statement.select is not None:
                    self.read(statement.select)
            case _ if getattr(statement, "element", None) is not None:  # brackets of all kinds
                self.read(statement.element, around=around)
            case _:
                self._unread(statement)

    def _select(self, statement: Select[Any], loads: bool, own: _Own, around: _Own) -> None:
        leaves: _Leaves = {}
        facts = _facts(statement._where_criteria)
        sources = statement.get_final_froms()
        for source in sources:
            facts += _flatten(source, leaves)
        columns, loaded = list[Any](), _Leaves()
        for each in statement._raw_columns:
            # Of a mapped class, and not of a table: its objects are looked at as they are loaded.
            if loads and _is_from(each) and "parententity" in each._annotations:
                _flatten(each, loaded)
            else:
                columns.append(each)
        self._told(columns, leaves, own | loaded.keys(), facts, _correlated(statement, sources, around))

    def _told(
        self, columns: Iterable[Any], leaves: _Leaves, own: _Own, facts: list[Fact], outer: _Own = frozenset()
    ) -> None:
        """Columns tell of the tables that they name; where one names none (`count(*)`), or another, of all of them."""
        told: _Leaves = {}
        unloaded = {key: leaf for key, leaf in leaves.items() if key not in own | outer}
        for column in columns:
            named, within = self._named(column, own - outer)
            sure = named.keys() <= leaves.keys() and (named or within)
            told |= {key: leaf for key, leaf in unloaded.items() if key in named} if sure else unloaded
        for key, leaf in told.items():
            table = _table(leaf)
            if table is None:
                self._derived(leaf)
            elif table.name in self._docs and not self._hold(key, facts, leaves, own | outer):
                self._found.loose.append(table.name)

    def _named(self, column: Any, own: _Own) -> tuple[_Leaves, bool]:
        """The tables that an expression names, and whether there is a statement in it, which is taken in."""
        named, left, within = _Leaves(), [column], False
        while left:
            each = left.pop()
            if isinstance(each, SelectBase) or isinstance(getattr(each, "element", None), SelectBase):
                self.read(each, around=frozenset() if _is_from(each) else own)
                within = True
            elif isinstance(each, TextClause) or (isinstance(each, ColumnClause) and each.is_literal):
                self._unread(each)
            elif isinstance(each, ColumnClause) and each.table is not None:
                named[hash(each.table)] = each.table
            elif _is_from(each):
                _flatten(each, named)
            else:
                left.extend(each.get_children())
        return named, within

    def _derived(self, leaf: Any) -> None:
        element = getattr(leaf, "element", None)
        if isinstance(element, SelectBase | Update | Delete | Insert):
            self.read(element)
        else:
            self._unread(leaf)

    def _unread(self, clause: Any) -> None:
        """What is of no kind that is known here tells of every table that it names."""
        for each in visitors.iterate(clause):
            of = each.table if isinstance(each, ColumnClause) else each
            if isinstance(of, TableClause) and of.name in self._docs:
                self._found.loose.append(of.name)
            self._found.loose += mentioned(_text(each), self._docs)

    def _hold(self, leaf: int, facts: list[Fact], leaves: _Leaves, own: _Own) -> bool:
        """Note what holds the rows of a table in FROM to people; False = nothing does."""
        tables = {key: each for key, of in leaves.items() if (each := _table(of)) is not None}
        keys = {key: Leaf(each.name, tuple(of.name for of in each.primary_key)) for key, each in tables.items()}
        found = holding(leaf, keys, facts, self._docs, own)
        if found:
            self._found.held.append(Held(tables[found[0]], found[1], found[2]))
        return found is not None


def _facts(criteria: Iterable[Any], only: _Leaves | None = None) -> list[Fact]:
    """What these conditions tell, all of which hold; `only` = they hold for rows of these tables alone."""
    found, left = list[Fact](), list(criteria)
    if any(map(_is_unsure, left)):
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


def _is_unsure(clause: Any) -> bool:
    """Whether text stands among conditions that may end what they are joined by."""
    if isinstance(clause, SelectBase):
        return False  # it stands in brackets
    return bool(UNSURE & words(_text(clause))) or any(map(_is_unsure, clause.get_children()))


def _flatten(clause: Any, leaves: _Leaves) -> list[Fact]:
    """Put the tables of a FROM into `leaves`; what its joins tell."""
    if isinstance(clause, FromGrouping):
        return _flatten(clause.element, leaves)
    if not isinstance(clause, Join):
        leaves[hash(clause)] = clause
        return []
    right: _Leaves = {}
    facts = [*_flatten(clause.left, leaves), *_flatten(clause.right, right)]
    leaves |= right
    if clause.full or clause.onclause is None:
        return facts
    return facts + _facts([clause.onclause], right if clause.isouter else None)


def _table(leaf: Any) -> TableClause | None:
    table = leaf.element if isinstance(leaf, AliasedReturnsRows) else leaf
    return table if isinstance(table, TableClause) else None


def _place(clause: Any) -> Place | None:
    return (hash(clause.table), clause.name) if isinstance(clause, ColumnClause) and clause.table is not None else None


def _text(clause: Any) -> str:
    """The SQL text that a clause is."""
    if isinstance(clause, TextClause):
        return clause.text
    return clause.name if isinstance(clause, ColumnClause) and clause.is_literal else ""


def _correlated(statement: Select[Any], sources: Sequence[Any], around: _Own) -> _Own:
    """What in its FROM is no table of its own but a row of the statement around it."""
    if not statement._auto_correlate:
        return {hash(each) for each in statement._correlate or ()} & {hash(each) for each in sources} & around
    return {hash(each) for each in sources} & around if len(sources) > 1 else frozenset()


def _is_plain(column: Any) -> bool:
    """Whether it is a column of a table, or all of them."""
    table = column if _is_from(column) else column.table if isinstance(column, ColumnClause) else None
    return table is not None and (_table(table) is not None or isinstance(table, Join))


def _is_from(clause: Any) -> bool:
    return bool(getattr(clause, "_is_from_clause", False))


def _is_entity(described: Any) -> bool:
    state = inspect(described["expr"], raiseerr=False)
    return bool(getattr(state, "is_mapper", False) or getattr(state, "is_aliased_class", False))
