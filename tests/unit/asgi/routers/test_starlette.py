"""Starlette's and FastAPI's routes, in the order in which they are asked."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

from residency.asgi.routers.starlette import read
from residency.policy.activities import AppRoute


async def hello(request: Request) -> PlainTextResponse:
    """Any handler."""
    return PlainTextResponse("hello")


async def opaque(scope: Any, receive: Any, send: Any) -> None:
    """An app that shows no routes."""


def routes(app: Any) -> tuple[AppRoute, ...]:
    found = read(app)
    assert found is not None
    return found.routes or ()


def test_a_converter_makes_a_route_that_is_asked_itself() -> None:
    plain, number = routes(Starlette(routes=[Route("/a/{x}", hello), Route("/b/{n:int}", hello)]))
    assert plain.test is None
    assert number.test is not None
    assert (number.path, number.test("/b/7"), number.test("/b/x")) == ("/b/{n}", True, False)


def test_a_mount_keeps_its_paths_and_serves_them_only_where_it_shows_no_routes() -> None:
    known = routes(Starlette(routes=[Mount("/m", routes=[Route("/a", hello)])]))
    assert [(each.path, each.serves) for each in known] == [
        ("/m/a", True), ("/m/{rest:path}", False), ("/m/{rest:path}", False),
    ]  # fmt: skip
    assert all(each.serves for each in routes(Starlette(routes=[Mount("/m", app=opaque)])))


def test_a_host_is_not_sure_and_a_default_takes_the_rest() -> None:
    assert [each.sure for each in routes(Starlette(routes=[Host("x.example", Router([Route("/a", hello)]))]))] == [
        False
    ]
    with_default = routes(Router([Route("/a", hello)], default=opaque))
    assert [each.path for each in with_default] == ["/a", "/{rest:path}", "/{rest:path}"]


def test_fastapis_own_root_is_taken() -> None:
    app = FastAPI()
    app.root_path = "/api/"
    found = read(app)
    assert found is not None
    assert (found.framework.name, found.root) == ("fastapi", "/api")
    assert read(hello) is None
