"""For tests: an app under load over real stores in two countries, and the search of everything abroad afterwards.

Home lies on 127.0.0.2, abroad on 127.0.0.3; each has a PostgreSQL, an S3 server, a Redis and a model of its own. People
at home leave canaries in every request; they hurry, hang up, come twice and meet stores that are away.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import random
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn
from sqlalchemy import String, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.authentication import SimpleUser
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from residency import ResidencyMiddleware, current, sql
from tests.leaks import Found, Wire, canary, search, search_path
from tests.object_store import APP_ACCESS, APP_SECRET, Seaweed
from tests.postgres import Pair
from tests.servers import Server
from tests.services import Service
from tests.world import HANOI, SINGAPORE, write_deployment

__all__ = ["ABROAD", "HOME", "Places", "Soak"]

HOME, ABROAD = "127.0.0.2", "127.0.0.3"
LAW = """
  - id: test.home
    article: art. 1
    text: At home only.
    applies: {anchor: territory, data: personal}
    duty: {only: VN}
"""
DEPLOYMENT = """
sinks:
  people-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "ROWS_SG"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "ROWS_VN"}
  files-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "FILES_SG"}
  files-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "FILES_VN"}
  cache-sg: {region: sg, provider: SG, keys: SG, encrypted: true, scope: cache, url: "CACHE_SG"}
  cache-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, scope: cache, url: "CACHE_VN"}
  model-sg: {region: sg, provider: SG, keys: SG, encrypted: true, url: "MODEL_SG"}
  model-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "MODEL_VN"}
stores:
  people: [people-sg, people-vn]
  files: [files-sg, files-vn]
  cache: [cache-sg, cache-vn]
  model: [model-sg, model-vn]
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [127.0.0.0/8]}
  identity: {user: verified}
audit: {folder: ./abroad/audit, detail: {VN: ./home/detail}}
keys: {folder: ./home/keys}
pins: {url: "sqlite:///./home/pins.db"}
metrics: /metrics
activities:
  - {route: "POST /people", subject: user, data: [personal], store: [people, files, cache]}
  - {route: "GET /people", subject: user, data: [personal], store: [people, files, cache]}
  - {route: "PUT /people", subject: user, data: [personal], store: [people]}
  - {route: "DELETE /people", subject: user, data: [personal], store: [people, files]}
  - {route: "POST /ask", subject: user, data: [personal], operation: process, http: model}
  - {route: "POST /late", subject: app, data: [personal], store: people}
"""


class Base(DeclarativeBase):
    """The app's tables."""


class Person(Base):
    """What is kept of a person; `name` is not the id of anybody."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    who: Mapped[str] = mapped_column(String, index=True)
    name: Mapped[str] = mapped_column(String, index=True)


People = sql.async_sessionmaker("people", expire_on_commit=False)


async def create(request: Request) -> Response:
    """Keep a person's row, file and cache entry."""
    told = await request.json()
    here = current()
    async with People.begin() as session:
        session.add(Person(id=str(uuid.uuid4()), who=request.user.display_name, name=told["name"]))
        if told.get("slow"):
            await session.flush()
            await asyncio.sleep(told["slow"])
        if told.get("undo"):
            raise RuntimeError("the app fails on its own")
    await here.store("files").put(f"{uuid.uuid4()}.txt", told["name"].encode() * 20)
    await here.store("cache").set(f"profile-{uuid.uuid4()}", told["name"].encode())
    return JSONResponse({"sink": here.store("people").sink_name}, background=BackgroundTask(note, told["name"]))


async def note(name: str) -> None:
    """A background task that writes, too."""
    async with People.begin() as session:
        session.add(Person(id=str(uuid.uuid4()), who="background", name=name))


async def show(request: Request) -> Response:
    """All that there is of the person."""
    async with People() as session:
        found = (await session.scalars(select(Person).where(Person.who == request.user.display_name))).all()
    return JSONResponse({"names": [person.name for person in found], "sink": current().store("people").sink_name})


async def change(request: Request) -> Response:
    """Change all rows of the person, each in a task of its own."""
    told = await request.json()

    async def one() -> None:
        async with People.begin() as session:
            for person in await session.scalars(select(Person).where(Person.who == request.user.display_name)):
                person.name = told["name"]

    await asyncio.gather(asyncio.create_task(one()), asyncio.create_task(one()))
    return JSONResponse({})


async def remove(request: Request) -> Response:
    """Take one row away."""
    async with People.begin() as session:
        person = await session.scalar(select(Person).where(Person.who == request.user.display_name).limit(1))
        if person is not None:
            await session.delete(person)
    return JSONResponse({})


async def ask(request: Request) -> Response:
    """Ask a model about the person."""
    told = await request.json()
    async with current().http("model") as client:
        answer = await client.post("/chat", json={"prompt": told["name"], "as": "user"})
    return JSONResponse({"status": answer.status_code})


