"""A BlackSheep app in, its routes in the order in which its router asks them out.

The router asks the routes of the method in turn, on the path as it came, in any case and with or without a final slash;
it sorts them when the app starts. Before it mounts are asked, whatever the method and the kind, on all that came: the
server's root is dropped for the router only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from residency.asgi.routers.contract import is_a, template_of
from residency.errors import UsageError
from residency.policy.activities import FRAMEWORKS, AppRoute, Routing

__all__ = ["read"]

_PARAMETER: Final = re.compile(r"(?<=/):([^/]+)|\{([^}]+)\}|<([^>]+)>|/?(\*)")
_SEGMENT: Final = frozenset({"", "string", "str", "int", "float", "uuid"})
_EVERYTHING: Final = "/{rest:path}"
_WS: Final = frozenset({"WS"})


def read(app: Any) -> Routing | None:
    """How a BlackSheep app routes. Raises: UsageError, before the app has started too."""
    if not is_a(app, "blacksheep.server.application", "Application"):
        return None
    if not app.started:
        raise UsageError("a BlackSheep app has no routes in order before it has started")
    framework, mounts, routes = FRAMEWORKS["blacksheep"], tuple(_mounts(app)), tuple(_walk(app.router))
    if not mounts:
        return Routing(framework, routes)
    patterns = [mount.rx for mount in app.mount_registry.mounted_apps]
    # A mount stays among what the router serves, and takes nothing: its name in the policy is no other route's.
    below = Routing(framework, (*(replace(mount, test=_never) for mount in mounts), *routes))
    return Routing(
        framework,
        (*mounts, *routes),
        below=below,
        mounted=lambda raw: any(pattern.match(raw) is not None for pattern in patterns),
    )


def _mounts(app: Any) -> Iterator[AppRoute]:
    for mount in getattr(getattr(app, "mount_registry", None), "mounted_apps", ()):
        for methods in (None, _WS):
            yield _route(mount, methods, sure=True)


def _walk(router: Any) -> Iterator[AppRoute]:
    for inner in router._sub_routers or ():
        yield from _walk(inner)
    for method, routes in router.routes.items():
        name = method.decode("latin-1")
        for route in routes:
            methods = _WS if name == "GET_WS" else frozenset({name})
            yield _route(route, methods, sure=not getattr(route, "filters", ()))
    if router.fallback is not None:
        yield AppRoute(None, _EVERYTHING, shown="the router's fallback")


def _route(route: Any, methods: frozenset[str] | None, *, sure: bool) -> AppRoute:
    text = route.pattern.decode("utf-8")
    parts: list[str | tuple[str, bool]] = []
    at, plain = 0, True
    for found in _PARAMETER.finditer(text):
        parts.append(text[at : found.start()])
        kind, _, name = next((each for each in found.groups() if each is not None), "").rpartition(":")
        if found.group(4):
            parts.append("/")
        parts.append((name, found.group(4) is not None or kind not in _SEGMENT))
        plain = plain and kind in ("", "string", "str") and not found.group(4)
        at = found.end()
    template, exact = template_of([*parts, text[at:]])
    known_as = template
    if template.endswith(":path}"):  # "/static/*" takes "/static" and "/statics" too
        template = f"{template.rpartition('/')[0].rpartition('/')[0]}{_EVERYTHING}"
    plain = plain and text.isascii() and "%" not in text
    return AppRoute(
        methods, template, None if exact and plain else _test(route.rx), sure=sure, known_as=known_as, shown=text
    )


def _test(pattern: re.Pattern[bytes]) -> Callable[[str], bool]:
    return lambda routed: pattern.match(routed.encode("utf-8", "surrogateescape")) is not None


def _never(_: str) -> bool:
    return False
