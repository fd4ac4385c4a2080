"""The routes an app's router knows, in the words of a deployment file; whose app is read how is tests/unit/asgi's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from litestar import Litestar
from litestar import get as litestar_get
from litestar.params import FromPath
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from residency import ResidencyMiddleware, UsageError
from residency.cli.app_routes import app_routes, load_app, spelled


def spelled_routes(app: Any) -> list[tuple[str, str]]:
    return [each for route in app_routes(app).routes or () if route.serves for each in spelled(route)]


async def hello(request: Request) -> PlainTextResponse:
    """Any handler."""
    return PlainTextResponse("hello")


async def talk(socket: WebSocket) -> None:
    """Any WebSocket."""


def test_starlettes_routes_mounts_and_converters() -> None:
    app = Starlette(
        routes=[
            Route("/", hello),
            Route("/files/{rest:path}", hello, methods=["PUT"]),
            WebSocketRoute("/chat", talk),
            Mount("/v1", routes=[Route("/people/{id:int}", hello, methods=["GET", "DELETE"])]),
            Mount("/static", StaticFiles(directory=".")),
        ]
    )
    expected = {
        ("GET", "/"),
        ("PUT", "/files/{rest:path}"),
        ("WS", "/chat"),
        ("GET", "/v1/people/{id}"),
        ("DELETE", "/v1/people/{id}"),
        ("ANY", "/static/{rest:path}"),
        ("WS", "/static/{rest:path}"),
    }
    assert set(spelled_routes(app)) == expected
    assert set(spelled_routes(ResidencyMiddleware(app, policy="none.yaml"))) == expected


def test_fastapis_included_routers() -> None:
    inner = APIRouter(prefix="/posts")
    inner.add_api_route("/{id}", hello, methods=["GET"])
    inner.add_api_websocket_route("/live", talk)
    outer = APIRouter(prefix="/v1")
    outer.include_router(inner)
    app = FastAPI(openapi_url=None)
    app.include_router(outer, prefix="/api")
    assert set(spelled_routes(app)) == {("GET", "/api/v1/posts/{id}"), ("WS", "/api/v1/posts/live")}


def test_litestars_routes() -> None:
    @litestar_get("/hello/{name:str}")
    async def greet(name: FromPath[str]) -> str:
        return name

    assert spelled_routes(Litestar([greet], openapi_config=None)) == [("GET", "/hello/{name}")]


def test_an_app_or_route_that_shows_nothing_is_wrong_use_and_not_left_out() -> None:
    for app in (hello, Starlette(routes=[BaseRoute()])):
        with pytest.raises(UsageError):
            app_routes(app)


def test_an_app_is_found_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_of_a_test.py").write_text(
        "from starlette.applications import Starlette\nclass api:\n    app = Starlette()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [])
    loaded: Any = load_app("shop_of_a_test:api.app")
    assert app_routes(loaded).routes == ()
    for wrong in ("shop_of_a_test", "shop_of_a_test:nothing", "no_such_module_here:app", ":app"):
        with pytest.raises(UsageError):
            load_app(wrong)
