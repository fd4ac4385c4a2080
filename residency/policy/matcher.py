"""Routes in, a matcher out: a path's segments in, what all routes together say of them out, one look-up a segment.

A trie of segments is walked in all its branches at once: what the branches have in common is a state, made when it is
first reached and kept (the lazy construction of a deterministic automaton). So a path costs one look-up for each of its
segments, however many routes there are and however they overlap, and nothing is ever walked twice.

Two kinds of routes lie in one trie. The policy's say what a request is. The app's own, where they are known, say which
of them serves it: a path may be named as one route and be served by another that the app asks first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, NamedTuple

from residency.errors import PathError
from residency.model import Activity
from residency.policy.paths import Framework, covers, parse_template, shape

__all__ = ["AppRoute", "Matcher", "Named", "Routing"]

_STATES: Final = 4_096  # kept beyond what the routes themselves make
_OTHER: Final = "\0other"
_RANK: Final = {"{}": 1, "{:path}": 2}  # a literal, 0, beats a parameter beats the rest of the path
_AMBIGUOUS: Final = "the request path can be read in more than one way"


@dataclass(frozen=True, slots=True)
class AppRoute:
    """One route of an app's own router, in the order in which the router asks.

    `methods` None = any HTTP method; a WebSocket has {"WS"}. `path` is a template of ours that takes all that the route
    takes, and perhaps more; then `test` says of a routed path whether the route takes it. Not `sure` = it depends on
    more than the path (a host, a header). Not `serves` = it keeps the path from later routes and answers nothing.
    """

    methods: frozenset[str] | None
    path: str
    test: Callable[[str], bool] | None = None
    _: KW_ONLY
    sure: bool = True
    serves: bool = True
    known_as: str = ""
    """By which template a policy names the route; where empty, by `path`."""
    shown: str = ""
    """How the framework writes the route, where `path` does not say it."""

    def __post_init__(self) -> None:
        """Raises: ValueError where a template is none."""
        parse_template(self.path)
        self.shape()

    def shape(self) -> tuple[str, ...]:
        """The shape of the template by which a policy names the route."""
        return shape(parse_template(self.known_as or self.path))

    def accepts(self, method: str) -> bool:
        """Whether the route serves requests of this method."""
        return method != "WS" if self.methods is None else method in self.methods


@dataclass(frozen=True, slots=True, eq=False)
class Routing:
    """How an app routes: its framework, its own routes in order (None: not known), and the root it adds itself."""

    framework: Framework
    routes: tuple[AppRoute, ...] | None = None
    root: str = ""
    below: Routing | None = None
    """How it routes what no mount takes, where mounts are asked first, on all that came, and only then is the root
    dropped. None = mounts are routes like others."""
    mounted: Callable[[bytes], bool] | None = None
    """Whether a mount takes a raw path, root and all; with `below` only."""


@dataclass(slots=True, eq=False)
class Named:
    """A route of the policy: an activity, or None for an exempt one. `places` = (name, index of the segment, rest?)."""

    method: str
    path: str
    activity: Activity | None
    shape: tuple[str, ...] = ()
    rank: tuple[int, ...] = ()
    places: tuple[tuple[str, int, bool], ...] = ()

    def __post_init__(self) -> None:
        segments = parse_template(self.path)
        self.shape = shape(segments)
        self.rank = tuple(_RANK.get(segment, 0) for segment in self.shape)
        self.places = tuple(
            (segment[1:-1].partition(":")[0], index, segment.endswith(":path}"))
            for index, segment in enumerate(segments)
            if segment.startswith("{")
        )


class _Own(NamedTuple):
    """A route of the app's in the trie."""

    order: int
    route: AppRoute
    shape: tuple[str, ...]
    end: _End


@dataclass(slots=True, eq=False)
class _End:
    """What routes end at one place of the trie. Two of one method are there only where the framework folds them."""

    named: dict[str, list[Named]] = field(default_factory=dict)
    own: list[_Own] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    rest: _End | None = None
    here: _End | None = None


