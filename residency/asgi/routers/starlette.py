"""A Starlette or FastAPI app (or a router of theirs) in, its routes in the order in which they are asked out.

The router asks each route in turn and the first that takes path and method serves; a mount that takes the path is
never left again. FastAPI keeps routers that were included as one route each, and frontends for last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from residency.asgi.routers.contract import is_a, template_of
from residency.errors import UsageError
from residency.policy.activities import FRAMEWORKS, AppRoute, Routing

__all__ = ["read"]

_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([A-Za-z_][A-Za-z0-9_]*))?\}")
# Converters of Starlette's own that take no slash; all but the first take fewer texts than a parameter of ours.
_SEGMENT: Final = frozenset({"str", "int", "float", "uuid"})
_EVERYTHING: Final = "/{rest:path}"


def read(app: Any) -> Routing | None:
    """How a Starlette or FastAPI app routes. Raises: UsageError."""
    fastapi = is_a(app, "fastapi.applications", "FastAPI") or is_a(app, "fastapi.routing", "APIRouter")
    known = fastapi or is_a(app, "starlette.applications", "Starlette") or is_a(app, "starlette.routing", "Router")
    if not known:
        return None
    router = getattr(app, "router", app)
    found = [*_walk(router.routes, ""), *_late(router)]
    root = app.root_path if is_a(app, "fastapi.applications", "FastAPI") else ""
    return Routing(FRAMEWORKS["fastapi" if fastapi else "starlette"], tuple(found), root.rstrip("/"))


def _walk(routes: Any, before: str, sure: bool = True) -> Iterator[AppRoute]:
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:  # how FastAPI keeps a router that was included
            yield from _walk(router.routes, before + str(getattr(route.include_context, "prefix", "")), sure)
        elif is_a(route, "starlette.routing", "Host"):
            yield from _mounted(route, before, sure=False)
        elif is_a(route, "starlette.routing", "Mount"):
            yield from _mounted(route, before + route.path, sure)
        elif is_a(route, "starlette.routing", "Route"):
            methods = route.methods
            yield _route(before + route.path, frozenset(methods) if methods else None, sure)
        elif is_a(route, "starlette.routing", "WebSocketRoute"):
            yield _route(before + route.path, frozenset({"WS"}), sure)
        else:  # left out silently it would look as if it were named
            raise UsageError(f"a route of kind {type(route).__name__} does not show its path")


def _mounted(route: Any, before: str, sure: bool) -> Iterator[AppRoute]:
    inner = getattr(route, "_base_app", route.app)
    inner = getattr(inner, "router", inner)
    known = is_a(inner, "starlette.routing", "Router")
    if known:
        yield from _walk(inner.routes, before, sure)
    # What no inner route takes is the mounted app's own to answer, and no later route's.
    opaque = not known or inner.default != inner.not_found
    if opaque or sure:
        for methods in (None, frozenset({"WS"})):
            yield _route(f"{before}/{{rest:path}}", methods, sure, serves=opaque)


def _late(router: Any) -> Iterator[AppRoute]:
    """What is asked when no route takes the path: FastAPI's frontends, for what looks like a page; a default."""
    routers = [router, *(getattr(route, "original_router", None) for route in router.routes)]
    if any(getattr(each, "_low_priority_routes", None) for each in routers):
        yield AppRoute(frozenset({"GET", "HEAD"}), _EVERYTHING, sure=False, shown="a frontend")
    if router.default != router.not_found:
        for methods in (None, frozenset({"WS"})):
            yield AppRoute(methods, _EVERYTHING, shown="the router's default")


def _route(path: str, methods: frozenset[str] | None, sure: bool, *, serves: bool = True) -> AppRoute:
    parts: list[str | tuple[str, bool]] = []
    plain, at = True, 0
    for found in _PARAMETER.finditer(path):
        parts.append(path[at : found.start()])
        kind = found.group(2) or "str"
        parts.append((found.group(1), kind not in _SEGMENT))
        plain = plain and kind in ("str", "path")
        at = found.end()
    parts.append(path[at:])
    template, exact = template_of(parts)
    return AppRoute(methods, template, None if exact and plain else _test(path), sure=sure, serves=serves, shown=path)


def _test(path: str) -> Callable[[str], bool]:
    from starlette.routing import compile_path

    pattern = compile_path(path)[0]
    return lambda routed: pattern.match(routed) is not None
