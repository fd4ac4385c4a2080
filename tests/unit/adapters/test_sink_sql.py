"""What only a database can do wrong: URLs, locks, files that are no database, acts that may not write."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from residency.adapters.sink_sql import SqlSink
from residency.errors import SinkUnavailable, UsageError
from residency.model import Region
from residency.storage.handle import WITHOUT_ACT
from residency.wiring.records import engine_of

pytestmark = pytest.mark.anyio
REGION = Region("vn-han", "VN")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the driver runs on."""
    return "asyncio"


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[SqlSink]:
    """A started sink with one table."""
    made = SqlSink("people-vn", REGION, "sqlite:///data/people.db", base=tmp_path)
    await made.start()
    async with made.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x TEXT)"))
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url with secret-password",
        "mysql://user:secret-password@host/db",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "postgresql+asyncpg://user:secret-password@host:notaport/db",
    ],
)
def test_a_url_that_cannot_serve_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(SinkUnavailable) as caught:
        SqlSink("people-vn", REGION, url)
    assert "people-vn" in str(caught.value)
    assert "secret-password" not in str(caught.value)


@pytest.mark.parametrize(
    "query", ["pool_size=0", "pool_size=-1", "pool_timeout=x", "connect_timeout=99999", "pool_size=١"]
)
def test_a_number_in_the_url_that_is_none_is_refused_without_the_url(query: str) -> None:
    with pytest.raises(SinkUnavailable, match=f"'people-vn' has a URL whose {query.partition('=')[0]}") as caught:
        SqlSink("people-vn", REGION, f"postgresql://user:secret-password@host/db?{query}")
    assert "secret-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "clear"),
    [
        ("", True), ("?sslmode=prefer", True), ("?sslmode=disable", True), ("?sslmode=require", False),
        ("?ssl=require", False), ("?sslmode=verify-full", False),
    ],
)  # fmt: skip
def test_what_may_be_read_on_the_way_to_another_machine_is_known(query: str, clear: bool) -> None:
    for driver in ("", "+asyncpg", "+psycopg"):
        assert SqlSink("s", REGION, f"postgresql{driver}://user:secret@db.example/db{query}").in_clear == clear
        for host in ("127.0.0.2", "localhost", "[::1]", ""):
            assert not SqlSink("s", REGION, f"postgresql{driver}://user:secret@{host}/db{query}").in_clear
    assert SqlSink("s", REGION, "postgresql://db.example/db?sslmode=require", members=["postgresql://b/db"]).in_clear
    assert SqlSink("s", REGION, f"postgresql:///db?host=db.example&{query[1:]}").in_clear == clear
    assert not SqlSink("s", REGION, "postgresql:///db?host=/run/postgresql").in_clear
    assert SqlSink("s", REGION, "postgresql+psycopg:///db?host=/run/postgresql&hostaddr=192.0.2.1").in_clear


@pytest.mark.parametrize(("name", "query"), [("PGHOST", ""), ("PGSERVICE", ""), ("NOTHING", "?service=secret")])
@pytest.mark.parametrize("driver", ["", "+asyncpg", "+psycopg"])
def test_a_host_that_stands_elsewhere_than_in_the_url_is_none(
    driver: str, name: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "secret.example")
    with pytest.raises(SinkUnavailable, match="'people-vn' has a URL that names no host") as caught:
        SqlSink("people-vn", REGION, f"postgresql{driver}:///db{query}")
    assert "secret" not in str(caught.value)
    SqlSink("people-vn", REGION, f"postgresql{driver}:///db?host=/run/postgresql{query.replace('?', '&')}")


def test_what_the_url_says_of_tls_goes_along_to_other_programs() -> None:
    for driver in ("+asyncpg", "+psycopg"):
        sink = SqlSink("s", REGION, f"postgresql{driver}://user:secret@db.example/db?sslmode=verify-full")
        assert dict(sink.blocking_url.query) == {"sslmode": "verify-full", "sslrootcert": "system"}


@pytest.mark.parametrize(
    "query", ["sslmode=always", "sslmode=verify-ca", "sslmode=verify-full&sslrootcert=nowhere-secret.pem", "ssl=true"]
)
def test_a_word_about_tls_that_cannot_be_kept_is_refused_without_the_url(query: str) -> None:
    with pytest.raises(SinkUnavailable, match="'people-vn' has a URL w") as caught:
        SqlSink("people-vn", REGION, f"postgresql://user:secret@host/db?{query}")
    assert "secret" not in str(caught.value)


