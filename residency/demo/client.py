"""The demo's crowd: a person and a wish in, a real request through the proxy, its claim and its answer out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from residency.demo.ledger import Claim, Ledger
from residency.demo.proxy import SOURCE_HEADER
from residency.demo.traffic import Person

__all__ = ["Answer", "Crowd"]

_TIMEOUT = 20.0


@dataclass(slots=True)
class Answer:
    """What a request came to, for the screen. `receipt` is the app's, `problem` the refusal's document."""

    claim: Claim
    person: Person
    status: int | None = None
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def receipt(self) -> dict[str, Any]:
        """What the app told of the decision; empty where nothing was acknowledged."""
        found = self.body.get("receipt")
        return found if isinstance(found, dict) else {}


class Crowd:
    """Everybody's client. A request without an answer leaves its claim `unknown`; its Answer has no status."""

    def __init__(self, ledger: Ledger, port: int, token_key: bytes) -> None:
        self.ledger = ledger
        self.port = port
        self._key = OctKey.import_key(token_key)
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=_TIMEOUT)

    async def aclose(self) -> None:
        """Let all connections go."""
        await self._http.aclose()

    def token(self, person: Person, *, verified: bool) -> str:
        """The app's own token, as its login would issue it."""
        claims: dict[str, Any] = {"sub": self.ledger.people[person.key]["id"], "exp": int(time.time()) + 3600}
        if person.citizenship is not None:
            claims["nationality"] = person.citizenship
        if verified:
            claims["verified_by"] = "phone"
        return jwt.encode({"alg": "HS256"}, claims, self._key)

    async def sign_up(self, person: Person, *, forged: str | None = None, twin: int | None = None) -> Answer:
        """Make an account, without a token; `forged` is an X-Forwarded-For the client itself sends."""
        self.ledger.know(person)
        claim = self.ledger.send(
            "sign_up", "POST /v1/people", person, table="people", mark=person.email, forged=forged, twin=twin
        )
        headers = {} if forged is None else {"x-forwarded-for": forged}
        form = {"name": person.name, "email": person.email, "citizenship": person.citizenship}
        answer = await self._send(claim, person, "POST", "/v1/people", headers, form)
        if answer.status == 201:
            self.ledger.signed_up(person, answer.body["id"], answer.receipt["alias"])
        return answer

    async def post(self, person: Person, *, verified: bool = True) -> Answer:
        """Write a post with a token; `verified=False` = the account's phone was never checked."""
        kind = "post" if verified else "unverified_post"
        claim = self.ledger.send(kind, "POST /v1/posts", person, table="posts", mark=self._text(person))
        headers = {"authorization": f"Bearer {self.token(person, verified=verified)}"}
        return await self._send(claim, person, "POST", "/v1/posts", headers, {"body": claim["mark"]})

    async def post_without_token(self, person: Person) -> Answer:
        """Write a post as nobody: the app's own authentication says no."""
        claim = self.ledger.send("no_token", "POST /v1/posts", person, table="posts", mark=self._text(person))
        return await self._send(claim, person, "POST", "/v1/posts", {}, {"body": claim["mark"]})

    async def read(self, person: Person) -> Answer:
        """Read a person's public face, without a token."""
        claim = self.ledger.send("read", "GET /v1/people/{id}", person, table="people", mark=person.email)
        return await self._send(claim, person, "GET", f"/v1/people/{claim['record']}", {}, None)

    async def read_post(self, reader: Person, author: Person, post: str) -> Answer:
        """Read somebody else's post: the claim is about the author, the address is the reader's."""
        claim = self.ledger.send("read", "GET /v1/posts/{id}", author, table="posts", mark=f"read {post}")
        path = f"/v1/posts/{post}?author={self.ledger.people[author.key]['id']}"
        return await self._send(claim, author, "GET", path, {SOURCE_HEADER: reader.source}, None)

    async def export(self, person: Person) -> Answer:
        """Ask the deliberately wrong route to copy this profile to Singapore."""
        activity = "POST /v1/people/export-to-singapore"
        claim = self.ledger.send("export", activity, person, table="people", mark=person.email)
        headers = {"authorization": f"Bearer {self.token(person, verified=True)}"}
        form = {"name": person.name, "email": person.email, "citizenship": person.citizenship}
        return await self._send(claim, person, "POST", "/v1/people/export-to-singapore", headers, form)

    async def subscribe(self, person: Person) -> Answer:
        """Ask for the newsletter, which a mailing service in Singapore sends."""
        mark = f"news+{person.email}"
        claim = self.ledger.send("newsletter", "POST /v1/newsletter", person, table="subscriptions", mark=mark)
        headers = {"authorization": f"Bearer {self.token(person, verified=True)}"}
        return await self._send(claim, person, "POST", "/v1/newsletter", headers, {"email": mark})

    async def chat(self, person: Person, lines: int) -> list[Answer]:
        """Open a WebSocket, say `lines` lines one after the other, and wait for each to be acknowledged."""
        answers: list[Answer] = []
        headers = {
            SOURCE_HEADER: person.source,
            "authorization": f"Bearer {self.token(person, verified=person.verified)}",
        }
        try:
            async with connect(
                f"ws://127.0.0.1:{self.port}/v1/chat", additional_headers=headers, proxy=None, open_timeout=_TIMEOUT
            ) as socket:
                for _ in range(lines):
                    answers.append(await self._say(socket, person))
                    if answers[-1].status is None:
                        break
        except InvalidStatus as refusal:
            if refusal.response.status_code != 502:  # 502: the proxy found no server
                raise RuntimeError(f"the chat was refused with {refusal.response.status_code}") from None
        except (OSError, InvalidHandshake, TimeoutError, ConnectionClosed):
            pass  # cut off before or after its lines; those said without an answer stay unknown
        return answers

    async def _say(self, socket: ClientConnection, person: Person) -> Answer:

        claim = self.ledger.send("chat", "WS /v1/chat", person, table="messages", mark=self._text(person))
        answer = Answer(claim, person)
        try:
            await socket.send(claim["mark"])
            answer.body = json.loads(await socket.recv())
        except (OSError, ConnectionClosed):
            return answer
        answer.status = 201
        self.ledger.acknowledged(claim, 201, answer.body["id"], answer.receipt["alias"])
        return answer

    async def _send(
        self, claim: Claim, person: Person, method: str, path: str, headers: dict[str, str], form: dict[str, Any] | None
    ) -> Answer:
        answer = Answer(claim, person)
        try:
            response = await self._http.request(
                method, path, headers={SOURCE_HEADER: person.source, **headers}, json=form
            )
        except httpx.HTTPError:
            return answer
        if response.status_code == 502:
            return answer  # the proxy found no server: nothing is known
        answer.status = response.status_code
        kind = response.headers.get("content-type", "")
        answer.body = response.json() if "json" in kind else {}
        if response.is_success:
            self.ledger.acknowledged(claim, answer.status, answer.body["id"], answer.receipt["alias"])
        elif kind == "application/problem+json":
            rules = [rule["id"] for rule in answer.body.get("rules", ())]
            self.ledger.refused(claim, answer.status, answer.body["reason"], rules)
        else:
            self.ledger.rejected(claim, answer.status)
        return answer

    def _text(self, person: Person) -> str:
        return f"hello from {person.key}, line {len(self.ledger.requests) + 1}"
