"""The rows of one database in, records out, and back: the `Records` port over SQLAlchemy.

Reading takes what the database holds; writing and deleting are one transaction each. A row is told as JSON with its
types (`values`), so that a copy is compared byte for byte. Whose a row is, `records:` of the deployment says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from residency.adapters.records_sql.cascades import outside, referring
from residency.adapters.records_sql.references import OwnedRows, bound, lacking, obstacles
from residency.adapters.records_sql.tables import Shape, shapes
from residency.adapters.records_sql.values import format_row, instant, parse_row
from residency.errors import RecordConflict, SinkUnavailable, UsageError
from residency.policy.parsed_storage import RecordDoc
from residency.storage.lasting import is_lasting, lasting
from residency.storage.parcels import LackingError
from residency.storage.records import Change, Record

__all__ = ["FOREIGN_KEY", "RefersError", "Spared", "SqlRecords"]

FOREIGN_KEY: Final = "23503"  # PostgreSQL's SQLSTATE
_PAGE: Final = 500  # subjects or keys in one statement: SQLite takes 32,766 parameters, older ones 999


class RefersError(RecordConflict):
    """A foreign key stands against what was to be written or deleted."""


class Spared(Enum):
    """What neither goes nor changes because a row is deleted that it refers to, whatever the database would do by
    itself: nothing is spared (copies: what is withdrawn has to go), nor deleted of tables that `records` names (where
    terms end), nor touched at all (what moves is no deletion to the app)."""

    NOTHING = 0
    NAMED = 1
    ALL = 2


class SqlRecords:
    """The `Records` port over one database's tables."""

    __slots__ = ("_docs", "_engine", "_shapes", "_sink", "_spared")

    def __init__(
        self, sink: str, engine: AsyncEngine, docs: Sequence[RecordDoc], spared: Spared = Spared.NOTHING
    ) -> None:
        """`engine` is one that may write, outside any request; `docs` are the store's `records`."""
        self._sink = sink
        self._engine = engine
        self._docs = tuple(docs)
        self._spared = spared
        self._shapes: tuple[Shape, ...] | None = None

    @property
    def sink(self) -> str:
        """The sink's name."""
        return self._sink

    async def subjects(self, *, after: str = "", limit: int = 1000) -> tuple[str, ...]:
        """Ids of the subjects that there are rows of, in order. Raises: SinkUnavailable."""
        async with _Reading(self) as (connection, found):
            told = sa.union(*[shape.subjects(connection.dialect.name) for shape in found if shape.direct]).subquery()
            query = sa.select(told.c.id).where(told.c.id > after).order_by(told.c.id).limit(limit)
            return tuple((await connection.execute(query)).scalars())

    async def count(self) -> Mapping[str, int]:
        """How many rows each table has. Raises: SinkUnavailable."""
        async with _Reading(self) as (connection, found):
            counts = {}
            for shape in found:
                query = sa.select(sa.func.count()).select_from(shape.table)
                counts[shape.doc.name] = int((await connection.execute(query)).scalar_one())
            return counts

    async def earliest(self) -> int | None:
        """The first of all instants (microseconds) in the columns that `times` name. Raises: SinkUnavailable."""
        async with _Reading(self) as (connection, found):
            first = []
            for shape in found:
                for column in shape.doc.times.values():
                    query = sa.select(sa.func.min(shape.table.c[column]))
                    moment = instant((await connection.execute(query)).scalar_one())
                    first += [] if moment is None else [moment]
            return min(first, default=None)

    async def read(self, subjects: Collection[str]) -> AsyncIterator[Record]:
        """Every row of these subjects; what others refer to comes before them. Raises: SinkUnavailable."""
        wanted = sorted(subjects)
        async with _Reading(self) as (connection, found):
            for shape in found:
                for at in range(0, len(wanted), _PAGE):
                    page = shape.rows(wanted[at : at + _PAGE])
                    for row in (await connection.execute(page)).all():
                        record = _record(self._sink, shape, row)
                        # A column that does not tell `a` from `A` answers with rows of somebody who was not asked for.
                        if record.subject in subjects:
                            yield record

    async def keyed(self, subjects: Collection[str]) -> list[tuple[str, str, str]]:
        """(whose, table, canonical key) of every row of these subjects. Raises: SinkUnavailable."""
        wanted = sorted(subjects)
        owned = []
        async with _Reading(self) as (connection, found):
            for shape in found:
                for at in range(0, len(wanted), _PAGE):
                    for whose, *key in (await connection.execute(shape.keys(wanted[at : at + _PAGE]))).all():
                        if whose in subjects:  # as in `read`
                            text = format_row(dict(zip(shape.key, key, strict=True))).decode()
                            owned.append((whose, shape.doc.name, text))
        return owned

    async def write(self, records: Sequence[Record]) -> int:
        """Insert these, all or none; how many were not there. Raises: RecordConflict, LackingError, SinkUnavailable."""
        try:
            return await self._write(records)
        except RefersError:
            rows: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
            for each in records:
                if each.subject is not None:
                    rows.setdefault(each.name, []).append((each.subject, parse_row(each.value or b"")))
            await self.refuse(rows)
            raise

    async def refuse(self, rows: OwnedRows, *, texts: bool = False) -> None:
        """Raises: LackingError where somebody's of these rows refer to what is not here, SinkUnavailable. `texts` =
        values are the server's own texts."""
        try:
            async with _Reading(self) as (connection, found):
                subjects = await lacking(connection, found, rows, texts=texts)
        except SinkUnavailable as error:
            if not is_lasting(error):
                raise
            return  # a table that this user may not read, a type that nobody here knows: they are tried by halves
        if subjects:
            raise LackingError(f"sink {self._sink!r} has not what records refer to", subjects)

    async def bound(self, subjects: Collection[str]) -> frozenset[str]:
        """Those of these subjects to whose rows others refer that do not go with them. Raises: SinkUnavailable."""
        async with _Reading(self) as (connection, found):
            return await bound(connection, found, subjects)

    async def obstacles(self, target: SqlRecords) -> list[str]:
        """What stands against a move of people from here to `target` by foreign keys. Raises: SinkUnavailable."""
        try:
            async with _Reading(self) as (here, ours), _Reading(target) as (there, theirs):
                return await obstacles((self._sink, here, ours), (target._sink, there, theirs))
        except SinkUnavailable as error:
            if not is_lasting(error):
                raise
            return [f"sink {target._sink!r}: what its foreign keys refer to cannot be looked at by its user"]

    async def _write(self, records: Sequence[Record]) -> int:
        async with _Writing(self) as (connection, found):
            new = 0
            for shape in found:
                given = {record.key: record for record in records if record.name == shape.doc.name}
                there = await self._there(connection, shape, list(given))
                for key, value in there.items():
                    if given[key].value != value:
                        raise RecordConflict(f"sink {self._sink!r} has a record of the same key with other bytes")
                rows = [parse_row(record.value or b"") for key, record in given.items() if key not in there]
                if rows:
                    await connection.execute(sa.insert(shape.table), rows)
                new += len(rows)
            return new

    async def get(self, keys: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], Record]:
        """The rows of these that are there. Raises: SinkUnavailable."""
        got: dict[tuple[str, str], Record] = {}
        async with _Reading(self) as (connection, found):
            for shape in found:
                wanted = [key for name, key in keys if name == shape.doc.name]
                for at in range(0, len(wanted), _PAGE):
                    query = shape.whole().where(_keyed(shape, wanted[at : at + _PAGE]))
                    for row in (await connection.execute(query)).all():
                        record = _record(self._sink, shape, row)
                        got[record.name, record.key] = record
        return got

    async def replace(self, changes: Sequence[Change]) -> None:
        """Put each in the place of what it is given with, parents first, all or none.

        Raises: RecordConflict, SinkUnavailable.
        """
        async with _Writing(self) as (connection, found):
            for shape in found:
                given = {record.key: (record, before) for record, before in changes if record.name == shape.doc.name}
                there = await self._there(connection, shape, list(given), lock=True)
                new = []
                for key, (record, before) in given.items():
                    if there.get(key) != before:
                        raise RecordConflict(f"sink {self._sink!r} has a record of the same key with other bytes")
                    row = parse_row(record.value or b"")
                    if before is None:
                        new.append(row)
                    elif record.value != before:
                        change = sa.update(shape.table).where(_keyed(shape, [key])).values(row)
                        await connection.execute(change)
                if new:
                    await connection.execute(sa.insert(shape.table), new)

    async def delete(self, records: Sequence[Record]) -> int:
        """Delete those of these that are still as given, children first; how many.

        Raises: SinkUnavailable, also where something that stays refers to one of them, or would be deleted by the
        database itself; then nothing was deleted.
        """
        try:
            return await self._delete(records)
        except RecordConflict:
            raise SinkUnavailable(f"sink {self._sink!r} holds what refers to a record that was to be deleted") from None

    async def _delete(self, records: Sequence[Record]) -> int:
        async with _Writing(self) as (connection, found):
            gone = 0
            for shape in reversed(found):
                given = {record.key: record.value for record in records if record.name == shape.doc.name}
                there = await self._there(connection, shape, list(given), lock=True)
                same = {key: None for key, value in there.items() if given[key] == value}
                keys = list(same)
                for at in range(0, len(keys), _PAGE):
                    page = keys[at : at + _PAGE]
                    if self._spared is not Spared.NOTHING:
                        await self._stands_alone(connection, shape, page, same)
                    done = await connection.execute(sa.delete(shape.table).where(_keyed(shape, page)))
                    gone += done.rowcount
            return gone

    async def _stands_alone(
        self, connection: AsyncConnection, shape: Shape, keys: Sequence[str], going: Collection[str]
    ) -> None:
        """Raises: RecordConflict where a row that is not among those to be deleted, or of another table and still
        there, would go with one of these. They are locked, so that nothing new refers to them."""
        for each in shape.cascades:
            if self._spared is Spared.NAMED and (each.named is None or not each.deletes):
                continue
            own = shape.key if each.named == shape.doc.name else ()
            table = shape.table if own else None
            query = referring(shape.table, shape.table, each, table, own).where(_keyed(shape, keys))
            for row in (await connection.execute(query)).all():
                if not own or format_row(dict(zip(own, row, strict=True))).decode() not in going:
                    raise RecordConflict(f"sink {self._sink!r} would delete a record with another")

    async def _there(
        self, connection: AsyncConnection, shape: Shape, keys: Sequence[str], *, lock: bool = False
    ) -> dict[str, bytes]:
        """The bytes of the rows of these keys that are there, by key."""
        found: dict[str, bytes] = {}
        for at in range(0, len(keys), _PAGE):
            query = sa.select(*[shape.table.c[name] for name in shape.columns]).where(
                _keyed(shape, keys[at : at + _PAGE])
            )
            if lock:
                query = query.with_for_update()  # SQLite's transaction has the lock already
            for row in (await connection.execute(query)).mappings():
                found[_key(shape, row)] = format_row({str(name): value for name, value in row.items()})
        return found

    async def check_movable(self) -> None:
        """Raises: UsageError where rows that nobody tells of go or change with others, or a part of rows lies outside
        of them; SinkUnavailable."""
        async with _Reading(self) as (connection, found):
            problem = await connection.run_sync(outside, [shape.doc.name for shape in found])
            if problem is not None:
                raise UsageError(f"sink {self._sink!r}: {problem}")
            for shape in found:
                for each in shape.cascades:
                    if each.named is None:
                        raise UsageError(
                            f"sink {self._sink!r}: rows of table {each.table!r} change or go with rows of "
                            f"{shape.doc.name!r}, and `records` does not name it: they would be lost"
                        )

    async def shapes(self, connection: AsyncConnection) -> tuple[Shape, ...]:
        """The tables as they are, looked at once. Raises: SinkUnavailable."""
        if self._shapes is None:
            found = await connection.run_sync(lambda sync: shapes(sync, self._sink, self._docs))
            if not any(shape.direct for shape in found):
                raise lasting(SinkUnavailable(f"sink {self._sink!r}: `records` names no table with a subject"))
            self._shapes = found
        return self._shapes


