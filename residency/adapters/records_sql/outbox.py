"""One database in: its outbox, its marks of what was sent, and its ledger of copies, out; and all of them made, with
the triggers that fill the outbox.

Everything lies beside the rows. `seq` is drawn before a transaction commits, so that a lower one may become visible
later: what is taken is looked for by what is due and never by "all above the last".
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from residency.adapters.records_sql.records import SqlRecords
from residency.adapters.records_sql.tables import Shape
from residency.adapters.records_sql.triggers import (
    LEDGER,
    NOW,
    OUTBOX,
    canonical,
    expression,
    literal,
    quoted,
    triggers,
)
from residency.errors import SinkUnavailable
from residency.storage.copied import Key
from residency.storage.outbox import WAITING, Note, Standing

__all__ = ["SqlLedger", "SqlMarks", "SqlOutbox"]

_PAGE: Final = 500
_TABLES: Final = ("residency_outbox", "residency_outbox_lease", "residency_sent")


class _Beside:
    """What lies beside the rows of one database."""

    def __init__(self, records: SqlRecords, engine: AsyncEngine, reader: AsyncEngine | None = None) -> None:
        """`engine` may write, outside any request; `reader` is for what only reads."""
        self._records = records
        self._engine = engine
        self._reader = reader or engine
        self._dialect = engine.dialect.name

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._records.sink

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with_it = self._reader.connect()
        async with self._told(), with_it as connection:
            yield connection

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._told(), self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError):
            # Drivers' messages quote values.
            raise SinkUnavailable(f"sink {self.sink!r} does not answer for its outbox and its copies") from None


class SqlOutbox(_Beside):
    """The `Outbox` port of one store over one database."""

    def __init__(self, store: str, records: SqlRecords, engine: AsyncEngine, reader: AsyncEngine | None = None) -> None:
        """`records` are the store's in this database."""
        super().__init__(records, engine, reader)
        self._store = store
        self._now = NOW[self._dialect]

    async def prepare(self, *, fill: bool = False) -> tuple[list[str], int]:
        """Make what is missing, and note the rows of tables whose triggers are new, or of all (`fill`): (the tables
        whose triggers were made, how many rows were noted). All of it or nothing. Raises: SinkUnavailable, UsageError.
        """
        async with self._writing() as connection:
            for statement in OUTBOX(self._dialect):
                await connection.exec_driver_sql(statement)
            made = []
            found = await self._records.shapes(connection)
            for trigger in triggers(self._store, found, self._dialect, await self._schema(connection)):
                if not await self._stands(connection, trigger):
                    for statement in trigger.make:
                        await connection.execute(sa.text(statement.replace(":", "\\:")))
                    made.append(trigger.table)
            noted = 0
            for shape in found:
                if fill or shape.doc.name in made:
                    noted += await self._fill(connection, shape)
            return made, noted

    async def missing(self) -> list[str]:
        """What of it is not there: tables of ours, or tables without triggers. Raises: SinkUnavailable."""
        async with self._reading() as connection:
            there = await connection.run_sync(lambda sync: set(sa.inspect(sync).get_table_names()))
            absent = [each for each in _TABLES if each not in there]
            if absent:
                return absent
            found = await self._records.shapes(connection)
            wanted = triggers(self._store, found, self._dialect, await self._schema(connection))
            return [each.table for each in wanted if not await self._stands(connection, each)]

    async def take(self, limit: int) -> Sequence[Note]:
        """Those whose time has come. Raises: SinkUnavailable."""
        query = sa.text(
            f"SELECT seq, name, key, noted, tries FROM residency_outbox WHERE store = :store AND due <= {self._now} "  # noqa: S608 - ours
            "ORDER BY due, seq LIMIT :limit"
        )
        async with self._reading() as connection:
            rows = (await connection.execute(query, {"store": self._store, "limit": limit})).all()
            shapes = {shape.doc.name: shape for shape in await self._records.shapes(connection)} if rows else {}
        return [Note(row[0], row[1], self._key(shapes, row[1], row[2]), row[3], row[4]) for row in rows]

    async def done(self, notes: Sequence[Note]) -> None:
        """Delete exactly these. Raises: SinkUnavailable."""
        await self._each("DELETE FROM residency_outbox WHERE seq IN :ids", notes, {})

    async def hold(self, notes: Sequence[Note], reason: str, seconds: float) -> None:
        """Keep these for so long. Raises: SinkUnavailable."""
        change = (
            f"UPDATE residency_outbox SET halted = :reason, tries = tries + 1, due = {self._now} + :wait "  # noqa: S608 - ours
            "WHERE seq IN :ids"
        )
        await self._each(change, notes, {"reason": reason, "wait": int(seconds * 1_000_000)})

    async def note(self, keys: Collection[Key]) -> None:
        """Note that these changed. Raises: SinkUnavailable."""
        insert = sa.text("INSERT INTO residency_outbox (store, name, key) VALUES (:store, :name, :key)")
        if keys:
            async with self._writing() as connection:
                await connection.execute(insert, [{"store": self._store, "name": a, "key": b} for a, b in keys])

    async def forget(self, keys: Collection[Key]) -> int:
        """Delete every note of these; how many. Raises: SinkUnavailable."""
        query = sa.text("SELECT seq, name, key FROM residency_outbox WHERE store = :store AND name IN :names")
        prepared = query.bindparams(sa.bindparam("names", expanding=True))
        wanted = set(keys)
        if not wanted:
            return 0
        values = {"store": self._store, "names": sorted({name for name, _ in wanted})}
        async with self._reading() as connection:
            # Compared as records have them: a database may tell the same key in two ways.
            shapes = {shape.doc.name: shape for shape in await self._records.shapes(connection)}
            rows = (await connection.execute(prepared, values)).all()
        gone = [Note(row[0], "", "", 0) for row in rows if (row[1], self._key(shapes, row[1], row[2])) in wanted]
        await self.done(gone)
        return len(gone)

    async def release(self) -> None:
        """The time of all that are held has come. Raises: SinkUnavailable."""
        change = sa.text("UPDATE residency_outbox SET due = 0 WHERE store = :store AND due > 0")
        async with self._writing() as connection:
            await connection.execute(change, {"store": self._store})

    async def fill(self) -> int:
        """Note every row of the tables; how many. Raises: SinkUnavailable."""
        async with self._writing() as connection:
            return sum([await self._fill(connection, shape) for shape in await self._records.shapes(connection)])

    async def standing(self) -> Standing:
        """How it stands. Raises: SinkUnavailable."""
        query = sa.text(
            "SELECT halted, count(*), min(noted) FROM residency_outbox WHERE store = :store GROUP BY halted"
        )
        async with self._reading() as connection:
            rows = (await connection.execute(query, {"store": self._store})).all()
        held = {row[0]: row[1] for row in rows if row[0] is not None}
        waiting = [row[2] for row in rows if row[0] is None or row[0] in WAITING]
        return Standing(sum(row[1] for row in rows) - sum(held.values()), held, min(waiting, default=None))

    async def lease(self, holder: str, seconds: float, what: str = "lease") -> bool:
        """Take it, or keep it, by the database's clock. Raises: SinkUnavailable."""
        take = sa.text(
            f"INSERT INTO residency_outbox_lease (store, holder, until) VALUES (:store, :holder, {self._now} + :wait) "  # noqa: S608 - ours
            "ON CONFLICT (store) DO UPDATE SET holder = excluded.holder, until = excluded.until "
            f"WHERE residency_outbox_lease.until < {self._now} OR residency_outbox_lease.holder = excluded.holder"
        )
        values = {"store": self._leased(what), "holder": holder, "wait": int(seconds * 1_000_000)}
        async with self._writing() as connection:
            return (await connection.execute(take, values)).rowcount == 1

    async def leave(self, holder: str, what: str = "lease") -> None:
        """Give it back. Raises: SinkUnavailable."""
        gone = sa.text("DELETE FROM residency_outbox_lease WHERE store = :store AND holder = :holder")
        async with self._writing() as connection:
            await connection.execute(gone, {"store": self._leased(what), "holder": holder})

    def _leased(self, what: str) -> str:
        """What a lease is known by: the outbox's by the store alone. No store's name has a space."""
        return self._store if what == "lease" else f"{self._store} {what}"

    async def _fill(self, connection: AsyncConnection, shape: Shape) -> int:
        name = shape.doc.name
        told = f"{literal(self._store)}, {literal(name)}, {expression(shape, self._dialect, 't')}"
        insert = f"INSERT INTO residency_outbox (store, name, key) SELECT {told} FROM {quoted(name)} t"  # noqa: S608 - quoted
        return (await connection.execute(sa.text(insert.replace(":", "\\:")))).rowcount

    async def _each(self, statement: str, notes: Sequence[Note], values: Mapping[str, Any]) -> None:
        prepared = sa.text(statement).bindparams(sa.bindparam("ids", expanding=True))
        if not notes:
            return
        async with self._writing() as connection:
            for at in range(0, len(notes), _PAGE):
                ids = [note.id for note in notes[at : at + _PAGE]]
                await connection.execute(prepared, {**values, "ids": ids})

    def _key(self, shapes: Mapping[str, Shape], name: str, noted: str) -> str:
        shape = shapes.get(name)
        try:
            return noted if shape is None else canonical(shape, self._dialect, noted)
        except (ValueError, TypeError):
            return noted  # of a table that has another key now: it is found nowhere

    async def _schema(self, connection: AsyncConnection) -> str | None:
        if self._dialect == "sqlite":
            return None
        return str((await connection.execute(sa.text("SELECT current_schema()"))).scalar_one())

    async def _stands(self, connection: AsyncConnection, trigger: Any) -> bool:
        """Whether the triggers are there, do what they should, and are not switched off."""
        if self._dialect == "sqlite":
            query = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table")
            there = {row[0]: row[1] for row in await connection.execute(query, {"table": trigger.table})}
            return all(there.get(name) in trigger.make for name in trigger.names)
        query = sa.text(
            "SELECT t.tgname, t.tgenabled, obj_description(t.tgfoid, 'pg_proc') FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relname = :table AND c.relnamespace = "
            "to_regnamespace(quote_ident(current_schema()))"
        )
        rows = (await connection.execute(query, {"table": trigger.table})).all()
        right = {row[0] for row in rows if _word(row[1]) == "A" and row[2] == trigger.mark}
        return right >= set(trigger.names)


