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

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
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
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import Function
from sqlalchemy.sql.selectable import SelectBase

from residency.adapters.session_sql.clauses import (
    asides,
    bare,
    clause_of,
    criteria_of,
    entities,
    froms_of,
    inner_of,
    is_entity,
    is_plain,
    onclauses,
    parts_of,
    rows_of,
    table_of,
    text_of,
)
from residency.adapters.session_sql.conditions import (
    Leaves,
    Own,
    correlated,
    facts_of,
    flatten,
    is_grouped_by,
    is_source,
    is_unsure,
    sums,
)
from residency.adapters.session_sql.written import id_column
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import (
    Docs,
    Fact,
    Leaf,
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

    def read(self, statement: Any, *, loads: bool = False, own: Own = frozenset(), around: Own = frozenset()) -> None:
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
        leaves: Leaves = {}
        for source in froms_of(statement):
            flatten(source, leaves)
        computed = [each for each in statement.selected_columns if not is_plain(each)]
        self._named([*computed, *criteria_of(statement)], leaves.keys())
        for leaf in leaves.values():
            self._found.loose += [each.name for each in (table_of(leaf),) if each is not None and self._hides(each)]
            self.computed(inner_of(leaf))

    def _select(self, statement: Select[Any], loads: bool, own: Own, around: Own) -> None:
        leaves: Leaves = {}
        beside = list(asides(statement))
        facts = facts_of(statement.whereclause)
        sources = froms_of(bare(statement))
        for source in sources:
            facts += flatten(source, leaves)
        if any(map(is_unsure, beside)):
            facts = []
        outer = correlated(statement, sources, around)
        clauses = [each for each in statement.get_children() if not is_source(each)]
        told = own | (self._loaded(statement) if loads else frozenset())
        where = set(map(id, statement._where_criteria))
        if any(sums(each) for each in (*clauses, *beside) if id(each) not in where):  # of rows that are not given, too
            told = frozenset(key for key in told if key in leaves and is_grouped_by(statement, leaves[key]))
        self._all_held(leaves, facts, leaves, outer | told)
        self._named([*clauses, *beside, *onclauses(sources)], (own | leaves.keys()) - outer)

    def _loaded(self, statement: Select[Any]) -> Own:
        """What in its FROM the ORM makes objects of, which are looked at as they are loaded: mapped classes, and what
        comes along by joins (`contains_eager`)."""
        loaded: Leaves = {}
        for each in entities(statement):
            flatten(each.selectable, loaded)
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
        facts = [] if any(map(is_unsure, beside)) else facts_of(statement.whereclause)
        own = frozenset((hash(table),))
        leaves = {hash(table): table, **self._named([*statement.get_children(), *beside], own)}
        others = {key: leaf for key, leaf in leaves.items() if key not in own}
        self._all_held(others, facts, leaves, frozenset())
        self._changed(table, facts, leaves)

    def _insert(self, statement: Insert) -> None:
        beside = list(asides(statement))
        children: list[Any] = [*statement.get_children(), *rows_of(statement)]
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
                    self._changed(table, facts_of(each.update_whereclause), {hash(table): table})

    def _hides(self, clause: Any) -> bool:
        """Whether it is a table's name, or a function, behind which others are read."""
        return isinstance(clause, TableClause | Function) and clause.name.upper() in self._behind

    def _changed(self, table: Any, facts: list[Fact], leaves: Leaves) -> None:
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

    def _all_held(self, of: Leaves, facts: list[Fact], leaves: Leaves, sure: Own) -> None:
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

    def _named(self, clauses: Iterable[Any], around: Own) -> Leaves:
        """The tables whose columns these name; statements and texts within them are taken in."""
        named, left = Leaves(), list(clauses)
        while left:
            each = left.pop()
            if isinstance(inner_of(each), _Statement):
                self.read(each, around=frozenset() if is_source(each) else around)
            elif isinstance(each, TextClause) or (isinstance(each, ColumnClause) and each.is_literal):
                self._unread(each)
            elif isinstance(each, ColumnClause):
                if each.table is not None:
                    named[hash(each.table)] = each.table
            elif not is_source(each):
                self._found.loose += [each.name] if self._hides(each) else []
                self._text(text_of(each))
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
            self._found.loose += [name for name in names if name not in but]
            self._text(text_of(each), but)
            self._named(rows_of(each), frozenset())

    def _text(self, text: str, but: Collection[str] = ()) -> None:
        names = [*mentioned(text, self._docs), *behind_in(text, self._behind)] if text else []
        self._found.loose += [name for name in names if name not in but]
        self._found.unheld += changes(text, self._docs, self._behind)

    def _hold(self, leaf: int, facts: list[Fact], leaves: Leaves, own: Own) -> bool:
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
