"""Help as it stands in the source in; the same with each paragraph as one line, for a terminal to break, out."""

from __future__ import annotations

from inspect import cleandoc

import typer

__all__ = ["flowing", "flowing_all"]

_AS_IT_STANDS = "\b"


def flowing(text: str | None) -> str:
    """Help whose paragraphs are a line each. One that begins with `\\b` stays as it stands, as click has it."""
    parts = cleandoc(text or "").split("\n\n")
    return "\n\n".join(part if part.startswith(_AS_IT_STANDS) else " ".join(part.split()) for part in parts)


def flowing_all(app: typer.Typer) -> None:
    """Make the help of every command of `app` flow."""
    for each in app.registered_commands:
        each.help = flowing(each.callback.__doc__ if each.help is None and each.callback else each.help)
