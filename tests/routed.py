"""In: a framework's name. Out: the same routes as an app of that framework, each of which says what served and what we
took it for; and all of them behind one ASGI app, chosen by a header, for a server to serve.

A handler answers `<handler|activity>`. The two must be the same wherever one is reached.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from residency import NoDecision, Residency, ResidencyMiddleware, build, current

POLICY = """
residency: 1
kind: deployment
name: routed
mode: enforce
operator: {established_in: [VN]}
laws: none
presume: {territory: not_covered}
signals: {client_address: {strategy: peer}}
audit: {folder: ./audit}
keys: {folder: ./keys}
pins: {url: "memory:"}
activities:
"""
# (name, method, path as the policy and Starlette write it), in the order in which apps register them: some that are
# registered first would take what later ones are written for.
ROUTES = (
    ("root", "GET", "/"),
    ("me", "GET", "/users/me"),
    ("user", "GET", "/users/{id}"),
    ("create", "POST", "/users"),
    ("order", "GET", "/orders/{id}"),
    ("orders", "GET", "/orders/all"),
    ("report", "GET", "/{tenant}/report"),
    ("admin", "GET", "/admin/{rest:path}"),
    ("number", "GET", "/num/{n:int}/a"),
    ("pair", "GET", "/num/{x}/{y}"),
    ("slash", "GET", "/slash/"),
    ("file", "GET", "/files/{rest:path}"),
    ("put", "PUT", "/files/{rest:path}"),
    ("chat", "WS", "/chat"),
    ("post", "POST", "/chat"),
    ("page", "GET", "/{page}"),
)
MOUNT = ("mounted", "ANY", "/static/{rest:path}")
FRAMEWORKS = ("starlette", "fastapi", "litestar", "django", "quart", "blacksheep")


def policy_text() -> str:
    """The deployment that names every route as itself."""
    lines = [
        f'  - {{route: "{method} {path.replace(":int", "")}", name: {name}, subject: none, data: [personal]}}'
        for name, method, path in (*ROUTES, MOUNT)
    ]
    return POLICY + "\n".join(lines) + "\n"


def said(handler: str) -> str:
    """What a handler answers."""
    try:
        here = current()
    except NoDecision:
        return f"<{handler}|>"
    return f"<{handler}|{here.activity.name}>"


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    """A mounted app that shows no routes."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said("mounted").encode()})


def starlette(wrap: Callable[[Any], Any]) -> Any:
    """Starlette's app."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute

    def route(name: str, method: str, path: str) -> Any:
        async def http(request: Any) -> Any:
            return PlainTextResponse(said(name))

        async def ws(socket: Any) -> None:
            await socket.accept()
            await socket.send_text(said(name))
            await socket.close()

        return WebSocketRoute(path, ws) if method == "WS" else Route(path, http, methods=[method])

    return wrap(
        Starlette(routes=[*(route(*each) for each in ROUTES[:-1]), Mount("/static", mounted), route(*ROUTES[-1])])
    )


def fastapi(wrap: Callable[[Any], Any]) -> Any:
    """FastAPI's, with half of its routes in a router that it includes."""
    from fastapi import APIRouter, FastAPI, WebSocket

    app, router = FastAPI(openapi_url=None), APIRouter(prefix="/users")

    def add(name: str, method: str, path: str) -> None:
        async def http() -> str:
            return said(name)

        async def ws(socket: Any) -> None:
            await socket.accept()
            await socket.send_text(said(name))
            await socket.close()

        ws.__annotations__ = {"socket": WebSocket}
        target: Any = router if path.startswith("/users") else app
        own = path.removeprefix("/users") if target is router else path
        if method == "WS":
            target.add_api_websocket_route(own, ws)
        else:
            target.add_api_route(own, http, methods=[method])

    for index, each in enumerate(ROUTES):
        add(*each)
        if index == 3:
            app.include_router(router)
        if index == len(ROUTES) - 2:
            app.mount("/static", mounted)
    return wrap(app)


def litestar(wrap: Callable[[Any], Any], inside: Any = None, **options: Any) -> Any:
    """Litestar's, which may have `inside` as middleware of its handlers."""
    from litestar import Litestar, MediaType, WebSocket, asgi, route, websocket
    from litestar.middleware import DefineMiddleware

    def make(name: str, method: str, path: str) -> Any:
        path = "/".join(part if "{" not in part or ":" in part else part[:-1] + ":str}" for part in path.split("/"))

        async def http() -> str:
            return said(name)

        async def ws(socket: Any) -> None:
            await socket.accept()
            await socket.send_text(said(name))
            await socket.close()

        if method == "WS":
            ws.__annotations__ = {"socket": WebSocket[Any, Any, Any], "return": None}
            return websocket(path)(ws)
        verb: Any = method
        return route(path, http_method=[verb], media_type=MediaType.TEXT, status_code=200)(http)

    middleware = [] if inside is None else [DefineMiddleware(inside, **options)]
    mount = asgi("/static", is_mount=True, copy_scope=True)(mounted)
    return wrap(Litestar([*(make(*each) for each in ROUTES), mount], openapi_config=None, middleware=middleware))


def configure_django() -> None:
    """Django's settings, which are one to a process: whichever test comes first makes them alike for all."""
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            SECRET_KEY="only a test's", ALLOWED_HOSTS=["*"], ROOT_URLCONF=ModuleType("routed_urls"),
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"], LOGGING_CONFIG=None,
        )  # fmt: skip
        import django as package

        package.setup()


