"""What `residency doctor` finds, as values; and as lines for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import typer
from rich.console import Console

__all__ = ["Finding", "show"]

_MARKS: Final = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "bad": "[red]bad [/]"}
_PLACES: Final = 4  # of each finding that people are told; programs are told all


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, what to do about it, and where in files (`shop/files.py:7`)."""

    level: Literal["ok", "warn", "bad"]
    what: str
    mend: str = ""
    places: tuple[str, ...] = ()


def show(found: Iterable[Finding], *, as_json: bool) -> bool:
    """Print each finding as it comes; whether none is bad."""
    console, healthy = Console(), True
    for each in found:
        healthy = healthy and each.level != "bad"
        if as_json:
            told = {"level": each.level, "what": each.what, "mend": each.mend, "places": list(each.places)}
            typer.echo(json.dumps(told, ensure_ascii=False))
            continue
        # What others wrote is no markup: 'residency[http]' is to be read whole, and not folded into a log's lines.
        console.print(_MARKS[each.level], end=" ")
        console.print(each.what + _at(each.places), markup=False, highlight=False, soft_wrap=True)
        if each.mend:
            console.print(f"     mend: {each.mend}", markup=False, highlight=False, soft_wrap=True)
    return healthy


def _at(places: tuple[str, ...]) -> str:
    if not places:
        return ""
    more = len(places) - _PLACES
    return f", at {', '.join(places[:_PLACES])}" + (f" and {more} more" if more > 0 else "")
