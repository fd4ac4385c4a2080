"""An app's source in; where it reaches out past residency, and where it opens stores through it, out. Read, not run."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from residency.cli.app_source import Source, dotted, running
from residency.cli.bypass_libraries import Group, group_of

__all__ = ["Bypass", "bypasses", "uses", "wraps"]

_HANDLES: Final = frozenset({"store", "http"})
_HARMLESS: Final = ("Error", "Exception", "Warning", "exceptions", "errors")
_IMPORTS: Final = frozenset({"importlib.import_module", "import_module"})
_STORES: Final = "RESIDENCY_STORES"  # of Django's settings


@dataclass(frozen=True, slots=True)
class Bypass:
    """A library that reaches out past residency, and the places (`shop/files.py:7`) where the app uses it."""

    library: str
    group: Group
    places: tuple[str, ...]


def bypasses(sources: Iterable[Source]) -> tuple[Bypass, ...]:
    """What the source reaches out by, by library. Of each file the calls are told, or the import where there is none.

    A client that is given our transport is none: `openai.AsyncOpenAI(http_client=…)`.
    """
    found: dict[tuple[str, Group], list[str]] = {}
    sources = tuple(sources)
    # A module of the app's own may have the name of a library.
    own = {source.file.partition("/")[0].removesuffix(".py") for source in sources}
    for source in sources:
        open_calls: dict[tuple[str, Group], list[int]] = {}
        for name, line, ours in _calls(source):
            if (known := group_of(name, called=True)) is not None:
                lines = open_calls.setdefault(known, [])
                if not ours:
                    lines.append(line)
        for name, line in _imports(source):
            known = None if name.endswith(_HARMLESS) else group_of(name, called=False)
            if known is not None and known not in open_calls:
                open_calls[known] = [line]
        for known, lines in open_calls.items():
            found.setdefault(known, []).extend(f"{source.file}:{line}" for line in sorted(set(lines)))
    told = (
        Bypass(*known, tuple(places))
        for known, places in found.items()
        if places and known[0].partition(".")[0] not in own
    )
    return tuple(sorted(told, key=lambda each: each.library))


def uses(sources: Iterable[Source], stores: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Where the source opens each of `stores` through residency; those that it never names are left out."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for store, line in _opened(source):
            if store in stores:
                found.setdefault(store, {})[f"{source.file}:{line}"] = None
    return {store: tuple(places) for store, places in found.items()}


def wraps(sources: Iterable[Source]) -> str | None:
    """Where the source names the middleware, None where it nowhere does."""
    for source in sources:
        for node in running(source.tree):
            if isinstance(node, ast.Name | ast.Attribute):
                stands_for = dotted(node, source.names) or ""
                if stands_for.startswith("residency.") and stands_for.endswith(".ResidencyMiddleware"):
                    return f"{source.file}:{node.lineno}"
    return None


def _calls(source: Source) -> Iterator[tuple[str, int, bool]]:
    """(what is called, where, whether it is given something of ours) for each call of an imported name."""
    ours = {
        target.id
        for node in running(source.tree)
        if isinstance(node, ast.Assign) and _is_ours(node.value, source, frozenset())
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in running(source.tree):
        if isinstance(node, ast.Call) and (name := dotted(node.func, source.names)) is not None:
            yield name, node.lineno, any(_is_ours(word.value, source, ours) for word in node.keywords)


def _is_ours(node: ast.expr, source: Source, ours: Collection[str]) -> bool:
    """Whether something of residency's is made, or named, in an expression."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and each.id in ours:
            return True
        if isinstance(each, ast.Call) and (dotted(each.func, source.names) or "").startswith("residency."):
            return True
    return False


def _imports(source: Source) -> Iterator[tuple[str, int]]:
    for node in running(source.tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, node.lineno) for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield from ((f"{node.module}.{each.name}", node.lineno) for each in node.names)
        elif isinstance(node, ast.Call) and (name := _constant(node)) is not None:
            called = node.func.id if isinstance(node.func, ast.Name) else dotted(node.func, source.names)
            if called == "__import__" or called in _IMPORTS:
                yield name, node.lineno


def _opened(source: Source) -> Iterator[tuple[str, int]]:
    """(name, where) of what may be stores: `sql.sessionmaker("people")`, `current().store("uploads")`, settings."""
    for node in running(source.tree):
        if isinstance(node, ast.Call) and (name := _constant(node)) is not None:
            handle = isinstance(node.func, ast.Attribute) and node.func.attr in _HANDLES
            if handle or (dotted(node.func, source.names) or "").startswith("residency."):
                yield name, node.lineno
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and _is(node.targets, _STORES):
            yield from ((str(key.value), key.lineno) for key in node.value.keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.Dict):
            said = {
                key.value: value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            }
            backend, place = said.get("BACKEND"), said.get("LOCATION")
            if backend is not None and place is not None and str(backend.value).startswith("residency."):
                yield str(place.value), place.lineno


def _is(targets: Iterable[ast.expr], name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _constant(call: ast.Call) -> str | None:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
