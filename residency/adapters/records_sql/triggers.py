"""A store's tables in, the statements that make a database note each change of their rows out: tables and triggers.

Triggers, because they see what an app's session does and also bulk statements, other programs and psql; and because
their notes are part of the very transaction that they tell of. A note has the key alone, as the database writes it:
a JSON list of literals (SQLite) or of texts (PostgreSQL).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from residency.adapters.records_sql.tables import Shape
from residency.adapters.records_sql.values import format_row
from residency.errors import UsageError

__all__ = ["LEDGER", "NOW", "OUTBOX", "Trigger", "canonical", "expression", "triggers"]

NOW: Final = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)",
    "postgresql": "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
}
"""The present, in microseconds, by the database's own clock."""
_ID: Final = {
    "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "postgresql": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
}
_NUMBER: Final = {"sqlite": "INTEGER", "postgresql": "bigint"}
_TYPES: Final = (str, int, UUID)


def OUTBOX(dialect: str) -> tuple[str, ...]:  # noqa: N802 - statements, as LEDGER
    """The statements that make the tables of an outbox where they are not there."""
    number = _NUMBER[dialect]
    return (
        f"CREATE TABLE IF NOT EXISTS residency_outbox (seq {_ID[dialect]}, store text NOT NULL, name text NOT NULL, "
        f"key text NOT NULL, noted {number} NOT NULL DEFAULT ({NOW[dialect]}), due {number} NOT NULL DEFAULT 0, "
        "tries integer NOT NULL DEFAULT 0, halted text)",
        "CREATE INDEX IF NOT EXISTS residency_outbox_due ON residency_outbox (store, due, seq)",
        "CREATE TABLE IF NOT EXISTS residency_outbox_lease (store text PRIMARY KEY, holder text NOT NULL, "
        f"until {number} NOT NULL)",
        "CREATE TABLE IF NOT EXISTS residency_sent (id text PRIMARY KEY)",
    )


LEDGER: Final = ("CREATE TABLE IF NOT EXISTS residency_copied (id text PRIMARY KEY, digests text NOT NULL)",)


class Trigger:
    """What notes the changes of one table for one store."""

    __slots__ = ("make", "mark", "names", "table")

    def __init__(self, table: str, names: tuple[str, ...], make: tuple[str, ...], mark: str) -> None:
        self.table = table
        self.names = names
        self.make = make
        self.mark = mark
        """A digest of all that it does; another one is another trigger."""


def triggers(store: str, found: Sequence[Shape], dialect: str, schema: str | None) -> list[Trigger]:
    """What notes the changes of each of these tables. Raises: UsageError where a key is of a type that cannot be told
    apart as text."""
    made = []
    for shape in found:
        if dialect == "postgresql":
            for name in shape.key:
                if _type(shape, name) not in _TYPES:
                    raise UsageError(
                        f"table {shape.doc.name!r} cannot be copied: its key is neither text, nor a whole number, nor "
                        "a UUID"
                    )
        what = (store, shape.doc.name)
        name = "residency_copies_" + hashlib.sha256("\0".join(what).encode()).hexdigest()[:16]
        made.append(_postgres(name, store, shape, schema) if dialect == "postgresql" else _sqlite(name, store, shape))
    return made


def expression(shape: Shape, dialect: str, row: str) -> str:
    """The SQL of a row's key as a note has it; `row` is what the row is called there."""
    if dialect == "sqlite":
        return f"json_array({', '.join(f'quote({row}.{quoted(name)})' for name in shape.key)})"
    return f"jsonb_build_array({', '.join(f'{row}.{quoted(name)}::text' for name in shape.key)})::text"


def canonical(shape: Shape, dialect: str, noted: str) -> str:
    """A note's key as records have it. Raises: ValueError for one that is none."""
    told = json.loads(noted)
    if isinstance(told, dict):
        return noted  # one of our own
    values = [
        _value(each) if dialect == "sqlite" else _type(shape, name)(each)
        for name, each in zip(shape.key, told, strict=True)
    ]
    return format_row(dict(zip(shape.key, values, strict=True))).decode()


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _type(shape: Shape, name: str) -> type:
    try:
        return shape.table.c[name].type.python_type
    except NotImplementedError:
        return object


def _value(said: str) -> object:
    """What SQLite's `quote` told of."""
    if said.startswith("'"):
        return said[1:-1].replace("''", "'")
    if said[:2] in ("X'", "x'"):
        return bytes.fromhex(said[2:-1])
    if said == "NULL":
        return None
    return int(said) if said.lstrip("-").isdigit() else float(said)


def _sqlite(name: str, store: str, shape: Shape) -> Trigger:
    table = quoted(shape.doc.name)

    def insert(*rows: str) -> str:
        what = [
            f"SELECT {literal(store)}, {literal(shape.doc.name)}, {expression(shape, 'sqlite', row)}" for row in rows
        ]
        return f"INSERT INTO residency_outbox (store, name, key) {' UNION '.join(what)};"

    bodies = {
        f"{name}_i": f"AFTER INSERT ON {table} BEGIN {insert('NEW')} END",
        f"{name}_u": f"AFTER UPDATE ON {table} BEGIN {insert('NEW', 'OLD')} END",
        f"{name}_d": f"AFTER DELETE ON {table} BEGIN {insert('OLD')} END",
    }
    make = []
    for each, body in bodies.items():
        make += [f"DROP TRIGGER IF EXISTS {each}", f"CREATE TRIGGER {each} {body}"]
    return Trigger(shape.doc.name, tuple(bodies), tuple(make), _mark(make))


def _postgres(name: str, store: str, shape: Shape, schema: str | None) -> Trigger:
    table = (f"{quoted(schema)}." if schema else "") + quoted(shape.doc.name)
    into = "INSERT INTO residency_outbox (store, name, key)"
    start = f"{literal(store)}, {literal(shape.doc.name)}, "
    old, new = (expression(shape, "postgresql", row) for row in ("OLD", "NEW"))
    select = f"SELECT {start}{expression(shape, 'postgresql', 't')} FROM {table} t"  # noqa: S608 - quoted
    body = (
        f"BEGIN IF TG_OP = 'TRUNCATE' THEN {into} {select}; RETURN NULL; END IF; "
        f"IF TG_OP <> 'DELETE' THEN {into} VALUES ({start}{new}); END IF; "
        f"IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND {old} <> {new}) THEN {into} VALUES ({start}{old}); END IF; "
        "RETURN NULL; END"
    )
    path = f"{quoted(schema)}, pg_temp" if schema else "pg_temp"
    # With the rights of who prepares it, so that an app whose role may not touch the outbox still writes its rows.
    function = (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f"SET search_path = {path} AS {literal(body)}"
    )
    make = (
        function,
        f"DROP TRIGGER IF EXISTS {name} ON {table}",
        f"DROP TRIGGER IF EXISTS {name}_t ON {table}",
        f"CREATE TRIGGER {name} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        f"CREATE TRIGGER {name}_t BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}_t",
    )
    mark = _mark(make)
    return Trigger(
        shape.doc.name, (name, f"{name}_t"), (*make, f"COMMENT ON FUNCTION {name}() IS {literal(mark)}"), mark
    )


def _mark(make: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(make).encode()).hexdigest()
