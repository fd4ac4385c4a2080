"""In: a backend's name. Out: sinks of that backend in two countries with people's records in the first, and how to read
them from outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from residency.adapters.records_memory import RecordsMemory
from residency.adapters.records_objects import ObjectRecords
from residency.adapters.records_sql import SqlRecords
from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_sql import SqlSink
from residency.enforcement.ports import ObjectSink
from residency.policy.parsed_storage import RecordDoc
from residency.storage.records import Record, Records
from tests.world import SG, VN

PERSONAL = frozenset({"personal"})
ROWS = (
    RecordDoc("letters", None, ("person", "people"), frozenset({"content"}), {"created": "sent"}),
    RecordDoc("people", "id", None, PERSONAL),
    RecordDoc("prices", None, None, frozenset()),
)
FOLDER, ONE = "users/{subject}/", "faces/{subject}.png"
OBJECTS = (RecordDoc(FOLDER, None, None, PERSONAL, {"created": ""}), RecordDoc(ONE, None, None, PERSONAL))
BACKENDS = [
    "memory",
    "objects-memory",
    "objects-files",
    "sqlite",
    pytest.param("asyncpg", marks=pytest.mark.needs("postgres")),
    pytest.param("psycopg", marks=pytest.mark.needs("postgres")),
]
METADATA = sa.MetaData()
PEOPLE = sa.Table(
    "people",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("born", sa.Date),
    sa.Column("weight", sa.Float),
    sa.Column("money", sa.Numeric(12, 2)),
    sa.Column("face", sa.LargeBinary),
    sa.Column("more", sa.JSON),
    sa.Column("email", sa.Text, unique=True),
)
LETTERS = sa.Table(
    "letters",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("person", sa.String(64), sa.ForeignKey("people.id")),
    sa.Column("text", sa.Text),
    sa.Column("sent", sa.DateTime(timezone=True)),
)
PRICES = sa.Table("prices", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("price", sa.Integer))


@dataclass(slots=True)
class Place:
    """One sink's records; `fill` and `change` are what the app does there."""

    records: Records
    sink: SqlSink | ObjectSink | None

    async def fill(self, people: Sequence[str]) -> int:
        """Give each of these a few records; how many in all."""
        made = [record for person in people for record in self.samples(person)]
        if not isinstance(self.sink, SqlSink):
            return await self.records.write(made)
        async with self.sink.engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
            for person in people:
                await connection.execute(sa.insert(PEOPLE).values(_person(person)))
                for part in (1, 2):
                    await connection.execute(sa.insert(LETTERS).values(_letter(person, part)))
            await connection.execute(sa.insert(PRICES).values(price=7))
        return 3 * len(people)

    def samples(self, person: str) -> list[Record]:
        """Three records as `fill` makes them, where they are no rows."""
        if isinstance(self.records, ObjectRecords):
            keys = [(FOLDER, f"users/{person}/cv.pdf"), (FOLDER, f"users/{person}/a/b"), (ONE, f"faces/{person}.png")]
        else:
            keys = [("people", person), ("letters", f"{person}-1"), ("letters", f"{person}-2")]
        return [Record(name, key, person, PERSONAL, f"text/x\0{key}".encode()) for name, key in keys]


async def place(backend: str, country: str, folder: Path, request: pytest.FixtureRequest) -> Place:
    """An empty sink of this backend, set up as its app would."""
    region = VN if country == "VN" else SG
    if backend == "memory":
        return Place(RecordsMemory(f"people-{country}"), None)
    if backend.startswith("objects"):
        sink = (
            MemorySink(f"files-{country}", region)
            if backend.endswith("memory")
            else FilesSink(f"files-{country}", region, folder / country)
        )
        await sink.start()
        return Place(ObjectRecords(sink, OBJECTS, limit=64), sink)
    if backend == "sqlite":
        url = f"sqlite+aiosqlite:///{folder / country}.db"
    else:
        pair = request.getfixturevalue("postgres")
        server = pair.vn if country == "VN" else pair.sg
        url = server.url(backend, server.database())
    rows = SqlSink(f"people-{country}", region, url)
    await rows.start()
    async with rows.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    return Place(SqlRecords(f"people-{country}", rows.engine, ROWS), rows)


def _person(person: str) -> dict[str, object]:
    import datetime as dt
    from decimal import Decimal

    return {
        "id": person, "name": f"Nguyễn\tVăn\n{person} \\N", "born": dt.date(1990, 1, 2), "weight": 0.1 + 0.2,
        "money": Decimal("12.50"), "face": b"\x00\xff\\", "more": {"b": [1, None], "a": "x"},
        "email": f"{person}@example.org",
    }  # fmt: skip


def _letter(person: str, part: int) -> dict[str, object]:
    import datetime as dt

    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC)
    number = int.from_bytes(person.encode()[-3:])
    return {"number": number, "part": part, "person": person, "text": None if part == 1 else "", "sent": moment}
