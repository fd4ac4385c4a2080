"""What `Outbox`, `Ledger` and `Marks` promise, over memory, objects, SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from residency.adapters.clock_manual import ManualClock
from residency.adapters.outbox_memory import LedgerMemory, MarksMemory, OutboxMemory
from residency.adapters.outbox_objects import NotedObjects, ObjectLedger, ObjectMarks, ObjectOutbox
from residency.adapters.records_objects import ObjectRecords
from residency.adapters.records_sql import SqlRecords
from residency.adapters.records_sql.outbox import SqlLedger, SqlMarks, SqlOutbox
from residency.adapters.sink_memory import MemorySink
from residency.adapters.sink_sql import SqlSink
from residency.storage.copied import Ledger
from residency.storage.outbox import Outbox
from residency.storage.sent import Marks, Sent
from tests.records_world import BACKENDS, FOLDER, LETTERS, OBJECTS, PEOPLE, Place, place
from tests.world import VN

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the SQL drivers run on."""
    return "asyncio"


@dataclass(slots=True)
class Kept:
    """An outbox, a ledger, marks, what the app does, and how time passes."""

    outbox: Any
    ledger: Any
    marks: Marks
    put: Callable[[str], Awaitable[object]]
    delete: Callable[[str], Awaitable[object]]
    wait: Callable[[float], Awaitable[object]]
    key: Callable[[str], tuple[str, str]]


