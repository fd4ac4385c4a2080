"""An app as a server names it ("module:name") in, the routes its router knows as (method, path) out."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from residency.asgi.middleware import ResidencyMiddleware
from residency.errors import UsageError

__all__ = ["app_routes", "load_app"]

_CONVERTER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*):(?!path\})[^}]*\}")
# A router answers these by itself where it knows the path.
_IMPLIED: Final = frozenset({"HEAD", "OPTIONS"})


def load_app(target: str) -> Any:
    """The app that `target`, such as "shop.main:app", names; modules of the current folder are found first.

    Raises: UsageError. What the module raises when it is imported comes out as it is.
    """
    module, colon, name = target.partition(":")
    if not module or not colon or not name:
        raise UsageError("an app is a module and a name, as in shop.main:app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        app: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"there is no module {module!r} to be imported from here") from None
    for part in name.split("."):
        app = getattr(app, part, None)
    if app is None:
        raise UsageError(f"module {module!r} has no {name!r}")
    return app


def app_routes(app: Any) -> tuple[tuple[str, str], ...]:
    """What Starlette's, FastAPI's or Litestar's router knows, as activities name it. Raises: UsageError."""
    while isinstance(app, ResidencyMiddleware):
        app = app.app
    routes = getattr(app, "routes", None)
    if not isinstance(routes, list | tuple):
        raise UsageError("this app shows no list of routes, as Starlette, FastAPI and Litestar do")
    return tuple(dict.fromkeys(_walk(routes, "")))


def _walk(routes: list[Any] | tuple[Any, ...], before: str) -> Iterator[tuple[str, str]]:
    for route in routes:
        router = getattr(route, "original_router", None)
        if router is not None:  # how FastAPI keeps a router that was included
            yield from _walk(router.routes, before + str(getattr(route.include_context, "prefix", "")))
            continue
        if not hasattr(route, "path"):  # left out silently it would look as if it were named
            raise UsageError(f"a route of kind {type(route).__name__} does not show its path")
        path = before + _CONVERTER.sub(r"{\1}", str(route.path))
        inner = getattr(route, "routes", None)
        methods = getattr(route, "methods", None)
        if isinstance(inner, list | tuple) and inner:
            yield from _walk(inner, path.rstrip("/"))
        elif isinstance(inner, list | tuple):  # a mounted app that shows nothing of itself
            yield "ANY", f"{path.rstrip('/')}/{{rest:path}}"
        elif methods:
            own = sorted(set(map(str, methods)) - _IMPLIED) or sorted(map(str, methods))
            yield from ((method, path or "/") for method in own)
        elif "websocket" in type(route).__name__.lower():
            yield "WS", path or "/"
        else:
            yield "ANY", path or "/"
