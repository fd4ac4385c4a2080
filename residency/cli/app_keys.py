"""An app's source in; the values that it makes part of keys out: of objects, caches, subjects, in paths of services.

Read, not run: what stands in the call itself, as in `store.put(f"avatar/{user.phone}", …)`, or in a name that the same
function gives it. A value that went through a function of the app's is that function's, which may well be a hash.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from residency.cli.app_source import Source, dotted
from residency.policy.identifiers import AppKey

__all__ = ["app_keys"]

_HANDLES: Final = frozenset({"store", "http"})
_CLIENTS: Final = frozenset({"residency.http.AsyncClient", "residency.http.Client"})
_KEYED: Final = frozenset(
    "put get open head delete list keys set add touch incr get_many set_many post patch options push".split()
)
_SECOND: Final = frozenset({"request", "stream"})  # a method comes before the URL
_SUBJECTS: Final = frozenset({"residency.identify", "residency.about", "residency.about_many"})
_ASIS: Final = frozenset(
    "str repr quote quote_plus lower upper strip lstrip rstrip encode decode replace removeprefix removesuffix format "
    "casefold join".split()
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef
Given = Mapping[str, Sequence[ast.expr]]


def app_keys(sources: Iterable[Source]) -> tuple[AppKey, ...]:
    """Every value that becomes part of a key, in the order of the source, each once."""
    found: dict[AppKey, None] = {}
    for source in sources:
        top = [node for node in source.tree.body if not isinstance(node, _Function | ast.ClassDef)]
        shared = dict(_handles(top, source))
        for scope in ast.walk(source.tree):
            if isinstance(scope, _Function):
                handles = shared | dict(_handles(scope.body, source))
                given = _given(scope.body)
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call):
                        found |= dict.fromkeys(_keys(node, handles, given, source))
    return tuple(sorted(found, key=lambda key: (key.file, key.line, key.name)))


def _handles(body: Iterable[ast.stmt], source: Source) -> Iterator[tuple[str, str]]:
    """(name, store) of what is given a name: `uploads = current().store("uploads")`, `async with … as client`."""
    for name, value in _named(body):
        store = _store(value, source)
        if store is not None:
            yield name, store


def _given(body: Iterable[ast.stmt]) -> Given:
    """All that each name is given in one function."""
    found: dict[str, list[ast.expr]] = {}
    for name, value in _named(body):
        found.setdefault(name, []).append(value)
    return found


def _named(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for node in (node for statement in body for node in ast.walk(statement)):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.With | ast.AsyncWith):
            pairs = [(item.optional_vars, item.context_expr) for item in node.items if item.optional_vars is not None]
        yield from ((target.id, value) for target, value in pairs if isinstance(target, ast.Name))


def _store(node: ast.expr, source: Source) -> str | None:
    """The store of `….store("name")`, `….http("name")` and `http.AsyncClient("name")`."""
    if not isinstance(node, ast.Call) or not node.args:
        return None
    handle = isinstance(node.func, ast.Attribute) and node.func.attr in _HANDLES
    if handle or dotted(node.func, source.names) in _CLIENTS:
        name = node.args[0]
        return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None
    return None


def _keys(call: ast.Call, handles: Mapping[str, str], given: Given, source: Source) -> Iterator[AppKey]:
    if dotted(call.func, source.names) in _SUBJECTS and call.args:
        yield from (AppKey(name, source.file, call.lineno) for name in _values(call.args[0], given))
    if not isinstance(call.func, ast.Attribute):
        return
    of, method = call.func.value, call.func.attr
    store = handles.get(of.id) if isinstance(of, ast.Name) else _store(of, source)
    if store is None or method not in _KEYED | _SECOND:
        return
    place = 1 if method in _SECOND else 0
    keys = [*call.args[place : place + 1], *(word.value for word in call.keywords if word.arg in ("key", "url"))]
    for node in keys:
        yield from (AppKey(name, source.file, call.lineno, store) for name in _values(node, given))


def _values(node: ast.expr | None, given: Given, seen: set[str] | None = None) -> Iterator[str]:
    """The names of the values that a text, or several of them, is made of; what `seen` were given is told already."""
    parts: Sequence[ast.expr | None] = ()
    seen = set() if seen is None else seen
    match node:
        case ast.Name(id=name):
            yield name
            parts = () if name in seen else given.get(name, ())
            seen.add(name)  # it may be given itself
        case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            yield name
        case ast.JoinedStr(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Dict(keys=parts):
            pass
        case ast.FormattedValue(value=inner) | ast.ListComp(elt=inner) | ast.DictComp(key=inner):
            parts = (inner,)
        case ast.BinOp(left=left, right=right):
            parts = (left, right)
        case ast.Call(func=ast.Attribute(value=of, attr=name), args=args) if name in _ASIS:
            parts = (of, *args)
        case ast.Call(func=ast.Name(id=name), args=args) if name in _ASIS:
            parts = args
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            yield name  # form.get("phone")
        case _:
            pass  # whatever it makes of a value, it may be a hash
    for part in parts:
        yield from _values(part, given, seen)