def django(wrap: Callable[[Any], Any]) -> Any:
    """Django's, with a class for what goes by method and half of its patterns included."""
    configure_django()
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpResponse
    from django.urls import include, path, re_path
    from django.views import View

    def view(*names: tuple[str, str]) -> Any:
        def made(name: str) -> Any:
            async def handle(self: Any, request: Any, **_: Any) -> Any:
                return HttpResponse(said(name))

            return handle

        return type("Made", (View,), {method.lower(): made(name) for name, method in names}).as_view()  # type: ignore[attr-defined]

    async def whole(request: Any, **_: Any) -> Any:
        return HttpResponse(said("mounted"))

    settings.ROOT_URLCONF.urlpatterns = [
        path("", view(("root", "GET"))),
        path("users", view(("create", "POST"))),
        path("users/", include([path("me", view(("me", "GET"))), path("<str:id>", view(("user", "GET")))])),
        re_path(r"^orders/(?P<id>[^/]+)$", view(("order", "GET"))),
        path("orders/all", view(("orders", "GET"))),
        path("<str:tenant>/report", view(("report", "GET"))),
        path("admin/<path:rest>", view(("admin", "GET"))),
        path("num/<int:n>/a", view(("number", "GET"))),
        path("num/<str:x>/<str:y>", view(("pair", "GET"))),
        path("slash/", view(("slash", "GET"))),
        path("files/<path:rest>", view(("file", "GET"), ("put", "PUT"))),
        path("chat", view(("post", "POST"))),
        re_path(r"^static/", whole),
        path("<str:page>", view(("page", "GET"))),
    ]
    return wrap(get_asgi_application())


def quart(wrap: Callable[[Any], Any]) -> Any:
    """Quart's."""
    from quart import Quart, websocket

    app = Quart(__name__, static_folder=None)

    def add(name: str, method: str, path: str) -> None:
        for ours, theirs in (("{rest:path}", "<path:rest>"), ("{n:int}", "<int:n>"), ("{", "<"), ("}", ">")):
            path = path.replace(ours, theirs)

        async def http(**_: Any) -> str:
            return said(name)

        async def ws(**_: Any) -> None:
            await websocket.accept()
            await websocket.send(said(name))

        if method == "WS":
            app.add_websocket(path, name, ws)
        else:
            app.add_url_rule(path, name, http, methods=[method])

    for each in ROUTES:
        add(*each)

    async def whole(rest: str) -> str:
        return said("mounted")

    app.add_url_rule("/static/<path:rest>", "mounted", whole)
    return wrap(app)


def blacksheep(wrap: Callable[[Any], Any]) -> Any:
    """BlackSheep's."""
    from blacksheep import Application, Response, TextContent, WebSocket
    from blacksheep.server.routing import Router

    app = Application(router=Router())

    def add(name: str, method: str, path: str) -> None:
        path = path.replace("{n:int}", "{int:n}").replace("{rest:path}", "*")

        async def http() -> Any:
            return Response(200, content=TextContent(said(name)))

        async def ws(websocket: Any) -> None:
            await websocket.accept()
            await websocket.send_text(said(name))
            await websocket.close()

        http.__annotations__ = {}
        ws.__annotations__ = {"websocket": WebSocket}
        if method == "WS":
            app.router.add_ws(path, ws)
        else:
            app.router.add(method, path, http)

    for each in ROUTES:
        add(*each)
    app.mount("/static", mounted)
    wrapped = wrap(app)
    wrapped.start = app.start
    return wrapped


MAKERS: dict[str, Callable[[Callable[[Any], Any]], Any]] = {
    "starlette": starlette, "fastapi": fastapi, "litestar": litestar, "django": django, "quart": quart,
    "blacksheep": blacksheep,
}  # fmt: skip


@cache
def apps(runtime: Residency) -> dict[str, Any]:
    """Every framework's app under one runtime."""
    return {name: make(lambda app: ResidencyMiddleware(app, policy=runtime)) for name, make in MAKERS.items()}


def served(folder: Path) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """One ASGI app that hands requests to the framework that a header names."""
    (folder / "routed.yaml").write_text(policy_text())
    runtime = build(folder / "routed.yaml")

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await apps(runtime)["blacksheep"].start()
            await runtime.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await runtime.aclose()
            await send({"type": "lifespan.shutdown.complete"})
            return
        name = next(value for key, value in scope["headers"] if key == b"x-framework").decode()
        await apps(runtime)[name](scope, receive, send)

    return serve


async def asked(app: Any, scope: dict[str, Any]) -> tuple[int, str]:
    """(status, body or text) of an app's answer to a scope, without any server; status 0 where there is none."""
    sent: list[str] = []
    statuses = [0]
    told = False
    over = asyncio.Event()
    http = scope["type"] == "http"

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            if http:
                await over.wait()
            return {"type": "http.disconnect"} if http else {"type": "websocket.disconnect", "code": 1000}
        told = True
        return {"type": "http.request", "body": b"", "more_body": False} if http else {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))
        sent.append(str(message.get("text") or "") + message.get("body", b"").decode("latin-1"))
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            over.set()

    await app(scope, receive, send)
    return max(statuses), "".join(sent)


if "RESIDENCY_ROUTED" in os.environ:  # a server imports this module for its app
    app = served(Path(os.environ["RESIDENCY_ROUTED"]))
