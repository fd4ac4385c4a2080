"""What the commands of `residency audit` share: their options, how they fail, how they write a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from residency.audit.entry import Entry
from residency.cli.audit.period import printable
from residency.errors import IntegrityError, Unavailable

__all__ = [
    "WORK", "Folder", "Json", "Key", "Place", "cell", "csv_cell", "document", "fail", "holding", "shown", "unreached",
    "when",
]  # fmt: skip

WORK: Final = "recomputing the log"
_FORMULA: Final = frozenset("=+-@\t\r")
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?|-")
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A log folder: checkpoint, tile/, log.vkey.")]
Place = Annotated[
    str,
    typer.Argument(metavar="DIR|URL", help="Where the log lies: a folder, s3://BUCKET/PREFIX or https://HOST/PATH."),
]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The verifier key you were given. Default: the log's own, log.vkey."),
]
Json = Annotated[bool, typer.Option("--json", help="JSON for a program.")]


def fail(message: str, as_json: bool, **more: object) -> NoReturn:
    """Say why a log does not hold, and end with 1."""
    if as_json:
        print(json.dumps({"holds": False, "problem": message, **more}))
    else:
        Console(stderr=True).print(f"[bold red]Does not hold:[/] {shown(message)}")
    raise typer.Exit(1)


def unreached(message: str, as_json: bool, **more: object) -> NoReturn:
    """Say why a log could not be read: whether it holds is not known. Ends with 2."""
    if as_json:
        print(json.dumps({"holds": None, "problem": message, **more}))
    else:
        Console(stderr=True).print(f"[bold yellow]Not checked:[/] {shown(message)}", soft_wrap=True)
    raise typer.Exit(2)


@contextmanager
def holding(as_json: bool, **more: object) -> Iterator[None]:
    """Within it, a log that does not hold ends the command with 1, and a place that cannot be reached with 2."""
    try:
        yield
    except IntegrityError as error:
        fail(str(error), as_json, **more)
    except Unavailable as error:
        unreached(str(error), as_json, **more)


def shown(message: str) -> str:
    """A message with what somebody else wrote in it (a name, a path), without markup and terminal codes."""
    return escape("\n".join(map(printable, message.split("\n"))))


def document(entry: Entry) -> dict[str, Any]:
    """An entry's fields by name, for JSON."""
    return {name: getattr(entry, name) for name in sorted(Entry.__dataclass_fields__)}


def when(at: int) -> str:
    """An instant (microseconds, UTC) as people write it."""
    try:
        return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return f"{at} us"


def csv_cell(text: str) -> str:
    """Text for a cell of CSV, behind an apostrophe where a spreadsheet would compute it; numbers are as they are."""
    if text[:1] not in _FORMULA or _NUMBER.fullmatch(text) is not None:
        return text
    return f"'{text}"


def cell(text: str | None) -> str:
    """Text for a cell of a table; markup and terminal codes in it are not followed."""
    return "" if text is None else shown(text)
