"""The rows of a PostgreSQL in, parcels out, and back, by COPY: what moves a hundred thousand people in a minute.

Rows go from one server to another as COPY writes them, and nobody looks at them on the way. What is compared is a
SHA-256 that each server makes of a subject's rows in their text form, under settings that make it the same in every
server; so does a deletion of what it deletes. Two such sinks understand each other where their tables have the same
columns of the same types; `layout` tells. A digest is made once where rows lie and once where they were brought: from
then on the versions of rows say whether it still holds (`versions`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import anyio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from residency.adapters.records_sql.copy_statements import compiled, quoted, rows_of, with_owner
from residency.adapters.records_sql.copy_text import Tables, owned, plain, texts_of
from residency.adapters.records_sql.copy_told import DiffersError, DoubtError, delete, digests_of, told_of, versions_of
from residency.adapters.records_sql.records import FOREIGN_KEY, RefersError, Spared, SqlRecords
from residency.adapters.records_sql.tables import Shape
from residency.adapters.records_sql.values import format_row
from residency.adapters.records_sql.versions import Versions, epoch, whole
from residency.errors import RecordConflict, ResidencyError, SinkUnavailable, UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.parcels import Cargo, Owned, Parcel, Piece

__all__ = ["PostgresParcels"]

_NAME: Final = "residency move"
# What the text form of a value depends on; then, that rows which a policy hides are an error and not left out, that a
# table which just grew is read by its keys, that no batch takes the processors of others (several are under way), and
# who we are.
_SETTINGS: Final = f"""
SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'postgres'; SET LOCAL timezone = 'UTC';
SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL client_encoding = 'UTF8';
SET LOCAL lc_monetary = 'C'; SET LOCAL quote_all_identifiers = off; SET LOCAL standard_conforming_strings = on;
SET LOCAL row_security = off; SET LOCAL enable_seqscan = off; SET LOCAL jit = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL application_name = '{_NAME}';
"""
# A list of thousands of subjects is planned as it is: only then it is hashed, for a plan for any list compares each row
# with each of them. Not where rows are written: the look-ups of foreign keys would be planned row by row.
_READING: Final = _SETTINGS + "SET LOCAL plan_cache_mode = force_custom_plan;"
_INTEGRITY: Final = "23"  # the class of SQLSTATEs of constraints
_LAYOUT: Final = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attname
"""
_OPEN: Final = f"""
SELECT pid, xact_start, query = '<insufficient privilege>' FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
AND application_name <> '{_NAME}' AND (xact_start IS NOT NULL OR query = '<insufficient privilege>')
"""  # noqa: S608 - a constant
_GAP: Final = 0.2  # seconds after which a writer who saw no move has opened the transaction that is waited for
_POLL: Final = 0.01
_OPENED: Final = "residency: open since"
_PIECE: Final = 1 << 18  # bytes


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a cargo of PostgreSQL's is: its rows, and the tables that they are of."""

    tables: Tables
    found: Sequence[Shape] = ()


