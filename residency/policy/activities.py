"""Which activity a request is: method and path in; the activity, the path's parameters, or `exempt`, out.

Matched on the path that the framework routes on: decoded once, nothing folded but what the framework folds (ADR 0008).
Where the app's own routes are known, a request is what names the route that serves it. A path that servers and routers
could read differently is refused, unless the activity that takes it says `paths: raw`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote

from residency.errors import PathError
from residency.model import Activity
from residency.policy.matcher import AppRoute, Matcher, Named, Routing
from residency.policy.paths import FRAMEWORKS, UNKNOWN, Framework, ambiguous, covers, hopeless, parse_template, shape

__all__ = [
    "FRAMEWORKS",
    "ActivityTable",
    "AppRoute",
    "Framework",
    "Match",
    "Routing",
    "parse_template",
    "shape",
]

_CACHE: Final = 4096  # matches remembered …
_KEPT: Final = 256  # … of paths that are no longer, so that a client cannot choose how much memory they take
_TABLES: Final = 64  # apps under one policy
_OVERRIDES: Final = 4  # other methods that headers of one request may ask for
_NO_PARAMS: Final[Mapping[str, str]] = MappingProxyType({})
_AMBIGUOUS: Final = "the request path can be read in more than one way"
_ALONE: Final = Routing(UNKNOWN)
_FOLDING: Final = Framework("folding", folds_case=True, final_slash=True)


class Match(NamedTuple):
    """What a request is. `exempt` names the exempt route, as "GET /healthz"; neither = a route that nobody named."""

    activity: Activity | None
    params: Mapping[str, str] = _NO_PARAMS
    exempt: str | None = None


_NONE: Final = Match(None)
_tuple: Final = tuple.__new__  # a named tuple's own constructor costs more than all else that is done with it


class ActivityTable:
    """All classified and exempt routes of a deployment. Immutable but for bounded caches."""

    __slots__ = ("_alone", "_named", "_tables", "activities", "exempt")

    def __init__(
        self, activities: Iterable[Activity], exempt: Iterable[tuple[str, str]] = (), framework: str = UNKNOWN.name
    ) -> None:
        """`exempt` holds (method, path template). `framework` is what reads paths where no app is known.

        Raises:
            ValueError: where two routes take the same requests, or a template is not one.
        """
        self.activities = tuple(activities)
        self.exempt = tuple(exempt)
        self._named = (
            *(Named(activity.method, activity.path, activity) for activity in self.activities),
            *(Named(method, path, None) for method, path in self.exempt),
        )
        self._alone = _Table(self._named, Routing(FRAMEWORKS[framework]))
        self._tables: dict[Routing, _Table] = {}

    def match(
        self,
        method: str,
        path: str,
        raw_path: bytes | None = None,
        *,
        lenient: bool = False,
        routing: Routing | None = None,
        also: str | None = None,
    ) -> Match:
        """The activity of one request. `path` is decoded once, `raw_path` as it came, without the query; both lie
        under the framework's root. `routing` = how the app that serves it routes, where that is known. `also` = other
        methods, apart by spaces, that headers ask for.

        `lenient` takes every path as it stands: for a deployment that only observes.

        Raises:
            PathError: where the path can be read in more than one way and no `paths: raw` activity takes it.
        """
        table = self._alone if routing is None else self._tables.get(routing)
        if table is None:
            table = self._bind(routing)
        key = (method, path, raw_path)
        known = table.cache.get(key)
        if known is not None and also is None:
            return known
        match = table.match(method, path, raw_path, lenient=lenient)
        if not lenient and len(path) <= _KEPT and (raw_path is None or len(raw_path) <= _KEPT) and len(method) < 16:
            if len(table.cache) >= _CACHE:
                table.cache.clear()
            table.cache[key] = match
        if also is not None and not lenient:
            others = also.split(" ")
            if len(others) > _OVERRIDES:
                raise PathError("headers ask for many methods at once")
            for each in others:
                other = table.match(each, path, raw_path, lenient=False)
                if (other.activity, other.exempt) != (match.activity, match.exempt):
                    raise PathError("a header asks for a method that would be another activity")
        return match

    def names(self, route: AppRoute, routing: Routing) -> bool:
        """Whether every request that this route of an app serves is an activity's or exempt."""
        table = self._tables.get(routing) or self._bind(routing)
        return table.names(route)

    def reaches(self, method: str, path: str, routing: Routing) -> bool:
        """Whether some route of the app's takes requests of a policy's route: as wide a one, a finer or a wider."""
        table = self._tables.get(routing) or self._bind(routing)
        return table.reaches(method, path, routing)

    def _bind(self, routing: Routing | None) -> _Table:
        table = _Table(self._named, routing or _ALONE)
        if routing is not None:
            if len(self._tables) >= _TABLES:
                self._tables.clear()
            self._tables[routing] = table
        return table


