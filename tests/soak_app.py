"""For tests: the app that is loaded, and what its two instances deploy: one at home, and one abroad that hands over.

Two places may hold what is kept of people at home (VN and KR); a third one (SG) may not.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import String, or_, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.authentication import SimpleUser
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from residency import NotFound, ResidencyMiddleware, about, about_many, current, gather, sql

__all__ = ["ABROAD", "AT_HOME", "LAW", "Base", "app", "instance"]

LAW = """
  - id: test.home
    article: art. 1
    text: At home only.
    applies: {anchor: territory, data: personal}
    duty: {only: [VN, KR]}
  - id: test.people
    article: art. 2
    text: Whoever lives at home, too.
    applies: {anchor: residence, data: personal}
    duty: {only: [VN, KR]}
"""
_ACTIVITIES = """
  - {route: "POST /people", subject: user, data: [personal], store: [people, files, cache]}
  - {route: "GET /people", subject: user, data: [personal], store: [people, files, cache]}
  - {route: "PUT /people", subject: user, data: [personal], store: [people]}
  - {route: "DELETE /people", subject: user, data: [personal], store: [people, files]}
  - {route: "POST /ask", subject: user, data: [personal], operation: process, http: model}
  - {route: "POST /late", subject: app, data: [personal], store: people}
  - {route: "GET /of", subject: user, data: [personal], store: people}
  - {route: "GET /row", subject: user, data: [personal], store: people}
  - {route: "POST /many", subject: user, data: [personal], operation: read, store: people}
  - {route: "GET /list", subject: none, data: [personal], store: people}
"""
_REST = """
signals:
  client_address: {strategy: rightmost_trusted_range, trusted: [127.0.0.0/8]}
  identity: {user: verified}
metrics: /metrics
readers: decide
locators: {SG: "CACHE_SG"}
records:
  people: {person: {subject: who, data: [personal]}}
  files: {"users/{subject}/": {data: [personal]}}
"""


def _sinks(*places: str) -> str:
    """Sinks and stores in these places; their URLs are words such as ROWS_VN, to be replaced."""
    regions = {"sg": "sg", "vn": "vn-han", "kr": "kr"}
    stores = {"people": "ROWS", "files": "FILES", "cache": "CACHE", "model": "MODEL"}
    lines = []
    for store, word in stores.items():
        for place in places:
            country, more = place.upper(), ", in_transit: false, scope: cache" if store == "cache" else ""
            where = f"region: {regions[place]}, provider: {country}, keys: {country}, encrypted: true{more}"
            lines.append(f'  {store}-{place}: {{{where}, url: "{word}_{country}"}}')
    names = [f"  {store}: [{', '.join(f'{store}-{place}' for place in places)}]" for store in stores]
    return "\n".join(["sinks:", *lines, "stores:", *names, "activities:"]) + _ACTIVITIES + _REST


AT_HOME = (
    _sinks("sg", "vn", "kr")
    + """
audit: {folder: ABROAD/audit, detail: {VN: HOME/detail, KR: HOME/detail-kr}}
keys: {folder: HOME/keys}
pins: {url: "sqlite:///HOME/pins.db"}
copies: {people: {to: [people-sg], withdraw: true}, files: {to: [files-sg], withdraw: true}}
"""
)
"""The deployment of the instance at home. Its log is public, so it may lie anywhere: it lies abroad. Copies of all that
lies at home are wanted abroad, and the law lets those go of whom it says nothing."""
ABROAD = (
    _sinks("sg")
    + """
hand_over: {VN: {url: "INSTANCE_HOME", how: proxy}}
audit: {folder: EDGE/audit}
keys: {folder: EDGE/keys}
pins: {url: "sqlite:///EDGE/pins.db"}
"""
)


class Base(DeclarativeBase):
    """The app's tables."""


def key_of(context: Any) -> str:
    """A key that shows whose it is, as none should: where it is asked after abroad, it is seen."""
    return f"{context.get_current_parameters()['name']}-{uuid.uuid4()}"


class Person(Base):
    """What is kept of a person; `who` is their id."""

    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String, primary_key=True, default=key_of)
    who: Mapped[str] = mapped_column(String, index=True)
    name: Mapped[str] = mapped_column(String, index=True)


People = sql.async_sessionmaker("people", expire_on_commit=False)


