"""In: the page docs/tutorial/data-you-have.md. Out: its files, changes and commands, done in a folder; its API served,
and used meanwhile by clients that remember what they wrote.

Nothing of the page is repeated here, so that what is tested is what is printed.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import STDOUT, Popen
from typing import Any, Final
from uuid import UUID

import anyio
import httpx

from tests.ports import free_port

__all__ = ["PASSWORD", "Block", "Known", "Traffic", "Tutorial", "apply"]

TUTORIAL: Final = Path(__file__).resolve().parent.parent / "docs" / "tutorial"
PASSWORD: Final = "correct horse"
ADDRESSES: Final = {"VN": "14.160.0.1", "SG": "165.21.0.1", "DE": "80.187.0.1"}
_FENCE: Final = re.compile(r"^```(\w+)?[ ]?(\w+)?\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: what it is (`diff`, `yaml`, `console` …), the word behind that, its text, its step's number."""

    kind: str
    word: str
    text: str
    step: int


def blocks() -> list[Block]:
    """Every block of the page, in order."""
    page = (TUTORIAL / "data-you-have.md").read_text()
    found = []
    for match in _FENCE.finditer(page):
        steps = re.findall(r"^## (\d+)\. ", page[: match.start()], re.M)
        found.append(Block(match[1] or "", match[2] or "", match[3], int(steps[-1]) if steps else 0))
    return found


def apply(text: str, folder: Path) -> None:
    """Change the file that the first line names (`--- a/file`): each hunk's old lines stand in it once."""
    first, _, rest = text.partition("\n")
    file = folder / first.removeprefix("--- ")
    content = file.read_text()
    for hunk in re.split(r"^@@\n", rest, flags=re.M):
        lines = [line or " " for line in hunk.splitlines()]
        old = "".join(line[1:] + "\n" for line in lines if line[0] in " -")
        new = "".join(line[1:] + "\n" for line in lines if line[0] in " +")
        if content.count(old) != 1:
            raise AssertionError(f"{file.name}: {content.count(old)} times:\n{old}")
        content = content.replace(old, new)
    file.write_text(content)


class Tutorial:
    """The page, step by step, in `folder`, with the two databases' URLs."""

    def __init__(self, folder: Path, sg: str, vn: str) -> None:
        self.folder = folder / "letters"
        shutil.copytree(TUTORIAL / "letters", self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.folder), *filter(None, sys.path)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TOKEN_KEY": "not-a-secret-for-it-stands-in-a-test",
            "DATABASE_URL": sg,
            "PEOPLE_SG_URL": sg,
            "PEOPLE_VN_URL": vn,
        }
        self.blocks = blocks()
        self.server: Popen[bytes] | None = None
        self.log = folder / "server.log"
        self.said: list[tuple[int, str]] = []
        """The step, and what its commands wrote."""

    async def play(self, traffic: Traffic, step: int) -> None:
        """Do all that step says."""
        for block in self.blocks:
            if block.step != step:
                continue
            if block.kind == "diff":
                apply(block.text, self.folder)
            elif block.kind in ("yaml", "python") and block.text.startswith("# "):
                name, _, text = block.text.removeprefix("# ").partition("\n")
                (self.folder / name).write_text(text)
            elif block.word == "restart":
                await self.restart(traffic)
            elif block.kind == "console":
                for line in _commands(block.text):
                    self.said.append((step, await self.run(line)))

    async def run(self, line: str) -> str:
        """What a command of a shell writes; it fails where the command does."""
        done = await anyio.run_process(
            ["bash", "-euc", line], cwd=self.folder, env=self.environment, check=False, stderr=STDOUT
        )
        said = done.stdout.decode()
        if done.returncode != 0:
            raise AssertionError(f"$ {line}\n{said}\n{self.log.read_text()[-4000:] if self.log.exists() else ''}")
        return said

    async def restart(self, traffic: Traffic) -> None:
        """A server beside the one before; new requests go to it; the one before ends what it had begun, and then."""
        (command,) = {line for block in self.blocks if block.word == "restart" for line in _commands(block.text)}
        old, port = self.server, free_port()
        self.log = self.folder.parent / f"server-{port}.log"
        with self.log.open("wb") as log:
            self.server = Popen(  # noqa: ASYNC220 - nobody waits for it here
                [*shlex.split(command), "--port", str(port)],
                cwd=self.folder, env=self.environment, stdout=log, stderr=STDOUT,
            )  # fmt: skip
        workers = int(command.partition("--workers ")[2].split()[0])
        end = time.monotonic() + 60
        while self.log.read_text().count("Application startup complete") < workers:
            if time.monotonic() > end or self.server.poll() is not None:
                raise AssertionError(self.log.read_text()[-4000:])
            await anyio.sleep(0.1)
        await traffic.turn(f"http://127.0.0.1:{port}")
        if old is not None:
            await _end(old)

    async def aclose(self) -> None:
        """End the server."""
        if self.server is not None:
            with anyio.CancelScope(shield=True):
                await _end(self.server)
            self.server = None