class SqlLedger(_Beside):
    """The `Ledger` port over one database."""

    async def prepare(self) -> None:
        """Make its table where it is not there. Raises: SinkUnavailable."""
        async with self._writing() as connection:
            for statement in LEDGER:
                await connection.exec_driver_sql(statement)

    async def missing(self) -> list[str]:
        """Its table, where it is not there. Raises: SinkUnavailable."""
        async with self._reading() as connection:
            there = await connection.run_sync(lambda sync: set(sa.inspect(sync).get_table_names()))
        return [] if "residency_copied" in there else ["residency_copied"]

    async def read(self, ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The digests noted of these. Raises: SinkUnavailable."""
        query = sa.text("SELECT id, digests FROM residency_copied WHERE id IN :ids")
        prepared = query.bindparams(sa.bindparam("ids", expanding=True))
        wanted, found = list(ids), {}
        if wanted:
            async with self._reading() as connection:
                for at in range(0, len(wanted), _PAGE):
                    for row in await connection.execute(prepared, {"ids": wanted[at : at + _PAGE]}):
                        found[row[0]] = frozenset(json.loads(row[1]))
        return found

    async def write(self, digests: Mapping[str, frozenset[str]]) -> None:
        """Note these. Raises: SinkUnavailable."""
        put = sa.text(
            "INSERT INTO residency_copied (id, digests) VALUES (:id, :digests) "
            "ON CONFLICT (id) DO UPDATE SET digests = excluded.digests"
        )
        if digests:
            async with self._writing() as connection:
                rows = [{"id": each, "digests": json.dumps(sorted(some))} for each, some in sorted(digests.items())]
                await connection.execute(put, rows)

    async def forget(self, ids: Collection[str]) -> None:
        """Note nothing of these any more. Raises: SinkUnavailable."""
        gone = sa.text("DELETE FROM residency_copied WHERE id IN :ids").bindparams(sa.bindparam("ids", expanding=True))
        wanted = list(ids)
        if wanted:
            async with self._writing() as connection:
                for at in range(0, len(wanted), _PAGE):
                    await connection.execute(gone, {"ids": wanted[at : at + _PAGE]})


class SqlMarks(_Beside):
    """The `Marks` port over one database."""

    async def read(self, ids: Collection[str]) -> frozenset[str]:
        """Those of these that are there. Raises: SinkUnavailable."""
        query = sa.text("SELECT id FROM residency_sent WHERE id IN :ids")
        prepared = query.bindparams(sa.bindparam("ids", expanding=True))
        wanted, found = list(ids), set()
        if wanted:
            async with self._reading() as connection:
                for at in range(0, len(wanted), _PAGE):
                    found |= set((await connection.execute(prepared, {"ids": wanted[at : at + _PAGE]})).scalars())
        return frozenset(found)

    async def write(self, ids: Collection[str]) -> None:
        """Make these. Raises: SinkUnavailable."""
        put = sa.text("INSERT INTO residency_sent (id) VALUES (:id) ON CONFLICT (id) DO NOTHING")
        if ids:
            async with self._writing() as connection:
                await connection.execute(put, [{"id": each} for each in sorted(ids)])

    async def forget(self, ids: Collection[str]) -> None:
        """Remove these. Raises: SinkUnavailable."""
        gone = sa.text("DELETE FROM residency_sent WHERE id IN :ids").bindparams(sa.bindparam("ids", expanding=True))
        wanted = sorted(ids)
        if wanted:
            async with self._writing() as connection:
                for at in range(0, len(wanted), _PAGE):
                    await connection.execute(gone, {"ids": wanted[at : at + _PAGE]})


def _word(value: object) -> str:
    """PostgreSQL's "char", which drivers tell as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
