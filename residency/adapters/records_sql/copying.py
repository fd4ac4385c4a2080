"""The rows of a PostgreSQL in, parcels out, and back, by COPY: what moves a hundred thousand people in a minute.

A piece is a row in the text form of COPY, under settings that make it the same in every server: so that it is read,
compared and written without a look at its types. Two such sinks understand each other where their tables have the same
columns of the same types; `layout` tells.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncEngine

from residency.adapters.records_sql.records import SqlRecords
from residency.adapters.records_sql.tables import Shape
from residency.errors import RecordConflict, ResidencyError, SinkUnavailable
from residency.policy.parsed_storage import RecordDoc
from residency.storage.parcels import Parcel, Piece

__all__ = ["PostgresParcels"]

# What the text form of a value depends on.
_SETTINGS: Final = """
SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';
SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8';
"""
_ARRAYS: Final[Mapping[type, str]] = {int: "bigint[]", str: "text[]", UUID: "uuid[]"}
_INTEGRITY: Final = "23"  # the class of SQLSTATEs of constraints
_LAYOUT: Final = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attname
"""


class PostgresParcels:
    """The `Parcels` port over a PostgreSQL that is reached by asyncpg."""

    __slots__ = ("_engine", "_records", "_sink")

    def __init__(self, sink: str, engine: AsyncEngine, docs: Sequence[RecordDoc]) -> None:
        """As `SqlRecords`."""
        self._sink = sink
        self._engine = engine
        self._records = SqlRecords(sink, engine, docs)

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._sink

    async def layout(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Each table's columns and their types, in order of name. Raises: SinkUnavailable."""
        async with self._connected() as (raw, found):
            return {
                shape.doc.name: tuple((row[0], row[1]) for row in await raw.fetch(_LAYOUT, _quoted(shape.doc.name)))
                for shape in found
            }

    async def take(self, subjects: Collection[str]) -> Parcel:
        """All that these subjects have here. Raises: SinkUnavailable."""
        if not subjects:
            return Parcel({})
        async with self._connected() as (raw, found):
            pieces: dict[str, set[Piece]] = {}
            for shape in found:
                for subject, piece in await _copy_out(raw, shape, subjects):
                    pieces.setdefault(subject, set()).add(piece)
            return Parcel({subject: frozenset(held) for subject, held in pieces.items()})

    async def put(self, parcel: Parcel) -> None:
        """Put what is not here yet, all or none. Raises: RecordConflict, SinkUnavailable."""
        if not parcel.pieces:
            return
        async with self._connected() as (raw, found):
            for shape in found:
                given = [piece for held in parcel.pieces.values() for piece in held if piece[0] == shape.doc.name]
                if not given:
                    continue
                there = {piece for _, piece in await _copy_out(raw, shape, parcel.pieces)}
                lines = [piece[2] for piece in given if piece not in there]
                if lines:
                    await _copy_in(raw, _quoted(shape.doc.name), shape.columns, lines)

    async def remove(self, parcel: Parcel) -> bool:
        """Remove those rows that are still as in `parcel`, children first; none of them where something refers to one
        that came after. Whether that was all. Raises: SinkUnavailable."""
        if not parcel.pieces:
            return True
        gone = 0
        with suppress(RecordConflict):
            async with self._connected() as (raw, found):
                for shape in reversed(found):
                    given = {piece for held in parcel.pieces.values() for piece in held if piece[0] == shape.doc.name}
                    if not given:
                        continue
                    # Locked first: what is compared is what is deleted.
                    there = {piece for _, piece in await _copy_out(raw, shape, parcel.pieces, lock=True)}
                    keys = [key for _, key, _ in given & there]
                    gone += len(keys)
                    if keys:
                        await self._delete(raw, shape, keys)
            return gone == sum(map(len, parcel.pieces.values()))
        return False

    async def _delete(self, raw: Any, shape: Shape, keys: Sequence[str]) -> None:
        table = _quoted(shape.doc.name)
        names = ", ".join(map(_quoted, shape.key))
        # Names are the database's own, quoted; values come by COPY.
        make = f"CREATE TEMP TABLE residency_gone ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0"  # noqa: S608 - quoted
        await raw.execute(make)
        await _copy_in(raw, "residency_gone", shape.key, [key.encode() for key in keys])
        same = " AND ".join(f"t.{_quoted(name)} = g.{_quoted(name)}" for name in shape.key)
        await raw.execute(f"DELETE FROM {table} t USING residency_gone g WHERE {same}")  # noqa: S608 - the same names
        await raw.execute("DROP TABLE residency_gone")

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Any, tuple[Shape, ...]]]:
        """asyncpg's own connection in a transaction of its own, and the tables."""
        try:
            async with self._engine.connect() as connection:
                found = await self._records.shapes(connection)
                await connection.rollback()
                raw: Any = (await connection.get_raw_connection()).driver_connection
                async with raw.transaction():
                    await raw.execute(_SETTINGS)
                    yield raw, found
        except ResidencyError:
            raise
        except Exception as error:  # noqa: BLE001 - drivers raise what they like, with values in it
            if str(getattr(error, "sqlstate", "")).startswith(_INTEGRITY):
                raise RecordConflict(f"sink {self._sink!r} has a record that stands against one") from None
            raise SinkUnavailable(f"sink {self._sink!r} cannot be read or written as records") from None


async def _copy_out(
    raw: Any, shape: Shape, subjects: Collection[str], *, lock: bool = False
) -> list[tuple[str, Piece]]:
    """(subject, its row) of all rows of these subjects."""
    wanted = shape.ids(subjects)
    if not wanted:
        return []
    query = _query(shape)
    if lock:
        query += f" FOR UPDATE OF {_quoted(shape.doc.name)}"
    out = BytesIO()
    await raw.copy_from_query(query, wanted, output=out)
    name, keys = shape.doc.name, len(shape.key)
    found = []
    for line in out.getvalue().split(b"\n")[:-1]:
        if keys == 1:
            subject, key, value = line.split(b"\t", 2)
        else:
            subject, rest = line.split(b"\t", 1)
            *parts, value = rest.split(b"\t", keys)
            key = b"\t".join(parts)
        found.append((subject.decode() if b"\\" not in subject else _plain(subject), (name, key.decode(), value)))
    return found


def _query(shape: Shape) -> str:
    """Whose each row is, its key and then all of it; of the subjects in the array $1."""
    column = shape.subject_column()
    keys = [shape.table.c[name].label(f"~{name}") for name in shape.key]
    query = (
        sa.select(sa.cast(column, sa.String).label("~subject"), *keys, *[shape.table.c[name] for name in shape.columns])
        .select_from(shape.joined())
        .where(column == sa.literal_column(f"ANY($1::{_ARRAYS[shape.subject_type]})"))
    )
    return str(query.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]  # untyped there


async def _copy_in(raw: Any, table: str, columns: Sequence[str], lines: Sequence[bytes]) -> None:
    # The names are quoted here, which `copy_to_table` would do once more.
    names = ", ".join(map(_quoted, columns))
    await raw._copy_in(f"COPY {table} ({names}) FROM STDIN", BytesIO(b"\n".join(lines) + b"\n"), None)


def _plain(field: bytes) -> str:
    """A field of COPY's text form as the text that it stands for."""
    return field.replace(b"\\t", b"\t").replace(b"\\n", b"\n").replace(b"\\r", b"\r").replace(b"\\\\", b"\\").decode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