class PostgresParcels:
    """The `Parcels` port over a PostgreSQL that is reached by asyncpg."""

    __slots__ = ("_engine", "_records", "_sink", "_versions")

    def __init__(self, sink: str, engine: AsyncEngine, docs: Sequence[RecordDoc]) -> None:
        """As `SqlRecords`."""
        self._sink = sink
        self._engine = engine
        self._records = SqlRecords(sink, engine, docs, Spared.ALL)
        self._versions = Versions()

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._sink

    async def layout(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Each table's columns and their types, in order of name. Raises: SinkUnavailable, UsageError where rows that
        nobody tells of would go with those that are deleted."""
        await self._records.check_movable()
        async with self._connected() as (raw, found, _):
            return {
                shape.doc.name: tuple((row[0], row[1]) for row in await raw.fetch(_LAYOUT, quoted(shape.doc.name)))
                for shape in found
            }

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """As the port says. Raises: SinkUnavailable."""
        return await self._records.subjects(after=after, limit=limit)

    async def settled(self, within: float) -> bool:
        """As the port says; False also where the user of this sink may not see the transactions of others.

        Raises: SinkUnavailable.
        """
        if within <= 0:
            return True
        end = anyio.current_time() + within
        await anyio.sleep(min(_GAP, within))
        async with self._connected(apart=False) as (raw, _, _):
            rows = await raw.fetch(_OPEN)
            if any(row[2] for row in rows):
                return False
            open_ones = {(row[0], row[1]) for row in rows}
            while open_ones and anyio.current_time() < end:
                await anyio.sleep(_POLL)
                open_ones &= {(row[0], row[1]) for row in await raw.fetch(_OPEN)}
        return True

    async def tally(self, subjects: Collection[str]) -> Mapping[str, str]:
        """As the port says. Raises: SinkUnavailable."""
        if not subjects:
            return {}
        async with self._connected() as (raw, found, opened):
            same: dict[str, str] = {}
            if known := self._versions.digests(subjects, opened, anyio.current_time()):
                here = await self._same(raw, found, known)
                same = {each: known[each] for each in here}
                self._versions.forget(known.keys() - here)
            rest = [each for each in subjects if each not in same] if same else subjects
            return same | digests_of(await told_of(raw, found, rest), found) if rest else same

    async def _same(self, raw: Any, found: Sequence[Shape], known: Collection[str]) -> Collection[str]:
        """Of these, who has the versions of rows that are remembered."""
        if self._versions.all_same(known, *await whole(raw, found, known)):
            return known
        versions = versions_of(await told_of(raw, found, known, digests=False, versions=True))
        return self._versions.same(known, versions, await epoch(raw, found))

    async def load(self, subjects: Collection[str]) -> Cargo:
        """As the port says. Raises: SinkUnavailable."""
        if not subjects:
            return Cargo({}, {}, _Rows({}))
        async with self._connected("repeatable_read") as (raw, found, _):
            told = await told_of(raw, found, subjects, versions=True)
            now = await epoch(raw, found)
            rows = {
                shape.doc.name: (shape.columns, await _copied(raw, shape, rows_of(shape), subjects)) for shape in found
            }
            digests = digests_of(told, found)
            if now is not None:
                self._versions.keep(digests, versions_of(told), now, anyio.current_time())
            counts: dict[str, int] = {}
            for row in told:
                counts[row[1]] = counts.get(row[1], 0) + row[2]
            size = sum(len(held) for _, held in rows.values())
            return Cargo(digests, counts, _Rows(rows, found), size)

    async def take(self, subjects: Collection[str]) -> Parcel:
        """As the port says. Raises: SinkUnavailable."""
        if not subjects:
            return Parcel({}, told={})
        async with self._connected("repeatable_read") as (raw, found, _):
            told = digests_of(await told_of(raw, found, subjects), found)
            pieces: dict[str, set[Piece]] = {}
            for shape in found:
                for subject, piece in await _pieces(raw, shape, subjects):
                    pieces.setdefault(subject, set()).add(piece)
            return Parcel({subject: frozenset(held) for subject, held in pieces.items()}, told=told)

    async def keyed(self, subjects: Collection[str]) -> Sequence[Owned]:
        """As the port says. Raises: SinkUnavailable."""
        if not subjects:
            return ()
        keyed: list[Owned] = []
        async with self._connected() as (raw, found, _):
            for shape in found:
                if not (wanted := shape.ids(subjects)):
                    continue
                keys = [shape.table.c[name].label(f"~{name}") for name in shape.key]
                for whose, *key in await raw.fetch(compiled(with_owner(shape, *keys), shape, 1), wanted):
                    keyed.append((whose, shape.doc.name, format_row(dict(zip(shape.key, key, strict=True))).decode()))
        return keyed

    def located(self, cargo: Cargo) -> Sequence[Owned] | None:
        """As the port says."""
        rows = cargo.content
        return owned(rows.found, rows.tables) if isinstance(rows, _Rows) else None

    async def put(self, cargo: Cargo) -> None:
        """As the port says. Raises: RecordConflict, LackingError, SinkUnavailable, UsageError."""
        rows = cargo.content
        if not isinstance(rows, _Rows):
            raise UsageError(f"what is to be put into sink {self._sink!r} comes from no sink of its kind")
        try:
            async with self._connected(writes=True) as (raw, found, _):
                for shape in found:
                    await _copy_in(raw, quoted(shape.doc.name), *rows.tables[shape.doc.name])
            return
        except RefersError:
            await self._refuse(rows)
        except RecordConflict:
            pass
        # Some of it is there: as it should be, after a crash, or as it should not.
        try:
            async with self._connected(writes=True) as (raw, found, _):
                for shape in found:
                    await self._add(raw, shape, *rows.tables[shape.doc.name])
        except RefersError:
            await self._refuse(rows)
            raise

    async def _refuse(self, rows: _Rows) -> None:
        """Raises: LackingError where it can be told whose rows refer to what is not here."""
        if (texts := texts_of(rows.found, rows.tables)) is not None:
            await self._records.refuse(texts, texts=True)

    async def clear(self, wanted: Mapping[str, str]) -> frozenset[str]:
        """As the port says: all of a subject or nothing, and of others where something refers to one's rows.

        Raises: SinkUnavailable.
        """
        gone: set[str] = set()
        parts = [dict(wanted)] if wanted else []
        while parts:
            part = parts.pop()
            try:
                async with self._connected(writes=True) as (raw, found, opened):
                    digests = self._versions.digests(part, opened, anyio.current_time())
                    known = {each for each, digest in digests.items() if digest == part[each]}
                    await delete(raw, found, part, known, self._versions)
                gone |= part.keys()
                self._versions.forget(part)
            except DiffersError as differ:
                same = {each: part[each] for each in part if each not in differ.subjects}
                parts += [same] if same else []
            except DoubtError:
                self._versions.forget(part)
                parts.append(part)
            except RecordConflict:
                if bound := await self._records.bound(part):
                    free = {each: part[each] for each in part if each not in bound}
                    parts += [free] if free else []
                    continue
                if self._versions.forget(part):  # rows that refer to each other go by one statement, or not at all
                    parts.append(part)
                    continue
                them = list(part)
                half = len(them) // 2
                parts += [{each: part[each] for each in some} for some in (them[:half], them[half:]) if half]
        return frozenset(gone)

    async def _add(self, raw: Any, shape: Shape, columns: Sequence[str], rows: bytes) -> None:
        """Add those rows that are not there. Raises: RecordConflict where one is there that is not the same."""
        table, names = quoted(shape.doc.name), ", ".join(map(quoted, columns))
        # Names are the database's own, quoted; values come by COPY.
        await raw.execute(f"CREATE TEMP TABLE residency_new ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0")  # noqa: S608
        await _copy_in(raw, "residency_new", columns, rows)
        await raw.execute(
            f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM residency_new "  # noqa: S608
            "ON CONFLICT DO NOTHING"
        )
        keys = " AND ".join(f"t.{quoted(name)} = n.{quoted(name)}" for name in shape.key)
        row, new = (f"ROW({', '.join(f'{alias}.{quoted(name)}' for name in columns)})::text" for alias in "tn")
        other = await raw.fetchval(
            f"SELECT count(*) FROM residency_new n WHERE NOT EXISTS (SELECT 1 FROM {table} t "  # noqa: S608
            f'WHERE {keys} AND {row} = {new} COLLATE "C")'
        )
        await raw.execute("DROP TABLE residency_new")
        if other:
            raise RecordConflict(f"sink {self._sink!r} has a record of the same key with other bytes")

    @asynccontextmanager
    async def _connected(
        self, isolation: str | None = None, *, apart: bool = True, writes: bool = False
    ) -> AsyncIterator[tuple[Any, tuple[Shape, ...], float]]:
        """asyncpg's own connection, in a transaction of its own, the tables, and since when it is open."""
        try:
            async with self._engine.connect() as connection:
                found = await self._records.shapes(connection)
                await connection.rollback()
                pooled = await connection.get_raw_connection()
                raw: Any = pooled.driver_connection
                while raw.is_closed():  # cut since it was used: the pool hears of that from SQLAlchemy alone
                    await connection.invalidate()
                    pooled = await connection.get_raw_connection()
                    raw = pooled.driver_connection
                opened: float = pooled.info.setdefault(_OPENED, anyio.current_time())  # or a little before
                if not apart:
                    yield raw, found, opened
                    return
                async with raw.transaction(isolation=isolation):
                    await raw.execute(_SETTINGS if writes else _READING)
                    yield raw, found, opened
        except (ResidencyError, DiffersError, DoubtError):
            raise
        except Exception as error:  # noqa: BLE001 - drivers raise what they like, with values in it
            state = str(getattr(error, "sqlstate", ""))
            if state.startswith(_INTEGRITY):
                told = RefersError if state == FOREIGN_KEY else RecordConflict
                raise told(f"sink {self._sink!r} has a record that stands against one") from None
            raise SinkUnavailable(f"sink {self._sink!r} cannot be read or written as records") from None


async def _copied(raw: Any, shape: Shape, query: sa.Select[Any], subjects: Collection[str]) -> bytes:
    wanted = shape.ids(subjects)
    if not wanted:
        return b""
    out: list[bytes] = []

    async def keep(data: bytes) -> None:  # a file would be written by another thread, piece by piece
        out.append(data)

    await raw.copy_from_query(compiled(query, shape, 1), wanted, output=keep)
    return b"".join(out)


async def _pieces(raw: Any, shape: Shape, subjects: Collection[str]) -> list[tuple[str, Piece]]:
    """(subject, its row) of all rows of these subjects."""
    own = [shape.table.c[name] for name in shape.columns]
    query = with_owner(shape, *[shape.table.c[name].label(f"~{name}") for name in shape.key], *own)
    name, keys = shape.doc.name, len(shape.key)
    found = []
    for line in (await _copied(raw, shape, query, subjects)).split(b"\n")[:-1]:
        if keys == 1:
            subject, key, value = line.split(b"\t", 2)
        else:
            subject, rest = line.split(b"\t", 1)
            *parts, value = rest.split(b"\t", keys)
            key = b"\t".join(parts)
        found.append((plain(subject), (name, key.decode(), value)))
    return found


async def _copy_in(raw: Any, table: str, columns: Sequence[str], rows: bytes) -> None:
    if not rows:
        return
    # The names are quoted here, which `copy_to_table` would do once more.
    names = ", ".join(map(quoted, columns))
    await raw._copy_in(f"COPY {table} ({names}) FROM STDIN", _pieces_of(rows), None)


async def _pieces_of(rows: bytes) -> AsyncIterator[bytes]:
    held = memoryview(rows)
    for at in range(0, len(rows), _PIECE):
        yield bytes(held[at : at + _PIECE])