class _State:
    """All places of the trie that one path has led to, and the `{rest:path}`s passed on the way."""

    __slots__ = ("edges", "nodes", "other", "rests", "said", "texts")

    def __init__(self, nodes: tuple[_Node, ...], rests: tuple[_End, ...]) -> None:
        self.nodes = nodes
        self.rests = rests
        self.texts = tuple(node.literals for node in nodes if node.literals)
        # Where a segment leads: one that some route spells out, and any other. None: no path came here yet.
        self.edges: dict[str, _State] = {}
        self.other: _State | None = None if nodes else self
        self.said: dict[str, _Said] = {}


class _Choice(NamedTuple):
    """What a request is if this route of the app's serves it; `own` None: no route does."""

    own: AppRoute | None
    named: tuple[Named, ...]


class _Said(NamedTuple):
    """What is to say of all paths that end in a state, for one method: at once, or as the app's routes decide."""

    named: Named | None
    served: bool
    choices: tuple[_Choice, ...]


class Matcher:
    """Immutable but for states that are made when first reached; their number is bounded by what the routes are."""

    def __init__(self, named: Iterable[Named], routing: Routing) -> None:
        """Raises: ValueError where two routes are written alike."""
        self.framework = routing.framework
        self.knows_app = routing.routes is not None
        self._folds = self.framework.folds_case or self.framework.final_slash or self.framework.doubled
        self._root = _Node()
        self._methods = {"GET", "HEAD", "WS"}
        self._ends: dict[Named, _End] = {}
        for route in named:
            end = self._end_of(route.shape)
            if any(other.shape == route.shape for other in end.named.get(route.method, ())):
                raise ValueError(f"two routes take {route.method} {route.path}")
            self._ends[route] = end
            end.named.setdefault(route.method, []).append(route)
            self._methods.add(route.method)
        for order, own in enumerate(routing.routes or ()):
            end = self._end_of(shape(parse_template(own.path)))
            end.own.append(_Own(order, own, own.shape(), end))
            self._methods.update(own.methods or ())
        self._states: dict[tuple[frozenset[int], frozenset[int]], _State] = {}
        self._most = _STATES + 4 * (len(self._ends) + len(routing.routes or ()))
        self._start = _State((self._root,), ())

    def find(self, method: str, path: str, *, lenient: bool = False) -> tuple[Named | None, bool]:
        """What a request is by its routed path, and whether a route of the app's is known to serve it.

        Raises:
            PathError: where that depends on what a path does not tell, and not `lenient`.
        """
        said = self._said(method, path)
        if not said.choices:
            return said.named, said.served
        return self._choose(said.choices, path, lenient=lenient)

    def named(self, method: str, path: str) -> tuple[Named, ...]:
        """All routes of the policy that name a request equally well: several only where the framework folds them."""
        said = self._said(method, path)
        if said.choices:
            return said.choices[0].named
        return () if said.named is None else (said.named,)

    def _said(self, method: str, path: str) -> _Said:
        state = self._start
        for segment in (self.framework.folded(path) if self._folds else path)[1:].split("/"):
            following = state.edges.get(segment)
            if following is None:
                if state.other is state:  # nothing more is asked of the path
                    break
                for texts in state.texts:
                    if segment in texts:
                        following = self._spelled(state, segment)
                        break
                else:
                    following = (state.other or self._any(state)) if segment else self._spelled(state, segment)
            state = following
        key = method if method in self._methods else _OTHER
        said = state.said.get(key)
        if said is None:
            said = state.said[key] = self._say(state, method)
        return said

    # -- the trie ----------------------------------------------------------------------------------------------

    def _end_of(self, parts: Sequence[str]) -> _End:
        node = self._root
        if self.framework.final_slash and len(parts) > 1 and parts[-1] == "":
            parts = parts[:-1]
        for part in parts:
            if part == "{:path}":
                node.rest = node.rest or _End()
                return node.rest
            if part == "{}":
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(part.lower() if self.framework.folds_case else part, _Node())
        node.here = node.here or _End()
        return node.here

    # -- the automaton -----------------------------------------------------------------------------------------

    def _spelled(self, state: _State, segment: str) -> _State:
        nodes = [node.literals[segment] for node in state.nodes if segment in node.literals]
        if segment:
            nodes += [node.parameter for node in state.nodes if node.parameter is not None]
        following = self._state(nodes, state)
        state.edges[segment] = following
        return following

    def _any(self, state: _State) -> _State:
        state.other = self._state([node.parameter for node in state.nodes if node.parameter is not None], state)
        return state.other

    def _state(self, nodes: Sequence[_Node], before: _State) -> _State:
        rests = tuple(dict.fromkeys((*before.rests, *(node.rest for node in before.nodes if node.rest is not None))))
        key = (frozenset(map(id, nodes)), frozenset(map(id, rests)))
        state = self._states.get(key)
        if state is None:
            if len(self._states) >= self._most:
                # Routes that overlap in many ways, and paths made to meet them all: what was made is made again.
                self._states.clear()
                self._start = _State(self._start.nodes, ())
            state = self._states[key] = _State(tuple(nodes), rests)
        return state

    # -- what a state says -------------------------------------------------------------------------------------

    def _say(self, state: _State, method: str) -> _Said:
        ends = (*(node.here for node in state.nodes if node.here is not None), *state.rests)
        best = _best(ends, method)
        choices: list[_Choice] = []
        for own in sorted((own for end in ends for own in end.own), key=lambda own: own.order):
            if own.route.accepts(method):
                found = self._served_by(own, best, method) if own.route.serves else best
                choices.append(_Choice(own.route, found))
                if own.route.sure and own.route.test is None:
                    break
        else:
            choices.append(_Choice(None, best))
        first = choices[0]
        if len(choices) == 1 and len(first.named) < 2:
            served = first.own is not None and first.own.serves
            return _Said(first.named[0] if first.named else None, served, ())
        return _Said(None, False, tuple(choices))

    def _served_by(self, own: _Own, best: tuple[Named, ...], method: str) -> tuple[Named, ...]:
        """What a request is that the app's route `own` serves, where `best` names its path best.

        That is `best` where it is finer than the route and is not the name of another one of the app's; else it is what
        names the route itself.
        """
        if best:
            end = self._ends[best[0]]
            others = [other.route for other in end.own if end is not own.end]
            names_another = any(other.serves and other.accepts(method) for other in others)
            if not names_another and covers(own.shape, best[0].shape):
                return best
        return self.covering(own.shape, method)

    def covering(self, parts: Sequence[str], method: str) -> tuple[Named, ...]:
        """The best of the policy's routes that take all that a route of this shape takes."""
        ends: list[_End] = []
        nodes = [self._root]
        for part in parts:
            ends += [node.rest for node in nodes if node.rest is not None]
            if part == "{:path}":
                return _best(ends, method)
            literal = part.lower() if self.framework.folds_case else part
            nodes = [
                *(node.literals[literal] for node in nodes if part != "{}" and literal in node.literals),
                *(node.parameter for node in nodes if part and node.parameter is not None),
            ]
        return _best([*ends, *(node.here for node in nodes if node.here is not None)], method)

    def _choose(self, choices: Sequence[_Choice], path: str, *, lenient: bool) -> tuple[Named | None, bool]:
        possible: list[tuple[Named, ...]] = []
        served = False
        for own, named in choices:
            if own is not None and own.test is not None and not own.test(path):
                continue
            possible.append(named)
            if own is None or own.sure:
                served = own is not None and own.serves
                break
        distinct = {id(named): named for found in possible for named in (found or (None,))}
        if len(distinct) > 1 and not lenient:
            raise PathError(_AMBIGUOUS)
        return next(iter(distinct.values()), None), served


def _best(ends: Iterable[_End], method: str) -> tuple[Named, ...]:
    """The best of the routes that end there: by place, then the method itself before GET for HEAD before ANY."""
    found: list[tuple[tuple[int, ...], tuple[Named, ...]]] = []
    for end in ends:
        for wanted in (method, "GET" if method == "HEAD" else method, "ANY" if method != "WS" else method):
            if named := end.named.get(wanted):
                found.append((named[0].rank, tuple(named)))
                break
    return min(found, key=lambda each: each[0])[1] if found else ()
