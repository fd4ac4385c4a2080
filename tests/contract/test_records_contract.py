"""What `Records` promises, and the parcels made of them, over every kind of sink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from residency.adapters.records_sql import SqlRecords
from residency.adapters.records_sql.copying import PostgresParcels
from residency.adapters.records_sql.values import format_row, parse_row
from residency.adapters.sink_sql import SqlSink
from residency.errors import RecordConflict
from residency.storage.parcels import NOTHING, Parcels, RecordParcels
from residency.storage.records import KeyedRecords, Record
from tests.records_world import BACKENDS, LETTERS, PEOPLE, ROWS, Place, place

pytestmark = pytest.mark.anyio
WHO = ["an", "binh", "chi"]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the SQL drivers run on."""
    return "asyncio"


@pytest.fixture(params=BACKENDS)
async def places(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Place, Place]]:
    """Two sinks of one kind; three people have three records each in the first."""
    made = [await place(request.param, country, tmp_path, request) for country in ("SG", "VN")]
    assert await made[0].fill(WHO) == 9
    yield made[0], made[1]
    for each in made:
        if each.sink is not None:
            await each.sink.aclose()


async def read(here: Place, *who: str) -> list[Record]:
    """All records of these, as they come."""
    return [record async for record in here.records.read(who)]


async def test_subjects_come_in_order_page_by_page_and_nobodys_records_are_nobodys(places: tuple[Place, Place]) -> None:
    here, there = places
    assert await here.records.subjects() == ("an", "binh", "chi")
    assert await here.records.subjects(after="an", limit=1) == ("binh",)
    assert await here.records.subjects(after="chi") == ()
    assert await there.records.subjects() == ()
    assert sum((await here.records.count()).values()) == 9
    assert "prices" not in await here.records.count()


async def test_records_come_with_their_subject_and_parents_before_children(places: tuple[Place, Place]) -> None:
    found = await read(places[0], "an", "chi", "nobody")
    assert sorted({record.subject for record in found if record.subject}) == ["an", "chi"]
    assert len(found) == 6
    names = [record.name for record in found]
    if "people" in names and isinstance(places[0].records, SqlRecords):
        assert names[:2] == ["people", "people"], "a letter refers to its person"
        assert {record.times.get("created") for record in found if record.name == "letters"} == {1767323045678901}


async def test_what_is_written_elsewhere_reads_back_as_the_same_bytes(places: tuple[Place, Place]) -> None:
    here, there = places
    held = [record for record in await read(here, *WHO) if record.value is not None]
    assert await there.records.write(held) == len(held)
    assert await there.records.write(held) == 0, "once more is nothing"
    copied = {(record.name, record.key): record for record in await read(there, *WHO)}
    assert copied == {(record.name, record.key): replace(record, times=copied[record.name, record.key].times)
                      for record in held}  # fmt: skip


async def test_a_record_with_other_bytes_is_a_conflict_and_nothing_is_written(places: tuple[Place, Place]) -> None:
    here, there = places
    held = [record for record in await read(here, *WHO) if record.value is not None]
    await there.records.write(held[:1])
    if isinstance(there.records, SqlRecords) and isinstance(there.sink, SqlSink):
        async with there.sink.engine.begin() as connection:
            await connection.execute(sa.update(PEOPLE).values(name="another"))
    else:
        await there.records.delete(held[:1])
        await there.records.write([replace(held[0], value=b"text/x\0another")])
    with pytest.raises(RecordConflict) as refused:
        await there.records.write(held)
    assert "an@" not in str(refused.value)
    assert len(await read(there, *WHO)) == 1


async def test_only_what_is_still_as_given_is_deleted(places: tuple[Place, Place]) -> None:
    here, _ = places
    held = [record for record in await read(here, "an") if record.value is not None]
    changed = replace(held[-1], value=b"text/x\0of another time") if len(held) > 1 else held[0]
    letters = [record for record in held if record.name != "people"]
    if isinstance(here.records, SqlRecords) and isinstance(here.sink, SqlSink):
        async with here.sink.engine.begin() as connection:
            await connection.execute(sa.update(LETTERS).where(LETTERS.c.part == 2).values(text="changed"))
        assert await here.records.delete(letters) == 1
    else:
        assert await here.records.delete([*held[:-1], changed]) == len(held) - 1
    assert "binh" in await here.records.subjects()


def parcels_of(here: Place) -> Parcels:
    """The fast way where the backend has one."""
    if isinstance(here.sink, SqlSink) and here.sink.engine.url.drivername == "postgresql+asyncpg":
        return PostgresParcels(here.records.sink, here.sink.engine, ROWS)
    return RecordParcels(here.records)


