"""A YamlDoc in; its paths, items and the problems that all kinds of file share, out.

Runs on plain values: whatever has the wrong type is passed over, for it is pydantic's to report.
"""

from __future__ import annotations

from collections.abc import Iterator

from residency.errors import Problem
from residency.policy.problems import at, nearest
from residency.policy.times import parse_date
from residency.policy.yamldoc import Path, Value, YamlDoc

__all__ = ["items", "listed", "mapping", "on_calendar", "ordered", "unknown", "walk"]


def unknown(what: str, name: str, names: dict[str, Value]) -> str:
    """What to say of a `name` that is none of `names`: the nearest, or those that there are."""
    hint = nearest(name, names) or (f"; known: {', '.join(sorted(names)[:8])}" if names else f"; no {what} is declared")
    return f"unknown {what} `{name}`{hint}"


def mapping(doc: YamlDoc, name: str) -> dict[str, Value]:
    """The mapping at the top-level key `name`, empty where there is none."""
    value = at(doc.value, (name,))
    return value if isinstance(value, dict) else {}


def listed(doc: YamlDoc, name: str) -> list[Value]:
    """The list at the top-level key `name`, empty where there is none."""
    value = at(doc.value, (name,))
    return value if isinstance(value, list) else []


def items(doc: YamlDoc, path: Path) -> Iterator[Path]:
    """The paths of the items of the list at `path`."""
    value = at(doc.value, path)
    yield from ((*path, i) for i in range(len(value) if isinstance(value, list) else 0))


def walk(value: Value, path: Path) -> Iterator[tuple[Path, Value]]:
    """Every path under `path` with its value, outside in."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, (*path, index))


def on_calendar(doc: YamlDoc, path: Path, text: str) -> Iterator[Problem]:
    """A problem where `text` looks like a day and is none."""
    if text[:4].isdecimal() and len(text) == 10 and parse_date(text) is None:
        yield doc.problem(path, f"`{text}` is no day of the calendar")


def ordered(doc: YamlDoc, first: Path, last: Path) -> Iterator[Problem]:
    """A problem where the day at `last` lies before the one at `first`."""
    a, b = at(doc.value, first), at(doc.value, last)
    if isinstance(a, str) and isinstance(b, str):
        start, end = parse_date(a), parse_date(b)
        if start is not None and end is not None and end < start:
            yield doc.problem(last, f"`{b}` lies before `{a}`")
