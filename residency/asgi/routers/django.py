"""Django's ASGI application in, the URL patterns of its project in the order in which they are asked out.

Patterns are asked in turn, and what an include does not take goes on to the next. A pattern written as a regular
expression, or with a converter other than `str` and `path`, is asked itself whether it takes a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from residency.asgi.routers.contract import is_a, template_of
from residency.errors import UsageError
from residency.policy.activities import FRAMEWORKS, AppRoute, Routing

__all__ = ["read"]

_PARAMETER: Final = re.compile(r"<(?:([^>:]+):)?([^>]+)>")
_SEGMENT: Final = frozenset({"str", "int", "slug", "uuid"})
# Of regular expressions: what surely takes no slash, in a group or outside.
_ATOM: Final = r"(?:\\[dw]|\[(?:\^/|[\w\\-]+)\])(?:\{\d+(?:,\d*)?\}|\+)?"
_GROUP: Final = re.compile(rf"\(\?P<(\w+)>(?:{_ATOM})+\)")
_PLAIN: Final = re.compile(r"[\w/-]*")


def read(app: Any) -> Routing | None:
    """How a Django project routes. Raises: UsageError."""
    if not is_a(app, "django.core.handlers.asgi", "ASGIHandler"):
        return None
    from django.conf import settings
    from django.urls import get_resolver

    found = tuple(_walk(get_resolver().url_patterns, (), sure=True))
    return Routing(FRAMEWORKS["django"], found, (settings.FORCE_SCRIPT_NAME or "").rstrip("/"))


def _walk(patterns: Any, before: tuple[Any, ...], *, sure: bool) -> Iterator[AppRoute]:
    for entry in patterns:
        chain = (*before, entry.pattern)
        inner = getattr(entry, "url_patterns", None)
        known = type(entry.pattern).__name__ in ("RoutePattern", "RegexPattern")  # else it depends on the language
        if inner is not None:
            yield from _walk(inner, chain, sure=sure and known)
        elif hasattr(entry, "callback"):
            yield _route(entry, chain, sure=sure and known)
        else:
            raise UsageError(f"a URL pattern of kind {type(entry).__name__} does not show what it takes")


def _route(entry: Any, chain: tuple[Any, ...], *, sure: bool) -> AppRoute:
    parts: list[str | tuple[str, bool]] = ["/"]
    exact = True
    for pattern in chain:
        read_parts, certain = _parts(pattern)
        parts += read_parts
        exact = exact and certain
    template, fits = template_of(parts)
    shown = "/" + "".join(str(pattern) for pattern in chain)
    return AppRoute(
        _methods(entry.callback), template, None if exact and fits else _test(chain), sure=sure, shown=shown
    )


def _methods(view: Any) -> frozenset[str] | None:
    kind = getattr(view, "view_class", None)
    if kind is None:
        return None
    found = {name.upper() for name in kind.http_method_names if hasattr(kind, name)}
    return frozenset(found | {"HEAD"} if "GET" in found else found) or None


def _parts(pattern: Any) -> tuple[list[str | tuple[str, bool]], bool]:
    """A pattern's texts and parameters, and whether they say all that it asks."""
    text = str(pattern)
    if type(pattern).__name__ == "RoutePattern":
        parts: list[str | tuple[str, bool]] = []
        at, exact = 0, True
        for found in _PARAMETER.finditer(text):
            kind = found.group(1) or "str"
            parts += [text[at : found.start()], (found.group(2), kind not in _SEGMENT)]
            exact = exact and kind == "str"
            at = found.end()
        return [*parts, text[at:]], exact
    if type(pattern).__name__ == "RegexPattern" and text.startswith("^"):
        text, parts, at = text.removeprefix("^").removesuffix("$").removesuffix("\\Z"), [], 0
        for found in _GROUP.finditer(text):
            before = text[at : found.start()]
            if _PLAIN.fullmatch(before) is None:
                return [("rest", True)], False
            parts += [before, (found.group(1), False)]
            at = found.end()
        if _PLAIN.fullmatch(text[at:]) is not None:
            ended = str(pattern).endswith(("$", "\\Z"))
            return [*parts, text[at:], *([] if ended else [("rest", True)])], False
    return [("rest", True)], False


def _test(chain: tuple[Any, ...]) -> Callable[[str], bool]:
    def takes(routed: str) -> bool:
        left = routed[1:]
        for pattern in chain:
            found = pattern.match(left)
            if found is None:
                return False
            left = found[0]
        return True

    return takes
