"""No two sinks give two people one key: what counts alike is refused, a range for each sink is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import BigInteger, Column, Identity, Integer, MetaData, Sequence, String, Table, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from residency.adapters.session_sql import check_keys, range_of, ranged_sequence, sequence_ddl
from residency.errors import UsageError
from residency.integrations.sqlalchemy import create_all
from tests.rows import Rows, Session, places_of
from tests.world import SINGAPORE

BOTH = ("people-sg", "people-vn")


def table(*columns: Column[int] | Column[str]) -> Table:
    return Table("t", MetaData(), *columns)


COUNTING = [
    table(Column("id", Integer, primary_key=True)),
    table(Column("id", BigInteger, primary_key=True)),
    table(Column("id", BigInteger, Identity(), primary_key=True)),
    table(Column("id", BigInteger, Sequence("s"), primary_key=True)),
    table(Column("id", BigInteger, primary_key=True, server_default=text("nextval('s')"))),
    table(Column("part", String, primary_key=True), Column("id", Integer, Identity(), primary_key=True)),
]
UNIQUE = [
    table(Column("id", String, primary_key=True)),
    table(Column("id", Integer, primary_key=True, autoincrement=False)),
    table(Column("id", String, primary_key=True), Column("n", Integer)),
]


@pytest.mark.parametrize("counting", COUNTING)
def test_a_key_that_counts_is_refused_among_several_sinks_and_not_in_one(counting: Table) -> None:
    with pytest.raises(UsageError, match="counts its key 'id' up in each sink of store 'people'"):
        check_keys([counting], "people", BOTH)
    check_keys([counting], "people", BOTH[:1])


@pytest.mark.parametrize("unique", UNIQUE)
def test_a_key_that_the_app_brings_is_not_refused(unique: Table) -> None:
    check_keys([unique], "people", BOTH)


def test_ranges_do_not_meet_and_each_sink_needs_one() -> None:
    sequence = ranged_sequence("person_id", {"people-vn": 0, "people-sg": 1}, room=4)
    ranges = [range_of(sequence, sink) for sink in BOTH]
    assert [[start + step * n for n in range(3)] for start, step in ranges] == [[2, 6, 10], [1, 5, 9]]
    ranged = table(Column("id", BigInteger, sequence, primary_key=True))
    check_keys([ranged], "people", BOTH)
    with pytest.raises(UsageError, match="no number for sink 'people-de'"):
        check_keys([ranged], "people", (*BOTH, "people-de"))


@pytest.mark.parametrize(("above", "firsts"), [(0, [1, 2]), (1, [5, 6]), (4, [5, 6]), (5, [9, 10])])
def test_ranges_begin_behind_the_keys_that_are_there(above: int, firsts: list[int]) -> None:
    sequence = ranged_sequence("s", {"people-vn": 0, "people-sg": 1}, room=4, above=above)
    assert [range_of(sequence, sink)[0] for sink in ("people-vn", "people-sg")] == firsts
    with pytest.raises(UsageError, match="begins above 0"):
        ranged_sequence("s", {"people-vn": 0}, above=-1)


@pytest.mark.parametrize("numbers", [{"a": 0, "b": 0}, {"a": 4}, {"a": -1}])
def test_a_number_that_is_shared_or_does_not_fit_is_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="number of its own, from 0 to 3"):
        ranged_sequence("s", numbers, room=4)


def test_the_ddl_quotes_names_and_starts_in_the_sinks_range() -> None:
    sequence = ranged_sequence('per"son', {"people-vn": 3})
    assert sequence_ddl(sequence, "people-vn") == (
        'CREATE SEQUENCE IF NOT EXISTS "per""son" AS bigint INCREMENT BY 64 MINVALUE 4 START WITH 4'
    )


class Base(DeclarativeBase):
    """Models that count alike everywhere."""


class RangedBase(DeclarativeBase):
    """Models that do not."""


class Counting(Base):
    """Refused."""

    __tablename__ = "counting"
    id: Mapped[int] = mapped_column(primary_key=True)


class Ranged(RangedBase):
    """Taken."""

    __tablename__ = "person"
    id: Mapped[int] = mapped_column(
        BigInteger, ranged_sequence("person_id", {"people-vn": 0, "people-sg": 1}), primary_key=True
    )
    name: Mapped[str] = mapped_column(String)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_rows_are_not_added_to_a_table_that_counts(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    world = Rows(tmp_path, places_of("sqlite", tmp_path, request))
    with world.request():
        async with Session() as session:
            session.add(Counting())
            with pytest.raises(UsageError, match="counts its key"):
                await session.flush()
        async with Session() as session:
            with pytest.raises(UsageError, match="counts its key"):
                await session.execute(insert(Counting).values(id=1))
        async with Session() as session:
            with pytest.raises(UsageError, match="counts its key"):
                await session.run_sync(lambda sync: sync.bulk_save_objects([Counting()]))
        async with Session() as session:
            with pytest.raises(UsageError, match="counts its key"):
                await session.run_sync(lambda sync: sync.bulk_insert_mappings(Counting, [{"id": 1}]))
        async with Session() as session:
            connection = await session.connection()
            with pytest.raises(UsageError, match="counts its key"):
                await connection.execute(insert(Counting).values(id=1))
    assert "committed" not in [word for _, word in world.acts()]
    await world.stores.aclose()


@pytest.mark.anyio
@pytest.mark.needs("postgres")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("backend", ["asyncpg", "psycopg"])
async def test_each_server_counts_in_its_own_range(
    tmp_path: Path, request: pytest.FixtureRequest, backend: str
) -> None:
    world = Rows(tmp_path, places_of(backend, tmp_path, request))
    await create_all(RangedBase.metadata, world.stores, "people")
    await create_all(RangedBase.metadata, world.stores, "people")  # what is there already is left
    for who, address in (("an", None), ("binh", None), ("tan", SINGAPORE)):
        with world.request(who=who, **({} if address is None else {"address": address})):
            async with Session.begin() as session:
                session.add(Ranged(name=who))
    assert [world.places[sink].query("SELECT id FROM person ORDER BY id") for sink in ("vn", "sg")] == [
        [(1,), (65,)],
        [(2,)],
    ]
    await world.stores.aclose()
