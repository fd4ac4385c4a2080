"""Which activity a request is: method and path in; the activity, the path's parameters, or `exempt`, out.

Matched on the path that the framework routes on: decoded once, nothing folded (ADR 0008). A path that servers and
routers could read differently is refused, unless the activity that takes it says `paths: raw`.

A trie of segments: a literal beats a parameter beats the rest of the path, and a branch that has no route for the
method gives way to the next, as in the routers we serve. Every node stands for one prefix, so none is visited twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from residency.errors import PathError
from residency.model import Activity

__all__ = ["ActivityTable", "Match", "parse_template", "shape"]

_CACHE: Final = 4096
_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")
_CONVERTED: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*):[a-z]+\}")
# Decoded: controls, DEL and backslash. Raw: the same, and their encodings with that of the slash.
_BAD: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_BAD_RAW: Final = re.compile(rb"[\x00-\x1f\x7f\\]|%(?:2[fF]|5[cC]|[01][0-9a-fA-F]|7[fF])")
_DOTS: Final = re.compile(r"/\.{0,2}/|/\.{1,2}\Z")
_NO_PARAMS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Match:
    """What a request is. `exempt` names the exempt route, as "GET /healthz"; neither = a route that nobody named."""

    activity: Activity | None
    params: Mapping[str, str] = field(default_factory=dict)
    exempt: str | None = None


_NONE: Final = Match(None)


@dataclass(slots=True)
class _Route:
    activity: Activity | None
    exempt: Match | None
    names: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    rest: dict[str, _Route] = field(default_factory=dict)
    here: dict[str, _Route] = field(default_factory=dict)


def parse_template(template: str) -> tuple[str, ...]:
    """The segments of a route's template: text as it stands, `{name}`, or last of all `{name:path}`.

    Raises:
        ValueError: says what is wrong with the template.
    """
    if not template.startswith("/"):
        raise ValueError("a path starts with `/`")
    segments = tuple(template[1:].split("/"))
    names: set[str] = set()
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "" and not last:
            raise ValueError("an empty segment `//`")
        if segment in (".", ".."):
            raise ValueError("a dot segment")
        if "{" not in segment and "}" not in segment:
            if _BAD.search(segment) is not None or "?" in segment or "#" in segment or "%" in segment:
                raise ValueError("write the path as the framework routes on it: decoded, without query")
            if "*" in segment:
                raise ValueError("`*` is no wildcard: write `{name}` for a segment, `{rest:path}` for all that follow")
            continue
        found = _PARAMETER.fullmatch(segment)
        if found is None and (named := _CONVERTED.fullmatch(segment)) is not None:
            raise ValueError(f"write `{{{named.group(1)}}}`: of a framework's converters only `:path` is known here")
        if found is None:
            raise ValueError("a parameter is a whole segment: `{name}`, or `{name:path}` at the end")
        if found.group(2) is not None and not last:
            raise ValueError("`:path` takes the rest of the path, so it stands last")
        if found.group(1) in names:
            raise ValueError(f"parameter `{found.group(1)}` stands twice")
        names.add(found.group(1))
    return segments


def shape(segments: tuple[str, ...]) -> tuple[str, ...]:
    """The segments with parameters' names dropped: two routes of one shape take the same paths."""
    return tuple(("{:path}" if s.endswith(":path}") else "{}") if s.startswith("{") else s for s in segments)


