"""A small social API as somebody may already have it (people, posts, chat); its environment in, an ASGI app out.

FastAPI and SQLAlchemy 2, authentication in a dependency. What residency adds is marked `# residency`: the middleware,
where sessions come from, and a line that says whose data a request is about. Run by `residency demo`, or by hand:

    DEMO_DATA=$PWD/demo-data python -m uvicorn residency.demo.app:app

Environment: DEMO_DATA, the folder of databases, keys and logs; `demo.yaml` beside this file says what lies where.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, WebSocket, WebSocketDisconnect, WebSocketException
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel, Field

from residency import ResidencyMiddleware, about, identify  # residency
from residency.demo.receipt import receipt
from residency.demo.tables import Message, Person, Post, Subscription
from residency.integrations.sqlalchemy import async_sessionmaker, uuid7_key  # residency

__all__ = ["POLICY", "app"]

POLICY = Path(__file__).with_name("demo.yaml")
TOKEN_KEY = OctKey.import_key((Path(os.environ["DEMO_DATA"]) / "app-token.key").read_bytes())

Session = async_sessionmaker("people")  # residency: was async_sessionmaker(create_async_engine(URL))
Mail = async_sessionmaker("mail")  # residency: the mailing service, in Singapore
Singapore = async_sessionmaker("people", sink="people-sg")  # residency: that sink or a refusal

app = FastAPI(title="A small social API", summary="People, posts and chat, each stored where their law wants them.")
app.add_middleware(ResidencyMiddleware, policy=POLICY)  # residency


class NewPerson(BaseModel):
    """A sign-up form."""

    name: str = Field(min_length=1, max_length=200)
    email: str = Field(pattern=r"^\S+@\S+$", max_length=200)
    citizenship: str | None = Field(default=None, pattern="^[A-Z]{2}$", description="ISO 3166 code, if they say")


class NewReader(BaseModel):
    """Where the newsletter goes."""

    email: str = Field(pattern=r"^\S+@\S+$", max_length=200)


class NewPost(BaseModel):
    """A post's text."""

    body: str = Field(min_length=1, max_length=5000)


def _claims(authorization: str | None) -> dict[str, Any]:
    """What the app's own token says. Raises: ValueError."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        raise ValueError("no bearer token")
    try:
        claims = jwt.decode(token, TOKEN_KEY, algorithms=["HS256"]).claims
        jwt.JWTClaimsRegistry(exp={"essential": True}, sub={"essential": True}).validate(claims)
    except JoseError as error:
        raise ValueError("the token does not verify") from error
    return claims


async def _identify(claims: dict[str, Any]) -> str:
    await identify(  # residency: now it is known whose data this is about; what a token does not say is no signal
        claims["sub"], verified=True, citizenship=claims.get("nationality"), verified_by=claims.get("verified_by")
    )
    return str(claims["sub"])


async def account(authorization: Annotated[str | None, Header()] = None) -> str:
    """The id of the account whose token the request carries."""
    try:
        claims = _claims(authorization)
    except ValueError as error:
        raise HTTPException(401, str(error), headers={"www-authenticate": "Bearer"}) from error
    return await _identify(claims)


async def chat_account(authorization: Annotated[str | None, Header()] = None) -> str:
    """As `account`, for a WebSocket."""
    try:
        claims = _claims(authorization)
    except ValueError as error:
        raise WebSocketException(1008, str(error)) from error
    return await _identify(claims)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the server serves."""
    return {"status": "ok"}


@app.post("/v1/people", status_code=201)
async def sign_up(new: NewPerson) -> dict[str, Any]:
    """Make an account. Nobody is logged in yet, so the id is made here and said to residency."""
    person = Person(id=uuid7_key(), **new.model_dump())
    await identify(person.id, citizenship=new.citizenship)  # residency: what they declare, as declared
    async with Session.begin() as session:
        session.add(person)
    return {"id": person.id, "receipt": receipt()}


@app.get("/v1/people/{id}")
async def read_person(id: str) -> dict[str, Any]:  # noqa: A002 - the path's own word
    """An account's public face, read from where the person's data lies."""
    async with Session() as session:
        person = await session.get(Person, id)
    if person is None:
        raise HTTPException(404, "no such person")
    return {"id": person.id, "name": person.name, "receipt": receipt()}


@app.post("/v1/posts", status_code=201)
async def write_post(new: NewPost, author: Annotated[str, Depends(account)]) -> dict[str, Any]:
    """Post something. Under Vietnamese law only verified accounts may (Decree 333/2026 art. 16(2))."""
    async with Session.begin() as session:
        session.add(post := Post(id=uuid7_key(), author=author, body=new.body))
    return {"id": post.id, "receipt": receipt()}


@app.get("/v1/posts/{id}")
async def read_post(id: str, author: str) -> dict[str, Any]:  # noqa: A002 - the path's own word
    """A post, read by anybody: the author's law and home count, not the reader's."""
    async with about(author), Session() as session:  # residency
        post = await session.get(Post, id)
        if post is None:
            raise HTTPException(404, "no such post")
        return {"id": post.id, "author": post.author, "body": post.body, "receipt": receipt()}


@app.post("/v1/people/export-to-singapore", status_code=201)
async def export_to_singapore(id: Annotated[str, Depends(account)], copy: NewPerson) -> dict[str, Any]:  # noqa: A002 - an account's id, as apps call it
    """Deliberately wrong: copies a profile to Singapore by name, whoever it is about."""
    async with Singapore.begin() as session:  # residency: refused here for whom the law keeps at home
        await session.merge(Person(id=id, **copy.model_dump()))
    return {"id": id, "receipt": receipt("people-sg")}


@app.post("/v1/newsletter", status_code=201)
async def subscribe(reader: NewReader, id: Annotated[str, Depends(account)]) -> dict[str, Any]:  # noqa: A002 - an account's id, as apps call it
    """Put an address on the list of a mailing service abroad: for whom the law asks, on the dossier that was filed."""
    async with Mail.begin() as session:
        await session.merge(Subscription(id=id, email=reader.email))
    return {"id": id, "receipt": receipt("mail-sg")}


@app.websocket("/v1/chat")
async def chat(socket: WebSocket, author: Annotated[str, Depends(chat_account)]) -> None:
    """Stores each line and answers it with its id, once it is stored."""
    await socket.accept()
    try:
        while True:
            body = await socket.receive_text()
            async with Session.begin() as session:
                session.add(message := Message(id=uuid7_key(), author=author, body=body))
            await socket.send_json({"id": message.id, "receipt": receipt()})
    except WebSocketDisconnect:
        return