async def create(request: Request) -> Response:
    """Keep a person's row, file and cache entry."""
    told = await request.json()
    here, who = current(), request.user.display_name
    async with People.begin() as session:
        person = Person(who=who, name=told["name"])
        session.add(person)
        if told.get("slow"):
            await session.flush()
            await asyncio.sleep(told["slow"])
        if told.get("undo"):
            raise RuntimeError("the app fails on its own")
        if told.get("clash"):  # what the database says of it quotes the key
            await session.flush()
            for _ in range(2):
                session.add(Person(id=f"{told['name']}-twice", who=who, name=told["name"]))
                await session.flush()
                session.expunge_all()
    await here.store("files").put(f"users/{who}/{told['name']}.txt", told["name"].encode() * 20)
    # For longer than a soak may last: what lay there is to be found afterwards.
    await here.store("cache").set(f"profile-{uuid.uuid4()}", told["name"].encode(), ttl=7200)
    return JSONResponse(
        {"sink": here.store("people").sink_name, "id": person.id},
        background=BackgroundTask(note, who, told["name"]) if told.get("note") else None,
    )


async def note(who: str, name: str) -> None:
    """A background task that writes, too."""
    async with People.begin() as session:
        session.add(Person(who=who, name=f"{name}-later"))


async def show(request: Request) -> Response:
    """All that there is of the person."""
    here, who = current(), request.user.display_name
    async with People() as session:
        found = (await session.scalars(select(Person).where(Person.who == who))).all()
    files = [meta.key async for meta in here.store("files").list(f"users/{who}/")]
    return JSONResponse(
        {"names": [person.name for person in found], "files": files, "sink": here.store("people").sink_name}
    )


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
        session.add(Person(who=told["who"], name=told["name"]))
    return JSONResponse({})


async def of(request: Request) -> Response:
    """What there is of somebody else."""
    who = request.headers["x-of"]
    async with about(who) as here, People() as session:
        found = (await session.scalars(select(Person).where(Person.who == who))).all()
        return JSONResponse({"names": [person.name for person in found], "sink": here.store("people").sink_name})


async def row(request: Request) -> Response:
    """One row of somebody else, by its key."""
    key = request.headers["x-of"]
    try:
        async with about(row=("person", key)), People() as session:
            found = await session.get(Person, key)
    except NotFound:
        found = None
    return JSONResponse({} if found is None else {"name": found.name}, 404 if found is None else 200)


async def many(request: Request) -> Response:
    """What there is of many, and their rows by their keys."""
    told = await request.json()
    those = await about_many(told["subjects"], rows=[("person", key) for key in told["rows"]])
    names: set[str] = set()
    for group in those.groups:
        whose = [each for each in group.asked if isinstance(each, str)]
        keys = [each[1] for each in group.asked if isinstance(each, tuple)]
        async with group, People() as session:
            chosen = select(Person).where(or_(Person.who.in_(whose), Person.id.in_(keys)))
            names |= {person.name for person in await session.scalars(chosen)}
    refused = [str(each) for each, _ in those.refused]
    return JSONResponse({"names": sorted(names), "refused": len(refused), "unknown": len(those.unknown)})


_SORTED = {"id": select(Person).order_by(Person.id), "name": select(Person).order_by(Person.name.desc())}


async def everybody(request: Request) -> Response:
    """A page of all people, wherever they live."""
    by, limit, cursor = request.headers["x-by"], int(request.headers["x-limit"]), request.headers.get("x-cursor")
    async with gather("people") as people:
        page = await people.scalars(_SORTED[by], limit=limit, cursor=cursor)
    people_of = [{"id": person.id, "who": person.who, "name": person.name} for person in page]
    return JSONResponse({"people": people_of, "missing": sorted(page.missing), "cursor": page.cursor})


ROUTES = [
    Route("/people", create, methods=["POST"]),
    Route("/people", show, methods=["GET"]),
    Route("/people", change, methods=["PUT"]),
    Route("/people", remove, methods=["DELETE"]),
    Route("/ask", ask, methods=["POST"]),
    Route("/late", late, methods=["POST"]),
    Route("/of", of, methods=["GET"]),
    Route("/row", row, methods=["GET"]),
    Route("/many", many, methods=["POST"]),
    Route("/list", everybody, methods=["GET"]),
]


def app(policy: str | Path) -> Any:
    """The app under the middleware; the header `x-who` says who somebody is, as a gateway would."""
    inner = ResidencyMiddleware(Starlette(routes=ROUTES), policy=policy)

    async def known(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            who = dict(scope["headers"]).get(b"x-who", b"").decode()
            scope = {**scope, "user": SimpleUser(who)}
        await inner(scope, receive, send)

    return known


def instance() -> Any:
    """The instance of this process, by the deployment that its environment names."""
    return app(os.environ["SOAK_DEPLOYMENT"])