def _commands(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("$ "):
            yield line.removeprefix("$ ")


async def _end(server: Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    end = time.monotonic() + 60
    while server.poll() is None:
        if time.monotonic() > end:
            server.kill()
            raise AssertionError("the server did not end")
        await anyio.sleep(0.05)


@dataclass(slots=True)
class Known:
    """What a client knows of one person, since nobody else changes anything of theirs."""

    id: UUID
    email: str
    name: str
    country: str
    token: str
    letters: dict[int, str] = field(default_factory=dict)


class Traffic:
    """Clients that send one request after the other, try nothing twice, and compare what they read with what they know.

    `people` are shared out among them, so that each person is one client's alone.
    """

    def __init__(self, people: Sequence[Known], clients: int, pause: float) -> None:
        """`pause` = seconds between two requests of a client."""
        self.people = [list(people[number::clients]) for number in range(clients)]
        self.gone: list[Known] = []
        self.failed: list[str] = []
        self.took: dict[str, list[float]] = {}
        self.answered = 0
        self._pause = pause
        self._base = ""
        self._busy: Counter[str] = Counter()
        self._changed = anyio.Condition()
        self._over = anyio.Event()

    @property
    def known(self) -> list[Known]:
        """Everybody who has an account now."""
        return [person for share in self.people for person in share]

    async def turn(self, base: str) -> None:
        """Send what is begun from now on to another server; return when the one before has answered all it was sent."""
        old, self._base = self._base, base
        async with self._changed:
            while self._busy[old]:
                await self._changed.wait()

    async def go_on(self, requests: int) -> None:
        """Return once so many more have been answered."""
        wanted = self.answered + requests
        async with self._changed:
            while self.answered < wanted:
                await self._changed.wait()

    async def enforced(self) -> None:
        """Return once no worker answers what the deployment does not name: it enforces, and no more observes."""
        end = time.monotonic() + 60
        async with httpx.AsyncClient(timeout=60) as client:
            refused = 0
            while refused < 20:
                answer = await client.get(f"{self._base}/nobody-named-this", headers={"connection": "close"})
                refused = 0 if answer.status_code == 404 else refused + 1
                if time.monotonic() > end:
                    raise AssertionError("the servers still observe")

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """While inside, requests are sent."""
        async with anyio.create_task_group() as group:
            for number, share in enumerate(self.people):
                group.start_soon(self._use, number, share)
            try:
                yield
            finally:
                self._over.set()

    async def _use(self, number: int, share: list[Known]) -> None:
        chance = random.Random(number)
        acts = self.read, self.write, self.rename, self.sign_up, self.sign_in, self.look, self.leave
        async with httpx.AsyncClient(timeout=60) as client:
            while not self._over.is_set():
                act = chance.choices(acts, (9, 5, 4, 3, 2, 1, 1))[0]
                # Some are there again and again, so that what they wrote is read.
                person = chance.choice(share[-50:] if chance.random() < 0.7 else share)
                base = self._base
                self._busy[base] += 1
                try:
                    await act(Browser(self, client, base, person), share, chance)
                except (AssertionError, httpx.HTTPError, LookupError, ValueError) as error:
                    self.failed.append(f"{act.__name__}: {type(error).__name__}: {error}")
                finally:
                    self._busy[base] -= 1
                self.answered += 1
                async with self._changed:
                    self._changed.notify_all()
                await anyio.sleep(self._pause)

    async def read(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """The account is what was written, and so is a letter."""
        at.same((await at.send("GET", "/me", 200)).json())
        letter = chance.choice(list(at.person.letters))
        answer = (await at.send("GET", f"/letters/{letter}", 200)).json()
        at.check(answer["body"] == at.person.letters[letter], "another letter")

    async def write(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """A letter more."""
        body = f"letter {chance.getrandbits(64):x}"
        answer = (await at.send("POST", "/letters", 201, {"body": body})).json()
        at.check(answer["id"] not in at.person.letters, "a letter's number was given before")
        at.person.letters[answer["id"]] = body

    async def rename(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """Another name, and the answer has all letters."""
        at.person.name = f"name {chance.getrandbits(64):x}"
        at.same((await at.send("PATCH", "/me", 200, {"name": at.person.name})).json())

    async def sign_up(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """Somebody new, who writes and looks at once."""
        country = chance.choice(list(ADDRESSES))
        new = Known(UUID(int=0), f"{chance.getrandbits(64):x}@example.org", "new", country, "")
        at.person = new
        form = {"email": new.email, "password": PASSWORD, "name": new.name, "country": country}
        answer = (await at.send("POST", "/people", 201, form)).json()
        new.id, new.token = UUID(answer["id"]), answer["token"]
        share.append(new)
        await self.write(at, share, chance)
        await self.read(at, share, chance)

    async def look(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """Two pages of the directory: nobody twice, and none empty."""
        first = (await at.send("GET", "/people?limit=20", 200)).json()
        second = (await at.send("GET", f"/people?limit=20&after={first['next']}", 200)).json()
        ids = [person["id"] for page in (first, second) for person in page["people"]]
        at.check(len(ids) == len(set(ids)) == 40, f"the directory had {len(ids)}, {len(set(ids))} of them different")

    async def sign_in(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """A new token."""
        answer = (await at.send("POST", "/sign-in", 200, {"email": at.person.email, "password": PASSWORD})).json()
        at.check(answer["id"] == str(at.person.id), "somebody else")
        at.person.token = answer["token"]

    async def leave(self, at: Browser, share: list[Known], chance: random.Random) -> None:
        """The account is deleted, and gone."""
        if len(share) < 20:
            return
        share.remove(at.person)
        await at.send("DELETE", "/me", 204)
        await at.send("GET", "/me", 404)
        self.gone.append(at.person)


class Browser:
    """One person at one server, as the proxy before it tells of them."""

    def __init__(self, traffic: Traffic, client: httpx.AsyncClient, base: str, person: Known) -> None:
        self.person = person
        self._traffic, self._client, self._base = traffic, client, base

    async def send(self, method: str, path: str, wanted: int, body: Mapping[str, str] | None = None) -> httpx.Response:
        """The answer. Raises: AssertionError for another status than `wanted`."""
        headers = {"x-forwarded-for": ADDRESSES[self.person.country]}
        if self.person.token:
            headers["authorization"] = f"Bearer {self.person.token}"
        begun = time.monotonic()
        answer = await self._client.request(method, self._base + path, json=body, headers=headers)
        self._traffic.took.setdefault(f"{method} /{re.split('[/?]', path)[1]}", []).append(time.monotonic() - begun)
        self.check(answer.status_code == wanted, f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer

    def same(self, account: dict[str, Any]) -> None:
        """Whether an account is what is known of it."""
        letters = {letter["id"]: letter["body"] for letter in account["letters"]}
        found = account["id"], account["name"], account["email"], letters
        wanted = str(self.person.id), self.person.name, self.person.email, self.person.letters
        self.check(found == wanted, f"{found} instead of {wanted}")

    def check(self, holds: bool, what: str) -> None:
        """Raises: AssertionError unless `holds`."""
        if not holds:
            raise AssertionError(f"{self.person.country}, {len(self.person.letters)} letters: {what}")