async def test_a_parcel_is_loaded_put_compared_and_cleared(places: tuple[Place, Place]) -> None:
    source, target = parcels_of(places[0]), parcels_of(places[1])
    cargo = await source.load(["an", "binh", "nobody"])
    assert set(cargo.digests) == set(cargo.counts) == {"an", "binh"}
    assert sum(cargo.counts.values()) == 6
    assert cargo.digests == await source.tally(["an", "binh", "nobody"])
    await target.put(cargo)
    await target.put(cargo)
    assert await target.tally(WHO) == cargo.digests
    there, here = await target.take(WHO), await source.take(["an", "binh"])
    assert there == here
    assert {each: there.digest(each) for each in there.pieces} == cargo.digests
    assert sum(there.counts.values()) == 6
    assert there.digest("an") != there.digest("binh")
    assert there.digest("nobody") == cargo.digest("nobody") == NOTHING
    gone = await source.clear({"an": cargo.digest("an"), "binh": cargo.digest("an"), "nobody": NOTHING})
    assert gone == {"an", "nobody"}, "of Binh there is something else than was thought"
    assert set((await source.take(WHO)).pieces) == {"binh", "chi"}
    assert set((await target.take(WHO)).pieces) == {"an", "binh"}


async def test_the_keys_of_what_a_subject_has_are_told_as_records_have_them(places: tuple[Place, Place]) -> None:
    held = sorted((str(each.subject), each.name, each.key) for each in await read(places[0], "an", "binh"))
    assert sorted(await parcels_of(places[0]).keyed(["an", "binh", "nobody"])) == held
    assert await parcels_of(places[0]).keyed([]) in ([], ())


@pytest.mark.parametrize("places", BACKENDS[3:], indirect=True)
async def test_a_cargo_that_stands_against_what_is_there_is_refused_whole(places: tuple[Place, Place]) -> None:
    assert isinstance(places[1].sink, SqlSink)
    source, target = parcels_of(places[0]), parcels_of(places[1])
    async with places[1].sink.engine.begin() as connection:
        await connection.execute(sa.insert(PEOPLE).values(id="dung", email="binh@example.org"))
    with pytest.raises(RecordConflict):
        await target.put(await source.load(WHO))
    assert set((await target.take([*WHO, "dung"])).pieces) == {"dung"}


@pytest.mark.parametrize("places", BACKENDS[3:], indirect=True)
async def test_of_whom_something_changed_nothing_is_cleared(places: tuple[Place, Place]) -> None:
    assert isinstance(places[0].sink, SqlSink)
    source = parcels_of(places[0])
    taken = await source.tally(["an", "binh"])
    async with places[0].sink.engine.begin() as connection:
        await connection.execute(sa.delete(LETTERS).where(LETTERS.c.part == 1, LETTERS.c.person == "an"))
    assert await source.clear(taken) == {"binh"}
    names = [name for name, _, _ in (await source.take(["an", "binh"])).pieces["an"]]
    assert sorted(names) == ["letters", "people"]


async def test_records_are_found_by_their_keys_and_what_is_not_there_is_left_out(places: tuple[Place, Place]) -> None:
    here = places[0].records
    assert isinstance(here, KeyedRecords)
    held = {(record.name, record.key): record for record in await read(places[0], *WHO)}
    assert await here.get([*held, (next(iter(held))[0], _no_key(held)), ("prices", "{}")]) == held
    assert await here.get([]) == {}


async def test_a_record_takes_the_place_of_what_it_was_given_with_and_of_nothing_else(
    places: tuple[Place, Place],
) -> None:
    here, there = places[0].records, places[1].records
    assert isinstance(here, KeyedRecords)
    assert isinstance(there, KeyedRecords)
    held = [record for record in await read(places[0], "an", "binh") if record.value is not None]
    await there.replace([(record, None) for record in reversed(held)])
    copied = await there.get([(record.name, record.key) for record in held])
    assert [copied[record.name, record.key].value for record in held] == [record.value for record in held]
    await there.replace([(record, record.value) for record in held])
    changed = _changed(held[-1])
    with pytest.raises(RecordConflict) as refused:
        await there.replace([(_changed(held[0]), held[0].value), (changed, b"something else")])
    assert "an" not in str(refused.value).split()
    with pytest.raises(RecordConflict):
        await there.replace([(changed, None)])
    assert (await there.get([(held[0].name, held[0].key)]))[held[0].name, held[0].key].value == held[0].value
    await there.replace([(changed, held[-1].value)])
    assert (await there.get([(changed.name, changed.key)]))[changed.name, changed.key].value == changed.value


@pytest.mark.parametrize("places", BACKENDS[3:], indirect=True)
async def test_a_row_that_leads_to_nobody_any_more_is_found_by_its_key_and_is_nobodys(
    places: tuple[Place, Place],
) -> None:
    here = places[0]
    assert isinstance(here.records, KeyedRecords)
    assert isinstance(here.sink, SqlSink)
    keys = [(record.name, record.key) for record in await read(here, "an") if record.name == "letters"]
    async with here.sink.engine.begin() as connection:
        await connection.execute(sa.update(LETTERS).where(LETTERS.c.person == "an").values(person=None))
    assert {record.subject for record in (await here.records.get(keys)).values()} == {None}


def _no_key(held: Mapping[tuple[str, str], Record]) -> str:
    (_, key) = next(iter(held))
    return key.replace("an", "nobody")


def _changed(record: Record) -> Record:
    """The same record with another content."""
    if record.name not in ("people", "letters") or not (record.value or b"").startswith(b"{"):
        return replace(record, value=b"text/x\0changed")
    row = parse_row(record.value or b"")
    row["name" if record.name == "people" else "text"] = "changed"
    return replace(record, value=format_row(row))
