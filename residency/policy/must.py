"""The invariants (`must:`) of a YamlDoc in; problems in how they are written, out.

`never: {jurisdiction: VN, data: sensitive, sink.country: not VN}`: no decision permits an act for which all of this is
so at once. A value is a word, a list of words (one of them), `not WORD`, or `{not: [...]}` (none of them).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, get_args

from residency.errors import Problem
from residency.model.activity import Operation
from residency.model.data import CATEGORIES
from residency.model.place import is_place
from residency.policy.docwalk import items
from residency.policy.problems import at, nearest
from residency.policy.words import SinkScope
from residency.policy.yamldoc import Path, Value, YamlDoc

__all__ = ["MUST_KEYS", "must_problems"]

MUST_KEYS: Final = (
    "jurisdiction", "data", "operation", "purpose", "basis", "activity", "action", "ai.risk",
    "sink", "sink.country", "sink.provider", "sink.keys", "sink.scope", "sink.encrypted",
)  # fmt: skip
_SHOWN: Final = 8  # names that are told where none is like the one that is written
_PLACES: Final = frozenset({"jurisdiction", "sink.country", "sink.provider", "sink.keys"})


def must_problems(doc: YamlDoc) -> Iterator[Problem]:
    """Problems of `must:`. Names of sinks and activities are those of the file itself, where it is a deployment."""
    names = {} if at(doc.value, ("kind",)) != "deployment" else _names(doc)
    for path in items(doc, ("must",)):
        never = at(doc.value, (*path, "never"))
        if not isinstance(never, dict):
            continue
        if not never:
            yield doc.problem((*path, "never"), "never: expected what must not be, such as `sink.country: not VN`")
        for key, value in never.items():
            where = (*path, "never", key)
            if key not in MUST_KEYS:
                hint = nearest(key, MUST_KEYS) or f"; expected one of {', '.join(MUST_KEYS)}"
                yield doc.problem(where, f"unknown key `{key}` in `never`{hint}", key=True)
                continue
            words = _words(value)
            if words is None:
                yield doc.problem(where, f"{key}: expected a word, a list of words, `not WORD` or `{{not: [WORDS]}}`")
                continue
            for word in words:
                yield from _word(doc, where, key, word)
                yield from _name(doc, where, key, word, names)


def _names(doc: YamlDoc) -> dict[str, tuple[str, ...]]:
    """The sinks and activities that a deployment names, as `never` does."""
    sinks = at(doc.value, ("sinks",))
    activities = [
        at(doc.value, (*path, "name")) or at(doc.value, (*path, "route")) for path in items(doc, ("activities",))
    ]
    return {
        "sink": tuple(sinks) if isinstance(sinks, dict) else (),
        "activity": tuple(name for name in activities if isinstance(name, str)),
    }


def _words(value: Value) -> list[str] | None:
    if isinstance(value, dict):
        return _words(value["not"]) if set(value) == {"not"} and not isinstance(value["not"], dict) else None
    if isinstance(value, bool):
        return ["true" if value else "false"]
    listed = value if isinstance(value, list) else [value]
    words = [word for word in listed if isinstance(word, str) and word]
    if len(words) != len(listed) or not words:
        return None
    return [words[0].removeprefix("not ")] if len(words) == 1 else words


def _word(doc: YamlDoc, where: Path, key: str, word: str) -> Iterator[Problem]:
    if key in _PLACES and not is_place(word):
        yield doc.problem(where, f"{key}: expected a country code such as VN, got `{word}`")
    elif key == "data" and word not in CATEGORIES:
        yield doc.problem(where, f"data: expected a category of data, got `{word}`{nearest(word, CATEGORIES)}")
    elif key == "operation" and word not in {operation.value for operation in Operation}:
        known = ", ".join(operation.value for operation in Operation)
        yield doc.problem(where, f"operation: expected one of {known}, got `{word}`")
    elif key == "sink.scope" and word not in get_args(SinkScope):
        hint = nearest(word, get_args(SinkScope)) or f"; expected one of {', '.join(get_args(SinkScope))}"
        yield doc.problem(where, f"sink.scope: unknown scope `{word}`{hint}")
    elif key == "sink.encrypted" and word not in ("true", "false"):
        yield doc.problem(where, f"sink.encrypted: expected true or false, got `{word}`")


def _name(doc: YamlDoc, where: Path, key: str, word: str, names: dict[str, tuple[str, ...]]) -> Iterator[Problem]:
    # What is misspelt would hold of nothing, and so be proved for ever.
    known = names.get(key)
    if known is not None and word not in known and "${" not in word:
        hint = nearest(word, known) or (
            f"; known: {', '.join(known[:_SHOWN])}" if known else f"; the file names no {key}"
        )
        yield doc.problem(where, f"{key}: unknown {key} `{word}`{hint}")