class _Reading:
    """One transaction that only reads."""

    def __init__(self, records: SqlRecords) -> None:
        self._records = records
        self._begun: AbstractAsyncContextManager[AsyncConnection] = records._engine.connect()

    async def __aenter__(self) -> tuple[AsyncConnection, tuple[Shape, ...]]:
        unread = SinkUnavailable(f"sink {self._records.sink!r} cannot be read")
        try:
            connection = await self._begun.__aenter__()
        except (SQLAlchemyError, sqlite3.Error, OSError):
            raise unread from None
        try:
            return connection, await self._records.shapes(connection)
        except BaseException as error:  # a table that is not there, too: else the connection would stay
            await self._begun.__aexit__(type(error), error, None)
            if isinstance(error, SQLAlchemyError | sqlite3.Error | OSError):
                raise unread from None
            raise

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            await self._begun.__aexit__(kind, error, trace)
        except Exception as late:  # noqa: BLE001 - told below: a constraint that is looked at where a transaction ends
            error = late
        if isinstance(error, IntegrityError):
            # Another row has what must be unique, or refers to this one: nothing of this transaction stays.
            told = RefersError if _of_reference(error) else RecordConflict
            raise told(f"sink {self._records.sink!r} has a record that stands against one") from None
        if isinstance(error, SQLAlchemyError | sqlite3.Error | OSError | TypeError | ValueError | ArithmeticError):
            # Drivers' messages quote values, and some values, such as a day that is `infinity`, they cannot read.
            away = SinkUnavailable(f"sink {self._records.sink!r} cannot be read or written as records")
            raise (lasting(away) if _of_statement(error) else away) from None


