"""An app as a server names it ("module:name") in, the routes its router knows out."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from residency.asgi.routing import read_routes
from residency.errors import UsageError
from residency.policy.activities import AppRoute, Routing

__all__ = ["app_routes", "load_app", "spelled"]

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


def app_routes(app: Any) -> Routing:
    """How the app routes that lies under `app`. Raises: UsageError where it is of no framework that is known."""
    routing = read_routes(app)
    if routing is None:
        raise UsageError("this app is none of Starlette, FastAPI, Litestar, Django, Quart and BlackSheep")
    return routing


def spelled(route: AppRoute) -> list[tuple[str, str]]:
    """(method, path) of a route as a policy names it; what a router answers by itself is left out."""
    path = route.known_as or route.path
    if route.methods is None:
        return [("ANY", path)]
    return [(method, path) for method in sorted(route.methods - _IMPLIED) or sorted(route.methods)]
