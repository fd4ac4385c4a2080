"""Copies made in the background of a process that serves: of rows, of objects, on PostgreSQL, and what metrics tell."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from residency.adapters.outbox_objects import RESERVED
from residency.bootstrap import Residency, build
from residency.cli.copies import copies_app
from residency.enforcement.ports import ObjectSink
from residency.errors import SinkUnavailable, UsageError
from residency.storage.stores import RowSink
from tests.copies_world import TEXT, change, copies_world, pin, result, rows
from tests.upkeep_world import run as run_app

pytestmark = pytest.mark.anyio
OBJECTS = """
sinks:
  vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "file://files-vn"}
  sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "file://files-sg"}
stores: {files: [vn, sg]}
copies: {files: {to: sg, withdraw: true}}
records:
  files:
    "users/{subject}/": {data: [personal]}
registers: [register.yaml]
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {name: files, route: "POST /files", subject: app, data: [personal], store: files}
"""


@asynccontextmanager
async def serving(file: Path, **options: Any) -> AsyncIterator[Residency]:
    """The runtime of a process that serves."""
    runtime = build(file, **options)
    try:
        await runtime.start()
        yield runtime
    finally:
        await runtime.aclose()


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for it, at most half a minute."""
    with anyio.fail_after(30):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await anyio.sleep(0.05)


async def prepared(file: Path) -> None:
    """As an operator does it, in a thread."""
    code, output = await anyio.to_thread.run_sync(lambda: run_app(copies_app, "prepare", str(file)))
    assert code == 0, output


