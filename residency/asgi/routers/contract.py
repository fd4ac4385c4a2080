"""What a reader of routes is: an app in, its `Routing` out. And what readers share: framework's patterns as templates.

A reader imports no framework: it looks at what is already imported, for the app can be the framework's only then.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final, Protocol

from residency.policy.activities import Routing

__all__ = ["RouteReader", "is_a", "template_of"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT: Final = re.compile(r"[^{}*%?#\\]*")


class RouteReader(Protocol):
    """Reads the routes of one framework's apps."""

    def __call__(self, app: Any) -> Routing | None:
        """How `app` routes; None = it is no app of this framework.

        Raises: UsageError where a route cannot be read.
        """


def is_a(app: object, module: str, name: str) -> bool:
    """Whether `app` is an instance of a class, without importing the module that has it."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(app, kind)


def template_of(parts: list[str | tuple[str, bool]]) -> tuple[str, bool]:
    """A pattern's texts and parameters (name, whether it takes slashes) as a template that takes all that it takes.

    The second of what is returned says whether the template takes no more than that.
    """
    segments: list[str] = []
    taken: set[str] = set()
    exact = True
    current: list[str | tuple[str, bool]] = []

    def named(wanted: str) -> str:
        name = wanted if _NAME.fullmatch(wanted) is not None and wanted not in taken else f"p{len(segments)}"
        taken.add(name)
        return name

    def close() -> None:
        nonlocal exact
        if all(isinstance(part, str) for part in current):
            text = "".join(map(str, current))
            if _TEXT.fullmatch(text) is None or text in (".", ".."):
                text, exact = f"{{{named('')}}}", False
            segments.append(text)
        else:
            exact = exact and len(current) == 1
            segments.append(f"{{{named(next(part[0] for part in current if not isinstance(part, str)))}}}")
        current.clear()

    parts = [part for part in parts if part]
    for index, part in enumerate(parts):
        if isinstance(part, str):
            first, *others = part.split("/")
            if first:
                current.append(first)
            for text in others:
                close()
                if text:
                    current.append(text)
        elif part[1]:
            exact = exact and not current and index == len(parts) - 1
            segments.append(f"{{{named(part[0])}:path}}")
            return "/" + "/".join(segments[1:]), exact
        else:
            current.append(part)
    close()
    inner = segments[1:]
    if "" in inner[:-1]:  # a doubled slash, which no template of ours has
        inner, exact = [*inner[: inner.index("")], f"{{{named('rest')}:path}}"], False
    return "/" + "/".join(inner), exact
