"""`residency audit`: a log folder in, what it says and whether it holds out. Exit 0 holds, 1 does not, 2 wrong use."""

from __future__ import annotations

import base64
import json
import textwrap
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from residency.audit.checkpoint import Checkpoint
from residency.audit.entry import KINDS, Entry
from residency.audit.pairs import Pairs
from residency.audit.verify import prove_entry, read_checkpoint
from residency.cli.log_folder import entries, reader, verifier_key
from residency.errors import IntegrityError

__all__ = ["audit_app"]

audit_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Read, check and prove the audit log. Trusts nothing it reads.\n\n"
    "Example: residency audit verify ./demo-data/log",
)

_WORK: Final = "recomputing the log"
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A log folder: checkpoint, tile/, log.vkey.")]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="The verifier key you were given. Default: DIR/log.vkey.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON for a program.")]


@audit_app.command()
def verify(folder: Folder, key: Key = None, as_json: Json = False) -> None:
    """Recompute the whole log: signature, tree, entries, intents and outcomes.

    Exit 0 = the log holds, 1 = it does not, 2 = wrong use.

    Example: residency audit verify ./demo-data/log --key ./log.vkey
    """
    checkpoint: Checkpoint | None = None
    kinds: Counter[str] = Counter()
    pairs = Pairs()
    read = reader(folder)
    try:
        verifier = verifier_key(folder, key)
        checkpoint = read_checkpoint(read, verifier)
        for entry in entries(read, checkpoint, pairs, progress=not as_json, what=_WORK):
            kinds[entry.kind] += 1
        pairs.finish()
    except IntegrityError as error:
        _fail(str(error), as_json, size=None if checkpoint is None else checkpoint.size)
    report = {
        "holds": True,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
        "key": verifier.name,
        "key_given": key is not None,
        "entries": dict(sorted(kinds.items())),
        "open_intents": len(pairs.open),
    }
    if as_json:
        print(json.dumps(report))
        return
    console = Console()
    console.print("[bold green]The log holds.[/]")
    table = Table(show_header=False, box=None)
    table.add_row("origin", escape(checkpoint.origin))
    table.add_row("entries", f"{checkpoint.size}  ({', '.join(f'{k} {n}' for k, n in sorted(kinds.items()))})")
    table.add_row("root", str(report["root"]))
    table.add_row("signature", f"Ed25519, holds under {escape(verifier.name)}")
    table.add_row("open intents", str(len(pairs.open)) + ("  (see: residency audit open)" if pairs.open else ""))
    console.print(table)
    if key is None:
        console.print("[yellow]The key came from the log folder itself: give the one you were handed with --key.[/]")


@audit_app.command()
def show(
    folder: Folder,
    key: Key = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many entries, the newest.")] = 20,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help=f"Only one of: {', '.join(sorted(KINDS))}.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the newest entries of a log, once the log has been checked.

    Exit 0 = shown, 1 = the log does not hold, 2 = wrong use.

    Example: residency audit show ./demo-data/log --last 20 --kind refusal
    """
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"one of {', '.join(sorted(KINDS))}", param_hint="--kind")
    newest: deque[tuple[int, Entry]] = deque(maxlen=last)
    read = reader(folder)
    try:
        checkpoint = read_checkpoint(read, verifier_key(folder, key))
        for index, entry in enumerate(entries(read, checkpoint, Pairs(), progress=not as_json, what=_WORK)):
            if kind is None or entry.kind == kind:
                newest.append((index, entry))
    except IntegrityError as error:
        _fail(str(error), as_json)
    if as_json:
        for index, entry in newest:
            print(json.dumps({"index": index, **_document(entry)}, ensure_ascii=False))
        return
    for line in _told(newest):
        print(line)


@audit_app.command("open")
def open_intents(folder: Folder, key: Key = None, as_json: Json = False) -> None:
    """List intents without an outcome, with their age: acts begun whose end the log does not know.

    Exit 0 = listed, 1 = the log does not hold, 2 = wrong use.

    Example: residency audit open ./demo-data/log --json
    """
    pairs = Pairs()
    read = reader(folder)
    try:
        checkpoint = read_checkpoint(read, verifier_key(folder, key))
        for _ in entries(read, checkpoint, pairs, progress=not as_json, what=_WORK):
            pass
        pairs.finish()
    except IntegrityError as error:
        _fail(str(error), as_json)
    now = time.time_ns() // 1000
    if as_json:
        for index, entry in pairs.open:
            print(json.dumps({"index": index, "age_seconds": (now - entry.at) / 1e6, **_document(entry)}))
        return
    if not pairs.open:
        Console().print("No open intents: every act that began has an outcome.")
        return
    table = Table("index", "id", "begun (UTC)", "age", "activity", "sink", title=f"{len(pairs.open)} open intents")
    for index, entry in pairs.open:
        age = f"{max(0, now - entry.at) / 1e6:.1f} s"
        table.add_row(str(index), entry.id, _when(entry.at), age, _cell(entry.activity), _cell(entry.sink))
    Console().print(table)


@audit_app.command()
def prove(
    folder: Folder,
    index: Annotated[int, typer.Argument(metavar="INDEX", help="The entry's number in the log, from 0.")],
    key: Key = None,
) -> None:
    """Print one JSON document: an entry, its inclusion proof and the signed checkpoint it leads to.

    Exit 0 = printed, 1 = the log does not hold, 2 = wrong use.

    Example: residency audit prove ./demo-data/log 0 > proof.json
    """
    read = reader(folder)
    try:
        verifier = verifier_key(folder, key)
        checkpoint = read_checkpoint(read, verifier)
        if not 0 <= index < checkpoint.size:
            raise typer.BadParameter(f"the log has {checkpoint.size} entries, numbered from 0", param_hint="INDEX")
        note = read("checkpoint")
        entry, proof = prove_entry(read, index, checkpoint)
    except IntegrityError as error:
        _fail(str(error), as_json=True)
    document = {
        "index": index,
        "entry": entry.decode(),
        "proof": [base64.b64encode(node).decode() for node in proof],
        "checkpoint": "" if note is None else note.decode(),
    }
    print(json.dumps(document, ensure_ascii=False, indent=2))


def _fail(message: str, as_json: bool, **more: object) -> NoReturn:
    if as_json:
        print(json.dumps({"holds": False, "problem": message, **more}))
    else:
        Console(stderr=True).print(f"[bold red]Does not hold:[/] {escape(message)}")
    raise typer.Exit(1)


def _told(shown: Iterable[tuple[int, Entry]]) -> Iterator[str]:
    """The entries as lines, the day and the rules said only where they change: a table would be cut at 80 columns."""
    day = ""
    rules: tuple[str, ...] = ()
    for index, entry in shown:
        date, _, clock = _when(entry.at).partition(" ")
        if date != day:
            yield f"{date} (UTC)"
            day = date
        kind = entry.kind + (f" ({entry.act})" if entry.act is not None else "")
        what = entry.activity or entry.note or ""
        where = f" -> {entry.sink}" if entry.sink is not None else ""
        why = f" [{entry.reason}]" if entry.reason is not None else ""
        yield f"{index:>6}  {clock}  {kind:<19} {entry.effect or '':<6} {what}{where}{why}".rstrip()
        if entry.rules and entry.rules != rules:
            yield from textwrap.wrap(", ".join(entry.rules), 80, initial_indent=" " * 22, subsequent_indent=" " * 22)
        rules = entry.rules


def _document(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in sorted(Entry.__dataclass_fields__)}


def _when(at: int) -> str:
    try:
        return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return f"{at} us"


def _cell(text: str | None) -> str:
    return "" if text is None else escape(text)