def test_pools_are_as_large_as_the_url_says_and_wait_as_long() -> None:
    sink = SqlSink("people-vn", REGION, "sqlite:////tmp/x.db?pool_size=2&max_overflow=0&pool_timeout=3")
    pool: Any = sink.bind(read_only=True, blocking=False).pool
    assert (pool.size(), pool._max_overflow, pool.timeout()) == (2, 0, 3)
    assert "pool_size" not in str(sink.blocking_url)


def test_postgresql_without_a_driver_is_asyncpg_and_psycopg_in_threads() -> None:
    sink = SqlSink("people-vn", REGION, "postgresql://user:secret@host/db")
    assert sink.engine.url.drivername == "postgresql+asyncpg"
    assert sink.blocking_url.drivername == "postgresql+psycopg"


def test_a_relative_path_counts_from_the_base_and_an_absolute_one_does_not(tmp_path: Path) -> None:
    for url, wanted in (("sqlite:///a.db", tmp_path / "a.db"), (f"sqlite:///{tmp_path}/b.db", tmp_path / "b.db")):
        engine = SqlSink("s", REGION, url, base=tmp_path).engine
        assert Path(engine.url.database or "") == wanted


async def test_the_file_is_made_for_this_user_alone_with_the_pragmas(sink: SqlSink, tmp_path: Path) -> None:
    assert (tmp_path / "data" / "people.db").stat().st_mode & 0o077 == 0
    async with sink.engine.connect() as connection:
        found = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout", "query_only")
        }
    assert found == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 2,
        "busy_timeout": 5000,
        "query_only": 0,
    }


async def test_an_engine_for_reading_cannot_write(sink: SqlSink) -> None:
    reading = engine_of(sink, read_only=True)
    with pytest.raises(UsageError, match="only reads") as caught:
        async with reading.begin() as connection:
            await connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": "secret"})
    assert "secret" not in str(caught.value)
    async with reading.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0


async def test_a_blocking_engine_cannot_write_either_where_it_reads(sink: SqlSink) -> None:
    def write() -> None:
        with sink.bind(read_only=True, blocking=True).execution_options(**{WITHOUT_ACT: True}).begin() as connection:
            connection.execute(text("INSERT INTO t VALUES ('x')"))

    with pytest.raises(UsageError, match="only reads"):
        await anyio.to_thread.run_sync(write)


async def test_transactions_that_read_before_they_write_wait_for_each_other(sink: SqlSink) -> None:
    async def add() -> None:
        async with sink.engine.begin() as connection:
            count = (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one()
            await anyio.lowlevel.checkpoint()
            await connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": str(count)})

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(add)
    async with sink.engine.connect() as connection:
        assert (await connection.execute(text("SELECT x FROM t ORDER BY x"))).scalars().all() == list("01234")


async def test_ping_finds_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "people.db").write_bytes(b"no database" * 1000)
    made = SqlSink("people-vn", REGION, "sqlite:///people.db", base=tmp_path)
    with pytest.raises(SinkUnavailable) as caught:
        await made.start()
    assert str(tmp_path) not in str(caught.value)
    await made.aclose()


async def test_a_sink_whose_folder_cannot_be_made_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    made = SqlSink("people-vn", REGION, "sqlite:///file/people.db", base=tmp_path)
    with pytest.raises(SinkUnavailable):
        await made.start()


async def test_a_lock_that_does_not_come_free_names_the_sink(sink: SqlSink, tmp_path: Path) -> None:
    async with sink.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(tmp_path / "data" / "people.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with sink.engine.connect() as connection:
            with pytest.raises(SinkUnavailable, match="people-vn"):
                await connection.execute(text("INSERT INTO t VALUES ('x')"))
        other.execute("ROLLBACK")


async def test_a_full_disk_names_the_sink_and_nothing_is_written(sink: SqlSink) -> None:
    async with sink.engine.connect() as connection:
        await connection.execute(text("PRAGMA max_page_count = 4"))  # as a disk that has no page more
        with pytest.raises(SinkUnavailable, match="'people-vn' cannot be read or written") as caught:
            await connection.execute(text("INSERT INTO t VALUES (:x)"), {"x": "a secret name" * 5000})
        assert "secret" not in str(caught.value)
        await connection.rollback()
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0


async def test_a_missing_table_names_the_sink_and_the_command_that_makes_it(sink: SqlSink) -> None:
    async with sink.engine.connect() as connection:
        with pytest.raises(SinkUnavailable, match=r"'people-vn' has no such table.*create-all or migrate"):
            await connection.execute(text("SELECT * FROM person"))


async def test_a_mistake_in_a_statement_stays_the_apps_own_error(sink: SqlSink) -> None:
    async with sink.engine.connect() as connection:
        with pytest.raises(OperationalError, match="syntax error") as caught:
            await connection.execute(text("SELECT * FORM t"))
    assert "on sink 'people-vn'" in caught.value.__notes__
