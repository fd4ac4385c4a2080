"""A document's file and the place of each of its values in it; a problem at one of them, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from residency.errors import Problem

__all__ = ["Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """The file a document came from, and the line and column (from 1) of each path in it.

    `expanded` has the text, as written, of what `${VAR}` was put into.
    """

    file: str
    values: Mapping[tuple[str | int, ...], tuple[int, int]] = field(default_factory=dict, repr=False)
    expanded: Mapping[tuple[str | int, ...], str] = field(default_factory=dict, repr=False)

    def as_written(self, path: tuple[str | int, ...], text: str) -> str:
        """`text`, the value at `path`, as the file has it: what a variable expands to may be a secret."""
        return self.expanded.get(path, self.expanded.get(path[:-1], text))

    def problem(self, path: tuple[str | int, ...], message: str) -> Problem:
        """A Problem at `path`, or at the nearest thing above it that the file has."""
        while path and path not in self.values:
            path = path[:-1]
        line, column = self.values.get(path, (1, 1))
        return Problem(self.file, line, column, message)
