"""Which app is found under what wraps it, and what path of a scope it routes on."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import anyio
import pytest
from blacksheep import Application
from blacksheep.server.routing import Router as BlackSheepRouter
from litestar import Litestar
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from residency import ResidencyMiddleware
from residency.asgi.routing import Router, override, read_routes, target
from residency.model import Activity, Operation, SubjectSource
from residency.policy.activities import FRAMEWORKS, ActivityTable, Routing


async def hello(request: Request) -> PlainTextResponse:
    """Any handler."""
    return PlainTextResponse("hello")


class Wrapper:
    """What keeps an app under another name."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.inner(scope, receive, send)


def app() -> Starlette:
    return Starlette(routes=[Route("/a", hello)])


def test_an_app_is_found_under_whatever_is_wrapped_around_it() -> None:
    for wrapped in (app(), Wrapper(app()), ResidencyMiddleware(Wrapper(app()), policy="none.yaml")):
        found = read_routes(wrapped)
        assert found is not None
        assert (found.framework.name, [route.path for route in found.routes or ()]) == ("starlette", ["/a"])
    assert read_routes(hello) is None


def test_routes_that_are_added_before_the_first_request_are_known() -> None:
    added = app()
    router = Router(added)
    added.add_route("/b", hello)
    assert [route.path for route in router.routing({}).routes or ()] == ["/a", "/b"]
    assert router.routing({}) is router.routing({})


def test_an_app_that_cannot_be_read_is_one_that_is_not_known_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    router = Router(Starlette(routes=[BaseRoute()]))
    for _ in range(2):
        found = router.routing({})
        assert (found.framework, found.routes) == (FRAMEWORKS["asgi"], None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_the_deployment_says_counts_where_the_app_is_another_or_none() -> None:
    assert Router(hello, "django").routing({}).framework.name == "django"
    assert Router(hello).routing({}).framework.name == "asgi"
    named = Router(app(), "django").routing({})
    assert (named.framework.name, named.routes) == ("django", None)
    assert Router(app(), "fastapi").routing({}).routes is not None


def test_inside_of_litestar_its_app_is_found_in_the_scope_and_the_path_as_it_came_counts() -> None:
    scope = {
        "litestar_app": Litestar([], openapi_config=None),
        "route_handler": 1,
        "path": "/me",
        "raw_path": b"/m/m%65",
    }
    routing = Router(hello).routing(scope)
    assert routing.framework.name == "litestar"
    assert target(scope, routing) == ("/m/me", b"/m/m%65")


def test_a_mounted_app_wrapped_by_us_is_read_and_not_the_one_it_is_mounted_in() -> None:
    inner = ResidencyMiddleware(app(), policy="none.yaml")
    outer = Starlette(routes=[Mount("/v1", inner), Route("/{x}", hello)])
    assert [route.path for route in inner._router.routing({"app": outer}).routes or ()] == ["/a"]
    found = read_routes(outer)
    assert found is not None
    assert [route.path for route in found.routes or ()] == ["/v1/{rest:path}", "/v1/{rest:path}", "/{x}"]


def test_a_root_is_dropped_from_both_paths_where_the_framework_routes_on_what_came() -> None:
    scope = {"path": "/api/me", "raw_path": b"/api/m%65", "root_path": "/api"}
    assert target(scope, Routing(FRAMEWORKS["blacksheep"])) == ("/me", b"/m%65")
    assert target(scope, Routing(FRAMEWORKS["starlette"])) == ("/me", b"/api/m%65")
    assert target({"path": "/own/me"}, Routing(FRAMEWORKS["fastapi"], root="/own")) == ("/me", None)


def test_a_header_asks_for_another_method_only_where_it_names_another() -> None:
    assert override("POST", [(b"host", b"x")]) is None
    assert override("POST", [(b"x-http-method-override", b" delete ")]) == "DELETE"
    assert override("POST", [(b"x-method-override", b"post")]) is None
    several = [(b"x-http-method", b"put"), (b"x-method-override", b"POST"), (b"x-http-method", b"PUT")]
    assert override("POST", several) == "PUT"
    assert override("POST", [*several, (b"x-http-method-override", b"delete")]) == "PUT DELETE"


@pytest.mark.parametrize(
    ("kind", "raw", "root", "handler"),
    [
        ("http", "/static/x", "", "mounted"),
        ("http", "/api/staticx", "/api", "page"),
        ("http", "/static/me", "/static", "mounted"),
        ("http", "/staticx", "/api", "mounted"),
        ("websocket", "/static/x", "", "mounted socket"),
        ("websocket", "/%73tatic/x", "", "socket"),
        ("websocket", "/api/static/x", "/api", "socket"),
    ],
)
def test_blacksheep_asks_its_mounts_on_all_that_came_and_its_router_under_the_root(
    kind: str, raw: str, root: str, handler: str
) -> None:
    outer = Application(router=BlackSheepRouter())
    outer.router.add("GET", "/{page}", hello)
    outer.router.add_ws("/{x}/{y}", hello)
    outer.mount("/static", hello)
    anyio.run(outer.start)
    named = [
        ("GET", "/{page}", "page"), ("WS", "/{x}/{y}", "socket"),
        ("ANY", "/static/{rest:path}", "mounted"), ("WS", "/static/{rest:path}", "mounted socket"),
    ]  # fmt: skip
    nobody, data = SubjectSource("none"), frozenset({"personal"})
    table = ActivityTable([Activity(name, method, path, nobody, data, Operation.READ) for method, path, name in named])
    scope = {"type": kind, "path": unquote(raw), "raw_path": raw.encode(), "root_path": root}
    routing = Router(outer).routing(scope)
    path, came = target(scope, routing)
    found = table.match("WS" if kind == "websocket" else "GET", path, came, routing=routing)
    assert found.activity is not None
    assert found.activity.name == handler
