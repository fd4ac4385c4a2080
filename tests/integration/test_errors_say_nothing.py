"""What each adapter raises of a server that refuses us, is away or is not prepared: the sink's name, never where it is.

A traceback prints the whole chain, so the whole chain is looked through. And each error says whether waiting helps.
"""

from __future__ import annotations

import json
import sqlite3
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from residency.adapters.forward import Forward
from residency.adapters.locator_redis import LocatorRedis
from residency.adapters.pins_redis import PinsRedis
from residency.adapters.resolver_table import TableResolver
from residency.adapters.service_client import open_client
from residency.adapters.sink_files import FilesSink
from residency.adapters.sink_http import HttpSink
from residency.adapters.sink_members import ObjectMembers
from residency.adapters.sink_objects import BucketSink
from residency.adapters.sink_sql import SqlSink
from residency.cli.app import app_for
from residency.errors import Unavailable
from residency.storage.lasting import is_lasting
from residency.storage.services import ServiceRequest
from tests.cache_world import redis_sink_at
from tests.object_store import StubS3
from tests.ports import free_port
from tests.postgres import PASSWORD, USER, Pair
from tests.servers import Servers
from tests.world import VN, write_deployment

pytestmark = pytest.mark.anyio
WRONG = "quite-the-wrong-word-0815"
NOBODY = "nobody-of-that-name"
DRIVERS = ("asyncpg", "psycopg")
Failing = Callable[[], Awaitable[object]]


@pytest.fixture
def nowhere() -> int:
    """A port that nobody listens on."""
    return free_port()


async def fails(call: Failing, name: str, *secrets: object, stays: bool) -> str:
    """What `call` raises: it names `name`, tells none of `secrets`, and is one that no wait mends if it `stays`."""
    with pytest.raises(Unavailable) as caught:
        await call()
    error = caught.value
    said = "".join(traceback.format_exception(error, chain=True)) + repr(error)
    # Lines of source that a traceback quotes are not what is looked for.
    said = "\n".join(line for line in said.splitlines() if not line.startswith("    "))
    for secret in (PASSWORD, WRONG, NOBODY, "127.0.0", *map(str, secrets)):
        assert secret not in said, (secret, said)
    assert name in str(error)
    assert is_lasting(error) == stays, str(error)
    return str(error)


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_postgresql_that_refuses_is_away_or_has_no_tables(driver: str, postgres: Pair, nowhere: int) -> None:
    database = postgres.vn.database()
    where = (database, postgres.vn.port, USER + "@", f"user={USER}", f'"{USER}"')

    def sink(url: str) -> SqlSink:
        return SqlSink("people-vn", VN, url)

    right = postgres.vn.url(driver, database)
    for url, word in (
        (postgres.vn.url(driver, database, password=WRONG), "credentials"),
        (right.replace(f"//{USER}:", f"//{NOBODY}:"), "credentials"),
        (postgres.vn.url(driver, NOBODY.replace("-", "_")), "no database"),
    ):
        for made in (sink(url), sink(url)):
            assert word in await fails(made.start, "'people-vn'", *where, NOBODY.replace("-", "_"), stays=True)
            assert word in await fails(made.marks, "'people-vn'", *where, stays=True)

            async def blocking(made: SqlSink = made) -> None:
                with made.bind(read_only=False, blocking=True).connect():
                    pass

            assert word in await fails(blocking, "'people-vn'", *where, stays=True)
            await made.aclose()
    away = sink(postgres.vn.url(driver, database, port=nowhere))
    await fails(away.start, "'people-vn'", *where, nowhere, stays=False)
    await away.aclose()
    bare = sink(right)

    async def ask(statement: str) -> None:
        async with bare.engine.connect() as connection:
            await connection.execute(text(statement))

    await fails(lambda: ask("SELECT * FROM person"), "'people-vn'", *where, stays=True)
    await fails(lambda: ask("SELECT * FROM hidden.person"), "'people-vn'", *where, stays=True)
    await bare.aclose()


async def test_a_sqlite_that_is_no_database_or_has_no_tables(tmp_path: Path) -> None:
    (tmp_path / "ruined.db").write_bytes(b"no database at all" * 500)
    ruined = SqlSink("people-vn", VN, f"sqlite:///{tmp_path}/ruined.db")
    await fails(ruined.start, "'people-vn'", tmp_path, "ruined", stays=True)
    await ruined.aclose()
    bare = SqlSink("people-vn", VN, f"sqlite:///{tmp_path}/bare.db")
    await bare.start()

    async def ask() -> None:
        async with bare.engine.connect() as connection:
            await connection.execute(text("SELECT * FROM person"))

    await fails(ask, "'people-vn'", tmp_path, "bare.db", stays=True)
    await bare.aclose()


async def pins(url: str) -> object:
    """Pins at this URL, which waits for the first answer in its thread."""
    return await anyio.to_thread.run_sync(lambda: PinsRedis(url, timeout=0.2))