class _Table:
    """The policy's routes as one app's router reads them."""

    __slots__ = ("_exempt", "_folding", "_framework", "_matcher", "_plain", "cache")

    def __init__(self, named: tuple[Named, ...], routing: Routing) -> None:
        self._framework = routing.framework
        self._matcher = Matcher(named, routing)
        # What a router that folds case and final slashes would take the path for.
        careful = routing.framework.careful and routing.routes is None
        self._folding = Matcher(named, Routing(_FOLDING)) if careful else None
        # No template has what could be folded, so that only the request can.
        self._plain = all(_FOLDING.folded(path) == path for path in ("/" + "/".join(route.shape) for route in named))
        self._exempt = {route: Match(None, exempt=f"{route.method} {route.path}") for route in named}
        self.cache: dict[tuple[str, str, bytes | None], Match] = {}

    def names(self, route: AppRoute) -> bool:
        parts = route.shape()
        return all(self._matcher.covering(parts, method) for method in route.methods or {"ANY"})

    def reaches(self, method: str, path: str, routing: Routing) -> bool:
        fold = self._framework.folded
        mine = shape(parse_template(path))
        folded = shape(parse_template(fold(path)))
        for own in routing.routes or ():
            if not own.serves or not (own.methods != frozenset({"WS"}) if method == "ANY" else own.accepts(method)):
                continue
            theirs = own.shape()
            if any(covers(theirs, each) or covers(each, theirs) for each in (mine, folded)):
                return True
        return False

    def match(self, method: str, path: str, raw_path: bytes | None, *, lenient: bool) -> Match:
        framework, routed, on_raw = self._framework, path, False
        odd = not lenient and ambiguous(path, raw_path)
        if (odd and hopeless(path)) or method in framework.inner_methods:
            raise PathError(_AMBIGUOUS)
        if framework.on_raw and raw_path is not None and method != "WS":
            routed, on_raw = raw_path.decode("utf-8", "surrogateescape"), True
        found = self._find(method, routed, lenient=lenient)
        if odd and (found is None or found.activity is None or not found.activity.raw_paths):
            raise PathError(_AMBIGUOUS)
        if found is None:
            return _NONE
        if found.activity is None:
            return self._exempt[found]
        if not found.places:
            return Match(found.activity)
        segments = routed[1:].split("/")
        if framework.doubled and "//" in routed:
            segments = [segment for segment in segments if segment]
        params: dict[str, str] = {}
        for name, index, rest in found.places:
            if rest:
                params[name] = "/".join(segments[index:])
            else:  # a mount may be served without what its template ends in
                params[name] = segments[index] if index < len(segments) else ""
        if on_raw:
            params = {name: unquote(value) for name, value in params.items()}
        return _tuple(Match, (found.activity, MappingProxyType(params), None))

    def _find(self, method: str, path: str, *, lenient: bool) -> Named | None:
        framework = self._framework
        if framework.upper:
            method = method.upper()
        found, served = self._matcher.find(method, path, lenient=lenient)
        if served:
            return found
        upper = method.upper()
        if not self._matcher.knows_app:
            return self._carefully(found, method, path, lenient=lenient)
        if found is None:
            # No route of the app's serves this, so nothing is opened by letting the app say so: it answers a method in
            # small letters with 405, and sends a final slash too many or too few on.
            if method != upper:
                found, served = self._matcher.find(upper, path, lenient=lenient)
            if found is None and framework.redirects:
                twin = path[:-1] if path.endswith("/") else f"{path}/"
                found, served = self._matcher.find(upper, twin or "/", lenient=lenient)
            return found if served else None
        return found

    def _carefully(self, found: Named | None, method: str, path: str, *, lenient: bool) -> Named | None:
        """What is asked for, where it is not known what the router folds: nothing that folded were something else."""
        if self._folding is None or lenient:
            return found
        if self._plain and method.isupper() and not path.endswith("/") and path == path.lower():
            return found
        folded = self._folding.named(method.upper(), path)
        if folded and found not in folded:
            raise PathError(_AMBIGUOUS)
        return found