def _of_statement(error: BaseException) -> bool:
    """Whether a statement is what is wrong (a right, a column), or a value, which is so again the next time."""
    if isinstance(error, DataError | TypeError | ValueError | ArithmeticError):
        return True
    driver = getattr(error, "orig", None) or error
    code = getattr(driver, "sqlite_errorcode", None)
    return str(getattr(driver, "sqlstate", None) or "").startswith("42") or code == sqlite3.SQLITE_ERROR


def _of_reference(error: IntegrityError) -> bool:
    """Whether it is a foreign key that is not held."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return getattr(error.orig, "sqlstate", None) == FOREIGN_KEY or code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY


class _Writing(_Reading):
    """One transaction, kept where nothing is raised in it."""

    def __init__(self, records: SqlRecords) -> None:
        super().__init__(records)
        self._begun = records._engine.begin()


def _record(sink: str, shape: Shape, row: Any) -> Record:
    found = dict(row._mapping)
    told = found.pop("~subject")
    subject = None if told is None else str(told)
    if None in [found[name] for name in shape.key]:  # as SQLite lets it be
        what = f"table {shape.doc.name!r} has a row with NULL in its key, so it cannot be told from others"
        raise lasting(SinkUnavailable(f"sink {sink!r}: {what}"))
    times = {event: moment for event, column in shape.doc.times.items() if (moment := instant(found[column]))}
    return Record(shape.doc.name, _key(shape, found), subject, shape.doc.data, format_row(found), times)


def _key(shape: Shape, row: Mapping[Any, Any]) -> str:
    return format_row({name: row[name] for name in shape.key}).decode()


def _keyed(shape: Shape, keys: Sequence[str]) -> sa.ColumnElement[bool]:
    rows = [parse_row(key.encode()) for key in keys]
    if len(shape.key) == 1:
        name = shape.key[0]
        return shape.table.c[name].in_([row[name] for row in rows])
    return sa.or_(sa.false(), *[sa.and_(*[shape.table.c[name] == row[name] for name in shape.key]) for row in rows])
