"""A connection in; the views, partitions and functions of its database that read tables with rows of somebody, out.

A statement names them and not the tables, so nothing in it says whose rows it reads. The database tells what each is
made of. It is asked by the session that needs it, at most once a minute for each engine: a view that is made or changed
while the app serves is known a minute later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

from residency.adapters.session_sql.written import OWN_ROWS
from residency.policy.parsed_storage import RecordDoc
from residency.storage.held import reading

__all__ = ["DEFINITIONS", "relations_of"]

_FRESH: Final = 60_000_000  # microseconds
# Long values of a table lie in one of their own, and what is inherited is read by both names. Foreign tables, and
# functions in languages that are not read here, have no definition: they may read anything. What C code and extensions
# read is not asked; theirs that run a query that they are given are known by name.
_POSTGRES: Final = """
SELECT c.relname::text, CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT c.relname::text, quote_ident(p.relname)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT p.relname::text, quote_ident(c.relname)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
WHERE p.relkind = 'r'
UNION ALL
SELECT t.relname::text, quote_ident(c.relname) FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'm')
UNION ALL
SELECT c.relname::text, pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
WHERE c.relkind IN ('r', 'p')
UNION ALL
SELECT p.proname::text,
    CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN p.prosrc || ' ' || pg_get_functiondef(p.oid) END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND l.lanname NOT IN ('c', 'internal')
    AND p.prokind <> 'a' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
    AND NOT EXISTS (
        SELECT 1 FROM pg_depend d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
"""
_SQLITE: Final = """
SELECT name, sql FROM sqlite_master WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL %'
UNION ALL
SELECT name, sql FROM sqlite_temp_master WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL %'
UNION ALL
SELECT s.name, v.sql FROM sqlite_master s JOIN sqlite_master v ON s.name LIKE v.name || '!_%' ESCAPE '!'
WHERE s.type = 'table' AND v.sql LIKE 'CREATE VIRTUAL %'
"""
DEFINITIONS: Final = {"postgresql": _POSTGRES, "sqlite": _SQLITE}
"""By the kind of database, what asks it for (name, what it is made of)."""


class _Known(NamedTuple):
    """What was told `at` (microseconds, monotonic), and what of it reads tables of these `docs`."""

    at: int
    docs: Sequence[RecordDoc]
    names: frozenset[str]


_known: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()


def relations_of(connection: Connection, docs: Sequence[RecordDoc], now: int) -> frozenset[str]:
    """Names, in capitals, of what in a connection's database reads tables with rows of somebody; `now` in microseconds
    of a clock that never goes back."""
    known = _known.get(connection.engine)
    if known is not None and known.docs == docs and now - known.at < _FRESH:
        return known.names
    asked = DEFINITIONS[connection.dialect.name]
    told: Any = connection.exec_driver_sql(asked, execution_options={OWN_ROWS: True})
    names = reading([(str(name), made) for name, made in told], {doc.name: doc for doc in docs})
    if known is not None and known.names == names:
        names = known.names  # the same object, by which plans of statements know that they hold still
    _known[connection.engine] = _Known(now, docs, names)
    return names
