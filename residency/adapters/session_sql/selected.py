"""A statement that reads in; by which of its own conditions it says whose the rows are that it reads, out.

Columns come without objects, so nothing that is loaded tells whose they are; the statement has to. Each table that it
reads, be it only to filter by it, is held to people by what its WHERE or JOIN gives for the subject's column, for the
table's key, or for the column that leads to another table; or by an equality with a table that is held. A condition
counts where no row is told without it: joined to others by AND, and of an outer join only for the side that may be
missing.

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
from sqlalchemy.orm import FromStatement
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.functions import Function, FunctionElement
from sqlalchemy.sql.selectable import FromClause, FromGrouping, SelectBase

from residency.adapters.session_sql.clauses import (
    asides,
    bare,
    clause_of,
    entities,
    inner_of,
    is_entity,
    is_plain,
    onclauses,
    parts_of,
    table_of,
    text_of,
)
from residency.adapters.session_sql.written import id_column
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import (
    UNSURE,
    Docs,
    Fact,
    Leaf,
    Place,
    behind_in,
    changes,
    held_by_key,
    holding,
    mentioned,
    of_somebody,
    own_of,
)
from residency.storage.statements import words

__all__ = ["Held", "Selected", "hidden", "selected", "subject_of"]

_Leaves = dict[int, Any]
"""What stands in FROM, a table, an alias of one or another statement, by its hash. To compare is no question to ask of
what makes SQL of it, and annotated copies have the hash of what they are copies of."""
_Own = Set[int]
_Statement = SelectBase | Update | Delete | Insert


class Held(NamedTuple):
    """A statement gives these columns of a table values, one or those of its key: the keys of the parameters that each
    hold one, or several."""

    table: TableClause
    columns: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(slots=True)
class Selected:
    """`held` = whose rows a statement reads, `loose` = tables of which it does not say whose rows; `changed` and
    `unheld` the same of the rows that it changes."""

    held: list[Held] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    changed: list[Held] = field(default_factory=list)
    unheld: list[str] = field(default_factory=list)


def selected(statement: Any, docs: Docs, *, loads: bool, made: Any = None, behind: Set[str] = frozenset()) -> Selected:
    """What a statement reads; `loads` = the ORM makes objects of its entities, which tell themselves, by the SELECT
    `made`. No `statement` = objects are all that is told. `behind` (in capitals) tables of `docs` are read."""
    found = Selected()
    reader = _Reader(docs, found, made, behind)
    if statement is not None:
        reader.read(statement, loads=loads)
    if loads:
        reader.computed(made)
    return found


def hidden(statement: Select[Any], docs: Docs, judged: Collection[Any]) -> list[str]:
    """Of which tables a list tells something, by what it filters by, by other statements within it or by text, beside
    rows of the tables `judged` in its FROM and what is of the same people."""
    found = Selected()
    made = getattr(statement.compile().compile_state, "statement", None)
    reader = _Reader(docs, found, made)
    reader.read(statement, loads=True, own=frozenset(map(hash, judged)))
    reader.computed(made)
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
    """Reads one statement and those within it, each by its own conditions."""

    def __init__(self, docs: Docs, found: Selected, made: Any = None, behind: Set[str] = frozenset()) -> None:
        self._docs = of_somebody(docs)
        self._names = {name.lower(): name for name in self._docs}  # SQLite finds them however they are spelled
        self._found = found
        self._made = made
        self._behind = behind
        self._seen: dict[int, Any] = {}  # held, so that their identities stay their own

    def read(self, statement: Any, *, loads: bool = False, own: _Own = frozenset(), around: _Own = frozenset()) -> None:
        """Take in what `statement` reads. Rows of `own`, tables in its FROM, tell themselves whose they are; so do
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
                self._named([*statement.get_children(), *asides(statement)], frozenset())
            case FromStatement():
                objects = entities(statement) if loads else ()
                if objects and all(map(is_entity, statement.column_descriptions)):
                    self._unread(statement.element, {table.name for each in objects for table in each.mapper.tables})
                else:
                    self.read(statement.element)
            case Update() | Delete():
                self._change(statement)
            case Insert():  # it tells what it was given
                self._insert(statement)
            case _ if getattr(statement, "element", None) is not None:  # brackets of all kinds
                self.read(statement.element, around=around)
            case _:
                self._unread(statement)

    def computed(self, statement: Any) -> None:
        """Take in what models compute of others' rows (`column_property`, `with_expression`), in a SELECT as the ORM
        makes it: each is of the person whose row it stands in."""
        if not isinstance(statement, Select) or id(statement) in self._seen:
            return
        self._seen[id(statement)] = statement
        leaves: _Leaves = {}
        for source in statement.get_final_froms():
            _flatten(source, leaves)
        self._named([each for each in statement.selected_columns if not is_plain(each)], leaves.keys())
        for leaf in leaves.values():
            self._found.loose += [each.name for each in (table_of(leaf),) if each is not None and self._hides(each)]
            self.computed(inner_of(leaf))

    def _select(self, statement: Select[Any], loads: bool, own: _Own, around: _Own) -> None:
        leaves: _Leaves = {}
        beside = list(asides(statement))
        facts = _facts(statement.whereclause)
        sources = bare(statement).get_final_froms()
        for source in sources:
            facts += _flatten(source, leaves)
        if any(map(_is_unsure, beside)):
            facts = []
        outer = _correlated(statement, sources, around)
        loaded = self._loaded(statement) if loads else frozenset()
        self._all_held(leaves, facts, leaves, own | outer | loaded)
        clauses = [each for each in statement.get_children() if not _is_source(each)]
        self._named([*clauses, *beside, *onclauses(sources)], (own | leaves.keys()) - outer)

    def _loaded(self, statement: Select[Any]) -> _Own:
        """What in its FROM the ORM makes objects of, which are looked at as they are loaded: mapped classes, and what
        comes along by joins (`contains_eager`)."""
        loaded: _Leaves = {}
        for each in entities(statement):
            _flatten(each.selectable, loaded)
            if not isinstance(each.selectable, TableClause | Join):
                self._unread(each.selectable, {table.name for table in each.mapper.tables})
        if not isinstance(self._made, Select):
            return loaded.keys()
        columns = (clause_of(each["expr"]) for each in statement.column_descriptions if not is_entity(each))
        named = {hash(of.table) for each in columns for of in visitors.iterate(each) if isinstance(of, ColumnClause)}
        made = {hash(each.table) for each in self._made.selected_columns if isinstance(each, ColumnClause)}
        return (made - named) | loaded.keys()

    def _change(self, statement: Update | Delete) -> None:
        table: Any = statement.table
        beside = list(asides(statement))
        facts = [] if any(map(_is_unsure, beside)) else _facts(statement.whereclause)
        own = frozenset((hash(table),))
        leaves = {hash(table): table, **self._named([*statement.get_children(), *beside], own)}
        others = {key: leaf for key, leaf in leaves.items() if key not in own}
        self._all_held(others, facts, leaves, frozenset())
        self._changed(table, facts, leaves)

    def _insert(self, statement: Insert) -> None:
        beside = list(asides(statement))
        children: list[Any] = list(statement.get_children())
        self._named([*children, *beside], frozenset((hash(statement.table),)))
        if statement.select is not None:
            self.read(statement.select)
        table: Any = statement.table
        doc = self._doc(table)
        if self._hides(table) or any("REPLACE" in words(text_of(each)) for each in beside):
            self._changed(table, [], {hash(table): table})
        for each in children:  # what stands there under the same key may be another's
            if doc is not None and hasattr(each, "update_values_to_set"):
                # One that is of whom the row says that would be inserted was looked at.
                target = [getattr(of, "name", of) for of in each.inferred_target_elements or ()]
                if own_of(doc) not in target or id_column(table, self._docs) is None:
                    self._changed(table, _facts(each.update_whereclause), {hash(table): table})

    def _hides(self, clause: Any) -> bool:
        """Whether it is a table's name, or a function, behind which others are read."""
        return isinstance(clause, TableClause | Function) and clause.name.upper() in self._behind

    def _changed(self, table: Any, facts: list[Fact], leaves: _Leaves) -> None:
        if self._hides(table):
            self._found.unheld.append(table.name)
        if (doc := self._doc(table)) is not None:
            before = len(self._found.held)
            if self._hold(hash(table), facts, leaves, frozenset()):
                self._found.changed += self._found.held[before:]
            else:
                self._found.unheld.append(doc.name)

    def _doc(self, table: Any) -> RecordDoc | None:
        return self._docs.get(self._names.get(table.name.lower(), ""))

    def _all_held(self, of: _Leaves, facts: list[Fact], leaves: _Leaves, sure: _Own) -> None:
        """What is only joined filters, which tells of it, too: each table says whose its rows are."""
        for key, leaf in of.items():
            table = table_of(leaf)
            if table is not None and self._hides(table):
                self._found.loose.append(table.name)
            if key in sure:
                continue
            if table is None:
                self._derived(leaf)
            elif (doc := self._doc(table)) is not None and not self._hold(key, facts, leaves, sure):
                self._found.loose.append(doc.name)

    def _named(self, clauses: Iterable[Any], around: _Own) -> _Leaves:
        """The tables whose columns these name; statements and texts within them are taken in."""
        named, left = _Leaves(), list(clauses)
        while left:
            each = left.pop()
            if isinstance(inner_of(each), _Statement):
                self.read(each, around=frozenset() if _is_source(each) else around)
            elif isinstance(each, TextClause) or (isinstance(each, ColumnClause) and each.is_literal):
                self._unread(each)
            elif isinstance(each, ColumnClause):
                if each.table is not None:
                    named[hash(each.table)] = each.table
            elif not _is_source(each):
                self._found.loose += [each.name] if self._hides(each) else []
                left.extend(parts_of(each))
        return named

    def _derived(self, leaf: Any) -> None:
        element = inner_of(leaf)
        if isinstance(element, _Statement):
            self.read(element)
        else:
            self._unread(leaf)

    def _unread(self, clause: Any, but: Collection[str] = ()) -> None:
        """What is of no kind that is known here tells of every table that it names, `but` for these."""
        for each in visitors.iterate(clause):
            of: Any = each.table if isinstance(each, ColumnClause) else each
            doc = self._doc(of) if isinstance(of, TableClause) else None
            names = [of.name] if self._hides(of) else [] if doc is None else [doc.name]
            names += [*mentioned(text_of(each), self._docs), *behind_in(text_of(each), self._behind)]
            self._found.unheld += changes(text_of(each), self._docs, self._behind)
            self._found.loose += [name for name in names if name not in but]

    def _hold(self, leaf: int, facts: list[Fact], leaves: _Leaves, own: _Own) -> bool:
        """Note what holds the rows of a table in FROM to people; False = nothing does."""
        tables = {key: each for key, of in leaves.items() if (each := table_of(of)) is not None}
        keys = {
            key: Leaf(self._names.get(each.name.lower(), each.name), tuple(of.name for of in each.primary_key))
            for key, each in tables.items()
        }
        found = holding(leaf, keys, facts, self._docs, own)
        if found:
            self._found.held.append(Held(tables[found[0]], (found[1],), (found[2],)))
        elif found is None and len(keys[leaf].key) > 1 and (given := held_by_key(leaf, keys[leaf].key, facts)):
            self._found.held.append(Held(tables[leaf], keys[leaf].key, given))
            return True
        return found is not None


