"""Names of fields and kinds of media in; whether a detector's category is there, out."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

__all__ = ["detected"]


def detected(patterns: Iterable[str], media: Iterable[str], fields: Iterable[str], carried: Iterable[str]) -> bool:
    """Whether one of `fields` matches one of the globs `patterns` (case aside), or `carried` has one of `media`."""
    names = [name.casefold() for name in fields]
    if any(fnmatchcase(name, pattern.casefold()) for pattern in patterns for name in names):
        return True
    return not frozenset(media).isdisjoint(carried)
