"""A page of sections in; lines for a terminal, or Markdown that can be mailed, out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Item", "Page", "Section", "lines", "markdown"]

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|#~])")


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a section, with what belongs under it, and a link to the law's own text or ""."""

    text: str
    notes: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A title and its items."""

    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """What was decided, what must be known at once, and the sections."""

    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]


def lines(page: Page) -> Iterator[str]:
    """A page for a terminal: titles at the margin, items two spaces in, notes four."""
    yield page.title
    yield from (f"  {text}" for text in page.lead)
    for section in page.sections:
        yield section.title
        for item in section.items:
            yield f"  {item.text}"
            yield from (f"    {note}" for note in (*item.notes, *((item.link,) if item.link else ())))


def markdown(page: Page) -> str:
    """A page as CommonMark, ready to be mailed: nothing of it is taken for markup or for HTML."""
    parts = [f"# {_plain(page.title)}", *(_plain(text) for text in page.lead)]
    for section in page.sections:
        parts.append(f"## {_plain(section.title)}")
        told = []
        for item in section.items:
            told.append(f"- {_plain(item.text)}")
            told += [f"  - {_plain(note)}" for note in item.notes]
            told += [f"  - <{item.link}>"] if item.link else []
        parts.append("\n".join(told))
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Text that CommonMark shows as it is; what we put between backticks stays code."""
    shown = []
    for index, part in enumerate(text.replace("\n", " ").split("`")):
        shown.append(f"`{part}`" if index % 2 and text.count("`") % 2 == 0 and part else _SPECIAL.sub(r"\\\1", part))
    return "".join(shown)
