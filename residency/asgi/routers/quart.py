"""A Quart app in, the rules of its URL map in the order in which Werkzeug prefers them out.

Werkzeug walks a state machine, text before converters and these by weight, and turns back where a branch fails. A rule
with a converter other than the plain one is asked by its converters' own patterns whether it takes a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from residency.asgi.routers.contract import is_a, template_of
from residency.policy.activities import FRAMEWORKS, AppRoute, Routing

__all__ = ["read"]


def read(app: Any) -> Routing | None:
    """How a Quart app routes."""
    if not is_a(app, "quart.app", "Quart"):
        return None
    app.url_map.update()  # sorts what was added since
    rules = sorted(app.url_map.iter_rules(), key=_weight)
    return Routing(FRAMEWORKS["quart"], tuple(_route(rule, app.url_map.host_matching) for rule in rules))


def _weight(rule: Any) -> list[Any]:
    """Part by part: text first, then converters as Werkzeug weighs them."""
    return [(0,) if part.static else (1, part.weight) for part in rule._parts[1:]]  # the first is the host


def _route(rule: Any, by_host: bool) -> AppRoute:
    parts: list[str | tuple[str, bool]] = []
    pattern, plain = "", True
    for dynamic, text in rule._trace[rule._trace.index((False, "|")) + 1 :]:
        if dynamic:
            converter = rule._converters[text]
            slashes = not converter.part_isolating
            plain = plain and converter.regex == r"[^/]{1,}"
            parts.append((text, slashes))
            pattern += f"(?:{converter.regex})"
        else:
            parts.append(text)
            pattern += re.escape(text)
    template, exact = template_of(parts)
    methods = frozenset({"WS"}) if rule.websocket else frozenset(rule.methods) if rule.methods is not None else None
    sure = not by_host and not rule.subdomain
    return AppRoute(methods, template, None if exact and plain else _test(pattern), sure=sure, shown=str(rule.rule))


def _test(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda routed: compiled.fullmatch(routed) is not None
