"""A Litestar app in, its routes in the order in which its router prefers them out.

Litestar looks for the whole path among the routes without parameters, then for a mount that the path begins with (with
no regard to where a segment ends), then walks a trie, text before parameter, and never turns back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from residency.asgi.routers.contract import is_a, template_of
from residency.errors import UsageError
from residency.policy.activities import FRAMEWORKS, AppRoute, Routing

__all__ = ["read"]

_WS: Final = frozenset({"WS"})


def read(app: Any) -> Routing | None:
    """How a Litestar app routes. Raises: UsageError."""
    if not is_a(app, "litestar.app", "Litestar"):
        return None
    plain: list[AppRoute] = []
    mounts: list[tuple[str, AppRoute]] = []
    others: list[tuple[tuple[int, ...], AppRoute]] = []
    for route in app.routes:
        parts = _parts(route)
        for methods in _methods(route):
            if getattr(getattr(route, "route_handler", None), "is_mount", False):
                mounts.append((route.path, _mount(route.path, methods)))
                continue
            template, exact = template_of(parts)
            # The trie takes any text for a parameter and parses it afterwards: what then fails is nobody's.
            own = AppRoute(methods, template, sure=exact, shown=route.path)
            if route.path_parameters:
                others.append((tuple(0 if isinstance(part, str) else 1 for part in route.path_components), own))
            else:
                plain.append(own)
    # Longer mounts are not preferred: the router's pattern tries them in the order of the alphabet.
    mounts.sort(key=lambda each: each[0])
    others.sort(key=lambda each: each[0])
    # A mount may let go of what lies deeper in the trie, by rules of its own.
    deeper = [own.shown for _, own in others]
    kept = [replace(own, sure=not any(each.startswith(path) for each in deeper)) for path, own in mounts]
    found = (*plain, *kept, *(own for _, own in others))
    return Routing(FRAMEWORKS["litestar"], found)


def _methods(route: Any) -> Iterator[frozenset[str] | None]:
    kind = type(route).__name__
    if kind == "HTTPRoute":
        yield frozenset(map(str, route.methods))
    elif kind == "WebSocketRoute":
        yield _WS
    elif kind == "ASGIRoute":
        yield from (None, _WS)
    else:
        raise UsageError(f"a route of kind {kind} does not show what it takes")


def _parts(route: Any) -> list[str | tuple[str, bool]]:
    parts: list[str | tuple[str, bool]] = []
    for component in route.path_components:
        parts.append("/")
        parts.append(component if isinstance(component, str) else (component.name, component.type.__name__ == "Path"))
    return parts or ["/"]


def _mount(path: str, methods: frozenset[str] | None) -> AppRoute:
    """A mount takes what begins with its path, "/static" also "/statics"; the last segment is therefore anything."""
    above = path[: path.rindex("/")]
    template = f"{above}/{{rest:path}}" if "{" not in above else "/{rest:path}"
    return AppRoute(methods, template, _beginning(path), known_as=f"{path.rstrip('/')}/{{rest:path}}")


def _beginning(path: str) -> Callable[[str], bool]:
    return lambda routed: routed.startswith(path)
