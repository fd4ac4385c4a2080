"""What moves between sinks one of which gets copies loses no more than what moves between others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from residency.bootstrap import Residency, build
from residency.errors import UsageError
from residency.wiring.copies import outboxes_of, stores_of
from residency.wiring.copies_still import legs_between
from tests.copies_world import change, copies_world


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Residency]:
    """A runtime that makes no copies itself."""
    runtime = build(file, reload=False)
    runtime.copies.works = False
    await anyio.to_thread.run_sync(runtime.open)
    try:
        yield runtime
    finally:
        await runtime.aclose()


def test_rows_that_nobody_tells_of_go_with_no_move_into_or_out_of_a_sink_of_copies(tmp_path: Path) -> None:
    file = copies_world(tmp_path)
    change(tmp_path, "sg", "CREATE TABLE badges (person TEXT REFERENCES people (id) ON DELETE SET NULL)")

    async def look() -> None:
        async with opened(file) as runtime:
            vn, sg = runtime.stores.sinks_of("people")
            with pytest.raises(UsageError, match="'badges'"):
                await legs_between(runtime, "people", sg, vn)

    anyio.run(look)


def test_nobody_copies_while_records_are_put_where_copies_go_and_no_copy_is_left_there(tmp_path: Path) -> None:
    file = copies_world(tmp_path)
    change(tmp_path, "vn", "INSERT INTO people VALUES ('an', 'An', '1'), ('binh', 'Binh', '2')")

    async def look() -> None:
        async with opened(file) as runtime:
            vn, sg = runtime.stores.sinks_of("people")
            for _, _, outbox, ledger in outboxes_of(runtime.deployment, runtime.stores, runtime.clock):
                for each in (outbox, ledger):
                    await each.prepare() if each is not None else None
            (store,) = stores_of(runtime, everywhere=True)
            (copier,) = store.copiers
            (copied,) = (target.copied for target in store.targets)
            rows = [record async for record in copier.records.read(("an", "binh"))]
            await copied.put([(row, None) for row in rows], copier.records)
            (source, target), clear = await legs_between(runtime, "people", vn, sg)
            cargo = await source.load(["an"])
            assert await copier.outbox.lease("a worker", 30)
            begun = list[str]()

            async def put() -> None:
                await target.put(cargo)
                begun.append("put")

            async with anyio.create_task_group() as group:
                group.start_soon(put)
                await anyio.sleep(0.1)
                assert begun == [], "while a worker has the outbox"
                await copier.outbox.leave("a worker")
            assert (await target.take(["an"])).keys("an") == {("people", '{"id":"an"}')}
            assert await copier.outbox.lease("a worker", 30), "given back"
            await copier.outbox.leave("a worker")
            assert await clear(["an", "binh"]) == {"binh"}
            assert [row.key async for row in copied.records.read(("binh",))] == []
            _, away = await legs_between(runtime, "people", sg, vn)
            assert await away(["an"]) == frozenset()

    anyio.run(look)
