"""`residency audit export`: a log in, verified as it is read; one file for analysis out."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from residency.adapters.log_tables import open_table
from residency.audit.checkpoint import verify_checkpoint
from residency.audit.continuity import Continuity
from residency.audit.entry import KINDS
from residency.audit.entry_reader import EntryReader
from residency.audit.sequencer import CHECKPOINT_PATH
from residency.audit.verify import verify_bundles
from residency.cli.audit.filters import FromOption, ToOption
from residency.cli.audit.period import instant
from residency.cli.audit.shared import Json, Key, Place, fail, unreached
from residency.cli.log_places import reader_of, verifier_key_at
from residency.errors import IntegrityError, Unavailable, UsageError, VerificationError

__all__ = ["export"]

_NEVER: Final = 1 << 62


class Form(StrEnum):
    """What kind of file is written."""

    PARQUET = "parquet"
    JSONL = "jsonl"


def export(
    place: Place,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write; one that is there is replaced.")
    ],
    form: Annotated[Form, typer.Option("--format", help="Parquet, or JSON lines.")] = Form.PARQUET,
    since: FromOption = None,
    until: ToOption = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only this kind, or several: {', '.join(sorted(KINDS))}."),
    ] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Write the entries of a log to one file, for DuckDB, Spark, Trino or a program; the whole log is verified.

    Where it does not hold, no file is written. Exit 0 = written, 1 = the log does not hold, 2 = wrong use, or a place
    that cannot be reached.

    Example: residency audit export ./demo-data/audit/log --out entries.parquet
    """
    asked = frozenset(kinds or ())
    if asked - KINDS:
        raise typer.BadParameter(f"one of {', '.join(sorted(KINDS))}", param_hint="--kind")
    period = (instant(since, "--from"), instant(until, "--to"))
    read = reader_of(place)
    began = time.monotonic()
    try:
        note = read(CHECKPOINT_PATH)
        if note is None:
            raise VerificationError("the log has no checkpoint")
        checkpoint = verify_checkpoint(note, verifier_key_at(read, key))
        about = {
            "origin": checkpoint.origin,
            "size": str(checkpoint.size),
            "root": base64.b64encode(checkpoint.root).decode(),
            "checkpoint": note.decode(),
        }
        rows = 0
        with _bar(checkpoint.size, hide=as_json) as tick, open_table(out, form.value, about) as table:
            scan, continuity = EntryReader().scan, Continuity(_NEVER, _NEVER)
            for start, entries in verify_bundles(read, checkpoint):
                shapes, values = scan(start, entries)
                continuity.take(start, shapes, values)
                if asked or period != (None, None):
                    takes = [
                        at
                        for at, (shape, held) in enumerate(zip(shapes, values, strict=True))
                        if (not asked or shape.kind in asked) and _within(int(held[0]), period)
                    ]
                    table.add([start + at for at in takes], [entries[at] for at in takes])
                    rows += len(takes)
                else:
                    table.add(range(start, start + len(entries)), entries)
                    rows += len(entries)
                tick(start)
            continuity.finish()
    except IntegrityError as error:
        fail(str(error), as_json)
    except Unavailable as error:
        unreached(str(error), as_json)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--format") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot be written (errno {error.errno})", param_hint="--out") from None
    took = time.monotonic() - began
    if as_json:
        told = {"holds": True, "rows": rows, "out": str(out), "format": form.value, "bytes": out.stat().st_size}
        print(json.dumps({**told, **{name: about[name] for name in ("origin", "root")}, "size": checkpoint.size}))
        return
    of = "" if rows == checkpoint.size else f" of {checkpoint.size:,}"
    speed = f"{checkpoint.size / took:,.0f} entries a second" if took else ""
    told_of = f"{rows:,}{of} entries of {escape(checkpoint.origin)} written to {escape(str(out))} ({speed})"
    Console().print(told_of, soft_wrap=True, highlight=False)
    if key is None:
        Console().print("[yellow]The key came from the log itself: give the one you were handed with --key.[/]")


@contextmanager
def _bar(size: int, *, hide: bool) -> Iterator[Callable[[int], None]]:
    """Shows how far it is, on a terminal."""
    console = Console(stderr=True)
    shown = console.is_terminal and not hide
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("exporting the log", total=size)
        yield lambda done: bar.update(task, completed=done) if shown else None


def _within(at: int, period: tuple[int | None, int | None]) -> bool:
    since, until = period
    return (since is None or since <= at) and (until is None or at < until)
