"""Tables that stand in a statement's FROM and what its conditions tell in; to whom the rows of one are held, out.

A table is held to people by what the conditions give for the subject's column, for the table's key, or for the column
that leads to another table; or by an equality with a table that is held. How conditions are read is for each library
that makes statements; SQL text is not read further than to the tables that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from typing import Any, Final, NamedTuple

from residency.policy.parsed_storage import RecordDoc
from residency.storage.statements import ANY, changed, fetches, words, written

__all__ = [
    "ANYTHING",
    "UNSURE",
    "Docs",
    "Fact",
    "Leaf",
    "Place",
    "Written",
    "behind_in",
    "changes",
    "gives_subject",
    "held_by_key",
    "holding",
    "mentioned",
    "of_somebody",
    "own_of",
    "reading",
]

UNSURE: Final = frozenset({"OR", "UNION", "INTERSECT", "EXCEPT", ";"})
"""Words of SQL text among conditions behind which these hold no more."""
ANYTHING: Final = 'OR SELECT ( OVER U&"'
"""What is read as text that may say anything."""
_CHANGES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"})
_RUNS: Final = frozenset(
    """BT_PAGE_ITEMS CONNECTBY CROSSTAB CROSSTAB2 CROSSTAB3 CROSSTAB4 CURSOR_TO_XML CURSOR_TO_XMLSCHEMA DATABASE_TO_XML
    DATABASE_TO_XMLSCHEMA DATABASE_TO_XML_AND_XMLSCHEMA GET_RAW_PAGE LO_GET LO_OPEN PG_LARGEOBJECT
    PG_LOGICAL_SLOT_GET_BINARY_CHANGES PG_LOGICAL_SLOT_GET_CHANGES PG_LOGICAL_SLOT_PEEK_BINARY_CHANGES
    PG_LOGICAL_SLOT_PEEK_CHANGES PG_READ_BINARY_FILE PG_READ_FILE PG_STATISTIC PG_STATISTIC_EXT_DATA PG_STATS
    PG_STATS_EXT PG_STATS_EXT_EXPRS QUERY_TO_XML QUERY_TO_XMLSCHEMA QUERY_TO_XML_AND_XMLSCHEMA SCHEMA_TO_XML
    SCHEMA_TO_XMLSCHEMA SCHEMA_TO_XML_AND_XMLSCHEMA SQLITE_DBPAGE SQLITE_STAT4 TABLE_TO_XML TABLE_TO_XMLSCHEMA
    TABLE_TO_XML_AND_XMLSCHEMA TS_REWRITE TS_STAT XPATH_TABLE""".split()
)
"""What databases and their extensions bring that reads any table: functions that are given a query, a table's name or
the place of something, and what is known of the values in each."""
_TELLS: Final = frozenset({"RETURNING", "SELECT", "TABLE", "COPY"})
_LITERALS: Final = re.compile(r"'(\w+)'")
Docs = Mapping[str, RecordDoc]
Place = tuple[Hashable, str]
"""What stands in FROM, and a column of it."""
Written = Mapping[str, frozenset[str] | None]
"""As `statements.written` tells."""


class Leaf(NamedTuple):
    """A table in FROM: its name, and the columns of its key."""

    name: str
    key: tuple[str, ...]


class Fact(NamedTuple):
    """In each row that is told of it, this column equals another, or what is given (None = nothing is)."""

    of: Place
    other: Place | None = None
    given: Any = None


def own_of(doc: RecordDoc) -> str:
    """The column of a table that says whose its rows are, or leads there; "" where they are nobody's."""
    return doc.subject if doc.subject is not None else doc.via[0] if doc.via is not None else ""


def of_somebody(docs: Docs) -> Docs:
    """Those whose rows are somebody's."""
    return {name: doc for name, doc in docs.items() if own_of(doc)}


def holding(
    leaf: Hashable, leaves: Mapping[Any, Leaf], facts: list[Fact], docs: Docs, own: Set[Any]
) -> tuple[()] | tuple[Any, str, Any] | None:
    """What holds the rows of a table in FROM, which `docs` name, to people: (table, column, what is given for it);
    () = rows of `own`, which tell themselves; None = nothing does."""
    return _holding(leaf, leaves, facts, docs, own, frozenset())