async def test_a_process_does_not_serve_before_its_sinks_note_every_change(tmp_path: Path) -> None:
    file = await anyio.to_thread.run_sync(copies_world, tmp_path)
    runtime = build(file)
    try:
        with pytest.raises(SinkUnavailable, match="sink 'vn' is not prepared for the copies of 'people'"):
            await runtime.start()
        assert not runtime.is_ready
        await prepared(file)
        await runtime.start()
        assert runtime.is_ready
    finally:
        await runtime.aclose()
    with sqlite3.connect(tmp_path / "vn.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()[:1]:
            db.execute(f"DROP TRIGGER {name}")
    db.close()
    with pytest.raises(SinkUnavailable, match="people"):
        async with serving(file):
            pass


async def test_what_anybody_writes_at_home_is_copied_and_withdrawn_when_the_dossier_fails(tmp_path: Path) -> None:
    file = await anyio.to_thread.run_sync(copies_world, tmp_path)
    await prepared(file)
    async with serving(file) as runtime:
        await anyio.to_thread.run_sync(change, tmp_path, "vn", "INSERT INTO people VALUES ('an', 'canary', NULL)")
        await until(lambda: rows(tmp_path, "sg") == [("an", "canary")])
        result(tmp_path, "failed")
        await until(lambda: rows(tmp_path, "sg") == [])
        await anyio.to_thread.run_sync(change, tmp_path, "vn", "UPDATE people SET name = 'later'")
        await until(lambda: runtime.facts.current().filings[0].result != "passed")
        worker: Any = runtime.copies._worker
        await until(lambda: rows(tmp_path, "vn", "SELECT halted FROM residency_outbox")[:1] == [("filing_missing",)])
        await worker.look(worker.stores[0])
        page = (await anyio.to_thread.run_sync(runtime.render_metrics))[0].decode()
        assert 'residency_copy_halted{reason="filing_missing",sink="vn",store="people"}' in page
        line = next(each for each in page.splitlines() if each.startswith("residency_copy_lag_seconds{"))
        assert line.endswith(" 0.0"), "nothing is late that may not go"
        result(tmp_path, "passed")
        await until(lambda: rows(tmp_path, "sg") == [("an", "later")])
        await until(lambda: rows(tmp_path, "vn", "SELECT count(*) FROM residency_outbox") == [(0,)])


async def test_who_is_being_moved_is_not_copied_meanwhile_and_an_instance_elsewhere_copies_nothing(
    tmp_path: Path,
) -> None:
    file = await anyio.to_thread.run_sync(copies_world, tmp_path)
    await prepared(file)
    async with serving(file) as runtime:
        old = await runtime.point.homes.fetch(runtime.point.perception.digest("an"))
        assert old is not None
        await runtime.point.homes.pins.put(replace(old, moving="SG", version=2))
        await anyio.to_thread.run_sync(
            change, tmp_path, "vn", "INSERT INTO people VALUES ('an', 'canary', NULL), ('binh', 'canary-binh', NULL)"
        )
        await until(lambda: rows(tmp_path, "sg") == [("binh", "canary-binh")])
        await runtime.point.homes.pins.put(replace(old, version=3))
        await until(lambda: len(rows(tmp_path, "sg")) == 2)
    file.write_text(file.read_text().replace("audit: {folder: ./audit}", "audit: {folder: ./audit, region: sg}"))
    async with serving(file) as runtime:
        worker: Any = runtime.copies._worker
        assert [store.copiers for store in worker.stores] == [()]


async def test_objects_are_copied_noted_before_and_after_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    file = await anyio.to_thread.run_sync(lambda: copies_world(tmp_path, text=OBJECTS))
    await prepared(file)
    async with serving(file) as runtime:
        home, abroad = runtime.stores.sinks_of("files")
        assert isinstance(home, ObjectSink)
        assert isinstance(abroad, ObjectSink)
        large = bytes(range(256)) * 8192  # too large to be held
        await home.put("users/an/cv", b"canary", "text/plain")
        await home.put("users/an/film", large)
        await home.put("nobody", b"nobody's")

        async def same(key: str, value: bytes | None) -> bool:
            return await abroad.get(key) == value

        await until(lambda: same("users/an/cv", b"canary"))
        await until(lambda: same("users/an/film", large))
        meta = await abroad.head("users/an/cv")
        assert meta is not None
        assert meta.content_type == "text/plain"
        assert [meta.key async for meta in home.list()] == ["nobody", "users/an/cv", "users/an/film"]
        assert [meta.key async for meta in abroad.list()] == ["users/an/cv", "users/an/film"]
        with pytest.raises(UsageError):
            await home.put(f"{RESERVED}mine", b"")
        upload = await home.upload("users/an/cv")
        await upload.write(b"other")
        await upload.commit()
        await until(lambda: same("users/an/cv", b"other"))
        await home.delete("users/an/film")
        await until(lambda: same("users/an/film", None))
        await home.put("users/an/kept", b"stays")
        await home.put("users/an/old", b"expires")
        await until(lambda: same("users/an/old", b"expires"))
        plain: ObjectSink = home.plain  # type: ignore[attr-defined]  # past what notes
        await plain.delete("users/an/old")
        code, output = await anyio.to_thread.run_sync(lambda: run_app(copies_app, "run", str(file), "--once", "--go"))
        assert code == 0, output
        assert await same("users/an/old", None), "the bucket's own rule has expired it at home"
        assert await same("users/an/kept", b"stays")
        result(tmp_path, "failed")
        await until(lambda: same("users/an/cv", None))


@pytest.mark.needs("postgres")
async def test_what_becomes_visible_late_is_copied_and_what_is_rolled_back_never(tmp_path: Path, postgres: Any) -> None:
    urls = [server.url("asyncpg", server.database()) for server in (postgres.vn, postgres.sg)]
    text = TEXT.replace("sqlite:///./vn.db", urls[0]).replace("sqlite:///./sg.db", urls[1])
    file = await anyio.to_thread.run_sync(lambda: copies_world(tmp_path, text=text))
    tables = (
        "CREATE TABLE people (id text PRIMARY KEY, name text, phone text)",
        "CREATE TABLE letters (id uuid PRIMARY KEY, person text REFERENCES people (id) ON DELETE CASCADE, text text)",
    )
    plain = build(file, reload=False)
    try:
        for sink in plain.stores.sinks_of("people"):
            assert isinstance(sink, RowSink)
            async with sink.engine.begin() as connection:  # type: ignore[attr-defined]  # of SQLAlchemy
                for table in tables:
                    await connection.execute(sa.text(table))
    finally:
        await plain.stores.aclose()
    await prepared(file)
    async with serving(file) as runtime:
        home, abroad = (sink.engine for sink in runtime.stores.sinks_of("people"))  # type: ignore[attr-defined]  # as above

        async def there(query: str = "SELECT id FROM people ORDER BY id") -> list[Any]:
            async with abroad.connect() as connection:
                return list((await connection.execute(sa.text(query))).scalars())

        async def are(*wanted: str) -> bool:
            return await there() == list(wanted)

        late, never = await home.connect(), await home.connect()
        await late.execute(sa.text("INSERT INTO people VALUES ('an', 'late', NULL)"))
        await never.execute(sa.text("INSERT INTO people VALUES ('never', 'canary', NULL)"))
        async with home.begin() as connection:
            await connection.execute(sa.text("INSERT INTO people VALUES ('binh', 'x', NULL)"))
            await connection.execute(sa.text("INSERT INTO letters VALUES (gen_random_uuid(), 'binh', 'hi')"))
        await until(lambda: are("binh"))
        await late.commit()
        await never.rollback()
        await late.close()
        await never.close()
        await until(lambda: are("an", "binh"))
        async with home.begin() as connection:
            await connection.execute(sa.text("UPDATE people SET phone = '1'"))
            await connection.execute(sa.text("DELETE FROM people WHERE id = 'binh'"))  # and letters with it
        await until(lambda: are("an"))
        assert await there("SELECT text FROM letters") == []
        async with home.begin() as connection:
            await connection.execute(sa.text("TRUNCATE people CASCADE"))
        await until(lambda: are())


async def test_pins_that_change_are_followed(tmp_path: Path) -> None:
    file = await anyio.to_thread.run_sync(copies_world, tmp_path)
    await prepared(file)
    async with serving(file) as runtime:
        await pin(runtime, "an", "SG", f"{0:032x}", 2)
        await anyio.to_thread.run_sync(
            change, tmp_path, "vn", "INSERT INTO people VALUES ('an', 'a', NULL), ('binh', 'b', NULL)"
        )
        await until(lambda: rows(tmp_path, "sg") == [("binh", "b")])
        await until(lambda: rows(tmp_path, "vn", "SELECT halted FROM residency_outbox") == [("not_at_home",)])