class ActivityTable:
    """All classified and exempt routes of a deployment. Immutable but for a bounded cache of literal paths."""

    __slots__ = ("_cache", "_raw", "_root", "activities", "exempt")

    def __init__(self, activities: Iterable[Activity], exempt: Iterable[tuple[str, str]] = ()) -> None:
        """`exempt` holds (method, path template).

        Raises:
            ValueError: where two routes take the same requests, or a template is not one.
        """
        self.activities = tuple(activities)
        self.exempt = tuple(exempt)
        self._root = _Node()
        self._raw = _Node()
        self._cache: dict[tuple[str, str, bytes | None], Match] = {}
        for activity in self.activities:
            _insert(self._root, activity.method, activity.path, activity)
            if activity.raw_paths:
                _insert(self._raw, activity.method, activity.path, activity)
        for method, path in self.exempt:
            _insert(self._root, method, path, None)

    def match(self, method: str, path: str, raw_path: bytes | None = None, *, lenient: bool = False) -> Match:
        """The activity of one request. `path` is decoded once, `raw_path` as it came, without the query.

        `lenient` takes every path as it stands: for a deployment that only observes.

        Raises:
            PathError: where the path can be read in more than one way and no `paths: raw` activity takes it.
        """
        key = (method, path, raw_path)
        known = self._cache.get(key)
        if known is not None:
            return known
        method = method.upper()
        if not lenient and ambiguous(path, raw_path):
            found = _find(self._raw, method, path)
            if found is None:
                raise PathError("the request path can be read in more than one way")
            return found
        match = _find(self._root, method, path)
        if match is None:
            return _NONE
        if not match.params and not lenient:
            if len(self._cache) >= _CACHE:
                self._cache.clear()
            self._cache[key] = match
        return match


def ambiguous(path: str, raw_path: bytes | None) -> bool:
    """Whether servers and routers could read the path differently: dots, doubles, encoded slashes, controls."""
    return (
        not path.startswith("/")
        or _BAD.search(path) is not None
        # `/./` and `/../` and `//` may overlap (`//./`), and a search finds the first of them.
        or _DOTS.search(path) is not None
        or (raw_path is not None and _BAD_RAW.search(raw_path) is not None)
    )


def _insert(root: _Node, method: str, path: str, activity: Activity | None) -> None:
    segments = parse_template(path)
    node = root
    names = tuple(s[1:-1].partition(":")[0] for s in segments if s.startswith("{"))
    where = None
    for segment in segments:
        if segment.endswith(":path}"):
            where = node.rest
        elif segment.startswith("{"):
            if node.parameter is None:
                node.parameter = _Node()
            node = node.parameter
        else:
            node = node.literals.setdefault(segment, _Node())
    where = node.here if where is None else where
    if method in where:
        raise ValueError(f"two routes take {method} {path}")
    exempt = Match(None, exempt=f"{method} {path}") if activity is None else None
    where[method] = _Route(activity, exempt, names)


def _find(root: _Node, method: str, path: str) -> Match | None:
    segments = (path[1:] if path.startswith("/") else path).split("/")
    # (node, index of the next segment, values taken so far); the best choice lies on top. A negative index says that
    # the node's `{rest:path}` is meant, which waits until every literal and parameter under the node has failed.
    stack: list[tuple[_Node, int, tuple[str, ...]]] = [(root, 0, ())]
    while stack:
        node, index, values = stack.pop()
        if index < 0:
            route = _by_method(node.rest, method)
            if route is not None:
                return _matched(route, (*values, "/".join(segments[~index:])))
            continue
        if index == len(segments):
            route = _by_method(node.here, method)
            if route is not None:
                return _matched(route, values)
            continue
        segment = segments[index]
        if node.rest:
            stack.append((node, ~index, values))
        if node.parameter is not None and segment:
            stack.append((node.parameter, index + 1, (*values, segment)))
        literal = node.literals.get(segment)
        if literal is not None:
            stack.append((literal, index + 1, values))
    return None


def _by_method(routes: dict[str, _Route], method: str) -> _Route | None:
    route = routes.get(method)
    if route is None and method == "HEAD":
        route = routes.get("GET")
    if route is None and method != "WS":
        route = routes.get("ANY")
    return route


def _matched(route: _Route, values: tuple[str, ...]) -> Match:
    if route.exempt is not None:
        return route.exempt
    return Match(route.activity, dict(zip(route.names, values, strict=True)) if route.names else _NO_PARAMS)