async def late(request: Request) -> Response:
    """A person who is known only in the handler."""
    told = await request.json()
    await current().identify(told["who"], {}, verified=False)
    async with People.begin() as session:
        session.add(Person(id=str(uuid.uuid4()), who=told["who"], name=told["name"]))
    return JSONResponse({})


ROUTES = [
    Route("/people", create, methods=["POST"]),
    Route("/people", show, methods=["GET"]),
    Route("/people", change, methods=["PUT"]),
    Route("/people", remove, methods=["DELETE"]),
    Route("/ask", ask, methods=["POST"]),
    Route("/late", late, methods=["POST"]),
]


@dataclass
class Places:
    """The real servers, two of each kind."""

    rows: Pair
    files: dict[str, Seaweed]
    caches: dict[str, Server]
    models: dict[str, Service]


@dataclass
class Soak:
    """One app over these servers; `run` loads it, `found_abroad` searches what lies abroad."""

    folder: Path
    places: Places
    wire: Wire
    seed: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    page: bytes = b""

    def __post_init__(self) -> None:
        (self.folder / "abroad").mkdir(parents=True)
        (self.folder / "home").mkdir()
        self.log = self.folder / "abroad" / "app.log"
        self.databases = {"vn": self.places.rows.vn.database(), "sg": self.places.rows.sg.database()}
        urls = {}
        for place in ("vn", "sg"):
            server = getattr(self.places.rows, place)
            urls[f"ROWS_{place.upper()}"] = server.url("asyncpg", self.databases[place])
            seaweed = self.places.files[place]
            assert seaweed.ask("PUT", "/soak").status_code in (200, 409)
            keys = f"{APP_ACCESS}:{quote(APP_SECRET, safe='')}"
            urls[f"FILES_{place.upper()}"] = f"s3://{keys}@soak/?region=us-east-1&endpoint={seaweed.endpoint}&timeout=5"
            urls[f"CACHE_{place.upper()}"] = self.places.caches[place].url
            urls[f"MODEL_{place.upper()}"] = self.places.models[place].url
        text = DEPLOYMENT
        for name, url in urls.items():
            text = text.replace(name, url)
        self.file = write_deployment(
            self.folder / "policy",
            text.replace("./abroad", str(self.folder / "abroad")).replace("./home", str(self.folder / "home")),
            [LAW],
        )
        asyncio.run(self._tables())

    async def _tables(self) -> None:
        for place, database in self.databases.items():
            engine = create_async_engine(getattr(self.places.rows, place).url("asyncpg", database))
            async with engine.begin() as connection:
                await connection.run_sync(Base.metadata.create_all)
            await engine.dispose()

    # -- the load ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """The app under uvicorn, in a thread; every log line of the process goes to a file abroad."""
        inner = ResidencyMiddleware(Starlette(routes=ROUTES), policy=self.file)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                who = dict(scope["headers"]).get(b"x-who", b"").decode()
                scope = {**scope, "user": SimpleUser(who)}
            await inner(scope, receive, send)

        handler = logging.FileHandler(self.log)
        handler.setLevel(logging.DEBUG)
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        config = uvicorn.Config(app, port=0, log_config=None, proxy_headers=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise AssertionError(self.log.read_text()[-2000:])
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            root.removeHandler(handler)
            root.setLevel(level)
            handler.close()

    def run(self, seconds: float) -> None:
        """Load the app for so long, then let it end, and keep its page of metrics."""
        with self.serving() as url:
            asyncio.run(self._load(url, seconds))
            self.page = httpx.get(f"{url}/metrics", timeout=10).content

    async def _load(self, url: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        async with httpx.AsyncClient(base_url=url, timeout=15, limits=httpx.Limits(max_connections=40)) as client:
            people = [self._person(client, number, end) for number in range(24)]
            await asyncio.gather(*people, self._trouble(end))

    async def _person(self, client: httpx.AsyncClient, number: int, end: float) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        at_home = number % 3 != 0
        count = 0
        while time.monotonic() < end:
            count += 1
            who = f"{'an' if at_home else 'lee'}-{number}-{chance.randrange(40)}"
            name = canary(number * 1_000_000 + count) if at_home else f"Somebody abroad {number}-{count}"
            headers = {"x-forwarded-for": HANOI if at_home else SINGAPORE, "x-who": who}
            method, path, body = self._asked(chance, who, name)
            hurry = chance.choice((None, None, None, 0.002, 0.01, 0.05))
            try:
                async with asyncio.timeout(hurry):
                    answer = await client.request(method, path, headers=headers, content=body)
            except (TimeoutError, httpx.HTTPError):
                self.answers["hung up"] += 1
                continue
            self.answers[f"{'home' if at_home else 'abroad'} {method} {path} {answer.status_code}"] += 1
            self._judge(at_home, answer)

    @staticmethod
    def _asked(chance: random.Random, who: str, name: str) -> tuple[str, str, bytes]:
        method, path = chance.choice(
            (("POST", "/people"), ("POST", "/people"), ("GET", "/people"), ("PUT", "/people"), ("DELETE", "/people"),
             ("POST", "/ask"), ("POST", "/late"))
        )  # fmt: skip
        told: dict[str, object] = {"name": name, "who": who}
        if path == "/people" and method == "POST":
            told |= {"slow": chance.choice((0, 0, 0, 0.02)), "undo": chance.random() < 0.1}
        return method, path, b"" if method in ("GET", "DELETE") else json.dumps(told).encode()

    def _judge(self, at_home: bool, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            return
        sink = answer.json().get("sink", "")
        if sink and sink.endswith("-sg") is at_home:
            self.wrong.append(f"{'home' if at_home else 'abroad'} was served from {sink}")

    async def _trouble(self, end: float) -> None:
        """Each kind of server at home goes away for a while, in turn: nobody may be served abroad instead."""
        chance = random.Random(self.seed)
        while time.monotonic() < end - 3:
            await asyncio.sleep(1.0)
            what: Any = chance.choice((self.places.files["vn"], self.places.caches["vn"], self.places.caches["sg"]))
            what.pause()
            await asyncio.sleep(0.5)
            what.resume()

    # -- the search ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have every server abroad write what it holds to its disk."""
        self.places.rows.sg.query("CHECKPOINT")
        self.places.caches["sg"].client.save()

    def found_abroad(self) -> tuple[list[Found], dict[str, int]]:
        """(every canary that lies or lay abroad, how many bytes were searched of what)."""
        found: list[Found] = []
        searched: dict[str, int] = {}

        def take(what: str, answer: tuple[list[Found], int]) -> None:
            found.extend(answer[0])
            searched[what] = answer[1]

        take("PostgreSQL: tables, free space, write-ahead log", search_path(self.places.rows.sg.folder))
        take("S3: volumes and index", search_path(self.places.files["sg"].folder))
        take("Redis: its dump and log", search_path(self.places.caches["sg"].folder))
        take("audit log, journals, archive", search_path(self.folder / "abroad" / "audit"))
        take("log of the app", search_path(self.log))
        take("page of metrics", (list(search(self.page, "metrics")), len(self.page)))
        take("wire: to and from abroad", self.wire.search(ABROAD))
        return found, searched

    def found_at_home(self) -> dict[str, int]:
        """How many canaries lie in each store at home: what is not there cannot be found abroad either."""
        self.places.rows.vn.query("CHECKPOINT")
        self.places.caches["vn"].client.save()
        return {
            "rows": len(search_path(self.places.rows.vn.folder)[0]),
            "files": len(search_path(self.places.files["vn"].folder)[0]),
            "cache": len(search_path(self.places.caches["vn"].folder)[0]),
            "model": len(list(search(bytes(self.places.models["vn"].wire), "model"))),
            "wire": len(self.wire.search(HOME)[0]),
        }

    # -- leaks on purpose ----------------------------------------------------------------------------------------

    def plant(self, how: str, secret: bytes) -> dict[str, int]:
        """Leak bytes once by each exit; by how many finds the search of each exit has grown."""
        rows, files, cache = self.places.rows.sg, self.places.files["sg"], self.places.caches["sg"]
        name = f"planted-{how.replace(' ', '-')}"
        rows.query("CREATE TABLE IF NOT EXISTS planted (what bytea)", self.databases["sg"])
        (table,) = rows.query("SELECT pg_relation_filepath('planted')", self.databases["sg"])[0]
        before = self._finds(rows.data / table)
        rows.query(f"INSERT INTO planted VALUES (decode('{secret.hex()}', 'hex'))", self.databases["sg"])  # noqa: S608 - hex
        assert files.ask("PUT", f"/soak/{name}", secret).status_code == 200
        cache.client.set(name, secret)
        (self.folder / "abroad" / "audit" / "policies" / name).write_bytes(b"x" + secret)
        with self.log.open("ab") as log:
            log.write(b"a line with " + secret + b"\n")
        self.page += b"\n# HELP " + secret + b"\n"
        with socket.create_connection((ABROAD, self.places.models["sg"].port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n" + secret)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        self.settle()
        after = self._finds(rows.data / table)
        return {way: after[way] - before[way] for way in before}

    def _finds(self, table: Path) -> dict[str, int]:
        # Where this is searched whole is `found_abroad`; what nothing was planted in needs no second look.
        return {
            "rows": len(search_path(table)[0]),
            "files": len(search_path(self.places.files["sg"].folder)[0]),
            "cache": len(search_path(self.places.caches["sg"].folder)[0]),
            "audit": len(search_path(self.folder / "abroad" / "audit" / "policies")[0]),
            "log": len(search_path(self.log)[0]),
            "metrics": len(list(search(self.page, "metrics"))),
            "wire": len({found.where for found in self.wire.search(ABROAD)[0]}),
        }


def written(searched: dict[str, int]) -> str:
    """What was searched, for people to read."""
    out = io.StringIO()
    for what, size in searched.items():
        out.write(f"  {what}: {size / 1_000_000:.1f} MB\n")
    return out.getvalue()