def _is_source(clause: Any) -> bool:
    """Whether a clause is one to select from; a function may be, and stands among columns and conditions, too."""
    return isinstance(clause, FromClause) and not isinstance(clause, FunctionElement)


def _facts(criterion: Any, only: _Leaves | None = None) -> list[Fact]:
    """What a condition tells that holds; `only` = it holds for rows of these tables alone."""
    found, left = list[Fact](), [criterion]
    if criterion is None or _is_unsure(criterion):
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
    return bool(UNSURE & words(text_of(clause))) or any(map(_is_unsure, clause.get_children()))


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
    return facts + _facts(clause.onclause, right if clause.isouter else None)


def _place(clause: Any) -> Place | None:
    return (hash(clause.table), clause.name) if isinstance(clause, ColumnClause) and clause.table is not None else None


def _correlated(statement: Select[Any], sources: Sequence[Any], around: _Own) -> _Own:
    """What in its FROM is no table of its own but a row of the statement around it."""
    there = {hash(each) for each in sources}
    if statement._auto_correlate:
        return there & around if len(sources) > 1 else frozenset()
    outer = {hash(each) for each in statement._correlate or ()}
    if statement._correlate_except is not None:  # as `any()` and `has()` of relationships say it
        outer |= there - {hash(each) for each in statement._correlate_except}
    return outer & there & around
