"""A store whose sink is away, asked by a handler of each framework that lets the error through: one answer for all.

Some frameworks answer 500 while the error is still being handled, so that the edge sees it; others have left it behind.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from residency import Residency, ResidencyMiddleware, build, current, sql
from residency.errors import SinkUnavailable
from tests.routed import configure_django

POLICY = """\
residency: 1
kind: deployment
name: away
mode: enforce
operator: {established_in: [VN]}
laws: none
regions: {vn-han: {country: VN}}
sinks:
  notes-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "memory:"}
  people-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///people.db"}
  gone-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "sqlite+aiosqlite:///gone.db"}
  llm-vn: {region: vn-han, provider: VN, keys: VN, encrypted: true, url: "http://127.0.0.1:1/"}
stores: {notes: [notes-vn], people: [people-vn], gone: [gone-vn], llm: [llm-vn]}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
  - {route: "POST /objects", subject: none, data: [content], operation: write, store: notes}
  - {route: "GET /listed", subject: none, data: [content], store: notes}
  - {route: "POST /table", subject: none, data: [content], operation: write, store: people}
  - {route: "GET /connect", subject: none, data: [content], store: gone}
  - {route: "POST /service", subject: none, data: [content], operation: process, http: llm}
  - {route: "POST /caught", subject: none, data: [content], operation: write, store: notes}
  - {route: "POST /own", subject: none, data: [content], operation: write, store: notes}
"""
Handler = Callable[[], Awaitable[str]]


async def objects() -> str:
    await current().store("notes").put("k", b"v")
    return "done"


async def listed() -> str:
    return ",".join([meta.key async for meta in current().store("notes").list()])


async def table() -> str:
    async with sql.async_sessionmaker("people")() as session:
        await session.execute(text("INSERT INTO people VALUES (1)"))
        await session.commit()
    return "done"


async def connect() -> str:
    async with sql.async_sessionmaker("gone")() as session:
        return str((await session.execute(text("SELECT 1"))).scalar_one())


async def service() -> str:
    async with current().http("llm") as client:
        return str((await client.post("/chat")).text)


async def caught() -> str:
    try:
        return await objects()
    except SinkUnavailable:
        return "mine"


async def own() -> str:
    await caught()
    raise LookupError("a bug")


LETS = {"objects": "notes-vn", "listed": "notes-vn", "table": "people-vn", "connect": "gone-vn", "service": "llm-vn"}
HANDLERS: dict[str, Handler] = {
    each.__name__: each for each in (objects, listed, table, connect, service, caught, own)
}  # fmt: skip
METHODS = {name: "GET" if name in ("listed", "connect") else "POST" for name in HANDLERS}


def starlette() -> Any:
    """Starlette's app."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    def route(name: str) -> Any:
        async def endpoint(request: Any) -> Any:
            return PlainTextResponse(await HANDLERS[name]())

        return Route(f"/{name}", endpoint, methods=[METHODS[name]])

    return Starlette(routes=[route(name) for name in HANDLERS])


def fastapi() -> Any:
    """FastAPI's."""
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)
    for name, handler in HANDLERS.items():
        app.add_api_route(f"/{name}", handler, methods=[METHODS[name]])
    return app


def litestar() -> Any:
    """Litestar's."""
    from litestar import Litestar, MediaType, route

    def made(name: str) -> Any:
        async def endpoint() -> str:
            return await HANDLERS[name]()

        verb: Any = METHODS[name]
        return route(f"/{name}", http_method=[verb], media_type=MediaType.TEXT, status_code=200)(endpoint)

    return Litestar([made(name) for name in HANDLERS], openapi_config=None)


@cache
def _django_urls() -> ModuleType:
    configure_django()
    from django.http import HttpResponse
    from django.urls import path

    def made(name: str) -> Any:
        async def view(request: Any) -> Any:
            return HttpResponse(await HANDLERS[name]())

        return path(name, view)

    urls = ModuleType("away_urls")
    urls.urlpatterns = [made(name) for name in HANDLERS]  # type: ignore[attr-defined]
    return urls


