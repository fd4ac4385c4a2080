"""Rows and their tables' foreign keys in; who refers to what a sink has not, and to whom others refer, out.

Whole batches are judged by a few questions: people are tried one by one nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from residency.adapters.records_sql.cascades import Cascade, cascades
from residency.adapters.records_sql.tables import Reference, Shape, cased, text_of

__all__ = ["OwnedRows", "bound", "lacking", "obstacles"]

_PAGE: Final = 500  # as many SELECTs as SQLite lets one statement have
_KEYS: Final = 10_000  # that are looked at of one foreign key before a move

OwnedRows = Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]
"""By table, whose each row is (the subject's id), and the row."""


async def lacking(
    connection: AsyncConnection, found: Sequence[Shape], rows: OwnedRows, *, texts: bool = False
) -> dict[str, str]:
    """By subject, one foreign key by which their rows refer to what is neither there nor among `rows`, or only among
    those of somebody who is told of here too. `texts` = values are the server's own texts."""
    by_name = {shape.doc.name: shape for shape in found}
    wanted: list[tuple[str, str, str | None]] = []
    for shape in found:
        for each in shape.references:
            if not set(each.columns) <= set(shape.columns):
                continue  # one that the database computes
            whose: dict[tuple[Any, ...], set[str]] = {}
            for subject, row in rows.get(shape.doc.name, ()):
                key = tuple(row[name] for name in each.columns)
                if None not in key:
                    whose.setdefault(key, set()).add(subject)
            absent = await _absent(connection, shape, each, list(whose), texts=texts)
            if not absent:
                continue
            brought = _brought(by_name.get(each.named or ""), each, rows)
            told = _told(shape, each)
            wanted += [(subject, told, brought.get(key)) for key in absent for subject in sorted(whose[key])]
    lost: dict[str, str] = {}
    before = -1
    while len(lost) > before:
        before = len(lost)
        for subject, told, owner in wanted:
            if subject not in lost and (owner is None or owner in lost):
                lost[subject] = told
    return lost


async def bound(connection: AsyncConnection, found: Sequence[Shape], subjects: Collection[str]) -> frozenset[str]:
    """Those of these subjects to whose rows others refer that do not go with them: rows of somebody who is not among
    these or is told of here too, or of nobody."""
    inverse = await connection.run_sync(cascades, [shape.doc.name for shape in found], acting=False)
    by_name = {shape.doc.name: shape for shape in found}
    wanted, pairs = sorted(subjects), set[tuple[str, str | None]]()
    for shape in found:
        for each in inverse.get(shape.doc.name, ()):
            query = _pairs(shape, each, by_name.get(each.named or ""))
            for at in range(0, len(wanted) if query is not None else 0, _PAGE):
                page = shape.ids(wanted[at : at + _PAGE])
                if query is not None and page:
                    asked = query.where(shape.subject_column().in_(page))
                    pairs |= {(row[0], row[1]) for row in (await connection.execute(asked)).all()}
    staying: set[str] = set()
    before = -1
    while len(staying) > before:
        before = len(staying)
        staying |= {one for one, other in pairs if other is None or other not in subjects or other in staying}
    return frozenset(staying & set(subjects))


async def obstacles(
    here: tuple[str, AsyncConnection, Sequence[Shape]], there: tuple[str, AsyncConnection, Sequence[Shape]]
) -> list[str]:
    """What stands against a move of people from `here` to `there` (sink, connection, tables) by foreign keys: each
    that leads to other people, and each to a table of nobody's some of whose rows are not there."""
    source, asked, ours = here
    target, asking, theirs = there
    by_name = {shape.doc.name: shape for shape in ours}
    told = []
    for sink, tables in ((target, theirs), (source, ours)):
        for shape in tables:
            own = by_name.get(shape.doc.name)
            for each in shape.references:
                if own is None or not set(each.columns) <= set(own.columns) or each == _leading(shape):
                    continue
                parent = by_name.get(each.named or "")
                if parent is not None:
                    if not set(cased(each.keys, parent.columns)) <= set(parent.columns):
                        continue
                    if (await asked.execute(_others(own, each, parent))).first() is not None:
                        stays = "whoever would move without them" if sink == target else "what they refer to"
                        told.append(
                            f"sink {sink!r}: {_told(shape, each)} leads to rows of other people in {each.table!r}, so "
                            f"that {stays} stays: keep the column, drop the constraint"
                        )
                elif sink == target:
                    columns = [own.table.c[name] for name in each.columns]
                    query = sa.select(*columns).distinct().limit(_KEYS)
                    query = query.where(*[column.is_not(None) for column in columns])
                    keys = [tuple(row) for row in (await asked.execute(query)).all()]
                    if absent := len(await _absent(asking, shape, each, keys)):
                        least = "at least " if len(keys) == _KEYS else ""
                        told.append(
                            f"sink {sink!r}: {_told(shape, each)} refers to {each.table!r}, and {least}{absent:,} rows "
                            f"that {source!r} refers to are not there: put them there first, under the same keys"
                        )
    inverse = await asked.run_sync(cascades, list(by_name), acting=False)
    for shape in ours:
        for held in inverse.get(shape.doc.name, ()):
            pairs = _pairs(shape, held, None) if held.named is None else None
            if pairs is not None and (await asked.execute(pairs.limit(1))).first() is not None:
                told.append(
                    f"sink {source!r}: table {held.table!r}, of which `records` does not tell whose it is, refers to "
                    f"{shape.doc.name!r}, so that what it refers to stays: name it, or drop the constraint"
                )
    return told


def _told(shape: Shape, each: Reference) -> str:
    """A foreign key as messages call it."""
    name = repr(each.name) if each.name is not None else f"of {', '.join(map(repr, each.columns))}"
    return f"foreign key {name} of table {shape.doc.name!r}"


def _leading(shape: Shape) -> Reference | None:
    """The one along which `via` leads: what it refers to is the same subject's."""
    for each in shape.references:
        if shape.path and each.columns == (shape.path[0][0],) and each.named == shape.path[0][1].doc.name:
            return each
    return None


def _brought(parent: Shape | None, each: Reference, rows: OwnedRows) -> dict[tuple[Any, ...], str]:
    """Whose each key is that comes with `rows`."""
    keys = () if parent is None else cased(each.keys, parent.columns)
    if parent is None or not set(keys) <= set(parent.columns):
        return {}
    return {tuple(row[name] for name in keys): subject for subject, row in rows.get(parent.doc.name, ())}


async def _absent(
    connection: AsyncConnection, shape: Shape, each: Reference, keys: Sequence[tuple[Any, ...]], *, texts: bool = False
) -> list[tuple[Any, ...]]:
    """Those of these keys that no row of the table has that is referred to."""
    absent = []
    parent = sa.table(each.table, *map(sa.column, each.keys), schema=each.schema).alias("p")
    kinds = [shape.table.c[name].type for name in each.columns]
    for at in range(0, len(keys), _PAGE):
        page = keys[at : at + _PAGE]
        told = []
        for number, key in enumerate(page):
            values = [text_of(kind, value, texts=texts) for kind, value in zip(kinds, key, strict=True)]
            columns = [value.label(f"k{n}") for n, value in enumerate(values)]
            told.append(sa.select(sa.literal_column(str(number)).label("n"), *columns))
        given = (sa.union_all(*told) if len(told) > 1 else told[0]).subquery("g")
        # The parent's side first: its type and its collation decide, as they do for the foreign key itself.
        same = sa.and_(*[parent.c[name] == given.c[f"k{n}"] for n, name in enumerate(each.keys)])
        query = sa.select(given.c.n).where(~sa.exists().where(same).correlate(given))
        absent += [page[number] for number in (await connection.execute(query)).scalars()]
    return absent


def _pairs(shape: Shape, each: Cascade, theirs: Shape | None) -> sa.Select[Any] | None:
    """(whose a row of `shape` is, whose one is that refers to it by `each`)."""
    table = sa.table(each.table, *map(sa.column, each.columns), schema=each.schema) if theirs is None else theirs.table
    child = table.alias("r")
    columns, keys = cased(each.columns, child.c.keys()), cased(each.keys, shape.columns)
    if not set(columns) <= set(child.c.keys()) or not set(keys) <= set(shape.columns):
        return None  # of columns that the database computes
    on = sa.and_(*[child.c[a] == shape.table.c[b] for a, b in zip(columns, keys, strict=True)])
    source: sa.FromClause = shape.joined().join(child, on)
    other: sa.ColumnElement[Any] = sa.null()
    if theirs is not None:
        source, other = theirs.leading(child, source)
    own = shape.subject_column()
    told: list[sa.ColumnElement[Any]] = [sa.cast(own, sa.String).label("a"), sa.cast(other, sa.String).label("b")]
    return sa.select(*told).distinct().select_from(source)


def _others(shape: Shape, each: Reference, parent: Shape) -> sa.Select[Any]:
    """Something where a row of somebody refers to one of somebody else."""
    to = parent.table.alias("p")
    keys = cased(each.keys, parent.columns)
    on = sa.and_(*[shape.table.c[a] == to.c[b] for a, b in zip(each.columns, keys, strict=True)])
    source, other = parent.leading(to, shape.joined().join(to, on))
    own = shape.subject_column()
    return sa.select(sa.literal_column("1")).select_from(source).where(own.is_not(None), own != other).limit(1)