def _holding(
    leaf: Hashable,
    leaves: Mapping[Any, Leaf],
    facts: list[Fact],
    docs: Docs,
    own: Set[Any],
    passed: frozenset[Hashable],
) -> tuple[()] | tuple[Any, str, Any] | None:
    if leaf in own:
        return ()
    name, key = leaves[leaf]
    doc = docs[name]
    said = own_of(doc)
    for column in (said, *(key if len(key) == 1 else ())):
        given = next((fact.given for fact in _equal((leaf, column), facts) if fact.given is not None), None)
        if given is not None:
            return leaf, column, given
    for fact in _equal((leaf, said), facts):
        there = None if fact.other is None else leaves.get(fact.other[0])
        if fact.other is None or there is None or there.name not in docs or fact.other[0] in passed:
            continue
        # A row of the same person's, or the one that it leads to.
        if doc.subject is not None:
            its = docs[there.name]
            leads = its.via == (fact.other[1], name) and key == (doc.subject,)
            same = fact.other[0] in own and (leads or its.subject == fact.other[1])
        else:
            same = doc.via is not None and doc.via[1] == there.name and there.key == (fact.other[1],)
        if same:
            found = _holding(fact.other[0], leaves, facts, docs, own, passed | {leaf})
            if found is not None:
                return found
    return None


def held_by_key(leaf: Hashable, key: Iterable[str], facts: list[Fact]) -> tuple[Any, ...]:
    """What the conditions give for each column of a table's key, where they give it for all; else nothing."""
    found = [next((f.given for f in _equal((leaf, each), facts) if f.given is not None), None) for each in key]
    return () if None in found else tuple(found)


def _equal(place: Place, facts: list[Fact]) -> Iterator[Fact]:
    """What is told of a column and of those that it equals wherever it has a value."""
    places = [place]
    for each in places:
        for fact in facts:
            if fact.of == each:
                yield fact
                if fact.other is not None and fact.other not in places:
                    places.append(fact.other)


def mentioned(text: str, docs: Docs, *, whole: bool = False) -> list[str]:
    """The tables with rows of somebody that SQL text names. `whole` = it is a statement, and one that only changes
    rows tells of none."""
    somebodys = of_somebody(docs)
    said = _names(text)
    if said is None or ("FETCH" in said and fetches(text)):
        return list(somebodys)
    if whole and said & _CHANGES and not said & _TELLS:
        if "USING" not in said and not said >= {"UPDATE", "FROM"}:
            return []
        said -= written(text).keys() | changed(text)  # what is left is what the new values may be of
    return [name for name in somebodys if name.upper() in said]


def reading(definitions: Iterable[tuple[str, str | None]], docs: Docs) -> frozenset[str]:
    """What reads tables with rows of somebody, in capitals, among what is defined by SQL, at first or at second hand;
    None = nobody can tell what that reads."""
    tables = {name.upper() for name in of_somebody(docs)}
    if not tables:
        return frozenset()
    made = [(name.upper(), None if text is None else _names(text)) for name, text in definitions]
    found = set(_RUNS)
    while True:
        behind = tables | found
        more = {name for name, said in made if said is None or "EXECUTE" in said or said & behind} - behind
        if not more:
            return frozenset(found - tables)
        found |= more


def behind_in(text: str, behind: Set[str]) -> list[str]:
    """Those of `behind` (`reading`) that SQL text names."""
    said = _names(text)
    return sorted(behind if said is None else said & behind)


def _names(text: str) -> frozenset[str] | None:
    """The words of SQL text in capitals, names among them; None = it may name anything."""
    said = words(text)
    if ANY in said:
        return None
    return said | {literal.upper() for literal in _LITERALS.findall(text)}  # SQLite takes one for a name


def changes(text: str, docs: Docs, behind: Set[str] = frozenset()) -> list[str]:
    """The tables with rows of somebody of which SQL text may change or delete rows, and those `behind` which such are
    (`reading`)."""
    found = changed(text)
    if not found:
        return []
    return [*(name for name in of_somebody(docs) if name.upper() in found or ANY in found), *(found & behind)]


def gives_subject(
    targets: Written, docs: Iterable[RecordDoc], id_column: Callable[[RecordDoc], str | None]
) -> RecordDoc | None:
    """A table among those that SQL text writes to whose column with the subject's id (None = it has none) it gives a
    value, or may."""
    for doc in docs:
        for name in targets.keys() & {doc.name.upper(), ANY}:
            columns, own = targets[name], id_column(doc)
            if own is not None and (columns is None or ANY in columns or own.upper() in columns):
                return doc
    return None
