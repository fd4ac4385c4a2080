"""A page of sections in; lines for a terminal, or Markdown that can be mailed, out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Item", "Page", "Section", "lines", "markdown"]

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|#~&])")
# What ends a line somewhere, moves a terminal's cursor, or turns text around. It comes from policies and from logs.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_LINK: Final = re.compile(r"https?://[^\s<>()\"']+")


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
    yield _line(page.title)
    yield from (f"  {_line(text)}" for text in page.lead)
    for section in page.sections:
        yield _line(section.title)
        for item in section.items:
            yield f"  {_line(item.text)}"
            yield from (f"    {_line(note)}" for note in (*item.notes, *((item.link,) if item.link else ())))


def markdown(page: Page) -> str:
    """A page as CommonMark, ready to be mailed: nothing of it is taken for markup or for HTML."""
    parts = [f"# {_plain(page.title)}", *(_plain(text) for text in page.lead)]
    for section in page.sections:
        parts.append(f"## {_plain(section.title)}")
        told = []
        for item in section.items:
            told.append(f"- {_plain(item.text)}")
            told += [f"  - {_plain(note)}" for note in item.notes]
            if item.link:  # a policy's own word: what is no address of the web is text
                told.append(f"  - <{item.link}>" if _LINK.fullmatch(item.link) else f"  - {_plain(item.link)}")
        parts.append("\n".join(told))
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _plain(text: str) -> str:
    """Text that CommonMark shows as it is; what we put between backticks stays code."""
    shown = []
    for index, part in enumerate(_line(text).split("`")):
        shown.append(f"`{part}`" if index % 2 and text.count("`") % 2 == 0 and part else _SPECIAL.sub(r"\\\1", part))
    return "".join(shown)
