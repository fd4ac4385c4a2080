"""PostgreSQL over TLS, by each driver and from the loop and threads alike: as the URL says, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import anyio.to_thread
import pytest
from sqlalchemy import text

from residency.adapters.sink_sql import SqlSink
from residency.errors import SinkUnavailable
from residency.storage.handle import WITHOUT_ACT
from tests.authority import Authority
from tests.postgres import PASSWORD, Pair, Postgres, new_server, own
from tests.world import VN

pytestmark = [pytest.mark.anyio, pytest.mark.needs("postgres")]
ENCRYPTED = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
DRIVERS = ["asyncpg", "psycopg"]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop that the SQL drivers run on."""
    return "asyncio"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Authority, Authority]]:
    """A server that speaks TLS, who signed its certificate, and somebody else."""
    folder = tmp_path_factory.mktemp("tls")
    ours, other = Authority(folder, "ours"), Authority(folder, "other")
    with new_server() as server:
        server.make()
        said = {}
        for option, file in zip(("ssl_cert_file", "ssl_key_file"), ours.sign("db", server.address), strict=True):
            at = server.folder / file.name
            shutil.copy(file, at)
            own(at)
            at.chmod(0o600)
            said[option] = str(at)
        yield server.start(ssl="on", **said), ours, other


async def encrypted(sink: SqlSink) -> set[bool]:
    """Whether connections of its four engines are."""
    found = set()
    async with sink.engine.connect() as connection:
        found.add((await connection.execute(ENCRYPTED)).scalar_one())

    def ask() -> bool:
        with sink.bind(read_only=True, blocking=True).execution_options(**{WITHOUT_ACT: True}).connect() as beside:
            return bool(beside.execute(ENCRYPTED).scalar_one())

    found.add(await anyio.to_thread.run_sync(ask))
    await sink.aclose()
    return found


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_connection_is_encrypted_and_verified_as_the_url_says(
    guarded: tuple[Postgres, Authority, Authority], driver: str
) -> None:
    server, ours, _ = guarded
    url = server.url(driver, "postgres")
    for query, wanted in (
        ("sslmode=disable", False),
        ("sslmode=require", True),
        (f"sslmode=verify-ca&sslrootcert={ours.file}", True),
        (f"sslmode=verify-full&sslrootcert={ours.file.name}", True),
    ):
        sink = SqlSink("people-vn", VN, f"{url}?{query}", base=ours.folder)
        await sink.start()
        assert await encrypted(sink) == {wanted}, query
    if driver == "asyncpg":  # its own word
        assert await encrypted(SqlSink("people-vn", VN, f"{url}?ssl=require")) == {True}


@pytest.mark.parametrize("driver", DRIVERS)
async def test_who_cannot_show_who_they_are_is_sent_nothing(
    guarded: tuple[Postgres, Authority, Authority], driver: str
) -> None:
    server, _, other = guarded
    for query in (f"sslmode=verify-ca&sslrootcert={other.file}", "sslmode=verify-full"):
        sink = SqlSink("people-vn", VN, f"{server.url(driver, 'postgres')}?{query}")
        with pytest.raises(SinkUnavailable, match="sink 'people-vn' cannot be reached") as caught:
            await sink.start()
        assert server.address not in str(caught.value)
        with pytest.raises(SinkUnavailable):
            await anyio.to_thread.run_sync(sink.bind(read_only=False, blocking=True).connect)
        await sink.aclose()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_server_that_speaks_no_tls_is_no_sink_that_needs_it(postgres: Pair, driver: str) -> None:
    sink = SqlSink("people-vn", VN, f"{postgres.vn.url(driver, 'postgres')}?sslmode=require")
    with pytest.raises(SinkUnavailable, match="sink 'people-vn' cannot be reached") as caught:
        await sink.start()
    assert PASSWORD not in str(caught.value)
    with pytest.raises(SinkUnavailable):
        await anyio.to_thread.run_sync(sink.bind(read_only=False, blocking=True).connect)
    await sink.aclose()
