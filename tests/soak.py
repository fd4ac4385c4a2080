"""For tests: an app under load over real stores in three countries, and the search of everything abroad afterwards.

Home lies on an address of its own, abroad on another; each has a PostgreSQL, an S3 server, a Redis and a model. People
at home leave canaries in every request, in their ids too; they hurry, hang up, come again, meet stores that are slow,
dead or cut off, come by an instance abroad that hands them over, and are moved meanwhile by an operator: from place to
place at home, and from abroad to home. Copies of all rows and files at home are wanted abroad: the law forbids them,
but for those of a few neighbours of whom it says nothing. Travellers are such who one day write from Hanoi, and go
on at home and abroad: from then on nothing of theirs may leave. Colleagues read of others, alone, in batches, in lists.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import uvicorn
from sqlalchemy.ext.asyncio import create_async_engine

from tests import soak_app
from tests.leaks import NETWORK, Found, Wire, canary, search, search_path
from tests.object_store import APP_ACCESS, APP_SECRET, Seaweed
from tests.postgres import Pair
from tests.servers import Server, eventually
from tests.services import Service
from tests.soak_readers import KINDS, Readers, walked
from tests.world import HANOI, SINGAPORE, write_deployment

__all__ = ["ABROAD", "HOME", "Places", "Soak", "written"]

HOME, ABROAD = f"{NETWORK}.2", f"{NETWORK}.3"
ROOT: Final = Path(__file__).resolve().parent.parent
_COMMAND: Final = "import sys; from residency.cli import main; sys.exit(main())"
_PATIENT: Final = 15.0  # seconds that somebody waits for an answer who is in no hurry
_BREATH: Final = 1.0  # seconds at most between two requests of somebody; where none is, an operator only queues
_TRIES: Final = 10
_LONGER: Final = 600.0  # seconds that a slow machine gets beyond its time
_AT_HOME: Final = ("-vn", "-kr")
_AT_HOME_PLACES: Final = ("vn", "kr")


@dataclass
class Places:
    """The real servers: PostgreSQL and S3 one at home and one abroad; caches and models one in each country."""

    rows: Pair
    files: dict[str, Seaweed]
    caches: dict[str, Server]
    models: dict[str, Service]


@dataclass
class Mover:
    """Somebody whose data is moved while they use the app, and what was acknowledged of theirs."""

    who: str
    abroad: bool  # it lies there until the operator has moved it
    rows: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)  # names by the keys of their rows
    files: set[str] = field(default_factory=set)
    moves: int = 0
    free: bool = False  # the law says nothing of them: they live at home by an operator's act, and are copied abroad
    away: bool = False  # one who is free, and is in Hanoi just now

    @property
    def address(self) -> str:
        """Where they are seen."""
        free = self.free or self.who.startswith(("settler-", "traveller-"))
        return SINGAPORE if free and not self.away else HANOI


@dataclass
class Load:
    """Until when (monotonic) a load goes on at least, and whether it is over."""

    end: float
    over: bool = False


@dataclass
class Soak:
    """One app over these servers; `run` loads it, `found_abroad` searches what lies abroad."""

    folder: Path
    places: Places
    wire: Wire
    seed: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    moves: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    pages: bytes = b""
    heard: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        for name in ("abroad", "home", "edge/tmp", "policy", "edge/policy"):
            (self.folder / name).mkdir(parents=True)
        self.log = self.folder / "abroad" / "app.log"
        self.told = self.folder / "abroad" / "operator.log"
        self.edge = self.folder / "edge"
        rows = self.places.rows
        self.databases = {"vn": rows.vn.database(), "kr": rows.vn.database(), "sg": rows.sg.database()}
        urls = {"HOME/": f"{self.folder}/home/", "ABROAD/": f"{self.folder}/abroad/", "EDGE/": f"{self.edge}/"}
        keys = f"{APP_ACCESS}:{quote(APP_SECRET, safe='')}"
        for place in ("vn", "kr", "sg"):
            end = "sg" if place == "sg" else "vn"
            seaweed, bucket = self.places.files[end], f"soak-{place}"
            assert seaweed.ask("PUT", f"/{bucket}").status_code in (200, 409)
            urls |= {
                f"ROWS_{place.upper()}": getattr(rows, end).url("asyncpg", self.databases[place]),
                f"FILES_{place.upper()}": f"s3://{keys}@{bucket}/?region=us-east-1&endpoint={seaweed.endpoint}&timeout=5",
                f"CACHE_{place.upper()}": self.places.caches[place].url,
                f"MODEL_{place.upper()}": self.places.models[place].url,
            }
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        urls["INSTANCE_HOME"] = f"http://127.0.0.1:{self.port}"
        self.file = self._deployment(self.folder / "policy", soak_app.AT_HOME, urls)
        # The instance abroad knows nobody at home. Of whom it knows nothing the law counts, as it does by default.
        by_default = ("presume: {territory: not_covered}\n", "")
        self.edge_file = self._deployment(self.edge / "policy", soak_app.ABROAD, urls, by_default)
        chance = random.Random(self.seed)
        self.settlers = [Mover(f"settler-{number}", abroad=True) for number in range(24)]
        self.locals = [Mover(canary(90_000_000 + number), abroad=False) for number in range(8)]
        self.neighbours = [Mover(f"neighbour-{number}", abroad=True, free=True) for number in range(2)]
        self.travellers = [Mover(f"traveller-{number}", abroad=True, free=True) for number in range(2)]
        self.covered, self.others = [*self.locals], [*self.settlers, *self.neighbours, *self.travellers]
        chance.shuffle(self.locals)
        asyncio.run(self._tables())
        code, said = asyncio.run(self._command("copies", "prepare", str(self.file)))
        assert code == 0, said

    @staticmethod
    def _deployment(folder: Path, text: str, urls: Mapping[str, str], *others: tuple[str, str]) -> Path:
        for name, url in urls.items():
            text = text.replace(name, url)
        more = ("sg: {country: SG}}", "sg: {country: SG}, kr: {country: KR}}")
        return write_deployment(folder, text, [soak_app.LAW], [more, *others])

    async def _tables(self) -> None:
        for place, database in self.databases.items():
            server = self.places.rows.sg if place == "sg" else self.places.rows.vn
            engine = create_async_engine(server.url("asyncpg", database))
            async with engine.begin() as connection:
                await connection.run_sync(soak_app.Base.metadata.create_all)
            await engine.dispose()

    # -- the instances -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        """The instance at home under uvicorn, in a thread; every log line of the process goes to a file abroad."""
        handler = logging.FileHandler(self.log)
        handler.setLevel(logging.DEBUG)
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        config = uvicorn.Config(
            soak_app.app(self.file), port=self.port, log_config=None, proxy_headers=False, timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise AssertionError(self.log.read_text()[-2000:])
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            server.should_exit = True
            thread.join(30)
            root.removeHandler(handler)
            root.setLevel(level)
            handler.close()

    @contextlib.contextmanager
    def serving_abroad(self) -> Iterator[str]:
        """The instance abroad: a process of its own, all of whose files lie in one folder."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        code = (
            "import logging, uvicorn; from tests.soak_app import instance; logging.basicConfig(level='INFO'); "
            f"uvicorn.run(instance(), port={port}, log_config=None, proxy_headers=False, timeout_graceful_shutdown=5)"
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SOAK_DEPLOYMENT": str(self.edge_file),
            "TMPDIR": str(self.edge / "tmp"),
        }
        log = self.edge / "app.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", code], cwd=self.edge, env=environment, stdout=out, stderr=out
            )

        def answers() -> bool:
            assert process.poll() is None, log.read_text()[-2000:]
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).status_code == 200
            return False

        try:
            eventually(answers, within=60, what="the instance abroad")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()

    # -- the load ------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Load the app for so long, then let it end, and keep its pages of metrics."""
        with self.serving() as url, self.serving_abroad() as edge:
            asyncio.run(self._load(url, edge, seconds))
            self.pages = b"".join(httpx.get(f"{each}/metrics", timeout=10).content for each in (url, edge))

    async def _load(self, url: str, edge: str, seconds: float) -> None:
        limits = httpx.Limits(max_connections=60)
        async with httpx.AsyncClient(timeout=_PATIENT, limits=limits) as client:
            await asyncio.gather(*(self._settle(client, url, each) for each in self.others))
            load = Load(time.monotonic() + seconds)
            people = [self._person(client, (url, edge), number, load) for number in range(18)]
            movers = [self._mover(client, url, self.settlers[number::6], load) for number in range(6)]
            movers += [self._mover(client, url, [each], load) for each in (*self.locals, *self.neighbours)]
            movers += [self._traveller(client, url, each, load) for each in self.travellers]
            others = [self._reader(client, (url, edge), number, load) for number in range(4)]
            others += [self._trouble(load), self._operator(load), self._until(load)]
            await asyncio.gather(*people, *movers, *others)
            for each in self.movers:
                await self._look(client, url, each, patient=True)
            await self._still(client, url)

    async def _until(self, load: Load) -> None:
        """A slow machine gets longer, until each thing has happened that this is about."""
        await asyncio.sleep(load.end - time.monotonic())
        last = time.monotonic() + _LONGER
        while self.missing() and time.monotonic() < last:  # noqa: ASYNC110 - counters tell nobody
            await asyncio.sleep(0.5)
        load.over = True

    def missing(self) -> list[str]:
        """What has not happened yet, and must have for a run to prove anything."""
        asked = ["POST /people", "GET /people", "PUT /people", "DELETE /people", "POST /ask"]
        wanted = {f"{who} {path} 200": 5 for who in ("home", "abroad") for path in (*asked, "POST /late")}
        wanted |= {f"home {path} handed over 200": 1 for path in asked}
        wanted |= {"moved GET 200": 20, "moved POST 200": 20}
        wanted |= {f"read home {kind} 200": 5 for kind in KINDS} | {"read abroad list 200": 5}
        wanted |= {"read abroad of refused": 5, "read abroad row refused": 5, "read abroad many 200": 5}
        missing = [what for what, number in wanted.items() if self.answers[what] < number]
        missing += ["people moved to and fro"] * (self.moves["pin move exits 0"] < 2)
        missing += ["people moved home"] * (self.moves["move exits 0"] < 1)
        missing += ["somebody moved who wrote since"] * any(settler.abroad for settler in self.settlers)
        missing += ["neighbours who were moved, and wrote since"] * any(each.abroad for each in self.neighbours)
        missing += ["travellers who wrote from Hanoi, and since"] * any(each.free for each in self.travellers)
        missing += ["travellers who went on"] * (self.answers["travelled"] < 8)
        return missing + ["trouble"] * (len(self.troubles) < 4)

    async def _person(self, client: httpx.AsyncClient, urls: tuple[str, str], number: int, load: Load) -> None:
        """One after the other, people who do what they like."""
        chance = random.Random(f"{self.seed}-{number}")
        at_home = number % 3 != 0
        by_edge = not at_home and number % 2 == 1  # whose home an instance knows by its own pins alone
        count = 0
        while not load.over:
            count += 1
            mark = chance.randrange(40)
            who = canary(80_000_000 + number * 1000 + mark) if at_home else f"lee-{number}-{mark}"
            name = canary(number * 1_000_000 + count) if at_home else f"Somebody abroad {number}-{count}"
            headers = {"x-forwarded-for": HANOI if at_home else SINGAPORE, "x-who": who}
            method, path, body = self._asked(chance, who, name)
            handed = at_home and chance.random() < 0.25
            url = urls[by_edge or handed] + path
            for _ in range(chance.choice((1, 2, 3))):
                hurry = chance.choice((None, None, None, 0.002, 0.01, 0.05))
                try:
                    answer = await client.request(method, url, headers=headers, content=body, timeout=_within(hurry))
                except httpx.HTTPError:
                    self.answers["hung up"] += 1
                    continue  # the same once more
                by = " handed over" if handed else ""
                self.answers[f"{'home' if at_home else 'abroad'} {method} {path}{by} {answer.status_code}"] += 1
                self._judge(at_home, answer)
                if answer.status_code < 500:
                    break
            await asyncio.sleep(chance.uniform(0, _BREATH))

    @staticmethod
    def _asked(chance: random.Random, who: str, name: str) -> tuple[str, str, bytes]:
        method, path = chance.choice(
            (("POST", "/people"), ("POST", "/people"), ("GET", "/people"), ("PUT", "/people"), ("DELETE", "/people"),
             ("POST", "/ask"), ("POST", "/late"))
        )  # fmt: skip
        told: dict[str, object] = {"name": name, "who": who, "note": True}
        if path == "/people" and method == "POST":
            told |= {"slow": chance.choice((0, 0, 0, 0.02)), "undo": chance.random() < 0.1}
            told |= {"clash": chance.random() < 0.05}
        return method, path, b"" if method in ("GET", "DELETE") else json.dumps(told).encode()

    def _judge(self, at_home: bool, answer: httpx.Response) -> None:
        if answer.status_code != 200:
            return
        sink = answer.json().get("sink", "")
        if sink and sink.endswith(_AT_HOME) is not at_home:
            self.wrong.append(f"{'home' if at_home else 'abroad'} was served from {sink}")

    # -- who is moved --------------------------------------------------------------------------------------------

    async def _settle(self, client: httpx.AsyncClient, url: str, mover: Mover) -> None:
        """Somebody opens their account while they live abroad."""
        while not mover.rows:
            await self._add(client, url, mover, f"of-before-{mover.who}")

    async def _mover(self, client: httpx.AsyncClient, url: str, movers: Sequence[Mover], load: Load) -> None:
        """People who add to what they have, and look at it, whatever happens to it."""
        chance = random.Random(f"{self.seed}-{movers[0].who}")
        count = 0
        while not load.over:
            mover, count = movers[count % len(movers)], count + 1
            if mover.abroad or chance.random() < 0.5:
                await self._look(client, url, mover)
            number = abs(hash_of(f"{mover.who}{count}")) % 10_000_000
            name = f"abroad-{mover.who}-{count}" if mover.abroad or mover.free else canary(70_000_000 + number)
            hurry = chance.choice((None, None, None, 0.01, 0.05))
            await self._add(client, url, mover, name, hurry)
            await asyncio.sleep(chance.uniform(0, _BREATH))

    async def _traveller(self, client: httpx.AsyncClient, url: str, mover: Mover, load: Load) -> None:
        """Somebody who lives at home, and is copied abroad, until they write from Hanoi."""
        chance = random.Random(f"{self.seed}-{mover.who}")
        count, free = 0, f"abroad-{mover.who}-free"
        now = time.monotonic()
        copied, last = False, now + (load.end - now) / 4  # copies are made as there is time for them
        while not load.over and (mover.abroad or not (copied or time.monotonic() > last)):
            await self._look(client, url, mover)
            if not mover.abroad:
                if free not in mover.rows:
                    await self._add(client, url, mover, free)
                copies = await asyncio.to_thread(self._listed, "sg", "sg", mover.who)
                copied = free in mover.rows and copies.keys() == mover.files
            await asyncio.sleep(0.2)
        before = len(mover.rows)
        mover.away = True
        while not load.over and len(mover.rows) == before:  # in no hurry: they are covered once it is acknowledged
            await self._add(client, url, mover, f"in-hanoi-{mover.who}")
        self.others.remove(mover)
        self.covered.append(mover)
        mover.free = False
        await asyncio.sleep(1.0)  # what somebody abroad began to read before, they read
        while not load.over:
            count, mover.away = count + 1, chance.random() < 0.3
            number = abs(hash_of(f"{mover.who}{count}")) % 10_000_000
            await self._add(client, url, mover, canary(70_000_000 + number), chance.choice((None, None, 0.01, 0.05)))
            await self._look(client, url, mover)
            self.answers["travelled"] += 1
            await asyncio.sleep(0.05)

    async def _add(
        self, client: httpx.AsyncClient, url: str, mover: Mover, name: str, hurry: float | None = None
    ) -> None:
        headers = {"x-forwarded-for": mover.address, "x-who": mover.who}
        try:
            answer = await client.post(f"{url}/people", headers=headers, json={"name": name}, timeout=_within(hurry))
        except httpx.HTTPError:
            self.answers["hung up"] += 1
            return
        self.answers[f"moved POST {answer.status_code}"] += 1
        if answer.status_code == 200:
            mover.rows.add(name)
            mover.keys[answer.json()["id"]] = name
            mover.files.add(f"users/{mover.who}/{name}.txt")

    async def _look(self, client: httpx.AsyncClient, url: str, mover: Mover, *, patient: bool = False) -> None:
        """What was acknowledged is there, at whatever moment."""
        headers = {"x-forwarded-for": mover.address, "x-who": mover.who}
        for _ in range(60 if patient else 1):
            try:
                answer = await client.get(f"{url}/people", headers=headers)
            except httpx.HTTPError:
                self.answers["hung up"] += 1
                continue
            self.answers[f"moved GET {answer.status_code}"] += 1
            if answer.status_code == 200:
                break
            await asyncio.sleep(0.5)
        else:
            if patient:
                self.wrong.append(f"what {mover.who} has cannot be read")
            return
        told = answer.json()
        if gone := mover.rows - set(told["names"]):
            self.wrong.append(f"{len(gone)} rows of {mover.who} are not there, of {len(mover.rows)}, in {told['sink']}")
        if gone := mover.files - set(told["files"]):
            self.wrong.append(f"{len(gone)} files of {mover.who} are not there, of {len(mover.files)}")
        if told["sink"].endswith(_AT_HOME):
            mover.abroad = False  # from now on nothing of theirs may be written abroad
        elif not mover.abroad:
            self.wrong.append(f"{mover.who} was at home and is served from {told['sink']}")

    @property
    def movers(self) -> tuple[Mover, ...]:
        """Everybody of whom what was acknowledged is known."""
        return (*self.settlers, *self.locals, *self.neighbours, *self.travellers)

    # -- who reads of others -------------------------------------------------------------------------------------

    async def _reader(self, client: httpx.AsyncClient, urls: tuple[str, str], number: int, load: Load) -> None:
        chance = random.Random(f"{self.seed}-reader-{number}")
        readers = Readers(client, urls, self.covered, self.others, self.answers, self.wrong, self.heard)
        while not load.over:
            await asyncio.sleep(0.1)
            await readers.read(chance)

    async def _still(self, client: httpx.AsyncClient, url: str) -> None:
        """Nobody writes any more: copies arrive, and a list tells everybody once, from where their data lies."""
        last = time.monotonic() + _LONGER
        while self.not_copied() and time.monotonic() < last:  # noqa: ASYNC110 - databases tell nobody
            await asyncio.sleep(0.5)
        self.wrong += self.not_copied()
        everything = "SELECT id, who, name FROM person"
        rows = self.places.rows
        lie = {place: rows.vn.query(everything, self.databases[place]) for place in _AT_HOME_PLACES}
        home = {row[0]: row for found in lie.values() for row in found}
        if len(home) != sum(map(len, lie.values())):
            self.wrong.append("a row lies in two places at home")
        wanted = {**{row[0]: row for row in rows.sg.query(everything, self.databases["sg"])}, **home}
        for by in ("id", "name"):
            told = await walked(client, url, by)
            if told != Counter(map(tuple, wanted.values())):
                self.wrong.append(f"the list by {by} is not what there is: {_difference(told, wanted.values())}")

    async def _operator(self, load: Load) -> None:
        """Bring home who settled there, and move who lives at home from place to place there. Whose commands must end
        come first, while there is little that they must carry."""
        homes = dict.fromkeys((each.who for each in self.locals), "VN")

        async def to_and_fro(mover: Mover) -> None:
            target = "KR" if homes[mover.who] == "VN" else "VN"
            if await self._pin_move("pin move", mover.who, target):
                homes[mover.who] = target
                mover.moves += 1

        for each in (*self.neighbours, *self.travellers):
            await self._pin_move("neighbour's pin move", each.who, "KR")
        for each in self.locals[:2]:
            await to_and_fro(each)
        known = self.folder / "home" / "known.jsonl"
        known.write_text("".join(json.dumps({"subject": each.who, "residence": "VN"}) + "\n" for each in self.settlers))
        way = ("--known", str(known), "--batch", "6", "--json")
        for _ in range(_TRIES):  # a move that meets a store which is away is run again
            code, _ = await self._command("move", str(self.file), "--go", *way)
            self.moves[f"move exits {code}"] += 1
            if code == 0:  # nobody lies where they should not
                break
        number = 0
        while not load.over and (self.missing() or time.monotonic() < load.end):
            await to_and_fro(self.locals[number % len(self.locals)])
            number += 1

    async def _pin_move(self, what: str, who: str, target: str) -> bool:
        """Move one person, until it is done: what is begun is not left half done."""
        for number in range(_TRIES):
            args = ("--policy", str(self.file), "--to", target, "--reason", f"soak {number}")
            code, _ = await self._command("pin", "move", *args, given=who)
            self.moves[f"{what} exits {code}"] += 1
            if code == 0:
                return True
            if code == 1:  # it ended before all was deleted where it lay
                code, _ = await self._command("move", str(self.file), "--go", "--json")
                self.moves[f"move after it exits {code}"] += 1
        return False

    async def _command(self, *args: str, given: str = "") -> tuple[int, str]:
        """(exit code, output) of a command of the operator's; what it says is kept, to be searched."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _COMMAND, *args, cwd=self.folder / "abroad",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, error = await process.communicate(given.encode())
        with self.told.open("ab") as told:
            told.write(said + error)
        return process.returncode or 0, said.decode()

    # -- trouble -------------------------------------------------------------------------------------------------

    async def _trouble(self, load: Load) -> None:
        """Each kind of server is slow, away, cut off or dead for a while, in turn: nobody may be served abroad."""
        chance = random.Random(self.seed)
        middle = (time.monotonic() + load.end) / 2
        files, caches, rows = self.places.files, self.places.caches, self.places.rows
        troubles = {
            "files at home away": lambda: self._pause(files["vn"], 0.5),
            "files at home slow": lambda: self._pause(files["vn"], 2.0),
            "cache at home away": lambda: self._pause(caches["vn"], 0.5),
            "cache abroad away": lambda: self._pause(caches["sg"], 0.5),
            "rows at home slow": lambda: self._slow("vn"),
            "rows in the other place slow": lambda: self._slow("kr"),
            "rows abroad slow": lambda: self._slow("sg"),
            "files abroad away": lambda: self._pause(files["sg"], 0.5),
            "connections to rows at home cut": lambda: asyncio.to_thread(self._cut, rows.vn),
            "connections to rows abroad cut": lambda: asyncio.to_thread(self._cut, rows.sg),
            "cache at home dead": lambda: self._dead(caches["vn"]),
        }
        while not load.over:
            await asyncio.sleep(1.0)
            name = chance.choice(sorted(troubles))
            if name == "cache at home dead" and time.monotonic() > middle:
                continue  # it begins empty, and what lay there is to be found afterwards
            await troubles[name]()
            self.troubles[name] += 1

    @staticmethod
    async def _pause(what: Any, seconds: float) -> None:
        what.pause()
        try:
            await asyncio.sleep(seconds)
        finally:
            what.resume()

    async def _slow(self, place: str) -> None:
        server = self.places.rows.sg if place == "sg" else self.places.rows.vn
        await asyncio.to_thread(
            server.query, "BEGIN; LOCK TABLE person; SELECT pg_sleep(0.7); COMMIT", self.databases[place]
        )

    @staticmethod
    def _cut(server: Any) -> None:
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'people%'")

    @staticmethod
    async def _dead(server: Server) -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.start)

    # -- the search ----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Have every server abroad write what it holds to its disk."""
        self.places.rows.sg.query("CHECKPOINT")
        self.places.caches["sg"].client.save()

    def exits(self) -> dict[str, Path]:
        """What lies abroad, by what it is."""
        return {
            "PostgreSQL: tables, free space, write-ahead log, its own log": self.places.rows.sg.folder,
            "S3: volumes, index, its own log": self.places.files["sg"].folder,
            "Redis: its dump and log": self.places.caches["sg"].folder,
            "audit log, journals, archive, journal of moves": self.folder / "abroad" / "audit",
            "log of the app, with its tracebacks": self.log,
            "what the operator's commands said": self.told,
            "the instance abroad: log, audit log, pins, working folder, temporary files": self.edge,
        }

    def found_abroad(self) -> tuple[dict[str, list[Found]], dict[str, int]]:
        """(every canary that lies or lay abroad, how many bytes were searched), by what it is."""
        taken = {what: search_path(path) for what, path in self.exits().items()}
        taken["pages of metrics of both instances"] = (list(search(self.pages, "metrics")), len(self.pages))
        taken["what was answered to readers abroad"] = (list(search(bytes(self.heard), "answers")), len(self.heard))
        taken["wire: to and from abroad"] = self.wire.search(ABROAD)
        return {what: found for what, (found, _) in taken.items()}, {what: size for what, (_, size) in taken.items()}

    def found_at_home(self) -> dict[str, int]:
        """How many canaries lie in each store at home: what is not there cannot be found abroad either."""
        self.places.rows.vn.query("CHECKPOINT")
        for place in ("vn", "kr"):
            self.places.caches[place].client.save()
        caches = [search_path(self.places.caches[place].folder)[0] for place in ("vn", "kr")]
        return {
            "rows": len(search_path(self.places.rows.vn.folder)[0]),
            "files": len(search_path(self.places.files["vn"].folder)[0]),
            "cache": sum(map(len, caches)),
            "model": len(list(search(bytes(self.places.models["vn"].wire), "model"))),
            "wire": len(self.wire.search(HOME)[0]),
        }

    def left_abroad(self) -> list[str]:
        """Who was moved home and still has rows or objects abroad."""
        asked = "SELECT DISTINCT who FROM person WHERE who LIKE 'settler-%'"
        rows = self.places.rows.sg.query(asked, self.databases["sg"])
        listed = self.places.files["sg"].ask("GET", "/soak-sg?list-type=2&prefix=users%2Fsettler-").text
        return [who for (who,) in rows] + (["files"] if "<Key>" in listed else [])

    def not_copied(self) -> list[str]:
        """What of the neighbours' rows and files does not lie abroad as it lies at home, and what else is due."""
        wrong = []
        asked = "SELECT id, who, name FROM person WHERE who LIKE 'neighbour-%' ORDER BY id"
        home = self.places.rows.vn.query(asked, self.databases["kr"])
        if not {key for each in self.neighbours for key in each.keys} <= {row[0] for row in home}:
            wrong.append("rows of neighbours that were acknowledged are not at home")
        abroad = self.places.rows.sg.query(asked, self.databases["sg"])
        if home != abroad:
            lacking, other = (
                [row for row in these if row not in those] for these, those in [(home, abroad), (abroad, home)]
            )
            halted = self.places.rows.vn.query("SELECT * FROM residency_outbox", self.databases["kr"])
            wrong.append(
                f"copies of neighbours' rows: {lacking[:3]} lack, {other[:3]} are too many; noted {halted[:9]}"
            )
        for each in self.neighbours:
            files = self._listed("vn", "kr", each.who)
            if not each.files <= files.keys():
                wrong.append(f"files of {each.who} that were acknowledged are not at home")
            if files != self._listed("sg", "sg", each.who):
                wrong.append(f"copies of {each.who}'s files are not as the files")
        due = "SELECT count(*) FROM residency_outbox WHERE halted IS NULL"
        for place in _AT_HOME_PLACES:
            ((count,),) = self.places.rows.vn.query(due, self.databases[place])
            wrong += [f"{count} changes in {place} are not looked at"] * bool(int(count))
        return wrong

    def _listed(self, server: str, place: str, who: str) -> dict[str, str]:
        """Keys and tags of the files of somebody in a place."""
        found: dict[str, str] = {}
        after = ""
        while True:
            query = f"/soak-{place}?list-type=2&prefix=users%2F{who}%2F&start-after={quote(after, safe='')}"
            text = self.places.files[server].ask("GET", query).text
            page = re.findall(r"<Key>([^<]*)</Key>.*?<ETag>([^<]*)</ETag>", text, re.DOTALL)
            if not page:
                return found
            found |= dict(page)
            after = page[-1][0]

    def held_at_home(self) -> dict[str, int]:
        """How many changes are held at home, by the reason for which no copy is made."""
        held: Counter[str] = Counter()
        asked = "SELECT halted, count(*) FROM residency_outbox WHERE halted IS NOT NULL GROUP BY 1"
        for place in _AT_HOME_PLACES:
            for reason, count in self.places.rows.vn.query(asked, self.databases[place]):
                held[str(reason)] += int(count)
        return dict(held)

    # -- leaks on purpose ----------------------------------------------------------------------------------------

    def plant(self, how: str, secret: bytes) -> dict[str, int]:
        """Leak bytes once by each exit; how often the search finds them there."""
        rows, files, cache = self.places.rows.sg, self.places.files["sg"], self.places.caches["sg"]
        name, database = f"planted-{how.replace(' ', '-')}", self.databases["sg"]
        rows.query("CREATE TABLE IF NOT EXISTS planted (what bytea)", database)
        ((table,),) = rows.query("SELECT pg_relation_filepath('planted')", database)
        # These two are written anew each time; of the others only what came is searched. `found_abroad` searches all.
        whole = {"rows": rows.data / table, "cache": cache.folder}
        before = {what: len(search_path(path)[0]) for what, path in whole.items()}
        at = {file: file.stat().st_size for file in (*_files(files.folder), self.log, self.told) if file.exists()}
        rows.query(f"INSERT INTO planted VALUES (decode('{secret.hex()}', 'hex'))", database)  # noqa: S608 - hex
        assert files.ask("PUT", f"/soak-sg/{name}", secret).status_code == 200
        cache.client.set(name, secret)
        laid = {"audit": self.folder / "abroad" / "audit" / "policies" / name, "instance": self.edge / "tmp" / name}
        for file in laid.values():
            file.write_bytes(b"x" + secret)
        for log in (self.log, self.told):
            with log.open("ab") as out:
                out.write(b"a line with " + secret + b"\n")
        page = b"\n# HELP " + secret + b"\n"
        self.pages += page
        self.heard += page
        with socket.create_connection((ABROAD, self.places.models["sg"].port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n" + secret)
            heard = client.getsockname()[:2]
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        self.settle()
        found = {what: len(search_path(path)[0]) - before[what] for what, path in whole.items()}
        found |= {what: len(search_path(path)[0]) for what, path in laid.items()}
        found["files"] = sum(len(list(search(_from(file, at.get(file, 0)), ""))) for file in _files(files.folder))
        found["log"] = len(list(search(_from(self.log, at[self.log]), "")))
        found["operator"] = len(list(search(_from(self.told, at.get(self.told, 0)), "")))
        found["metrics"] = len(list(search(page, "")))
        found["answers"] = len(list(search(bytes(self.heard[-len(page) :]), "")))
        found["wire"] = len(self.wire.search(ABROAD, of=heard)[0])
        return found


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def _within(hurry: float | None) -> httpx.Timeout:
    """Hang up after so many seconds without an answer. Not by cancelling: while the pool connects that leaves sockets
    behind that nobody closes (encode/httpcore#1093)."""
    return httpx.Timeout(_PATIENT, read=_PATIENT if hurry is None else hurry)


def _difference(told: Counter[tuple[str, str, str]] | str, wanted: Iterable[Any]) -> str:
    if isinstance(told, str):
        return told
    there = Counter(map(tuple, wanted))
    return f"{(there - told).total()} not told, {(told - there).total()} too many, of {there.total()}"


def hash_of(text: str) -> int:
    """The same number for the same text in each run."""
    return random.Random(text).getrandbits(40)


def _from(file: Path, at: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(at)
        return opened.read()


def written(searched: Mapping[str, int]) -> str:
    """What was searched, for people to read."""
    out = io.StringIO()
    for what, size in searched.items():
        out.write(f"  {what}: {size / 1_000_000:.1f} MB\n")
    return out.getvalue()