def django() -> Any:
    """Django's, with nothing of ours but the line in the ASGI file."""
    urls = _django_urls()
    from django.core.asgi import get_asgi_application
    from django.test import override_settings

    app = get_asgi_application()

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[], ALLOWED_HOSTS=["*"]):
            await app(scope, receive, send)

    return asked


def quart() -> Any:
    """Quart's."""
    from quart import Quart

    app = Quart(__name__, static_folder=None)
    for name, handler in HANDLERS.items():
        app.add_url_rule(f"/{name}", name, handler, methods=[METHODS[name]])
    return app


def blacksheep() -> Any:
    """BlackSheep's."""
    from blacksheep import Application, Response, TextContent
    from blacksheep.server.routing import Router

    app = Application(router=Router())

    def made(name: str) -> Any:
        async def endpoint() -> Any:
            return Response(200, content=TextContent(await HANDLERS[name]()))

        endpoint.__annotations__ = {}
        return endpoint

    for name in HANDLERS:
        app.router.add(METHODS[name], f"/{name}", made(name))
    return app


MAKERS: dict[str, Callable[[], Any]] = {
    each.__name__: each for each in (starlette, fastapi, litestar, django, quart, blacksheep)
}  # fmt: skip
SHOWN = frozenset({"starlette", "fastapi", "litestar"})
"""Frameworks that answer while the error is being handled."""


@pytest.fixture
def runtime(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Residency:
    """A runtime of that deployment."""
    caplog.set_level(logging.CRITICAL)  # what frameworks log of errors is theirs
    file = tmp_path / "deployment.yaml"
    file.write_text(POLICY)
    return build(str(file))


async def _away(runtime: Residency, folder: Path) -> None:
    """Start, and take the sinks away."""
    await runtime.start()
    stores: Any = runtime.point.stores
    await stores.sinks_of("notes")[0].aclose()
    await stores.sinks_of("gone")[0].aclose()
    (folder / "gone.db").unlink()
    (folder / "gone.db").mkdir()


def asked(runtime: Residency, folder: Path, framework: str, *names: str) -> list[httpx.Response]:
    """What is answered on each route, the last one told."""

    async def run() -> list[httpx.Response]:
        await _away(runtime, folder)
        app = MAKERS[framework]()
        if framework == "blacksheep":
            await app.start()
        transport = httpx.ASGITransport(ResidencyMiddleware(app, policy=runtime), raise_app_exceptions=False)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return [await client.request(METHODS[name], f"/{name}") for name in names]
        finally:
            await runtime.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize("framework", MAKERS)
def test_a_sink_that_is_away_is_a_503_that_names_it_whatever_the_framework(
    runtime: Residency, tmp_path: Path, framework: str
) -> None:
    for (name, sink), answer in zip(LETS.items(), asked(runtime, tmp_path, framework, *LETS), strict=True):
        assert (name, answer.status_code) == (name, 503), answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert int(answer.headers["retry-after"]) > 0
        document = json.loads(answer.text)
        assert document["reason"] == "sink_unavailable"
        assert repr(sink) in document["detail"]
    page = runtime.render_metrics()[0].decode()
    assert f'residency_refusals_total{{reason="sink_unavailable"}} {float(len(LETS))}' in page


@pytest.mark.parametrize("framework", MAKERS)
def test_an_app_that_catches_it_answers_as_it_likes(runtime: Residency, tmp_path: Path, framework: str) -> None:
    (answer,) = asked(runtime, tmp_path, framework, "caught")
    assert (answer.status_code, answer.text.strip('"')) == (200, "mine")


@pytest.mark.parametrize("framework", sorted(SHOWN))
def test_an_error_of_the_apps_own_after_it_stays_its_own_where_it_is_seen(
    runtime: Residency, tmp_path: Path, framework: str
) -> None:
    (answer,) = asked(runtime, tmp_path, framework, "own")
    assert answer.status_code == 500