@pytest.fixture(params=[each for each in BACKENDS if each != "objects-files"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    backend = request.param
    clock = ManualClock()
    if backend == "memory":
        outbox = OutboxMemory("people-VN", clock.now, lambda: there)
        there: list[tuple[str, str]] = []

        async def put(who: str) -> None:
            there.append(("people", who))
            outbox.noted(("people", who))

        async def delete(who: str) -> None:
            there.remove(("people", who))
            outbox.noted(("people", who))

        yield Kept(
            outbox, LedgerMemory(), MarksMemory(), put, delete, _advance(clock), lambda who: ("people", who)
        )  # fmt: skip
    elif backend.startswith("objects"):
        plain = MemorySink("files-VN", VN)
        records = ObjectRecords(plain, OBJECTS)
        sink = NotedObjects(plain, {"files": records.name_of}, now=clock.now, token=lambda size: bytes(size))

        async def store(who: str) -> None:
            await sink.put(f"users/{who}/cv", b"cv")

        async def remove(who: str) -> None:
            await sink.delete(f"users/{who}/cv")

        made = ObjectOutbox("files", sink, records.name_of, now=clock.now)
        clock.advance(1)
        yield Kept(
            made, ObjectLedger(sink), ObjectMarks(sink), _apart(store, clock), _apart(remove, clock), _advance(clock),
            lambda who: (FOLDER, f"users/{who}/cv"),
        )  # fmt: skip
    else:
        here: Place = await place(backend, "VN", tmp_path, request)
        assert isinstance(here.sink, SqlSink)
        assert isinstance(here.records, SqlRecords)
        engine = here.sink.engine

        async def insert(who: str) -> None:
            async with engine.begin() as connection:
                await connection.execute(sa.insert(PEOPLE).values(id=who, name=who))

        async def drop(who: str) -> None:
            async with engine.begin() as connection:
                await connection.execute(sa.delete(PEOPLE).where(PEOPLE.c.id == who))

        async def wait(seconds: float) -> None:
            # The database's own clock cannot be moved, but what is due can.
            by = {"by": int(seconds * 1_000_000)}
            async with engine.begin() as connection:
                await connection.execute(sa.text("UPDATE residency_outbox SET due = due - :by"), by)
                await connection.execute(sa.text("UPDATE residency_outbox_lease SET until = until - :by"), by)

        kept = Kept(
            SqlOutbox("people", here.records, engine), SqlLedger(here.records, engine), SqlMarks(here.records, engine),
            insert, drop, wait, lambda who: ("people", f'{{"id":"{who}"}}'),
        )  # fmt: skip
        yield kept
        await here.sink.aclose()


def _advance(clock: ManualClock) -> Callable[[float], Awaitable[None]]:
    async def wait(seconds: float) -> None:
        clock.advance(int(seconds * 1_000_000))

    return wait


def _apart(work: Callable[[str], Awaitable[None]], clock: ManualClock) -> Callable[[str], Awaitable[None]]:
    async def apart(who: str) -> None:
        clock.advance(1)  # notes are named by the moment and by chance, of which there is none here
        await work(who)

    return apart


async def ready(kept: Kept) -> Outbox:
    """The outbox, prepared."""
    if hasattr(kept.outbox, "prepare"):
        await kept.outbox.prepare()
        assert await kept.outbox.missing() == []
    found: Outbox = kept.outbox
    return found


async def test_every_change_is_noted_by_its_key_in_order_until_that_very_note_is_done(kept: Kept) -> None:
    outbox = await ready(kept)
    for who in ("an", "bi'nh", "chi"):
        await kept.put(who)
    await kept.delete("an")
    notes = await outbox.take(10)
    assert [(note.name, note.key) for note in notes] == [kept.key(who) for who in ("an", "bi'nh", "chi", "an")]
    assert [note.key for note in await outbox.take(2)] == [note.key for note in notes[:2]]
    await kept.put("an")
    await outbox.done(notes)
    assert [(note.name, note.key) for note in await outbox.take(10)] == [kept.key("an")]


async def test_what_is_held_is_not_taken_before_its_time_and_is_told_with_its_reason(kept: Kept) -> None:
    outbox = await ready(kept)
    await kept.put("an")
    await kept.put("binh")
    first, second = await outbox.take(10)
    await outbox.hold([first], "filing_missing", 600)
    assert [note.id for note in await outbox.take(10)] == [second.id]
    standing = await outbox.standing()
    assert (standing.pending, dict(standing.held), standing.oldest) == (1, {"filing_missing": 1}, second.noted)
    await kept.wait(700)
    assert {(note.key, note.tries) for note in await outbox.take(10)} == {(first.key, 1), (second.key, 0)}
    await outbox.hold(await outbox.take(10), "unreachable", 600)
    assert (await outbox.standing()).oldest is not None, "what waits for a sink is late"
    await outbox.release()
    assert len(await outbox.take(10)) == 2


async def test_all_that_was_there_before_is_noted_once_and_keys_can_be_noted_and_forgotten(kept: Kept) -> None:
    outbox = await ready(kept)
    await kept.put("an")
    await kept.put("binh")
    await outbox.done(await outbox.take(10))
    assert await outbox.fill() == 2
    assert {(note.name, note.key) for note in await outbox.take(10)} == {kept.key("an"), kept.key("binh")}
    await outbox.hold(await outbox.take(1), "filing_missing", 600)
    await kept.wait(1)
    await outbox.note([kept.key("an"), kept.key("chi")])
    assert await outbox.forget([kept.key("an")]) == 2
    await outbox.release()
    await outbox.note([kept.key("dung")])  # by another walker, in the same moment
    assert {(note.name, note.key) for note in await outbox.take(10)} == {
        kept.key(who) for who in ("binh", "chi", "dung")
    }


async def test_one_worker_has_it_until_it_gives_it_back_or_its_time_is_over(kept: Kept) -> None:
    outbox = await ready(kept)
    assert await outbox.lease("one", 30)
    assert await outbox.lease("one", 30)
    assert not await outbox.lease("two", 30)
    await outbox.leave("two")
    assert not await outbox.lease("two", 30)
    await outbox.leave("one")
    assert await outbox.lease("two", 30)
    await kept.wait(31)
    assert await outbox.lease("one", 30), "who was killed gives nothing back"
    assert not await outbox.lease("two", 30)


async def test_the_ledger_has_what_was_noted_last_until_it_is_forgotten(kept: Kept) -> None:
    if hasattr(kept.ledger, "prepare"):
        await kept.ledger.prepare()
        await kept.ledger.prepare()
        assert await kept.ledger.missing() == []
    ledger: Ledger = kept.ledger
    await ledger.write({"a": frozenset({"1", "2"}), "b": frozenset({"3"})})
    await ledger.write({"a": frozenset({"4"})})
    assert await ledger.read(["a", "b", "c"]) == {"a": frozenset({"4"}), "b": frozenset({"3"})}
    await ledger.forget(["a", "c"])
    assert await ledger.read(["a", "b"]) == {"b": frozenset({"3"})}
    assert await ledger.read([]) == {}


async def test_a_mark_is_there_until_it_is_removed_however_often_it_was_made(kept: Kept) -> None:
    await ready(kept)
    await kept.marks.write(["a", "b"])
    await kept.marks.write(["b", "c"])
    assert await kept.marks.read(["a", "b", "d"]) == {"a", "b"}
    await kept.marks.forget(["b", "d"])
    assert await kept.marks.read(["a", "b", "c"]) == {"a", "c"}
    many = [f"{number:064x}" for number in range(600)]
    await kept.marks.write(many)
    assert await kept.marks.read([*many, "e"]) == set(many)
    await kept.marks.forget(many)
    assert await kept.marks.read(many) == frozenset()
    assert await kept.marks.read([]) == frozenset()


async def test_what_was_sent_is_told_apart_by_sink_and_store_and_nothing_is_known_before_it_is_learned(
    kept: Kept,
) -> None:
    await ready(kept)
    sent, key = Sent("people", kept.marks), kept.key("an")
    await sent.mark("sg", [key])
    assert await sent.among("sg", [key]) is None, "who knows what was sent before"
    await sent.learned("sg")
    assert await sent.among("sg", [key, kept.key("binh")]) == frozenset({key})
    assert await sent.among("jp", [key]) is None
    assert await Sent("letters", kept.marks).among("sg", [key]) is None
    await sent.unmark("sg", [key])
    assert await sent.among("sg", [key]) == frozenset()
    await sent.doubt("sg")
    assert await sent.among("sg", [key]) is None


@pytest.mark.parametrize("kept", BACKENDS[3:], indirect=True)
async def test_a_database_prepared_before_there_were_marks_is_told_and_prepared_again(kept: Kept) -> None:
    await ready(kept)
    async with kept.outbox._engine.begin() as connection:
        await connection.execute(sa.text("DROP TABLE residency_sent"))
    assert await kept.outbox.missing() == ["residency_sent"]
    assert await kept.outbox.prepare() == ([], 0)
    assert await kept.outbox.missing() == []


@pytest.mark.parametrize("kept", BACKENDS[3:], indirect=True)
async def test_a_database_notes_bulk_statements_changed_keys_and_what_is_rolled_back_not(kept: Kept) -> None:
    outbox = await ready(kept)
    await kept.put("an")
    await kept.put("binh")
    await outbox.done(await outbox.take(10))
    engine = kept.outbox._engine
    async with engine.begin() as connection:
        await connection.execute(sa.update(PEOPLE).values(name="x"))
    assert sorted(note.key for note in await outbox.take(10)) == [kept.key("an")[1], kept.key("binh")[1]]
    await outbox.done(await outbox.take(10))
    async with engine.begin() as connection:
        await connection.execute(sa.update(PEOPLE).where(PEOPLE.c.id == "an").values(id="chi"))
        await connection.execute(sa.insert(LETTERS).values(number=1, part=2, person="binh"))
    told = {(note.name, note.key) for note in await outbox.take(10)}
    assert told == {kept.key("an"), kept.key("chi"), ("letters", '{"number":1,"part":2}')}
    await outbox.done(await outbox.take(10))
    async with engine.connect() as connection:
        await connection.execute(sa.delete(PEOPLE).where(PEOPLE.c.id == "chi"))
        await connection.rollback()
    assert await outbox.take(10) == []


@pytest.mark.parametrize("kept", BACKENDS[3:], indirect=True)
async def test_a_table_whose_triggers_are_gone_is_told_and_preparing_again_notes_its_rows_alone(kept: Kept) -> None:
    await kept.put("an")
    assert await kept.outbox.missing() == ["residency_outbox", "residency_outbox_lease", "residency_sent"]
    assert await kept.outbox.prepare() == (["people", "letters"], 1)
    assert await kept.outbox.prepare() == ([], 0)
    async with kept.outbox._engine.begin() as connection:
        on = " ON people" if kept.outbox._dialect == "postgresql" else ""
        if on:
            names = sa.text("SELECT tgname FROM pg_trigger WHERE tgrelid = 'people'::regclass AND NOT tgisinternal")
        else:
            names = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'people'")
        for name in (await connection.execute(names)).scalars().all():
            await connection.execute(sa.text(f'DROP TRIGGER "{name}"{on}'))
    assert await kept.outbox.missing() == ["people"]
    assert await kept.outbox.prepare() == (["people"], 1)
    assert await kept.outbox.prepare(fill=True) == ([], 1)
