"""An app and one request's scope in; how the app routes, and the method and path that it routes on, out.

The app is looked for under whatever is wrapped around it. Where none is found, or its routes cannot be read, nothing is
known of it, and what some framework would read as another route is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from residency.asgi.routers import blacksheep, django, litestar, quart, starlette
from residency.asgi.routers.contract import RouteReader
from residency.policy.activities import FRAMEWORKS, Routing
from residency.policy.paths import UNKNOWN

__all__ = ["READERS", "Router", "override", "read_routes", "target"]

_log = logging.getLogger("residency")
READERS: Final[tuple[RouteReader, ...]] = (starlette.read, litestar.read, django.read, quart.read, blacksheep.read)
# Under which names what wraps an app keeps it.
_INSIDE: Final = ("app", "_app", "application", "inner", "asgi_app", "__wrapped__")
_DEEPEST: Final = 32
_OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})


def read_routes(app: object) -> Routing | None:
    """How the app routes that lies under `app`; None where there is none of a known framework. Raises: UsageError."""
    for candidate in _under(app):
        for reader in READERS:
            routing = reader(candidate)
            if routing is not None:
                return routing
    return None


def _under(app: object) -> Iterator[object]:
    for _ in range(_DEEPEST):
        yield app
        inside = (getattr(app, name, None) for name in _INSIDE)
        found = next((each for each in inside if each is not None and callable(each)), None)
        if found is None or found is app:
            found = getattr(app, "__self__", None)  # a bound method: quart's and others' `asgi_app`
        if found is None:
            return
        app = found


class Router:
    """How one wrapped app routes: read when the first request comes, for until then an app may add routes."""

    __slots__ = ("_app", "_framework", "_known", "_told")

    def __init__(self, app: object, framework: str | None = None) -> None:
        """`framework` = what the deployment says it is; None = whatever is found."""
        self._app = app
        self._framework = framework
        self._known: Routing | None = None
        self._told = False

    def routing(self, scope: Mapping[str, Any]) -> Routing:
        """How the app routes that serves this scope."""
        known = self._known or self._read(scope)
        if known.below is None or known.mounted is None:
            return known
        raw = scope.get("raw_path")
        return known if known.mounted(scope["path"].encode() if raw is None else raw) else known.below

    def _read(self, scope: Mapping[str, Any]) -> Routing:
        wanted = None if self._framework is None else FRAMEWORKS[self._framework]
        try:
            found = read_routes(self._app)
            if found is None and "litestar_app" in scope:  # Litestar wraps middleware around its handlers, one by one
                found = litestar.read(scope["litestar_app"])
        except Exception as error:  # noqa: BLE001 - whatever a framework keeps otherwise than it did
            if not self._told:
                self._told = True
                _log.warning("the app's routes cannot be read, so what can be read in two ways is refused: %s", error)
            return Routing(wanted or UNKNOWN)
        if found is not None and wanted is not None and found.framework is not wanted:
            same = {found.framework.name, wanted.name} == {"starlette", "fastapi"}
            found = found if same else None
        self._known = found or Routing(wanted or UNKNOWN)
        return self._known


def target(scope: Mapping[str, Any], routing: Routing) -> tuple[str, bytes | None]:
    """The path that the app routes on, and what of it came, both under the app's root."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    if "route_handler" in scope and raw is not None:  # inside of Litestar, which has cut the path for what it mounts
        path = unquote(raw)
    root: str = routing.root or scope.get("root_path", "")
    if not root or routing.below is not None:  # its mounts are asked before the root is dropped
        return path, raw
    under = routing.framework.under
    path = under(path, root)
    if raw is not None and routing.framework.on_raw:
        raw = under(raw.decode("utf-8", "surrogateescape"), root).encode("utf-8", "surrogateescape")
    return path, raw


def override(method: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The other methods, apart by spaces, that headers ask to be taken for the request's own. None = none.

    Frameworks look at one header or another, and at the first or the last of them, so all count.
    """
    others: dict[str, None] | None = None
    for name, value in headers:
        if name in _OVERRIDES:
            other = value.strip().upper().decode("latin-1")
            if other != method.upper():
                others = others or {}
                others[other] = None
    return None if others is None else " ".join(others)
