"""The demo's acts in their order: a crowd and a screen in, requests sent and what they showed told out.

Each scene says beforehand what must happen and counts as kept only if it did; the independent check comes after.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time
from dataclasses import dataclass, field
from itertools import count

from residency.demo.client import Answer, Crowd
from residency.demo.feed import Feed
from residency.demo.ledger import Ledger
from residency.demo.places import SINKS
from residency.demo.screen import Screen
from residency.demo.server import Server
from residency.demo.traffic import Addresses, Person, people, somebody

__all__ = ["Scenes"]

_CROWD = 28  # people of the first scene
_WORKERS = 8  # at once, under load
_LOAD = 150  # acknowledged writes before the kill
_LOAD_LIMIT = 25.0  # seconds


@dataclass(slots=True)
class Scenes:
    """All scenes over one server. `leisurely` = somebody watches: pause between requests and scenes."""

    screen: Screen
    ledger: Ledger
    crowd: Crowd
    feed: Feed
    addresses: Addresses
    server: Server
    seed: int
    leisurely: bool
    _chance: random.Random = field(default_factory=random.Random)
    _known: list[Person] = field(default_factory=list)
    _next: int = 1
    _twins: count[int] = field(default_factory=lambda: count(1))
    _kept: bool = True

    async def all(self) -> bool:
        """Play every scene; whether each showed what it had to."""
        self._chance.seed(self.seed)
        await self.traffic()
        for scene in (self.forged, self.to_singapore, self.newsletter, self.unverified, self.kill):
            await self._pause(1.5)
            await scene()
        return self._kept

    # -- scenes ------------------------------------------------------------------------------------------------

    async def traffic(self) -> None:
        """People sign up, post, chat and read, from everywhere, with and without tokens."""
        self.screen.title(
            "traffic",
            "sign-ups, posts, chats and reads; a line appears once the log has its outcome (log #intent-#outcome)",
        )
        with self.screen.live():
            for person in self._people(_CROWD):
                await self._show(await self.crowd.sign_up(person))
                if person.verified:
                    post = await self.crowd.post(person)
                    await self._show(post)
                    if self._chance.random() < 0.4 and post.status == 201:
                        reader = self._chance.choice(self._known or [person])
                        await self._show(await self.crowd.read_post(reader, person, post.body["id"]))
                if self._chance.random() < 0.4:
                    await self._show(*await self.crowd.chat(person, self._chance.randint(1, 3)))
                if self._chance.random() < 0.3:
                    await self._show(await self.crowd.read(person))
                self._known.append(person)
            turned_away = await self.crowd.post_without_token(self._known[0])
            await self._drain()
        self._keep(self.feed.waiting == 0, "every request above is in the published log")
        self._keep(turned_away.status == 401, "a post without a token was turned away by the app itself (401)")

    async def forged(self) -> None:
        """A client's own X-Forwarded-For, twice and garbled once, beside an honest twin from the same address."""
        self.screen.title(
            "a forged X-Forwarded-For", "each sends a header of its own; the proxy appends where it really came from"
        )
        tries = [
            ("VN", self.addresses.of("SG"), "someone in Vietnam claims to be in Singapore"),
            ("US", self.addresses.of("VN"), "someone in the US claims to be in Vietnam"),
            ("VN", "8.8.8.8, ::1, garbage'; --, 999.1.1.1", "someone in Vietnam sends garbage"),
        ]
        for country, header, what in tries:
            source, twin = self.addresses.of(country), next(self._twins)
            honest, liar = (self._person(country, source) for _ in range(2))
            first = await self.crowd.sign_up(honest, twin=twin)
            second = await self.crowd.sign_up(liar, forged=header, twin=twin)
            went = second.receipt.get("sink")
            same = first.status == second.status == 201 and first.receipt["sink"] == went
            self._keep(same, f"{what}: X-Forwarded-For: {header} … lands in {went}, as without it")
            self._remember(first, second)

    async def to_singapore(self) -> None:
        """The wrong route asks for Singapore by name, for three people."""
        self.screen.title(
            "a record to Singapore",
            "POST /v1/people/export-to-singapore asks for that database by name, whoever it is about",
        )
        for country, citizenship, reason in (
            ("VN", "VN", "not_home"),
            ("DE", "VN", "filing_missing"),
            ("SG", "SG", None),
        ):
            person = self._person(country, self.addresses.of(country), citizenship)
            await self.crowd.sign_up(person)
            answer = await self.crowd.export(person)
            if reason is None:
                self._keep(
                    answer.status == 201, f"{person.name} ({person.where}): served, no Vietnamese law covers them"
                )
            else:
                article = "; ".join(f"{r['instrument']} {r['article']}" for r in answer.body.get("rules", ()))
                held = answer.status == 451 and answer.body.get("reason") == reason and article != ""
                self._keep(held, f"{person.name} ({person.where}): refused with {answer.status} under {article}")
                self.screen.problem(answer.status or 0, answer.body)

    async def newsletter(self) -> None:
        """A mailing service abroad, for which a dossier was filed."""
        self.screen.title(
            "a newsletter from Singapore",
            "POST /v1/newsletter goes to a mailing service there; residency/demo/register.yaml has the dossier on it",
        )
        for country, citizenship, how in (
            ("DE", "VN", "served on that dossier: a line of the transfer register"),
            ("VN", "VN", "not_home"),
            ("SG", "SG", "served, no Vietnamese law covers them"),
        ):
            person = self._person(country, self.addresses.of(country), citizenship)
            await self.crowd.sign_up(person)
            answer = await self.crowd.subscribe(person)
            who = f"{person.name} ({person.where})"
            if how == "not_home":
                held = answer.status == 451 and answer.body.get("reason") == how
                self._keep(held, f"{who}: refused with {answer.status}, the address must lie in Vietnam first")
            else:
                self._keep(answer.status == 201, f"{who}: {how}")

    async def unverified(self) -> None:
        """A post by an account whose phone was never checked."""
        self.screen.title(
            "an unverified account's post", "the token says who it is, and that nobody ever checked a phone or ID"
        )
        for country, refused in (("VN", True), ("SG", False)):
            person = self._person(country, self.addresses.of(country))
            await self.crowd.sign_up(person)
            answer = await self.crowd.post(person, verified=False)
            if refused:
                self._keep(answer.status == 403, f"{person.name} ({person.where}): refused with {answer.status}")
                self.screen.problem(answer.status or 0, answer.body)
                again = await self.crowd.post(person)
                self._keep(again.status == 201, "the same person, once their phone is verified: posted")
            else:
                self._keep(answer.status == 201, f"{person.name} ({person.where}): posted, that rule is not theirs")

    async def kill(self) -> None:
        """`kill -9` of the whole process group while writes are in flight, and a restart."""
        self.screen.title(
            "kill -9 under load", f"{_WORKERS} clients write at once; the server's process group gets SIGKILL"
        )
        stop = asyncio.Event()
        before = self.ledger.count("acknowledged")
        workers = [asyncio.create_task(self._write_until(stop)) for _ in range(_WORKERS)]
        deadline = time.monotonic() + _LOAD_LIMIT
        try:
            while self.ledger.count("acknowledged") - before < _LOAD and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            self.ledger.killed()
            acknowledged = self.ledger.count("acknowledged") - before
            self.server.kill()
        finally:
            stop.set()
            results = await asyncio.gather(*workers, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        cut = self.ledger.count("unknown")
        self.screen.say(
            f"killed after {acknowledged} acknowledged writes; {cut} requests were in flight and got no answer"
        )
        self._keep(acknowledged > 0 and cut > 0, "the kill came in the middle of the load")
        began = time.monotonic()
        await self.server.start()
        self.screen.say(f"started again; serving after {time.monotonic() - began:.1f} s")
        lost = self._lost()
        self._keep(not lost, f"every acknowledged write is in its region's database ({len(lost)} missing)")
        signed_up = [c for c in self.ledger.requests if c["kind"] == "sign_up" and c["outcome"] == "acknowledged"]
        sample = self._chance.sample(signed_up, min(12, len(signed_up)))
        answers = [await self.crowd.read(self._by_key[claim["person"]]) for claim in sample]
        self._keep(
            all(a.status == 200 for a in answers), f"{len(answers)} of them asked for over the API: all answered"
        )

    # -- helpers -----------------------------------------------------------------------------------------------

    @property
    def _by_key(self) -> dict[str, Person]:
        keys = Person.__dataclass_fields__
        return {k: Person(**{f: v[f] for f in keys}) for k, v in self.ledger.people.items()}

    async def _write_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            (person,) = self._people(1, plain=True)
            answer = await self.crowd.sign_up(person)
            if answer.status == 201:
                await self.crowd.post(person)
            if answer.status == 201 and not stop.is_set():
                await self.crowd.chat(person, 3)
            if answer.status is None:
                return

    def _lost(self) -> list[int]:
        """Claims acknowledged whose row is in neither database: a first look, before the independent one."""
        there: set[str] = set()
        for sink in SINKS:
            path = self.ledger.folder / f"{sink}.sqlite"
            with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
                for table in ("people", "posts", "messages"):
                    there |= {row[0] for row in connection.execute(f"SELECT id FROM {table}")}  # noqa: S608 - our names
        kinds = ("sign_up", "post", "chat")
        return [
            c["n"]
            for c in self.ledger.requests
            if c["outcome"] == "acknowledged" and c["kind"] in kinds and c["record"] not in there
        ]

    def _people(self, number: int, *, plain: bool = False) -> list[Person]:
        made = people(self.addresses, number, self._chance.getrandbits(32), self._next, mixed=plain)
        self._next += number
        return made

    def _person(self, country: str | None, source: str, citizenship: str | None = None) -> Person:
        self._next += 1
        return somebody(self._chance, self._next - 1, source, country, citizenship, verified=True)

    def _remember(self, *answers: Answer) -> None:
        self._known += [answer.person for answer in answers if answer.status == 201]

    async def _show(self, *answers: Answer) -> None:
        # All are expected before the log is read again: an entry that nobody waits for is passed over.
        for answer in answers:
            self.feed.expect(answer)
        for row in self.feed.poll():
            self.screen.row(row)
        await self._pause(0.12)

    async def _drain(self) -> None:
        """Wait for the log to publish what is still awaited; three seconds are six times its promise."""
        for _ in range(60):
            for row in self.feed.poll():
                self.screen.row(row)
            if self.feed.waiting == 0:
                return
            await asyncio.sleep(0.05)

    async def _pause(self, seconds: float) -> None:
        if self.leisurely:
            await asyncio.sleep(seconds)

    def _keep(self, kept: bool, text: str) -> None:
        self._kept = self._kept and kept
        self.ledger.scenes.append({"kept": kept, "text": text})
        self.screen.say(text, good=kept)
