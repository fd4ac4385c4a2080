"""The categories of data, as a tree: what a law says of a category holds for what lies under it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["CATEGORIES", "category_within", "expand", "parents"]

# category -> parent. Groups as the statutes cut them: Decree 53 art. 26 and Decree 333 art. 19 (personal, account,
# relationship), Decree 356 art. 4 (sensitive and its kinds), Law on Data 60/2024 (important, core).
CATEGORIES: Final[dict[str, str | None]] = {
    "personal": None,
    "sensitive": "personal",
    "health": "sensitive",
    "biometric": "sensitive",
    "location": "sensitive",
    "financial": "sensitive",
    "political": "sensitive",
    "criminal": "sensitive",
    "tracking": "sensitive",
    "identity_document": "sensitive",
    "child": "personal",
    "account": None,
    "relationship": None,
    "content": None,
    "transaction": None,
    "log": None,
    "state": None,
    "important": None,
    "core": "important",
}


def parents(category: str) -> tuple[str, ...]:
    """The category and everything above it, nearest first."""
    line = [category]
    while (parent := CATEGORIES[line[-1]]) is not None:
        line.append(parent)
    return tuple(line)


def category_within(inner: str, outer: str) -> bool:
    """Whether `inner` is `outer` or lies under it."""
    return outer in parents(inner)


def expand(categories: Iterable[str]) -> frozenset[str]:
    """All categories that the given ones are or lie under: a rule on any of these applies."""
    return frozenset(p for c in categories for p in parents(c))
