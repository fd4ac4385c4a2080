"""A database's catalog in; what follows rows that are deleted by itself, and what does not follow rows that move, out.

What a database deletes by itself nobody has copied, and nobody has asked whose it is. What a row only names the number
of (a large object of PostgreSQL) stays where it is when the row goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

__all__ = ["Cascade", "cascades", "hidden", "outside", "referring"]

_POSTGRES: Final = """
SELECT f.name AS parent, n.name AS named, s.nspname AS schema, r.relname AS table, c.confdeltype = 'c' AS deletes,
(SELECT array_agg(CAST(a.attname AS text) ORDER BY k.at) FROM unnest(c.conkey) WITH ORDINALITY k (num, at)
 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num) AS columns,
(SELECT array_agg(CAST(a.attname AS text) ORDER BY k.at) FROM unnest(c.confkey) WITH ORDINALITY k (num, at)
 JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num) AS keys
FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace s ON s.oid = r.relnamespace
JOIN ({names}) f ON f.at = c.confrelid LEFT JOIN ({names}) n ON n.at = c.conrelid
WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR NOT :acting) AND c.conparentid = 0
ORDER BY r.relname, c.conname
"""
# A key that names no column is of the other table's primary key.
_SQLITE: Final = """
SELECT f."table" AS parent, m.name AS "table", f.on_delete = 'CASCADE' AS deletes, f.id AS id, f.seq AS seq,
f."from" AS "column",
coalesce(f."to", (SELECT i.name FROM pragma_table_info(f."table") i WHERE i.pk = f.seq + 1)) AS key
FROM sqlite_master m, pragma_foreign_key_list(m.name) f
WHERE m.type = 'table' AND (f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR NOT :acting)
ORDER BY m.name, f.id, f.seq
"""
_HIDDEN: Final = "SELECT n.name FROM ({names}) n WHERE row_security_active(CAST(n.at AS oid)) ORDER BY 1"
_LARGE: Final = """
SELECT n.name, a.attname AS "column" FROM ({names}) n JOIN pg_attribute a ON a.attrelid = n.at
JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attnum > 0 AND NOT a.attisdropped AND 'oid' IN (format_type(t.oid, NULL), format_type(t.typbasetype, NULL))
AND EXISTS (SELECT FROM pg_largeobject_metadata) ORDER BY 1, 2
"""
_HEIRS: Final = """
SELECT n.name, c.relname AS heir FROM ({names}) n JOIN pg_class p ON p.oid = n.at AND p.relkind = 'r'
JOIN pg_inherits i ON i.inhparent = n.at JOIN pg_class c ON c.oid = i.inhrelid ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Rows of `table` whose `columns` are the `keys` of a row that is deleted go with it (`deletes`), or are changed.
    `named` = as `records` calls the table, None where it does not."""

    table: str
    schema: str | None
    named: str | None
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    deletes: bool


def cascades(
    connection: sa.Connection, names: Sequence[str], *, acting: bool = True
) -> Mapping[str, tuple[Cascade, ...]]:
    """Of each of these tables that has some; not `acting` = all foreign keys that refer to them, also those which only
    refuse that a row is deleted."""
    found: dict[str, tuple[Cascade, ...]] = {}
    if not names:
        return found
    match connection.dialect.name:
        case "postgresql":
            for row in _asked(connection, _POSTGRES, names, acting=acting):
                each = Cascade(row.table, row.schema, row.named, tuple(row.columns), tuple(row.keys), row.deletes)
                found[row.parent] = (*found.get(row.parent, ()), each)
        case "sqlite":
            folded = {name.lower(): name for name in names}
            keys: dict[tuple[str, int], list[Any]] = {}
            for row in connection.execute(sa.text(_SQLITE), {"acting": acting}):
                keys.setdefault((row.table, row.id), []).append(row)
            for rows in keys.values():
                parent = folded.get(rows[0].parent.lower())
                if parent is not None:
                    each = Cascade(
                        rows[0].table,
                        None,
                        folded.get(rows[0].table.lower()),
                        tuple(row.column for row in rows),
                        tuple(row.key for row in rows),
                        bool(rows[0].deletes),
                    )
                    found[parent] = (*found.get(parent, ()), each)
        case _:
            pass
    return found


def hidden(connection: sa.Connection, names: Sequence[str]) -> str | None:
    """The first of these tables of which this user sees some rows only, None where there is none."""
    if connection.dialect.name != "postgresql" or not names:
        return None
    return next((str(row.name) for row in _asked(connection, _HIDDEN, names)), None)


def outside(connection: sa.Connection, names: Sequence[str]) -> str | None:
    """What of these tables' rows lies outside of them, and would be left or lost where they move; None = nothing."""
    if connection.dialect.name != "postgresql" or not names:
        return None
    for row in _asked(connection, _LARGE, names):
        return (
            f"column {row.column!r} of table {row.name!r} may name large objects, which would stay where they are: "
            "keep their bytes in a column or in a store of objects"
        )
    for row in _asked(connection, _HEIRS, names):
        return (
            f"rows of table {row.heir!r}, which inherits from {row.name!r}, would lose what {row.name!r} has no "
            "columns for: name each table by itself, without INHERITS"
        )
    return None


def referring(
    parent: sa.TableClause, source: sa.FromClause, each: Cascade, among: sa.TableClause | None, columns: Sequence[str]
) -> sa.Select[Any]:
    """These columns of the rows that go or change with rows of `parent`, which is in `source`; `among` = their table
    where `records` tells of it."""
    if among is None:
        among = sa.table(each.table, *map(sa.column, each.columns), schema=each.schema)
    table = among.alias("~r")
    on = sa.and_(*[table.c[a] == parent.c[b] for a, b in zip(each.columns, each.keys, strict=True)])
    told = [table.c[name].label(f"~{name}") for name in columns] or [sa.literal_column("1").label("~one")]
    return sa.select(*told).select_from(source.join(table, on))


def _asked(connection: sa.Connection, query: str, names: Sequence[str], **more: object) -> list[Any]:
    """What a query of the catalog answers of these tables."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    given = {f"n{at}": name for at, name in enumerate(names)} | {f"q{at}": quote(each) for at, each in enumerate(names)}
    listed = " UNION ALL ".join(
        f"SELECT CAST(:n{at} AS text) AS name, CAST(CAST(:q{at} AS text) AS regclass) AS at" for at in range(len(names))
    )
    return list(connection.execute(sa.text(query.replace("{names}", listed)), given | more))
