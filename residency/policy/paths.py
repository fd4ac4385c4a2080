"""How a path is written and read: templates into segments; a request's method and path into what a framework routes on.

Every framework reads a path a little differently; what was tried and found is the table `FRAMEWORKS` (docs/how-to/
routes.md tells it in words). Nothing is folded unless the framework folds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

__all__ = ["FRAMEWORKS", "UNKNOWN", "Framework", "ambiguous", "covers", "hopeless", "parse_template", "shape"]

_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:path)?\}")
_CONVERTED: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*):[a-z]+\}")
# Decoded: controls, DEL and backslash. Raw: the same, and their encodings with that of the slash.
_BAD: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_BAD_RAW: Final = re.compile(rb"[\x00-\x1f\x7f\\]|%(?:2[fF]|5[cC]|[01][0-9a-fA-F]|7[fF])")
_DOTS: Final = re.compile(r"/\.{1,2}(?:/|\Z)")
_SLASHES: Final = re.compile(r"/{2,}")


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


def covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """Whether the route of shape `wide` takes every path that the one of shape `narrow` takes."""
    for index, segment in enumerate(wide):
        if segment == "{:path}":
            return len(narrow) > index
        if index >= len(narrow):
            return False
        other = narrow[index]
        if segment != other and (segment != "{}" or other in ("", "{:path}")):
            return False
    return len(wide) == len(narrow)


def ambiguous(path: str, raw_path: bytes | None) -> bool:
    """Whether servers and routers could read the path differently: dots, doubles, encoded slashes, controls."""
    plain = raw_path is not None and b"%" not in raw_path and b"\\" not in raw_path and path.isprintable()
    if plain and path[:1] == "/" and "//" not in path and "/." not in path and "\\" not in path:
        return False  # as nearly every path there is: nothing encoded, nothing that could be wrong with it
    return (
        not path.startswith("/")
        or _BAD.search(path) is not None
        or "//" in path
        or _DOTS.search(path) is not None
        or (raw_path is not None and _BAD_RAW.search(raw_path) is not None)
    )


def hopeless(path: str) -> bool:
    """Whether not even `paths: raw` may take the path: it is none, or some routers overlook how it begins or ends."""
    return not path.startswith("/") or path.startswith("//") or path.endswith("\n")


# -- what frameworks do ------------------------------------------------------------------------------------------------


def _at_boundary(path: str, root: str) -> str:
    if path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def _without_boundary(path: str, root: str) -> str:
    return path.removeprefix(root) or "/"


def _or_blank(path: str, root: str) -> str:
    # Quart takes all that does not lie under its root for a blank, which a parameter may still take.
    inside = path[len(root) :] if path.startswith(root) and path != root else " "
    return "/" + inside.lstrip("/")


def _after_first(path: str, root: str) -> str:
    # Litestar drops the root wherever it stands, with all that stands before it, and puts back a slash that it lacks.
    inside = path.split(root, maxsplit=1)[-1]
    return inside if inside.startswith("/") else f"/{inside}"


@dataclass(frozen=True, slots=True)
class Framework:
    """How one framework reads methods and paths.

    `under` drops the server's root from a path. `upper` = methods are read in upper case, else as they came.
    `folds_case`, `final_slash`, `doubled` = paths that differ only in case, a final or doubled slashes are one route.
    `on_raw` = it routes HTTP on what came, not on what the server decoded. `redirects` = a path with a final slash too
    many or too few is sent on. `careful` = how it reads is not known: what would be another route if it folded is
    refused.
    """

    name: str
    under: Callable[[str, str], str] = _at_boundary
    upper: bool = False
    folds_case: bool = False
    final_slash: bool = False
    doubled: bool = False
    on_raw: bool = False
    redirects: bool = False
    careful: bool = False
    inner_methods: frozenset[str] = frozenset()
    """Words that its router keeps among HTTP methods for what is none: a client that sends one is refused."""

    def folded(self, path: str) -> str:
        """`path` as its router compares it."""
        if self.folds_case:
            path = path.lower()
        if self.doubled and "//" in path:
            path = _SLASHES.sub("/", path)
        if self.final_slash and path.endswith("/"):
            path = path[:-1] or "/"
        return path


UNKNOWN: Final = Framework("asgi", careful=True)
_ALL: Final = (
    UNKNOWN,
    Framework("starlette", redirects=True),
    Framework("fastapi", redirects=True),
    Framework(
        "litestar", under=_after_first, final_slash=True, doubled=True, inner_methods=frozenset({"websocket", "asgi"})
    ),
    Framework("django", under=_without_boundary, upper=True, redirects=True),
    Framework("quart", under=_or_blank, upper=True, redirects=True),
    Framework(
        "blacksheep",
        under=_without_boundary,
        folds_case=True,
        final_slash=True,
        on_raw=True,
        inner_methods=frozenset({"GET_WS"}),
    ),
)
FRAMEWORKS: Final = {framework.name: framework for framework in _ALL}
