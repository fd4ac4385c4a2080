"""What pydantic found wrong in; our problems out: place, offending text, what was expected, nearest word.

Input values are never taken from pydantic: an expanded `${VAR}` may be a secret, so messages show the text as written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from residency.errors import Problem
from residency.policy.documents import DOCUMENTS, json_schema
from residency.policy.yamldoc import Path, Value, YamlDoc

__all__ = ["MOST", "dotted", "nearest", "nearest_law", "shown", "translate"]

MOST: Final = 1000
"""How many problems of one file are told."""
_COMPARED: Final = 512  # names that a word is compared with at most
_QUOTED: Final = re.compile(r"'([^']*)'")
_YEAR: Final = re.compile(r"-[0-9]{4}$")
_SECRET_KEYS: Final = frozenset({"url"})
_EMPTY: Final = frozenset({"missing", "too_short"})
_KINDS: Final = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def nearest(word: object, words: Collection[str]) -> str:
    """A closing "; did you mean `x`?" or nothing."""
    return _nearest(word, {w: w for w in words})


def nearest_law(name: str, names: Collection[str]) -> str:
    """What to say of a law's `name` that is none of `names`: the nearest, and what there is in its country."""
    # The year is what people leave out: with it, a shorter number of another year is nearer than the next number.
    without = {_YEAR.sub("", known): known for known in sorted(names)}
    hint = _nearest(name, without | {known: known for known in names})
    country = name.partition("/")[0].casefold() + "/"
    there = sorted(known.removeprefix(country) for known in names if known.startswith(country))
    if there:
        return f"{hint or ';'} {country} has {', '.join(there)}"
    return hint or (f"; known: {', '.join(sorted(names))}" if names else "; none is installed")


def _nearest(word: object, words: Mapping[str, str]) -> str:
    # A file of a thousand mistakes against thousands of names would be compared for minutes.
    if not isinstance(word, str) or len(words) > _COMPARED:
        return ""
    folded = {w.casefold(): words[w] for w in sorted(words)}
    found = difflib.get_close_matches(word[:64].casefold(), folded, n=1, cutoff=0.65)
    return f"; did you mean `{folded[found[0]]}`?" if found else ""


def dotted(path: Path) -> str:
    """A path as people write it: `activities[2].store`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def at(value: Value, path: Path) -> Value:
    """The value at `path`, None where there is none."""
    for part in path:
        if isinstance(value, dict) and isinstance(part, str):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            return None
    return value


def shown(doc: YamlDoc, path: Path, written: Mapping[Path, str]) -> str:
    """The offending value as written in the file, short, and never one that may be a secret."""
    if path and path[-1] in _SECRET_KEYS:
        return "what stands here"
    if path in written:
        return f"`{written[path]}`"
    match at(doc.value, path):
        case None:
            return "null"
        case bool() as flag:
            return "`true`" if flag else "`false`"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case other:
            text = str(other)
            return f"`{text if len(text) <= 60 else text[:57] + '...'}`"


def translate(error: ValidationError, kind: str, doc: YamlDoc, written: Mapping[Path, str]) -> list[Problem]:
    """One Problem for each thing that pydantic found. `written` holds the unexpanded text of expanded paths."""
    items = error.errors(include_url=False, include_input=False)
    # `references` says more of a missing or empty `laws`. One more than are told shows that there are more.
    told = (i for i in items if i["loc"] != ("laws",) or i["type"] not in _EMPTY)
    return [_one(i, kind, doc, written) for i in islice(told, MOST + 1)]


def _one(item: Any, kind: str, doc: YamlDoc, written: Mapping[Path, str]) -> Problem:
    loc = _as_written(tuple(item["loc"]), doc.value)
    on_key = bool(loc) and loc[-1] == "[key]"
    path = loc[:-1] if on_key else loc
    where, what, context = dotted(path), item["type"], item.get("ctx", {})
    text = f"`{path[-1]}`" if on_key else shown(doc, path, written)
    match what:
        case "missing":
            return doc.problem(path[:-1], f"missing key `{path[-1]}` in {_quoted(path[:-1])}")
        case "extra_forbidden":
            names = _names(kind, path[:-1])
            hint = nearest(path[-1], names) or (f"; expected one of {', '.join(names)}" if names else "")
            return doc.problem(path, f"unknown key `{path[-1]}` in {_quoted(path[:-1])}{hint}", key=True)
        case "literal_error":
            words = _QUOTED.findall(str(context.get("expected", "")))
            wanted = ", ".join(words) if words else f"{context.get('expected')}"
            return doc.problem(path, f"{where}: expected {wanted}, got {text}{_hint(doc, path, written, words)}")
        case "expected":
            hint = nearest(path[-1], context["words"]) if on_key else _hint(doc, path, written, context["words"])
            return doc.problem(path, f"{where}: expected {context['what']}, got {text}{hint}", key=on_key)
        case "too_short" if context.get("min_length", 1) > 1 and at(doc.value, path):
            return doc.problem(path, f"{where}: expected at least {context['min_length']}")
        case "greater_than_equal":
            return doc.problem(path, f"{where}: expected {context['ge']} or more, got {text}")
        case "less_than_equal":
            return doc.problem(path, f"{where}: expected {context['le']} or less, got {text}")
        case "too_short" | "string_too_short":
            return doc.problem(path, f"{where}: {text} is empty" if path in written else f"{where}: may not be empty")
        case "string_too_long" | "too_long":
            return doc.problem(path, f"{where}: too long")
        case _ if what in _KINDS:
            hint = nearest(at(doc.value, path), ("true", "false")) if what == "bool_type" else ""
            return doc.problem(path, f"{where}: expected {_KINDS[what]}, got {text}{hint}")
        case _:
            return doc.problem(path, f"{where}: {text} is not valid here")


def _as_written(loc: Path, value: Value) -> Path:
    """`loc` without the index that one word got for a list, and without the key that a bare word got."""
    path: list[str | int] = []
    for part in loc:
        here = at(value, tuple(path))
        if isinstance(part, int) and isinstance(here, str):
            continue
        if part == "[key]" or isinstance(part, int) or not isinstance(here, str | list):
            path.append(part)
    return tuple(path)


def _quoted(path: Path) -> str:
    return f"`{dotted(path)}`" if path else "the file"


def _hint(doc: YamlDoc, path: Path, written: Mapping[Path, str], words: Collection[str]) -> str:
    return "" if path in written else nearest(at(doc.value, path), words)


@lru_cache(maxsize=8)
def _schema(kind: str) -> dict[str, Any]:
    return json_schema(kind)


def _names(kind: str, path: Path) -> list[str]:
    """The keys that the mapping at `path` may have, read from the JSON Schema."""
    if kind not in DOCUMENTS:
        return []
    root = _schema(kind)
    nodes = [root]
    for part in (*path, None):
        nodes = [step for node in nodes for step in _resolved(node, root)]
        if part is None:
            break
        if isinstance(part, int):
            nodes = [node["items"] for node in nodes if "items" in node]
        else:
            nodes = [inner for node in nodes for inner in _under(node, part)]
    return sorted({name for node in nodes for name in node.get("properties", {})})


def _under(node: dict[str, Any], key: str) -> list[dict[str, Any]]:
    if key in node.get("properties", {}):
        return [node["properties"][key]]
    if isinstance(node.get("additionalProperties"), dict):
        return [node["additionalProperties"]]
    return list(node.get("patternProperties", {}).values())


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _resolved(root["$defs"][node["$ref"].rsplit("/", 1)[1]], root)
    if "anyOf" in node:
        return [found for option in node["anyOf"] for found in _resolved(option, root)]
    return [node]