@pytest.mark.needs("redis")
async def test_a_redis_that_refuses_or_is_away(tmp_path: Path, redis_servers: Servers, nowhere: int) -> None:
    server = redis_servers.single("redis", "--requirepass", PASSWORD, wait=False)
    for login in ("", f":{WRONG}@", f"{NOBODY}:{WRONG}@"):
        url = server.url.replace("//", "//" + login)
        sink = redis_sink_at(tmp_path, url, scope="primary")
        await fails(sink.start, "'cache-vn'", server.port, stays=True)
        await fails(lambda sink=sink: sink.fetch([b"k"]), "'cache-vn'", server.port, stays=True)  # type: ignore[misc]
        await sink.aclose()
        locator = LocatorRedis(url, deployment="d", place="VN")
        await fails(lambda locator=locator: locator.owners(["ab" * 32]), "VN", server.port, stays=False)  # type: ignore[misc]
        await locator.aclose()
        await fails(lambda url=url: pins(url), "", server.port, stays=False)  # type: ignore[misc]
    away = f"redis://{NOBODY}:{WRONG}@127.0.0.1:{nowhere}"
    sink = redis_sink_at(tmp_path, away, scope="primary")
    await fails(sink.start, "'cache-vn'", nowhere, stays=False)
    await sink.aclose()
    for several in ("redis+cluster", "redis+sentinel"):
        path = "/primary/0" if several == "redis+sentinel" else ""
        sink = redis_sink_at(tmp_path, away.replace("redis", several, 1) + path, scope="primary")
        await fails(sink.start, "'cache-vn'", nowhere, stays=False)
        await sink.aclose()
    locator = LocatorRedis(away, deployment="d", place="VN")
    await fails(lambda: locator.owners(["ab" * 32]), "VN", nowhere, stays=False)
    await locator.aclose()
    await fails(lambda: pins(away), "", nowhere, stays=False)


async def test_a_bucket_that_refuses_or_is_away(nowhere: int) -> None:
    login = f"s3://{NOBODY}:{WRONG}@bucket-vn?region=vn-1&timeout="
    away = BucketSink("objects", VN, f"{login}1&endpoint=http://127.0.0.1:{nowhere}")
    refusing = StubS3()
    try:
        refusing.bend = lambda method, key: 403
        refused = BucketSink("objects", VN, f"{login}30&endpoint={refusing.endpoint}")
        for sink, where, stays in ((away, nowhere, False), (refused, refusing.endpoint, True)):
            calls: list[Failing] = [
                sink.start,
                lambda sink=sink: sink.put("a", b"1"),  # type: ignore[misc]
                lambda sink=sink: sink.get("a"),  # type: ignore[misc]
                lambda sink=sink: anext(sink.list()),  # type: ignore[misc]
            ]
            for call in calls:
                await fails(call, "'objects'", where, "bucket-vn", stays=stays)
    finally:
        refusing.close()


async def test_a_folder_that_may_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    sink = FilesSink("objects", VN, tmp_path / "file" / "folder")
    await fails(sink.start, "'objects'", tmp_path, stays=True)
    both = ObjectMembers("objects", VN, [sink, FilesSink("objects", VN, tmp_path / "file" / "other")])
    await fails(both.start, "'objects'", tmp_path, stays=True)


async def test_a_service_and_an_instance_that_are_away(nowhere: int) -> None:
    sink = HttpSink(
        "llm", VN, f"http://{NOBODY}:{WRONG}@127.0.0.1:{nowhere}/v1/", resolver=TableResolver({}), client=open_client
    )
    await fails(sink.ping, "'llm'", nowhere, stays=False)
    request = ServiceRequest("GET", "x", (), nothing())
    await fails(lambda: sink.send(request, lambda: None), "'llm'", nowhere, stays=False)
    await sink.aclose()
    scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": []}

    messages = [{"type": "http.request"}]  # as a server begins, whether there is a body or not

    async def stays() -> dict[str, Any]:
        if not messages:
            await anyio.sleep_forever()
        return messages.pop()

    async def connects() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    url = f"http://127.0.0.1:{nowhere}/x"
    await fails(lambda: Forward().http(scope, stays, send, url, []), "instance", nowhere, stays=False)
    socketed = {"type": "websocket", "subprotocols": [], "headers": []}
    await fails(lambda: Forward().websocket(socketed, connects, send, url, []), "instance", nowhere, stays=False)


async def nothing() -> AsyncIterator[bytes]:
    """A body without a byte."""
    return
    yield b""  # makes this a generator


MOVED = """
sinks:
  rows-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "sqlite:///./sg.db"}
  rows-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, in_transit: false, url: "URL"}
stores: {people: [rows-sg, rows-vn]}
records:
  people: {people: {subject: id, data: [personal]}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "sqlite:///./pins.db"}
activities:
  - {route: "POST /people", subject: app, data: [personal], store: people}
"""


def moved(folder: Path, url: str) -> tuple[int, str]:
    """`residency move --go` of a few people."""
    write_deployment(folder, MOVED.replace("URL", url))
    with closing(sqlite3.connect(folder / "sg.db")) as database, database:
        database.execute("CREATE TABLE people (id TEXT PRIMARY KEY)")
        database.execute("INSERT INTO people VALUES ('p1')")
    (folder / "known.jsonl").write_text(json.dumps({"subject": "p1", "residence": "VN"}) + "\n")
    words = ["move", str(folder / "test.yaml"), "--go", "--known", str(folder / "known.jsonl")]
    result = CliRunner().invoke(app_for(words), words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_move_into_a_sink_that_is_not_prepared_ends_at_once(tmp_path: Path) -> None:
    code, said = moved(tmp_path, "sqlite:///./vn.db")
    assert code == 2
    assert "sink 'rows-vn' has no table 'people'" in said
    assert "tried again" not in said


@pytest.mark.needs("postgres")
def test_a_move_with_wrong_credentials_ends_at_once_and_says_whose(tmp_path: Path, postgres: Pair) -> None:
    code, said = moved(tmp_path, postgres.vn.url("asyncpg", "postgres", password=WRONG))
    assert code == 2
    assert "sink 'rows-vn' does not accept the credentials in its URL" in said
    assert "tried again" not in said
    assert WRONG not in said
